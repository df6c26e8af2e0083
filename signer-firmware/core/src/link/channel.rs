//! One session's frames, in both directions: numbered, sealed, repeated until acknowledged; messages in chunks.
//!
//! Two kinds of frames, each with nonces of its own, so that no nonce ever seals two texts:
//!
//! - *Data* carries a message's chunks. Nonces count up from 0, and a receiver opens none but the next: what comes again, comes
//!   early, or comes back is never looked at. A lost frame is sealed again from the same text under the same nonce, which
//!   gives the same bytes.
//! - *Control* says which data frame is expected next and how many more may follow. Its nonces have the top bit set and
//!   count up with every frame sent; a receiver takes any that is above the last one it took.
//!
//! A nonce belongs to a chunk for good: a message takes the nonces from the first never used on, and the next message comes
//! only when all that was sent of this one is acknowledged.

use super::Counters;
use super::alloc::vec::Vec;
use super::noise::{End, Session};
use super::packet::{CHUNK_BYTES, CHUNK_HEADER_BYTES, MAX_TEXT_BYTES, PacketBuffer};

/// Nonces of control frames have it.
const CONTROL: u64 = 1 << 63;
const CONTROL_BYTES: usize = 10;
/// Asks for a control frame back, and for all that is not acknowledged.
const POLL: u8 = 1;
/// The receiver is busy with a request.
const BUSY: u8 = 1 << 1;
/// The receiver saw a frame after the one that it expects.
const GAP: u8 = 1 << 2;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request, or its reply.
    Message,
    /// The link's own answer to a request that its receiver did not take.
    Rejected,
}

/// A piece of a message.
#[derive(Debug)]
pub(crate) struct Chunk<'t> {
    pub(crate) kind: Kind,
    pub(crate) number: u32,
    pub(crate) total: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: &'t [u8],
}

/// What a data frame brought.
#[derive(Debug)]
pub(crate) enum Received<'t> {
    /// Nothing new.
    Nothing,
    /// The next piece.
    Chunk(Chunk<'t>),
    /// The start of a message beyond the limit; the rest of it is swallowed.
    TooLong { number: u32 },
    /// The peer sealed what makes no sense: this session cannot go on.
    Broken,
}

/// A message on its way out.
struct Outgoing {
    kind: Kind,
    number: u32,
    bytes: Vec<u8>,
    /// Nonce of its first chunk.
    first: u64,
    /// One past the nonce of its last.
    end: u64,
}

/// A message on its way in.
struct Incoming {
    kind: Kind,
    number: u32,
    total: u32,
    received: u32,
    /// Nobody wants the rest.
    swallow: bool,
}

pub(crate) struct Channel {
    session: Session,
    end: End,
    /// Bytes of an incoming message at most.
    limit: u32,
    /// Frames that this end has room for at a time.
    credit: u8,
    outgoing: Option<Outgoing>,
    /// Nonce of the data frame that is sent next.
    cursor: u64,
    /// All below are acknowledged.
    acknowledged: u64,
    /// All below have been sent.
    sent: u64,
    /// The peer takes those below.
    allowed: u64,
    /// The acknowledgement for whose gap the frames were sent again.
    gap_filled: Option<u64>,
    peer_busy: bool,
    controls_sent: u64,
    incoming: Option<Incoming>,
    /// Nonce of the next data frame from the peer.
    expected: u64,
    /// Lowest number that a control frame of the peer may have.
    next_control: u64,
    /// A control frame is due.
    due: bool,
    poll: bool,
    gap: bool,
    /// A whole request has been delivered and has no reply yet.
    held: bool,
    /// Frames came while they could not be taken.
    dropped: bool,
}

impl Channel {
    pub(crate) fn new(session: Session, end: End, limit: u32, credit: u8) -> Self {
        Self {
            session,
            end,
            limit,
            // Without any, nothing would ever be taken.
            credit: credit.max(1),
            outgoing: None,
            cursor: 0,
            acknowledged: 0,
            sent: 0,
            // Until the peer says how many: one, which every peer has room for.
            allowed: 1,
            gap_filled: None,
            peer_busy: false,
            controls_sent: 0,
            incoming: None,
            expected: 0,
            next_control: 0,
            due: false,
            poll: false,
            gap: false,
            held: false,
            dropped: false,
        }
    }

    /// Whether a frame was sealed in this session, whatever its place.
    pub(crate) fn sealed_it(&self, nonce: u64, sealed: &[u8], scratch: &mut [u8]) -> bool {
        self.session.open(nonce, sealed, scratch).is_some()
    }

