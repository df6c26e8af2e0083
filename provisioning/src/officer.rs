//! Officers: who decides about the signers of a federation. Their keys are minisign's (Ed25519), so that `minisign` itself
//! can make them and sign with them, too.

use crate::files::{self, FileError, Readers};
use crate::paper::Paper;
use alys_signer_core::admin::{OfficerKey, Officers, OfficersError};
use minisign::{KeyPair, PError, PublicKey, PublicKeyBox, SecretKey, SecretKeyBox};
use serde::Serialize;
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// Shortest passphrase for a new key, in bytes.
pub const MIN_PASSPHRASE_BYTES: usize = 12;
/// How a signature's name ends; signers look for it beside the policy.
const SIGNATURE_SUFFIX: &str = "minisig";

/// What officers cannot do.
#[derive(Debug, Error)]
pub enum OfficerError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key or a passphrase that does not open it.
    #[error("{path}: {error}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What minisign says.
        error: PError,
    },
    /// Not enough to keep a stolen key file closed.
    #[error("expected a passphrase of at least {MIN_PASSPHRASE_BYTES} bytes, found {found}")]
    Passphrase {
        /// Bytes found.
        found: usize,
    },
    /// A name that is no part of a file's name.
    #[error("expected an officer's name of letters, digits and dashes, found {0:?}")]
    Name(String),
    /// A set of officers that signers refuse.
    #[error(transparent)]
    Officers(#[from] OfficersError),
}

/// An officer with an open key.
pub struct Officer {
    name: String,
    public: PublicKey,
    secret: SecretKey,
}

impl core::fmt::Debug for Officer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Officer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Officer {
    /// Makes a key: `NAME.key`, which the passphrase opens, and `NAME.pub`. Gives the path of the former.
    ///
    /// # Errors
    /// - [`OfficerError`] where the name or the passphrase will not do, or a file exists or cannot be written.
    pub fn create(folder: &Path, name: &str, passphrase: &str) -> Result<PathBuf, OfficerError> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(OfficerError::Name(name.to_owned()));
        }
        if passphrase.len() < MIN_PASSPHRASE_BYTES {
            return Err(OfficerError::Passphrase {
                found: passphrase.len(),
            });
        }
        let path = folder.join(format!("{name}.key"));
        let failed = |error| OfficerError::Key {
            path: path.clone(),
            error,
        };
        let pair =
            KeyPair::generate_encrypted_keypair(Some(passphrase.to_owned())).map_err(failed)?;
        let comment = format!("encrypted key of officer {name}");
        let secret = pair.sk.to_box(Some(&comment)).map_err(failed)?;
        let public = pair.pk.to_box().map_err(failed)?;
        files::write_new(&path, secret.into_string().as_bytes(), Readers::Owner)?;
        files::write_new(
            &folder.join(format!("{name}.pub")),
            public.into_string().as_bytes(),
            Readers::All,
        )?;
        Ok(path)
    }

    /// Opens a key; the officer's name is the file's, without its ending.
    ///
    /// # Errors
    /// - [`OfficerError`] where the file is no key or the passphrase another one's.
    pub fn open(path: &Path, passphrase: &str) -> Result<Self, OfficerError> {
        let failed = |error| OfficerError::Key {
            path: path.to_owned(),
            error,
        };
        let text = Zeroizing::new(files::read(path)?);
        let secret = SecretKeyBox::from_string(&text)
            .and_then(|key| key.into_secret_key(Some(passphrase.to_owned())))
            .map_err(failed)?;
        Ok(Self {
            name: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            public: PublicKey::from_secret_key(&secret).map_err(failed)?,
            secret,
        })
    }

    /// Signs a policy or a statement: `FILE.NAME.minisig` beside it. Gives that path.
    ///
    /// # Errors
    /// - [`OfficerError`] where the signature exists or cannot be written.
    pub fn sign(&self, paper: &Paper) -> Result<PathBuf, OfficerError> {
        let mut name = paper.path().file_name().unwrap_or_default().to_owned();
        let comment = format!("{} by {}", name.to_string_lossy(), self.name);
        let bytes = paper.text().as_bytes();
        name.push(format!(".{}.{SIGNATURE_SUFFIX}", self.name));
        let path = paper.path().with_file_name(name);
        self.sign_bytes(bytes, &comment, &path)?;
        Ok(path)
    }

    /// The public key, as one line of base64.
    pub fn public_key(&self) -> String {
        self.public.to_base64()
    }

    /// Signs what this crate made itself, into the new file `output`.
    pub(crate) fn sign_bytes(
        &self,
        bytes: &[u8],
        comment: &str,
        output: &Path,
    ) -> Result<(), OfficerError> {
        let signature =
            minisign::sign(Some(&self.public), &self.secret, bytes, Some(comment), None).map_err(
                |error| OfficerError::Key {
                    path: output.to_owned(),
                    error,
                },
            )?;
        Ok(files::write_new(
            output,
            signature.into_string().as_bytes(),
            Readers::All,
        )?)
    }
}

