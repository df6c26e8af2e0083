//! The host's end of a session: opens it, asks, and recovers what the line loses.

use super::alloc::boxed::Box;
use super::alloc::vec::Vec;
use super::channel::{Channel, Kind, Received};
use super::hello::Hello;
use super::message::{Part, Rejection, RequestId};
use super::noise::{End, Entropy, Fingerprint, Handshake, LinkFault, PublicKey, StaticKey};
use super::packet::{
    DECODER_BYTES, MAX_PACKET_BYTES, MAX_TEXT_BYTES, Packet, PacketBuffer, RefuseReason,
};
use super::{Counters, MAX_REPLY_BYTES};
use crate::frame::{self, Decoder};

/// Frames that a host takes at a time; its buffers are the operating system's.
const CREDIT: u8 = 16;

/// What happened on a host's line.
#[derive(Debug, PartialEq, Eq)]
pub enum HostEvent<'a> {
    /// The session is open, with the device it was opened for.
    Opened(Hello),
    /// The device, or whatever is on the line, gives no session. Not authenticated.
    Refused {
        /// Why.
        reason: RefuseReason,
        /// Short name of the key that the device says it has.
        device: Fingerprint,
        /// Version of its link.
        version: u8,
    },
    /// A piece of a reply.
    Part(Part<'a>),
    /// The device did not take a request.
    Rejected {
        /// Its number.
        number: u32,
        /// Why.
        why: Rejection,
    },
    /// The session cannot go on. Where the device says it (it was restarted), that is not authenticated; a new session is the
    /// answer either way.
    Ended,
}

/// A host's end of one session. It starts with the opening; a new session is a new value.
pub struct HostLink {
    decoder: Decoder<DECODER_BYTES>,
    packet: PacketBuffer,
    host: Host,
}

impl core::fmt::Debug for HostLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HostLink")
            .field("open", &matches!(self.host.state, State::Open(_)))
            .field("counters", &self.host.counters)
            .finish_non_exhaustive()
    }
}

struct Host {
    state: State,
    /// What is not sealed is due.
    due: bool,
    text: [u8; MAX_TEXT_BYTES],
    counters: Counters,
}

enum State {
    Opening {
        handshake: Box<Handshake>,
        message: Vec<u8>,
    },
    Open(Box<Channel>),
    Ended,
}

impl HostLink {
    /// Opens a session with the device that this host is paired with.
    ///
    /// # Errors
    /// - [`LinkFault`] where this end cannot.
    pub fn open(
        key: &StaticKey,
        device: &PublicKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, LinkFault> {
        let mut handshake = Handshake::paired(End::Host, key, device, entropy)?;
        let mut message = [0u8; MAX_PACKET_BYTES];
        let length = handshake.write(&[], &mut message)?;
        Ok(Self {
            decoder: Decoder::new(),
            packet: PacketBuffer::default(),
            host: Host {
                state: State::Opening {
                    handshake: Box::new(handshake),
                    message: message.get(..length).unwrap_or_default().to_vec(),
                },
                due: true,
                text: [0; MAX_TEXT_BYTES],
                counters: Counters::default(),
            },
        })
    }

    /// Takes the next byte from the line. After it, [`Self::poll_transmit`] may have something.
    pub fn feed(&mut self, byte: u8) -> Option<HostEvent<'_>> {
        match self.decoder.push(byte)? {
            Ok(message) => self.host.packet(message),
            Err(_) => {
                let counters = &mut self.host.counters;
                counters.garbled = counters.garbled.saturating_add(1);
                None
            }
        }
    }

    /// Writes the next frame into `wire` ([`super::WIRE_BYTES`] long) and gives its length; `None` where there is nothing to say.
    pub fn poll_transmit(&mut self, wire: &mut [u8]) -> Option<usize> {
        if !self.host.next_packet(&mut self.packet) {
            return None;
        }
        frame::encode(self.packet.written()?, wire).ok()
    }

    /// Asks. `number` is new in this session. False where the request before is not yet all with the device, or the session
    /// is not open.
    #[must_use]
    pub fn request(&mut self, number: u32, bytes: Vec<u8>) -> bool {
        match &mut self.host.state {
            State::Open(channel) => channel.send(Kind::Message, number, bytes).is_some(),
            State::Opening { .. } | State::Ended => false,
        }
    }

    /// The request under way has its answer already: no more of it is sent than was.
    pub fn cut(&mut self) {
        if let State::Open(channel) = &mut self.host.state {
            channel.cut();
        }
    }

    /// Whether a request is not yet all with the device.
    pub fn sending(&self) -> bool {
        match &self.host.state {
            State::Open(channel) => channel.sending(),
            State::Opening { .. } | State::Ended => false,
        }
    }