    /// Starts a message; `None` where the one before is not yet all acknowledged, or it is longer than numbers go.
    pub(crate) fn send(&mut self, kind: Kind, number: u32, bytes: Vec<u8>) -> Option<()> {
        if self.outgoing.is_some() {
            return None;
        }
        u32::try_from(bytes.len()).ok()?;
        let chunks = bytes.len().div_ceil(CHUNK_BYTES).max(1);
        let end = self.sent.checked_add(u64::try_from(chunks).ok()?)?;
        if end >= CONTROL {
            return None;
        }
        self.outgoing = Some(Outgoing {
            kind,
            number,
            bytes,
            first: self.sent,
            end,
        });
        self.cursor = self.sent;
        Some(())
    }

    /// Whether a message is under way.
    pub(crate) fn sending(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Sends no more of the message than what was sent already.
    pub(crate) fn cut(&mut self) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.end = self.sent;
        }
        self.settle();
    }

    /// Whether the peer said last that it is busy.
    pub(crate) fn peer_busy(&self) -> bool {
        self.peer_busy
    }

    /// A whole request was delivered: nothing more is taken until its reply is acknowledged.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// The rest of the message on its way in is of no use.
    pub(crate) fn swallow(&mut self) {
        if let Some(incoming) = &mut self.incoming {
            incoming.swallow = true;
        }
    }

    /// Nothing came for a while: says so, and sends again what is not acknowledged.
    pub(crate) fn nudge(&mut self) {
        self.due = true;
        self.poll = true;
        self.cursor = self.acknowledged;
    }

    /// Takes a data frame.
    pub(crate) fn data<'t>(
        &mut self,
        nonce: u64,
        sealed: &[u8],
        scratch: &'t mut [u8],
        counters: &mut Counters,
    ) -> Received<'t> {
        if nonce >= CONTROL {
            counters.foreign = counters.foreign.saturating_add(1);
            return Received::Nothing;
        }
        if nonce != self.expected {
            counters.out_of_order = counters.out_of_order.saturating_add(1);
            self.gap |= nonce > self.expected;
            self.due = true;
            return Received::Nothing;
        }
        if self.blocked() {
            self.dropped = true;
            self.due = true;
            return Received::Nothing;
        }
        let Some(text) = self.session.open(nonce, sealed, scratch) else {
            counters.foreign = counters.foreign.saturating_add(1);
            return Received::Nothing;
        };
        let Some(received) = read_chunk(text).and_then(|chunk| self.place(chunk)) else {
            return Received::Broken;
        };
        self.expected = self.expected.saturating_add(1);
        self.due = true;
        received
    }

    /// Puts a chunk where it belongs; `None` where it belongs nowhere.
    fn place<'t>(&mut self, chunk: Chunk<'t>) -> Option<Received<'t>> {
        let length = u32::try_from(chunk.bytes.len()).ok()?;
        let left = chunk.total.checked_sub(chunk.offset)?;
        if length != left.min(u32::try_from(CHUNK_BYTES).ok()?) {
            return None;
        }
        let started = chunk.offset == 0;
        let mut incoming = match self.incoming.take() {
            Some(incoming) if !started => incoming,
            Some(_) | None if started => Incoming {
                kind: chunk.kind,
                number: chunk.number,
                total: chunk.total,
                received: 0,
                swallow: chunk.total > self.limit,
            },
            Some(_) | None => return None,
        };
        let belongs = incoming.kind == chunk.kind
            && incoming.number == chunk.number
            && incoming.total == chunk.total
            && incoming.received == chunk.offset;
        if !belongs {
            return None;
        }
        incoming.received = incoming.received.checked_add(length)?;
        let received = if !incoming.swallow {
            Received::Chunk(chunk)
        } else if started {
            Received::TooLong {
                number: chunk.number,
            }
        } else {
            Received::Nothing
        };
        if incoming.received < incoming.total {
            self.incoming = Some(incoming);
        }
        Some(received)
    }

    /// Takes a control frame; false where the session cannot go on.
    pub(crate) fn control(
        &mut self,
        nonce: u64,
        sealed: &[u8],
        scratch: &mut [u8],
        counters: &mut Counters,
    ) -> bool {
        let number = nonce & !CONTROL;
        if nonce & CONTROL == 0 || number < self.next_control {
            counters.out_of_order = counters.out_of_order.saturating_add(1);
            return true;
        }
        let Some(text) = self.session.open(nonce, sealed, scratch) else {
            counters.foreign = counters.foreign.saturating_add(1);
            return true;
        };
        let Some((next, [credit, flags])) = text
            .split_first_chunk()
            .map(|(next, rest)| (u64::from_le_bytes(*next), rest))
        else {
            return false;
        };
        if next < self.acknowledged || next > self.sent {
            return false;
        }
        self.next_control = number.saturating_add(1);
        self.acknowledged = next;
        self.cursor = self.cursor.max(next);
        self.allowed = next.saturating_add(u64::from(*credit));
        self.peer_busy = flags & BUSY != 0;
        // Each of the frames after a lost one reports the gap; it is filled once, and by nudges after that.
        if flags & GAP != 0 && self.gap_filled != Some(next) {
            self.gap_filled = Some(next);
            self.cursor = next;
        }
        if flags & POLL != 0 {
            self.due = true;
            self.cursor = next;
        }
        self.settle();
        true
    }

    /// Forgets a message that is all acknowledged.
    fn settle(&mut self) {
        let done = self
            .outgoing
            .as_ref()
            .is_some_and(|outgoing| outgoing.end == self.acknowledged);
        if done {
            self.outgoing = None;
            self.held = false;
            // A device takes requests again.
            self.due |= self.end == End::Device;
        }
    }

    /// Whether data frames are not taken: a device has one request at a time, and its reply is under way until the host
    /// has it.
    fn blocked(&self) -> bool {
        match self.end {
            End::Device => self.held || self.outgoing.is_some(),
            End::Host => false,
        }
    }

    /// Writes the next frame that is due; false where none is.
    pub(crate) fn next_packet(&mut self, packet: &mut PacketBuffer) -> bool {
        if core::mem::take(&mut self.due) {
            self.write_control(packet);
            return true;
        }
        let Some(outgoing) = &self.outgoing else {
            return false;
        };
        if self.cursor >= outgoing.end || self.cursor >= self.allowed {
            return false;
        }
        let mut text = [0u8; MAX_TEXT_BYTES];
        let Some(length) = outgoing.write_chunk(self.cursor, &mut text) else {
            return false;
        };
        packet.data(self.cursor, |out| {
            self.session.seal(self.cursor, text.get(..length)?, out)
        });
        self.cursor = self.cursor.saturating_add(1);
        self.sent = self.sent.max(self.cursor);
        true
    }

    fn write_control(&mut self, packet: &mut PacketBuffer) {
        let blocked = self.blocked();
        let mut flags = 0;
        if core::mem::take(&mut self.poll) {
            flags |= POLL;
        }
        if blocked {
            flags |= BUSY;
        }
        if core::mem::take(&mut self.gap) || (!blocked && core::mem::take(&mut self.dropped)) {
            flags |= GAP;
        }
        let credit = if blocked { 0 } else { self.credit };
        let mut text = [0u8; CONTROL_BYTES];
        if let Some((next, rest)) = text.split_first_chunk_mut() {
            *next = self.expected.to_le_bytes();
            rest.copy_from_slice(&[credit, flags]);
        }
        let nonce = CONTROL | self.controls_sent;
        self.controls_sent = self.controls_sent.saturating_add(1);
        packet.control(nonce, |out| self.session.seal(nonce, &text, out));
    }
}

