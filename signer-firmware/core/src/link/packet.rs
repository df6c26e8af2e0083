//! What a frame of the link holds: its kind in one byte, then what follows of it. Little-endian throughout.
//!
//! Only [`Packet::Data`], [`Packet::Control`] and [`Packet::PairSealed`] can be believed, once they are opened. The others
//! open sessions, or explain to people why there is none.

use super::hello::Words;
use super::noise::{Fingerprint, TAG_BYTES};
use crate::frame::encoded_length;

/// Version of the link. Another one is told so and gets no session.
pub const LINK_VERSION: u8 = 1;
/// Bytes of a message in one frame.
pub const CHUNK_BYTES: usize = 1024;
/// Of a chunk: kind, request, total, offset.
pub(crate) const CHUNK_HEADER_BYTES: usize = 13;
/// Bytes of what is sealed in one frame at most.
pub(crate) const MAX_TEXT_BYTES: usize = CHUNK_HEADER_BYTES + CHUNK_BYTES;
/// Of a sealed frame: kind and nonce.
const SEALED_HEADER_BYTES: usize = 9;
/// Bytes of a frame's message at most, without its checksum.
pub const MAX_PACKET_BYTES: usize = SEALED_HEADER_BYTES + MAX_TEXT_BYTES + TAG_BYTES;
/// Bytes of a frame on the wire at most: the size of the buffer that frames are written from.
pub const WIRE_BYTES: usize = encoded_length(MAX_PACKET_BYTES);
/// Message and checksum: what the decoder keeps.
pub(crate) const DECODER_BYTES: usize = MAX_PACKET_BYTES + 4;

/// Exact bytes of handshake messages without their payloads.
pub(crate) const PAIR_FIRST_BYTES: usize = 32;
/// `e`, and the tag of an empty payload.
pub(crate) const OPEN_BYTES: usize = 32 + TAG_BYTES;

const PROBE: u8 = 0x01;
const ANNOUNCE: u8 = 0x02;
const OPEN: u8 = 0x03;
const OPENED: u8 = 0x04;
const REFUSE: u8 = 0x05;
const PAIR_FIRST: u8 = 0x06;
const PAIR_SECOND: u8 = 0x07;
const PAIR_THIRD: u8 = 0x08;
const PAIR_SEALED: u8 = 0x09;
const DATA: u8 = 0x10;
const CONTROL: u8 = 0x11;
const NO_SESSION: u8 = 0x12;

/// Why a device gives no session. Not authenticated: it helps people, and decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefuseReason {
    /// It speaks another version of the link.
    Version,
    /// It is paired with nobody.
    Unpaired,
    /// The opening message was not made by the host it is paired with, for it.
    Stranger,
    /// Nobody has opened it for pairing, or the one attempt of this opening is used up.
    PairingClosed,
    /// It has no entropy, so no session is safe.
    Entropy,
}

impl RefuseReason {
    const ALL: [Self; 5] = [
        Self::Version,
        Self::Unpaired,
        Self::Stranger,
        Self::PairingClosed,
        Self::Entropy,
    ];

    const fn code(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::Unpaired => 2,
            Self::Stranger => 3,
            Self::PairingClosed => 4,
            Self::Entropy => 5,
        }
    }

    fn read(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// How far a device is from serving a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairedness {
    /// Paired with nobody, and not open for it.
    Unpaired,
    /// Paired.
    Paired,
    /// Open for one attempt to pair, whether paired or not.
    Open,
}

impl Pairedness {
    const ALL: [Self; 3] = [Self::Unpaired, Self::Paired, Self::Open];

    const fn code(self) -> u8 {
        match self {
            Self::Unpaired => 0,
            Self::Paired => 1,
            Self::Open => 2,
        }
    }

    fn read(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// What a device says to anyone who asks. Not authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Version of its link.
    pub version: u8,
    /// Short name of its key.
    pub device: Fingerprint,
    /// Whether it can be opened or paired.
    pub pairedness: Pairedness,
    /// Its firmware, in words.
    pub words: Words,
}

/// A frame's message, read.
#[derive(Debug)]
pub(crate) enum Packet<'a> {
    Probe,
    Announce(Announcement),
    Open {
        version: u8,
        message: &'a [u8],
    },
    Opened(&'a [u8]),
    Refuse {
        version: u8,
        reason: RefuseReason,
        device: Fingerprint,
    },
    PairFirst {
        version: u8,
        message: &'a [u8],
    },
    PairSecond(&'a [u8]),
    PairThird(&'a [u8]),
    PairSealed {
        nonce: u64,
        sealed: &'a [u8],
    },
    Data {
        nonce: u64,
        sealed: &'a [u8],
    },
    Control {
        nonce: u64,
        sealed: &'a [u8],
    },
    NoSession,
}

impl<'a> Packet<'a> {
    /// Reads one; `None` where it is none that this version knows.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match *kind {
            // Whatever follows is a later version's.
            PROBE => Self::Probe,
            ANNOUNCE => {
                let (version, rest) = rest.split_first()?;
                let (device, rest) = rest.split_first_chunk()?;
                let (pairedness, words) = rest.split_first()?;
                Self::Announce(Announcement {
                    version: *version,
                    device: Fingerprint::new(*device),
                    pairedness: Pairedness::read(*pairedness)?,
                    words: Words::read(words)?,
                })
            }
            OPEN => {
                let (version, message) = rest.split_first()?;
                Self::Open {
                    version: *version,
                    message,
                }
            }
            OPENED => Self::Opened(rest),
            REFUSE => {
                let [version, reason, device @ ..] = rest else {
                    return None;
                };
                Self::Refuse {
                    version: *version,
                    reason: RefuseReason::read(*reason)?,
                    device: Fingerprint::new(device.try_into().ok()?),
                }
            }
            PAIR_FIRST => {
                let (version, message) = rest.split_first()?;
                Self::PairFirst {
                    version: *version,
                    message,
                }
            }
            PAIR_SECOND => Self::PairSecond(rest),
            PAIR_THIRD => Self::PairThird(rest),
            PAIR_SEALED => {
                let (nonce, sealed) = sealed(rest)?;
                Self::PairSealed { nonce, sealed }
            }
            DATA => {
                let (nonce, sealed) = sealed(rest)?;
                Self::Data { nonce, sealed }
            }
            CONTROL => {
                let (nonce, sealed) = sealed(rest)?;
                Self::Control { nonce, sealed }
            }
            NO_SESSION => Self::NoSession,
            _ => return None,
        })
    }
}

