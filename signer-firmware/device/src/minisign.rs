//! Officers' signatures: minisign (Ed25519 over BLAKE2b-512 of the file, the default since minisign 0.11).
//!
//! The daemon verifies by crate `minisign-verify`, which needs the standard library. Both take the same files.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use alys_signer_core::admin::{OfficerKey, Officers, OfficersError};
use base64ct::{Base64, Encoding as _};
use blake2::{Blake2b512, Digest as _};
use ed25519_dalek::{Signature, VerifyingKey};
use thiserror::Error;

/// Prehashed.
const ALGORITHM: [u8; 2] = *b"ED";
const LEGACY: [u8; 2] = *b"Ed";
const TRUSTED: &str = "trusted comment: ";

/// Officers that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OfficerError {
    /// No public key.
    #[error("officers: expected minisign public keys (56 letters each), found {0:?}")]
    Key(String),
    /// Too many or too few, or one twice.
    #[error(transparent)]
    Officers(#[from] OfficersError),
}

/// Officers and their minisign keys.
#[derive(Debug, Clone)]
pub struct TrustedOfficers {
    officers: Officers,
    keys: Vec<PublicKey>,
}

#[derive(Debug, Clone)]
struct PublicKey {
    number: [u8; 8],
    key: VerifyingKey,
}

/// Splits algorithm and key number off.
fn split(bytes: &[u8]) -> Option<([u8; 2], [u8; 8], &[u8])> {
    let (algorithm, rest) = bytes.split_first_chunk::<2>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    Some((*algorithm, *number, rest))
}

impl PublicKey {
    fn decode(text: &str) -> Option<Self> {
        let bytes = Base64::decode_vec(text).ok()?;
        let (algorithm, number, key) = split(&bytes)?;
        if algorithm != LEGACY && algorithm != ALGORITHM {
            return None;
        }
        Some(Self {
            number,
            key: VerifyingKey::from_bytes(key.try_into().ok()?).ok()?,
        })
    }
}

/// A `.minisig` file.
struct SignatureFile<'a> {
    algorithm: [u8; 2],
    number: [u8; 8],
    signature: [u8; 64],
    comment: &'a str,
    global: [u8; 64],
}

impl<'a> SignatureFile<'a> {
    fn decode(text: &'a str) -> Option<Self> {
        let mut lines = text.lines();
        let _untrusted = lines.next()?;
        let bytes = Base64::decode_vec(lines.next()?).ok()?;
        let (algorithm, number, signature) = split(&bytes)?;
        let comment = lines.next()?.strip_prefix(TRUSTED)?;
        let global = Base64::decode_vec(lines.next()?).ok()?;
        Some(Self {
            algorithm,
            number,
            signature: signature.try_into().ok()?,
            comment,
            global: global.as_slice().try_into().ok()?,
        })
    }

    fn verifies(&self, key: &VerifyingKey, bytes: &[u8]) -> bool {
        let prehash = Blake2b512::digest(bytes);
        let mut commented = self.signature.to_vec();
        commented.extend_from_slice(self.comment.as_bytes());
        let holds = |message: &[u8], signature: &[u8; 64]| {
            let signature = Signature::from_bytes(signature);
            key.verify_strict(message, &signature).is_ok()
        };
        holds(&prehash, &self.signature) && holds(&commented, &self.global)
    }
}

impl TrustedOfficers {
    /// Decodes the second lines of `.pub` files, and checks the set.
    ///
    /// # Errors
    /// - [`OfficerError`] as named.
    pub fn new(threshold: usize, keys: &[String]) -> Result<Self, OfficerError> {
        let keys = keys
            .iter()
            .map(|text| {
                let shown = || text.chars().take(80).collect();
                PublicKey::decode(text).ok_or_else(|| OfficerError::Key(shown()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // The keys themselves and not their numbers, which their owners choose.
        let bare: Vec<OfficerKey> = keys
            .iter()
            .map(|key| OfficerKey::new(key.key.to_bytes()))
            .collect();
        Ok(Self {
            officers: Officers::new(threshold, &bare)?,
            keys,
        })
    }

    /// The set, for rule `quorum`.
    pub const fn officers(&self) -> &Officers {
        &self.officers
    }

    /// The officers whose signatures over `bytes` these are.
    ///
    /// # Errors
    /// - in words, what was found in place of an officer's signature, for the first that is none.
    pub fn signers<'a>(
        &self,
        bytes: &[u8],
        signatures: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<OfficerKey>, String> {
        signatures
            .map(|signature| self.signer(bytes, signature))
            .collect()
    }

    fn signer(&self, bytes: &[u8], signature: &[u8]) -> Result<OfficerKey, String> {
        let file = core::str::from_utf8(signature)
            .ok()
            .and_then(SignatureFile::decode)
            .ok_or_else(|| "no minisign signature".to_string())?;
        let mut known = self
            .keys
            .iter()
            .filter(|key| key.number == file.number)
            .peekable();
        if known.peek().is_none() {
            return Err("one by a key that is no officer's".to_string());
        }
        if file.algorithm != ALGORITHM {
            return Err("one over the bare file; sign its hash (minisign without -l)".to_string());
        }
        known
            .find(|key| file.verifies(&key.key, bytes))
            .map(|key| OfficerKey::new(key.key.to_bytes()))
            .ok_or_else(|| "one that does not verify".to_string())
    }
}
