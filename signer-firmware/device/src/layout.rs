//! Where things are in the flash, for sectors of 8 KiB written in words of 16 bytes, as in an STM32H573: 1 MiB of it.
//!
//! | region | sectors | what |
//! |---|---|---|
//! | keys | 2 | the member's keys, written once; erased where the case is opened |
//! | head | 48 | a journal: the head record, votes and proposals, spread over all sectors |
//! | blobs | 26 | a journal: chain spec and officers, policy, peg-outs |
//! | headers | 50 | Bitcoin's headers, appended |
//! | link | 2 | left to the link's pairing |

use core::ops::Range;
use embedded_storage::nor_flash::NorFlash;
use thiserror::Error;

/// Bytes that are erased together.
pub const SECTOR: u32 = 8 << 10;
/// Bytes that are written together.
pub const WORD: usize = 16;

/// Sectors of each region, in order.
const SECTORS: [u32; 5] = [2, 48, 26, 50, 2];

/// Regions of the flash, in bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The member's keys.
    pub keys: Range<u32>,
    /// The journal of small records.
    pub head: Range<u32>,
    /// The journal of large ones.
    pub blobs: Range<u32>,
    /// Bitcoin's headers.
    pub headers: Range<u32>,
    /// For the link.
    pub link: Range<u32>,
}

/// A flash that the layout is not made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("flash {what}: expected {expected}, found {found}")]
pub struct LayoutError {
    /// What differs.
    pub what: &'static str,
    /// What it should be.
    pub expected: usize,
    /// What it is.
    pub found: usize,
}

impl Layout {
    /// The layout of a flash.
    ///
    /// # Errors
    /// - [`LayoutError`] where sectors, words or size are not as they should be.
    pub fn of<F: NorFlash>(flash: &F) -> Result<Self, LayoutError> {
        let sector = usize::try_from(SECTOR).unwrap_or(usize::MAX);
        let expect = |what, expected, found| {
            if expected == found {
                return Ok(());
            }
            Err(LayoutError {
                what,
                expected,
                found,
            })
        };
        expect("sector bytes", sector, F::ERASE_SIZE)?;
        expect("write bytes", WORD, F::WRITE_SIZE)?;
        expect("read bytes", 1, F::READ_SIZE)?;
        let total: u32 = SECTORS.iter().sum();
        let needed = sector.saturating_mul(usize::try_from(total).unwrap_or(usize::MAX));
        if flash.capacity() < needed {
            return Err(LayoutError {
                what: "bytes, at least",
                expected: needed,
                found: flash.capacity(),
            });
        }
        let mut start = 0u32;
        let [keys, head, blobs, headers, link] = SECTORS.map(|sectors| {
            let end = start.saturating_add(sectors.saturating_mul(SECTOR));
            core::mem::replace(&mut start, end)..end
        });
        Ok(Self {
            keys,
            head,
            blobs,
            headers,
            link,
        })
    }
}
