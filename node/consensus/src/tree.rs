//! The tree of headers above a final root: who is whose parent, which blocks are certified, valid and final.

mod anchor;
mod error;
mod finality;
mod node;

pub use anchor::Anchor;
pub use error::{InsertError, RestoreError, UnknownBlock};
pub use node::{BlockRef, Validity};

use crate::evidence::Evidence;
use crate::verified::{VerifiedCertificate, VerifiedProposal};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;
use alys_protocol::history::Peaks;
use alys_protocol::spec::Chain;
use alys_protocol::units::{SideHeight, Slot};
use node::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Final blocks below the newest one that the tree keeps with their forks, so that a conflict that shows up late is
/// still seen for what it is.
pub(crate) const KEPT_FINAL: u64 = 64;

/// What a call changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Changes {
    /// Blocks that became certified, each by its first certificate.
    pub certified: Vec<VerifiedCertificate>,
    /// The new tip of the longest certified and valid chain.
    pub head: Option<BlockRef>,
    /// Blocks that became final, oldest first.
    pub finalised: Vec<BlockRef>,
    /// Blocks that the tree no longer holds.
    pub forgotten: Vec<BlockId>,
    /// What should never happen.
    pub evidence: Vec<Evidence>,
}

impl Changes {
    /// Adds what a later call changed.
    pub(crate) fn merge(&mut self, later: Self) {
        self.certified.extend(later.certified);
        self.head = later.head.or(self.head);
        self.finalised.extend(later.finalised);
        self.forgotten.extend(later.forgotten);
        self.evidence.extend(later.evidence);
    }
}

/// Headers from a final root upwards.
///
/// Invariants: every block but the root has its parent in the tree; every block with a child is certified; a block is
/// *settled* if it and all below it are certified and valid; `final` is settled and has all settled blocks at or above
/// its height as descendants, unless there is evidence that safety is broken.
#[derive(Debug, Clone)]
pub struct BlockTree {
    chain: Arc<Chain>,
    nodes: BTreeMap<BlockId, Node>,
    by_height: BTreeMap<SideHeight, Vec<BlockId>>,
    by_slot: BTreeMap<Slot, Vec<BlockId>>,
    uncertified: BTreeSet<(Slot, BlockId)>,
    root: BlockRef,
    /// Best settled block.
    head: BlockRef,
    /// Newest final block whose chain is settled.
    final_block: BlockRef,
    /// Newest final block that certificates prove, valid or not.
    proven: BlockRef,
    /// Greatest height of a certified block, valid or not.
    longest: SideHeight,
}

impl BlockTree {
    /// A tree that starts at genesis.
    pub fn new(chain: Arc<Chain>) -> Self {
        let anchor = Anchor::genesis(&chain);
        let root = Node::root(&anchor, None);
        Self::from_root(chain, root)
    }

    /// A tree that starts at a block which this node knows to be final and valid, from its own store.
    ///
    /// `certificate` is the root's; none for genesis.
    ///
    /// # Errors
    /// - [`RestoreError`] where anchor and certificate do not belong to this chain or to each other.
    pub fn restore(
        chain: Arc<Chain>,
        anchor: &Anchor,
        certificate: Option<VerifiedCertificate>,
    ) -> Result<Self, RestoreError> {
        anchor.check(&chain, certificate.as_ref())?;
        let root = Node::root(anchor, certificate);
        Ok(Self::from_root(chain, root))
    }

    fn from_root(chain: Arc<Chain>, node: Node) -> Self {
        let root = node.block_ref();
        Self {
            chain,
            by_height: BTreeMap::from([(root.height, vec![root.id])]),
            by_slot: BTreeMap::from([(node.header.slot, vec![root.id])]),
            uncertified: BTreeSet::new(),
            nodes: BTreeMap::from([(root.id, node)]),
            root,
            head: root,
            final_block: root,
            proven: root,
            longest: root.height,
        }
    }

    /// Takes a header in, with its parent's certificate, after checking the rules that need no more than its chain:
    /// version, chain id, epoch, height = parent's + 1, slot > parent's, history root = parent's history and id,
    /// certificate of the parent. (The leader of the slot signed it: [`VerifiedProposal`].)
    ///
    /// # Errors
    /// - one [`InsertError`] for each rule broken;
    /// - [`InsertError::UnknownParent`] where the parent is needed first.
    pub fn insert(&mut self, proposal: &VerifiedProposal) -> Result<Changes, InsertError> {
        let header = proposal.header();
        let id = proposal.id();
        self.check_chain(header)?;
        if self.nodes.contains_key(&id) {
            return Err(InsertError::Duplicate);
        }
        let Some(parent) = self.nodes.get(&header.parent) else {
            if header.height <= self.root.height {
                return Err(InsertError::BelowRoot {
                    root: self.root.height,
                    found: header.height,
                });
            }
            return Err(InsertError::UnknownParent {
                parent: header.parent,
            });
        };
        let node = parent.child(&self.chain, proposal)?;
        let parent_id = header.parent;
        let block = node.block_ref();
        self.nodes.insert(id, node);
        self.by_height.entry(block.height).or_default().push(id);
        self.by_slot.entry(header.slot).or_default().push(id);
        self.uncertified.insert((header.slot, id));
        if let Some(parent) = self.nodes.get_mut(&parent_id) {
            parent.children.push(id);
        }
        let mut changes = Changes::default();
        if let Some(certificate) = proposal.parent_certificate() {
            // The parent is in the tree: its absence was an error above.
            if let Ok(certified) = self.certify(certificate) {
                changes = certified;
            }
        }
        if self.validity(parent_id) == Some(Validity::Invalid) {
            changes.merge(self.set_invalid(id));
        }
        Ok(changes)
    }

