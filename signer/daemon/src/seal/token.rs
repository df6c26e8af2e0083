//! Version 2: AES-GCM under a key that does not leave a PKCS#11 token.

use super::{FORMAT, SealError, SealedFile, SealedText, read};
use crate::config::TokenConfig;
use crate::keys::{Backend, MemberCard, SECRET_BYTES, SoftwareKeys};
use alys_protocol::bytes;
use alys_signer_pkcs11::{KeyName, Sealed, SealingKey, Token, TokenError};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) const VERSION: u16 = 2;

/// What is in the file beside nonce and ciphertext, which AES-GCM authenticates itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u16,
    mode: Mode,
    /// Label and serial number, to be shown. A copy of the token that holds the same key opens the file as well.
    token: String,
    /// The key's name, to be shown.
    key: String,
    card: MemberCard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Opened into this process's memory: the token does not sign.
    Pkcs11Sealed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    header: Header,
    #[serde(with = "bytes")]
    nonce: [u8; 12],
    #[serde(with = "bytes")]
    ciphertext: [u8; SECRET_BYTES + 16],
}

impl File {
    pub(super) fn into_card(self) -> MemberCard {
        self.header.card
    }

    /// As the file has it: nobody vouches for that.
    pub(super) fn sealed_under(&self) -> String {
        let Header { key, token, .. } = &self.header;
        format!("key {key} of PKCS#11 token {token}")
    }

    pub(super) fn not_opened(&self, path: &Path, error: TokenError) -> SealError {
        SealError::TokenOpen {
            path: path.to_owned(),
            sealed_under: self.sealed_under(),
            error: Box::new(error),
        }
    }
}

/// The token's key that seals a member's keys.
#[derive(Debug)]
pub struct TokenSeal {
    key: SealingKey,
    name: String,
    token: String,
    backend: Backend,
}

impl TokenSeal {
    /// The key that the configuration names, made in the token where it is not there yet.
    ///
    /// # Errors
    /// - [`TokenError`] where there is a key that does not fit, or the token fails.
    pub fn for_new(token: Arc<Token>, config: &TokenConfig) -> Result<Self, TokenError> {
        let name = KeyName::of(&config.uri)?;
        let key = match SealingKey::generate(Arc::clone(&token), name) {
            Err(TokenError::KeyExists { .. }) => return Self::existing(token, config),
            generated => generated?,
        };
        Self::new(key, &token, config)
    }

    /// The key that the configuration names.
    ///
    /// # Errors
    /// - [`TokenError`] where it is not there or does not fit, or the token fails.
    pub fn existing(token: Arc<Token>, config: &TokenConfig) -> Result<Self, TokenError> {
        let key = SealingKey::open(Arc::clone(&token), KeyName::of(&config.uri)?)?;
        Self::new(key, &token, config)
    }

    fn new(key: SealingKey, token: &Token, config: &TokenConfig) -> Result<Self, TokenError> {
        let name = KeyName::of(&config.uri)?.to_string();
        let token = token.health().token;
        let backend = Backend::TokenSealed {
            key: name.clone(),
            made_inside: key.generated_inside()?,
            token: token.clone(),
            module: config.module.clone(),
        };
        Ok(Self {
            key,
            name,
            token,
            backend,
        })
    }

    pub(super) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The contents of a key file.
    ///
    /// # Errors
    /// - [`SealError::Token`] where the token does not seal;
    /// - [`SealError::Encode`] where what it returns is no sealed keys.
    pub fn seal(&self, keys: &SoftwareKeys) -> Result<SealedText, SealError> {
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            mode: Mode::Pkcs11Sealed,
            token: self.token.clone(),
            key: self.name.clone(),
            card: keys.card(),
        };
        let secret = keys.to_secret_bytes();
        let sealed = self.key.seal(&header.associated_data()?, &*secret)?;
        let ciphertext = sealed
            .ciphertext
            .try_into()
            .map_err(|_| SealError::Encode)?;
        SealedText::of(&File {
            header,
            nonce: sealed.nonce,
            ciphertext,
        })
    }

    /// Opens a key file.
    ///
    /// # Errors
    /// - [`SealError::TokenOpen`] where another key sealed it, the file was changed, or the token fails;
    /// - [`SealError::Opener`] where a passphrase sealed it;
    /// - [`SealError::Io`], [`SealError::Format`], [`SealError::Mismatch`] as named.
    pub fn open(&self, path: &Path) -> Result<SoftwareKeys, SealError> {
        let file = match read(path)? {
            SealedFile::Token(file) => file,
            other @ (SealedFile::Passphrase(_) | SealedFile::Native(_)) => {
                return Err(other.opened_otherwise(path, "a token (mode = \"sealed\" in [token])"));
            }
        };
        let sealed = Sealed {
            nonce: file.nonce,
            ciphertext: file.ciphertext.to_vec(),
        };
        let secret: Zeroizing<Vec<u8>> = self
            .key
            .open_sealed(&file.header.associated_data()?, &sealed)
            .map_err(|error| file.not_opened(path, error))?;
        <&[u8; SECRET_BYTES]>::try_from(secret.as_slice())
            .ok()
            .and_then(|secret| SoftwareKeys::from_secret_bytes(secret).ok())
            .filter(|keys| keys.card() == file.header.card)
            .map(|keys| keys.held_by(self.backend.clone()))
            .ok_or_else(|| SealError::Mismatch {
                path: path.to_owned(),
            })
    }
}

impl Header {
    /// One encoding, whatever the file's white space.
    fn associated_data(&self) -> Result<Vec<u8>, SealError> {
        postcard::to_allocvec(self).map_err(|_| SealError::Encode)
    }
}
