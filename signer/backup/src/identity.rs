//! `age` identities: officers' own, and the one of an occasion on which a backup is opened.

use crate::error::BackupError;
use crate::files::read_bounded;
use crate::officer::Recipient;
use age::armor::ArmoredReader;
use age::encrypted::EncryptedIdentity;
use age::secrecy::{ExposeSecret as _, SecretString};
use age::{Callbacks, Decryptor, IdentityFile};
use core::fmt;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest identity file that is read.
const MAX_BYTES: u64 = 16 << 10;
/// Most work that a passphrase may cost, as log2 of scrypt's N: 1 GiB.
const MAX_WORK_FACTOR: u8 = 20;

/// Secret X25519 keys as `age-keygen` writes them. Never printed.
pub struct Identity {
    keys: Vec<Box<dyn age::Identity + Send + Sync>>,
    recipients: Vec<Recipient>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(of {:?})", self.recipients)
    }
}

impl Identity {
    /// Makes one from the operating system's entropy.
    pub fn generate() -> Self {
        Self::of_key(age::x25519::Identity::generate())
    }

    /// Makes one, and its file as `age-keygen` would write it.
    pub fn generate_with_file() -> (Self, Zeroizing<String>) {
        let key = age::x25519::Identity::generate();
        let secret = key.to_string();
        let file = Zeroizing::new(format!(
            "# public key: {}\n{}\n",
            key.to_public(),
            secret.expose_secret()
        ));
        (Self::of_key(key), file)
    }

    fn of_key(key: age::x25519::Identity) -> Self {
        Self {
            recipients: vec![Recipient::new(key.to_public())],
            keys: vec![Box::new(key)],
        }
    }

    /// Reads an identity file: plain, or encrypted under a passphrase (`age -p`), for which `ask` is called then.
    ///
    /// # Errors
    /// - [`BackupError::Identity`], [`BackupError::Passphrase`], [`BackupError::Io`], [`BackupError::TooLong`] as named.
    pub fn read(
        path: &Path,
        ask: impl FnOnce() -> io::Result<Zeroizing<String>>,
    ) -> Result<Self, BackupError> {
        let bytes = read_bounded(path, MAX_BYTES)?;
        Self::parse(&bytes, ask).map_err(|error| error.at(path))
    }

    /// The same from memory.
    ///
    /// # Errors
    /// - [`BackupError::Identity`], [`BackupError::Passphrase`] as named.
    pub fn parse(
        bytes: &[u8],
        ask: impl FnOnce() -> io::Result<Zeroizing<String>>,
    ) -> Result<Self, BackupError> {
        let encrypted = [&b"age-encryption.org/"[..], b"-----BEGIN AGE"];
        if !encrypted.iter().any(|start| bytes.starts_with(start)) {
            let file = IdentityFile::from_buffer(bytes).map_err(wrong)?;
            return Self::of_file(file);
        }
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(wrong)?;
        if !decryptor.is_scrypt() {
            return Err(BackupError::Identity(
                "it is encrypted, but not under a passphrase".to_owned(),
            ));
        }
        let passphrase = ask().map_err(BackupError::Passphrase)?;
        let answer = Answer(SecretString::from(passphrase.as_str().to_owned()));
        EncryptedIdentity::new(decryptor, answer, Some(MAX_WORK_FACTOR))
            .ok_or(BackupError::Encode)?
            .decrypt(None)
            .map_err(wrong)
            .and_then(Self::of_file)
    }

    fn of_file<C: Callbacks>(file: IdentityFile<C>) -> Result<Self, BackupError> {
        let mut text = Vec::new();
        file.write_recipients_file(&mut text).map_err(wrong)?;
        let recipients = String::from_utf8_lossy(&text)
            .lines()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let keys = file.into_identities().map_err(wrong)?;
        Ok(Self { keys, recipients })
    }

    /// Whom others encrypt to.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys
            .iter()
            .map(|key| key.as_ref() as &dyn age::Identity)
    }
}

fn wrong(error: impl fmt::Display) -> BackupError {
    BackupError::Identity(error.to_string())
}

/// Answers the question for the passphrase, which was asked already.
#[derive(Clone)]
struct Answer(SecretString);

impl Callbacks for Answer {
    fn display_message(&self, _message: &str) {}

    fn confirm(&self, _message: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _description: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, _description: &str) -> Option<SecretString> {
        Some(self.0.clone())
    }
}
