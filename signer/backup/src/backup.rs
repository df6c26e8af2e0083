//! A backup: header, and the keys encrypted under the key that the officers share.

use crate::error::BackupError;
use crate::files::{BACKUP_FILE, read_bounded};
use crate::header::{BackupId, Format, Header, Plan, ShareHeader};
use crate::officer::OfficerName;
use crate::share::{SealedShare, Share};
use crate::split::{VALUE_BYTES, combine, split};
use alys_protocol::bytes;
use alys_protocol::bytes::Digest;
use alys_protocol::hash::{BACKUP, TaggedHasher};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a member's two secret keys.
pub const SECRET_BYTES: usize = 64;
/// Longest file that is read: the header of most officers has 9 KiB.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// An encrypted backup. Public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    header: Header,
    #[serde(with = "bytes")]
    nonce: [u8; 24],
    #[serde(with = "bytes")]
    ciphertext: [u8; SECRET_BYTES + 16],
}

/// A new backup and its shares.
#[derive(Debug)]
pub struct Made {
    /// The backup.
    pub backup: Backup,
    /// Each officer's share, encrypted to that officer.
    pub shares: Vec<(OfficerName, SealedShare)>,
}

/// What was in a backup.
pub struct Opened {
    /// The member's secret keys. They need not be the ones that the header says: only k officers together could have put
    /// others in, but whoever uses them compares.
    pub secret: Zeroizing<[u8; SECRET_BYTES]>,
    /// The officers whose shares were given, in the order of their numbers.
    pub officers: Vec<OfficerName>,
}

impl core::fmt::Debug for Opened {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Opened(by {:?})", self.officers)
    }
}

