//! What the daemon around a state machine does: it carries out outputs, keeps a store, answers peers, builds and
//! validates blocks.

use super::node::Block;
use super::world::{Event, Message, World};
use crate::federation::{certificate, child_header};
use alys_consensus::{
    BlockRef, Input, Output, VerifiedApproval, VerifiedCertificate, VerifiedProposal,
};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bytes::BlockId;
use alys_protocol::units::{MemberId, SideHeight, Slot};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Blocks in one answer.
const ANSWER_BLOCKS: usize = 64;

impl World {
    pub(super) fn start(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].consensus.is_some() {
            return Ok(());
        }
        let chain = self.chain.clone();
        let blocks = self.nodes[node].start(&chain, node, self.now);
        for block in blocks {
            let proposal = Box::new(block.proposal.clone());
            self.input(node, Input::Proposal(proposal))?;
        }
        let certificates: Vec<_> = self.nodes[node]
            .store
            .certificates
            .values()
            .cloned()
            .collect();
        for certificate in certificates {
            let tree = self.nodes[node].consensus.as_ref().unwrap().tree();
            if tree.contains(certificate.block()) {
                self.input(node, Input::Certificate(certificate))?;
            }
        }
        let clock = self.nodes[node].clock(self.now);
        self.input(node, Input::Tick(clock))
    }

    pub(super) fn answer(
        &self,
        node: usize,
        id: BlockId,
        above: SideHeight,
    ) -> Vec<(Arc<Block>, Option<VerifiedCertificate>)> {
        let store = &self.nodes[node].store;
        let mut answer = VecDeque::new();
        let mut next = store.blocks.get(&id);
        while let Some(block) = next {
            let header = block.proposal.header();
            if header.height <= above || answer.len() == ANSWER_BLOCKS {
                break;
            }
            let certificate = store.certificates.get(&block.proposal.id()).cloned();
            answer.push_front((block.clone(), certificate));
            next = store.blocks.get(&header.parent);
        }
        answer.into()
    }

    pub(super) fn input_in_life(
        &mut self,
        node: usize,
        life: u64,
        input: Input,
    ) -> Result<(), String> {
        if self.nodes[node].life == life {
            return self.input(node, input);
        }
        Ok(())
    }

    /// One step of one node, all that follows from it at once, and the invariants.
    pub(super) fn input(&mut self, node: usize, input: Input) -> Result<(), String> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(consensus) = &mut self.nodes[node].consensus else {
                return Ok(());
            };
            let outputs = consensus.step(input);
            for output in outputs {
                self.note(|| format!("    {node}: {output:?}"));
                self.output(node, output, &mut inputs)?;
            }
            self.check(node)?;
        }
        self.schedule_wake(node);
        Ok(())
    }

    fn schedule_wake(&mut self, node: usize) {
        let Some(consensus) = &self.nodes[node].consensus else {
            return;
        };
        let deadline = consensus.next_deadline();
        if self.nodes[node].wake == Some(deadline) {
            return;
        }
        self.nodes[node].wake = Some(deadline);
        let clock = self.nodes[node].clock(self.now);
        let life = self.nodes[node].life;
        self.after(
            deadline.get().saturating_sub(clock.get()),
            Event::Wake { node, life },
        );
    }

    fn output(
        &mut self,
        node: usize,
        output: Output,
        inputs: &mut VecDeque<Input>,
    ) -> Result<(), String> {
        let life = self.nodes[node].life;
        match output {
            Output::Propose {
                slot,
                parent,
                implied_final,
                needs_pow,
            } => {
                self.build(node, slot, parent, implied_final, needs_pow);
            }
            Output::Validate(id) => {
                let delay = if self.nodes[node].store.valid.contains(&id) {
                    1
                } else {
                    self.random.within(20..250)
                };
                self.after(delay, Event::Verdict { node, life, id });
            }
            Output::AskSigner(id) => {
                let delay = self.random.within(5..200);
                // A signer may be out of reach, too.
                let reached = self.network.is_calm() || !self.random.percent(5);
                if reached {
                    let chain = self.chain.clone();
                    let answer = self.nodes[node].ask_signer(&chain, id);
                    answer.map_err(|refused| {
                        format!("the mirror of the rules let node {node} ask in vain: {refused}")
                    })?;
                    self.check_one_vote(node, id)?;
                } else {
                    self.report.refusals += 1;
                }
                let event = Event::Answered {
                    node,
                    life,
                    id,
                    approved: reached,
                };
                self.after(delay, event);
            }
            Output::Broadcast(approval) => self.broadcast(node, &Message::Approval(approval)),
            Output::Aggregate(approvals) => {
                inputs.push_back(Input::Certificate(self.aggregate(&approvals)?));
            }
            Output::Certified(certificate) => {
                let store = &mut self.nodes[node].store;
                store.certificates.insert(certificate.block(), certificate);
            }
            Output::Head(head) => self.check_head(node, head)?,
            Output::Final(blocks) => self.finalised(node, &blocks)?,
            Output::Fetch { id, .. } => self.fetch(node, id, inputs),
            Output::Rejected { id, reason } => {
                let honest = self.is_honest(self.leader_of(id));
                if honest && reason.is_senders_fault() {
                    return Err(format!("node {node} rejects an honest block: {reason}"));
                }
            }
            Output::Alarm(evidence) => self.check_evidence(&evidence)?,
        }
        Ok(())
    }

    fn fetch(&mut self, node: usize, id: BlockId, inputs: &mut VecDeque<Input>) {
        if let Some(block) = self.nodes[node].store.blocks.get(&id) {
            inputs.push_back(Input::Proposal(Box::new(block.proposal.clone())));
            return;
        }
        let Some(consensus) = &self.nodes[node].consensus else {
            return;
        };
        let above = consensus.tree().final_block().height;
        for _ in 0..2 {
            let to = self.random.within(0..self.scenario.members as u64) as usize;
            self.send(node, to, &Message::Request { id, above });
        }
    }

    fn build(
        &mut self,
        node: usize,
        slot: Slot,
        parent: BlockRef,
        implied_final: BlockRef,
        needs_pow: bool,
    ) {
        // Miners come and go while there is trouble.
        if needs_pow && !self.network.is_calm() && self.random.percent(30) {
            return;
        }
        let (header, history) = self.headers[&parent.id].clone();
        let salt = self.random.next();
        let mut header = child_header(&self.chain, &header, &history, slot, salt);
        if needs_pow {
            header.pow.height = implied_final.height;
            header.pow.id = implied_final.id;
        }
        let consensus = self.nodes[node].consensus.as_ref();
        let certificate = consensus
            .and_then(|node| node.tree().certificate(parent.id))
            .cloned();
        let block = VerifiedProposal::assume_verified(header, BlsSignature::ZERO, certificate);
        let (delay, life) = (self.random.within(10..150), self.nodes[node].life);
        let block = Box::new(block);
        self.after(delay, Event::Built { node, life, block });
    }

    fn aggregate(&self, approvals: &[VerifiedApproval]) -> Result<VerifiedCertificate, String> {
        let block = approvals[0].block();
        let signed = &self.signed[&block];
        let members: BTreeSet<_> = approvals.iter().map(VerifiedApproval::member).collect();
        let sound = approvals.iter().all(|approval| approval.block() == block)
            && members.is_subset(signed)
            && members.len() == approvals.len()
            && members.len() >= self.chain.roster().quorum();
        if !sound {
            return Err(format!("asked to aggregate {approvals:?}, no quorum"));
        }
        let certificate = certificate(&self.chain, block, members);
        Ok(VerifiedCertificate::assume_verified(certificate))
    }

    /// Payload and peg rules, which here are: not broken, and a record exactly as design 6 asks for it.
    pub(super) fn verdict(&mut self, node: usize, life: u64, id: BlockId) -> Option<Input> {
        if self.nodes[node].life != life {
            return None;
        }
        if !self.network.is_calm() && self.random.percent(10) {
            return Some(Input::Undecided(id));
        }
        let tree = self.nodes[node].consensus.as_ref()?.tree();
        let header = tree.header(id)?;
        let parent = tree.header(header.parent)?;
        let implied_final = tree.implied_final(id)?;
        let record = header.pow != parent.pow;
        let pow = if record {
            header.pow.height == implied_final.height && header.pow.id == implied_final.id
        } else {
            !tree.needs_pow(header.parent)?
        };
        if self.blocks[&id].broken || !pow {
            return Some(Input::Invalid(id));
        }
        self.nodes[node].store.valid.insert(id);
        Some(Input::Valid(id))
    }

    fn leader_of(&self, id: BlockId) -> MemberId {
        let slot = self.headers[&id].0.slot;
        self.chain.roster().leader(slot)
    }
}