impl Outgoing {
    /// Writes the chunk that belongs to a nonce: always the same bytes.
    fn write_chunk(&self, nonce: u64, text: &mut [u8]) -> Option<usize> {
        let place = usize::try_from(nonce.checked_sub(self.first)?).ok()?;
        let offset = place.checked_mul(CHUNK_BYTES)?;
        let end = offset.checked_add(CHUNK_BYTES)?.min(self.bytes.len());
        let bytes = self.bytes.get(offset..end)?;
        let (header, rest) = text.split_first_chunk_mut::<CHUNK_HEADER_BYTES>()?;
        let (kind, header) = header.split_first_mut()?;
        *kind = match self.kind {
            Kind::Message => 0,
            Kind::Rejected => 1,
        };
        let (total, offset) = (
            u32::try_from(self.bytes.len()).ok()?,
            u32::try_from(offset).ok()?,
        );
        for (slot, number) in header.chunks_mut(4).zip([self.number, total, offset]) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        rest.get_mut(..bytes.len())?.copy_from_slice(bytes);
        CHUNK_HEADER_BYTES.checked_add(bytes.len())
    }
}

fn read_chunk(text: &[u8]) -> Option<Chunk<'_>> {
    let (kind, rest) = text.split_first()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (total, rest) = rest.split_first_chunk()?;
    let (offset, bytes) = rest.split_first_chunk()?;
    Some(Chunk {
        kind: match kind {
            0 => Kind::Message,
            1 => Kind::Rejected,
            _ => return None,
        },
        number: u32::from_le_bytes(*number),
        total: u32::from_le_bytes(*total),
        offset: u32::from_le_bytes(*offset),
        bytes,
    })
}
