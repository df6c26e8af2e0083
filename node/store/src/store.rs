//! The database: opening, reading, and atomic durable changes.

use crate::error::StoreError;
use crate::schema::{Key, Only, SCHEMA_VERSION, Spec, TABLES, Table, Version};
use alys_protocol::bytes::SpecDigest;
use rocksdb::{ColumnFamily, DB, IteratorMode, Options, WriteBatch, WriteOptions};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The node's database. Clones share it; one process holds it at a time.
#[derive(Clone)]
pub struct Store {
    db: Arc<DB>,
    path: PathBuf,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish()
    }
}

/// An entry of a table, as a scan finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<V> {
    /// The key's bytes.
    pub key: Vec<u8>,
    /// The value.
    pub value: V,
}

/// How much a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    /// The table.
    pub name: &'static str,
    /// Entries, counted.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Store {
    /// Opens the database of one chain, making it where there is none.
    ///
    /// # Errors
    /// - [`StoreError::Database`] where RocksDB cannot open it, for one because another process holds it;
    /// - [`StoreError::Version`] where it was written by a newer schema;
    /// - [`StoreError::OtherChain`] where it belongs to another chain spec.
    pub fn open(path: &Path, spec: SpecDigest) -> Result<Self, StoreError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_keep_log_file_num(4);
        let store = Self {
            db: Arc::new(DB::open_cf(&options, path, TABLES)?),
            path: path.to_owned(),
        };
        match store.get::<Version>(&Only)? {
            Some(SCHEMA_VERSION) => {}
            Some(found) => {
                return Err(StoreError::Version {
                    supported: SCHEMA_VERSION,
                    found,
                });
            }
            None => {
                let mut batch = store.batch();
                batch.put::<Version>(&Only, &SCHEMA_VERSION)?;
                batch.put::<Spec>(&Only, &spec)?;
                batch.commit()?;
            }
        }
        match store.get::<Spec>(&Only)? {
            Some(found) if found != spec => Err(StoreError::OtherChain {
                expected: spec,
                found,
            }),
            _same => Ok(store),
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// - [`StoreError::Database`] where it cannot be read;
    /// - [`StoreError::Corrupt`] where it does not decode.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        let family = self.family(T::NAME)?;
        match self.db.get_pinned_cf(family, key.to_bytes())? {
            None => Ok(None),
            Some(bytes) => decode::<T>(&bytes).map(Some),
        }
    }

    /// Whether there is an entry.
    ///
    /// # Errors
    /// - [`StoreError::Database`] where it cannot be read.
    pub fn contains<T: Table>(&self, key: &T::Key) -> Result<bool, StoreError> {
        let family = self.family(T::NAME)?;
        Ok(self.db.get_pinned_cf(family, key.to_bytes())?.is_some())
    }

    /// Entries whose keys start with `prefix`, in key order, `limit` of them at most.
    ///
    /// # Errors
    /// - as [`Store::get`].
    pub fn scan<T: Table>(
        &self,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry<T::Value>>, StoreError> {
        let family = self.family(T::NAME)?;
        let mode = IteratorMode::From(prefix, rocksdb::Direction::Forward);
        let mut entries = Vec::new();
        for entry in self.db.iterator_cf(family, mode) {
            let (key, value) = entry?;
            if entries.len() >= limit || !key.starts_with(prefix) {
                break;
            }
            entries.push(Entry {
                value: decode::<T>(&value)?,
                key: key.into_vec(),
            });
        }
        Ok(entries)
    }

    /// Starts a change.
    pub fn batch(&self) -> Batch {
        Batch {
            store: self.clone(),
            writes: WriteBatch::default(),
        }
    }

    /// Counts what each table holds, for people.
    ///
    /// # Errors
    /// - [`StoreError::Database`] where it cannot be read.
    pub fn sizes(&self) -> Result<Vec<TableSize>, StoreError> {
        TABLES
            .iter()
            .map(|name| {
                let mut size = TableSize {
                    name,
                    entries: 0,
                    bytes: 0,
                };
                let family = self.family(name)?;
                for entry in self.db.iterator_cf(family, IteratorMode::Start) {
                    let (key, value) = entry?;
                    size.entries = size.entries.saturating_add(1);
                    let bytes = key.len().saturating_add(value.len());
                    size.bytes = size.bytes.saturating_add(bytes as u64);
                }
                Ok(size)
            })
            .collect()
    }

    fn family(&self, table: &'static str) -> Result<&ColumnFamily, StoreError> {
        self.db
            .cf_handle(table)
            .ok_or_else(|| StoreError::MissingTable {
                path: self.path.clone(),
                table,
            })
    }
}

