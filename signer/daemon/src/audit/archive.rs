//! The file format, and an index over files and rows.
//!
//! A file is [`MAGIC`], then records: each its length as u32, big-endian, then postcard. The first is the [`Header`]. The
//! signer's own segments and the file that an auditor takes away have the same format, so that one may be copied for the
//! other, and several files are read as one log.

use super::checkpoint::Checkpoint;
use super::entry::{Blob, Entry, EntryError, Sequence};
use alys_protocol::bytes::Digest;
use alys_protocol::signer::MAX_FRAME_BYTES;
use alys_protocol::units::ChainId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// First bytes of a file.
pub const MAGIC: &[u8] = b"alys-audit/1\n";
/// Bytes of a record at most: a request's frame, or a state, and a little.
pub const MAX_RECORD_BYTES: usize = MAX_FRAME_BYTES + (1 << 20);

/// What a file has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The chain that every hash starts with.
    pub chain: ChainId,
    /// The first entry that it is about.
    pub first: Sequence,
    /// One past the last.
    pub end: Sequence,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// First in each file.
    Header(Header),
    /// An entry's encoding.
    Entry(Vec<u8>),
    /// A blob.
    Blob(Blob),
    /// A checkpoint.
    Checkpoint(Checkpoint),
}

/// A file that cannot be read or written.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The file system.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// Not such a file, or a damaged one.
    #[error("{path}, byte {offset}: expected {expected}, found {found}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Files of two chains.
    #[error("{path}: expected a log of chain {expected}, found {found}", path = path.display())]
    Chain {
        /// The file.
        path: PathBuf,
        /// Chain of the files before.
        expected: ChainId,
        /// Chain of this one.
        found: ChainId,
    },
    /// Two different entries under one number.
    #[error("{path}: entry {sequence} is not the one that is in another file", path = path.display())]
    Fork {
        /// The file.
        path: PathBuf,
        /// The number.
        sequence: Sequence,
    },
    /// Not an entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// Writes a file's records.
#[derive(Debug)]
pub struct Writer<W>(W);

impl<W: Write> Writer<W> {
    /// Starts a file.
    ///
    /// # Errors
    /// - whatever `to` reports.
    pub fn new(mut to: W, header: Header) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        let mut writer = Self(to);
        writer.write(&Record::Header(header))?;
        Ok(writer)
    }

    /// Writes a record.
    ///
    /// # Errors
    /// - whatever the file reports, or a record that is too long.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        let bytes = postcard::to_allocvec(record).map_err(io::Error::other)?;
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(io::Error::other("a record is too long"));
        }
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(&bytes)
    }

    /// What it wrote to.
    pub fn into_inner(self) -> W {
        self.0
    }
}

/// Where a record's bytes are.
#[derive(Debug, Clone)]
enum Place {
    File {
        file: usize,
        offset: u64,
        length: usize,
    },
    Memory(Vec<u8>),
}

/// A log in files, in memory, or both. Entries and blobs stay where they are until they are asked for.
#[derive(Debug, Default)]
pub struct Archive {
    chain: Option<ChainId>,
    files: Vec<(PathBuf, File)>,
    entries: BTreeMap<Sequence, Place>,
    blobs: BTreeMap<Digest, Place>,
    checkpoints: BTreeMap<Sequence, Checkpoint>,
    /// The entries that the files say they are about.
    announced: Option<(Sequence, Sequence)>,
}

