//! The durable state: redb, one fsynced transaction per decision, and one process at a time.

pub(crate) mod audited;
mod v1;
mod v3;

use alys_protocol::bls::BlsPublicKeyBytes;
use alys_protocol::bytes::{Digest, SpecDigest};
use alys_signer_core::Durable;
use alys_signer_core::btc::HeaderChain;
use alys_signer_core::clock::ClockState;
use alys_signer_core::freshness::Lease;
use alys_signer_core::state::{AdminState, PegOutState, VoteState};
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _,
    TableDefinition, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

const FORMAT_KEY: &str = "format";
const FORMAT: &[u8] = b"alys-signer-state/4";
/// The format before, whose admin state had no number of a statement; everything else is the same.
const FORMAT_3: &[u8] = b"alys-signer-state/3";
/// The one before that, which kept no Bitcoin headers and no lease either.
const FORMAT_2: &[u8] = b"alys-signer-state/2";
const BLS_KEY: &str = "bls";
const SPEC_KEY: &str = "spec";
const OFFICERS_KEY: &str = "officers";
/// The state is small; redb's default cache is 1 GiB.
const CACHE_BYTES: usize = 4 << 20;

/// A state that a decision changes.
pub trait Stored: Serialize + DeserializeOwned + Default {
    /// Its key in the table.
    const KEY: &'static str;
    /// Version of its encoding, the first byte.
    const VERSION: u8 = 2;
}

impl Stored for VoteState {
    const KEY: &'static str = "vote";
}

impl Stored for PegOutState {
    const KEY: &'static str = "pegout";
}

impl Stored for AdminState {
    const KEY: &'static str = "admin";
    const VERSION: u8 = 3;
}

impl Stored for HeaderChain {
    const KEY: &'static str = "bitcoin";
}

impl Stored for Lease {
    const KEY: &'static str = "lease";
}

impl Stored for ClockState {
    const KEY: &'static str = "clock";
}

