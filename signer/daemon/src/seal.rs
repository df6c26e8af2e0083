//! The sealed key file: the two secret scalars, encrypted under what opens them.
//!
//! | version | opened by | cipher |
//! |---|---|---|
//! | 1 | a passphrase, by argon2id (RFC 9106) | XChaCha20-Poly1305 |
//! | 2 | a PKCS#11 token, by an AES-256 key that does not leave it | AES-GCM |
//!
//! The file is JSON. Its header is the associated data, so that nobody swaps the public keys or weakens the parameters
//! unseen.

mod passphrase;
mod token;

pub use passphrase::{Kdf, open, seal};
pub use token::TokenSeal;

use crate::config::{Config, TokenConfig, TokenMode};
use crate::files::{Existing, write_durably};
use crate::keys::{Backend, Keys, MemberCard};
use crate::passphrase::{Passphrase, PassphraseError};
use alys_signer_pkcs11::{Token, TokenError};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

const FORMAT: &str = "alys-sealed-keys";
/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 16 << 10;

/// A key file that cannot be written or opened.
#[derive(Debug, Error)]
pub enum SealError {
    /// The file system.
    #[error("key file {path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// Keys are there already.
    #[error("key file {path} exists; keys are never overwritten: move it away first", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not a key file of a known version.
    #[error("key file {path}: expected {FORMAT} version 1 or 2, found {found}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// Parameters that argon2 or this program does not take.
    #[error("key file: argon2id parameters are out of range")]
    Parameters,
    /// Wrong passphrase, or a changed file.
    #[error("key file {path}: the passphrase does not open it, or it was changed", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// Sealed in the other way than the configuration says.
    #[error("key file {path}: the configuration says that it is opened by {expected}, but it is by {found}", path = path.display())]
    Opener {
        /// The file.
        path: PathBuf,
        /// By the configuration.
        expected: &'static str,
        /// By the file.
        found: String,
    },
    /// The token does not open it.
    #[error("key file {path}, sealed under {sealed_under}: {error}", path = path.display())]
    TokenOpen {
        /// The file.
        path: PathBuf,
        /// Key and token, as the file names them.
        sealed_under: String,
        /// Why not.
        error: Box<TokenError>,
    },
    /// The token does not seal.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The sealed keys are not the ones that the header shows.
    #[error("key file {path}: the sealed keys do not match its public keys", path = path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
    /// No passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// No entropy.
    #[error("the operating system gives no entropy: {0}")]
    Entropy(#[from] getrandom::Error),
    /// The file cannot be encoded.
    #[error("key file: cannot be encoded")]
    Encode,
}

/// What keys are sealed under, ready to be used.
#[derive(Debug)]
pub enum Sealer {
    /// A passphrase.
    Passphrase(Passphrase),
    /// A key in a token.
    Token(TokenSeal),
}

impl Sealer {
    /// For new keys: what `ask` returns, or the token's key, which is made where it is not there yet.
    ///
    /// # Errors
    /// - [`SealError::Passphrase`], [`SealError::Token`] as named.
    pub fn for_new(
        config: &Config,
        token: Option<&Arc<Token>>,
        ask: impl FnOnce() -> Result<Passphrase, PassphraseError>,
    ) -> Result<Self, SealError> {
        match sealing(config, token) {
            Some((token, config)) => Ok(Self::Token(TokenSeal::for_new(token, config)?)),
            None => Ok(Self::Passphrase(ask()?)),
        }
    }

    /// For the key file of the configuration: what `ask` returns, or the token's key.
    ///
    /// # Errors
    /// - [`SealError::Opener`] where the file was sealed in the other way, before anything is asked;
    /// - [`SealError::Io`], [`SealError::Format`], [`SealError::Passphrase`], [`SealError::TokenOpen`] as named.
    pub fn for_file(
        config: &Config,
        token: Option<&Arc<Token>>,
        ask: impl FnOnce() -> Result<Passphrase, PassphraseError>,
    ) -> Result<Self, SealError> {
        match (read(&config.keys)?, sealing(config, token)) {
            (SealedFile::Token(file), Some((token, sealing))) => {
                TokenSeal::existing(token, sealing)
                    .map(Self::Token)
                    .map_err(|error| file.not_opened(&config.keys, error))
            }
            (SealedFile::Passphrase(_), None) => Ok(Self::Passphrase(ask()?)),
            (file, _) => Err(file.opened_otherwise(&config.keys)),
        }
    }

