//! Pairing: two ends that have never met, a person who sees both, and a line that may have somebody in its middle.
//!
//! ```text
//! host                                   device (opened by a person, for one attempt)
//!   XX: e                            ->
//!                                    <-  XX: e, ee, s, es, H(n)       commits to n
//!   XX: s, se, fresh bytes           ->
//!                                    <-  n                            both know the code now
//!   person types the device's code
//!   confirm                          ->
//!                                        person presses the button; the host's key is stored
//!                                    <-  paired
//! ```
//!
//! The code is six digits of the hash of `n` and of the whole handshake. Whoever sits in the middle has two handshakes, and
//! must fix all that is his in both before he learns the honest end's last contribution: towards the device he chooses
//! without knowing `n`, towards the host he has committed before the host's fresh bytes. So he cannot search, and two codes
//! agree once in a million (Vaudenay, "Secure Communications over Insecure Channels Based on Short Authenticated Strings",
//! 2005). A device shows one code for each time that a person opens it; trying again takes a person again.

use super::alloc::boxed::Box;
use super::alloc::vec::Vec;
use super::noise::{End, Entropy, Handshake, LinkFault, PublicKey, Session, StaticKey, TAG_BYTES};
use super::packet::{MAX_PACKET_BYTES, PAIR_FIRST_BYTES, PacketBuffer};
use alys_protocol::hash::{self, TaggedHasher};
use core::fmt;
use zeroize::Zeroizing;

/// Nonces of what is sealed after the handshake, each for one text only.
pub(crate) const REVEAL: u64 = 0;
pub(crate) const PAIRED: u64 = 1;
pub(crate) const DENIED: u64 = 2;
/// The host's, in the other direction.
pub(crate) const CONFIRM: u64 = 0;
pub(crate) const CANCEL: u64 = 1;

/// Bytes of randomness that the host adds in its last message.
pub(crate) const FRESH_BYTES: usize = 32;

/// Six digits that a person compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

impl Code {
    pub(crate) fn of(transcript: &[u8; 32], nonce: &[u8; 32]) -> Self {
        let digest = TaggedHasher::without_chain(hash::LINK_CODE)
            .fixed(transcript)
            .fixed(nonce)
            .finish();
        let number = digest.first_chunk().copied().map_or(0, u64::from_le_bytes);
        // 2^64 is no multiple of a million: the bias is below 2^-44.
        let digits = number.checked_rem(1_000_000).unwrap_or_default();
        Self(u32::try_from(digits).unwrap_or_default())
    }

    /// The number, below a million; shown with leading zeros.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether a person typed it. Spaces do not matter, leading zeros do.
    pub fn is(self, typed: &str) -> bool {
        let mut digits = 0u32;
        let mut number = 0u32;
        for character in typed.chars().filter(|character| !character.is_whitespace()) {
            let Some(digit) = character.to_digit(10) else {
                return false;
            };
            digits = digits.saturating_add(1);
            number = number.saturating_mul(10).saturating_add(digit);
        }
        digits == 6 && number == self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let high = self.0.checked_div(1000).unwrap_or_default();
        let low = self.0.checked_rem(1000).unwrap_or_default();
        write!(f, "{high:03} {low:03}")
    }
}

pub(crate) fn commitment(nonce: &[u8; 32]) -> [u8; 32] {
    TaggedHasher::without_chain(hash::LINK_COMMIT)
        .fixed(nonce)
        .finish()
}

/// A device's side.
#[derive(Default)]
pub(crate) enum DevicePairing {
    /// Nobody has opened it, or the attempt is used up.
    #[default]
    Closed,
    /// A person opened it.
    Open(Option<Box<Attempt>>),
    /// A code was shown.
    Shown(Box<Shown>),
}

/// A handshake that waits for its third message.
pub(crate) struct Attempt {
    handshake: Handshake,
    first: [u8; PAIR_FIRST_BYTES],
    second: Vec<u8>,
    nonce: Zeroizing<[u8; 32]>,
}

/// A code that waits for a person.
pub(crate) struct Shown {
    session: Session,
    nonce: Zeroizing<[u8; 32]>,
    pub(crate) code: Code,
    pub(crate) host: PublicKey,
    pub(crate) confirmed: bool,
    pub(crate) outcome: Option<bool>,
}

impl Attempt {
    /// Answers the first message.
    pub(crate) fn start(
        key: &StaticKey,
        first: [u8; PAIR_FIRST_BYTES],
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Self>, LinkFault> {
        let nonce = entropy.fresh()?;
        let mut handshake = Handshake::pairing(End::Device, key, entropy)?;
        let mut none = [0u8; PAIR_FIRST_BYTES];
        if handshake.read(&first, &mut none).is_none() {
            return Ok(None);
        }
        let mut second = [0u8; MAX_PACKET_BYTES];
        let length = handshake.write(&commitment(&nonce), &mut second)?;
        let second = second.get(..length).unwrap_or_default().to_vec();
        Ok(Some(Self {
            handshake,
            first,
            second,
            nonce,
        }))
    }

    /// Whether it answers this first message; it came again then.
    pub(crate) fn answers(&self, first: &[u8; PAIR_FIRST_BYTES]) -> bool {
        self.first == *first
    }

    pub(crate) fn second(&self) -> &[u8] {
        &self.second
    }

    /// Takes the third message: the host's key and the transcript. The attempt waits on where it is none.
    pub(crate) fn read_third(&mut self, third: &[u8]) -> Option<(PublicKey, [u8; 32])> {
        let mut payload = [0u8; MAX_PACKET_BYTES];
        let fresh = self.handshake.read(third, &mut payload)?;
        if fresh.len() != FRESH_BYTES {
            return None;
        }
        self.handshake.peer().zip(self.handshake.transcript())
    }

    /// The code, after the third message.
    pub(crate) fn show(self, host: PublicKey, transcript: &[u8; 32]) -> Option<Shown> {
        Some(Shown {
            session: self.handshake.finish()?,
            code: Code::of(transcript, &self.nonce),
            nonce: self.nonce,
            host,
            confirmed: false,
            outcome: None,
        })
    }
}

/// What a host says while a code is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostSays {
    Confirm,
    Cancel,
}

impl Shown {
    /// Writes what is due: the nonce at first, the outcome once there is one.
    pub(crate) fn write(&self, packet: &mut PacketBuffer) {
        let (nonce, text): (u64, &[u8]) = match self.outcome {
            None => (REVEAL, self.nonce.as_slice()),
            Some(true) => (PAIRED, &[]),
            Some(false) => (DENIED, &[]),
        };
        packet.pair_sealed(nonce, |out| self.session.seal(nonce, text, out));
    }

    pub(crate) fn read(&self, nonce: u64, sealed: &[u8]) -> Option<HostSays> {
        let says = match nonce {
            CONFIRM => HostSays::Confirm,
            CANCEL => HostSays::Cancel,
            _ => return None,
        };
        let mut text = [0u8; TAG_BYTES];
        let text = self.session.open(nonce, sealed, &mut text)?;
        text.is_empty().then_some(says)
    }
}
