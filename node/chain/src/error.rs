//! Every block rule of this crate: one variant each, with what was expected and what was found.

use crate::batch::NoBatch;
use crate::consume::ConsumeError;
use crate::withdrawals::{FeeError, WithdrawalError};
use alys_protocol::auxpow::AuxPowError;
use alys_protocol::body::BodyError;
use alys_protocol::bytes::{BatchId, BlockId, BodyRoot, Digest, EvmAddress, ExecutionHash};
use alys_protocol::execution::Withdrawal;
use alys_protocol::header::PowState;
use alys_protocol::peg::Cursor;
use alys_protocol::units::{BtcHeight, BurnSequence, SideHeight, Slot, Wei};
use bitcoin::BlockHash;
use thiserror::Error;

/// What a broken rule says about the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It never will be right.
    Invalid,
    /// This node cannot tell yet: it lacks data that others may have already. Ask again.
    Retry,
}

/// A rule that a block breaks, or that cannot be checked yet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockRuleError {
    /// It names another parent.
    #[error("expected parent {expected}, found {found}")]
    Parent {
        /// The parent it is checked against.
        expected: BlockId,
        /// The parent it names.
        found: BlockId,
    },
    /// Its height is not the parent's plus one.
    #[error("expected a height above {parent} by one, found {found}")]
    Height {
        /// The parent's height.
        parent: SideHeight,
        /// The height found.
        found: SideHeight,
    },
    /// The ledger that we keep is not the parent's: ours is damaged.
    #[error(
        "expected a peg ledger at {expected:?} and burn {next_burn}, found one at {found:?} and burn {found_burn}"
    )]
    Ledger {
        /// The parent header's cursor.
        expected: Cursor,
        /// The parent header's next burn.
        next_burn: BurnSequence,
        /// The ledger's cursor.
        found: Cursor,
        /// The ledger's next burn.
        found_burn: BurnSequence,
    },
    /// The body is not the header's.
    #[error("expected body root {expected}, found {found}")]
    BodyRoot {
        /// The header's root.
        expected: BodyRoot,
        /// The body's root.
        found: BodyRoot,
    },
    /// The body cannot be hashed.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The range of Bitcoin cannot be consumed.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// Our Bitcoin node was not asked, or does not answer.
    #[error("our Bitcoin node does not know Bitcoin block {height} yet")]
    BitcoinUnknown {
        /// Height of the block's cursor.
        height: BtcHeight,
    },
    /// The range is not deep enough below our Bitcoin node's tip.
    #[error(
        "Bitcoin block {height} does not have {confirmations} confirmations at our tip {tip} yet"
    )]
    BitcoinDepth {
        /// Height of the block's cursor.
        height: BtcHeight,
        /// Confirmations that the spec asks for.
        confirmations: u32,
        /// Our tip.
        tip: BtcHeight,
    },
    /// Our Bitcoin node is on another branch.
    #[error("our Bitcoin node has block {ours} at height {height}, and the cursor names {found}")]
    BitcoinBranch {
        /// Height of the block's cursor.
        height: BtcHeight,
        /// The hash that our node has.
        ours: BlockHash,
        /// The hash that the cursor names.
        found: BlockHash,
    },
    /// Proofs of the consumed transactions that are too long for a request to a signer.
    #[error(
        "expected proofs of the consumed transactions of at most {maximum} bytes, found {found}"
    )]
    ProofBytes {
        /// The limit.
        maximum: usize,
        /// Bytes found.
        found: usize,
    },
    /// "Nothing is skipped": the body's transactions are not exactly those of our own Bitcoin node.
    #[error(
        "consumed transaction {place}: expected height and place {expected:?}, found {found:?}, or other bytes"
    )]
    Consumed {
        /// The first place that differs.
        place: usize,
        /// Height and index that our node has there.
        expected: Option<(BtcHeight, u32)>,
        /// Height and index found.
        found: Option<(BtcHeight, u32)>,
    },
    /// The counter changes without a batch, or not as the batch says.
    #[error("expected next burn {expected}, found {found}")]
    NextBurn {
        /// What the body gives.
        expected: BurnSequence,
        /// What the header has.
        found: BurnSequence,
    },
    /// There is no batch to record.
    #[error("expected no batch: {0}")]
    NoBatch(NoBatch),
    /// Another batch follows from ledger and fee rate (regression A11).
    #[error("expected batch {expected}, found {found}")]
    Batch {
        /// The batch that follows.
        expected: BatchId,
        /// The batch found.
        found: BatchId,
    },
    /// "B needs a record if and only if F(B) - parent.pow.height > max_blocks_without_pow."
    #[error(
        "expected a proof-of-work record, as {distance} final blocks are not PoW-final and {maximum} may be; found none"
    )]
    PowMissing {
        /// Final blocks above the PoW-final one.
        distance: u64,
        /// The spec's limit.
        maximum: u64,
    },
    /// The proof-of-work state changes without a record, or not as the record says.
    #[error("expected proof-of-work state {expected:?}, found {found:?}")]
    PowState {
        /// What the body gives.
        expected: PowState,
        /// What the header has.
        found: PowState,
    },
    /// The range does not end between the newest PoW-final block and the newest final one.
    #[error(
        "expected a range that ends above {above} and at or below the final height {at_most}, found {found}"
    )]
    PowEnd {
        /// The parent's PoW-final height.
        above: SideHeight,
        /// The final height that the chain implies.
        at_most: SideHeight,
        /// The end found.
        found: SideHeight,
    },
    /// The range does not start at the child of the newest PoW-final block.
    #[error("expected a range from {expected}, found {found}")]
    PowStart {
        /// That child.
        expected: BlockId,
        /// The start found.
        found: BlockId,
    },
    /// We do not have an ancestor's id.
    #[error("the ancestor at height {height} is not known yet")]
    AncestorUnknown {
        /// Its height.
        height: SideHeight,
    },
    /// The work does not hold.
    #[error(transparent)]
    AuxPow(#[from] AuxPowError),
    /// The counter changes without a record, or not as the vault's balance says.
    #[error("expected {expected} wei of fees distributed, found {found}")]
    FeesDistributed {
        /// What the vault gives.
        expected: Wei,
        /// What the header has.
        found: Wei,
    },
    /// The vault's balance at the parent is not known.
    #[error("the vault's balance at the parent is not known yet")]
    VaultUnknown,
    /// The vault's balance makes no shares.
    #[error(transparent)]
    Fees(#[from] FeeError),
    /// The mints cannot be written.
    #[error(transparent)]
    WithdrawalCount(#[from] WithdrawalError),
    /// The payload's withdrawals are not exactly those that follow from deposits and fees (regressions A1, A2).
    #[error("withdrawal {place}: expected {expected:?}, found {found:?}")]
    Withdrawals {
        /// The first place that differs.
        place: usize,
        /// The withdrawal that follows, if any.
        expected: Option<Box<Withdrawal>>,
        /// The withdrawal found, if any.
        found: Option<Box<Withdrawal>>,
    },
    /// The payload's parent.
    #[error("expected a payload on {expected}, found {found}")]
    PayloadParent {
        /// The parent's execution hash.
        expected: ExecutionHash,
        /// The payload's parent.
        found: ExecutionHash,
    },
    /// The payload's hash.
    #[error("expected execution block {expected}, found {found}")]
    ExecutionHash {
        /// The header's.
        expected: ExecutionHash,
        /// The payload's.
        found: ExecutionHash,
    },
    /// The payload's number.
    #[error("expected payload number {expected}, found {found}")]
    PayloadNumber {
        /// The header's height.
        expected: SideHeight,
        /// The payload's.
        found: SideHeight,
    },
    /// The payload's timestamp.
    #[error("expected timestamp {expected:?} in slot {slot}, found {found}")]
    Timestamp {
        /// The slot.
        slot: Slot,
        /// Its time, if it has one.
        expected: Option<u64>,
        /// The payload's.
        found: u64,
    },
    /// The payload's fee recipient.
    #[error("expected fee recipient {expected}, found {found}")]
    FeeRecipient {
        /// The vault.
        expected: EvmAddress,
        /// The payload's.
        found: EvmAddress,
    },
    /// The payload's prevRandao.
    #[error("expected prevRandao {expected}, found {found}")]
    PrevRandao {
        /// The tagged hash.
        expected: Digest,
        /// The payload's.
        found: Digest,
    },
    /// The payload's gas limit.
    #[error("expected gas limit {expected}, found {found}")]
    GasLimit {
        /// The spec's.
        expected: u64,
        /// The payload's.
        found: u64,
    },
    /// The payload has blobs.
    #[error("expected no blob gas, found {used} used and {excess} excess")]
    Blobs {
        /// Blob gas used.
        used: u64,
        /// Excess blob gas.
        excess: u64,
    },
}

impl BlockRuleError {
    /// Whether the block is wrong, or this node merely cannot tell yet.
    pub fn class(&self) -> Class {
        match self {
            Self::Ledger { .. }
            | Self::BitcoinUnknown { .. }
            | Self::BitcoinDepth { .. }
            | Self::BitcoinBranch { .. }
            | Self::AncestorUnknown { .. }
            | Self::VaultUnknown
            // The balance is our own client's answer, never the block's claim.
            | Self::Fees(_) => Class::Retry,
            Self::Parent { .. }
            | Self::Height { .. }
            | Self::BodyRoot { .. }
            | Self::Body(_)
            | Self::Consume(_)
            | Self::Consumed { .. }
            | Self::ProofBytes { .. }
            | Self::NextBurn { .. }
            | Self::NoBatch(_)
            | Self::Batch { .. }
            | Self::PowMissing { .. }
            | Self::PowState { .. }
            | Self::PowEnd { .. }
            | Self::PowStart { .. }
            | Self::AuxPow(_)
            | Self::FeesDistributed { .. }
            | Self::WithdrawalCount(_)
            | Self::Withdrawals { .. }
            | Self::PayloadParent { .. }
            | Self::ExecutionHash { .. }
            | Self::PayloadNumber { .. }
            | Self::Timestamp { .. }
            | Self::FeeRecipient { .. }
            | Self::PrevRandao { .. }
            | Self::GasLimit { .. }
            | Self::Blobs { .. } => Class::Invalid,
        }
    }
}
