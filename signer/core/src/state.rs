//! What a signer must never forget. Plain data with a version; votes and peg-outs are written apart, so that a vote,
//! made every slot, never rewrites the peg-outs.

use crate::clock::WindowTime;
use crate::policy::Iteration;
use crate::window::{MintWindow, Payments, RollingWindow};
use alloc::vec::Vec;
use alys_protocol::bytes::{BatchId, BlockId, Digest};
use alys_protocol::signer::MAX_SKIPS;
use alys_protocol::units::{BurnSequence, Sats, SideHeight, Slot, StatementNumber};
use serde::{Deserialize, Serialize};

/// Families that are remembered: one is made per batch interval, and an older one was buried long ago.
pub const MAX_FAMILIES: usize = 256;
/// Members of a family that are remembered.
pub const MAX_FAMILY_MEMBERS: usize = 32;
/// Ranges of burns jumped over that are remembered; a batch in an older one is left to other signers.
pub const MAX_GAPS: usize = 64;

/// Where the member's voting stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VoteState {
    /// Slot of the last vote; votes only go up.
    pub last_slot: Slot,
    /// The highest certified height seen in a vote: no later vote extends a lower block.
    pub lock: SideHeight,
    /// The last vote.
    pub voted: Option<Vote>,
    /// The last proposal signed, so that a leader is never made to equivocate.
    pub proposed: Option<Proposed>,
    /// What the blocks voted for minted.
    pub mint_window: MintWindow,
}

/// A recorded vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The block.
    pub block: BlockId,
    /// F(block): the newest height that the block's own chain shows as final, as far as this signer saw it.
    pub final_height: SideHeight,
}

/// A recorded proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// Its slot.
    pub slot: Slot,
    /// The block.
    pub block: BlockId,
}

/// Where the member's peg-outs stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PegOutState {
    /// One past the highest burn in a batch that was signed.
    pub next_burn: BurnSequence,
    /// Burns below `next_burn` that no signed batch has: batches that this signer missed. Lowest first, disjoint.
    pub gaps: Vec<BurnRange>,
    /// Batches signed, newest last; replacements are members of their original's family.
    pub families: Vec<Family>,
    /// What left the wallet, fees included.
    pub value_window: RollingWindow<Sats>,
    /// Payments made.
    pub count_window: RollingWindow<Payments>,
    /// Whether an officer paused peg-outs.
    pub paused: bool,
}

/// What officers decided.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AdminState {
    /// The newest policy that was in force.
    pub policy: Option<AcceptedPolicy>,
    /// The last statement accepted: a lower number is refused.
    pub statement: StatementNumber,
    /// Burns that need not be paid, rising; of more than [`MAX_SKIPS`] the highest.
    pub skips: Vec<BurnSequence>,
}

/// A policy that was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedPolicy {
    /// Its number: a lower one is refused.
    pub iteration: Iteration,
    /// Its file.
    pub digest: Digest,
}

/// Burns from `first` to before `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BurnRange {
    /// The first.
    pub first: BurnSequence,
    /// One past the last.
    pub next: BurnSequence,
}

/// A batch and its replacements: the same burns and inputs at rising fees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// The burns.
    pub burns: BurnRange,
    /// The inputs, in order.
    pub inputs: Vec<bitcoin::OutPoint>,
    /// What the windows were charged for it: what the largest member takes out of the wallet, fee included.
    pub charged: Sats,
    /// The signed transactions, lowest fee first.
    pub members: Vec<FamilyMember>,
}

/// One signed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyMember {
    /// The batch.
    pub batch: BatchId,
    /// The request, byte for byte.
    pub request: Digest,
    /// Its fee.
    pub fee: Sats,
    /// Auxiliary randomness of the signatures (BIP-340), kept so that a repeat gives the same ones. Public: the nonce
    /// is secret through the key.
    pub randomness: [u8; 32],
}

impl PegOutState {
    /// The family with a batch.
    pub fn family_of(&self, batch: BatchId) -> Option<(&Family, &FamilyMember)> {
        self.families.iter().find_map(|family| {
            let member = family.members.iter().find(|member| member.batch == batch)?;
            Some((family, member))
        })
    }

    /// After a restore: peg-outs of one length of the windows may have been made that nobody remembers.
    pub fn fill_windows(&mut self, now: WindowTime) {
        self.value_window = RollingWindow::full(now);
        self.count_window = RollingWindow::full(now);
    }
}

impl AdminState {
    /// After officers agreed that a burn is skipped.
    #[must_use]
    pub fn with_skip(&self, burn: BurnSequence) -> Self {
        let mut next = self.clone();
        if let Err(place) = next.skips.binary_search(&burn) {
            next.skips.insert(place, burn);
        }
        if next.skips.len() > MAX_SKIPS {
            next.skips.remove(0);
        }
        next
    }
}

impl VoteState {
    /// After a vote for a block of `slot` whose certified parent has `parent_height`.
    #[must_use]
    pub fn after_vote(&self, slot: Slot, parent_height: SideHeight, vote: Vote) -> Self {
        Self {
            last_slot: slot,
            lock: self.lock.max(parent_height),
            voted: Some(vote),
            ..self.clone()
        }
    }

    /// After a restore: see [`PegOutState::fill_windows`].
    pub fn fill_windows(&mut self, now: WindowTime) {
        self.mint_window = MintWindow::full(now);
    }
}