impl Backup {
    /// Encrypts a member's secret keys and splits the key to them among officers.
    ///
    /// # Errors
    /// - [`BackupError`] as [`Plan::check`] has it; [`BackupError::Entropy`], [`BackupError::Split`],
    ///   [`BackupError::Encrypt`], [`BackupError::Encode`] as named.
    pub fn make(plan: &Plan, secret: &[u8; SECRET_BYTES]) -> Result<Made, BackupError> {
        Plan::check(plan.threshold, &plan.officers)?;
        let count = u8::try_from(plan.officers.len())
            .map_err(|_| BackupError::Officers(plan.officers.len()))?;
        let mut key = Zeroizing::new([0u8; VALUE_BYTES]);
        let (mut id, mut nonce) = ([0u8; 32], [0u8; 24]);
        getrandom::fill(&mut *key)?;
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut nonce)?;
        let id = BackupId::new(id);
        let (mut headers, mut shares) = (Vec::new(), Vec::new());
        let values = split(&key, plan.threshold, count)?;
        for ((number, value), officer) in (1u8..).zip(values).zip(&plan.officers) {
            let share = Share {
                backup: id,
                number,
                value,
            };
            headers.push(ShareHeader {
                officer: officer.name.clone(),
                recipient: officer.recipient.clone(),
                commitment: share.commitment(),
            });
            shares.push((officer.name.clone(), share.seal(&officer.recipient)?));
        }
        let header = Header {
            format: Format::V1,
            id,
            made: plan.made,
            holder: plan.holder.clone(),
            marks: plan.marks.clone(),
            threshold: plan.threshold,
            shares: headers,
        };
        let payload = Payload {
            msg: secret,
            aad: &header.encode()?,
        };
        let ciphertext = XChaCha20Poly1305::new(Key::from_slice(&*key))
            .encrypt(XNonce::from_slice(&nonce), payload)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(BackupError::Encode)?;
        let backup = Self {
            header,
            nonce,
            ciphertext,
        };
        Ok(Made { backup, shares })
    }

    /// Reads the backup in a folder.
    ///
    /// # Errors
    /// - [`BackupError::Io`], [`BackupError::TooLong`]; [`BackupError::At`] with the file for what [`Backup::parse`]
    ///   reports.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(BACKUP_FILE);
        let text = read_bounded(&path, MAX_FILE_BYTES)?;
        Self::parse(&text).map_err(|error| error.at(path))
    }

    /// Reads a backup's file. Nobody vouches for it before it is opened.
    ///
    /// # Errors
    /// - [`BackupError::Format`] where it is none;
    /// - [`BackupError`] as [`Plan::check`] has it where its officers or its threshold cannot be.
    pub fn parse(text: &[u8]) -> Result<Self, BackupError> {
        let backup: Self =
            serde_json::from_slice(text).map_err(|error| BackupError::Format(error.to_string()))?;
        backup.header.check()?;
        Ok(backup)
    }

    /// The contents of its file.
    ///
    /// # Errors
    /// - [`BackupError::Encode`] where it cannot be encoded.
    pub fn to_text(&self) -> Result<String, BackupError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|_| BackupError::Encode)?;
        text.push('\n');
        Ok(text)
    }

    /// What it says in clear.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What records name it by: a tagged hash of all of it, whatever its file's white space.
    ///
    /// # Errors
    /// - [`BackupError::Encode`] where it cannot be encoded.
    pub fn digest(&self) -> Result<Digest, BackupError> {
        let hash = TaggedHasher::without_chain(BACKUP)
            .variable(&self.header.encode()?)
            .fixed(&self.nonce)
            .fixed(&self.ciphertext);
        Ok(Digest::new(hash.finish()))
    }

    /// Whose share it is, if it is one of this backup.
    ///
    /// # Errors
    /// - [`BackupError::OtherBackup`], [`BackupError::NoSuchShare`], [`BackupError::WrongShare`] as named.
    pub fn check_share(&self, share: &Share) -> Result<&OfficerName, BackupError> {
        if share.backup != self.header.id {
            return Err(BackupError::OtherBackup {
                expected: self.header.id,
                found: share.backup,
            });
        }
        let shown = self
            .header
            .share(share.number)
            .ok_or(BackupError::NoSuchShare {
                count: self.header.shares.len(),
                found: share.number,
            })?;
        if shown.commitment != share.commitment() {
            return Err(BackupError::WrongShare(shown.officer.clone()));
        }
        Ok(&shown.officer)
    }

    /// Opens it with shares, in any order, each of which must be right.
    ///
    /// # Errors
    /// - [`BackupError`] as [`Backup::check_share`] has it; [`BackupError::GivenTwice`], [`BackupError::TooFew`] as named;
    /// - [`BackupError::Changed`] where the shares are right and the rest is not.
    pub fn open(&self, shares: &[Share]) -> Result<Opened, BackupError> {
        let mut given: Vec<&Share> = Vec::new();
        for share in shares {
            let officer = self.check_share(share)?;
            if given.iter().any(|other| other.number == share.number) {
                return Err(BackupError::GivenTwice(officer.clone()));
            }
            given.push(share);
        }
        given.sort_by_key(|share| share.number);
        let threshold = self.header.threshold;
        if given.len() < usize::from(threshold) {
            return Err(BackupError::TooFew {
                threshold,
                found: given.len(),
            });
        }
        let values: Vec<_> = given
            .iter()
            .take(usize::from(threshold))
            .map(|share| (share.number, &share.value))
            .collect();
        let key = combine(threshold, &values)?;
        let payload = Payload {
            msg: &self.ciphertext,
            aad: &self.header.encode()?,
        };
        let secret = XChaCha20Poly1305::new(Key::from_slice(&*key))
            .decrypt(XNonce::from_slice(&self.nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| BackupError::Changed)?;
        let secret = secret
            .as_slice()
            .try_into()
            .map(Zeroizing::new)
            .map_err(|_| BackupError::Changed)?;
        let officers = given
            .iter()
            .filter_map(|share| self.header.share(share.number))
            .map(|shown| shown.officer.clone())
            .collect();
        Ok(Opened { secret, officers })
    }
}
