//! What an authority issued and took back: a file in its folder, one line of JSON for each act. Lines are only added, and
//! the file is replaced as a whole, so that a crash leaves the old or the new one.

use super::{CERTIFICATE_FILE, CaError};
use crate::files::{self, FileError, Readers};
use alys_signer_client::{Certificate, Holder, Role, Serial};
use rustls::pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the register in an authority's folder.
pub const REGISTER_FILE: &str = "register.jsonl";

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(u64);

impl UnixSeconds {
    /// As rustls counts.
    pub const fn time(self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.0))
    }
}

impl From<UnixTime> for UnixSeconds {
    fn from(time: UnixTime) -> Self {
        Self(time.as_secs())
    }
}

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issuee {
    /// A signer.
    Signer,
    /// A node.
    Node,
    /// An officer.
    Officer,
    /// An auditor.
    Auditor,
}

impl Issuee {
    /// Name of its files, and of its role.
    pub const fn name(self) -> &'static str {
        match self.role() {
            None => "signer",
            Some(role) => role.name(),
        }
    }

    /// Its role, where it is a signer's client.
    pub(super) const fn role(self) -> Option<Role> {
        match self {
            Self::Signer => None,
            Self::Node => Some(Role::Node),
            Self::Officer => Some(Role::Officer),
            Self::Auditor => Some(Role::Auditor),
        }
    }
}

/// Why a certificate is revoked (RFC 5280, 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No reason is given.
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// Its holder has another task now.
    AffiliationChanged,
    /// There is a newer one.
    Superseded,
    /// Its holder is no more.
    CessationOfOperation,
}

/// An issued certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// Its number.
    pub serial: Serial,
    /// Whose it is.
    pub role: Issuee,
    /// Its name for people.
    pub name: String,
    /// DNS names and IP addresses, where it is a signer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// It counts from then.
    pub not_before: UnixSeconds,
    /// It counts until then.
    pub not_after: UnixSeconds,
    /// SHA-256 of its DER.
    pub fingerprint: String,
    /// The one that it is to replace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<Serial>,
}

impl Issued {
    /// From the certificate, and what is not read from it.
    pub(super) fn new(
        certificate: &Certificate,
        names: Vec<String>,
        renews: Option<Serial>,
    ) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            serial: certificate.serial.clone(),
            role: match certificate.holder {
                Holder::Authority | Holder::Signer => Issuee::Signer,
                Holder::Client(Role::Node) => Issuee::Node,
                Holder::Client(Role::Officer) => Issuee::Officer,
                Holder::Client(Role::Auditor) => Issuee::Auditor,
            },
            name: certificate.subject.clone(),
            names,
            not_before: certificate.not_before.into(),
            not_after: certificate.not_after.into(),
            fingerprint: hex(&certificate.fingerprint),
            renews,
        }
    }
}

/// One act of an authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// It issued a certificate. Written before the certificate leaves: one that nobody has may follow from a crash.
    Issued {
        /// When.
        at: UnixSeconds,
        /// What.
        certificate: Issued,
    },
    /// It revoked one.
    Revoked {
        /// When.
        at: UnixSeconds,
        /// Which.
        serial: Serial,
        /// Why.
        reason: Reason,
        /// Its name for people.
        name: String,
    },
    /// It signed a list of the revoked ones. Written before the list.
    Listed {
        /// When.
        at: UnixSeconds,
        /// The list's number.
        number: u64,
        /// The list counts until then.
        next_update: UnixSeconds,
    },
}

/// The register of one authority.
#[derive(Debug)]
pub struct Register {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// A register that nobody else adds to meanwhile.
#[derive(Debug)]
pub(super) struct OpenRegister {
    pub(super) register: Register,
    _lock: File,
}

impl Register {
    /// Reads it. An authority that was made before there were registers has an empty one.
    ///
    /// # Errors
    /// - [`CaError::File`] where it cannot be read;
    /// - [`CaError::Content`] with the line that is no entry.
    pub fn read(folder: &Path) -> Result<Self, CaError> {
        let path = folder.join(REGISTER_FILE);
        let text = match files::read(&path) {
            Ok(text) => text,
            Err(error) if error.error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let mut entries = Vec::new();
        for (number, line) in (1u32..).zip(text.lines()) {
            entries.push(
                serde_json::from_str(line).map_err(|error| CaError::Content {
                    path: path.clone(),
                    expected: "an entry of an authority's register",
                    reason: format!("line {number}: {error}"),
                })?,
            );
        }
        Ok(Self { path, entries })
    }

    /// Everything issued, the oldest first.
    pub fn issued(&self) -> impl Iterator<Item = &Issued> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Issued { certificate, .. } => Some(certificate),
            Entry::Revoked { .. } | Entry::Listed { .. } => None,
        })
    }

    /// Everything revoked, the oldest first: which, when, why, and its name.
    pub fn revoked(&self) -> impl Iterator<Item = (&Serial, UnixSeconds, Reason, &str)> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Revoked {
                at,
                serial,
                reason,
                name,
            } => Some((serial, *at, *reason, name.as_str())),
            Entry::Issued { .. } | Entry::Listed { .. } => None,
        })
    }

    /// Number of the newest list; 0 where there is none.
    pub fn last_list(&self) -> u64 {
        let numbers = self.entries.iter().filter_map(|entry| match entry {
            Entry::Listed { number, .. } => Some(*number),
            Entry::Issued { .. } | Entry::Revoked { .. } => None,
        });
        numbers.max().unwrap_or(0)
    }
}

impl OpenRegister {
    /// Reads it, and keeps others from adding to it until it is dropped.
    pub(super) fn open(folder: &Path) -> Result<Self, CaError> {
        // This file is never replaced, so all lock the same one.
        let path = folder.join(CERTIFICATE_FILE);
        let locked = File::open(&path).and_then(|file| file.lock().map(|()| file));
        let lock = locked.map_err(|error| FileError {
            verb: "read",
            path,
            error,
        })?;
        Ok(Self {
            register: Register::read(folder)?,
            _lock: lock,
        })
    }

    /// Adds entries, all or none.
    pub(super) fn add(&mut self, entries: Vec<Entry>) -> Result<(), CaError> {
        let register = &mut self.register;
        register.entries.extend(entries);
        let mut text = String::new();
        for entry in &register.entries {
            let line = serde_json::to_string(entry).map_err(|error| CaError::Content {
                path: register.path.clone(),
                expected: "an entry of an authority's register",
                reason: error.to_string(),
            })?;
            text.push_str(&line);
            text.push('\n');
        }
        Ok(files::write(
            &register.path,
            text.as_bytes(),
            Readers::Owner,
        )?)
    }
}
