//! Files that survive a power cut and that nobody else reads; and one kind that everybody may read.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Whether a file may replace one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It may.
    Replace,
    /// It is an error, and the old file stays.
    Refuse,
}

/// Writes a file of mode 0600 atomically and durably: temporary file, fsync, rename, fsync of the directory.
///
/// # Errors
/// - [`io::ErrorKind::AlreadyExists`] where there is one and `existing` refuses;
/// - whatever the file system reports.
pub fn write_durably(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("expected a path that names a file"))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let mut temporary_name = name.to_owned();
    temporary_name.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(temporary_name);
    let written = write_new(&temporary, bytes).and_then(|()| match existing {
        Existing::Replace => std::fs::rename(&temporary, path),
        // A link never replaces; the temporary name is removed below.
        Existing::Refuse => std::fs::hard_link(&temporary, path),
    });
    if written.is_err() || existing == Existing::Refuse {
        // Nothing depends on it any more; a leftover of an earlier crash is harmless, too.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    File::open(&directory)?.sync_all()
}

/// Replaces a file of mode 0644 as a whole: a reader finds the old one or the new one. It need not survive a power cut.
///
/// # Errors
/// - whatever the file system reports.
pub fn write_visible(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        // Whatever the process's mask takes away.
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(bytes)?;
        std::fs::rename(&temporary, path)
    };
    written().inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visible_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signer.prom");
        for text in ["one", "two"] {
            write_visible(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(write_visible(&directory.path().join("none/file"), b"x").is_err());
    }

    #[test]
    fn a_file_is_private_and_not_replaced_by_accident() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_durably(&path, b"one", Existing::Refuse).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = write_durably(&path, b"two", Existing::Refuse).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_durably(&path, b"three", Existing::Replace).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
