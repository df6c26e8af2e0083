//! What a Byzantine member does, with its own key, everyone's messages in view, and no regard for partitions.

use super::world::{Message, World};
use crate::federation::{certificate, child_header};
use alys_consensus::{VerifiedCertificate, VerifiedProposal};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bytes::BlockId;
use alys_protocol::units::{MemberId, Slot};

/// Blocks that it still plays with.
const RECENT: usize = 24;

impl World {
    /// One act of spite.
    pub(super) fn misbehave(&mut self, member: usize) {
        match self.random.within(0..4) {
            0 => self.propose_anything(member),
            1 | 2 => self.approve_anything(member),
            _ => self.replay_anything(member),
        }
    }

    fn recent(&mut self) -> Option<BlockId> {
        let from = self.made.len().saturating_sub(RECENT);
        self.random.pick(&self.made[from..]).copied()
    }

    /// Two or three headers of one of its slots, past, present or future, on any certified parents.
    fn propose_anything(&mut self, member: usize) {
        let near = self.current_slot().get() + self.random.within(0..7);
        let members = self.scenario.members as u64;
        let Some(slot) = (near.saturating_sub(4)..=near)
            .rev()
            .find(|slot| slot % members == member as u64)
        else {
            return;
        };
        for _ in 0..self.random.within(1..4) {
            let Some((parent, proof)) = self.certified_parent(Slot::new(slot)) else {
                return;
            };
            let (header, history) = self.headers[&parent].clone();
            let salt = self.random.next();
            let mut header = child_header(&self.chain, &header, &history, Slot::new(slot), salt);
            if self.random.percent(30) {
                // A record that may be no record.
                header.pow.height = header.pow.height.saturating_add(self.random.within(0..4));
            }
            let broken = self.random.percent(20);
            let proposal = VerifiedProposal::assume_verified(header, BlsSignature::ZERO, proof);
            let block = self.register(proposal, broken);
            self.send_to_some(member, &Message::Block(block));
        }
    }

    fn certified_parent(&mut self, slot: Slot) -> Option<(BlockId, Option<VerifiedCertificate>)> {
        for _ in 0..10 {
            let Some(id) = self.recent() else { break };
            if self.headers[&id].0.slot < slot
                && let Some(proof) = self.any_certificate(id)
            {
                return Some((id, Some(proof)));
            }
        }
        // Genesis needs no certificate.
        self.random
            .percent(20)
            .then(|| (self.chain.genesis_id(), None))
    }

    /// A certificate from all signatures that exist, whoever has seen them.
    fn any_certificate(&self, id: BlockId) -> Option<VerifiedCertificate> {
        let signers = self.signed.get(&id)?;
        let enough = signers.len() >= self.chain.roster().quorum();
        enough.then(|| {
            let proof = certificate(&self.chain, id, signers.iter().copied());
            VerifiedCertificate::assume_verified(proof)
        })
    }

    fn approve_anything(&mut self, member: usize) {
        for _ in 0..self.random.within(1..4) {
            let Some(id) = self.recent() else { return };
            let signer = MemberId::new(u16::try_from(member).unwrap());
            let approval = self.sign(signer, id);
            self.send_to_some(member, &Message::Approval(approval));
        }
    }

    fn replay_anything(&mut self, member: usize) {
        let Some(id) = self.recent() else { return };
        let message = match self.random.within(0..3) {
            0 => Message::Block(self.blocks[&id].clone()),
            1 => {
                let signers: Vec<_> = self
                    .signed
                    .get(&id)
                    .into_iter()
                    .flatten()
                    .copied()
                    .collect();
                let Some(signer) = self.random.pick(&signers) else {
                    return;
                };
                Message::Approval(self.sign(*signer, id))
            }
            _ => {
                let Some(proof) = self.any_certificate(id) else {
                    return;
                };
                Message::Certificate(proof)
            }
        };
        self.send_to_some(member, &message);
    }

    fn send_to_some(&mut self, from: usize, message: &Message) {
        for to in 0..self.scenario.members {
            if to != from && self.random.percent(60) {
                let delay = self.random.within(1..3000);
                self.deliver(delay, from, to, message.clone());
            }
        }
    }
}
