//! The PIN, read from its file for each login and wiped after it.

use crate::error::TokenError;
use cryptoki::types::AuthPin;
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Longest PIN in bytes.
const MAX_PIN_BYTES: usize = 255;

/// Which state of a PIN file was read; another one after every change of it. Says nothing about the PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp([i64; 5]);

/// Excludes the processes that log in with the same file, until what is returned is dropped. Nobody but its owner may open
/// it, so nobody else can hold this up.
pub(crate) fn lock(path: &Path) -> Result<File, TokenError> {
    let file = open(path)?;
    file.lock()
        .map_err(|error| TokenError::pin_file(path, &error))?;
    Ok(file)
}

fn open(path: &Path) -> Result<File, TokenError> {
    OpenOptions::new()
        .read(true)
        // A named pipe would otherwise be waited for.
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(|error| TokenError::pin_file(path, &error))
}

/// Reads the PIN, up to a line's end at its end.
pub(crate) fn read(path: &Path) -> Result<(AuthPin, Stamp), TokenError> {
    let refused = |reason: String| TokenError::PinFile {
        path: path.to_owned(),
        reason,
    };
    let io = |error| TokenError::pin_file(path, &error);
    let mut file = open(path)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(refused("expected a regular file".to_owned()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(refused(format!(
            "expected a file for its owner only (mode 0600 or 0400), found mode {mode:04o}"
        )));
    }
    let user = nix::unistd::geteuid().as_raw();
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(refused(format!(
            "expected it to belong to user {user} or root, found user {}",
            metadata.uid()
        )));
    }

    let mut bytes = Zeroizing::new([0u8; MAX_PIN_BYTES + 2]);
    let mut length = 0usize;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(io)? {
            0 => break,
            read => length = length.saturating_add(read),
        }
    }
    let line = bytes.get(..length).unwrap_or_default();
    let pin = line.strip_suffix(b"\n").unwrap_or(line);
    if pin.is_empty() || pin.len() > MAX_PIN_BYTES {
        return Err(refused(format!(
            "expected a PIN of 1 to {MAX_PIN_BYTES} bytes, found {}",
            if pin.is_empty() { "none" } else { "more" }
        )));
    }
    let pin = std::str::from_utf8(pin)
        .ok()
        .filter(|pin| !pin.chars().any(char::is_control))
        .ok_or_else(|| refused("expected one line of UTF-8 text".to_owned()))?;
    let stamp = Stamp([
        metadata.dev().cast_signed(),
        metadata.ino().cast_signed(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.size().cast_signed(),
    ]);
    // Exactly as large as it is, so that no copy is left behind; wiped when dropped.
    Ok((AuthPin::new(Box::from(pin)), stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(directory: &tempfile::TempDir, bytes: &[u8], mode: u32) -> std::path::PathBuf {
        let path = directory.path().join("pin");
        let _ = std::fs::remove_file(&path);
        std::fs::File::create(&path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_pin_is_one_line_that_only_its_owner_reads() {
        let directory = tempfile::tempdir().unwrap();
        let longest = "9".repeat(MAX_PIN_BYTES);
        for good in [
            "1234",
            "1234\n",
            " blank ",
            &longest,
            &format!("{longest}\n"),
        ] {
            assert!(
                read(&file(&directory, good.as_bytes(), 0o400)).is_ok(),
                "{good:?}"
            );
        }
        let mut cases = vec![
            (&b""[..], 0o600, "none"),
            (b"\n", 0o600, "none"),
            (b"12\n34", 0o600, "one line"),
            (b"1234\n\n", 0o600, "one line"),
            (b"12\xff", 0o600, "UTF-8"),
            (b"1234", 0o640, "0640"),
            (b"1234", 0o604, "0604"),
        ];
        let long = "9".repeat(MAX_PIN_BYTES + 1);
        let longer = "9".repeat(100_000);
        cases.push((long.as_bytes(), 0o600, "more"));
        cases.push((longer.as_bytes(), 0o600, "more"));
        for (bytes, mode, word) in cases {
            let error = read(&file(&directory, bytes, mode)).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn pipes_folders_and_nothing_are_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for path in [&pipe, directory.path(), &directory.path().join("none")] {
            assert!(matches!(read(path), Err(TokenError::PinFile { .. })));
        }
    }

    #[test]
    fn the_stamp_changes_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, b"1234", 0o600);
        let (_, first) = read(&path).unwrap();
        assert_eq!(first, read(&path).unwrap().1);
        let path = file(&directory, b"12345", 0o600);
        assert_ne!(first, read(&path).unwrap().1);
    }
}
