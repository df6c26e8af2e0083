//! One MiB of the board's PSRAM as NOR flash: erased to ones, written once, in the words and sectors of an STM32H573.

use crate::files;
use crate::uart::Uart;
use alys_firmware_device::layout::{SECTOR, WORD};
use alys_firmware_platform::{FlashErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use core::sync::atomic::{AtomicU32, Ordering};

const BASE: usize = 0x8000_0000;
const BYTES: usize = 1 << 20;

/// Operations since the start, by which a test says where power goes.
static OPERATIONS: AtomicU32 = AtomicU32::new(0);

/// The flash.
pub(crate) struct Psram {
    link: Uart,
    cut: Option<files::PowerCut>,
}

impl Psram {
    pub(crate) fn new(link: Uart) -> Self {
        Self {
            link,
            cut: files::power_cut(),
        }
    }

    fn check(offset: u32, length: usize) -> Result<usize, NorFlashErrorKind> {
        let offset = offset as usize;
        match offset.checked_add(length) {
            Some(end) if end <= BYTES => Ok(offset),
            Some(_) | None => Err(NorFlashErrorKind::OutOfBounds),
        }
    }

    /// Does `step` for each byte, or for some and then nothing more where power goes here.
    fn operate(&mut self, length: usize, step: impl Fn(usize)) {
        let number = OPERATIONS.fetch_add(1, Ordering::Relaxed);
        let cut = self.cut.filter(|cut| cut.operation == number);
        let done = cut.map_or(length, |cut| length.min(cut.bytes as usize));
        (0..done).for_each(step);
        if cut.is_some() {
            crate::send(self.link, files::POWER_CUT);
            crate::stop();
        }
    }
}

fn load(place: usize) -> u8 {
    // SAFETY: `check` keeps the place within the PSRAM, which nothing else uses.
    unsafe { ((BASE + place) as *const u8).read_volatile() }
}

fn store(place: usize, byte: u8) {
    // SAFETY: as above.
    unsafe { ((BASE + place) as *mut u8).write_volatile(byte) }
}

impl FlashErrorType for Psram {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Psram {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let start = Self::check(offset, bytes.len())?;
        for (place, byte) in (start..).zip(bytes) {
            *byte = load(place);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl NorFlash for Psram {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        let length = to.checked_sub(from).ok_or(NorFlashErrorKind::OutOfBounds)? as usize;
        let start = Self::check(from, length)?;
        if !start.is_multiple_of(Self::ERASE_SIZE) || !length.is_multiple_of(Self::ERASE_SIZE) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        self.operate(length, |place| store(start + place, 0xff));
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        let start = Self::check(offset, bytes.len())?;
        if !start.is_multiple_of(WORD) || !bytes.len().is_multiple_of(WORD) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        // Such flash has a checksum in each word: what is not erased cannot be written.
        if (0..bytes.len()).any(|place| load(start + place) != 0xff) {
            return Err(NorFlashErrorKind::Other);
        }
        self.operate(bytes.len(), |place| {
            if let Some(byte) = bytes.get(place) {
                store(start + place, load(start + place) & byte);
            }
        });
        Ok(())
    }
}