fn decode<T: Table>(bytes: &[u8]) -> Result<T::Value, StoreError> {
    postcard::from_bytes(bytes).map_err(|reason| StoreError::Corrupt {
        table: T::NAME,
        reason,
    })
}

/// Changes that take effect together or not at all.
#[must_use = "a batch that is not committed changes nothing"]
pub struct Batch {
    store: Store,
    writes: WriteBatch,
}

impl Batch {
    /// Writes an entry.
    ///
    /// # Errors
    /// - [`StoreError::Encode`] where the value cannot be encoded.
    pub fn put<T: Table>(&mut self, key: &T::Key, value: &T::Value) -> Result<(), StoreError> {
        let bytes = postcard::to_stdvec(value).map_err(|reason| StoreError::Encode {
            table: T::NAME,
            reason,
        })?;
        let family = self.store.family(T::NAME)?;
        self.writes.put_cf(family, key.to_bytes(), bytes);
        Ok(())
    }

    /// Removes an entry, if there is one.
    ///
    /// # Errors
    /// - [`StoreError::MissingTable`] never for a database that this crate opened.
    pub fn delete<T: Table>(&mut self, key: &T::Key) -> Result<(), StoreError> {
        let family = self.store.family(T::NAME)?;
        self.writes.delete_cf(family, key.to_bytes());
        Ok(())
    }

    /// Makes the changes; they are on disk when this returns.
    ///
    /// # Errors
    /// - [`StoreError::Database`] where they cannot be written; then none is made.
    pub fn commit(self) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.store.db.write_opt(self.writes, &options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{FinalChain, Position, Positions};
    use alys_protocol::bytes::BlockId;
    use alys_protocol::units::SideHeight;

    const SPEC: SpecDigest = SpecDigest::new([1; 32]);

    #[test]
    fn changes_survive_reopening_and_uncommitted_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let id = BlockId::new([2; 32]);
        {
            let store = Store::open(dir.path(), SPEC).unwrap();
            let mut batch = store.batch();
            batch.put::<FinalChain>(&SideHeight::new(1), &id).unwrap();
            batch.put::<Positions>(&Position::Head, &id).unwrap();
            batch.commit().unwrap();
            let mut lost = store.batch();
            lost.put::<FinalChain>(&SideHeight::new(2), &id).unwrap();
        }
        let store = Store::open(dir.path(), SPEC).unwrap();
        assert_eq!(
            store.get::<FinalChain>(&SideHeight::new(1)).unwrap(),
            Some(id)
        );
        assert_eq!(store.get::<FinalChain>(&SideHeight::new(2)).unwrap(), None);
        assert!(store.contains::<Positions>(&Position::Head).unwrap());
        assert!(!store.contains::<Positions>(&Position::Final).unwrap());
    }

    #[test]
    fn another_chains_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), SPEC).unwrap());
        assert!(matches!(
            Store::open(dir.path(), SpecDigest::new([9; 32])),
            Err(StoreError::OtherChain { found: SPEC, .. })
        ));
    }

    #[test]
    fn a_second_holder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _holder = Store::open(dir.path(), SPEC).unwrap();
        assert!(matches!(
            Store::open(dir.path(), SPEC),
            Err(StoreError::Database(_))
        ));
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        {
            let store = Store::open(dir.path(), SPEC).unwrap();
            let mut batch = store.batch();
            batch.put::<Version>(&Only, &(SCHEMA_VERSION + 1)).unwrap();
            batch.commit().unwrap();
        }
        assert!(matches!(
            Store::open(dir.path(), SPEC),
            Err(StoreError::Version { .. })
        ));
    }

    #[test]
    fn scans_follow_the_order_of_heights() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), SPEC).unwrap();
        let mut batch = store.batch();
        for height in [300u64, 2, 1] {
            batch
                .put::<FinalChain>(&SideHeight::new(height), &BlockId::new([height as u8; 32]))
                .unwrap();
        }
        batch.commit().unwrap();
        let ids: Vec<_> = store.scan::<FinalChain>(&[], 10).unwrap();
        let ids: Vec<_> = ids
            .into_iter()
            .map(|entry| entry.value.to_bytes()[0])
            .collect();
        assert_eq!(ids, [1, 2, 44]);
    }
}