/// Whose signatures a signer counts, in its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfficersConfig {
    /// Officers who decide together.
    threshold: usize,
    /// Their public keys.
    keys: Vec<String>,
}

impl OfficersConfig {
    /// Reads officers' `.pub` files; without `threshold` the smallest majority decides.
    ///
    /// # Errors
    /// - [`OfficerError`] where a file is no public key, or a signer would refuse the set.
    pub fn read(threshold: Option<usize>, files: &[PathBuf]) -> Result<Self, OfficerError> {
        let mut keys = Vec::new();
        let mut bare = Vec::new();
        for path in files {
            let key = PublicKeyBox::from_string(&files::read(path)?)
                .and_then(|text| text.into_public_key())
                .map_err(|error| OfficerError::Key {
                    path: path.clone(),
                    error,
                })?;
            let bytes = key.to_bytes();
            // Algorithm and key number come first.
            if let Some(key) = bytes.last_chunk::<32>() {
                bare.push(OfficerKey::new(*key));
            }
            keys.push(key.to_base64());
        }
        let threshold = threshold.unwrap_or(keys.len() / 2 + 1);
        Officers::new(threshold, &bare)?;
        Ok(Self { threshold, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sealed_and_names_and_passphrases_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let passphrase = "quarry-velvet-9";
        let key = Officer::create(folder, "alice", passphrase).unwrap();
        let again = Officer::create(folder, "alice", passphrase).unwrap_err();
        assert!(again.to_string().contains("alice.key"), "{again}");
        let officer = Officer::open(&key, passphrase).unwrap();
        assert_eq!(format!("{officer:?}"), "Officer { name: \"alice\", .. }");
        let other = "quarry-velvet-8";
        assert!(matches!(
            Officer::open(&key, other),
            Err(OfficerError::Key { .. })
        ));
        let short = "short";
        assert!(matches!(
            Officer::create(folder, "bob", short),
            Err(OfficerError::Passphrase { found: 5 })
        ));
        for name in ["", "../bob", "b b", "b.b"] {
            assert!(matches!(
                Officer::create(folder, name, passphrase),
                Err(OfficerError::Name(_))
            ));
        }
        assert!(Officer::open(&folder.join("alice.pub"), passphrase).is_err());
        assert!(OfficersConfig::read(None, std::slice::from_ref(&key)).is_err());
    }

    #[test]
    fn a_majority_decides_unless_said_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = "quarry-velvet-9";
        let public: Vec<PathBuf> = ["a", "b", "c"]
            .into_iter()
            .map(|name| {
                Officer::create(folder.path(), name, passphrase)
                    .unwrap()
                    .with_extension("pub")
            })
            .collect();
        assert_eq!(OfficersConfig::read(None, &public).unwrap().threshold, 2);
        assert_eq!(OfficersConfig::read(Some(3), &public).unwrap().threshold, 3);
        assert!(OfficersConfig::read(Some(1), &public).is_err());
        assert!(OfficersConfig::read(None, &[]).is_err());
        let twice = vec![public[0].clone(), public[0].clone()];
        assert!(OfficersConfig::read(None, &twice).is_err());
    }
}
