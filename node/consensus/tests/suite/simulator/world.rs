//! The world: time, messages, the registry of signatures, and the invariants, checked after every event.

use super::faults::{CALM_SLOTS, Network, Scenario, TROUBLE_SLOTS};
use super::node::{Block, Node};
use super::random::Random;
use crate::federation::{GENESIS_SLOT, SLOT_MS, certificate, chain, child_header};
use alys_consensus::{
    BlockRef, Evidence, Input, Output, Validity, VerifiedApproval, VerifiedCertificate,
    VerifiedProposal,
};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bytes::BlockId;
use alys_protocol::certificate::Approval;
use alys_protocol::header::Header;
use alys_protocol::history::Peaks;
use alys_protocol::spec::Chain;
use alys_protocol::units::{MemberId, SideHeight, Slot};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

/// Clocks differ by up to this many milliseconds.
const SKEW_MS: u64 = 150;
/// Blocks in one answer.
const ANSWER_BLOCKS: usize = 64;

#[derive(Debug, Clone)]
pub(super) enum Message {
    Block(Arc<Block>),
    Approval(VerifiedApproval),
    /// A node's head, as its status says.
    Certificate(VerifiedCertificate),
    /// "Send me this block, and those below it above this height."
    Request {
        id: BlockId,
        above: SideHeight,
    },
    Answer(Vec<(Arc<Block>, Option<VerifiedCertificate>)>),
}

#[derive(Debug, Clone)]
enum Event {
    Deliver {
        from: usize,
        to: usize,
        message: Message,
    },
    Wake {
        node: usize,
        life: u64,
    },
    Built {
        node: usize,
        life: u64,
        block: VerifiedProposal,
    },
    Verdict {
        node: usize,
        life: u64,
        id: BlockId,
    },
    Answered {
        node: usize,
        life: u64,
        id: BlockId,
        approved: bool,
    },
    Status {
        node: usize,
    },
    Crash {
        node: usize,
    },
    Start {
        node: usize,
    },
    Repartition,
    Misbehave {
        member: usize,
    },
    Heal,
    End,
}

/// What a run amounted to.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    pub(super) events: u64,
    pub(super) crashes: u64,
    pub(super) equivocations: u64,
    pub(super) refusals: u64,
    pub(super) final_height: u64,
    pub(super) recovery_slots: u64,
}

pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) chain: Arc<Chain>,
    pub(super) random: Random,
    now: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    network: Network,
    nodes: Vec<Node>,
    /// Every block there is, and in order of birth.
    pub(super) blocks: BTreeMap<BlockId, Arc<Block>>,
    pub(super) headers: BTreeMap<BlockId, (Header, Peaks)>,
    pub(super) made: Vec<BlockId>,
    pub(super) signed: BTreeMap<BlockId, BTreeSet<MemberId>>,
    honest_votes: BTreeMap<(MemberId, Slot), BlockId>,
    honest_proposals: BTreeMap<Slot, BlockId>,
    final_blocks: BTreeMap<SideHeight, BlockId>,
    implied_finals: BTreeMap<BlockId, BlockRef>,
    /// Height that every honest node's final block must pass after the network healed.
    target: Option<SideHeight>,
    report: Report,
    log: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(scenario: Scenario, seed: u64, log: bool) -> Self {
        let chain = chain(scenario.members);
        let mut random = Random::new(seed);
        let genesis = (chain.genesis().clone(), Peaks::empty());
        let mut world = Self {
            headers: BTreeMap::from([(chain.genesis_id(), genesis)]),
            chain,
            now: (GENESIS_SLOT + 1) * SLOT_MS,
            sequence: 0,
            events: BTreeMap::new(),
            network: Network::new(scenario.members, &mut random),
            nodes: (0..scenario.members)
                .map(|_| Node::new(random.within(0..SKEW_MS)))
                .collect(),
            blocks: BTreeMap::new(),
            made: Vec::new(),
            signed: BTreeMap::new(),
            honest_votes: BTreeMap::new(),
            honest_proposals: BTreeMap::new(),
            final_blocks: BTreeMap::new(),
            implied_finals: BTreeMap::new(),
            target: None,
            report: Report::default(),
            log: log.then(Vec::new),
            scenario,
            random,
        };
        world.schedule_troubles();
        world
    }

    fn schedule_troubles(&mut self) {
        let trouble = TROUBLE_SLOTS * SLOT_MS;
        for node in self.honest() {
            self.after(0, Event::Start { node });
            self.after(0, Event::Status { node });
            for _ in 0..self.random.within(0..4) {
                let (down, up) = (
                    self.random.within(1..trouble),
                    self.random.within(1..6 * SLOT_MS),
                );
                self.after(down, Event::Crash { node });
                self.after((down + up).min(trouble), Event::Start { node });
            }
        }
        for _ in 0..self.random.within(0..8) {
            let when = self.random.within(1..trouble);
            self.after(when, Event::Repartition);
        }
        let spite = trouble
            + if self.scenario.throughout {
                CALM_SLOTS * SLOT_MS
            } else {
                0
            };
        for member in self.scenario.members - self.scenario.byzantine..self.scenario.members {
            for _ in 0..4 * spite / SLOT_MS {
                let when = self.random.within(1..spite);
                self.after(when, Event::Misbehave { member });
            }
        }
        self.after(trouble + 1, Event::Heal);
        self.after(trouble + CALM_SLOTS * SLOT_MS, Event::End);
    }

    /// Byzantine members are the last ones.
    fn honest(&self) -> std::ops::Range<usize> {
        0..self.scenario.members - self.scenario.byzantine
    }

    fn is_honest(&self, member: MemberId) -> bool {
        self.honest().contains(&usize::from(member.get()))
    }

    pub(super) fn current_slot(&self) -> Slot {
        Slot::new(self.now / SLOT_MS)
    }

    pub(super) fn log(&self) -> String {
        self.log
            .as_ref()
            .map(|log| log.join("\n"))
            .unwrap_or_default()
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now - GENESIS_SLOT * SLOT_MS;
        if let Some(log) = &mut self.log {
            let line = format!("{:>4}.{:03} {}", now / SLOT_MS, now % SLOT_MS, what());
            log.push(shorten(&line));
        }
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    /// Runs to the end, or to the first violated invariant.
    pub(super) fn run(&mut self) -> Result<Report, String> {
        while let Some(((now, _), event)) = self.events.pop_first() {
            self.now = now;
            self.report.events += 1;
            self.note(|| format!("{event:?}"));
            if matches!(event, Event::End) {
                break;
            }
            self.happen(event)?;
        }
        self.check_progress()?;
        let highest = self.final_blocks.last_key_value();
        self.report.final_height = highest.map_or(0, |(height, _)| height.get());
        Ok(self.report.clone())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Deliver { from, to, message } => self.receive(from, to, message),
            Event::Wake { node, life } => {
                if self.nodes[node].life == life {
                    self.nodes[node].wake = None;
                }
                let clock = self.nodes[node].clock(self.now);
                self.input_in_life(node, life, Input::Tick(clock))
            }
            Event::Built { node, life, block } => {
                if self.nodes[node].life != life {
                    return Ok(());
                }
                self.check_one_proposal(&block)?;
                let block = self.register(block, false);
                self.broadcast(node, &Message::Block(block.clone()));
                self.block_arrived(node, block)
            }
            Event::Verdict { node, life, id } => {
                let verdict = self.verdict(node, life, id);
                verdict.map_or(Ok(()), |input| self.input(node, input))
            }
            Event::Answered {
                node,
                life,
                id,
                approved,
            } => {
                let member = MemberId::new(u16::try_from(node).unwrap());
                let input = if approved {
                    Input::SignerApproved(self.sign(member, id))
                } else {
                    Input::SignerRefused(id)
                };
                self.input_in_life(node, life, input)
            }
            Event::Status { node } => {
                self.after(SLOT_MS, Event::Status { node });
                self.send_status(node);
                Ok(())
            }
            Event::Crash { node } => {
                if self.nodes[node].consensus.is_some() {
                    self.report.crashes += 1;
                    self.nodes[node].crash();
                }
                Ok(())
            }
            Event::Start { node } => self.start(node),
            Event::Repartition => {
                if !self.network.is_calm() {
                    self.network.repartition(&mut self.random);
                }
                Ok(())
            }
            Event::Misbehave { member } => {
                self.misbehave(member);
                Ok(())
            }
            Event::Heal => {
                self.network.heal();
                let longest = self
                    .honest_trees()
                    .map(|tree| tree.longest_certified())
                    .max();
                self.target = longest;
                Ok(())
            }
            Event::End => Ok(()),
        }
    }

    fn honest_trees(&self) -> impl Iterator<Item = &alys_consensus::BlockTree> {
        self.honest()
            .filter_map(|node| self.nodes[node].consensus.as_ref())
            .map(|consensus| consensus.tree())
    }

    fn start(&mut self, node: usize) -> Result<(), String> {
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

    fn send_status(&mut self, node: usize) {
        let Some(consensus) = &self.nodes[node].consensus else {
            return;
        };
        let head = consensus.tree().head();
        let Some(certificate) = consensus.tree().certificate(head.id).cloned() else {
            return;
        };
        let to = self.random.within(0..self.scenario.members as u64) as usize;
        self.send(node, to, &Message::Certificate(certificate));
    }

    fn broadcast(&mut self, from: usize, message: &Message) {
        for to in 0..self.scenario.members {
            self.send(from, to, message);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        if from == to || !self.honest().contains(&to) {
            return;
        }
        for delay in self.network.delays(from, to, &mut self.random) {
            self.deliver(delay, from, to, message.clone());
        }
    }

    pub(super) fn deliver(&mut self, delay: u64, from: usize, to: usize, message: Message) {
        if self.honest().contains(&to) {
            self.after(delay, Event::Deliver { from, to, message });
        }
    }

    fn receive(&mut self, from: usize, to: usize, message: Message) -> Result<(), String> {
        if self.nodes[to].consensus.is_none() {
            return Ok(());
        }
        match message {
            Message::Block(block) => self.block_arrived(to, block),
            Message::Approval(approval) => self.input(to, Input::Approval(approval)),
            Message::Certificate(certificate) => {
                // A node looks into its own store first, as the daemon does.
                if self.nodes[to]
                    .store
                    .certificates
                    .contains_key(&certificate.block())
                {
                    return Ok(());
                }
                self.input(to, Input::Certificate(certificate))
            }
            Message::Request { id, above } => {
                let answer = self.answer(to, id, above);
                if !answer.is_empty() {
                    self.send(to, from, &Message::Answer(answer));
                }
                Ok(())
            }
            Message::Answer(blocks) => {
                for (block, certificate) in blocks {
                    self.block_arrived(to, block)?;
                    if let Some(certificate) = certificate {
                        self.input(to, Input::Certificate(certificate))?;
                    }
                }
                Ok(())
            }
        }
    }

    fn answer(
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

    fn block_arrived(&mut self, node: usize, block: Arc<Block>) -> Result<(), String> {
        let proposal = Box::new(block.proposal.clone());
        let store = &mut self.nodes[node].store;
        store.blocks.insert(proposal.id(), block);
        self.input(node, Input::Proposal(proposal))
    }

    fn input_in_life(&mut self, node: usize, life: u64, input: Input) -> Result<(), String> {
        if self.nodes[node].life == life {
            return self.input(node, input);
        }
        Ok(())
    }

    /// One step of one node, all that follows from it at once, and the invariants.
    fn input(&mut self, node: usize, input: Input) -> Result<(), String> {
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
                let chain = self.chain.clone();
                let answer = self.nodes[node].ask_signer(&chain, id);
                if let Err(refused) = &answer {
                    self.note(|| format!("    signer {node} refuses: {refused}"));
                    return Err(format!(
                        "the mirror of the rules let node {node} ask in vain: {refused}"
                    ));
                }
                self.check_one_vote(node, id)?;
                let delay = self.random.within(5..200);
                let approved = answer.is_ok();
                self.after(
                    delay,
                    Event::Answered {
                        node,
                        life,
                        id,
                        approved,
                    },
                );
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
        self.after(delay, Event::Built { node, life, block });
    }

    /// Makes a signed block known to the world.
    pub(super) fn register(&mut self, proposal: VerifiedProposal, broken: bool) -> Arc<Block> {
        let id = proposal.id();
        let header = proposal.header().clone();
        let (_, history) = &self.headers[&header.parent];
        let history = history.append(self.chain.id(), header.parent).unwrap();
        self.headers.insert(id, (header, history));
        self.made.push(id);
        let block = Arc::new(Block { proposal, broken });
        self.blocks.insert(id, block.clone());
        block
    }

    pub(super) fn sign(&mut self, member: MemberId, block: BlockId) -> VerifiedApproval {
        self.signed.entry(block).or_default().insert(member);
        VerifiedApproval::assume_verified(Approval {
            block,
            member,
            signature: BlsSignature::ZERO,
        })
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
    fn verdict(&mut self, node: usize, life: u64, id: BlockId) -> Option<Input> {
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

/// The invariants.
impl World {
    fn check(&mut self, node: usize) -> Result<(), String> {
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

    fn check_head(&mut self, node: usize, head: BlockRef) -> Result<(), String> {
        let tree = self.nodes[node].consensus.as_ref().map(|node| node.tree());
        if tree.and_then(|tree| tree.validity(head.id)) != Some(Validity::Valid) {
            return Err(format!("node {node} has an invalid head {head}"));
        }
        Ok(())
    }

    fn finalised(&mut self, node: usize, blocks: &[BlockRef]) -> Result<(), String> {
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

    fn check_one_proposal(&mut self, block: &VerifiedProposal) -> Result<(), String> {
        let slot = block.header().slot;
        let first = *self.honest_proposals.entry(slot).or_insert(block.id());
        if first != block.id() {
            return Err(format!(
                "an honest leader signed two headers of slot {slot}"
            ));
        }
        Ok(())
    }

    fn check_one_vote(&mut self, node: usize, id: BlockId) -> Result<(), String> {
        let member = MemberId::new(u16::try_from(node).unwrap());
        let slot = self.headers[&id].0.slot;
        let first = *self.honest_votes.entry((member, slot)).or_insert(id);
        if first != id {
            return Err(format!("honest member {member} votes twice in slot {slot}"));
        }
        Ok(())
    }

    fn check_evidence(&mut self, evidence: &Evidence) -> Result<(), String> {
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

    fn note_recovery(&mut self) {
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
    fn check_progress(&self) -> Result<(), String> {
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

/// Ids are long: their first bytes tell blocks apart.
fn shorten(line: &str) -> String {
    let mut short = String::new();
    let mut rest = line;
    while let Some(place) = rest.find("0x") {
        let (before, hex) = rest.split_at(place);
        let digits = hex[2..]
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(hex.len() - 2);
        short.push_str(before);
        short.push_str(&hex[2..2 + digits.min(8)]);
        rest = &hex[2 + digits..];
    }
    short.push_str(rest);
    short
}
