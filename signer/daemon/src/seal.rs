//! The sealed key file: argon2id (RFC 9106) and XChaCha20-Poly1305 over the two secret scalars.
//!
//! The file is JSON. Everything but the ciphertext is the header, and the header is the AEAD's associated data, so that
//! nobody swaps the public keys or weakens the parameters unseen.

use crate::files::{Existing, write_durably};
use crate::keys::{Keys, MemberCard, SECRET_BYTES};
use crate::passphrase::Passphrase;
use alys_protocol::bytes;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

const FORMAT: &str = "alys-sealed-keys";
const VERSION: u16 = 1;
/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 16 << 10;
/// Strongest parameters that are honoured: a forged file must not exhaust the machine.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_ITERATIONS: u32 = 64;

/// What is in the file beside the ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u16,
    kdf: Kdf,
    #[serde(with = "bytes")]
    salt: [u8; 16],
    #[serde(with = "bytes")]
    nonce: [u8; 24],
    card: MemberCard,
}

/// Parameters of argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kdf {
    /// Memory in KiB.
    pub argon2id_memory_kib: u32,
    /// Passes.
    pub argon2id_iterations: u32,
    /// Lanes.
    pub argon2id_lanes: u32,
}

impl Default for Kdf {
    /// RFC 9106's second recommendation.
    fn default() -> Self {
        Self {
            argon2id_memory_kib: 64 << 10,
            argon2id_iterations: 3,
            argon2id_lanes: 4,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedFile {
    header: Header,
    #[serde(with = "bytes")]
    ciphertext: [u8; SECRET_BYTES + 16],
}

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
    #[error("key file {path}: expected {FORMAT} version {VERSION}, found {found}", path = path.display())]
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
    /// The sealed keys are not the ones that the header shows.
    #[error("key file {path}: the sealed keys do not match its public keys", path = path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
    /// No entropy.
    #[error("the operating system gives no entropy: {0}")]
    Entropy(#[from] getrandom::Error),
    /// The file cannot be encoded.
    #[error("key file: cannot be encoded")]
    Encode,
}

/// Seals keys into a new file of mode 0600.
///
/// # Errors
/// - [`SealError::Exists`] where there is a file already;
/// - [`SealError::Io`], [`SealError::Entropy`], [`SealError::Parameters`] as named.
pub fn seal(path: &Path, keys: &Keys, passphrase: &Passphrase, kdf: Kdf) -> Result<(), SealError> {
    let mut salt = [0u8; 16];
    let mut nonce = [0u8; 24];
    getrandom::fill(&mut salt)?;
    getrandom::fill(&mut nonce)?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        kdf,
        salt,
        nonce,
        card: keys.card(),
    };
    let aad = header.associated_data()?;
    let secret = keys.to_secret_bytes();
    let ciphertext = cipher(&header, passphrase)?
        .encrypt(
            XNonce::from_slice(&nonce),
            Payload {
                msg: &*secret,
                aad: &aad,
            },
        )
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SealError::Encode)?;
    let mut text = serde_json::to_string_pretty(&SealedFile { header, ciphertext })
        .map_err(|_| SealError::Encode)?;
    text.push('\n');
    write_durably(path, text.as_bytes(), Existing::Refuse).map_err(|error| {
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

/// The public keys of a key file, as it shows them: not authenticated without the passphrase.
///
/// # Errors
/// - [`SealError::Io`] and [`SealError::Format`] as named.
pub fn card(path: &Path) -> Result<MemberCard, SealError> {
    Ok(read(path)?.header.card)
}

/// Opens a key file.
///
/// # Errors
/// - [`SealError::Open`] where the passphrase is wrong or the file was changed;
/// - [`SealError::Io`], [`SealError::Format`], [`SealError::Parameters`], [`SealError::Mismatch`] as named.
pub fn open(path: &Path, passphrase: &Passphrase) -> Result<Keys, SealError> {
    let SealedFile { header, ciphertext } = read(path)?;
    let wrong = || SealError::Open {
        path: path.to_owned(),
    };
    let aad = header.associated_data()?;
    let secret = cipher(&header, passphrase)?
        .decrypt(
            XNonce::from_slice(&header.nonce),
            Payload {
                msg: &ciphertext,
                aad: &aad,
            },
        )
        .map(Zeroizing::new)
        .map_err(|_| wrong())?;
    let secret: &[u8; SECRET_BYTES] = secret.as_slice().try_into().map_err(|_| wrong())?;
    let mismatch = || SealError::Mismatch {
        path: path.to_owned(),
    };
    let keys = Keys::from_secret_bytes(secret).map_err(|_| mismatch())?;
    if keys.card() != header.card {
        return Err(mismatch());
    }
    Ok(keys)
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
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > MAX_FILE_BYTES {
        return Err(format(format!("{length} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let file: SealedFile =
        serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
    if file.header.format != FORMAT || file.header.version != VERSION {
        return Err(format(format!(
            "{} version {}",
            file.header.format, file.header.version
        )));
    }
    Ok(file)
}

impl Header {
    /// One encoding, whatever the file's white space.
    fn associated_data(&self) -> Result<Vec<u8>, SealError> {
        postcard::to_allocvec(self).map_err(|_| SealError::Encode)
    }
}

fn cipher(header: &Header, passphrase: &Passphrase) -> Result<XChaCha20Poly1305, SealError> {
    let kdf = header.kdf;
    if kdf.argon2id_memory_kib > MAX_MEMORY_KIB
        || kdf.argon2id_iterations > MAX_ITERATIONS
        || kdf.argon2id_lanes > 64
    {
        return Err(SealError::Parameters);
    }
    let params = Params::new(
        kdf.argon2id_memory_kib,
        kdf.argon2id_iterations,
        kdf.argon2id_lanes,
        Some(32),
    )
    .map_err(|_| SealError::Parameters)?;
    let mut key = Zeroizing::new([0u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), &header.salt, &mut *key)
        .map_err(|_| SealError::Parameters)?;
    Ok(XChaCha20Poly1305::new(Key::from_slice(&*key)))
}

#[cfg(test)]
mod tests;
