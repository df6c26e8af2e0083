//! An officer's passphrase, from a descriptor or a terminal; never from arguments or environment.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
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
    let file = File::open(format!("/dev/fd/{fd}"))?.take(MAX_BYTES as u64 + 1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    BufReader::new(file).read_until(b'\n', &mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() > MAX_BYTES {
        let error = format!("expected a passphrase of at most {MAX_BYTES} bytes, found more");
        return Err(io::Error::other(error));
    }
    core::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| io::Error::other("expected a passphrase in UTF-8"))
}
