//! The policy file: TOML that officers sign with minisign (Ed25519, prehashed, the default since minisign 0.11).
//!
//! ```text
//! policy.toml                  the policy
//! policy.toml.alice.minisig    an officer's signature of its bytes; one file for each
//! policy.toml.bob.minisig
//! ```
//!
//! Every signature beside the file must be an officer's and verify. There is no warn mode and no override.

mod officers;

pub use officers::{OfficersConfig, OfficersConfigError, TrustedOfficers};

use alys_protocol::signer::{self, Refusal};
use alys_protocol::spec::Chain;
use alys_signer_core::admin::{MAX_OFFICERS, OfficerKey};
use alys_signer_core::policy::PolicyFile;
use alys_signer_core::{PolicyError, admin};
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Bytes of a policy file at most.
const MAX_POLICY_BYTES: u64 = 256 << 10;
/// Bytes of a signature file at most.
const MAX_SIGNATURE_BYTES: u64 = signer::MAX_SIGNATURE_BYTES as u64;
/// How a signature's name ends.
pub const SIGNATURE_SUFFIX: &str = ".minisig";

/// A policy file that is not to be used.
#[derive(Debug, Error)]
pub enum PolicyFileError {
    /// A file cannot be read, or is too long.
    #[error("{path}: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is no policy.
    #[error("policy {path}: {error}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which key, and what is wrong.
        error: Box<toml::de::Error>,
    },
    /// A limit that blocks for ever, or limits nothing.
    #[error("{path}: {error}", path = path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// The limit.
        error: PolicyError,
    },
    /// A signature beside the file that does not count.
    #[error("signature {path}: expected one by an officer over the policy file, found {found}", path = path.display())]
    Signature {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// Not the officers' will.
    #[error("policy {path}: {refusal}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The rule.
        refusal: Refusal,
    },
}

/// A policy file as it was read. Nobody's signature was looked at yet.
#[derive(Debug, Clone)]
pub struct ReadPolicy {
    /// Where it is.
    pub path: PathBuf,
    /// What officers sign.
    pub bytes: Vec<u8>,
    /// What it says.
    pub file: PolicyFile,
}

/// Signatures that verify.
#[derive(Debug, Clone, Default)]
pub struct SignedBy {
    /// Whose.
    pub officers: Vec<OfficerKey>,
    /// The signatures' files, in the same order.
    pub signatures: Vec<String>,
}

impl ReadPolicy {
    /// Reads a policy file and checks what can be checked without a chain.
    ///
    /// # Errors
    /// - [`PolicyFileError::Read`], [`PolicyFileError::Invalid`], [`PolicyFileError::Policy`] as named.
    pub fn read(path: &Path) -> Result<Self, PolicyFileError> {
        let text = read_text(path, MAX_POLICY_BYTES)?;
        let file: PolicyFile = toml::from_str(&text).map_err(|error| PolicyFileError::Invalid {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
        let read = Self {
            path: path.to_owned(),
            bytes: text.into_bytes(),
            file,
        };
        read.checked(read.file.policy.check_alone())?;
        Ok(read)
    }

    /// Who of the officers signed it, by the signatures beside it.
    ///
    /// # Errors
    /// - [`PolicyFileError::Read`] where a signature cannot be read;
    /// - [`PolicyFileError::Signature`] for one that is no officer's, or does not verify.
    pub fn signers(&self, officers: &TrustedOfficers) -> Result<SignedBy, PolicyFileError> {
        let mut signed = SignedBy::default();
        for path in signatures(&self.path)? {
            let text = read_text(&path, MAX_SIGNATURE_BYTES)?;
            let signer = officers.signer(&self.bytes, &text);
            let signer = signer.map_err(|found| PolicyFileError::Signature { path, found })?;
            signed.officers.push(signer);
            signed.signatures.push(text);
        }
        Ok(signed)
    }

    /// Checks the policy against the chain that it is for, and that enough officers signed it. What only the signer's
    /// state tells, whether it is the newest, comes with [`admin::accept_policy`].
    ///
    /// # Errors
    /// - [`PolicyFileError`] as named.
    pub fn verify(
        &self,
        chain: &Chain,
        officers: &TrustedOfficers,
    ) -> Result<SignedBy, PolicyFileError> {
        self.refused(admin::policy_chain(chain.id(), &self.file))?;
        self.checked(self.file.policy.check(chain))?;
        let signers = self.signers(officers)?;
        self.refused(admin::quorum(officers.officers(), &signers.officers))?;
        Ok(signers)
    }

    fn checked(&self, result: Result<(), PolicyError>) -> Result<(), PolicyFileError> {
        result.map_err(|error| PolicyFileError::Policy {
            path: self.path.clone(),
            error,
        })
    }

    /// Puts the file's name to a refusal.
    ///
    /// # Errors
    /// - [`PolicyFileError::Refused`] where `result` is one.
    pub fn refused<T>(&self, result: Result<T, Refusal>) -> Result<T, PolicyFileError> {
        result.map_err(|refusal| PolicyFileError::Refused {
            path: self.path.clone(),
            refusal,
        })
    }
}

/// The signatures beside a file that officers sign: `FILE.minisig` and `FILE.NAME.minisig`, in the order of their names.
pub(crate) fn signatures(policy: &Path) -> Result<Vec<PathBuf>, PolicyFileError> {
    let folder = match policy.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let failed = |error| PolicyFileError::Read {
        path: folder.to_owned(),
        error,
    };
    let mut prefix = policy.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if is_signature(&prefix, &name) {
            found.push(folder.join(name));
        }
        if found.len() > MAX_OFFICERS {
            let error = format!("expected at most {MAX_OFFICERS} signatures, found more");
            return Err(failed(io::Error::other(error)));
        }
    }
    found.sort();
    Ok(found)
}

fn is_signature(prefix: &OsStr, name: &OsStr) -> bool {
    let (prefix, name) = (prefix.as_encoded_bytes(), name.as_encoded_bytes());
    name.starts_with(prefix) && name.ends_with(SIGNATURE_SUFFIX.as_bytes())
}

pub(crate) fn read_text(path: &Path, most: u64) -> Result<String, PolicyFileError> {
    let failed = |error| PolicyFileError::Read {
        path: path.to_owned(),
        error,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = file
        .take(most.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(failed)?;
    if read as u64 > most {
        let error = format!("expected at most {most} bytes, found more");
        return Err(failed(io::Error::other(error)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