fn sealed(rest: &[u8]) -> Option<(u64, &[u8])> {
    let (nonce, sealed) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*nonce), sealed))
}

/// A frame's message being written. What does not fit is an error of ours, and comes out as `None` from [`Self::written`].
pub(crate) struct PacketBuffer {
    bytes: [u8; MAX_PACKET_BYTES],
    length: Option<usize>,
}

impl Default for PacketBuffer {
    fn default() -> Self {
        Self {
            bytes: [0; MAX_PACKET_BYTES],
            length: Some(0),
        }
    }
}

impl PacketBuffer {
    /// What is written; `None` where it did not fit.
    pub(crate) fn written(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length?)
    }

    pub(crate) fn probe(&mut self) {
        self.start(PROBE).put(&[LINK_VERSION]);
    }

    pub(crate) fn announce(&mut self, announcement: &Announcement) {
        self.start(ANNOUNCE)
            .put(&[announcement.version])
            .put(&announcement.device.to_bytes())
            .put(&[announcement.pairedness.code()])
            .put(announcement.words.as_bytes());
    }

    pub(crate) fn refuse(&mut self, reason: RefuseReason, device: Fingerprint) {
        self.start(REFUSE)
            .put(&[LINK_VERSION, reason.code()])
            .put(&device.to_bytes());
    }

    pub(crate) fn open(&mut self, message: &[u8]) {
        self.start(OPEN).put(&[LINK_VERSION]).put(message);
    }

    pub(crate) fn opened(&mut self, message: &[u8]) {
        self.start(OPENED).put(message);
    }

    pub(crate) fn pair_first(&mut self, message: &[u8]) {
        self.start(PAIR_FIRST).put(&[LINK_VERSION]).put(message);
    }

    pub(crate) fn pair_second(&mut self, message: &[u8]) {
        self.start(PAIR_SECOND).put(message);
    }

    pub(crate) fn pair_third(&mut self, message: &[u8]) {
        self.start(PAIR_THIRD).put(message);
    }

    pub(crate) fn no_session(&mut self) {
        self.start(NO_SESSION);
    }

    pub(crate) fn pair_sealed(
        &mut self,
        nonce: u64,
        seal: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        self.sealed(PAIR_SEALED, nonce, seal);
    }

    pub(crate) fn data(&mut self, nonce: u64, seal: impl FnOnce(&mut [u8]) -> Option<usize>) {
        self.sealed(DATA, nonce, seal);
    }

    pub(crate) fn control(&mut self, nonce: u64, seal: impl FnOnce(&mut [u8]) -> Option<usize>) {
        self.sealed(CONTROL, nonce, seal);
    }

    fn sealed(&mut self, kind: u8, nonce: u64, seal: impl FnOnce(&mut [u8]) -> Option<usize>) {
        self.start(kind).put(&nonce.to_le_bytes());
        let place = self.length.and_then(|length| self.bytes.get_mut(length..));
        let added = place.and_then(seal);
        self.length = self
            .length
            .zip(added)
            .and_then(|(length, added)| length.checked_add(added));
    }

    fn start(&mut self, kind: u8) -> &mut Self {
        self.length = Some(0);
        self.put(&[kind])
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.length = self.length.and_then(|length| {
            let end = length.checked_add(bytes.len())?;
            self.bytes.get_mut(length..end)?.copy_from_slice(bytes);
            Some(end)
        });
        self
    }
}

/// Writes the frame that asks a device who it is; gives its length, or `None` where `wire` is shorter than [`WIRE_BYTES`].
pub fn probe(wire: &mut [u8]) -> Option<usize> {
    let mut packet = PacketBuffer::default();
    packet.probe();
    crate::frame::encode(packet.written()?, wire).ok()
}

/// What a device answers to [`probe`]; `None` where the frame is something else.
pub fn read_announcement(message: &[u8]) -> Option<Announcement> {
    match Packet::read(message)? {
        Packet::Announce(announcement) => Some(announcement),
        Packet::Probe
        | Packet::Open { .. }
        | Packet::Opened(_)
        | Packet::Refuse { .. }
        | Packet::PairFirst { .. }
        | Packet::PairSecond(_)
        | Packet::PairThird(_)
        | Packet::PairSealed { .. }
        | Packet::Data { .. }
        | Packet::Control { .. }
        | Packet::NoSession => None,
    }
}
