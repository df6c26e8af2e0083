//! Frames on the serial link: `0x00`, COBS of message and CRC-32, `0x00`.
//!
//! COBS (Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999) leaves no zero byte in a frame, so a zero is
//! always a boundary: whatever was lost or garbled, the next frame is read correctly. Empty frames mean nothing, which is
//! why a sender starts with a zero, too. The message is what a TLS frame has after its length.

use crate::crc::Crc32;
use thiserror::Error;

/// The boundary between frames.
pub const DELIMITER: u8 = 0;
/// A block of COBS holds at most this many bytes that are not zero.
const FULL_BLOCK: u8 = 254;
const CRC_BYTES: usize = 4;

/// A frame that is dropped, or a message that does not fit one. The link stays usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Longer than the receiver's buffer, or than the output buffer when encoding.
    #[error("expected a frame of at most {limit} bytes, found a longer one")]
    TooLong {
        /// Bytes that fit.
        limit: usize,
    },
    /// It ended inside a block, or before its checksum.
    #[error("expected more of the frame, found its end")]
    Truncated,
    /// Bytes changed on the way.
    #[error("expected a frame with the right CRC-32, found another")]
    Checksum,
}

/// Bytes that a message of `length` bytes takes on the wire at most: both delimiters, checksum and COBS overhead.
#[must_use]
pub const fn encoded_length(length: usize) -> usize {
    let data = length.saturating_add(CRC_BYTES);
    // One code byte for each started block of 254, one more for the last, two delimiters.
    let full_blocks = match data.checked_div(FULL_BLOCK as usize) {
        Some(blocks) => blocks,
        None => 0,
    };
    data.saturating_add(full_blocks).saturating_add(3)
}

/// Writes a message's frame into `output` and gives its length.
///
/// # Errors
/// - [`FrameError::TooLong`] where `output` is shorter than the frame; [`encoded_length`] always suffices.
pub fn encode(message: &[u8], output: &mut [u8]) -> Result<usize, FrameError> {
    let mut writer = Writer {
        limit: output.len(),
        output,
        length: 0,
    };
    writer.put(DELIMITER)?;
    let mut code_place = writer.length;
    writer.put(DELIMITER)?;
    let mut code = 1u8;
    for byte in message.iter().chain(&Crc32::of(message)) {
        // A full block needs no zero after it: the next one starts.
        if code > FULL_BLOCK {
            writer.set(code_place, code)?;
            code_place = writer.length;
            writer.put(DELIMITER)?;
            code = 1;
        }
        if *byte == 0 {
            writer.set(code_place, code)?;
            code_place = writer.length;
            writer.put(DELIMITER)?;
            code = 1;
        } else {
            writer.put(*byte)?;
            code = code.saturating_add(1);
        }
    }
    writer.set(code_place, code)?;
    writer.put(DELIMITER)?;
    Ok(writer.length)
}

struct Writer<'a> {
    output: &'a mut [u8],
    limit: usize,
    length: usize,
}

impl Writer<'_> {
    fn set(&mut self, place: usize, byte: u8) -> Result<(), FrameError> {
        let limit = self.limit;
        let slot = self
            .output
            .get_mut(place)
            .ok_or(FrameError::TooLong { limit })?;
        *slot = byte;
        Ok(())
    }

    fn put(&mut self, byte: u8) -> Result<(), FrameError> {
        self.set(self.length, byte)?;
        self.length = self.length.saturating_add(1);
        Ok(())
    }
}

/// Reads frames byte by byte into a buffer of `N` bytes, which message and checksum must fit.
#[derive(Debug)]
pub struct Decoder<const N: usize> {
    buffer: [u8; N],
    length: usize,
    state: State,
}

/// Represented so that a new decoder is all zeros: in a static it takes no room in flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// Between frames.
    Idle,
    /// Inside a block: bytes still to come, and whether a zero follows it if the frame goes on.
    Block { left: u8, zero_after: bool },
    /// The frame cannot be kept; its end is awaited.
    Skipping,
}

impl<const N: usize> Default for Decoder<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Decoder<N> {
    /// A decoder at a boundary. What precedes the first delimiter on a line in use comes out as a bad frame.
    pub const fn new() -> Self {
        Self {
            buffer: [0; N],
            length: 0,
            state: State::Idle,
        }
    }

    /// Takes the next byte; at the end of a frame gives its message, or why it was dropped.
    ///
    /// # Errors
    /// The inner result is one [`FrameError`] for each dropped frame, after which decoding goes on.
    pub fn push(&mut self, byte: u8) -> Option<Result<&[u8], FrameError>> {
        if byte == DELIMITER {
            let state = core::mem::replace(&mut self.state, State::Idle);
            let length = core::mem::take(&mut self.length);
            return match state {
                State::Idle => None,
                State::Block { left: 0, .. } => Some(self.message(length)),
                State::Block { .. } => Some(Err(FrameError::Truncated)),
                State::Skipping => Some(Err(FrameError::TooLong { limit: N })),
            };
        }
        match self.state {
            State::Idle => self.start_block(byte),
            State::Block {
                left: 0,
                zero_after,
            } => {
                if zero_after {
                    self.keep(0);
                }
                if self.state != State::Skipping {
                    self.start_block(byte);
                }
            }
            State::Block { left, zero_after } => {
                self.state = State::Block {
                    left: left.saturating_sub(1),
                    zero_after,
                };
                self.keep(byte);
            }
            State::Skipping => {}
        }
        None
    }

    fn start_block(&mut self, code: u8) {
        self.state = State::Block {
            left: code.saturating_sub(1),
            zero_after: code <= FULL_BLOCK,
        };
    }

    fn keep(&mut self, byte: u8) {
        match self.buffer.get_mut(self.length) {
            Some(slot) => {
                *slot = byte;
                self.length = self.length.saturating_add(1);
            }
            None => self.state = State::Skipping,
        }
    }

    fn message(&self, length: usize) -> Result<&[u8], FrameError> {
        let (message, checksum) = self
            .buffer
            .get(..length)
            .and_then(|frame| frame.split_last_chunk::<CRC_BYTES>())
            .ok_or(FrameError::Truncated)?;
        if Crc32::of(message) != *checksum {
            return Err(FrameError::Checksum);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests;
