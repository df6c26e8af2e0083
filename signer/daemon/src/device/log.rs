//! The host's log of requests to a device: JSON lines, each with the hash of the line before.
//!
//! It is this host's, and as trustworthy as the host: what was decided and why is in the device. It tells who asked what and
//! when, which the device does not know. A line is on disk before its reply leaves.

use alys_protocol::bytes::Digest;
use alys_protocol::hash::{self, TaggedHasher};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Bytes of a line at most.
const MAX_LINE_BYTES: u64 = 16 << 10;
/// A file that is longer is put aside, and a new one begun.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Characters of what a device says, in a line.
const MAX_WORDS: usize = 500;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// Number of the line, from 1.
    pub number: u64,
    /// Hash of the line before; zeros in the first.
    pub previous: Digest,
    /// Unix time in milliseconds, by this host's clock.
    pub time_ms: u64,
    /// Role of the asker's certificate.
    pub role: String,
    /// The certificate's fingerprint.
    pub certificate: String,
    /// What was asked.
    pub operation: String,
    /// What it was about.
    pub subject: String,
    /// SHA-256 of the request's bytes, tagged.
    pub request: Digest,
    /// `yes`, `no`, `error`, or why the transport turned it away.
    pub answer: String,
    /// The rule that said no, or the error.
    pub reason: String,
    /// SHA-256 of the reply's bytes, tagged; zeros where there is none.
    pub reply: Digest,
}

/// A log that cannot be read or written.
#[derive(Debug, Error)]
pub enum RequestLogError {
    /// The operating system's.
    #[error("log of requests {path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it reports.
        error: io::Error,
    },
    /// The last line is none.
    #[error("log of requests {path}: expected a line of the log at its end, found {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The log, open for appending.
#[derive(Debug)]
pub struct RequestLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
    next: u64,
    previous: Digest,
}

/// Names bytes in the log.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let hasher = TaggedHasher::without_chain(hash::AUDIT_BLOB);
    Digest::new(hasher.variable(bytes).finish())
}

fn line_hash(line: &[u8]) -> Digest {
    let hasher = TaggedHasher::without_chain(hash::AUDIT_ENTRY);
    Digest::new(hasher.variable(line).finish())
}

impl RequestLog {
    /// Opens a log and goes on after its last line; a line that a power cut tore is cut off.
    ///
    /// # Errors
    /// - [`RequestLogError`] where it cannot be read or is none.
    pub fn open(path: &Path) -> Result<Self, RequestLogError> {
        Self::open_with(path, MAX_FILE_BYTES)
    }

    fn open_with(path: &Path, max_bytes: u64) -> Result<Self, RequestLogError> {
        let io = |error| RequestLogError::Io {
            path: path.to_owned(),
            error,
        };
        let mut file = open_file(path).map_err(io)?;
        let length = file.seek(SeekFrom::End(0)).map_err(io)?;
        let start = length.saturating_sub(MAX_LINE_BYTES.saturating_mul(2));
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(io)?;
        let whole = tail
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at.saturating_add(1));
        let kept = start.saturating_add(whole as u64);
        if kept < length {
            tracing::warn!(path = %path.display(), bytes = length.saturating_sub(kept), "the last line of the log of requests is torn; it is cut off");
            file.set_len(kept).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        let mut log = Self {
            path: path.to_owned(),
            file,
            bytes: kept,
            max_bytes,
            next: 1,
            previous: Digest::ZERO,
        };
        let lines = tail.get(..whole).unwrap_or_default();
        let last = lines.split(|byte| *byte == b'\n').rev().nth(1);
        match last {
            Some(last) => {
                let entry: LogEntry =
                    serde_json::from_slice(last).map_err(|error| RequestLogError::Damaged {
                        path: path.to_owned(),
                        reason: error.to_string(),
                    })?;
                log.next = entry.number.saturating_add(1);
                log.previous = line_hash(last);
            }
            None if kept > 0 => {
                return Err(RequestLogError::Damaged {
                    path: path.to_owned(),
                    reason: format!("no line within {MAX_LINE_BYTES} bytes"),
                });
            }
            None => {}
        }
        Ok(log)
    }

