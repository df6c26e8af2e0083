//! One honest member: the state machine, what survives a crash, and its signer.

use crate::federation::GENESIS_SLOT;
use crate::signer::{RecordingSigner, Request};
use alys_consensus::{
    Anchor, BlockRef, BlockTree, Consensus, UnixMs, VerifiedCertificate, VerifiedProposal,
    VotingState,
};
use alys_protocol::bytes::BlockId;
use alys_protocol::spec::Chain;
use alys_protocol::units::{MemberId, SideHeight, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A block as it travels.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) proposal: VerifiedProposal,
    /// Its payload breaks a rule.
    pub(super) broken: bool,
}

/// What a node wrote to its disk.
#[derive(Default)]
pub(super) struct Store {
    pub(super) blocks: BTreeMap<BlockId, Arc<Block>>,
    pub(super) certificates: BTreeMap<BlockId, VerifiedCertificate>,
    pub(super) valid: BTreeSet<BlockId>,
    pub(super) anchor: Option<Anchor>,
    pub(super) final_block: Option<BlockRef>,
}

pub(super) struct Node {
    /// None while crashed.
    pub(super) consensus: Option<Consensus>,
    /// Counts restarts, so that what was under way before a crash is dropped.
    pub(super) life: u64,
    pub(super) store: Store,
    pub(super) signer: RecordingSigner,
    /// How much its clock is ahead, in milliseconds; the world's origin keeps it positive.
    pub(super) ahead: u64,
    pub(super) wake: Option<UnixMs>,
    pub(super) head: Option<SideHeight>,
}

impl Node {
    pub(super) fn new(ahead: u64) -> Self {
        Self {
            consensus: None,
            life: 0,
            store: Store::default(),
            signer: RecordingSigner::default(),
            ahead,
            wake: None,
            head: None,
        }
    }

    pub(super) fn clock(&self, now: u64) -> UnixMs {
        UnixMs::new(now + self.ahead)
    }

    pub(super) fn crash(&mut self) {
        self.consensus = None;
        self.life += 1;
        self.wake = None;
        self.head = None;
    }

    /// Starts from what is stored. Returns the blocks to put in again.
    pub(super) fn start(&mut self, chain: &Arc<Chain>, member: usize, now: u64) -> Vec<Arc<Block>> {
        let tree = match &self.store.anchor {
            None => BlockTree::new(chain.clone()),
            Some(anchor) => {
                let certificate = self.store.certificates.get(&anchor.header.id()).cloned();
                BlockTree::restore(chain.clone(), anchor, certificate).unwrap()
            }
        };
        let root = tree.root().height;
        let mut blocks: Vec<_> = self
            .store
            .blocks
            .values()
            .filter(|block| block.proposal.header().height > root)
            .cloned()
            .collect();
        blocks.sort_by_key(|block| (block.proposal.header().height, block.proposal.id()));
        let voting = VotingState {
            last_slot: Slot::new(GENESIS_SLOT + self.signer.signer.last_slot),
            lock: SideHeight::new(self.signer.signer.lock),
        };
        let member = MemberId::new(u16::try_from(member).unwrap());
        self.consensus = Some(Consensus::new(tree, Some(member), voting, self.clock(now)));
        blocks
    }

    /// Asks the signer, which decides on what it is shown: header, parent and the parent's certificate.
    pub(super) fn ask_signer(&mut self, chain: &Chain, id: BlockId) -> Result<(), String> {
        let header = self.store.blocks[&id].proposal.header();
        let (slot, height) = match self.store.blocks.get(&header.parent) {
            Some(parent) => (
                parent.proposal.header().slot,
                parent.proposal.header().height,
            ),
            None => (chain.genesis().slot, chain.genesis().height),
        };
        let request = Request {
            slot: header.slot.get() - GENESIS_SLOT,
            parent_slot: slot.get() - GENESIS_SLOT,
            parent_height: height.get(),
            // The block was taken in with it.
            parent_certified: true,
        };
        self.signer
            .approve(id, request)
            .map_err(|refused| format!("{refused:?}"))
    }
}
