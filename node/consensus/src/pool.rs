//! Approvals on their way to a certificate, bounded however many a Byzantine member signs.

use crate::evidence::Evidence;
use crate::verified::VerifiedApproval;
use alys_protocol::bytes::BlockId;
use alys_protocol::units::{MemberId, Slot};
use std::collections::{BTreeMap, VecDeque};

/// Approvals of blocks not yet known that are kept for each member; an honest one gives one per slot.
const UNKNOWN_PER_MEMBER: usize = 8;

/// Approvals by block. Those of known blocks are bounded by the blocks that the tree takes per slot; those of unknown
/// ones by [`UNKNOWN_PER_MEMBER`].
#[derive(Debug, Clone, Default)]
pub(crate) struct ApprovalPool {
    known: BTreeMap<BlockId, BTreeMap<MemberId, VerifiedApproval>>,
    votes: BTreeMap<(Slot, MemberId), Vote>,
    unknown: BTreeMap<MemberId, VecDeque<VerifiedApproval>>,
}

/// A member's first vote in a slot.
#[derive(Debug, Clone, Copy)]
struct Vote {
    first: VerifiedApproval,
    /// A second one was reported.
    reported: bool,
}

impl ApprovalPool {
    /// Notes a vote for a known block; returns evidence the first time that the member approved another of its slot.
    pub(crate) fn note_vote(&mut self, slot: Slot, approval: VerifiedApproval) -> Option<Evidence> {
        let vote = self.votes.entry((slot, approval.member())).or_insert(Vote {
            first: approval,
            reported: false,
        });
        if vote.reported || vote.first.block() == approval.block() {
            return None;
        }
        vote.reported = true;
        Some(Evidence::DoubleVote {
            slot,
            first: *vote.first.approval(),
            second: *approval.approval(),
        })
    }

    /// Adds an approval of a known block that is not certified; returns a quorum, the first time that there is one.
    pub(crate) fn add(
        &mut self,
        approval: VerifiedApproval,
        quorum: usize,
    ) -> Option<Vec<VerifiedApproval>> {
        let approvals = self.known.entry(approval.block()).or_default();
        let new = approvals.insert(approval.member(), approval).is_none();
        (new && approvals.len() == quorum).then(|| approvals.values().copied().collect())
    }

    /// Keeps an approval of a block that is not known yet, at the cost of the member's oldest one. Returns how many
    /// members approved that block so far.
    pub(crate) fn keep_unknown(&mut self, approval: VerifiedApproval) -> usize {
        let kept = self.unknown.entry(approval.member()).or_default();
        if !kept.iter().any(|other| other.block() == approval.block()) {
            kept.push_back(approval);
            if kept.len() > UNKNOWN_PER_MEMBER {
                kept.pop_front();
            }
        }
        self.approvers_of_unknown(approval.block())
    }

    /// Members whose approval of a block not known yet is kept.
    pub(crate) fn approvers_of_unknown(&self, block: BlockId) -> usize {
        self.unknown
            .values()
            .filter(|kept| kept.iter().any(|approval| approval.block() == block))
            .count()
    }

    /// Blocks not known yet that at least `members` approved.
    pub(crate) fn unknown_with(&self, members: usize) -> Vec<BlockId> {
        let mut counts: BTreeMap<BlockId, usize> = BTreeMap::new();
        for approval in self.unknown.values().flatten() {
            let count = counts.entry(approval.block()).or_default();
            *count = count.saturating_add(1);
        }
        counts.retain(|_, count| *count >= members);
        counts.into_keys().collect()
    }

    /// Takes out what was kept for a block that is known now.
    pub(crate) fn take_unknown(&mut self, block: BlockId) -> Vec<VerifiedApproval> {
        let mut taken = Vec::new();
        for kept in self.unknown.values_mut() {
            taken.extend(kept.iter().filter(|approval| approval.block() == block));
            kept.retain(|approval| approval.block() != block);
        }
        taken
    }

    /// Drops the approvals of a block that is certified or forgotten.
    pub(crate) fn drop_block(&mut self, block: BlockId) {
        self.known.remove(&block);
    }

    /// Forgets who voted for what in slots before `slot`.
    pub(crate) fn forget_votes_before(&mut self, slot: Slot) {
        self.votes = self.votes.split_off(&(slot, MemberId::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alys_protocol::bls::BlsSignature;
    use alys_protocol::certificate::Approval;

    fn approval(member: u16, block: u8) -> VerifiedApproval {
        VerifiedApproval::assume_verified(Approval {
            block: BlockId::new([block; 32]),
            member: MemberId::new(member),
            signature: BlsSignature::ZERO,
        })
    }

    #[test]
    fn a_quorum_of_distinct_members_is_reported_once() {
        let mut pool = ApprovalPool::default();
        assert_eq!(pool.add(approval(0, 1), 3), None);
        assert_eq!(pool.add(approval(0, 1), 3), None);
        assert_eq!(pool.add(approval(2, 1), 3), None);
        assert_eq!(pool.add(approval(1, 2), 3), None);
        let quorum = pool.add(approval(1, 1), 3).unwrap();
        assert_eq!(quorum, [approval(0, 1), approval(1, 1), approval(2, 1)]);
        assert_eq!(pool.add(approval(3, 1), 3), None);
    }

    #[test]
    fn two_votes_in_a_slot_are_evidence_once() {
        let mut pool = ApprovalPool::default();
        let slot = Slot::new(1);
        assert_eq!(pool.note_vote(slot, approval(0, 1)), None);
        assert_eq!(pool.note_vote(slot, approval(0, 1)), None);
        assert_eq!(
            pool.note_vote(slot, approval(0, 2)),
            Some(Evidence::DoubleVote {
                slot,
                first: *approval(0, 1).approval(),
                second: *approval(0, 2).approval(),
            })
        );
        assert_eq!(pool.note_vote(slot, approval(0, 3)), None);
        // Another slot is another vote, and so is another member.
        assert_eq!(pool.note_vote(Slot::new(2), approval(0, 3)), None);
        assert_eq!(pool.note_vote(slot, approval(1, 3)), None);
    }

    #[test]
    fn a_flood_costs_only_its_sender() {
        let mut pool = ApprovalPool::default();
        assert_eq!(pool.keep_unknown(approval(1, 7)), 1);
        for block in 8..200 {
            pool.keep_unknown(approval(0, block));
        }
        assert_eq!(pool.unknown[&MemberId::ZERO].len(), UNKNOWN_PER_MEMBER);
        assert_eq!(pool.keep_unknown(approval(0, 7)), 2);
        assert_eq!(pool.unknown_with(2), [BlockId::new([7; 32])]);
        assert_eq!(pool.take_unknown(BlockId::new([7; 32])).len(), 2);
        assert_eq!(pool.approvers_of_unknown(BlockId::new([7; 32])), 0);
    }
}
