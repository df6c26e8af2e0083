//! Watchdog and LEDs.

use crate::registers::write;
use alys_firmware_platform::{Light, StatusLight, Watchdog};

const BASE: usize = 0x5008_1000;
const LOAD: usize = 0x0;
const CONTROL: usize = 0x8;
const CLEAR: usize = 0xc;
const LOCK: usize = 0xc00;
const UNLOCK: u32 = 0x1acc_e551;
/// A minute; the second one in a row resets.
const TICKS: u32 = 60 * 20_000_000;

/// The CMSDK watchdog.
pub(crate) struct CmsdkWatchdog;

impl CmsdkWatchdog {
    pub(crate) fn start() -> Self {
        write(BASE + LOCK, UNLOCK);
        write(BASE + LOAD, TICKS);
        // Counting, and reset at the second end.
        write(BASE + CONTROL, 0b11);
        write(BASE + LOCK, 0);
        Self
    }
}

impl Watchdog for CmsdkWatchdog {
    fn feed(&mut self) {
        write(BASE + LOCK, UNLOCK);
        write(BASE + CLEAR, 1);
        write(BASE + LOCK, 0);
    }
}

/// The board's two LEDs.
pub(crate) struct Leds;

impl StatusLight for Leds {
    fn show(&mut self, light: Light) {
        let leds = match light {
            Light::New => 0b00,
            Light::Ready => 0b01,
            Light::Busy => 0b11,
            Light::Silent => 0b10,
        };
        write(0x5030_2000, leds);
    }
}
