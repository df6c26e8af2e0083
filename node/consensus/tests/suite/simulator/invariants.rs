//! The invariants, checked after every event.

use super::faults::{CALM_SLOTS, TROUBLE_SLOTS};
use super::world::World;
use crate::federation::GENESIS_SLOT;
use alys_consensus::{BlockRef, Evidence, Validity, VerifiedProposal};
use alys_protocol::bytes::BlockId;
use alys_protocol::units::MemberId;

impl World {
    pub(super) fn check(&mut self, node: usize) -> Result<(), String> {
        let Some(consensus) = &self.nodes[node].consensus else {
            return Ok(());
        };
        let tree = consensus.tree();
        let (head, last) = (tree.head(), tree.final_block());
        if consensus.is_halted() {
            return Err(format!("node {node} halted"));
        }
        if !tree.is_ancestor(last, head.id) || !tree.is_settled(head.id) {
            return Err(format!(
                "node {node}: head {head} does not settle on final {last}"
            ));
        }
        if self.nodes[node]
            .head
            .is_some_and(|before| before > head.height)
        {
            return Err(format!("node {node}: the certified chain shrank to {head}"));
        }
        if self.nodes[node]
            .store
            .final_block
            .is_some_and(|before| before > last)
        {
            return Err(format!("node {node}: the final chain shrank to {last}"));
        }
        // F is the same for all.
        let implied = tree.implied_final(head.id);
        if let Some(implied) = implied {
            let other = *self.implied_finals.entry(head.id).or_insert(implied);
            if other != implied {
                return Err(format!("F of {head}: {other} and {implied}"));
            }
        }
        self.nodes[node].head = Some(head.height);
        self.note_recovery();
        Ok(())
    }

    pub(super) fn check_head(&mut self, node: usize, head: BlockRef) -> Result<(), String> {
        let tree = self.nodes[node].consensus.as_ref().map(|node| node.tree());
        if tree.and_then(|tree| tree.validity(head.id)) != Some(Validity::Valid) {
            return Err(format!("node {node} has an invalid head {head}"));
        }
        Ok(())
    }

    pub(super) fn finalised(&mut self, node: usize, blocks: &[BlockRef]) -> Result<(), String> {
        for block in blocks {
            let before = self.nodes[node].store.final_block;
            let expected = before.map_or(1, |before| before.height.get() + 1);
            if block.height.get() != expected {
                return Err(format!("node {node}: {block} is final after {before:?}"));
            }
            let other = *self.final_blocks.entry(block.height).or_insert(block.id);
            if other != block.id {
                return Err(format!("conflicting final blocks {other} and {block}"));
            }
            self.nodes[node].store.final_block = Some(*block);
        }
        let last = blocks.last().ok_or("an empty list of final blocks")?;
        let tree = self.nodes[node].consensus.as_ref().map(|node| node.tree());
        self.nodes[node].store.anchor = tree.and_then(|tree| tree.anchor(last.id));
        Ok(())
    }

    pub(super) fn check_one_proposal(&mut self, block: &VerifiedProposal) -> Result<(), String> {
        let slot = block.header().slot;
        let first = *self.honest_proposals.entry(slot).or_insert(block.id());
        if first != block.id() {
            return Err(format!(
                "an honest leader signed two headers of slot {slot}"
            ));
        }
        Ok(())
    }

    pub(super) fn check_one_vote(&mut self, node: usize, id: BlockId) -> Result<(), String> {
        let member = MemberId::new(u16::try_from(node).unwrap());
        let slot = self.headers[&id].0.slot;
        let first = *self.honest_votes.entry((member, slot)).or_insert(id);
        if first != id {
            return Err(format!("honest member {member} votes twice in slot {slot}"));
        }
        Ok(())
    }

    pub(super) fn check_evidence(&mut self, evidence: &Evidence) -> Result<(), String> {
        let accused = match evidence {
            Evidence::DoubleProposal { first, .. } => self.chain.roster().leader(first.0.slot),
            Evidence::DoubleVote { first, .. } => first.member,
            Evidence::ConflictingCertificates { .. }
            | Evidence::CertifiedAgainstFinal { .. }
            | Evidence::ConflictingFinality { .. }
            | Evidence::CertifiedInvalid(_) => return Err(evidence.to_string()),
        };
        self.report.equivocations += 1;
        if self.is_honest(accused) {
            return Err(format!("an honest member is accused: {evidence}"));
        }
        Ok(())
    }

    pub(super) fn note_recovery(&mut self) {
        let Some(target) = self.target else { return };
        let reached = if self.scenario.throughout {
            self.honest_trees().all(|tree| tree.head().height > target)
        } else {
            self.honest_trees()
                .all(|tree| tree.final_block().height > target)
        };
        if reached {
            self.target = None;
            self.report.recovery_slots =
                self.current_slot().get() - GENESIS_SLOT - 1 - TROUBLE_SLOTS;
        }
    }

    /// Within the calm slots, every honest node's final block passed what was certified anywhere when the network
    /// healed; with Byzantine members at work, only its head has to (design 5).
    pub(super) fn check_progress(&self) -> Result<(), String> {
        if let Some(target) = self.target {
            let heads: Vec<_> = self
                .honest_trees()
                .map(|tree| (tree.head().height, tree.final_block().height))
                .collect();
            return Err(format!(
                "no progress beyond height {target} in {CALM_SLOTS} slots; heads and final heights: {heads:?}"
            ));
        }
        Ok(())
    }
}