/// A state that cannot be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it (rule `exclusive`).
    #[error("state {path} is in use by another signer; two signers with one key would both sign", path = path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// There is no state. A signer without memory could sign twice, so it never makes one by itself.
    #[error("state {path} does not exist; `alys-signer init` makes one with new keys. Lost state is never replaced by an empty one", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// `init` found one.
    #[error("state {path} exists; it is never overwritten: move it away first", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another key or chain, or to another version of this program.
    #[error("state {path}: expected {what} {expected}, found {found}", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What this signer has.
        expected: String,
        /// What the state has.
        found: String,
    },
    /// An entry cannot be read.
    #[error("state entry {entry} is damaged: expected version {version} of its encoding")]
    Damaged {
        /// The entry.
        entry: &'static str,
        /// The version of its encoding.
        version: u8,
    },
    /// An entry is not there.
    #[error("state entry {0} is missing")]
    NoEntry(&'static str),
    /// The disk or the file system. Nothing was signed.
    #[error("state cannot be read or written: {0}")]
    Disk(#[from] Box<redb::Error>),
}

fn disk(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Disk(Box::new(error.into()))
}

/// The open store. The file stays locked until it is dropped.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Makes the state of a signer that has never signed.
    ///
    /// # Errors
    /// - [`StoreError::Exists`] where there is a file;
    /// - [`StoreError::Disk`] where it cannot be written.
    pub fn create(path: &Path, bls: &BlsPublicKeyBytes) -> Result<(), StoreError> {
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => StoreError::Exists {
                    path: path.to_owned(),
                },
                _other => disk(redb::StorageError::from(error)),
            })?;
        drop(made);
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(disk)?;
        let transaction = begin(&database)?;
        {
            let mut meta = transaction.open_table(META).map_err(disk)?;
            meta.insert(FORMAT_KEY, FORMAT).map_err(disk)?;
            meta.insert(BLS_KEY, bls.as_bytes().as_slice())
                .map_err(disk)?;
        }
        write(&transaction, &VoteState::default())?;
        write(&transaction, &PegOutState::default())?;
        write(&transaction, &AdminState::default())?;
        write(&transaction, &ClockState::default())?;
        write(&transaction, &HeaderChain::default())?;
        write(&transaction, &Lease::default())?;
        transaction.commit().map_err(disk)
    }

    /// Opens the state of the signer with key `bls` on the chain with `spec`, decided about by `officers`, and locks it. The
    /// first chain and the first officers that a state is opened for are the only ones. A state of an older format is
    /// carried over.
    ///
    /// # Errors
    /// - [`StoreError::Missing`], [`StoreError::InUse`], [`StoreError::Foreign`], [`StoreError::Disk`] as named.
    pub fn open(
        path: &Path,
        bls: &BlsPublicKeyBytes,
        spec: SpecDigest,
        officers: Digest,
    ) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing {
                path: path.to_owned(),
            });
        }
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .open(path)
            .map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
                    path: path.to_owned(),
                },
                other => disk(other),
            })?;
        let store = Self {
            database,
            path: path.to_owned(),
        };
        store.bind(bls, spec, officers)?;
        Ok(store)
    }

    fn bind(
        &self,
        bls: &BlsPublicKeyBytes,
        spec: SpecDigest,
        officers: Digest,
    ) -> Result<(), StoreError> {
        let transaction = begin(&self.database)?;
        let (mut first, mut second, mut third) = (false, false, false);
        {
            let mut meta = transaction.open_table(META).map_err(disk)?;
            if let Some(format) = meta.get(FORMAT_KEY).map_err(disk)? {
                first = format.value() == v1::FORMAT;
                second = format.value() == FORMAT_2;
                third = format.value() == FORMAT_3;
            }
            if first || second || third {
                meta.insert(FORMAT_KEY, FORMAT).map_err(disk)?;
            }
            self.check(&meta, "format", FORMAT_KEY, FORMAT)?;
            self.check(&meta, "BLS key", BLS_KEY, bls.as_bytes())?;
            let spec = spec.as_bytes();
            self.first_or_same(&mut meta, "chain spec with digest", SPEC_KEY, spec)?;
            let officers = officers.as_bytes();
            self.first_or_same(&mut meta, "officers with digest", OFFICERS_KEY, officers)?;
        }
        if first {
            v1::migrate(&transaction)?;
        }
        if second || third {
            v3::migrate(&transaction)?;
        }
        if first || second {
            write(&transaction, &HeaderChain::default())?;
            write(&transaction, &Lease::default())?;
        }
        transaction.commit().map_err(disk)
    }

    fn first_or_same(
        &self,
        meta: &mut redb::Table<'_, &str, &[u8]>,
        what: &'static str,
        key: &str,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let bound = meta.get(key).map_err(disk)?.is_some();
        if bound {
            return self.check(meta, what, key, value);
        }
        meta.insert(key, value).map_err(disk)?;
        Ok(())
    }

    fn check(
        &self,
        meta: &redb::Table<'_, &str, &[u8]>,
        what: &'static str,
        key: &str,
        expected: &[u8],
    ) -> Result<(), StoreError> {
        let entry = meta.get(key).map_err(disk)?;
        let found = entry.as_ref().map(|entry| entry.value());
        if found == Some(expected) {
            return Ok(());
        }
        let show = |bytes: &[u8]| match core::str::from_utf8(bytes) {
            Ok(text) if text.starts_with("alys") => text.to_owned(),
            Ok(_) | Err(_) => hex::DisplayHex::to_lower_hex_string(bytes),
        };
        Err(StoreError::Foreign {
            path: self.path.clone(),
            what,
            expected: show(expected),
            found: found.map_or_else(|| "none".to_owned(), show),
        })
    }

    /// Reads a state.
    ///
    /// # Errors
    /// - [`StoreError::Damaged`], [`StoreError::Disk`] as named.
    pub fn read<S: Stored>(&self) -> Result<S, StoreError> {
        let transaction = self.database.begin_read().map_err(disk)?;
        let table = transaction.open_table(STATE).map_err(disk)?;
        let entry = table.get(S::KEY).map_err(disk)?;
        decode(entry.as_ref().map(|entry| entry.value()))
    }

    /// Writes a state that no decision changes.
    ///
    /// # Errors
    /// - [`StoreError::Disk`] as named.
    pub(crate) fn keep<S: Stored>(&self, state: &S) -> Result<(), StoreError> {
        let transaction = begin(&self.database)?;
        write(&transaction, state)?;
        transaction.commit().map_err(disk)
    }

    /// Judges and records in one exclusive transaction: `decide` sees the state as it is on disk, and what it decides is
    /// written with fsync before this returns. Where it refuses, nothing is written.
    ///
    /// # Errors
    /// - [`StoreError::Damaged`], [`StoreError::Disk`] as named; nothing was recorded then. The inner result is `decide`'s.
    pub fn transact<S: Stored, I, R>(
        &self,
        decide: impl FnOnce(&Durable<S>) -> Result<alys_signer_core::Decision<S, I>, R>,
    ) -> Result<Result<alys_signer_core::Persisted<I>, R>, StoreError> {
        let transaction = begin(&self.database)?;
        let state = {
            let table = transaction.open_table(STATE).map_err(disk)?;
            let entry = table.get(S::KEY).map_err(disk)?;
            Durable::trust_loaded(decode::<S>(entry.as_ref().map(|entry| entry.value()))?)
        };
        let decision = match decide(&state) {
            Ok(decision) => decision,
            Err(refusal) => {
                transaction.abort().map_err(disk)?;
                return Ok(Err(refusal));
            }
        };
        let (_, persisted) = decision.persist(|next| {
            write(&transaction, next)?;
            transaction.commit().map_err(disk)
        })?;
        Ok(Ok(persisted))
    }
}

fn begin(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write().map_err(disk)?;
    // The default, said aloud: commit returns after fsync (regression N2).
    transaction
        .set_durability(Durability::Immediate)
        .map_err(disk)?;
    Ok(transaction)
}

fn write<S: Stored>(transaction: &WriteTransaction, state: &S) -> Result<(), StoreError> {
    let bytes = postcard::to_extend(state, vec![S::VERSION]).map_err(|_| StoreError::Damaged {
        entry: S::KEY,
        version: S::VERSION,
    })?;
    let mut table = transaction.open_table(STATE).map_err(disk)?;
    table.insert(S::KEY, bytes.as_slice()).map_err(disk)?;
    Ok(())
}

fn decode<S: Stored>(bytes: Option<&[u8]>) -> Result<S, StoreError> {
    decode_as(S::VERSION, S::KEY, bytes)
}

fn decode_as<S: DeserializeOwned>(
    version: u8,
    entry: &'static str,
    bytes: Option<&[u8]>,
) -> Result<S, StoreError> {
    let damaged = StoreError::Damaged { entry, version };
    match bytes {
        Some([found, encoded @ ..]) if *found == version => {
            match postcard::take_from_bytes(encoded) {
                Ok((state, [])) => Ok(state),
                Ok(_) | Err(_) => Err(damaged),
            }
        }
        Some(_) | None => Err(damaged),
    }
}