impl Archive {
    /// Reads files, in any order.
    ///
    /// # Errors
    /// - [`ArchiveError`] for the first file that is not one, or does not fit to the others.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, ArchiveError> {
        let mut archive = Self::default();
        for path in paths {
            archive.add_file(path.as_ref())?;
        }
        Ok(archive)
    }

    /// The chain; none in an archive without files.
    pub fn chain(&self) -> Option<ChainId> {
        self.chain
    }

    /// The number of the first entry, and one past the last, that there is or should be.
    pub fn range(&self) -> (Sequence, Sequence) {
        let found = self
            .entries
            .first_key_value()
            .zip(self.entries.last_key_value())
            .map(|((first, _), (last, _))| (*first, last.next()));
        match (found, self.announced) {
            (Some((first, end)), Some(announced)) => (first.min(announced.0), end.max(announced.1)),
            (Some(range), None) | (None, Some(range)) => range,
            (None, None) => (Sequence::default(), Sequence::default()),
        }
    }

    /// The encoding of an entry.
    ///
    /// # Errors
    /// - [`ArchiveError::Io`], [`ArchiveError::Format`] where the file changed meanwhile.
    pub fn entry(&self, sequence: Sequence) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(place) = self.entries.get(&sequence) else {
            return Ok(None);
        };
        match self.load(place)? {
            Record::Entry(bytes) => Ok(Some(bytes)),
            Record::Header(_) | Record::Blob(_) | Record::Checkpoint(_) => Ok(None),
        }
    }

    /// A blob, whose digest was checked when it was indexed.
    ///
    /// # Errors
    /// - [`ArchiveError::Io`], [`ArchiveError::Format`] where the file changed meanwhile.
    pub fn blob(&self, digest: Digest) -> Result<Option<Blob>, ArchiveError> {
        let Some(place) = self.blobs.get(&digest) else {
            return Ok(None);
        };
        match self.load(place)? {
            Record::Blob(blob) => Ok(Some(blob)),
            Record::Header(_) | Record::Entry(_) | Record::Checkpoint(_) => Ok(None),
        }
    }

    /// Whether there is a blob.
    pub fn has_blob(&self, digest: Digest) -> bool {
        self.blobs.contains_key(&digest)
    }

    /// Every digest of a blob that there is.
    pub fn blob_digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.blobs.keys().copied()
    }

    /// The checkpoints, by how many entries they cover.
    pub fn checkpoints(&self) -> &BTreeMap<Sequence, Checkpoint> {
        &self.checkpoints
    }

    /// Adds what is not in files: `chain` is that of the records.
    ///
    /// # Errors
    /// - [`ArchiveError`] where it does not fit to what is there.
    pub fn add_memory(&mut self, chain: ChainId, record: Record) -> Result<(), ArchiveError> {
        self.same_chain(Path::new("state"), chain)?;
        let bytes =
            postcard::to_allocvec(&record).map_err(|error| EntryError(error.to_string()))?;
        self.index(Path::new("state"), chain, record, Place::Memory(bytes))
    }

    /// Says that there should be entries from `first` to before `end`.
    pub(crate) fn announce(&mut self, first: Sequence, end: Sequence) {
        let known = self.announced.get_or_insert((first, end));
        *known = (known.0.min(first), known.1.max(end));
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ArchiveError> {
        let io = |error| ArchiveError::Io {
            path: path.to_owned(),
            error,
        };
        let format = |offset, expected, found| ArchiveError::Format {
            path: path.to_owned(),
            offset,
            expected,
            found,
        };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut reader = BufReader::new(file.try_clone().map_err(io)?);
        let number = self.files.len();
        self.files.push((path.to_owned(), file));
        let mut magic = [0u8; MAGIC.len()];
        if length < MAGIC.len() as u64 {
            return Err(format(0, "an audit log", format!("{length} bytes")));
        }
        reader.read_exact(&mut magic).map_err(io)?;
        if magic != MAGIC {
            let found = String::from_utf8_lossy(&magic).into_owned();
            return Err(format(0, "an audit log", format!("{found:?}")));
        }
        let mut offset = MAGIC.len() as u64;
        let mut chain = None;
        while offset < length {
            let record_length = read_length(&mut reader, length - offset)
                .map_err(|found| format(offset, "the length of a record", found))?;
            let mut bytes = vec![0u8; record_length];
            reader.read_exact(&mut bytes).map_err(io)?;
            let record =
                parse(&bytes).map_err(|found| format(offset, "a record", found.to_owned()))?;
            let place = Place::File {
                file: number,
                offset: offset + 4,
                length: record_length,
            };
            match (chain, record) {
                (None, Record::Header(header)) => {
                    self.same_chain(path, header.chain)?;
                    self.announce(header.first, header.end);
                    chain = Some(header.chain);
                }
                (Some(_), Record::Header(_)) => {
                    return Err(format(offset, "one header", "another".to_owned()));
                }
                (None, _) => return Err(format(offset, "a header", "another record".to_owned())),
                (Some(chain), record) => self.index(path, chain, record, place)?,
            }
            offset += 4 + record_length as u64;
        }
        Ok(())
    }

    fn same_chain(&mut self, path: &Path, found: ChainId) -> Result<(), ArchiveError> {
        let expected = *self.chain.get_or_insert(found);
        if expected == found {
            return Ok(());
        }
        Err(ArchiveError::Chain {
            path: path.to_owned(),
            expected,
            found,
        })
    }

    fn index(
        &mut self,
        path: &Path,
        chain: ChainId,
        record: Record,
        place: Place,
    ) -> Result<(), ArchiveError> {
        match record {
            Record::Header(_) => {}
            Record::Entry(bytes) => {
                let sequence = Entry::decode(&bytes)?.sequence;
                let known = self.entry(sequence)?;
                if known.as_ref().is_some_and(|known| *known != bytes) {
                    return Err(ArchiveError::Fork {
                        path: path.to_owned(),
                        sequence,
                    });
                }
                if known.is_none() {
                    self.entries.insert(sequence, place);
                }
            }
            Record::Blob(blob) => {
                self.blobs.entry(blob.digest(chain)).or_insert(place);
            }
            Record::Checkpoint(checkpoint) => {
                self.checkpoints.insert(checkpoint.count, checkpoint);
            }
        }
        Ok(())
    }

    fn load(&self, place: &Place) -> Result<Record, ArchiveError> {
        match place {
            Place::Memory(bytes) => parse(bytes).map_err(|found| ArchiveError::Format {
                path: PathBuf::from("state"),
                offset: 0,
                expected: "a record",
                found: found.to_owned(),
            }),
            Place::File {
                file,
                offset,
                length,
            } => {
                let (path, file) = self.files.get(*file).ok_or_else(|| {
                    ArchiveError::Entry(EntryError("a file that is not open".to_owned()))
                })?;
                let read = || -> io::Result<Vec<u8>> {
                    let mut file = file;
                    file.seek(SeekFrom::Start(*offset))?;
                    let mut bytes = vec![0u8; *length];
                    file.read_exact(&mut bytes)?;
                    Ok(bytes)
                };
                let bytes = read().map_err(|error| ArchiveError::Io {
                    path: path.clone(),
                    error,
                })?;
                parse(&bytes).map_err(|found| ArchiveError::Format {
                    path: path.clone(),
                    offset: *offset,
                    expected: "a record",
                    found: found.to_owned(),
                })
            }
        }
    }
}

fn read_length(reader: &mut impl io::Read, left: u64) -> Result<usize, String> {
    let mut length = [0u8; 4];
    reader
        .read_exact(&mut length)
        .map_err(|_| format!("{left} bytes at the end"))?;
    let length = u32::from_be_bytes(length);
    let fits = u64::from(length) <= left.saturating_sub(4);
    usize::try_from(length)
        .ok()
        .filter(|length| fits && *length <= MAX_RECORD_BYTES)
        .ok_or_else(|| format!("{length} of {} left", left.saturating_sub(4)))
}

fn parse(bytes: &[u8]) -> Result<Record, &'static str> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Ok(record),
        Ok(_) => Err("bytes after it"),
        Err(_) => Err("other bytes"),
    }
}
