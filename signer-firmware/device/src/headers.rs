//! Bitcoin's headers in flash: appended, never rewritten, so that a reorganisation changes nothing until the head record
//! names it.
//!
//! A header's place is a number that only grows; the region is a ring of places. The map in the head says which heights lie
//! where: one segment as long as no header was replaced. At the start the headers are linked by their hashes down from the
//! tip that the head names: what is below the first gap is not there.

use crate::journal::JournalError;
use crate::layout::SECTOR;
use alloc::vec::Vec;
use alys_protocol::signer::BitcoinHeaderBytes;
use alys_protocol::units::BtcHeight;
use alys_signer_core::btc::{Checkpoint, Headers, RING_HEADERS, Tip, Update, decode};
use bitcoin::block::Header;
use core::cell::RefCell;
use core::ops::Range;
use embedded_storage::nor_flash::{NorFlash, NorFlashError};
use serde::{Deserialize, Serialize};

const HEADER: u32 = BitcoinHeaderBytes::LENGTH as u32;
const PER_SECTOR: u32 = SECTOR / HEADER;
/// Segments that are kept: each replaced branch makes one.
const MAX_SEGMENTS: usize = 32;

/// Which heights lie where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct HeaderMap {
    anchor: Option<Checkpoint>,
    tip: Option<Tip>,
    /// The next place.
    end: u32,
    /// Lowest height first; each runs up to the next one's start.
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    first: BtcHeight,
    place: u32,
}

impl HeaderMap {
    /// Headers that are opened anew at a block that officers name. Places go on.
    pub(crate) fn anchored(&self, anchor: Checkpoint) -> Self {
        Self {
            anchor: Some(anchor),
            end: self.end,
            ..Self::default()
        }
    }
}

/// The headers, for reading.
#[derive(Debug)]
pub(crate) struct FlashHeaders<'a, F> {
    flash: &'a RefCell<F>,
    region: Range<u32>,
    map: HeaderMap,
    /// The lowest height that is linked to the tip.
    lowest: BtcHeight,
}

impl<'a, F: NorFlash> FlashHeaders<'a, F> {
    /// Links the headers that a map names.
    pub(crate) fn load(flash: &'a RefCell<F>, region: &Range<u32>, map: HeaderMap) -> Self {
        let mut headers = Self {
            flash,
            region: region.clone(),
            map,
            lowest: BtcHeight::new(0),
        };
        headers.link();
        headers
    }

    fn link(&mut self) {
        let Some(tip) = self.map.tip else { return };
        self.lowest = BtcHeight::new(0);
        let mut lowest = tip.height.saturating_add(1);
        let mut expected = tip.hash;
        for _header in 0..RING_HEADERS {
            let Some(height) = lowest.checked_sub(1) else {
                break;
            };
            match self.header(height) {
                Some(header) if header.block_hash() == expected => {
                    expected = header.prev_blockhash;
                    lowest = height;
                }
                Some(_) | None => break,
            }
        }
        self.lowest = lowest;
    }

    pub(crate) fn map(&self) -> &HeaderMap {
        &self.map
    }

    /// Appends what was judged, and gives the map that makes it count once a head names it.
    pub(crate) fn append(&self, update: &Update) -> Result<HeaderMap, JournalError> {
        let mut map = self.map.clone();
        let first = update.first();
        map.segments.retain(|segment| segment.first < first);
        for (height, bytes) in update.headers() {
            let place = self.free(map.end)?;
            let follows = map.segments.last().is_some_and(|last| {
                let above = height.get().checked_sub(last.first.get());
                above.and_then(|above| last.place.checked_add(above)) == Some(place)
            });
            if !follows {
                map.segments.push(Segment {
                    first: height,
                    place,
                });
            }
            let address = self.address(place);
            let mut flash = self.flash.borrow_mut();
            flash
                .write(address, bytes.as_bytes())
                .map_err(|error| JournalError::Flash(error.kind()))?;
            map.end = place.checked_add(1).ok_or(JournalError::Full)?;
        }
        while map.segments.len() > MAX_SEGMENTS {
            map.segments.remove(0);
        }
        map.tip = Some(update.tip());
        Ok(map)
    }

    /// Takes over a map that a head names.
    pub(crate) fn take(&mut self, map: HeaderMap) {
        let kept = BtcHeight::new(
            map.segments
                .first()
                .map_or(u32::MAX, |segment| segment.first.get()),
        );
        let opened = self.map.tip.is_none() || map.tip.is_none();
        self.map = map;
        if opened {
            self.lowest = kept;
        } else {
            self.lowest = self.lowest.max(kept);
        }
    }

    /// The next place that can be written, erased where it starts a sector.
    fn free(&self, mut place: u32) -> Result<u32, JournalError> {
        let mut flash = self.flash.borrow_mut();
        let failed = |error: F::Error| JournalError::Flash(error.kind());
        if !place.is_multiple_of(PER_SECTOR) {
            let mut found = [0u8; BitcoinHeaderBytes::LENGTH];
            flash
                .read(self.address(place), &mut found)
                .map_err(failed)?;
            if found.iter().all(|byte| *byte == 0xff) {
                return Ok(place);
            }
            // Written before a loss of power, and never named by a head.
            place = place
                .checked_next_multiple_of(PER_SECTOR)
                .ok_or(JournalError::Full)?;
        }
        let start = self.address(place);
        flash
            .erase(start, start.saturating_add(SECTOR))
            .map_err(failed)?;
        Ok(place)
    }

    const fn capacity(&self) -> u32 {
        let bytes = self.region.end.saturating_sub(self.region.start);
        bytes.saturating_div(SECTOR).saturating_mul(PER_SECTOR)
    }

    fn address(&self, place: u32) -> u32 {
        let place = place.checked_rem(self.capacity()).unwrap_or_default();
        let sector = place.saturating_div(PER_SECTOR);
        let within = place.checked_rem(PER_SECTOR).unwrap_or_default();
        self.region
            .start
            .saturating_add(sector.saturating_mul(SECTOR))
            .saturating_add(within.saturating_mul(HEADER))
    }

    /// Where a height lies, unless its sector was or is about to be erased.
    fn place(&self, height: BtcHeight) -> Option<u32> {
        let tip = self.map.tip?;
        if height > tip.height || height < self.lowest {
            return None;
        }
        let segment = self
            .map
            .segments
            .iter()
            .rev()
            .find(|segment| segment.first <= height)?;
        let above = height.get().checked_sub(segment.first.get())?;
        let place = segment.place.checked_add(above)?;
        let next_sector = self
            .map
            .end
            .saturating_div(PER_SECTOR)
            .saturating_add(1)
            .saturating_mul(PER_SECTOR);
        (place >= next_sector.saturating_sub(self.capacity())).then_some(place)
    }
}

impl<F: NorFlash> Headers for FlashHeaders<'_, F> {
    fn anchor(&self) -> Option<Checkpoint> {
        self.map.anchor
    }

    fn tip(&self) -> Option<Tip> {
        self.map.tip
    }

    fn header(&self, height: BtcHeight) -> Option<Header> {
        let place = self.place(height)?;
        let mut bytes = [0u8; BitcoinHeaderBytes::LENGTH];
        let mut flash = self.flash.borrow_mut();
        flash.read(self.address(place), &mut bytes).ok()?;
        decode(&BitcoinHeaderBytes::new(bytes))
    }
}

#[cfg(test)]
mod tests;
