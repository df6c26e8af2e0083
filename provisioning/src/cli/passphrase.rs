//! An officer's passphrase, from a descriptor or a terminal; never from arguments or environment.

use std::fs::File;
use std::io::{self, Read as _};
use zeroize::Zeroizing;

/// Longest passphrase in bytes; minisign's own limit.
const MAX_BYTES: usize = 1024;

/// Reads up to the first newline of descriptor `fd`, or asks on the terminal, twice where it is `new`.
pub(super) fn read(fd: Option<u32>, new: bool) -> io::Result<Zeroizing<String>> {
    let Some(fd) = fd else {
        let first = Zeroizing::new(rpassword::prompt_password(
            "Passphrase of the officer's key: ",
        )?);
        if new && *Zeroizing::new(rpassword::prompt_password("Again: ")?) != *first {
            return Err(io::Error::other("the two passphrases differ"));
        }
        return Ok(first);
    };
    // A name for an open descriptor, so that no raw descriptor has to be adopted (which would be unsafe code).
    let mut file = File::open(format!("/dev/fd/{fd}"))?;
    // Byte by byte: a buffered reader would leave the passphrase in memory that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let mut byte = Zeroizing::new([0u8; 1]);
    while file.read(&mut *byte)? == 1 && byte[0] != b'\n' {
        if bytes.len() == MAX_BYTES {
            let error = format!("expected a passphrase of at most {MAX_BYTES} bytes, found more");
            return Err(io::Error::other(error));
        }
        bytes.push(byte[0]);
    }
    core::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| io::Error::other("expected a passphrase in UTF-8"))
}
