//! The host's end of a pairing ([`super::pairing`]).

use super::alloc::boxed::Box;
use super::alloc::vec::Vec;
use super::noise::{
    End, Entropy, Fingerprint, Handshake, LinkFault, PublicKey, Session, StaticKey, TAG_BYTES,
};
use super::packet::{DECODER_BYTES, MAX_PACKET_BYTES, Packet, PacketBuffer, RefuseReason};
use super::pairing::{CANCEL, CONFIRM, Code, DENIED, PAIRED, REVEAL, commitment};
use crate::frame::{self, Decoder};

/// What happened while a host pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairingEvent {
    /// The device shows a code. It is this one, if nobody sits in between: let the person type what the device shows, and
    /// compare.
    Code(Code),
    /// The person pressed the device's button: store the device's key.
    Paired(PublicKey),
    /// The person refused at the device.
    Denied,
    /// The device does not pair. Not authenticated.
    Refused {
        /// Why.
        reason: RefuseReason,
        /// Short name of its key.
        device: Fingerprint,
        /// Version of its link.
        version: u8,
    },
    /// The nonce is not what was committed to: somebody sits in between.
    Forged,
}

/// A host's end of one pairing.
pub struct HostPairing {
    decoder: Decoder<DECODER_BYTES>,
    packet: PacketBuffer,
    state: Pairing,
    due: bool,
}

impl core::fmt::Debug for HostPairing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HostPairing(..)")
    }
}

enum Pairing {
    First {
        handshake: Box<Handshake>,
        first: Vec<u8>,
        fresh: zeroize::Zeroizing<[u8; 32]>,
    },
    Third {
        session: Box<Session>,
        third: Vec<u8>,
        commitment: [u8; 32],
        transcript: [u8; 32],
        device: PublicKey,
    },
    Shown {
        session: Box<Session>,
        device: PublicKey,
        says: Option<u64>,
    },
    Over,
}

impl HostPairing {
    /// Starts one.
    ///
    /// # Errors
    /// - [`LinkFault`] where this end cannot.
    pub fn start(key: &StaticKey, entropy: &mut dyn Entropy) -> Result<Self, LinkFault> {
        let fresh = entropy.fresh()?;
        let mut handshake = Handshake::pairing(End::Host, key, entropy)?;
        let mut first = [0u8; MAX_PACKET_BYTES];
        let length = handshake.write(&[], &mut first)?;
        Ok(Self {
            decoder: Decoder::new(),
            packet: PacketBuffer::default(),
            state: Pairing::First {
                handshake: Box::new(handshake),
                first: first.get(..length).unwrap_or_default().to_vec(),
                fresh,
            },
            due: true,
        })
    }

    /// Takes the next byte from the line.
    pub fn feed(&mut self, byte: u8) -> Option<PairingEvent> {
        let message = self.decoder.push(byte)?.ok()?;
        match Packet::read(message)? {
            Packet::Refuse {
                version,
                reason,
                device,
            } if matches!(self.state, Pairing::First { .. }) => Some(PairingEvent::Refused {
                reason,
                device,
                version,
            }),
            Packet::PairSecond(second) => {
                if let Some(next) = self.state.second(second) {
                    self.state = next;
                    self.due = true;
                }
                None
            }
            Packet::PairSealed { nonce, sealed } => {
                let (next, event) = self.state.sealed(nonce, sealed)?;
                self.state = next;
                Some(event)
            }
            Packet::Refuse { .. }
            | Packet::Probe
            | Packet::Announce(_)
            | Packet::Open { .. }
            | Packet::Opened(_)
            | Packet::PairFirst { .. }
            | Packet::PairThird(_)
            | Packet::Data { .. }
            | Packet::Control { .. }
            | Packet::NoSession => None,
        }
    }

    /// The person typed the code that the device shows, and it was the right one.
    pub fn confirm(&mut self) {
        self.say(CONFIRM);
    }

    /// The person typed another one, or nothing: the device forgets the pairing.
    pub fn cancel(&mut self) {
        self.say(CANCEL);
    }

    fn say(&mut self, what: u64) {
        if let Pairing::Shown { says, .. } = &mut self.state {
            *says = Some(what);
            self.due = true;
        }
    }

    /// Nothing came for a while: the last message goes out again.
    pub fn nudge(&mut self) {
        self.due = true;
    }

    /// Writes the next frame into `wire` ([`super::WIRE_BYTES`] long) and gives its length; `None` where there is nothing to say.
    pub fn poll_transmit(&mut self, wire: &mut [u8]) -> Option<usize> {
        if !core::mem::take(&mut self.due) {
            return None;
        }
        match &self.state {
            Pairing::First { first, .. } => self.packet.pair_first(first),
            Pairing::Third { third, .. } => self.packet.pair_third(third),
            Pairing::Shown {
                session,
                says: Some(says),
                ..
            } => self
                .packet
                .pair_sealed(*says, |out| session.seal(*says, &[], out)),
            Pairing::Shown { says: None, .. } | Pairing::Over => return None,
        }
        frame::encode(self.packet.written()?, wire).ok()
    }
}

impl Pairing {
    fn second(&mut self, second: &[u8]) -> Option<Self> {
        let Self::First {
            handshake, fresh, ..
        } = self
        else {
            return None;
        };
        let mut payload = [0u8; MAX_PACKET_BYTES];
        let commitment = handshake.read(second, &mut payload)?.try_into().ok()?;
        let mut third = [0u8; MAX_PACKET_BYTES];
        let length = handshake.write(fresh.as_slice(), &mut third).ok()?;
        let third = third.get(..length)?.to_vec();
        let device = handshake.peer()?;
        let transcript = handshake.transcript()?;
        let Self::First { handshake, .. } = core::mem::replace(self, Self::Over) else {
            return None;
        };
        Some(Self::Third {
            session: Box::new(handshake.finish()?),
            third,
            commitment,
            transcript,
            device,
        })
    }

    fn sealed(&mut self, nonce: u64, sealed: &[u8]) -> Option<(Self, PairingEvent)> {
        let mut text = [0u8; 32 + TAG_BYTES];
        match (core::mem::replace(self, Self::Over), nonce) {
            (
                Self::Third {
                    session,
                    third,
                    commitment: committed,
                    transcript,
                    device,
                },
                REVEAL,
            ) => {
                let opened = session.open(nonce, sealed, &mut text);
                let Some(revealed) = opened.and_then(|text| <&[u8; 32]>::try_from(text).ok())
                else {
                    *self = Self::Third {
                        session,
                        third,
                        commitment: committed,
                        transcript,
                        device,
                    };
                    return None;
                };
                if commitment(revealed) != committed {
                    return Some((Self::Over, PairingEvent::Forged));
                }
                let code = Code::of(&transcript, revealed);
                let shown = Self::Shown {
                    session,
                    device,
                    says: None,
                };
                Some((shown, PairingEvent::Code(code)))
            }
            (
                Self::Shown {
                    session,
                    device,
                    says,
                },
                PAIRED | DENIED,
            ) => {
                let over = session
                    .open(nonce, sealed, &mut text)
                    .is_some_and(<[u8]>::is_empty);
                // Nobody but the device can seal this, and it does so only when it was told that the code was typed.
                if over && nonce == PAIRED && says == Some(CONFIRM) {
                    return Some((Self::Over, PairingEvent::Paired(device)));
                }
                if over && nonce == DENIED {
                    return Some((Self::Over, PairingEvent::Denied));
                }
                *self = Self::Shown {
                    session,
                    device,
                    says,
                };
                None
            }
            (before, _) => {
                *self = before;
                None
            }
        }
    }
}
