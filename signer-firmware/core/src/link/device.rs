//! The device's end: answers, and never starts anything.

mod machine;

use super::alloc::vec::Vec;
use super::channel::Kind;
use super::hello::Hello;
use super::message::{Part, Rejection, ReplyError, RequestId};
use super::noise::{Entropy, LinkFault, PublicKey, StaticKey};
use super::packet::{DECODER_BYTES, PacketBuffer};
use super::pairing::Code;
use super::{Counters, MAX_REPLY_BYTES};
use crate::frame::{self, Decoder};
use machine::Device;
use thiserror::Error;

/// What a device's link is made from.
#[derive(Debug)]
pub struct DeviceSettings {
    /// The device's own key, made in it and never changed.
    pub key: StaticKey,
    /// The host it is paired with, if any.
    pub host: Option<PublicKey>,
    /// Who it is.
    pub hello: Hello,
    /// Bytes of a request that it takes at most.
    pub max_request_bytes: u32,
    /// Frames of [`super::WIRE_BYTES`] that its receive buffer has room for while the program is busy; at least 1.
    pub credit: u8,
}

/// What happened on the line.
#[derive(Debug, PartialEq, Eq)]
pub enum DeviceEvent<'a> {
    /// A piece of a request.
    Part(Part<'a>),
    /// Show this code to the person, by whatever the device has.
    PairingCode(Code),
    /// The person has typed the code at the host: the button may be pressed now.
    PairingConfirmed,
    /// The host gave the pairing up; it is closed.
    PairingCancelled,
}

/// A pairing that waits for the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairingView {
    /// What is shown.
    pub code: Code,
    /// The key to store before [`DeviceLink::accept_pairing`].
    pub host: PublicKey,
    /// Whether the person has typed the code at the host.
    pub confirmed: bool,
}

/// A pairing that cannot be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PairingError {
    /// No code is shown.
    #[error("expected a pairing under way, found none")]
    None,
    /// The code was not typed at the host yet.
    #[error("expected that the code was typed at the host, found that it was not yet")]
    NotConfirmed,
    /// It was decided before.
    #[error("expected an undecided pairing, found a decided one")]
    Decided,
}

/// The device's end of the link.
pub struct DeviceLink {
    decoder: Decoder<DECODER_BYTES>,
    packet: PacketBuffer,
    device: Device,
}

impl core::fmt::Debug for DeviceLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DeviceLink")
            .field("session", &self.device.session)
            .field("counters", &self.device.counters)
            .finish_non_exhaustive()
    }
}

impl DeviceLink {
    /// A link without a session.
    ///
    /// # Errors
    /// - [`LinkFault::Library`] where the build lacks a primitive.
    pub fn new(settings: DeviceSettings) -> Result<Self, LinkFault> {
        Ok(Self {
            decoder: Decoder::new(),
            packet: PacketBuffer::default(),
            device: Device::new(settings)?,
        })
    }

    /// Takes the next byte from the line. After it, [`Self::poll_transmit`] may have something.
    pub fn feed(&mut self, byte: u8, entropy: &mut dyn Entropy) -> Option<DeviceEvent<'_>> {
        match self.decoder.push(byte)? {
            Ok(message) => self.device.packet(message, entropy),
            Err(_) => {
                let counters = &mut self.device.counters;
                counters.garbled = counters.garbled.saturating_add(1);
                None
            }
        }
    }

    /// Writes the next frame into `wire` ([`super::WIRE_BYTES`] long) and gives its length; `None` where there is nothing to say.
    /// Call it until it says so, after bytes were fed and after a reply was given.
    pub fn poll_transmit(&mut self, wire: &mut [u8]) -> Option<usize> {
        if !self.device.next_packet(&mut self.packet) {
            return None;
        }
        frame::encode(self.packet.written()?, wire).ok()
    }

    /// Answers a request, whole or not: what is still to come of it is dropped. The link keeps the bytes until the host has
    /// them all.
    ///
    /// # Errors
    /// - [`ReplyError::SessionEnded`] where the request's session is over;
    /// - [`ReplyError::Answered`] where it was answered;
    /// - [`ReplyError::TooLong`] above [`MAX_REPLY_BYTES`].
    pub fn reply(&mut self, to: RequestId, bytes: Vec<u8>) -> Result<(), ReplyError> {
        if bytes.len() > MAX_REPLY_BYTES {
            return Err(ReplyError::TooLong { found: bytes.len() });
        }
        self.device.answer(to, Kind::Message, bytes)
    }

    /// Says that a request is not taken.
    ///
    /// # Errors
    /// - the same as [`Self::reply`].
    pub fn reject(&mut self, to: RequestId, why: Rejection) -> Result<(), ReplyError> {
        self.device
            .answer(to, Kind::Rejected, why.to_bytes().to_vec())
    }

    /// Says another thing of the device from the next session on.
    pub fn set_hello(&mut self, hello: Hello) {
        self.device.set_hello(hello);
    }

    /// Opens the device for one attempt to pair. Only what a person does at the device may lead here.
    pub fn open_pairing(&mut self) {
        self.device.open_pairing();
    }

    /// Ends pairing, whatever its state. A device closes it by its timer.
    pub fn close_pairing(&mut self) {
        self.device.close_pairing();
    }

    /// The pairing whose code is shown.
    pub fn pairing(&self) -> Option<PairingView> {
        self.device.shown().map(|shown| PairingView {
            code: shown.code,
            host: shown.host,
            confirmed: shown.confirmed,
        })
    }

    /// The person pressed the button, and the host's key ([`PairingView::host`]) is stored durably: from now on it is the
    /// host, and sessions with another one are over.
    ///
    /// # Errors
    /// - [`PairingError`] where there is nothing to accept.
    pub fn accept_pairing(&mut self) -> Result<(), PairingError> {
        self.device.decide(true)
    }

    /// The person refused.
    ///
    /// # Errors
    /// - [`PairingError`] where there is nothing to refuse.
    pub fn deny_pairing(&mut self) -> Result<(), PairingError> {
        self.device.decide(false)
    }

    /// What it has seen of its line.
    pub fn counters(&self) -> Counters {
        self.device.counters
    }
}
