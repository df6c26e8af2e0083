//! What the audit log needs of the store: its transactions, and states as bytes.

use super::{CACHE_BYTES, STATE, Store, StoreError, Stored, begin, decode, disk};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    WriteTransaction,
};
use std::path::Path;

impl Store {
    /// The state's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An exclusive transaction whose commit returns after fsync.
    pub(crate) fn begin(&self) -> Result<WriteTransaction, StoreError> {
        begin(&self.database)
    }

    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.database.begin_read().map_err(disk)
    }
}

/// A state as it is stored, and what it says.
pub(crate) fn load<S: Stored>(transaction: &WriteTransaction) -> Result<(Vec<u8>, S), StoreError> {
    let bytes = load_bytes(transaction, S::KEY)?;
    let state = decode(Some(&bytes))?;
    Ok((bytes, state))
}

/// A state as it is stored.
pub(crate) fn load_bytes(
    transaction: &WriteTransaction,
    key: &'static str,
) -> Result<Vec<u8>, StoreError> {
    let table = transaction.open_table(STATE).map_err(disk)?;
    let row = table.get(key).map_err(disk)?;
    row.map(|row| row.value().to_vec())
        .ok_or(StoreError::NoEntry(key))
}

/// A state as it would be stored.
pub(crate) fn encode<S: Stored>(state: &S) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(state, vec![S::VERSION]).map_err(|_| StoreError::Damaged {
        entry: S::KEY,
        version: S::VERSION,
    })
}

/// What a stored state says.
pub(crate) fn decode_bytes<S: Stored>(bytes: &[u8]) -> Result<S, StoreError> {
    decode(Some(bytes))
}

/// Writes what [`encode`] gave.
pub(crate) fn write_bytes(
    transaction: &WriteTransaction,
    key: &'static str,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(STATE).map_err(disk)?;
    table.insert(key, bytes).map_err(disk)?;
    Ok(())
}

/// Opens the state of a signer that does not run, whoever's it is, to look at it.
pub(crate) fn open_database(path: &Path) -> Result<Database, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing {
            path: path.to_owned(),
        });
    }
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .open(path)
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
                path: path.to_owned(),
            },
            other => disk(other),
        })
}
