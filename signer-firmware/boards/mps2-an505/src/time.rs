//! The core's SysTick: 20 million ticks in a second, of which QEMU makes one in 50 instructions under `-icount shift=0`.

use alys_firmware_platform::Timer;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

const HZ: u64 = 20_000_000;
/// Ticks of one round: 100 ms.
const ROUND: u32 = 2_000_000;

static ROUNDS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    ROUNDS.fetch_add(1, Ordering::Relaxed);
}

/// The timer.
pub(crate) struct SysTickTimer(SYST);

impl SysTickTimer {
    pub(crate) fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(ROUND - 1);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        Self(timer)
    }
}

impl Timer for SysTickTimer {
    const TICKS_PER_SECOND: u64 = HZ;

    fn ticks(&mut self) -> u64 {
        loop {
            let rounds = ROUNDS.load(Ordering::Relaxed);
            let left = SYST::get_current();
            if rounds == ROUNDS.load(Ordering::Relaxed) {
                let within = (ROUND - 1).saturating_sub(left);
                return u64::from(rounds) * u64::from(ROUND) + u64::from(within);
            }
        }
    }
}
