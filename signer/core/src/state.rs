//! What a signer must never forget. Plain data with a version; votes and peg-outs are written apart, so that a vote,
//! made every slot, never rewrites the peg-outs.

use alloc::vec::Vec;
use alys_protocol::bytes::{BatchId, BlockId, Digest};
use alys_protocol::units::{BurnSequence, Sats, SideHeight, Slot};
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
}
