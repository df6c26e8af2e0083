//! What is wrong with a backup, a share or an officer.

use crate::header::BackupId;
use crate::officer::{MAX_OFFICERS, MIN_THRESHOLD, OfficerName};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A backup that cannot be made or opened.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file system.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it reports.
        error: io::Error,
    },
    /// A file that is longer than any of its kind.
    #[error("{path}: expected at most {limit} bytes, found more", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The longest that is read.
        limit: u64,
    },
    /// What a file's contents are wrong in.
    #[error("{path}: {error}", path = path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<BackupError>,
    },
    /// Nothing to make a backup of.
    #[error(
        "the keys are in a PKCS#11 token and never leave it (mode = \"native\"), so there is nothing that a backup could be made of: \
         use the wrapped backup of the token's vendor, or a second token with the same keys"
    )]
    InToken,
    /// Nowhere to put a backup's keys.
    #[error(
        "a token that signs itself (mode = \"native\") makes its own keys and takes none from a backup: \
         restore the vendor's own backup into it, or restore these keys with mode = \"sealed\" or without a token"
    )]
    IntoToken,
    /// Not a backup of a known version.
    #[error("expected a backup (alys-backup/1): {0}")]
    Format(String),
    /// A name that a file cannot have.
    #[error("expected an officer's name of 1 to 32 of a-z, 0-9 and -, found {0:?}")]
    Name(String),
    /// A recipient that `age` cannot encrypt to.
    #[error("expected an age recipient (age1..., X25519), found {found:?}: {reason}")]
    Recipient {
        /// Its beginning.
        found: String,
        /// What `age` says.
        reason: &'static str,
    },
    /// An officer without a name or without a recipient.
    #[error("expected NAME=RECIPIENT, found {0:?}")]
    OfficerForm(String),
    /// Too few officers, or too many.
    #[error("expected {MIN_THRESHOLD} to {MAX_OFFICERS} officers, found {0}")]
    Officers(usize),
    /// A threshold that one officer reaches alone, or all together do not.
    #[error("expected a threshold of {MIN_THRESHOLD} to {officers} officers, found {found}")]
    Threshold {
        /// How many officers there are.
        officers: usize,
        /// The threshold.
        found: u8,
    },
    /// Two officers of one name.
    #[error("officer {0} is named twice")]
    NamedTwice(OfficerName),
    /// Two shares for one holder.
    #[error(
        "officers {first} and {second} have the same recipient: one person would have two shares"
    )]
    SameRecipient {
        /// One.
        first: OfficerName,
        /// The other.
        second: OfficerName,
    },
    /// An identity file that is none.
    #[error("expected an age identity file with an X25519 key (AGE-SECRET-KEY-1...): {0}")]
    Identity(String),
    /// No passphrase for an identity file.
    #[error("the identity's passphrase cannot be read: {0}")]
    Passphrase(io::Error),
    /// A share that this identity does not open, or that was damaged.
    #[error("expected a share that this age identity opens: {0}")]
    Sealed(String),
    /// An age file that holds something else.
    #[error("expected a share of a backup (version 1, {expected} bytes), found something else")]
    NoShare {
        /// Bytes of a share.
        expected: usize,
    },
    /// `age` does not encrypt.
    #[error("the share cannot be encrypted: {0}")]
    Encrypt(String),
    /// A share of another backup.
    #[error("expected a share of backup {expected}, found one of {found}")]
    OtherBackup {
        /// This backup.
        expected: BackupId,
        /// The share's.
        found: BackupId,
    },
    /// A share that says to be one that the backup does not have.
    #[error("expected a share numbered 1 to {count}, found {found}")]
    NoSuchShare {
        /// How many there are.
        count: usize,
        /// The share's number.
        found: u8,
    },
    /// A share that is not the one that was made.
    #[error("the share of officer {0} is not the one that was made for this backup")]
    WrongShare(OfficerName),
    /// A share that counts only once.
    #[error("the share of officer {0} was given twice")]
    GivenTwice(OfficerName),
    /// Not enough officers.
    #[error("expected shares of {threshold} officers, found {found}")]
    TooFew {
        /// How many it takes.
        threshold: u8,
        /// How many there are.
        found: usize,
    },
    /// An identity that is no officer's.
    #[error(
        "expected the identity of an officer of this backup ({officers}), found one with {found}"
    )]
    NoOfficer {
        /// Their names.
        officers: String,
        /// The identity's recipients.
        found: String,
    },
    /// The key fits, the rest does not.
    #[error(
        "the backup was changed after it was made: its header and its keys do not belong together"
    )]
    Changed,
    /// The splitting failed its own check.
    #[error("the key could not be split: {0}")]
    Split(&'static str),
    /// It cannot be encoded.
    #[error("the backup cannot be encoded")]
    Encode,
    /// No entropy.
    #[error("the operating system gives no entropy: {0}")]
    Entropy(#[from] getrandom::Error),
    /// Keys of nobody in the chain spec.
    #[error(
        "expected keys of a member of chain {chain}, found BLS key {bls}, which is no member's"
    )]
    NoMember {
        /// The chain.
        chain: String,
        /// The key.
        bls: String,
    },
    /// A backup of another chain or member.
    #[error("expected a backup of {what} {expected}, found {found}")]
    Foreign {
        /// What differs.
        what: &'static str,
        /// By the chain spec.
        expected: String,
        /// By the backup.
        found: String,
    },
    /// The keys in it are not the ones that it says to hold.
    #[error("the keys in the backup do not make the public keys of its header")]
    Keys,
}

impl BackupError {
    /// The same, in a file.
    #[must_use]
    pub fn at(self, path: impl Into<PathBuf>) -> Self {
        Self::At {
            path: path.into(),
            error: Box::new(self),
        }
    }
}
