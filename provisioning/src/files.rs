//! Files that are whole or not there, and private where they hold a secret.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner: mode 0600.
    Owner,
    /// Everybody: mode 0644.
    All,
}

/// A file that cannot be read or written.
#[derive(Debug, Error)]
#[error("cannot {verb} {path}: {error}", path = path.display())]
pub struct FileError {
    /// `read` or `write`.
    pub verb: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub error: io::Error,
}

/// Writes a new file atomically and durably: temporary file, fsync, link, fsync of the folder. Missing folders are
/// made. Never replaces a file.
///
/// # Errors
/// - [`FileError`] with [`io::ErrorKind::AlreadyExists`] where there is one, and otherwise what the file system reports.
pub fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), FileError> {
    // A link never replaces.
    install(path, bytes, readers, |from, to| {
        std::fs::hard_link(from, to)
    })
}

/// Like [`write_new`], but replaces a file of the same name.
///
/// # Errors
/// - [`FileError`] with what the file system reports.
pub fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), FileError> {
    install(path, bytes, readers, |from, to| std::fs::rename(from, to))
}

/// Reads a text file of at most 1 MiB; nothing that provisioning reads comes near.
///
/// # Errors
/// - [`FileError`] with what the file system reports.
pub fn read(path: &Path) -> Result<String, FileError> {
    use std::io::Read as _;
    const MAX_BYTES: u64 = 1 << 20;
    let failed = |error| FileError {
        verb: "read",
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    let length = file
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if length as u64 > MAX_BYTES {
        return Err(failed(io::Error::other(
            "expected at most 1 MiB, found more",
        )));
    }
    Ok(text)
}

fn install(
    path: &Path,
    bytes: &[u8],
    readers: Readers,
    place: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<(), FileError> {
    let failed = |error| FileError {
        verb: "write",
        path: path.to_owned(),
        error,
    };
    let name = path
        .file_name()
        .ok_or_else(|| failed(io::Error::other("expected a path that names a file")))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    // Private even where the file is not: another in it may be.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(failed)?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(temporary);
    let placed = create(&temporary, bytes, readers).and_then(|()| place(&temporary, path));
    // Gone already after a rename; a leftover of a crash is harmless.
    let _ = std::fs::remove_file(&temporary);
    placed
        .and_then(|()| File::open(&folder)?.sync_all())
        .map_err(failed)
}

fn create(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    // A leftover of a crash may have another mode.
    let _ = std::fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_new_file_is_private_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/secret");
        write_new(&path, b"one", Readers::Owner).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = write_new(&path, b"two", Readers::Owner).unwrap_err();
        assert_eq!(again.error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path).unwrap(), "one");
        write(&path, b"three", Readers::All).unwrap();
        assert_eq!(read(&path).unwrap(), "three");
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }
}
