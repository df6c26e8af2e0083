//! The table `[token]`.

use super::ConfigError;
use alys_signer_pkcs11::{NativeConfig, ObjectKind, Token, TokenError, TokenUri};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// A PKCS#11 token, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The vendor's PKCS#11 library, an absolute path.
    pub module: PathBuf,
    /// The token, the AES key in it (`object` or `id`), and the file with its PIN (`pin-source`).
    pub uri: TokenUri,
    /// What it does for the member's keys.
    pub mode: TokenMode,
    /// The keys that sign and their mechanisms, in mode `native`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeConfig>,
}

/// What a token does for the member's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenMode {
    /// A key in it opens them, into this process's memory, where they sign.
    Sealed,
    /// They are in it and sign there.
    Native,
    /// Nothing: a passphrase opens them. The token only holds the outside counter.
    Counter,
}

impl TokenMode {
    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Native => "native",
            Self::Counter => "counter",
        }
    }
}

impl TokenConfig {
    /// Finds the token and logs in.
    ///
    /// # Errors
    /// - [`TokenError`] where that does not work.
    pub fn open(&self) -> Result<Arc<Token>, TokenError> {
        Token::open(&self.module, &self.uri)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.mode {
            TokenMode::Sealed | TokenMode::Native => self.check_sealing_key()?,
            TokenMode::Counter => {}
        }
        match (self.mode, &self.native) {
            (TokenMode::Native, None) => Err(ConfigError::NoMechanisms),
            (TokenMode::Native, Some(native)) if native.schnorr.object == native.bls.object => {
                Err(ConfigError::OneKey(native.bls.object.clone()))
            }
            (TokenMode::Sealed | TokenMode::Counter, Some(_)) => {
                Err(ConfigError::Mechanisms(self.mode.name()))
            }
            (TokenMode::Native, Some(_)) | (TokenMode::Sealed | TokenMode::Counter, None) => Ok(()),
        }
    }

    fn check_sealing_key(&self) -> Result<(), ConfigError> {
        let (uri, mode) = (&self.uri, self.mode.name());
        if uri.object.is_none() && uri.id.is_none() {
            return Err(ConfigError::SealingKeyUnnamed(mode));
        }
        match uri.kind {
            None | Some(ObjectKind::SecretKey) => Ok(()),
            Some(_) => Err(ConfigError::SealingKeyKind(mode)),
        }
    }
}
