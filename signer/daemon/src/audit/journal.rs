//! The newest part of the log, in the state's own database, so that an entry and the state that it is about are written by
//! one transaction. Whole segments move to files ([`super::folder`]): the database stays small, and with it the time that
//! its repair takes after a power cut.

use super::archive::Record;
use super::checkpoint::{Checkpoint, SealedAuditKey};
use super::entry::{Blob, Entry, Event, Sequence, UnixMillis, Verdict, entry_hash};
use super::{AuditError, damaged};
use alys_protocol::bytes::Digest;
use alys_protocol::units::ChainId;
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable as _, Table, TableDefinition, TableError,
    WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const HEAD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("audit");
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit-entries");
/// By the segment's first entry, then digest.
const BLOBS: TableDefinition<'_, (u64, &[u8; 32]), &[u8]> = TableDefinition::new("audit-blobs");
const CHECKPOINTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit-checkpoints");
/// Segments that are complete: the first entry, and one past the last.
const SEGMENTS: TableDefinition<'_, u64, u64> = TableDefinition::new("audit-segments");

const HEAD_KEY: &str = "head";
const AUDIT_KEY: &str = "key";

/// Where the log stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The chain; none before the first start.
    pub chain: Option<ChainId>,
    /// Number of the next entry.
    pub next: Sequence,
    /// Hash of the last one.
    pub hash: Digest,
    /// First entry of the segment that is being written.
    pub segment: Sequence,
    /// How many entries the last checkpoint covers.
    pub checkpointed: Sequence,
    /// Bytes of this segment's blobs that belong to a yes or to no decision.
    pub kept_bytes: u64,
    /// Bytes of this segment's blobs that only refusals refer to.
    pub refused_bytes: u64,
}

impl Head {
    /// Of a log without entries.
    const EMPTY: Self = Self {
        chain: None,
        next: Sequence::new(0),
        hash: Digest::ZERO,
        segment: Sequence::new(0),
        checkpointed: Sequence::new(0),
        kept_bytes: 0,
        refused_bytes: 0,
    };
}

/// Whether a blob is what a signature rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Class {
    /// It is, or it is a state, a spec or a policy.
    Kept,
    /// Only refusals refer to it.
    Refused,
}

impl Class {
    /// Of a request with that answer. A repeat may come in as many other bytes as the asker likes: it never displaces
    /// what was signed.
    pub(crate) const fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Signed { .. } | Verdict::Accepted => Self::Kept,
            Verdict::Repeated { .. } | Verdict::Refused { .. } => Self::Refused,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredBlob {
    class: Class,
    blob: Blob,
}

/// Makes the tables of a log without entries.
pub(crate) fn create(
    transaction: &WriteTransaction,
    key: &SealedAuditKey,
) -> Result<(), AuditError> {
    let mut table = transaction.open_table(HEAD)?;
    table.insert(HEAD_KEY, encode(&Head::EMPTY)?.as_slice())?;
    table.insert(AUDIT_KEY, encode(key)?.as_slice())?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(BLOBS)?;
    transaction.open_table(CHECKPOINTS)?;
    transaction.open_table(SEGMENTS)?;
    Ok(())
}

/// The sealed key; `None` in a state from before there was a log.
pub(crate) fn key(transaction: &WriteTransaction) -> Result<Option<SealedAuditKey>, AuditError> {
    let table = transaction.open_table(HEAD)?;
    let row = table.get(AUDIT_KEY)?;
    row.map(|row| decode("key", row.value())).transpose()
}

/// The log's tables in one write transaction.
pub(crate) struct Journal<'t> {
    chain: ChainId,
    head: Head,
    heads: Table<'t, &'static str, &'static [u8]>,
    entries: Table<'t, u64, &'static [u8]>,
    blobs: Table<'t, (u64, &'static [u8; 32]), &'static [u8]>,
}

impl<'t> Journal<'t> {
    pub(crate) fn open(
        transaction: &'t WriteTransaction,
        chain: ChainId,
    ) -> Result<Self, AuditError> {
        let heads = transaction.open_table(HEAD)?;
        let mut head: Head = match heads.get(HEAD_KEY)? {
            Some(row) => decode("head", row.value())?,
            None => return Err(damaged("head")),
        };
        head.chain = Some(chain);
        Ok(Self {
            chain,
            head,
            heads,
            entries: transaction.open_table(ENTRIES)?,
            blobs: transaction.open_table(BLOBS)?,
        })
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Appends an entry. Counts once [`Journal::close`] was called and the transaction is committed.
    pub(crate) fn append(
        &mut self,
        time: UnixMillis,
        event: Event,
    ) -> Result<Sequence, AuditError> {
        let sequence = self.head.next;
        let entry = Entry {
            previous: self.head.hash,
            sequence,
            time,
            event,
        };
        let bytes = entry.encode()?;
        self.entries.insert(sequence.get(), bytes.as_slice())?;
        self.head.hash = entry_hash(self.chain, &bytes);
        self.head.next = sequence.next();
        Ok(sequence)
    }

    /// Stores a blob of this segment, once. What was refused and is signed later moves to the kept ones.
    pub(crate) fn store(
        &mut self,
        class: Class,
        digest: Digest,
        blob: Blob,
    ) -> Result<(), AuditError> {
        let key = (self.head.segment.get(), digest.as_bytes());
        let size = blob.bytes.len() as u64;
        let known = match self.blobs.get(key)? {
            Some(row) => Some(decode::<StoredBlob>("blob", row.value())?.class),
            None => None,
        };
        match (known, class) {
            (Some(Class::Kept), _) | (Some(Class::Refused), Class::Refused) => return Ok(()),
            (Some(Class::Refused), Class::Kept) => {
                self.head.refused_bytes = self.head.refused_bytes.saturating_sub(size);
            }
            (None, _) => {}
        }
        let bytes = match class {
            Class::Kept => &mut self.head.kept_bytes,
            Class::Refused => &mut self.head.refused_bytes,
        };
        *bytes = bytes.saturating_add(size);
        let row = encode(&StoredBlob { class, blob })?;
        self.blobs.insert(key, row.as_slice())?;
        Ok(())
    }

    /// Writes a checkpoint that covers every entry so far.
    pub(crate) fn checkpoint(
        &mut self,
        transaction: &WriteTransaction,
        checkpoint: &Checkpoint,
    ) -> Result<(), AuditError> {
        let mut table = transaction.open_table(CHECKPOINTS)?;
        table.insert(checkpoint.count.get(), encode(checkpoint)?.as_slice())?;
        self.head.checkpointed = checkpoint.count;
        Ok(())
    }

    /// Ends the segment: what comes now belongs to the next one.
    pub(crate) fn rotate(&mut self, transaction: &WriteTransaction) -> Result<(), AuditError> {
        let mut table = transaction.open_table(SEGMENTS)?;
        table.insert(self.head.segment.get(), self.head.next.get())?;
        self.head.segment = self.head.next;
        self.head.kept_bytes = 0;
        self.head.refused_bytes = 0;
        Ok(())
    }

    /// Writes where the log stands.
    pub(crate) fn close(mut self) -> Result<(), AuditError> {
        let row = encode(&self.head)?;
        self.heads.insert(HEAD_KEY, row.as_slice())?;
        Ok(())
    }
}

/// The log as of one moment.
pub(crate) struct Reader(ReadTransaction);

impl Reader {
    pub(crate) fn new(transaction: ReadTransaction) -> Self {
        Self(transaction)
    }

