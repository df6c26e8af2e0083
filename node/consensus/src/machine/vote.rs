//! When to ask the member's signer. A mirror of its rules that saves pointless requests; the signer decides.

use super::{Consensus, LATE_SLOTS};
use crate::message::{Output, VotingState};
use crate::tree::Validity;
use crate::verified::VerifiedApproval;
use alys_protocol::bytes::BlockId;
use alys_protocol::units::Slot;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
pub(super) struct Voting {
    signer: VotingState,
    /// Questions that the signer has not answered.
    asked: BTreeSet<(Slot, BlockId)>,
    refused: BTreeSet<(Slot, BlockId)>,
}

impl Voting {
    pub(super) const fn new(signer: VotingState) -> Self {
        Self {
            signer,
            asked: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    /// The slot that a question must be above.
    fn last_slot(&self) -> Slot {
        let asked = self.asked.last().map(|(slot, _)| *slot);
        asked.unwrap_or_default().max(self.signer.last_slot)
    }

    pub(super) fn refused(&mut self, slot: Slot, id: BlockId) {
        // The signer may have refused this one only: another block of the slot may be asked for.
        self.asked.remove(&(slot, id));
        self.refused.insert((slot, id));
    }

    pub(super) fn forget_before(&mut self, slot: Slot) {
        self.asked = self.asked.split_off(&(slot, BlockId::ZERO));
        self.refused = self.refused.split_off(&(slot, BlockId::ZERO));
    }
}

impl Consensus {
    /// Asks for at most one vote per slot, for blocks of this slot and, late, of the one before.
    pub(super) fn ask_signer(&mut self, out: &mut Vec<Output>) {
        if self.member.is_none() || self.halted {
            return;
        }
        let oldest = self.slot.saturating_sub(LATE_SLOTS);
        for slot in oldest.get()..=self.slot.get() {
            let slot = Slot::new(slot);
            if slot <= self.voting.last_slot() {
                continue;
            }
            let votable = self.tree.at_slot(slot).iter().copied();
            if let Some(id) = votable.into_iter().find(|id| self.is_votable(slot, *id)) {
                self.voting.asked.insert((slot, id));
                out.push(Output::AskSigner(id));
            }
        }
    }

    /// The parent's certificate is in the block's body, and its slot is below the block's, or the tree had not taken
    /// the block. What is left: the block is valid, and its parent at least as high as the highest certified block
    /// known here and shown to the signer (the lock).
    fn is_votable(&self, slot: Slot, id: BlockId) -> bool {
        let header = self.tree.header(id);
        // Genesis has no parent and takes no votes.
        let Some(parent_height) = header.and_then(|header| header.height.checked_sub(1)) else {
            return false;
        };
        self.tree.validity(id) == Some(Validity::Valid)
            && parent_height >= self.tree.longest_certified()
            && parent_height >= self.voting.signer.lock
            && self.tree.is_on_final_chain(id)
            && !self.voting.refused.contains(&(slot, id))
    }

    pub(super) fn signer_approved(&mut self, approval: VerifiedApproval, out: &mut Vec<Output>) {
        let id = approval.block();
        if self.member != Some(approval.member()) {
            return;
        }
        if let Some(header) = self.tree.header(id) {
            let signer = &mut self.voting.signer;
            signer.last_slot = signer.last_slot.max(header.slot);
            signer.lock = signer.lock.max(header.height.saturating_sub(1));
            self.voting.asked.remove(&(header.slot, id));
        }
        out.push(Output::Broadcast(approval));
        self.approval(approval, out);
    }
}