    /// The contents of a key file.
    ///
    /// # Errors
    /// - [`SealError`] as [`seal`] and [`TokenSeal::seal`] have it.
    pub fn seal(&self, keys: &Keys) -> Result<SealedText, SealError> {
        match self {
            Self::Passphrase(passphrase) => passphrase::sealed(keys, passphrase, Kdf::default()),
            Self::Token(token) => token.seal(keys),
        }
    }

    /// Opens a key file.
    ///
    /// # Errors
    /// - [`SealError`] as [`open`] and [`TokenSeal::open`] have it.
    pub fn open(&self, path: &Path) -> Result<Keys, SealError> {
        match self {
            Self::Passphrase(passphrase) => open(path, passphrase),
            Self::Token(token) => token.open(path),
        }
    }

    /// What it is, for `status`.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Passphrase(_) => Backend::Passphrase,
            Self::Token(token) => token.backend().clone(),
        }
    }
}

fn sealing<'a>(
    config: &'a Config,
    token: Option<&Arc<Token>>,
) -> Option<(Arc<Token>, &'a TokenConfig)> {
    config
        .token
        .as_ref()
        .filter(|config| config.mode == TokenMode::Sealed)
        .and_then(|config| Some((Arc::clone(token?), config)))
}

/// What is to be written into a key file.
#[derive(Debug)]
pub struct SealedText(String);

impl SealedText {
    fn of(file: &impl Serialize) -> Result<Self, SealError> {
        let mut text = serde_json::to_string_pretty(file).map_err(|_| SealError::Encode)?;
        text.push('\n');
        Ok(Self(text))
    }

    /// Writes it into a new file of mode 0600.
    ///
    /// # Errors
    /// - [`SealError::Exists`] where there is a file already;
    /// - [`SealError::Io`] as named.
    pub fn write(&self, path: &Path) -> Result<(), SealError> {
        write_durably(path, self.0.as_bytes(), Existing::Refuse).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                SealError::Exists {
                    path: path.to_owned(),
                }
            } else {
                SealError::Io {
                    path: path.to_owned(),
                    error,
                }
            }
        })
    }
}

/// The public keys of a key file, as it shows them: not authenticated before it is opened.
///
/// # Errors
/// - [`SealError::Io`] and [`SealError::Format`] as named.
pub fn card(path: &Path) -> Result<MemberCard, SealError> {
    Ok(match read(path)? {
        SealedFile::Passphrase(file) => file.into_card(),
        SealedFile::Token(file) => file.into_card(),
    })
}

enum SealedFile {
    Passphrase(passphrase::File),
    Token(token::File),
}

impl SealedFile {
    fn opened_otherwise(&self, path: &Path) -> SealError {
        let passphrase = "a passphrase";
        let (expected, found) = match self {
            Self::Passphrase(_) => (
                "a token (mode = \"sealed\" in [token])",
                passphrase.to_owned(),
            ),
            Self::Token(file) => (
                "a passphrase (no mode = \"sealed\" in [token])",
                file.sealed_under(),
            ),
        };
        SealError::Opener {
            path: path.to_owned(),
            expected,
            found,
        }
    }
}

/// What tells the versions apart; each then reads the whole file by its own strict form.
#[derive(Deserialize)]
struct Probe {
    header: ProbeHeader,
}

#[derive(Deserialize)]
struct ProbeHeader {
    format: String,
    version: u16,
}

fn read(path: &Path) -> Result<SealedFile, SealError> {
    let io = |error| SealError::Io {
        path: path.to_owned(),
        error,
    };
    let format = |found: String| SealError::Format {
        path: path.to_owned(),
        found,
    };
    let malformed = |error: serde_json::Error| format(error.to_string());
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > MAX_FILE_BYTES {
        return Err(format(format!("{length} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let Probe { header } = serde_json::from_str(&text).map_err(malformed)?;
    match (header.format.as_str(), header.version) {
        (FORMAT, passphrase::VERSION) => serde_json::from_str(&text)
            .map(SealedFile::Passphrase)
            .map_err(malformed),
        (FORMAT, token::VERSION) => serde_json::from_str(&text)
            .map(SealedFile::Token)
            .map_err(malformed),
        (other, version) => Err(format(format!("{other:?} version {version}"))),
    }
}

#[cfg(test)]
mod tests;
