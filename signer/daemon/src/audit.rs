//! The audit log (claim C8): every decision, yes or no, with what it rests on.
//!
//! ```text
//! state.redb         state | newest entries, blobs, checkpoints      one transaction for a yes and its entry
//!                                   | complete segments, unchanged
//! state.redb.audit/  ....entries  ....evidence  ....refused          files that may be copied away at any time
//! ```
//!
//! An [`Entry`] names the hash of the one before ([`entry`]); a [`Checkpoint`] signs how many there are and the last hash,
//! with a key that signs nothing else ([`checkpoint`]). [`verify`] finds the first place where a log was changed;
//! [`replay`] asks the core again and compares. Both need no key and no signer.
//!
//! Who can write the signer's disk can cut off what no checkpoint covers, or put back an older log with its older state:
//! the second is what the outside counter is for, and either is seen by whoever kept a later checkpoint.

pub mod approval;
pub mod archive;
pub mod checkpoint;
pub mod cli;
pub mod entry;
mod folder;
mod import;
mod journal;
mod memory;
mod named;
mod open;
pub mod recorder;
pub mod replay;
mod show;
pub mod verify;

pub use approval::Approval;
pub use archive::{Archive, ArchiveError};
pub use checkpoint::{AuditKey, AuditKeyError, AuditPublicKey, Checkpoint, SealedAuditKey};
pub use entry::{Entry, Event, Sequence, UnixMillis};
pub use import::import;
pub use open::{create, export, open_state};
pub use recorder::{Question, Recorder};

use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// How much the log keeps and how often it signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditLimits {
    /// Entries after which a checkpoint is signed.
    pub checkpoint_entries: u64,
    /// Seconds after which a checkpoint is signed, where there are new entries.
    pub checkpoint_seconds: u64,
    /// Seconds over which repeats and requests that were turned away are counted.
    pub count_seconds: u64,
    /// Entries of a segment.
    pub segment_entries: u64,
    /// Evidence of a segment, in MiB. What was refused beyond it has entries, but no evidence.
    pub segment_mib: u64,
    /// Evidence of signatures that is kept, in MiB; the oldest goes first. Entries always stay.
    pub evidence_mib: u64,
    /// Evidence of refusals that is kept, in MiB.
    pub refused_evidence_mib: u64,
    /// What is left to states and entries of signatures where the disk is nearly full, in MiB: old evidence goes, new
    /// evidence is not stored, and refusals are counted.
    pub reserved_mib: u64,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self {
            checkpoint_entries: 1024,
            checkpoint_seconds: 600,
            count_seconds: 60,
            segment_entries: 4096,
            segment_mib: 32,
            evidence_mib: 8192,
            refused_evidence_mib: 1024,
            reserved_mib: 256,
        }
    }
}

/// A log that cannot be read or written. Nothing was signed.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk or the file system, below the log's tables.
    #[error("audit log cannot be read or written: {0}")]
    Disk(Box<redb::Error>),
    /// The file system.
    #[error("audit log {path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// A row that is none.
    #[error("audit log: expected a {0}, found none or other bytes")]
    Damaged(&'static str),
    /// An entry that cannot be encoded.
    #[error(transparent)]
    Entry(#[from] entry::EntryError),
    /// The key.
    #[error(transparent)]
    Key(#[from] AuditKeyError),
    /// Files that are no log.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Officers' approval of the policy that does not count.
    #[error("policy: {0}")]
    Policy(alys_protocol::signer::Refusal),
    /// Spec or policy cannot be written as text.
    #[error("audit log: spec or policy has no text: {0}")]
    Provisioning(String),
}

fn damaged(what: &'static str) -> AuditError {
    AuditError::Damaged(what)
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for AuditError {
            fn from(error: redb::$error) -> Self {
                Self::Disk(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    TableError,
    StorageError,
    CommitError,
    TransactionError,
    SetDurabilityError
);
