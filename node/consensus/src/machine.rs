//! One node's consensus: what to validate, to vote for, to propose and to fetch.

mod propose;
mod vote;

use crate::evidence::Evidence;
use crate::message::{Input, Output, UnixMs, VotingState};
use crate::orphans::Orphans;
use crate::pool::ApprovalPool;
use crate::tree::{BlockTree, Changes, InsertError, UnknownBlock, Validity};
use crate::verified::{VerifiedApproval, VerifiedCertificate, VerifiedProposal};
use alys_protocol::bytes::BlockId;
use alys_protocol::units::{MemberId, SideHeight, Slot};
use std::collections::{BTreeMap, BTreeSet};
use vote::Voting;

/// Slots ahead of this node's clock from which blocks are taken in: the signer daemon's horizon (design 5).
const EARLY_SLOTS: u64 = 2;
/// Slots after its own in which a block is still voted for: validation of a block that came late in its slot may end
/// in the next one, and clocks differ. More would only certify forks of what the following leaders built meanwhile.
const LATE_SLOTS: u64 = 1;
/// Headers of one slot that are taken before one of them is certified; an honest leader signs one.
const MAX_PER_SLOT: usize = 4;
/// Slots for which uncertified blocks and votes are remembered.
const REMEMBERED_SLOTS: u64 = 512;
/// Certificates of blocks that are not here yet.
const MAX_FLOATING: usize = 64;

/// The state machine of one node: a member, or an observer that follows without a vote.
///
/// Deterministic: the same inputs give the same outputs.
#[derive(Debug, Clone)]
pub struct Consensus {
    tree: BlockTree,
    member: Option<MemberId>,
    now: UnixMs,
    slot: Slot,
    voting: Voting,
    /// The slot of the last proposal.
    proposed: Slot,
    pool: ApprovalPool,
    orphans: Orphans,
    floating: BTreeMap<BlockId, VerifiedCertificate>,
    validating: BTreeSet<BlockId>,
    undecided: BTreeSet<BlockId>,
    halted: bool,
}

impl Consensus {
    /// Starts a node. `member` is its place in the roster, none for an observer; `voting` is where its signer stands.
    ///
    /// A node that restarts proposes nothing in the slot in which it starts, so that it never signs two proposals of
    /// one slot. Blocks of its own store above the tree's root are put in as [`Input::Proposal`], in order.
    pub fn new(
        tree: BlockTree,
        member: Option<MemberId>,
        voting: VotingState,
        now: UnixMs,
    ) -> Self {
        let slot = slot_at(&tree, now);
        Self {
            member,
            now,
            slot,
            voting: Voting::new(voting),
            proposed: slot,
            pool: ApprovalPool::default(),
            orphans: Orphans::default(),
            floating: BTreeMap::new(),
            validating: BTreeSet::new(),
            undecided: BTreeSet::new(),
            halted: false,
            tree,
        }
    }

    /// The blocks.
    pub const fn tree(&self) -> &BlockTree {
        &self.tree
    }

    /// The current slot, as of the last tick.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether evidence says that safety is broken, so that this node votes and proposes no more.
    pub const fn is_halted(&self) -> bool {
        self.halted
    }

    /// When the next [`Input::Tick`] is needed.
    pub fn next_deadline(&self) -> UnixMs {
        match self.wait_until() {
            Some(wait) if self.now < wait => wait,
            Some(_) | None => {
                let next = self.slot.saturating_add(1);
                UnixMs::new(next.start_ms(self.slot_ms()).unwrap_or(u64::MAX))
            }
        }
    }

