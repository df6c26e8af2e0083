//! The log of a signer that does not run, and the file that an auditor takes away.

use super::archive::{Archive, Header, Record};
use super::checkpoint::{AuditKey, AuditPublicKey};
use super::entry::{Entry, Sequence};
use super::folder::{Draft, Folder};
use super::journal::{self, Reader};
use super::{AuditError, damaged};
use crate::keys::Keys;
use crate::store::audited::open_database;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// The whole log of a state: segments in files, and what the database still has. Locks the state.
///
/// # Errors
/// - [`AuditError`] where a signer has the state, where it is from before there was a log, or where it cannot be read.
pub fn open_state(state: &Path) -> Result<Archive, AuditError> {
    let database = open_database(state)?;
    let reader = Reader::new(redb::ReadableDatabase::begin_read(&database)?);
    let head = reader.head()?.ok_or(damaged("log in this state"))?;
    let folder = Folder::of_state(state);
    let mut archive = Archive::open(&folder.files()?)?;
    let chain = head.chain.ok_or(damaged("first start in this state"))?;
    let mut segments = reader.complete()?;
    segments.push((head.segment, head.next));
    for (first, end) in segments {
        for record in reader.entries(first, end)? {
            archive.add_memory(chain, record)?;
        }
        reader.blobs(first, |_class, blob| {
            Ok(archive.add_memory(chain, Record::Blob(blob))?)
        })?;
    }
    archive.announce(Sequence::default(), head.next);
    Ok(archive)
}

/// Makes the audit key and an empty log in a new state, for the holder of `keys`.
///
/// # Errors
/// - [`AuditError`] where the state cannot be written, or there is no entropy.
pub fn create(state: &Path, keys: &Keys) -> Result<AuditPublicKey, AuditError> {
    let database = open_database(state)?;
    let transaction = database.begin_write()?;
    let key = AuditKey::generate()?;
    journal::create(&transaction, &key.seal(keys)?)?;
    transaction.commit()?;
    Ok(key.public())
}

/// The public audit key of a state.
///
/// # Errors
/// - [`AuditError`] as for [`open_state`].
pub(crate) fn public_key(state: &Path) -> Result<AuditPublicKey, AuditError> {
    let database = open_database(state)?;
    let reader = Reader::new(redb::ReadableDatabase::begin_read(&database)?);
    let key = reader.key()?.ok_or(damaged("log in this state"))?;
    Ok(key.public)
}

/// Writes entries of a log, the checkpoints over them, and every blob that they refer to and that there is, to one file.
///
/// # Errors
/// - [`AuditError`] where the log cannot be read or the file cannot be written.
pub fn export(archive: &Archive, range: Range<Sequence>, to: &Path) -> Result<(), AuditError> {
    let chain = archive.chain().ok_or(damaged("log"))?;
    let header = Header {
        chain,
        first: range.start,
        end: range.end,
    };
    let mut draft = Draft::create(to.to_owned(), header)?;
    let mut written = BTreeSet::new();
    let mut sequence = range.start;
    while sequence < range.end {
        let bytes = archive.entry(sequence)?.ok_or(damaged("entry"))?;
        for digest in Entry::decode(&bytes)?.blobs() {
            if written.insert(digest)
                && let Some(blob) = archive.blob(digest)?
            {
                draft.write(&Record::Blob(blob))?;
            }
        }
        draft.write(&Record::Entry(bytes))?;
        sequence = sequence.next();
        if let Some(checkpoint) = archive.checkpoints().get(&sequence) {
            draft.write(&Record::Checkpoint(checkpoint.clone()))?;
        }
    }
    draft.finish()
}