    fn check_chain(&self, header: &Header) -> Result<(), InsertError> {
        let spec = self.chain.spec();
        if header.version != Header::VERSION {
            return Err(InsertError::Version {
                expected: Header::VERSION,
                found: header.version,
            });
        }
        if header.chain_id != spec.chain_id {
            return Err(InsertError::ChainId {
                expected: spec.chain_id,
                found: header.chain_id,
            });
        }
        if header.epoch != spec.epoch {
            return Err(InsertError::Epoch {
                expected: spec.epoch,
                found: header.epoch,
            });
        }
        Ok(())
    }

    /// Forgets blocks of slots before `slot` that nobody certified. Should one be certified after all, it is fetched.
    pub fn forget_uncertified_before(&mut self, slot: Slot) -> Changes {
        let keep = self.uncertified.split_off(&(slot, BlockId::ZERO));
        let stale = core::mem::replace(&mut self.uncertified, keep);
        let mut changes = Changes::default();
        for (_, id) in stale {
            self.remove(id, &mut changes);
        }
        changes
    }

    /// Takes one block out of all indices. Its children, if any, go by their own calls.
    fn remove(&mut self, id: BlockId, changes: &mut Changes) {
        let Some(node) = self.nodes.remove(&id) else {
            return;
        };
        if let Some(parent) = self.nodes.get_mut(&node.header.parent) {
            parent.children.retain(|child| *child != id);
        }
        forget(&mut self.by_height, node.header.height, id);
        forget(&mut self.by_slot, node.header.slot, id);
        self.uncertified.remove(&(node.header.slot, id));
        changes.forgotten.push(id);
    }

    /// The chain's parameters.
    pub fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// The oldest block held.
    pub const fn root(&self) -> BlockRef {
        self.root
    }

    /// The tip of the longest certified chain whose blocks are all valid, through the final block; of several equally
    /// long ones the one of the lowest slot, then of the lowest id.
    pub const fn head(&self) -> BlockRef {
        self.head
    }

    /// The newest final block, given every certificate and verdict known.
    pub const fn final_block(&self) -> BlockRef {
        self.final_block
    }

    /// Height of the longest certified chain known, valid or not.
    pub const fn longest_certified(&self) -> SideHeight {
        self.longest
    }

    /// Whether the tree holds the block.
    pub fn contains(&self, id: BlockId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// A block's header.
    pub fn header(&self, id: BlockId) -> Option<&Header> {
        self.nodes.get(&id).map(|node| &node.header)
    }

    /// A block's history: its root is the header's `history_root`.
    pub fn history(&self, id: BlockId) -> Option<&Peaks> {
        self.nodes.get(&id).map(|node| &node.history)
    }

    /// A block's certificate, if it has one yet (genesis never has).
    pub fn certificate(&self, id: BlockId) -> Option<&VerifiedCertificate> {
        self.nodes.get(&id)?.certificate.as_ref()
    }

    /// Whether a block is certified; the root always is.
    pub fn is_certified(&self, id: BlockId) -> bool {
        id == self.root.id || self.certificate(id).is_some()
    }

    /// The verdict on a block.
    pub fn validity(&self, id: BlockId) -> Option<Validity> {
        self.nodes.get(&id).map(|node| node.validity)
    }

    /// Whether the block and all below it are certified and valid.
    pub fn is_settled(&self, id: BlockId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.settled)
    }

    /// Blocks of one slot, in order of arrival.
    pub fn at_slot(&self, slot: Slot) -> &[BlockId] {
        self.by_slot.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// Children of a block, in order of arrival.
    pub fn children(&self, id: BlockId) -> &[BlockId] {
        self.nodes
            .get(&id)
            .map_or(&[], |node| node.children.as_slice())
    }

    /// F(B) of design 5: the newest final block implied by B's chain up to its parent and the parent's certificate.
    /// A pure function of B: two nodes never disagree about it.
    pub fn implied_final(&self, id: BlockId) -> Option<BlockRef> {
        self.nodes.get(&id).map(|node| node.implied_final)
    }

    /// F(B) of any child B of `parent`.
    pub fn implied_final_of_child(&self, parent: BlockId) -> Option<BlockRef> {
        self.nodes.get(&parent).map(Node::implied_final_of_child)
    }

    /// Whether a child B of `parent` needs a proof-of-work record: `F(B) - parent.pow.height > max_blocks_without_pow`
    /// (design 6).
    pub fn needs_pow(&self, parent: BlockId) -> Option<bool> {
        let parent = self.nodes.get(&parent)?;
        let distance = parent
            .implied_final_of_child()
            .height
            .saturating_sub(parent.header.pow.height.get());
        Some(distance.get() > self.chain.spec().mining.max_blocks_without_pow)
    }

    /// What [`BlockTree::restore`] needs to start at this block.
    pub fn anchor(&self, id: BlockId) -> Option<Anchor> {
        self.nodes.get(&id).map(Node::anchor)
    }

    /// Whether `ancestor` is `block` or below it. Blocks below the root count as ancestors.
    pub fn is_ancestor(&self, ancestor: BlockRef, block: BlockId) -> bool {
        let mut id = block;
        loop {
            let Some(node) = self.nodes.get(&id) else {
                return ancestor.height < self.root.height;
            };
            if node.header.height <= ancestor.height {
                return id == ancestor.id;
            }
            id = node.header.parent;
        }
    }

    pub(crate) fn signature(&self, id: BlockId) -> Option<&BlsSignature> {
        self.nodes.get(&id)?.signature.as_ref()
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, Vec<BlockId>>, key: K, id: BlockId) {
    if let Some(ids) = index.get_mut(&key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}
