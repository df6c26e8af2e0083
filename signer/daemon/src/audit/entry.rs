//! What the log says: entries, their encoding and their hashes.

use crate::audit::AuditPublicKey;
use crate::audit::named::{self, Named};
use crate::authority::Operation;
use alys_protocol::bls::BlsPublicKeyBytes;
use alys_protocol::bytes::{self, Digest, SpecDigest};
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_protocol::units::{ChainId, MemberId, Slot};
use alys_signer_client::Role;
use alys_signer_core::clock::WindowTime;
use alys_signer_core::freshness::{Freshness, Lease};
use alys_signer_core::watermarks::Watermarks;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of an entry's encoding, its first byte.
pub const ENTRY_VERSION: u8 = 2;

/// An entry's number, from 0 without gaps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sequence(u64);

impl Sequence {
    /// Takes a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number. Of the next entry it is also how many there are.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next one. Not even a decision each nanosecond comes to the end in five centuries.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl core::fmt::Display for Sequence {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970 on the signer's clock.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// Takes milliseconds.
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Milliseconds since `earlier`; 0 where that is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Hash of the entry before; zeros before the first.
    pub previous: Digest,
    /// Its number.
    pub sequence: Sequence,
    /// When it was made, as far as the signer's clock is right.
    pub time: UnixMillis,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The signer started, or the log goes on in a new segment: everything that later decisions rest on.
    Standing(Box<Standing>),
    /// It decided.
    Decided(Box<Decided>),
    /// It counted what has no entry of its own.
    Counted(Counted),
    /// Officers said something about the signer.
    Stated(Box<Stated>),
    /// Officers approved of the policy that the last [`Standing`] names.
    Approved(Approved),
    /// An operator raised the state to the watermarks of another one, while the signer did not run.
    Raised(Box<Raised>),
}

/// Why a [`Standing`] was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The process started.
    Started,
    /// A new segment begins, so that it can be verified and replayed by itself.
    Continued,
}

/// Who the signer is, what it was provisioned with, and its states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Why now.
    pub cause: Cause,
    /// Program and version.
    pub software: String,
    /// The member.
    pub member: MemberId,
    /// Its BLS key.
    pub bls: BlsPublicKeyBytes,
    /// Its Schnorr key.
    pub schnorr: SchnorrPublicKeyBytes,
    /// The key that signs checkpoints from here on.
    pub audit_key: AuditPublicKey,
    /// The chain spec.
    pub spec: SpecDigest,
    /// Its text (TOML), a blob.
    pub spec_text: Digest,
    /// The policy in force (TOML), a blob.
    pub policy: Digest,
    /// Every state, a blob each.
    pub states: Vec<NamedState>,
}

/// A state by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedState {
    /// Which.
    #[serde(with = "named")]
    pub name: StateName,
    /// Its digest.
    pub digest: Digest,
}

/// The states that decisions read and write, each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateName {
    /// `alys_signer_core::state::VoteState`.
    Vote,
    /// `alys_signer_core::state::PegOutState`.
    PegOut,
    /// `alys_signer_core::btc::HeaderChain`.
    Bitcoin,
    /// `alys_signer_core::state::AdminState`.
    Admin,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Role of the asker's certificate.
    #[serde(with = "named")]
    pub role: Role,
    /// SHA-256 of the asker's certificate.
    #[serde(with = "bytes")]
    pub certificate: [u8; 32],
    /// What was asked.
    #[serde(with = "named")]
    pub operation: Operation,
    /// What it was asked about: the block's id, or the batch's.
    pub request: Digest,
    /// The request with its evidence, byte for byte as it was received: a blob.
    pub evidence: Digest,
    /// What decided beside the request and the state.
    pub inputs: Inputs,
    /// The chain spec.
    pub spec: SpecDigest,
    /// The policy in force.
    pub policy: Digest,
    /// The state that it read and wrote.
    #[serde(with = "named")]
    pub state: StateName,
    /// That state before.
    pub before: Digest,
    /// That state after.
    pub after: Digest,
    /// Yes or no.
    pub verdict: Verdict,
}

/// A statement of officers, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stated {
    /// Role of the certificate that it came under.
    #[serde(with = "named")]
    pub role: Role,
    /// SHA-256 of that certificate.
    #[serde(with = "bytes")]
    pub certificate: [u8; 32],
    /// The request with the statement and its signatures, byte for byte: a blob.
    pub evidence: Digest,
    /// Whose signatures count (TOML), a blob.
    pub officers: Digest,
    /// What decided beside the statement and the states.
    pub inputs: Inputs,
    /// The challenge that was open.
    pub challenge: Option<Digest>,
    /// States that it was judged on, and what they became.
    pub states: Vec<Changed>,
    /// The lease that vouching took.
    pub lease: Option<Lease>,
    /// Yes or no.
    pub verdict: Verdict,
}

/// A state before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Which.
    #[serde(with = "named")]
    pub name: StateName,
    /// Its digest before.
    pub before: Digest,
    /// Its digest after.
    pub after: Digest,
}

/// The officers' signatures under a policy that the signer has in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// Whose signatures count (TOML), a blob.
    pub officers: Digest,
    /// The policy's file and the signatures beside it ([`super::approval::SignedPolicy`]), a blob.
    pub policy: Digest,
    /// The state that remembers it, before.
    pub before: Digest,
    /// That state after.
    pub after: Digest,
}

/// Watermarks that were imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// The marks.
    pub watermarks: Watermarks,
    /// Time of the rolling windows, which are full from then on.
    pub window: WindowTime,
    /// The states that they raised. Those before are blobs.
    pub states: Vec<Changed>,
}

