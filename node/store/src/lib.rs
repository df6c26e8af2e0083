//! RocksDB storage of the node behind one typed schema.
//!
//! [`schema`] lists every table with its key and value types; nothing else in the node touches the database's bytes.
//! Changes are made in atomic batches that are on disk when [`Batch::commit`] returns.

mod error;
pub mod schema;
mod store;

pub use error::StoreError;
pub use schema::{Key, Table};
pub use store::{Batch, Entry, Store, TableSize};
