//! One officer's share, and how it travels: always encrypted.

use crate::backup::Backup;
use crate::error::BackupError;
use crate::files::{read_bounded, share_file};
use crate::header::BackupId;
use crate::identity::Identity;
use crate::officer::Recipient;
use crate::split::{VALUE_BYTES, Value};
use age::Decryptor;
use age::armor::ArmoredReader;
use alys_protocol::bytes::Digest;
use alys_protocol::hash::{BACKUP_SHARE, TaggedHasher};
use core::fmt;
use std::io::Read as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest encrypted share that is read; about 500 bytes are needed.
const MAX_SEALED_BYTES: u64 = 8 << 10;
const VERSION: u8 = 1;
/// Version, backup, number, value.
const PLAIN_BYTES: usize = 1 + 32 + 1 + VALUE_BYTES;

/// A share in memory. Wiped when dropped, never printed.
pub struct Share {
    pub(crate) backup: BackupId,
    /// From 1.
    pub(crate) number: u8,
    pub(crate) value: Value,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} of {})", self.number, self.backup)
    }
}

/// A share that `age` encrypted to one recipient, in its armoured text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedShare(String);

impl SealedShare {
    /// The contents of its file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Share {
    /// Reads a file with an encrypted share, and opens it.
    ///
    /// # Errors
    /// - [`BackupError::At`] with the file for what [`Share::open`] reports; [`BackupError::Io`], [`BackupError::TooLong`].
    pub fn read(path: &Path, identity: &Identity) -> Result<Self, BackupError> {
        let sealed = read_bounded(path, MAX_SEALED_BYTES)?;
        Self::open(&sealed, identity).map_err(|error| error.at(path))
    }

    /// Opens an encrypted share, armoured or not.
    ///
    /// # Errors
    /// - [`BackupError::Sealed`] where the identity does not open it, or it was damaged;
    /// - [`BackupError::NoShare`] where it holds something else.
    pub fn open(sealed: &[u8], identity: &Identity) -> Result<Self, BackupError> {
        let wrong = |error: &dyn fmt::Display| BackupError::Sealed(error.to_string());
        let reader = Decryptor::new_buffered(ArmoredReader::new(sealed))
            .and_then(|decryptor| decryptor.decrypt(identity.keys()))
            .map_err(|error| wrong(&error))?;
        // One byte more than there may be; with the end of the stream its last chunk is authenticated.
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES + 1));
        reader
            .take(PLAIN_BYTES as u64 + 1)
            .read_to_end(&mut plain)
            .map_err(|error| wrong(&error))?;
        Self::decode(&plain).ok_or(BackupError::NoShare {
            expected: PLAIN_BYTES,
        })
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (version, rest) = plain.split_first()?;
        let (backup, rest) = rest.split_first_chunk::<32>()?;
        let (number, value) = rest.split_first()?;
        let value = Zeroizing::new(value.try_into().ok()?);
        (*version == VERSION).then_some(Self {
            backup: BackupId::new(*backup),
            number: *number,
            value,
        })
    }

    /// Encrypts it to one recipient.
    ///
    /// # Errors
    /// - [`BackupError::Encrypt`] where `age` does not.
    pub fn seal(&self, to: &Recipient) -> Result<SealedShare, BackupError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES));
        plain.push(VERSION);
        plain.extend_from_slice(self.backup.as_bytes());
        plain.push(self.number);
        plain.extend_from_slice(&*self.value);
        age::encrypt_and_armor(to.inner(), &plain)
            .map(SealedShare)
            .map_err(|error| BackupError::Encrypt(error.to_string()))
    }

    /// Its number, from 1: the officer's place in the header.
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// What the header shows of it.
    pub(crate) fn commitment(&self) -> Digest {
        let hash = TaggedHasher::without_chain(BACKUP_SHARE)
            .fixed(self.backup.as_bytes())
            .fixed(&[self.number])
            .fixed(&*self.value);
        Digest::new(hash.finish())
    }
}

/// An officer's part: opens the own share of a backup in `folder`, checks that it is the one that was made, and encrypts it
/// to `recipient`. Nothing is written.
///
/// # Errors
/// - [`BackupError::NoOfficer`] where the identity is no officer's;
/// - [`BackupError`] as [`Share::read`] and [`Backup::check_share`] have it.
pub fn hand_over(
    backup: &Backup,
    folder: &Path,
    identity: &Identity,
    recipient: &Recipient,
) -> Result<SealedShare, BackupError> {
    let shares = &backup.header().shares;
    let own = shares
        .iter()
        .find(|share| identity.recipients().contains(&share.recipient))
        .ok_or_else(|| {
            let list = |names: Vec<String>| names.join(", ");
            BackupError::NoOfficer {
                officers: list(shares.iter().map(|it| it.officer.to_string()).collect()),
                found: list(
                    identity
                        .recipients()
                        .iter()
                        .map(Recipient::to_string)
                        .collect(),
                ),
            }
        })?;
    let path = folder.join(share_file(&own.officer));
    let share = Share::read(&path, identity)?;
    backup.check_share(&share).map_err(|error| error.at(path))?;
    share.seal(recipient)
}
