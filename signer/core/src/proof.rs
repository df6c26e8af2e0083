//! Proofs about execution blocks: headers, Merkle-Patricia paths, receipts and accounts.
//!
//! Each verifier reads a node's bytes where they lie: it copies no proof, never recurses, and takes exactly the bytes
//! that a client would write. Their errors say which element of a proof failed; the rules turn them into refusals.

pub mod account;
pub mod execution_header;
pub mod receipt;
mod rlp;
pub mod trie;

pub use account::{Account, AccountError, account};
pub use execution_header::{ExecutionHeader, ExecutionHeaderError};
pub use receipt::{Log, Receipt, ReceiptError, receipt};
pub use trie::{TrieError, lookup};
