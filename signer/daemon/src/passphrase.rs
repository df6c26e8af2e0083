//! Reads the passphrase from a file descriptor or a terminal; never from arguments or environment.

use std::fs::File;
use std::io::{self, Read as _};
use thiserror::Error;
use zeroize::Zeroizing;

/// Longest passphrase in bytes.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;
/// Shortest passphrase for new keys, in bytes.
pub const MIN_NEW_PASSPHRASE_BYTES: usize = 12;

/// A secret that opens sealed keys; wiped when dropped, never printed.
pub struct Passphrase(Zeroizing<String>);

impl core::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// A passphrase that cannot be had or used.
#[derive(Debug, Error)]
pub enum PassphraseError {
    /// The descriptor or terminal failed.
    #[error("the passphrase cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Wrong length.
    #[error("expected a passphrase of {least} to {MAX_PASSPHRASE_BYTES} bytes, found {found}")]
    Length {
        /// The shortest allowed.
        least: usize,
        /// Bytes found.
        found: usize,
    },
    /// Not text.
    #[error("expected a passphrase in UTF-8")]
    Encoding,
    /// The two entries differ.
    #[error("the two passphrases differ")]
    Differ,
}

impl Passphrase {
    /// Wraps a passphrase of any length; for tests and tools that have one in memory already.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Reads up to the first newline of file descriptor `fd`, or asks on the terminal where there is none.
    ///
    /// `new` asks twice and demands [`MIN_NEW_PASSPHRASE_BYTES`].
    ///
    /// # Errors
    /// - [`PassphraseError`] where it cannot be read, is too short or too long, or the entries differ.
    pub fn read(fd: Option<u32>, new: bool) -> Result<Self, PassphraseError> {
        let passphrase = match fd {
            Some(fd) => from_descriptor(fd)?,
            None => from_terminal(new)?,
        };
        let least = if new { MIN_NEW_PASSPHRASE_BYTES } else { 1 };
        let found = passphrase.0.len();
        if found < least || found > MAX_PASSPHRASE_BYTES {
            return Err(PassphraseError::Length { least, found });
        }
        Ok(passphrase)
    }
}

fn from_descriptor(fd: u32) -> Result<Passphrase, PassphraseError> {
    // A name for an open descriptor, so that no raw descriptor has to be adopted (which would be unsafe code).
    let mut file = File::open(format!("/dev/fd/{fd}"))?;
    let mut bytes = Zeroizing::new([0u8; MAX_PASSPHRASE_BYTES + 1]);
    let mut length = 0usize;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let read = file.read(rest)?;
        let line_ends = rest.iter().take(read).any(|byte| *byte == b'\n');
        length = length.saturating_add(read);
        if read == 0 || line_ends {
            break;
        }
    }
    let line = bytes
        .get(..length)
        .and_then(|bytes| bytes.split(|byte| *byte == b'\n').next())
        .unwrap_or_default();
    let text = core::str::from_utf8(line).map_err(|_| PassphraseError::Encoding)?;
    Ok(Passphrase::new(text.to_owned()))
}

fn from_terminal(new: bool) -> Result<Passphrase, PassphraseError> {
    let passphrase = Passphrase::new(rpassword::prompt_password(
        "Passphrase of the signer's keys: ",
    )?);
    if new {
        let again = Passphrase::new(rpassword::prompt_password("Again: ")?);
        if again.as_bytes() != passphrase.as_bytes() {
            return Err(PassphraseError::Differ);
        }
    }
    Ok(passphrase)
}
