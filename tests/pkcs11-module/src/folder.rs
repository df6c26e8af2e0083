//! The token's folder: one JSON file under a lock.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

pub(crate) type Attributes = BTreeMap<u64, Vec<u8>>;

/// What the token remembers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) label: String,
    pub(crate) so_pin: Vec<u8>,
    pub(crate) pin: Option<Vec<u8>>,
    /// Wrong PINs since the last right one.
    pub(crate) wrong: u8,
    pub(crate) last_handle: u64,
    pub(crate) objects: BTreeMap<u64, Object>,
}

impl Token {
    /// One without objects and without a user's PIN.
    pub(crate) const fn new(label: String, so_pin: Vec<u8>) -> Self {
        Self {
            label,
            so_pin,
            pin: None,
            wrong: 0,
            last_handle: 0,
            objects: BTreeMap::new(),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) attributes: Attributes,
    /// The scalar of a private key, or an AES key.
    pub(crate) scalar: Option<[u8; 32]>,
}

/// The folder, locked against other processes until it is dropped.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// None where no folder is named or it cannot be used.
    pub(crate) fn lock() -> Option<Self> {
        Self::lock_at(PathBuf::from(std::env::var_os(crate::FOLDER)?))
    }

    /// None where it cannot be used.
    pub(crate) fn lock_at(path: PathBuf) -> Option<Self> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .ok()?;
        lock.lock().ok()?;
        Some(Self { path, _lock: lock })
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.path.join(crate::REMOVED).exists()
    }

    pub(crate) fn has_twin(&self) -> bool {
        self.path.join(crate::TWIN).exists()
    }

    pub(crate) fn epoch(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(self.path.join(crate::EPOCH)) {
            let _ = file.take(64).read_to_end(&mut bytes);
        }
        bytes
    }

    /// None before it is initialised.
    pub(crate) fn read(&self) -> Option<Token> {
        let file = File::open(self.path.join("token.json")).ok()?;
        serde_json::from_reader(file).ok()
    }

    /// Replaces the file as a whole.
    pub(crate) fn write(&self, token: &Token) -> Option<()> {
        let new = self.path.join("token.json.new");
        let bytes = serde_json::to_vec(token).ok()?;
        let mut file = File::create(&new).ok()?;
        file.write_all(&bytes).ok()?;
        file.sync_all().ok()?;
        std::fs::rename(&new, self.path.join("token.json")).ok()
    }
}