    /// Where the log stands; `None` in a state from before there was a log.
    pub(crate) fn head(&self) -> Result<Option<Head>, AuditError> {
        self.row(HEAD_KEY, "head")
    }

    pub(crate) fn key(&self) -> Result<Option<SealedAuditKey>, AuditError> {
        self.row(AUDIT_KEY, "key")
    }

    /// Segments that are complete and not yet in files.
    pub(crate) fn complete(&self) -> Result<Vec<(Sequence, Sequence)>, AuditError> {
        let Some(table) = optional(self.0.open_table(SEGMENTS))? else {
            return Ok(Vec::new());
        };
        let mut segments = Vec::new();
        for row in table.iter()? {
            let (first, end) = row?;
            segments.push((Sequence::new(first.value()), Sequence::new(end.value())));
        }
        Ok(segments)
    }

    /// The entries from `first` to before `end`, which are one segment, and the checkpoints that end in it.
    pub(crate) fn entries(
        &self,
        first: Sequence,
        end: Sequence,
    ) -> Result<Vec<Record>, AuditError> {
        let mut records = Vec::new();
        let entries = self.0.open_table(ENTRIES)?;
        for row in entries.range(first.get()..end.get())? {
            records.push(Record::Entry(row?.1.value().to_vec()));
        }
        let checkpoints = self.0.open_table(CHECKPOINTS)?;
        for row in checkpoints.range(first.next().get()..=end.get())? {
            let checkpoint = decode("checkpoint", row?.1.value())?;
            records.push(Record::Checkpoint(checkpoint));
        }
        Ok(records)
    }

    /// The blobs of the segment that starts with `first`, one by one: they may be large.
    pub(crate) fn blobs(
        &self,
        first: Sequence,
        mut each: impl FnMut(Class, Blob) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        let blobs = self.0.open_table(BLOBS)?;
        for row in blobs.range((first.get(), &[0; 32])..=(first.get(), &[0xff; 32]))? {
            let stored: StoredBlob = decode("blob", row?.1.value())?;
            each(stored.class, stored.blob)?;
        }
        Ok(())
    }

    fn row<T: DeserializeOwned>(
        &self,
        key: &str,
        what: &'static str,
    ) -> Result<Option<T>, AuditError> {
        let Some(table) = optional(self.0.open_table(HEAD))? else {
            return Ok(None);
        };
        let row = table.get(key)?;
        row.map(|row| decode(what, row.value())).transpose()
    }
}

/// Takes a segment out, once it is in files.
pub(crate) fn remove(
    transaction: &WriteTransaction,
    first: Sequence,
    end: Sequence,
) -> Result<(), AuditError> {
    let (first, end) = (first.get(), end.get());
    transaction
        .open_table(ENTRIES)?
        .retain_in(first..end, |_, _| false)?;
    transaction
        .open_table(CHECKPOINTS)?
        .retain_in(first.saturating_add(1)..=end, |_, _| false)?;
    transaction
        .open_table(BLOBS)?
        .retain_in((first, &[0; 32])..=(first, &[0xff; 32]), |_, _| false)?;
    transaction.open_table(SEGMENTS)?.remove(first)?;
    Ok(())
}

fn optional<K: redb::Key + 'static, V: redb::Value + 'static>(
    table: Result<ReadOnlyTable<K, V>, TableError>,
) -> Result<Option<ReadOnlyTable<K, V>>, AuditError> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Version of the rows' encoding, their first byte.
const ROW_VERSION: u8 = 1;

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, AuditError> {
    postcard::to_extend(value, vec![ROW_VERSION]).map_err(|_| damaged("row"))
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, AuditError> {
    match bytes {
        [ROW_VERSION, encoded @ ..] => match postcard::take_from_bytes(encoded) {
            Ok((value, [])) => Ok(value),
            Ok(_) | Err(_) => Err(damaged(what)),
        },
        _ => Err(damaged(what)),
    }
}
