//! Segments of the log as files, in a folder beside the state.
//!
//! ```text
//! state.redb.audit/00000000000000004096.entries    entries and checkpoints; never removed
//! state.redb.audit/00000000000000004096.evidence   what signatures rest on, states, spec, policy
//! state.redb.audit/00000000000000004096.refused    what was refused
//! ```
//!
//! The name has the segment's first entry. Each kind of evidence has a budget of its own, so that refused requests never
//! displace those that were signed; the oldest file goes first. A file may be copied away at any time.

use super::archive::{Header, Record, Writer};
use super::entry::Sequence;
use super::journal::{Class, Reader};
use super::{AuditError, AuditLimits};
use alys_protocol::units::ChainId;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const ENTRIES: &str = "entries";
const EVIDENCE: &str = "evidence";
const REFUSED: &str = "refused";

/// The folder.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder of a state. It is made with the first segment.
    pub(crate) fn of_state(state: &Path) -> Self {
        let mut path = state.as_os_str().to_owned();
        path.push(".audit");
        Self(path.into())
    }

    /// A folder by its own path.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The log's files, oldest first.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, AuditError> {
        let mut files = Vec::new();
        for extension in [ENTRIES, EVIDENCE, REFUSED] {
            files.extend(self.files_of(extension)?.into_iter().map(|(path, _)| path));
        }
        files.sort();
        Ok(files)
    }

    /// Bytes that are free on the file system.
    pub(crate) fn free_bytes(&self) -> Result<u64, AuditError> {
        let place = self.0.parent().filter(|path| !path.as_os_str().is_empty());
        let place = place.unwrap_or(Path::new("."));
        let stat = nix::sys::statvfs::statvfs(place)
            .map_err(|error| self.io(place, io::Error::from(error)))?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// Writes a segment's files. The one with the entries comes last: where it is, the others were.
    pub(crate) fn write(
        &self,
        chain: ChainId,
        reader: &Reader,
        first: Sequence,
        end: Sequence,
    ) -> Result<(), AuditError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| self.io(&self.0, error))?;
        let header = Header { chain, first, end };
        let mut evidence = self.draft(&header, EVIDENCE)?;
        let mut refused = self.draft(&header, REFUSED)?;
        reader.blobs(first, |class, blob| {
            let draft = match class {
                Class::Kept => &mut evidence,
                Class::Refused => &mut refused,
            };
            draft.write(&Record::Blob(blob))
        })?;
        let mut entries = self.draft(&header, ENTRIES)?;
        for record in reader.entries(first, end)? {
            entries.write(&record)?;
        }
        evidence.finish()?;
        refused.finish()?;
        entries.finish()?;
        let folder = File::open(&self.0).map_err(|error| self.io(&self.0, error))?;
        folder.sync_all().map_err(|error| self.io(&self.0, error))
    }

    /// Removes the oldest evidence beyond its budget, and more where the disk is nearly full. Entries stay.
    pub(crate) fn prune(&self, limits: &AuditLimits) -> Result<(), AuditError> {
        for (extension, limit) in [
            (REFUSED, limits.refused_evidence_mib),
            (EVIDENCE, limits.evidence_mib),
        ] {
            let files = self.files_of(extension)?;
            let mut bytes: u64 = files.iter().map(|(_, size)| *size).sum();
            for (path, size) in files {
                let full = self.free_bytes()? < mib(limits.reserved_mib);
                if bytes <= mib(limit) && !full {
                    break;
                }
                std::fs::remove_file(&path).map_err(|error| self.io(&path, error))?;
                bytes = bytes.saturating_sub(size);
                tracing::info!(file = %path.display(), "old evidence is removed, its entries stay");
            }
        }
        Ok(())
    }

    fn files_of(&self, extension: &str) -> Result<Vec<(PathBuf, u64)>, AuditError> {
        let mut files = Vec::new();
        let rows = match std::fs::read_dir(&self.0) {
            Ok(rows) => rows,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(self.io(&self.0, error)),
        };
        for row in rows {
            let row = row.map_err(|error| self.io(&self.0, error))?;
            let path = row.path();
            if path.extension().is_some_and(|found| found == extension) {
                let size = row.metadata().map_err(|error| self.io(&path, error))?.len();
                files.push((path, size));
            }
        }
        files.sort();
        Ok(files)
    }

    fn draft(&self, header: &Header, extension: &str) -> Result<Draft, AuditError> {
        let path = self
            .0
            .join(format!("{:020}.{extension}", header.first.get()));
        Draft::create(path, header.clone())
    }

    fn io(&self, path: &Path, error: io::Error) -> AuditError {
        AuditError::Io {
            path: path.to_owned(),
            error,
        }
    }
}

/// Mebibytes in bytes.
pub(crate) const fn mib(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}

/// A file that gets its name once it is complete and on disk.
pub(crate) struct Draft {
    path: PathBuf,
    temporary: PathBuf,
    writer: Writer<BufWriter<File>>,
}

impl Draft {
    /// Starts a file of mode 0600. One of that name is replaced at the end.
    pub(crate) fn create(path: PathBuf, header: Header) -> Result<Self, AuditError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let writer = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|file| Writer::new(BufWriter::with_capacity(1 << 16, file), header));
        match writer {
            Ok(writer) => Ok(Self {
                path,
                temporary,
                writer,
            }),
            Err(error) => Err(AuditError::Io {
                path: temporary,
                error,
            }),
        }
    }

    pub(crate) fn write(&mut self, record: &Record) -> Result<(), AuditError> {
        self.writer.write(record).map_err(|error| AuditError::Io {
            path: self.temporary.clone(),
            error,
        })
    }

    /// fsync, then the name. The caller syncs the folder.
    pub(crate) fn finish(self) -> Result<(), AuditError> {
        let Self {
            path,
            temporary,
            writer,
        } = self;
        let finish = || -> io::Result<()> {
            let mut buffer = writer.into_inner();
            buffer.flush()?;
            buffer.get_ref().sync_all()?;
            std::fs::rename(&temporary, &path)
        };
        finish().map_err(|error| AuditError::Io { path, error })
    }
}
