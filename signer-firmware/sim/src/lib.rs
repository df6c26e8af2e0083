//! A board on the host, for tests: its flash, counter and inputs outlive the device that runs on it, and its power goes
//! wherever a test says.
//!
//! Flash is stricter than real flash: a word that is not erased cannot be written at all, as in flash with a checksum in
//! each word. A write or erasure that power interrupts is half done; a write's next byte is half programmed.

use alys_firmware_device::layout::{SECTOR, WORD};
use alys_firmware_platform::{
    Entropy, Fault, FlashErrorType, InputPin, Light, MonotonicCounter, NorFlash, NorFlashErrorKind,
    Parts, PinError, Platform, ReadNorFlash, StatusLight, Timer, Watchdog,
};
use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::CounterMark;
use bitcoin::hashes::{Hash as _, sha256};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

/// Bytes of the flash.
pub const FLASH_BYTES: usize = 1 << 20;

/// How much of an operation is done when power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Nothing.
    Nothing,
    /// Half of it.
    Half,
    /// All of it, and nobody was told.
    All,
}

/// Where power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut {
    /// A write or erasure, or an advance of the counter, counted from when the cut was set.
    pub operation: u32,
    /// How much of it is done.
    pub done: Done,
}

#[derive(Debug, Default)]
struct Power {
    operations: u32,
    cut: Option<PowerCut>,
    off: bool,
}

#[derive(Debug)]
struct State {
    flash: RefCell<Vec<u8>>,
    counter: Cell<CounterMark>,
    power: RefCell<Power>,
    button: Cell<bool>,
    tamper: Cell<bool>,
    millis: Cell<u64>,
    drawn: Cell<u64>,
    light: Cell<Light>,
    written: Cell<u64>,
}

/// The board. Clones are the same board.
#[derive(Debug, Clone)]
pub struct Board(Rc<State>);

/// What a snapshot of the flash holds. The counter is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashImage(Vec<u8>);

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// A new board with erased flash.
    pub fn new() -> Self {
        Self(Rc::new(State {
            flash: RefCell::new(vec![0xff; FLASH_BYTES]),
            counter: Cell::new(CounterMark::ZERO),
            power: RefCell::new(Power::default()),
            button: Cell::new(false),
            tamper: Cell::new(false),
            millis: Cell::new(0),
            drawn: Cell::new(0),
            light: Cell::new(Light::New),
            written: Cell::new(0),
        }))
    }

    /// Another board that stands as this one does.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        copy.restore(&self.snapshot());
        copy.0.counter.set(self.0.counter.get());
        copy.0.drawn.set(self.0.drawn.get());
        copy
    }

    /// The flash's content.
    pub fn snapshot(&self) -> FlashImage {
        FlashImage(self.0.flash.borrow().clone())
    }

    /// Copies a snapshot back.
    pub fn restore(&self, image: &FlashImage) {
        self.0.flash.borrow_mut().clone_from(&image.0);
    }

    /// Presses the button, or lets it go.
    pub fn press(&self, pressed: bool) {
        self.0.button.set(pressed);
    }

    /// Opens the case, or closes it.
    pub fn open_case(&self, open: bool) {
        self.0.tamper.set(open);
    }

    /// What the light shows.
    pub fn light(&self) -> Light {
        self.0.light.get()
    }

    /// Lets time pass.
    pub fn wait(&self, millis: u64) {
        self.0
            .millis
            .set(self.0.millis.get().saturating_add(millis));
    }

    /// Says where power goes.
    pub fn cut_power(&self, cut: Option<PowerCut>) {
        *self.0.power.borrow_mut() = Power {
            cut,
            ..Power::default()
        };
    }

    /// Operations since the cut was set.
    pub fn operations(&self) -> u32 {
        self.0.power.borrow().operations
    }

    /// Bytes written to flash since the board was made.
    pub fn written(&self) -> u64 {
        self.0.written.get()
    }

    /// Whether power went.
    pub fn is_off(&self) -> bool {
        self.0.power.borrow().off
    }

    /// Power comes back: the timer starts at zero, and no cut is set.
    pub fn power_on(&self) {
        self.0.millis.set(0);
        self.cut_power(None);
    }

    /// The flash, for a device to share.
    pub fn flash(&self) -> RefCell<SimFlash> {
        RefCell::new(SimFlash(self.clone()))
    }

    /// The other parts.
    pub fn parts(&self) -> Parts<Sim> {
        Parts {
            counter: SimCounter(self.clone()),
            entropy: SimEntropy(self.clone()),
            timer: SimTimer(self.clone()),
            watchdog: SimWatchdog,
            tamper: SimInput(self.clone(), |state| &state.tamper),
            button: SimInput(self.clone(), |state| &state.button),
            light: SimLight(self.clone()),
        }
    }

    /// How much of the next operation is done, and whether power stays.
    fn operate(&self) -> (Done, bool) {
        let mut power = self.0.power.borrow_mut();
        if power.off {
            return (Done::Nothing, false);
        }
        let number = power.operations;
        power.operations = number.saturating_add(1);
        match power.cut {
            Some(cut) if cut.operation == number => {
                power.off = true;
                (cut.done, false)
            }
            Some(_) | None => (Done::All, true),
        }
    }
}

/// The simulated board as a platform.
#[derive(Debug)]
pub struct Sim;

