//! Officers who keep shares.

use crate::error::BackupError;
use core::fmt;
use core::str::FromStr;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Fewest officers that open a backup: one alone must not hold a member's keys.
pub const MIN_THRESHOLD: u8 = 2;
/// Most officers that a backup has shares for.
pub const MAX_OFFICERS: u8 = 32;
const MAX_NAME_BYTES: usize = 32;

/// An officer's name, as it stands in file names: 1 to 32 of a-z, 0-9 and -.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OfficerName(String);

impl FromStr for OfficerName {
    type Err = BackupError;

    fn from_str(text: &str) -> Result<Self, BackupError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(fits) {
            return Err(BackupError::Name(beginning(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for OfficerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for OfficerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Whom `age` encrypts to: an X25519 public key, `age1...`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(age::x25519::Recipient);

impl Recipient {
    pub(crate) const fn new(recipient: age::x25519::Recipient) -> Self {
        Self(recipient)
    }

    pub(crate) const fn inner(&self) -> &age::x25519::Recipient {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = BackupError;

    fn from_str(text: &str) -> Result<Self, BackupError> {
        let wrong = |reason| BackupError::Recipient {
            found: beginning(text),
            reason,
        };
        text.parse().map(Self).map_err(wrong)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// An officer who is to keep a share; on command lines `NAME=RECIPIENT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Officer {
    /// Who.
    pub name: OfficerName,
    /// Whom the share is encrypted to.
    pub recipient: Recipient,
}

impl FromStr for Officer {
    type Err = BackupError;

    fn from_str(text: &str) -> Result<Self, BackupError> {
        let (name, recipient) = text
            .split_once('=')
            .ok_or_else(|| BackupError::OfficerForm(beginning(text)))?;
        Ok(Self {
            name: name.parse()?,
            recipient: recipient.parse()?,
        })
    }
}

/// What of somebody's text is shown again: never the other half of a key pair, which people confuse.
fn beginning(text: &str) -> String {
    if text.to_ascii_uppercase().contains("AGE-SECRET-KEY") {
        return "a secret key, which counts as disclosed now".to_owned();
    }
    text.chars().take(80).collect()
}
