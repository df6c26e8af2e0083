//! A line with the buffers around it: one frame out, what there is in.

use crate::error::DeviceError;
use crate::line::Line;
use alys_firmware_core::link::WIRE_BYTES;
use std::time::{Duration, Instant};

/// How long a line may refuse bytes: a frame takes 0.1 s at 115 200 bits per second.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// First pause before what was sent is sent again; it doubles up to [`MAX_PAUSE`], so that a device that is busy for a second
/// does not find its buffer full of repetitions.
const FIRST_PAUSE: Duration = Duration::from_millis(150);
const MAX_PAUSE: Duration = Duration::from_millis(1200);

pub(crate) struct Connection {
    pub(crate) line: Line,
    wire: [u8; WIRE_BYTES],
    read: [u8; 4096],
    /// Bytes that came since it was opened.
    pub(crate) came: usize,
    /// When the last of them came.
    pub(crate) heard: Instant,
    pause: Duration,
}

impl Connection {
    pub(crate) fn new(line: Line) -> Self {
        Self {
            line,
            wire: [0; WIRE_BYTES],
            read: [0; 4096],
            came: 0,
            heard: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// Writes all frames that `next` has.
    pub(crate) fn send(
        &mut self,
        mut next: impl FnMut(&mut [u8]) -> Option<usize>,
    ) -> Result<(), DeviceError> {
        while let Some(length) = next(&mut self.wire) {
            let frame = self.wire.get(..length).unwrap_or_default();
            self.line.write(frame, Instant::now() + WRITE_LIMIT)?;
        }
        Ok(())
    }

    /// What came, waiting no longer than until `until` or until it is time to repeat; `None` where nothing did.
    pub(crate) fn receive(&mut self, until: Instant) -> Result<Option<&[u8]>, DeviceError> {
        let now = Instant::now();
        let length = self
            .line
            .read(&mut self.read, until.min(now + self.pause))?;
        if length == 0 {
            self.pause = (self.pause * 2).min(MAX_PAUSE);
            return Ok(None);
        }
        self.came = self.came.saturating_add(length);
        self.heard = Instant::now();
        self.pause = FIRST_PAUSE;
        Ok(self.read.get(..length))
    }

    /// Why nothing usable came for `waited`.
    pub(crate) fn nothing(&self, waited: Duration) -> DeviceError {
        let path = self.line.path().to_owned();
        match self.came {
            0 => DeviceError::Silent { path, waited },
            bytes => DeviceError::NotADevice { path, bytes },
        }
    }
}