impl Platform for Sim {
    type Flash = SimFlash;
    type Counter = SimCounter;
    type Entropy = SimEntropy;
    type Timer = SimTimer;
    type Watchdog = SimWatchdog;
    type Tamper = SimInput;
    type Button = SimInput;
    type Light = SimLight;

    const NAME: &'static str = "simulation on the host, for tests only";
}

/// Flash.
#[derive(Debug)]
pub struct SimFlash(Board);

fn range(from: u32, length: usize) -> Result<std::ops::Range<usize>, NorFlashErrorKind> {
    let start = usize::try_from(from).map_err(|_| NorFlashErrorKind::OutOfBounds)?;
    match start.checked_add(length) {
        Some(end) if end <= FLASH_BYTES => Ok(start..end),
        Some(_) | None => Err(NorFlashErrorKind::OutOfBounds),
    }
}

fn aligned(range: &std::ops::Range<usize>, unit: usize) -> Result<(), NorFlashErrorKind> {
    if range.start.is_multiple_of(unit) && range.end.is_multiple_of(unit) {
        return Ok(());
    }
    Err(NorFlashErrorKind::NotAligned)
}

impl FlashErrorType for SimFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for SimFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let range = range(offset, bytes.len())?;
        let flash = self.0.0.flash.borrow();
        bytes.copy_from_slice(flash.get(range).ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

impl NorFlash for SimFlash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        let length = to.checked_sub(from).ok_or(NorFlashErrorKind::OutOfBounds)?;
        let range = range(from, length as usize)?;
        aligned(&range, Self::ERASE_SIZE)?;
        let (done, on) = self.0.operate();
        let done = match done {
            Done::Nothing => 0,
            Done::Half => range.len() / 2,
            Done::All => range.len(),
        };
        let mut flash = self.0.0.flash.borrow_mut();
        for byte in flash.iter_mut().skip(range.start).take(done) {
            *byte = 0xff;
        }
        if on {
            Ok(())
        } else {
            Err(NorFlashErrorKind::Other)
        }
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        let range = range(offset, bytes.len())?;
        aligned(&range, WORD)?;
        let mut flash = self.0.0.flash.borrow_mut();
        let words = flash.get_mut(range).ok_or(NorFlashErrorKind::OutOfBounds)?;
        if words.iter().any(|byte| *byte != 0xff) {
            return Err(NorFlashErrorKind::Other);
        }
        let (done, on) = self.0.operate();
        let written = self.0.0.written.get();
        self.0
            .0
            .written
            .set(written.saturating_add(bytes.len() as u64));
        let whole = match done {
            Done::Nothing => 0,
            Done::Half => bytes.len() / 2,
            Done::All => bytes.len(),
        };
        for (place, (word, byte)) in words.iter_mut().zip(bytes).enumerate() {
            if place < whole {
                *word = *byte;
            } else if place == whole && done == Done::Half {
                *word = byte | 0x55;
            }
        }
        if on {
            Ok(())
        } else {
            Err(NorFlashErrorKind::Other)
        }
    }
}

/// The monotonic counter.
#[derive(Debug)]
pub struct SimCounter(Board);

impl MonotonicCounter for SimCounter {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn read(&mut self) -> Result<CounterMark, Fault> {
        Ok(self.0.0.counter.get())
    }

    fn advance(&mut self, from: CounterMark, tag: CounterTag) -> Result<CounterMark, Fault> {
        let found = self.0.0.counter.get();
        if found != from {
            return Ok(found);
        }
        let fault = |reason| Fault {
            part: "counter",
            reason,
        };
        let value = from.value.next().ok_or(fault("it is at its end"))?;
        let mark = CounterMark { value, tag };
        let (done, on) = self.0.operate();
        if done == Done::All {
            self.0.0.counter.set(mark);
        }
        if on { Ok(mark) } else { Err(fault("no power")) }
    }
}

/// Random numbers that are the same in each run.
#[derive(Debug)]
pub struct SimEntropy(Board);

impl Entropy for SimEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        for chunk in bytes.chunks_mut(32) {
            let drawn = self.0.0.drawn.get();
            self.0.0.drawn.set(drawn.wrapping_add(1));
            let block = sha256::Hash::hash(&drawn.to_le_bytes()).to_byte_array();
            for (to, from) in chunk.iter_mut().zip(block) {
                *to = from;
            }
        }
        Ok(())
    }
}

/// Time that passes as a test says.
#[derive(Debug)]
pub struct SimTimer(Board);

impl Timer for SimTimer {
    const TICKS_PER_SECOND: u64 = 1000;

    fn ticks(&mut self) -> u64 {
        self.0.0.millis.get()
    }
}

/// A watchdog that never bites.
#[derive(Debug)]
pub struct SimWatchdog;

impl Watchdog for SimWatchdog {
    fn feed(&mut self) {}
}

/// Button or tamper input.
#[derive(Debug)]
pub struct SimInput(Board, fn(&State) -> &Cell<bool>);

impl PinError for SimInput {
    type Error = Infallible;
}

impl InputPin for SimInput {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok((self.1)(&self.0.0).get())
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        self.is_high().map(|high| !high)
    }
}

/// The light.
#[derive(Debug)]
pub struct SimLight(Board);

impl StatusLight for SimLight {
    fn show(&mut self, light: Light) {
        self.0.0.light.set(light);
    }
}
