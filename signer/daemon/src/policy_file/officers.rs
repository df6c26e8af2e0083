//! Whose signatures count, as the configuration names them.

use alys_signer_core::admin::{MAX_OFFICERS, OfficerKey, Officers, OfficersError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Error, PublicKey, Signature};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// Who may change what the signer is limited to. The first officers that a state is opened for are the only ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficersConfig {
    /// Officers who decide together; more than half.
    pub threshold: usize,
    /// Their public keys: the second line of each one's minisign `.pub` file.
    pub keys: Vec<String>,
}

/// Officers that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum OfficersConfigError {
    /// No public key.
    #[error(
        "officers.keys: expected minisign public keys (56 letters each), found {found:?}: {reason}"
    )]
    Key {
        /// The text.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Too many or too few, or one twice.
    #[error(transparent)]
    Officers(#[from] OfficersError),
}

/// Officers and their minisign keys.
#[derive(Debug, Clone)]
pub struct TrustedOfficers {
    officers: Officers,
    keys: Vec<(OfficerKey, PublicKey)>,
}

/// Bytes of minisign's encoding before the Ed25519 key: algorithm and key number.
const KEY_PREFIX: usize = 10;

impl OfficersConfig {
    /// Decodes the keys and checks the set.
    ///
    /// # Errors
    /// - [`OfficersConfigError`] as named.
    pub fn trusted(&self) -> Result<TrustedOfficers, OfficersConfigError> {
        let keys = self
            .keys
            .iter()
            .map(|text| decode(text))
            .collect::<Result<Vec<_>, _>>()?;
        let bare: Vec<OfficerKey> = keys.iter().map(|(key, _)| *key).collect();
        Ok(TrustedOfficers {
            officers: Officers::new(self.threshold, &bare)?,
            keys,
        })
    }
}

fn decode(text: &str) -> Result<(OfficerKey, PublicKey), OfficersConfigError> {
    let wrong = |reason: String| OfficersConfigError::Key {
        found: text.chars().take(80).collect(),
        reason,
    };
    let public = PublicKey::from_base64(text).map_err(|error| wrong(error.to_string()))?;
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| wrong(error.to_string()))?;
    // The key itself and not its number, which its owner chooses: otherwise one officer could be two.
    let key = bytes
        .get(KEY_PREFIX..)
        .and_then(|key| key.try_into().ok())
        .ok_or_else(|| wrong(format!("{} bytes", bytes.len())))?;
    Ok((OfficerKey::new(key), public))
}

impl TrustedOfficers {
    /// The set, for rule `quorum`.
    pub const fn officers(&self) -> &Officers {
        &self.officers
    }

    /// The officers whose signatures these are, as texts of `.minisig` files.
    ///
    /// # Errors
    /// - as [`TrustedOfficers::signer`], for the first that is none; or that there are more than officers can be.
    pub fn signers<'a>(
        &self,
        bytes: &[u8],
        signatures: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<OfficerKey>, String> {
        let mut signers = Vec::new();
        for text in signatures {
            if signers.len() >= MAX_OFFICERS {
                return Err(format!("more than {MAX_OFFICERS} signatures"));
            }
            signers.push(self.signer(bytes, text)?);
        }
        Ok(signers)
    }

    /// The officer whose signature this is, or in words what it is instead. `signature` is the text of a `.minisig` file.
    ///
    /// # Errors
    /// - what was found in place of an officer's signature over `bytes`.
    pub fn signer(&self, bytes: &[u8], signature: &str) -> Result<OfficerKey, String> {
        let signature = Signature::decode(signature).map_err(|error| error.to_string())?;
        let mut found = "one by a key that is no officer's".to_owned();
        for (key, public) in &self.keys {
            match public.verify(bytes, &signature, false) {
                Ok(()) => return Ok(*key),
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => {
                    found =
                        "one over the bare file; sign its hash (minisign without -l)".to_owned();
                }
                Err(_other) => "one that does not verify".clone_into(&mut found),
            }
        }
        Err(found)
    }
}
