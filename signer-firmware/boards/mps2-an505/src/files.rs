//! Files beside QEMU, by semihosting: what stands for parts that the emulated board does not have.
//!
//! - `counter`: the monotonic counter, an entry of 24 bytes for each step, appended in one write;
//! - `button`, `tamper`: the input is high while the file exists;
//! - `power-cut`: tells where power goes, for tests;
//! - `log`: the words of a panic.

use alys_firmware_platform::{Fault, InputPin, MonotonicCounter, PinError};
use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::{CounterMark, CounterValue};
use core::convert::Infallible;
use core::fmt::Write as _;
use cortex_m_semihosting::syscall;

/// What the device says when power goes: no reply begins so.
pub(crate) const POWER_CUT: &[u8] = b"\xffpower cut";

#[derive(Clone, Copy)]
enum Mode {
    Read = 1,
    Append = 9,
}

struct File(usize);

impl File {
    fn open(name: &str, mode: Mode) -> Option<Self> {
        let mut path = [0u8; 16];
        for (to, from) in path.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        // SAFETY: the path is terminated by a zero and its length given; QEMU reads it and writes nothing.
        let handle = unsafe { syscall!(OPEN, path.as_ptr(), mode as usize, name.len()) };
        (handle != usize::MAX).then_some(Self(handle))
    }

    fn length(&self) -> usize {
        // SAFETY: an open file's handle.
        unsafe { syscall!(FLEN, self.0) }
    }

    /// Reads as many bytes as there is room for, or says that there are fewer.
    fn read_at(&self, place: usize, bytes: &mut [u8]) -> bool {
        // SAFETY: an open file's handle.
        let sought = unsafe { syscall!(SEEK, self.0, place) };
        // SAFETY: QEMU writes at most as many bytes as the slice has.
        let left = unsafe { syscall!(READ, self.0, bytes.as_mut_ptr(), bytes.len()) };
        sought == 0 && left == 0
    }

    fn write(&self, bytes: &[u8]) -> bool {
        // SAFETY: QEMU reads the slice.
        let left = unsafe { syscall!(WRITE, self.0, bytes.as_ptr(), bytes.len()) };
        left == 0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: an open file's handle, which is not used again.
        unsafe { syscall!(CLOSE, self.0) };
    }
}

impl core::fmt::Write for File {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        if self.write(text.as_bytes()) {
            Ok(())
        } else {
            Err(core::fmt::Error)
        }
    }
}

/// Keeps a panic's words.
pub(crate) fn log(words: &impl core::fmt::Display) {
    if let Some(mut file) = File::open("log", Mode::Append) {
        let _written = writeln!(file, "{words}");
    }
}

/// An input that is high while a file exists.
pub(crate) struct InputFile(pub(crate) &'static str);

impl PinError for InputFile {
    type Error = Infallible;
}

impl InputPin for InputFile {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(File::open(self.0, Mode::Read).is_some())
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        self.is_high().map(|high| !high)
    }
}

/// Where power goes.
#[derive(Clone, Copy)]
pub(crate) struct PowerCut {
    /// Erasure or write since the start, from 0.
    pub(crate) operation: u32,
    /// Bytes of it that are done.
    pub(crate) bytes: u32,
}

/// What a test asks for.
pub(crate) fn power_cut() -> Option<PowerCut> {
    let file = File::open("power-cut", Mode::Read)?;
    let mut words = [0u8; 8];
    if !file.read_at(0, &mut words) {
        return None;
    }
    let [a, b, c, d, e, f, g, h] = words;
    Some(PowerCut {
        operation: u32::from_le_bytes([a, b, c, d]),
        bytes: u32::from_le_bytes([e, f, g, h]),
    })
}

const COUNTER: &str = "counter";
const ENTRY: usize = 24;

/// The monotonic counter.
pub(crate) struct CounterFile;

const fn fault(reason: &'static str) -> Fault {
    Fault {
        part: "monotonic counter",
        reason,
    }
}

impl MonotonicCounter for CounterFile {
    fn name(&self) -> &'static str {
        "a file beside QEMU"
    }

    fn read(&mut self) -> Result<CounterMark, Fault> {
        // Only a device that never advanced it has none; a state that knows of an advance does not believe this.
        let Some(file) = File::open(COUNTER, Mode::Read) else {
            return Ok(CounterMark::ZERO);
        };
        let entries = file.length() / ENTRY;
        let Some(last) = entries.checked_sub(1) else {
            return Ok(CounterMark::ZERO);
        };
        let mut entry = [0u8; ENTRY];
        if !file.read_at(last * ENTRY, &mut entry) {
            return Err(fault("its file cannot be read"));
        }
        let (mut value, mut tag) = ([0u8; 8], [0u8; 16]);
        value.copy_from_slice(&entry[..8]);
        tag.copy_from_slice(&entry[8..]);
        Ok(CounterMark {
            value: CounterValue::new(u64::from_le_bytes(value)),
            tag: CounterTag::new(tag),
        })
    }

    fn advance(&mut self, from: CounterMark, tag: CounterTag) -> Result<CounterMark, Fault> {
        let found = self.read()?;
        if found != from {
            return Ok(found);
        }
        let value = from.value.next().ok_or(fault("it is at its end"))?;
        let mut entry = [0u8; ENTRY];
        entry[..8].copy_from_slice(&value.get().to_le_bytes());
        entry[8..].copy_from_slice(tag.as_bytes());
        let file = File::open(COUNTER, Mode::Append).ok_or(fault("its file cannot be opened"))?;
        if !file.write(&entry) {
            return Err(fault("its file cannot be written"));
        }
        Ok(CounterMark { value, tag })
    }
}