    /// Nothing came for a while: the next frames repeat what may be lost, and ask the device where it stands.
    pub fn nudge(&mut self) {
        match &mut self.host.state {
            State::Opening { .. } => self.host.due = true,
            State::Open(channel) => channel.nudge(),
            State::Ended => {}
        }
    }

    /// Whether the device said last that it is busy with a request.
    pub fn peer_busy(&self) -> bool {
        match &self.host.state {
            State::Open(channel) => channel.peer_busy(),
            State::Opening { .. } | State::Ended => false,
        }
    }

    /// What it has seen of its line.
    pub fn counters(&self) -> Counters {
        self.host.counters
    }
}

impl Host {
    fn packet(&mut self, message: &[u8]) -> Option<HostEvent<'_>> {
        let Some(packet) = Packet::read(message) else {
            self.foreign();
            return None;
        };
        match packet {
            Packet::Opened(answer) => self.opened(answer),
            Packet::Refuse {
                version,
                reason,
                device,
            } => match &self.state {
                State::Opening { .. } => Some(HostEvent::Refused {
                    reason,
                    device,
                    version,
                }),
                State::Open(_) | State::Ended => None,
            },
            Packet::Data { nonce, sealed } => self.data(nonce, sealed),
            Packet::Control { nonce, sealed } => {
                let State::Open(channel) = &mut self.state else {
                    return None;
                };
                let good = channel.control(nonce, sealed, &mut self.text, &mut self.counters);
                if good { None } else { self.end() }
            }
            Packet::NoSession => match &self.state {
                State::Open(_) => self.end(),
                State::Opening { .. } | State::Ended => None,
            },
            // Of a pairing or a probe before, or an echo.
            Packet::Announce(_)
            | Packet::PairSecond(_)
            | Packet::PairSealed { .. }
            | Packet::Probe
            | Packet::Open { .. }
            | Packet::PairFirst { .. }
            | Packet::PairThird(_) => {
                self.foreign();
                None
            }
        }
    }

    fn foreign(&mut self) {
        self.counters.foreign = self.counters.foreign.saturating_add(1);
    }

    fn end(&mut self) -> Option<HostEvent<'_>> {
        self.state = State::Ended;
        Some(HostEvent::Ended)
    }

    fn opened(&mut self, answer: &[u8]) -> Option<HostEvent<'_>> {
        let State::Opening { handshake, .. } = &mut self.state else {
            // It came again.
            return None;
        };
        let mut payload = [0u8; MAX_PACKET_BYTES];
        let Some(hello) = handshake.read(answer, &mut payload) else {
            self.foreign();
            return None;
        };
        let hello = Hello::read(hello);
        let State::Opening { handshake, .. } = core::mem::replace(&mut self.state, State::Ended)
        else {
            return None;
        };
        let (Ok(hello), Some(session)) = (hello, handshake.finish()) else {
            return Some(HostEvent::Ended);
        };
        let limit = u32::try_from(MAX_REPLY_BYTES).unwrap_or(u32::MAX);
        let mut channel = Channel::new(session, End::Host, limit, CREDIT);
        // Shows the device that its answer came, which makes the session the live one there.
        channel.nudge();
        self.state = State::Open(Box::new(channel));
        Some(HostEvent::Opened(hello))
    }

    fn data(&mut self, nonce: u64, sealed: &[u8]) -> Option<HostEvent<'_>> {
        let State::Open(channel) = &mut self.state else {
            return None;
        };
        match channel.data(nonce, sealed, &mut self.text, &mut self.counters) {
            Received::Nothing => None,
            Received::Chunk(chunk) => match chunk.kind {
                Kind::Message => Some(HostEvent::Part(Part {
                    request: RequestId {
                        session: 0,
                        number: chunk.number,
                    },
                    total: chunk.total,
                    offset: chunk.offset,
                    bytes: chunk.bytes,
                })),
                Kind::Rejected => match Rejection::read(chunk.bytes) {
                    Some(why) => Some(HostEvent::Rejected {
                        number: chunk.number,
                        why,
                    }),
                    None => {
                        self.state = State::Ended;
                        Some(HostEvent::Ended)
                    }
                },
            },
            Received::TooLong { .. } | Received::Broken => {
                self.state = State::Ended;
                Some(HostEvent::Ended)
            }
        }
    }

    fn next_packet(&mut self, packet: &mut PacketBuffer) -> bool {
        match &mut self.state {
            State::Opening { message, .. } => {
                let due = core::mem::take(&mut self.due);
                if due {
                    packet.open(message);
                }
                due
            }
            State::Open(channel) => channel.next_packet(packet),
            State::Ended => false,
        }
    }
}