    /// Writes a line durably; its number and link are filled in here.
    ///
    /// # Errors
    /// - [`RequestLogError::Io`] where it cannot; the log is then as it was before.
    pub fn append(&mut self, mut entry: LogEntry) -> Result<(), RequestLogError> {
        if self.bytes >= self.max_bytes {
            self.put_aside().map_err(|error| self.io(error))?;
        }
        entry.number = self.next;
        entry.previous = self.previous;
        for words in [&mut entry.subject, &mut entry.reason] {
            *words = words.chars().take(MAX_WORDS).collect();
        }
        let mut line =
            serde_json::to_vec(&entry).map_err(|error| self.io(io::Error::other(error)))?;
        let hash = line_hash(&line);
        line.push(b'\n');
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not become the beginning of the next one.
            if let Err(error) = self.file.set_len(self.bytes) {
                tracing::error!(%error, "the log of requests ends in a torn line");
            }
            return Err(self.io(error));
        }
        self.bytes = self.bytes.saturating_add(line.len() as u64);
        self.next = self.next.saturating_add(1);
        self.previous = hash;
        Ok(())
    }

    /// Renames the file by the number of its last line, and begins a new one with a copy of that line's link. Old files are
    /// the operator's to keep or to move away.
    fn put_aside(&mut self) -> io::Result<()> {
        let mut aside = self.path.as_os_str().to_owned();
        aside.push(format!(".{:012}", self.next.saturating_sub(1)));
        std::fs::rename(&self.path, PathBuf::from(aside))?;
        self.file = open_file(&self.path)?;
        self.bytes = 0;
        if let Some(folder) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn io(&self, error: io::Error) -> RequestLogError {
        RequestLogError::Io {
            path: self.path.clone(),
            error,
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(subject: &str) -> LogEntry {
        LogEntry {
            number: 0,
            previous: Digest::ZERO,
            time_ms: 5,
            role: "node".to_owned(),
            certificate: "00".to_owned(),
            operation: "approve".to_owned(),
            subject: subject.to_owned(),
            request: digest(b"request"),
            answer: "yes".to_owned(),
            reason: String::new(),
            reply: digest(b"reply"),
        }
    }

    /// Reads files in order and checks the chain over them.
    fn chain(files: &[PathBuf]) -> Vec<LogEntry> {
        let mut previous = Digest::ZERO;
        let mut entries = Vec::new();
        for file in files {
            for line in std::fs::read_to_string(file).unwrap().lines() {
                let entry: LogEntry = serde_json::from_str(line).unwrap();
                assert_eq!(entry.previous, previous);
                assert_eq!(entry.number, entries.len() as u64 + 1);
                previous = line_hash(line.as_bytes());
                entries.push(entry);
            }
        }
        entries
    }

    #[test]
    fn lines_are_chained_over_restarts_and_torn_ones_are_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.log");
        let mut log = RequestLog::open(&path).unwrap();
        log.append(entry("one")).unwrap();
        log.append(entry(&"long ".repeat(1000))).unwrap();
        drop(log);
        open_file(&path)
            .unwrap()
            .write_all(b"{\"number\":3,")
            .unwrap();
        let mut log = RequestLog::open(&path).unwrap();
        log.append(entry("three")).unwrap();
        let entries = chain(std::slice::from_ref(&path));
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[2].subject, "three");
        open_file(&path).unwrap().write_all(b"nonsense\n").unwrap();
        let error = RequestLog::open(&path).unwrap_err();
        assert!(matches!(error, RequestLogError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_long_file_is_put_aside_and_the_chain_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests.log");
        let mut log = RequestLog::open_with(&path, 1000).unwrap();
        for _ in 0..8 {
            log.append(entry("x")).unwrap();
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|file| *file != path)
            .collect();
        files.sort();
        assert!(!files.is_empty());
        files.push(path);
        assert_eq!(chain(&files).len(), 8);
    }
}
