//! The world: time, messages, the registry of signatures, and the invariants, checked after every event.

use super::faults::{CALM_SLOTS, Network, Scenario, TROUBLE_SLOTS};
use super::node::{Block, Node};
use super::random::Random;
use crate::federation::{GENESIS_SLOT, SLOT_MS, chain};
use alys_consensus::{BlockRef, Input, VerifiedApproval, VerifiedCertificate, VerifiedProposal};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bytes::BlockId;
use alys_protocol::certificate::Approval;
use alys_protocol::header::Header;
use alys_protocol::history::Peaks;
use alys_protocol::spec::Chain;
use alys_protocol::units::{MemberId, SideHeight, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

/// Clocks differ by up to this many milliseconds.
const SKEW_MS: u64 = 150;

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
pub(super) enum Event {
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
        block: Box<VerifiedProposal>,
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
    pub(super) now: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    pub(super) network: Network,
    pub(super) nodes: Vec<Node>,
    /// Every block there is, and in order of birth.
    pub(super) blocks: BTreeMap<BlockId, Arc<Block>>,
    pub(super) headers: BTreeMap<BlockId, (Header, Peaks)>,
    pub(super) made: Vec<BlockId>,
    pub(super) signed: BTreeMap<BlockId, BTreeSet<MemberId>>,
    pub(super) honest_votes: BTreeMap<(MemberId, Slot), BlockId>,
    pub(super) honest_proposals: BTreeMap<Slot, BlockId>,
    pub(super) final_blocks: BTreeMap<SideHeight, BlockId>,
    pub(super) implied_finals: BTreeMap<BlockId, BlockRef>,
    /// Height that every honest node's final block must pass after the network healed.
    pub(super) target: Option<SideHeight>,
    pub(super) report: Report,
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

    pub(super) fn schedule_troubles(&mut self) {
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
    pub(super) fn honest(&self) -> std::ops::Range<usize> {
        0..self.scenario.members - self.scenario.byzantine
    }

    pub(super) fn is_honest(&self, member: MemberId) -> bool {
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

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now - GENESIS_SLOT * SLOT_MS;
        if let Some(log) = &mut self.log {
            let line = format!("{:>4}.{:03} {}", now / SLOT_MS, now % SLOT_MS, what());
            log.push(shorten(&line));
        }
    }

    pub(super) fn after(&mut self, delay: u64, event: Event) {
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

    pub(super) fn happen(&mut self, event: Event) -> Result<(), String> {
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
                let block = self.register(*block, false);
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

    pub(super) fn honest_trees(&self) -> impl Iterator<Item = &alys_consensus::BlockTree> {
        self.honest()
            .filter_map(|node| self.nodes[node].consensus.as_ref())
            .map(|consensus| consensus.tree())
    }

    pub(super) fn send_status(&mut self, node: usize) {
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

    pub(super) fn broadcast(&mut self, from: usize, message: &Message) {
        for to in 0..self.scenario.members {
            self.send(from, to, message);
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, message: &Message) {
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

    pub(super) fn receive(
        &mut self,
        from: usize,
        to: usize,
        message: Message,
    ) -> Result<(), String> {
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

    pub(super) fn block_arrived(&mut self, node: usize, block: Arc<Block>) -> Result<(), String> {
        let proposal = Box::new(block.proposal.clone());
        let store = &mut self.nodes[node].store;
        store.blocks.insert(proposal.id(), block);
        self.input(node, Input::Proposal(proposal))
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
