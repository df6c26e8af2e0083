//! Version 1: argon2id and XChaCha20-Poly1305.

use super::{FORMAT, Opener, SealError, SealedFile, SealedText, read};
use crate::keys::{MemberCard, SECRET_BYTES, SoftwareKeys};
use crate::passphrase::Passphrase;
use alys_protocol::bytes;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use std::path::Path;
use zeroize::Zeroizing;

pub(super) const VERSION: u16 = 1;
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
pub(super) struct File {
    header: Header,
    #[serde(with = "bytes")]
    ciphertext: [u8; SECRET_BYTES + 16],
}

impl File {
    pub(super) fn into_card(self) -> MemberCard {
        self.header.card
    }
}

/// Seals keys into a new file of mode 0600.
///
/// # Errors
/// - [`SealError::Exists`] where there is a file already;
/// - [`SealError::Io`], [`SealError::Entropy`], [`SealError::Parameters`] as named.
pub fn seal(
    path: &Path,
    keys: &SoftwareKeys,
    passphrase: &Passphrase,
    kdf: Kdf,
) -> Result<(), SealError> {
    sealed(keys, passphrase, kdf)?.write(path)
}

pub(super) fn sealed(
    keys: &SoftwareKeys,
    passphrase: &Passphrase,
    kdf: Kdf,
) -> Result<SealedText, SealError> {
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
    SealedText::of(&File { header, ciphertext })
}

/// Opens a key file that a passphrase sealed.
///
/// # Errors
/// - [`SealError::Open`] where the passphrase is wrong or the file was changed;
/// - [`SealError::Opener`] where it was sealed by a token;
/// - [`SealError::Io`], [`SealError::Format`], [`SealError::Parameters`], [`SealError::Mismatch`] as named.
pub fn open(path: &Path, passphrase: &Passphrase) -> Result<SoftwareKeys, SealError> {
    let File { header, ciphertext } = match read(path)? {
        SealedFile::Passphrase(file) => file,
        other @ (SealedFile::Token(_) | SealedFile::Native(_)) => {
            return Err(other.opened_otherwise(path, Opener::Passphrase.name()));
        }
    };
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
    SoftwareKeys::from_secret_bytes(secret)
        .ok()
        .filter(|keys| keys.card() == header.card)
        .ok_or_else(|| SealError::Mismatch {
            path: path.to_owned(),
        })
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