    /// Takes one input and says what to do.
    pub fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Tick(now) => self.tick(now, &mut out),
            Input::Proposal(proposal) => self.proposal(*proposal, &mut out),
            Input::Valid(id) => self.verdict(id, Validity::Valid, &mut out),
            Input::Invalid(id) => self.verdict(id, Validity::Invalid, &mut out),
            Input::Undecided(id) => self.verdict(id, Validity::Unknown, &mut out),
            Input::Approval(approval) => self.approval(approval, &mut out),
            Input::Certificate(certificate) => self.certificate(certificate, &mut out),
            Input::SignerApproved(approval) => self.signer_approved(approval, &mut out),
            Input::SignerRefused(id) => {
                if let Some(header) = self.tree.header(id) {
                    self.voting.refused(header.slot, id);
                }
            }
        }
        self.ask_signer(&mut out);
        self.propose(&mut out);
        out
    }

    fn slot_ms(&self) -> u64 {
        self.tree.chain().spec().slots.duration_ms
    }

    fn tick(&mut self, now: UnixMs, out: &mut Vec<Output>) {
        self.now = now;
        for id in core::mem::take(&mut self.undecided) {
            self.consider(id, out);
        }
        let slot = slot_at(&self.tree, now);
        if slot == self.slot {
            return;
        }
        self.slot = slot;
        let oldest = slot.saturating_sub(REMEMBERED_SLOTS);
        let changes = self.tree.forget_uncertified_before(oldest);
        self.apply(changes, out);
        self.pool.forget_votes_before(oldest);
        self.voting.forget_before(oldest);
        // Blocks that came early are due now.
        for id in self.tree.at_slot(slot).to_vec() {
            self.consider(id, out);
        }
        self.fetch_missing(out);
    }

    /// Asks again for all that is missing: an answer may have been lost.
    fn fetch_missing(&self, out: &mut Vec<Output>) {
        let mut missing: BTreeMap<BlockId, Option<SideHeight>> = BTreeMap::new();
        missing.extend(
            self.pool
                .unknown_with(self.honest_one())
                .into_iter()
                .map(|id| (id, None)),
        );
        missing.extend(self.floating.keys().map(|id| (*id, None)));
        missing.extend(
            self.orphans
                .missing()
                .into_iter()
                .map(|(id, height)| (id, Some(height))),
        );
        missing.retain(|id, _| !self.holds(*id));
        out.extend(
            missing
                .into_iter()
                .map(|(id, height)| Output::Fetch { id, height }),
        );
    }

    /// Members among which at least one is honest.
    fn honest_one(&self) -> usize {
        self.tree.chain().roster().faults().saturating_add(1)
    }

    /// A block that others are known to hold, or to have certified, is taken however many its leader signed.
    fn is_wanted(&self, id: BlockId) -> bool {
        self.floating.contains_key(&id)
            || self.orphans.wait_for(id)
            || self.pool.approvers_of_unknown(id) >= self.honest_one()
    }

    /// Whether it holds a block: in the tree, or waiting for its parent. What it does not hold any more was decided, was
    /// of a slot long past without a certificate, or made place for others; whoever keeps blocks beside it may drop it.
    pub fn holds(&self, id: BlockId) -> bool {
        self.tree.contains(id) || self.orphans.contains(id)
    }

    /// Whether a certificate of a block at this height tells anything new: none is kept beside another one, nor of what is
    /// decided.
    pub fn lacks_certificate(&self, block: BlockId, height: SideHeight) -> bool {
        height > self.tree.root().height && !self.tree.is_certified(block)
    }

    fn proposal(&mut self, proposal: VerifiedProposal, out: &mut Vec<Output>) {
        let mut arrived = vec![proposal];
        while let Some(proposal) = arrived.pop() {
            let id = proposal.id();
            match self.insert(&proposal, out) {
                Ok(()) => arrived.extend(self.orphans.take_children(id)),
                Err(InsertError::UnknownParent { parent }) => self.orphan(proposal, parent, out),
                Err(reason) => {
                    // It did arrive: fetching it again would end here again.
                    self.pool.take_unknown(id);
                    self.floating.remove(&id);
                    out.push(Output::Rejected { id, reason });
                }
            }
        }
    }

    fn insert(
        &mut self,
        proposal: &VerifiedProposal,
        out: &mut Vec<Output>,
    ) -> Result<(), InsertError> {
        let (id, slot) = (proposal.id(), proposal.header().slot);
        let at_most = self.slot.saturating_add(EARLY_SLOTS);
        if slot > at_most {
            return Err(InsertError::SlotHorizon {
                at_most,
                found: slot,
            });
        }
        let full = self.tree.at_slot(slot).len() >= MAX_PER_SLOT;
        if full && !self.tree.contains(id) && !self.is_wanted(id) {
            return Err(InsertError::SlotFull {
                slot,
                at_most: MAX_PER_SLOT,
            });
        }
        let changes = self.tree.insert(proposal)?;
        self.report_equivocation(proposal, out);
        self.apply(changes, out);
        for approval in self.pool.take_unknown(id) {
            self.approval(approval, out);
        }
        if let Some(certificate) = self.floating.remove(&id) {
            self.certificate(certificate, out);
        }
        self.consider(id, out);
        Ok(())
    }

    fn report_equivocation(&self, proposal: &VerifiedProposal, out: &mut Vec<Output>) {
        let header = proposal.header();
        // The second header is evidence enough: a third says nothing new.
        let [first, second] = self.tree.at_slot(header.slot) else {
            return;
        };
        debug_assert_eq!(*second, proposal.id());
        if let (Some(first_header), Some(signature)) =
            (self.tree.header(*first), self.tree.signature(*first))
        {
            out.push(Output::Alarm(Box::new(Evidence::DoubleProposal {
                first: (Box::new(first_header.clone()), *signature),
                second: (Box::new(header.clone()), *proposal.signature()),
            })));
        }
    }

    fn orphan(&mut self, proposal: VerifiedProposal, parent: BlockId, out: &mut Vec<Output>) {
        let (id, slot) = (proposal.id(), proposal.header().slot);
        let height = proposal.header().height.saturating_sub(1);
        let wanted = self.is_wanted(id);
        if !self.orphans.keep(proposal, wanted) {
            let reason = InsertError::SlotFull {
                slot,
                at_most: MAX_PER_SLOT,
            };
            out.push(Output::Rejected { id, reason });
        } else if !self.orphans.contains(parent) {
            out.push(Output::Fetch {
                id: parent,
                height: Some(height),
            });
        }
    }

    fn verdict(&mut self, id: BlockId, verdict: Validity, out: &mut Vec<Output>) {
        self.validating.remove(&id);
        match verdict {
            Validity::Unknown => {
                if self.tree.validity(id) == Some(Validity::Unknown) {
                    self.undecided.insert(id);
                }
            }
            Validity::Invalid => {
                let changes = self.tree.set_invalid(id);
                self.apply(changes, out);
            }
            Validity::Valid => {
                let changes = self.tree.set_valid(id);
                self.apply(changes, out);
                for child in self.tree.children(id).to_vec() {
                    self.consider(child, out);
                }
            }
        }
    }

    fn approval(&mut self, approval: VerifiedApproval, out: &mut Vec<Output>) {
        let id = approval.block();
        let Some(slot) = self.tree.header(id).map(|header| header.slot) else {
            // One honest member holds a block that as many approved as there is none without.
            let missing = self.pool.keep_unknown(approval) == self.honest_one();
            if missing && !self.orphans.contains(id) {
                out.push(Output::Fetch { id, height: None });
            }
            return;
        };
        if let Some(evidence) = self.pool.note_vote(slot, approval) {
            out.push(Output::Alarm(Box::new(evidence)));
        }
        if self.tree.is_certified(id) {
            return;
        }
        let quorum = self.tree.chain().roster().quorum();
        if let Some(approvals) = self.pool.add(approval, quorum) {
            out.push(Output::Aggregate(approvals));
        }
    }

    fn certificate(&mut self, certificate: VerifiedCertificate, out: &mut Vec<Output>) {
        match self.tree.certify(&certificate) {
            Ok(changes) => self.apply(changes, out),
            Err(UnknownBlock(id)) => {
                if self.floating.len() >= MAX_FLOATING {
                    self.floating.pop_first();
                }
                let new = self.floating.insert(id, certificate).is_none();
                if new && !self.orphans.contains(id) {
                    out.push(Output::Fetch { id, height: None });
                }
            }
        }
    }

    fn apply(&mut self, changes: Changes, out: &mut Vec<Output>) {
        for certificate in changes.certified {
            let id = certificate.block();
            self.pool.drop_block(id);
            out.push(Output::Certified(certificate));
            self.consider(id, out);
        }
        for id in changes.forgotten {
            self.pool.drop_block(id);
            self.validating.remove(&id);
            self.undecided.remove(&id);
        }
        if let Some(head) = changes.head {
            out.push(Output::Head(head));
        }
        if !changes.finalised.is_empty() {
            out.push(Output::Final(changes.finalised));
            self.orphans.forget_up_to(self.tree.root().height);
        }
        for evidence in changes.evidence {
            self.halted |= evidence.breaks_safety();
            out.push(Output::Alarm(Box::new(evidence)));
        }
    }

    /// Has a block validated if its verdict can matter: it is certified, or may still be voted for.
    fn consider(&mut self, id: BlockId, out: &mut Vec<Output>) {
        let Some(header) = self.tree.header(id) else {
            return;
        };
        let (slot, parent) = (header.slot, header.parent);
        let votable = slot <= self.slot && slot >= self.slot.saturating_sub(LATE_SLOTS);
        let matters = self.tree.is_certified(id) || votable;
        if matters
            && self.tree.validity(id) == Some(Validity::Unknown)
            && self.tree.validity(parent) == Some(Validity::Valid)
            && self.tree.is_on_final_chain(id)
            && !self.undecided.contains(&id)
            && self.validating.insert(id)
        {
            out.push(Output::Validate(id));
        }
    }
}

fn slot_at(tree: &BlockTree, now: UnixMs) -> Slot {
    // A checked chain spec has a positive duration.
    Slot::at(now.get(), tree.chain().spec().slots.duration_ms).unwrap_or_default()
}
