//! What can be wrong with a chain spec.

use super::SchnorrPublicKeyBytes;
use super::check::{MAX_NAME, MAX_SLOT_MS};
use crate::bls::BlsError;
use crate::bytes::EvmAddress;
use crate::certificate::MAX_MEMBERS;
use crate::federation::WalletError;
use crate::peg::MAX_BATCH_VSIZE;
use crate::units::{MemberId, Sats};
use alloc::string::String;
use bitcoin::Network;
use thiserror::Error;

/// A chain spec that must not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// No members, or too many.
    #[error("members: expected 1 to {MAX_MEMBERS}, found {found}")]
    Members {
        /// Members found.
        found: usize,
    },
    /// A name that may deceive whoever reads it on a terminal.
    #[error("name: expected 1 to {MAX_NAME} printable ASCII characters, found {found:?}")]
    Name {
        /// The start of the name found.
        found: String,
    },
    /// A BLS key or possession proof does not hold.
    #[error("member {member}: {error}")]
    MemberBls {
        /// The member's name.
        member: String,
        /// What is wrong.
        error: BlsError,
    },
    /// A Schnorr key is not on the curve.
    #[error("expected an x-only public key (BIP-340), found {0}")]
    SchnorrKey(SchnorrPublicKeyBytes),
    /// A name or key of two members.
    #[error(
        "members: expected a {what} of its own for each, found that of member {first} at member {second}"
    )]
    SharedByMembers {
        /// What they share.
        what: &'static str,
        /// The earlier.
        first: MemberId,
        /// The later.
        second: MemberId,
    },
    /// A recovery key that is a member's, too: the recovery would be no second opinion.
    #[error("bitcoin.recovery_keys: expected keys of no member, found {0:?}'s")]
    RecoveryKey(String),
    /// Slots must be whole seconds, since blocks of the execution layer have timestamps in seconds.
    #[error(
        "slots.duration_ms: expected a multiple of 1000 from 1000 to {MAX_SLOT_MS}, found {found}"
    )]
    SlotDuration {
        /// Duration found.
        found: u64,
    },
    /// A Bitcoin threshold that is unsafe or not live: `max(f, floor(n/2)) < m <= n - f` (design 5).
    #[error(
        "bitcoin.threshold: expected above {above} and at most {at_most} for {members} members, found {found}"
    )]
    Threshold {
        /// Members.
        members: usize,
        /// Exclusive lower bound.
        above: usize,
        /// Inclusive upper bound.
        at_most: usize,
        /// Threshold found.
        found: u16,
    },
    /// The wallet cannot be made.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// A number outside its range.
    #[error("{field}: expected {expected}, found {found}")]
    Range {
        /// The key in the file.
        field: &'static str,
        /// What is allowed.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The contract is elsewhere: burns would be lost, and events of another contract believed.
    #[error("execution.bridge: expected {expected}, where genesis has the contract, found {found}")]
    Bridge {
        /// Where the contract is.
        expected: EvmAddress,
        /// What was found.
        found: EvmAddress,
    },
    /// An address that nobody may be paid at, or that others use.
    #[error("{field}: expected an address of its own, found {found}, {owner}")]
    Address {
        /// Which one.
        field: String,
        /// The address.
        found: EvmAddress,
        /// Whose it is.
        owner: &'static str,
    },
    /// The smallest burn could not pay its own fee: `min >= dust + max_fee_rate * vsize(max_inputs, 1 burn)` (design 9).
    #[error(
        "pegout.min_sats: expected at least {expected} to pay dust and the highest fee, found {found}"
    )]
    MinPegOut {
        /// The smallest that would do.
        expected: Sats,
        /// What was found.
        found: Sats,
    },
    /// No node would relay the largest batch.
    #[error(
        "pegout.max_inputs and max_burns: expected a largest batch of at most {MAX_BATCH_VSIZE} vB, found {found} vB"
    )]
    BatchSize {
        /// Its size in virtual bytes.
        found: u64,
    },
    /// A network whose addresses the Bridge cannot tell apart, or that is given up (testnet3).
    #[error("bitcoin.network: expected bitcoin, testnet4, signet or regtest, found {0}")]
    Network(Network),
    /// The spec cannot be encoded for its digest.
    #[error("the chain spec cannot be encoded")]
    Encode,
}
