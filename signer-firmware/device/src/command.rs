//! What is said to a device beside a signer's requests: making keys, provisioning, measuring.
//!
//! A message is a [`alys_protocol::signer::RequestEnvelope`], whose first byte is the protocol's version, or a zero byte and a
//! [`Command`]. Replies are of the same kind: the message's type tells which. Both are postcard.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use alys_protocol::bls::{BlsPublicKeyBytes, BlsSignature};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{Digest, SpecDigest};
use alys_protocol::ceremony::{CeremonyId, EntropyReport, Throws};
use alys_protocol::signer::{MAX_OFFICERS, MAX_SIGNATURE_BYTES};
use alys_protocol::spec::SchnorrPublicKeyBytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// First byte of a [`Command`]'s message: no version of the signer's protocol.
pub const COMMAND: u8 = 0;

/// Bytes of a chain spec at most, in postcard: 64 members have 18 KB.
pub const MAX_SPEC_BYTES: usize = 20 << 10;
/// Bytes of a policy file and its signatures together at most.
pub const MAX_POLICY_BYTES: usize = 8 << 10;
/// Signs of an officer's throws at most.
pub const MAX_THROWS: usize = 512;
/// Bytes of entropy that a host adds at most.
pub const MAX_HOST_ENTROPY: usize = 64;
/// Letters of a minisign public key.
pub const OFFICER_KEY_LETTERS: usize = 56;

/// What a device may be told. What changes it for good needs the button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// What it is and what it has measured.
    Info,
    /// Make the member's keys. Needs the button. There are keys once.
    Generate(Box<Generate>),
    /// The public keys again.
    Card,
    /// What the keys are for. Needs the button. Once: see [`Command::Policy`] for what may change.
    Provision(Box<Provision>),
    /// A newer policy; its signatures suffice.
    Policy(SignedPolicy),
}

/// What keys are made from, beside the device's own generator.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generate {
    /// The ceremony; zeros without one.
    pub ceremony: CeremonyId,
    /// Random bytes of the host.
    pub host: BoundedVec<u8, MAX_HOST_ENTROPY>,
    /// What an officer threw.
    pub officer: Option<OfficerThrows>,
}

impl core::fmt::Debug for Generate {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Generate(..)")
    }
}

/// An officer's throws, as the host checked them: a sign each, without spaces.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfficerThrows {
    /// Of what.
    pub kind: Throws,
    /// The signs.
    pub signs: BoundedVec<u8, MAX_THROWS>,
}

/// A device's keys, to be put into the chain spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCard {
    /// BLS key that votes.
    pub bls: BlsPublicKeyBytes,
    /// Proof that the BLS key's secret is known.
    pub bls_possession: BlsSignature,
    /// Schnorr key of the Bitcoin wallet.
    pub schnorr: SchnorrPublicKeyBytes,
    /// What they were made from; `token_bits` is the device's own generator's.
    pub entropy: EntropyReport,
}

/// What a device's keys are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    /// The chain spec in postcard. It names the Bitcoin checkpoint.
    pub spec: BoundedVec<u8, MAX_SPEC_BYTES>,
    /// Officers who decide together.
    pub threshold: u8,
    /// Their minisign public keys: the second line of each one's `.pub` file.
    pub officers: BoundedVec<String, MAX_OFFICERS>,
    /// The first policy.
    pub policy: SignedPolicy,
}

/// A policy file and its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPolicy {
    /// The file (TOML).
    pub text: BoundedVec<u8, MAX_POLICY_BYTES>,
    /// Minisign signatures of exactly these bytes.
    pub signatures: BoundedVec<BoundedVec<u8, MAX_SIGNATURE_BYTES>, MAX_OFFICERS>,
}

/// A device's answer to a [`Command`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Command::Info`].
    Info(Box<Info>),
    /// To [`Command::Generate`] and [`Command::Card`].
    Card(Box<DeviceCard>),
    /// To [`Command::Provision`] and [`Command::Policy`]: in force, and written down.
    Done,
    /// It was not done.
    Failed(Failure),
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Program and version.
    pub software: String,
    /// The board.
    pub board: String,
    /// How far it is.
    pub stage: Stage,
    /// The monotonic counter in words.
    pub counter: String,
    /// What the last signer's request cost.
    pub last: Meters,
}

/// How far a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// No keys.
    New,
    /// Keys, and nothing that they are for.
    Keys,
    /// It serves a chain under a policy.
    Provisioned {
        /// Digest of the chain spec.
        spec: SpecDigest,
        /// Digest of the policy file.
        policy: Digest,
    },
    /// It does nothing more: what it found in its flash, or the case was opened.
    Broken(String),
}

/// What an operation cost, by the device's own timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meters {
    /// Ticks of the timer from the whole request to the whole reply, the link not included.
    pub ticks: u64,
    /// Ticks in a second.
    pub ticks_per_second: u64,
    /// Bytes of stack used at most since the start; 0 where the board does not measure it.
    pub stack: u32,
    /// Bytes of heap used at most since the start; 0 where the board does not measure it.
    pub heap: u32,
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Failure {
    /// The bytes are no command.
    #[error("expected a command: {0}")]
    Malformed(String),
    /// Nobody pressed the button.
    #[error("expected the device's button to be pressed, found that it was not")]
    Button,
    /// It has no keys.
    #[error("expected a device with keys, found one without")]
    NoKeys,
    /// It has keys: another device must be made.
    #[error("expected a device without keys, found one with keys, which are never replaced")]
    HasKeys,
    /// It was not provisioned.
    #[error("expected a provisioned device, found one that is not")]
    NotProvisioned,
    /// It was provisioned.
    #[error("expected a device that is not provisioned, found one that is")]
    Provisioned,
    /// The chain spec, officers, policy or a signature is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A rule of the core forbids it.
    #[error("{0}")]
    Refused(String),
    /// Flash, entropy or counter failed; nothing was changed.
    #[error("{0}")]
    Hardware(String),
    /// It is [`Stage::Broken`].
    #[error("the device is out of service: {0}")]
    Broken(String),
}

/// Encodes a command's message.
///
/// # Errors
/// - [`postcard::Error`] where it cannot be encoded.
pub fn encode(command: &Command) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(command, alloc::vec![COMMAND])
}
