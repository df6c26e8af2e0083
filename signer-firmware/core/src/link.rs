//! The session between a daemon and the device on the serial line (ADR 0018): both ends, sans-IO.
//!
//! Bytes go in one by one, events and the next frame to write come out. Nothing here knows a clock: all recovery is the
//! host's, which calls [`HostLink::nudge`] when nothing came for a while; a device only ever answers.
//!
//! | module | what |
//! |---|---|
//! | `noise` | keys and the Noise session: `KK` between ends that are paired, `XX` to pair them |
//! | `packet` | what a frame holds |
//! | `channel` | numbered, sealed frames; repeats, gaps, credit; messages in chunks |
//! | `pairing` | the code that a person compares, committed to beforehand |
//! | `device`, `host`, `host_pairing` | the state machines |
//!
//! What cannot be opened with the session's key is dropped: noise and strangers look alike, and neither ends a session. What
//! can be opened and is still wrong (a chunk out of place) ends it.

extern crate alloc;

mod channel;
mod device;
mod hello;
mod host;
mod host_pairing;
mod message;
mod noise;
mod packet;
mod pairing;

pub use device::{DeviceEvent, DeviceLink, DeviceSettings, PairingError, PairingView};
pub use hello::{Hello, HelloError, Provisioned, Words};
pub use host::{HostEvent, HostLink};
pub use host_pairing::{HostPairing, PairingEvent};
pub use message::{Collector, Part, Rejection, ReplyError, RequestId};
pub use noise::{Entropy, Fingerprint, LinkFault, NoEntropy, PublicKey, StaticKey};
pub use packet::{
    Announcement, CHUNK_BYTES, LINK_VERSION, MAX_PACKET_BYTES, Pairedness, RefuseReason,
    WIRE_BYTES, probe, read_announcement,
};
pub use pairing::Code;

/// Bytes of a request that the link carries at most, whatever a device allows. A peg-out of 50 burns has 111 kB.
pub const MAX_REQUEST_BYTES: u32 = 8 << 20;
/// Bytes of a reply at most: a signature for each input of the largest batch is far less.
pub const MAX_REPLY_BYTES: usize = 64 << 10;

/// What an end has seen of its line since it started. For people; it decides nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that were truncated, too long, or had a wrong checksum: noise.
    pub garbled: u32,
    /// Frames that were whole, but were not sealed with the session's key, or made no sense: a stranger, or an old session.
    pub foreign: u32,
    /// Frames that came again, or before their turn.
    pub out_of_order: u32,
}

#[cfg(test)]
mod tests;
