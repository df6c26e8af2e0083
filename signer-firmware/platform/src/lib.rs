//! What the signer device needs of a board, as small traits.
//!
//! Where the embedded ecosystem has a trait, that one is used: `embedded-io` for the link, `embedded-storage` for flash and
//! `embedded-hal` for pins. The others are here because there is none: entropy, the monotonic counter, the timer, the
//! watchdog and the status light.
#![no_std]

pub use embedded_hal::digital::{ErrorType as PinError, InputPin};
pub use embedded_io::{Read, Write};
pub use embedded_storage::nor_flash::{
    ErrorType as FlashErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::CounterMark;
use thiserror::Error;

/// A part of the board that failed, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{part}: {reason}")]
pub struct Fault {
    /// The part.
    pub part: &'static str,
    /// What it did.
    pub reason: &'static str,
}

/// The true random number generator. A board runs its health tests here, and fails rather than give what did not pass.
pub trait Entropy {
    /// Fills `bytes` with random ones.
    ///
    /// # Errors
    /// - [`Fault`] where the generator fails its tests or gives nothing.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault>;
}

/// A counter that only goes up and is in no image of the flash (claim C5): it carries the tag of who advanced it last.
pub trait MonotonicCounter {
    /// What it is, for people.
    fn name(&self) -> &'static str;

    /// Where it stands.
    ///
    /// # Errors
    /// - [`Fault`] where it cannot be read.
    fn read(&mut self) -> Result<CounterMark, Fault>;

    /// Advances it by one where it stands at `from`, and only there; gives where it stands then.
    ///
    /// # Errors
    /// - [`Fault`] where it cannot be read or written, or is at its end.
    fn advance(&mut self, from: CounterMark, tag: CounterTag) -> Result<CounterMark, Fault>;
}

/// A timer that starts at zero and never goes back.
pub trait Timer {
    /// Its ticks in a second.
    const TICKS_PER_SECOND: u64;

    /// Ticks since the start.
    fn ticks(&mut self) -> u64;

    /// Milliseconds since the start.
    fn millis(&mut self) -> u64 {
        let per_milli = Self::TICKS_PER_SECOND.checked_div(1000).unwrap_or_default();
        self.ticks().checked_div(per_milli).unwrap_or_default()
    }
}

/// Resets the device unless it is fed in time. Only the main loop feeds it, between two requests: never an interrupt.
pub trait Watchdog {
    /// Starts its time anew.
    fn feed(&mut self);
}

/// What the status light shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Light {
    /// No keys, or nothing that they are for.
    New,
    /// Ready to sign.
    Ready,
    /// A request is judged.
    Busy,
    /// Nothing is signed until people look after it.
    Silent,
}

/// The status light.
pub trait StatusLight {
    /// Shows it.
    fn show(&mut self, light: Light);
}

/// A board. The link is not among its parts: the main loop has it.
pub trait Platform {
    /// Flash that keeps everything but the counter.
    type Flash: NorFlash;
    /// The monotonic counter.
    type Counter: MonotonicCounter;
    /// The true random number generator.
    type Entropy: Entropy;
    /// The timer.
    type Timer: Timer;
    /// The watchdog.
    type Watchdog: Watchdog;
    /// High where the case was opened.
    type Tamper: InputPin;
    /// High while a person presses it.
    type Button: InputPin;
    /// The status light.
    type Light: StatusLight;

    /// The board in words, such as its name and what holds the keys.
    const NAME: &'static str;

    /// The most memory used since the start, where the board measures it.
    fn memory() -> Memory {
        Memory::default()
    }
}

/// Memory that was used at most, in bytes; 0 where it is not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Of the stack.
    pub stack: u32,
    /// Of the heap.
    pub heap: u32,
}

/// A board's parts, each used by one owner; the flash, which several read, is shared.
pub struct Parts<P: Platform + ?Sized> {
    /// Monotonic counter.
    pub counter: P::Counter,
    /// Random numbers.
    pub entropy: P::Entropy,
    /// Timer.
    pub timer: P::Timer,
    /// Watchdog.
    pub watchdog: P::Watchdog,
    /// Tamper input.
    pub tamper: P::Tamper,
    /// Confirm button.
    pub button: P::Button,
    /// Status light.
    pub light: P::Light,
}

impl<P: Platform + ?Sized> core::fmt::Debug for Parts<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(P::NAME)
    }
}
