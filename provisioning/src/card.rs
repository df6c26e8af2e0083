//! What a member's signer shows of itself.

use crate::files::{self, FileError};
use alys_protocol::bls::{BlsPublicKeyBytes, BlsSignature};
use alys_protocol::spec::SchnorrPublicKeyBytes;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The public keys that `alys-signer init` and `alys-signer card` print, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberCard {
    /// BLS key that votes.
    pub bls: BlsPublicKeyBytes,
    /// Proof that the BLS key's secret is known.
    pub bls_possession: BlsSignature,
    /// Schnorr key of the Bitcoin wallet.
    pub schnorr: SchnorrPublicKeyBytes,
}

/// A card that cannot be read.
#[derive(Debug, Error)]
pub enum CardError {
    /// No file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a card.
    #[error("{path}: expected a member card (JSON with bls, bls_possession, schnorr): {error}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
}

impl MemberCard {
    /// Reads a card. Its proof of possession is verified by [`crate::assemble()`].
    ///
    /// # Errors
    /// - [`CardError`] where there is no such file or it holds something else.
    pub fn read(path: &Path) -> Result<Self, CardError> {
        serde_json::from_str(&files::read(path)?).map_err(|error| CardError::Json {
            path: path.to_owned(),
            error,
        })
    }
}
