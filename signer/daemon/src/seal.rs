//! The key file: secrets, encrypted under what opens them.
//!
//! | version | secrets | opened by | cipher |
//! |---|---|---|---|
//! | 1 | the two scalars | a passphrase, by argon2id (RFC 9106) | XChaCha20-Poly1305 |
//! | 2 | the two scalars | a PKCS#11 token, by an AES-256 key that does not leave it | AES-GCM |
//! | 3 | one that opens the audit log's key; the scalars are in the token | the same | AES-GCM |
//!
//! The file is JSON. Its header is the associated data, so that nobody swaps the public keys or weakens the parameters
//! unseen.

mod native;
mod passphrase;
mod token;

pub use native::NativeSeal;
pub use passphrase::{Kdf, open, seal};
pub use token::TokenSeal;

use crate::config::{Config, TokenConfig, TokenMode};
use crate::files::{Existing, write_durably};
use crate::keys::{Backend, Keys, MemberCard, SoftwareKeys};
use crate::passphrase::{Passphrase, PassphraseError};
use alys_signer_pkcs11::{NativeConfig, Token, TokenError};
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
    #[error("key file {path}: expected {FORMAT} version 1, 2 or 3, found {found}", path = path.display())]
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
    /// Sealed in another way than the configuration says.
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
    /// The token has another key than the file says.
    #[error("key file {path}: expected the token's {kind} key to be {expected}, found {found}", path = path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// Which of the two.
        kind: &'static str,
        /// By the file.
        expected: String,
        /// In the token.
        found: String,
    },
    /// Keys from outside, for a token that makes its own.
    #[error(
        "a token that signs itself (mode = \"native\" in [token]) makes its keys itself and takes none from outside"
    )]
    MakesItsOwn,
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
    /// A token that signs itself.
    Native(NativeSeal),
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
        Ok(match opener(config, token) {
            Opener::Token(token, config) => Self::Token(TokenSeal::for_new(token, config)?),
            Opener::Native(token, config, native) => {
                Self::Native(NativeSeal::for_new(token, config, native)?)
            }
            Opener::Passphrase => Self::Passphrase(ask()?),
        })
    }

    /// For the key file of the configuration: what `ask` returns, or the token's key.
    ///
    /// # Errors
    /// - [`SealError::Opener`] where the file was sealed in another way, before anything is asked;
    /// - [`SealError::Io`], [`SealError::Format`], [`SealError::Passphrase`], [`SealError::TokenOpen`] as named.
    pub fn for_file(
        config: &Config,
        token: Option<&Arc<Token>>,
        ask: impl FnOnce() -> Result<Passphrase, PassphraseError>,
    ) -> Result<Self, SealError> {
        let path = &config.keys;
        match (read(path)?, opener(config, token)) {
            (SealedFile::Token(file), Opener::Token(token, sealing)) => {
                TokenSeal::existing(token, sealing)
                    .map(Self::Token)
                    .map_err(|error| file.not_opened(path, error))
            }
            (SealedFile::Native(file), Opener::Native(token, sealing, native)) => {
                NativeSeal::existing(token, sealing, native)
                    .map(Self::Native)
                    .map_err(|error| file.not_opened(path, error))
            }
            (SealedFile::Passphrase(_), Opener::Passphrase) => Ok(Self::Passphrase(ask()?)),
            (file, opener) => Err(file.opened_otherwise(path, opener.name())),
        }
    }

    /// The keys as they are held from then on, and the contents of their file.
    ///
    /// # Errors
    /// - [`SealError::MakesItsOwn`] where the token signs itself;
    /// - [`SealError`] otherwise as [`seal`] and [`TokenSeal::seal`] have it.
    pub fn seal(&self, keys: SoftwareKeys) -> Result<(Keys, SealedText), SealError> {
        let (backend, text) = match self {
            Self::Passphrase(passphrase) => (
                Backend::Passphrase,
                passphrase::sealed(&keys, passphrase, Kdf::default())?,
            ),
            Self::Token(token) => (token.backend().clone(), token.seal(&keys)?),
            Self::Native(_) => return Err(SealError::MakesItsOwn),
        };
        Ok((keys.held_by(backend).into(), text))
    }

    /// Opens a key file.
    ///
    /// # Errors
    /// - [`SealError`] as [`open`], [`TokenSeal::open`] and [`NativeSeal::open`] have it.
    pub fn open(&self, path: &Path) -> Result<Keys, SealError> {
        Ok(match self {
            Self::Passphrase(passphrase) => open(path, passphrase)?.into(),
            Self::Token(token) => token.open(path)?.into(),
            Self::Native(token) => token.open(path)?.into(),
        })
    }
}

/// What is to open a key file, by the configuration.
enum Opener<'a> {
    Passphrase,
    Token(Arc<Token>, &'a TokenConfig),
    Native(Arc<Token>, &'a TokenConfig, &'a NativeConfig),
}

impl Opener<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Passphrase => "a passphrase (no mode = \"sealed\" or \"native\" in [token])",
            Self::Token(..) => "a token (mode = \"sealed\" in [token])",
            Self::Native(..) => "a token that signs itself (mode = \"native\" in [token])",
        }
    }
}

fn opener<'a>(config: &'a Config, token: Option<&Arc<Token>>) -> Opener<'a> {
    let (Some(config), Some(token)) = (&config.token, token) else {
        return Opener::Passphrase;
    };
    match (config.mode, &config.native) {
        (TokenMode::Sealed, _) => Opener::Token(Arc::clone(token), config),
        (TokenMode::Native, Some(native)) => Opener::Native(Arc::clone(token), config, native),
        // Native mode without mechanisms is no configuration.
        (TokenMode::Native, None) | (TokenMode::Counter, _) => Opener::Passphrase,
    }
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
        SealedFile::Native(file) => file.into_card(),
    })
}

enum SealedFile {
    Passphrase(passphrase::File),
    Token(token::File),
    Native(native::File),
}

impl SealedFile {
    fn opened_otherwise(&self, path: &Path, expected: &'static str) -> SealError {
        let found = match self {
            Self::Passphrase(_) => "a passphrase".to_owned(),
            Self::Token(file) => file.sealed_under(),
            Self::Native(file) => file.held_by(),
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
        (FORMAT, native::VERSION) => serde_json::from_str(&text)
            .map(SealedFile::Native)
            .map_err(malformed),
        (other, version) => Err(format(format!("{other:?} version {version}"))),
    }
}

#[cfg(test)]
mod tests;
