//! Names of a backup's files, and reading no more of one than it can have.

use crate::error::BackupError;
use crate::officer::OfficerName;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the file with the encrypted keys.
pub const BACKUP_FILE: &str = "backup.json";

/// Name of the file with an officer's share.
pub fn share_file(officer: &OfficerName) -> PathBuf {
    PathBuf::from(format!("share-{officer}.age"))
}

/// Reads a file of at most `limit` bytes; what was read is wiped when dropped.
///
/// # Errors
/// - [`BackupError::Io`], [`BackupError::TooLong`] as named.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    let io = |error| BackupError::Io {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(io)?;
    // Room for all of it at once: a vector that grows leaves copies behind.
    let room = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(BackupError::TooLong {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}
