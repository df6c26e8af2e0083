//! Backups of a member's keys (issue 4, ADR 0013): made by the signer, opened by k of m officers.
//!
//! A backup is a folder that anybody may see:
//!
//! ```text
//! backup.json       header: whose keys, of which chain, the marks at that time, who has a share; then the keys, encrypted
//! share-ann.age     one share of the key that opens them, encrypted to the officer ann
//! share-ben.age     ...
//! ```
//!
//! A random key encrypts the member's secret keys under XChaCha20-Poly1305, with the header as associated data ([`Backup`]).
//! Shamir's scheme splits that key ([`Share`]); with fewer shares than the threshold every key is as likely as any other.
//! The header commits to each share, so that a wrong one is known as whose it is before anything is opened. `age` (X25519)
//! encrypts each share to one officer's recipient.
//!
//! Whoever opens a backup holds an [`Identity`] of that occasion; each officer encrypts the own share to it ([`hand_over`])
//! on an offline machine. Stock `age -d -i KEY share-ann.age | age -a -r RECIPIENT` does the same.
//!
//! Nothing here reads a clock or a configuration.

mod backup;
mod cli;
mod error;
mod files;
mod header;
mod identity;
mod officer;
mod share;
mod split;

pub use backup::{Backup, Made, Opened, SECRET_BYTES};
pub use cli::ShareCommand;
pub use error::BackupError;
pub use files::{BACKUP_FILE, read_bounded, share_file};
pub use header::{BackupId, Header, Holder, Marks, Plan, ShareHeader, UnixMillis};
pub use identity::Identity;
pub use officer::{MAX_OFFICERS, MIN_THRESHOLD, Officer, OfficerName, Recipient};
pub use share::{SealedShare, Share, hand_over};
