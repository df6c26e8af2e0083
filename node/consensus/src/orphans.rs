//! Blocks whose parent has not arrived yet.

use crate::verified::VerifiedProposal;
use alys_protocol::bytes::BlockId;
use alys_protocol::units::{SideHeight, Slot};
use std::collections::VecDeque;

/// Orphans kept at most; the oldest makes place. A longer gap is fetched by range, which leaves none.
const MAX_ORPHANS: usize = 128;
/// Orphans of one slot at most: an honest leader makes one block per slot.
const MAX_PER_SLOT: usize = 4;

/// A bounded queue. Every orphan carries a verified certificate of its parent, so each parent does exist.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orphans(VecDeque<VerifiedProposal>);

impl Orphans {
    /// Keeps an orphan. Returns whether there was place for it.
    pub(crate) fn keep(&mut self, orphan: VerifiedProposal, wanted: bool) -> bool {
        let slot = orphan.header().slot;
        if self.contains(orphan.id()) {
            return true;
        }
        if !wanted && self.of_slot(slot) >= MAX_PER_SLOT {
            return false;
        }
        self.0.push_back(orphan);
        if self.0.len() > MAX_ORPHANS {
            self.0.pop_front();
        }
        true
    }

    fn of_slot(&self, slot: Slot) -> usize {
        let same = self.0.iter().filter(|orphan| orphan.header().slot == slot);
        same.count()
    }

    /// Whether the block waits here.
    pub(crate) fn contains(&self, id: BlockId) -> bool {
        self.0.iter().any(|orphan| orphan.id() == id)
    }

    /// Whether an orphan waits for this block.
    pub(crate) fn wait_for(&self, parent: BlockId) -> bool {
        self.0.iter().any(|orphan| orphan.header().parent == parent)
    }

    /// Takes out the children of a block that arrived.
    pub(crate) fn take_children(&mut self, parent: BlockId) -> Vec<VerifiedProposal> {
        let (children, rest) = core::mem::take(&mut self.0)
            .into_iter()
            .partition(|orphan| orphan.header().parent == parent);
        self.0 = rest;
        Vec::from(children)
    }

    /// Blocks to fetch: parents that are no orphans themselves, with their heights.
    pub(crate) fn missing(&self) -> Vec<(BlockId, SideHeight)> {
        let mut missing: Vec<_> = self
            .0
            .iter()
            .map(|orphan| {
                let header = orphan.header();
                (header.parent, header.height.saturating_sub(1))
            })
            .filter(|(parent, _)| !self.contains(*parent))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Drops orphans at or below a height that is decided.
    pub(crate) fn forget_up_to(&mut self, height: SideHeight) {
        self.0.retain(|orphan| orphan.header().height > height);
    }
}
