//! Messages as their receiver sees them: piece by piece, or collected into one bounded buffer.

use super::alloc::vec::Vec;
use thiserror::Error;

/// Which request of which session. A reply to a request of an earlier session is refused: its host asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    pub(crate) session: u32,
    pub(crate) number: u32,
}

impl RequestId {
    /// The number that its host gave it.
    pub const fn number(self) -> u32 {
        self.number
    }
}

/// A piece of a request. Pieces of one request come in order and without gaps; one with offset 0 may come at any time, and
/// means that its sender gave up the request before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// Of which request.
    pub request: RequestId,
    /// Bytes of the whole request; never more than the receiver allowed.
    pub total: u32,
    /// Where these bytes belong.
    pub offset: u32,
    /// The bytes; empty only where the request is.
    pub bytes: &'a [u8],
}

impl Part<'_> {
    /// Whether the request is complete with it.
    pub fn is_last(&self) -> bool {
        u64::from(self.offset).saturating_add(self.bytes.len() as u64) == u64::from(self.total)
    }
}

/// Why a device does not take a request, before it understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejection {
    /// It announces more than the device takes.
    #[error("expected a request of at most {limit} bytes")]
    TooLong {
        /// Bytes that it takes.
        limit: u32,
    },
    /// No memory for it now.
    #[error("the device has no memory for the request")]
    OutOfMemory,
}

impl Rejection {
    pub(crate) fn to_bytes(self) -> [u8; 5] {
        let (code, limit) = match self {
            Self::TooLong { limit } => (1u8, limit),
            Self::OutOfMemory => (2, 0),
        };
        let [a, b, c, d] = limit.to_le_bytes();
        [code, a, b, c, d]
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (code, limit) = bytes.split_first()?;
        match (code, u32::from_le_bytes(limit.try_into().ok()?)) {
            (1, limit) => Some(Self::TooLong { limit }),
            (2, 0) => Some(Self::OutOfMemory),
            _ => None,
        }
    }
}

/// A reply that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The session of the request is over; its host will ask again in a new one.
    #[error("expected a request of the session that is open, found one of an earlier session")]
    SessionEnded,
    /// The request has its reply.
    #[error("expected a request without a reply, found one that has it")]
    Answered,
    /// Too long.
    #[error("expected a reply of at most {limit} bytes, found {found}", limit = super::MAX_REPLY_BYTES)]
    TooLong {
        /// Bytes of the reply.
        found: usize,
    },
}

/// Collects pieces into whole messages of bounded size.
#[derive(Debug, Default)]
pub struct Collector {
    request: Option<RequestId>,
    bytes: Vec<u8>,
}

impl Collector {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            request: None,
            bytes: Vec::new(),
        }
    }

    /// Takes a piece; the message, where it is complete. What was announced is reserved once, and is no more than the link's
    /// own limit.
    ///
    /// # Errors
    /// - [`Rejection::OutOfMemory`] where there is no room; the pieces so far are dropped.
    pub fn take(&mut self, part: &Part<'_>) -> Result<Option<Vec<u8>>, Rejection> {
        if part.offset == 0 {
            self.bytes = Vec::new();
            self.request = Some(part.request);
            let total = usize::try_from(part.total).map_err(|_| Rejection::OutOfMemory)?;
            if self.bytes.try_reserve_exact(total).is_err() {
                self.request = None;
                return Err(Rejection::OutOfMemory);
            }
        }
        if self.request != Some(part.request) {
            // The rest of one that had no room.
            return Ok(None);
        }
        self.bytes.extend_from_slice(part.bytes);
        Ok(part.is_last().then(|| {
            self.request = None;
            core::mem::take(&mut self.bytes)
        }))
    }
}
