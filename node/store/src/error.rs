//! What can go wrong with the database.

use alys_protocol::bytes::SpecDigest;
use std::path::PathBuf;
use thiserror::Error;

/// An error of the node's database.
#[derive(Debug, Error)]
pub enum StoreError {
    /// RocksDB reports a fault, such as a held lock or a full disk.
    #[error("database: {0}")]
    Database(#[from] rocksdb::Error),
    /// A value does not decode: the database is damaged or was written by other code.
    #[error(
        "table {table}: an entry does not decode ({reason}); restore the database or sync anew"
    )]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What the decoder says.
        reason: postcard::Error,
    },
    /// A value cannot be encoded.
    #[error("table {table}: a value cannot be encoded ({reason})")]
    Encode {
        /// The table.
        table: &'static str,
        /// What the encoder says.
        reason: postcard::Error,
    },
    /// A table that the schema names is not there.
    #[error("the database at {path} has no table {table}")]
    MissingTable {
        /// Where the database is.
        path: PathBuf,
        /// The table.
        table: &'static str,
    },
    /// The database was written by a newer or an unknown schema.
    #[error(
        "the database has schema version {found}, this program reads up to {supported}; use a newer program"
    )]
    Version {
        /// The newest version that can be read.
        supported: u32,
        /// Version found.
        found: u32,
    },
    /// The database belongs to another chain.
    #[error("the database belongs to the chain spec {found}, the configured spec is {expected}")]
    OtherChain {
        /// Digest of the configured spec.
        expected: SpecDigest,
        /// Digest in the database.
        found: SpecDigest,
    },
}
