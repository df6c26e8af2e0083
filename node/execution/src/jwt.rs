//! The secret that guards the Engine API, and the tokens made from it.
//!
//! Source: execution-apis `src/engine/authentication.md`: HS256, a fresh `iat` per request, 60 s of tolerance.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;
use zeroize::Zeroizing;

/// Seconds by which the clocks of the two ends may differ.
pub const MAX_CLOCK_SKEW_SECONDS: u64 = 60;

/// `{"alg":"HS256","typ":"JWT"}` in base64url.
const TOKEN_HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// A secret file holds 64 hex digits, `0x` and white space; anything longer is not one.
const MAX_FILE_BYTES: u64 = 256;

/// A secret file that cannot be used.
#[derive(Debug, Error)]
pub enum JwtSecretError {
    /// The file cannot be opened, read or made.
    #[error("JWT secret file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds something else. What it holds is not repeated.
    #[error(
        "JWT secret file {path}: expected 32 bytes as 64 hex digits, found {found} characters that are not that"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Length of what was found, white space aside.
        found: usize,
    },
    /// The system gave no randomness for a new secret.
    #[error("no randomness for a new JWT secret: {0}")]
    Randomness(String),
}

/// A token that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// No token at all.
    #[error("expected an Authorization header with a bearer token, found none")]
    Missing,
    /// Not `header.claims.signature` in base64url with `alg` HS256 and a numeric `iat`.
    #[error("expected an HS256 token with an iat claim")]
    Malformed,
    /// Signed with another secret.
    #[error("the token's signature does not match: the two sides hold different JWT secrets")]
    Signature,
    /// Issued too long ago, or in the future.
    #[error(
        "the token was issued at {issued}, more than {MAX_CLOCK_SKEW_SECONDS} s from our clock's {now}"
    )]
    Expired {
        /// Unix seconds in the token.
        issued: u64,
        /// Unix seconds here.
        now: u64,
    },
}

/// The shared secret of the two ends of an Engine API connection: 32 bytes, wiped when dropped, never printed.
pub struct JwtSecret {
    key: Zeroizing<[u8; 32]>,
    path: PathBuf,
}

impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtSecret")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl JwtSecret {
    /// Reads a secret from a file of 64 hex digits, with or without `0x`.
    ///
    /// # Errors
    /// - [`JwtSecretError::Io`] where the file cannot be read;
    /// - [`JwtSecretError::Malformed`] where it holds something else.
    pub fn from_file(path: &Path) -> Result<Self, JwtSecretError> {
        let io = |source| JwtSecretError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "the JWT secret can be read by other users");
        }
        let mut text = Zeroizing::new(String::with_capacity(
            usize::try_from(MAX_FILE_BYTES).unwrap_or(256),
        ));
        file.take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(io)?;
        let text = text.trim();
        let key =
            alys_protocol::bytes::from_hex::<32>(text).map_err(|_| JwtSecretError::Malformed {
                path: path.to_owned(),
                found: text.chars().count(),
            })?;
        Ok(Self {
            key: Zeroizing::new(key),
            path: path.to_owned(),
        })
    }

    /// Reads the secret, or makes a new one that only this user can read where the file does not exist.
    ///
    /// # Errors
    /// - as [`Self::from_file`], and [`JwtSecretError::Randomness`].
    pub fn from_file_or_new(path: &Path) -> Result<Self, JwtSecretError> {
        let io = |source| JwtSecretError::Io {
            path: path.to_owned(),
            source,
        };
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
        {
            Ok(mut file) => {
                let mut key = Zeroizing::new([0u8; 32]);
                getrandom::fill(key.as_mut_slice())
                    .map_err(|error| JwtSecretError::Randomness(error.to_string()))?;
                let text = Zeroizing::new(alloy_primitives::hex::encode(key.as_slice()));
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(io)?;
                Ok(Self {
                    key,
                    path: path.to_owned(),
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::from_file(path)
            }
            Err(source) => Err(io(source)),
        }
    }

    /// The file that the secret came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A bearer token issued now.
    pub(crate) fn token(&self) -> String {
        self.token_issued_at(unix_seconds())
    }

    fn token_issued_at(&self, issued: u64) -> String {
        let claims = URL_SAFE_NO_PAD.encode(format!("{{\"iat\":{issued}}}"));
        let message = format!("{TOKEN_HEADER}.{claims}");
        let signature = match self.mac(message.as_bytes()) {
            Some(mac) => URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()),
            None => String::new(),
        };
        format!("{message}.{signature}")
    }

    /// Checks a token against the secret and this machine's clock.
    pub(crate) fn verify(&self, token: &str) -> Result<(), TokenError> {
        self.verify_at(token, unix_seconds())
    }

    fn verify_at(&self, token: &str, now: u64) -> Result<(), TokenError> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
        }
        #[derive(Deserialize)]
        struct Claims {
            iat: u64,
        }
        fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TokenError> {
            let bytes = URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| TokenError::Malformed)?;
            serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        // "none" and the asymmetric algorithms never reach the comparison below.
        if part::<Header>(header)?.alg != "HS256" {
            return Err(TokenError::Malformed);
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Malformed)?;
        let mac = self.mac(message.as_bytes()).ok_or(TokenError::Malformed)?;
        mac.verify_slice(&signature)
            .map_err(|_| TokenError::Signature)?;
        let issued = part::<Claims>(claims)?.iat;
        if issued.abs_diff(now) > MAX_CLOCK_SKEW_SECONDS {
            return Err(TokenError::Expired { issued, now });
        }
        Ok(())
    }

    /// `None` never happens: HMAC takes keys of any length.
    fn mac(&self, message: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice()).ok()?;
        mac.update(message);
        Some(mac)
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> JwtSecret {
        JwtSecret {
            key: Zeroizing::new([byte; 32]),
            path: PathBuf::from("jwt.hex"),
        }
    }

    #[test]
    fn only_a_fresh_token_of_the_same_secret_passes() {
        let token = secret(1).token_issued_at(1_000);
        assert_eq!(secret(1).verify_at(&token, 1_000), Ok(()));
        assert_eq!(secret(1).verify_at(&token, 1_060), Ok(()));
        assert_eq!(
            secret(1).verify_at(&token, 1_061),
            Err(TokenError::Expired {
                issued: 1_000,
                now: 1_061
            })
        );
        assert_eq!(
            secret(1).verify_at(&token, 939),
            Err(TokenError::Expired {
                issued: 1_000,
                now: 939
            })
        );
        assert_eq!(
            secret(2).verify_at(&token, 1_000),
            Err(TokenError::Signature)
        );
    }

    #[test]
    fn the_algorithm_cannot_be_chosen_by_the_sender() {
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let claims = URL_SAFE_NO_PAD.encode(r#"{"iat":1000}"#);
        assert_eq!(
            secret(1).verify_at(&format!("{none}.{claims}."), 1_000),
            Err(TokenError::Malformed)
        );
        for token in ["", ".", "..", "a.b.c", "é.é.é"] {
            assert_eq!(
                secret(1).verify_at(token, 1_000),
                Err(TokenError::Malformed),
                "{token}"
            );
        }
    }

    /// RFC 7519 has no HS256 vector with `iat`; this one comes from `openssl dgst -sha256 -mac HMAC`.
    #[test]
    fn golden_token() {
        assert_eq!(
            TOKEN_HEADER,
            URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#)
        );
        assert_eq!(
            secret(0x11).token_issued_at(1_700_000_000),
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3MDAwMDAwMDB9.Hb09lNHg9IiC1UttHzXRW1voUqjM97m4oEuKWkSux5g"
        );
    }

    #[test]
    fn files_are_strict_and_the_secret_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt.hex");
        let made = JwtSecret::from_file_or_new(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let read = JwtSecret::from_file_or_new(&path).unwrap();
        assert_eq!(made.key, read.key);
        let shown = format!("{read:?}");
        assert!(
            !shown.contains(&alloy_primitives::hex::encode(read.key.as_slice())),
            "{shown}"
        );
        File::create(&path).unwrap().write_all(b"0x1234").unwrap();
        let error = JwtSecret::from_file(&path).unwrap_err().to_string();
        assert!(
            error.contains("expected 32 bytes") && error.contains("found 6"),
            "{error}"
        );
        let missing = JwtSecret::from_file(&folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, JwtSecretError::Io { .. }));
    }
}
