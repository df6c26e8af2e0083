//! A map in flash that survives the loss of power at any moment: `sequential-storage` on one region.

use crate::layout::SECTOR;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;
use embassy_futures::block_on;
use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};
use embedded_storage_async::nor_flash as asynchronous;
use sequential_storage::Error;
use sequential_storage::cache::Cache;
use sequential_storage::map::{MapConfig, MapStorage};
use thiserror::Error as ThisError;

/// Bytes of one item at most, its key included. A whole number of words.
pub(crate) const ITEM_BYTES: usize = 4096;

/// A journal that cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub(crate) enum JournalError {
    /// The flash failed.
    #[error("flash failed: {0:?}")]
    Flash(NorFlashErrorKind),
    /// No room, or an item that is too large.
    #[error("the flash journal has no room")]
    Full,
    /// What is there is no journal.
    #[error("the flash journal is damaged")]
    Damaged,
}

/// Blocking flash behind the asynchronous trait; shared, since two regions and the headers are on one flash.
struct View<'a, F>(&'a RefCell<F>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind(NorFlashErrorKind);

impl NorFlashError for Kind {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

impl<F: NorFlash> asynchronous::ErrorType for View<'_, F> {
    type Error = Kind;
}

impl<F: NorFlash> asynchronous::ReadNorFlash for View<'_, F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Kind> {
        let mut flash = self.0.borrow_mut();
        flash
            .read(offset, bytes)
            .map_err(|error| Kind(error.kind()))
    }

    fn capacity(&self) -> usize {
        self.0.borrow().capacity()
    }
}

impl<F: NorFlash> asynchronous::NorFlash for View<'_, F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Kind> {
        let mut flash = self.0.borrow_mut();
        flash.erase(from, to).map_err(|error| Kind(error.kind()))
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Kind> {
        let mut flash = self.0.borrow_mut();
        flash
            .write(offset, bytes)
            .map_err(|error| Kind(error.kind()))
    }
}

/// A journal on a region.
#[derive(Debug)]
pub(crate) struct Journal<'a, F> {
    flash: &'a RefCell<F>,
    region: Range<u32>,
}

impl<'a, F: NorFlash> Journal<'a, F> {
    pub(crate) fn new(flash: &'a RefCell<F>, region: &Range<u32>) -> Self {
        Self {
            flash,
            region: region.clone(),
        }
    }

    fn map(
        &self,
    ) -> Result<
        MapStorage<u16, View<'a, F>, impl sequential_storage::cache::CacheImpl<u16>>,
        JournalError,
    > {
        let config = MapConfig::try_new(self.region.clone()).map_err(|_| JournalError::Damaged)?;
        // Nothing is cached: a cache that is wrong would be believed.
        Ok(MapStorage::new(
            View(self.flash),
            config,
            Cache::new_uncached(),
        ))
    }

    /// The newest item of a key.
    pub(crate) fn load(&self, key: u16) -> Result<Option<Vec<u8>>, JournalError> {
        let mut buffer = alloc::vec![0u8; ITEM_BYTES];
        let mut map = self.map()?;
        let item = block_on(map.fetch_item::<&[u8]>(&mut buffer, &key)).map_err(failed)?;
        Ok(item.map(<[u8]>::to_vec))
    }

    /// Writes an item: after this returns, it is what [`Journal::load`] gives; before, what was there.
    pub(crate) fn store(&self, key: u16, item: &[u8]) -> Result<(), JournalError> {
        let mut buffer = alloc::vec![0u8; ITEM_BYTES];
        let mut map = self.map()?;
        block_on(map.store_item(&mut buffer, &key, &item)).map_err(failed)
    }
}

fn failed(error: Error<Kind>) -> JournalError {
    match error {
        Error::Storage { value, .. } => JournalError::Flash(value.0),
        Error::FullStorage
        | Error::ItemTooBig
        | Error::BufferTooBig
        | Error::BufferTooSmall(_)
        | Error::SerializationError(_) => JournalError::Full,
        Error::Corrupted { .. } | Error::LogicBug { .. } | _ => JournalError::Damaged,
    }
}

const _: () = assert!(ITEM_BYTES < SECTOR as usize / 2 + 1);
