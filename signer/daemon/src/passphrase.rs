//! Reads the passphrase from a file descriptor or a terminal; never from arguments or environment.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
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
            Some(fd) => Self(line_of(&mut open_descriptor(fd)?, MAX_PASSPHRASE_BYTES)?),
            None => from_terminal(new)?,
        };
        passphrase.checked(new)
    }

    /// Reads the next line of `file`.
    ///
    /// # Errors
    /// - [`PassphraseError`] where it cannot be read, is too short or too long.
    pub fn next_line(file: &mut File, new: bool) -> Result<Self, PassphraseError> {
        Self(line_of(file, MAX_PASSPHRASE_BYTES)?).checked(new)
    }

    fn checked(self, new: bool) -> Result<Self, PassphraseError> {
        let least = if new { MIN_NEW_PASSPHRASE_BYTES } else { 1 };
        let found = self.0.len();
        if found < least || found > MAX_PASSPHRASE_BYTES {
            return Err(PassphraseError::Length { least, found });
        }
        Ok(self)
    }
}

/// Opens a descriptor that this process was given. All but standard input by name, so that none has to be adopted (which
/// would be unsafe code): what is behind it must be readable for this process's user.
///
/// # Errors
/// - what the file system reports.
pub fn open_descriptor(fd: u32) -> io::Result<File> {
    if fd == 0 {
        // Also where another user opened it, as for `runuser`.
        return io::stdin().as_fd().try_clone_to_owned().map(File::from);
    }
    File::open(format!("/dev/fd/{fd}"))
}

/// Reads up to the next newline, byte by byte: what follows is left for the next reader, and no buffer keeps a copy.
/// Longer lines than `most` bytes come back one byte longer, for their reader to refuse.
///
/// # Errors
/// - [`PassphraseError::Read`] where the file cannot be read;
/// - [`PassphraseError::Encoding`] where it is no UTF-8.
pub fn line_of(file: &mut File, most: usize) -> Result<Zeroizing<String>, PassphraseError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.saturating_add(1)));
    let mut byte = Zeroizing::new([0u8; 1]);
    while bytes.len() <= most && file.read(&mut *byte)? == 1 {
        match *byte {
            [b'\n'] => break,
            [other] => bytes.push(other),
        }
    }
    core::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| PassphraseError::Encoding)
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