/// What a decision depends on that is neither in the request nor in the state that it changes. The time of its clock is
/// the entry's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Slot of the signer's clock.
    pub slot: Slot,
    /// Time of the rolling windows.
    pub window: WindowTime,
    /// The signer's chain of Bitcoin headers, a state.
    pub bitcoin: Digest,
    /// How the state stood to the outside counter.
    pub freshness: Freshness,
    /// Fresh randomness of a peg-out: auxiliary randomness of BIP-340, which the state keeps as well. It is no secret: the
    /// nonce is a hash of it *and the key*, and whoever knows all but the key learns nothing of the nonce. It must be
    /// unpredictable only until the signature is made (against fault and power analysis), and it is logged then.
    pub randomness: Option<Randomness>,
}

/// 32 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Randomness(#[serde(with = "bytes")] pub [u8; 32]);

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// New: the state records it.
    Signed {
        /// What the key was asked to sign ([`alys_signer_core::persist::Intent`]).
        intent: Digest,
    },
    /// Signed before, as the state records, and asked in other bytes or before this start.
    Repeated {
        /// What the key was asked to sign.
        intent: Digest,
    },
    /// No.
    Refused {
        /// The rule that decided.
        #[serde(with = "named")]
        rule: Rule,
        /// What it expected.
        expected: String,
        /// What it found.
        found: String,
    },
    /// A statement that is in force from here on.
    Accepted,
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            rule: refusal.rule,
            expected: refusal.expected,
            found: refusal.found,
        }
    }
}

/// What has no entry of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Counted since.
    pub since: UnixMillis,
    /// Requests that were asked again, byte for byte, and got the same answer.
    pub repeats: Vec<Repeats>,
    /// What the transport turned away.
    pub turned_away: Vec<TurnedAway>,
    /// Refusals without an entry, because the disk was nearly full: what is left is for votes.
    pub unrecorded: u64,
}

/// Repeats of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// The entry with the request and the answer.
    pub entry: Sequence,
    /// How often more.
    pub times: u64,
}

/// Requests of one certificate that were never judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnedAway {
    /// Role of the certificate.
    #[serde(with = "named")]
    pub role: Role,
    /// SHA-256 of the certificate.
    #[serde(with = "bytes")]
    pub certificate: [u8; 32],
    /// Beyond its rate (rule `rate`).
    pub too_many: u64,
    /// Operations that its role may not ask for.
    pub forbidden: u64,
    /// Frames that were no request.
    pub malformed: u64,
}

/// Bytes that are no entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected an entry of version {ENTRY_VERSION}, found {0}")]
pub struct EntryError(pub String);

impl Entry {
    /// Version, then postcard.
    ///
    /// # Errors
    /// - [`EntryError`] where it cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        postcard::to_extend(self, vec![ENTRY_VERSION])
            .map_err(|error| EntryError(error.to_string()))
    }

    /// The blobs that it refers to.
    pub fn blobs(&self) -> Vec<Digest> {
        match &self.event {
            Event::Standing(standing) => [standing.spec_text, standing.policy]
                .into_iter()
                .chain(standing.states.iter().map(|state| state.digest))
                .collect(),
            Event::Decided(decided) => vec![decided.evidence],
            Event::Counted(_) => Vec::new(),
            Event::Stated(stated) => vec![stated.evidence, stated.officers],
            Event::Approved(approved) => vec![approved.officers, approved.policy],
            Event::Raised(raised) => raised.states.iter().map(|state| state.before).collect(),
        }
    }

    /// The reverse of [`Entry::encode`]; other encodings of the same entry are refused.
    ///
    /// # Errors
    /// - [`EntryError`] where the bytes are not exactly one entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let encoded = match bytes {
            [ENTRY_VERSION, encoded @ ..] => encoded,
            [version, ..] => return Err(EntryError(format!("version {version}"))),
            [] => return Err(EntryError("no bytes".to_owned())),
        };
        let (entry, rest) = postcard::take_from_bytes::<Self>(encoded)
            .map_err(|error| EntryError(error.to_string()))?;
        if !rest.is_empty() || entry.encode()? != bytes {
            return Err(EntryError("other bytes than one entry's own".to_owned()));
        }
        Ok(entry)
    }
}

/// Hash of an entry's encoding: what the next entry names.
pub fn entry_hash(chain: ChainId, encoded: &[u8]) -> Digest {
    Digest::new(
        TaggedHasher::new(hash::AUDIT_ENTRY, chain)
            .variable(encoded)
            .finish(),
    )
}

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobKind {
    /// The body of a request's frame.
    Request,
    /// A state as it is stored.
    State(StateName),
    /// A chain spec in TOML.
    Spec,
    /// A policy in TOML.
    Policy,
    /// Who the officers are, in TOML.
    Officers,
    /// A policy's file with its signatures.
    SignedPolicy,
}

/// Bytes that entries refer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// What they are.
    #[serde(with = "named")]
    pub kind: BlobKind,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// The digest by which entries refer to it.
    pub fn digest(&self, chain: ChainId) -> Digest {
        blob_digest(chain, self.kind, &self.bytes)
    }
}

/// Digest of a blob.
pub fn blob_digest(chain: ChainId, kind: BlobKind, bytes: &[u8]) -> Digest {
    Digest::new(
        TaggedHasher::new(hash::AUDIT_BLOB, chain)
            .variable(kind.name().as_bytes())
            .variable(bytes)
            .finish(),
    )
}

#[cfg(test)]
mod tests;
