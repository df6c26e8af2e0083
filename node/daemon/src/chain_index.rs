//! What the store knows of the final chain: ids by height and history proofs.

use alys_protocol::bytes::{BlockId, Digest};
use alys_protocol::header::Header;
use alys_protocol::history::{HistoryProof, history_leaf, history_node};
use alys_protocol::spec::Chain;
use alys_protocol::units::{ChainId, SideHeight};
use alys_store::schema::{Blocks, FinalChain, HistoryNodes, HistoryPlace};
use alys_store::{Batch, Store, StoreError};
use anyhow::Context as _;
use std::collections::BTreeMap;

/// Appends a final block to the index: its id at its height, its leaf, and every inner node that it completes.
pub(crate) fn append_leaf(
    chain_id: ChainId,
    store: &Store,
    batch: &mut Batch,
    pending: &mut Vec<(HistoryPlace, Digest)>,
    height: SideHeight,
    id: BlockId,
) -> Result<(), StoreError> {
    batch.put::<FinalChain>(&height, &id)?;
    let mut place = HistoryPlace {
        first: height.get(),
        level: 0,
    };
    let mut node = history_leaf(chain_id, height, id);
    loop {
        batch.put::<HistoryNodes>(&place, &node)?;
        pending.push((place, node));
        // A node is a right child where the bit of its level is set in its first leaf; then its parent is complete.
        let size = 1u64 << place.level.min(63);
        if place.first & size == 0 {
            return Ok(());
        }
        let left = HistoryPlace {
            first: place.first - size,
            level: place.level,
        };
        let known = pending.iter().rev().find(|(found, _)| *found == left);
        let left_node = match known {
            Some((_, node)) => Some(*node),
            None => store.get::<HistoryNodes>(&left)?,
        };
        // The left sibling was written with an earlier height; without it the database is damaged, and proofs over
        // this range fail where they are asked for.
        let Some(left_node) = left_node else {
            return Ok(());
        };
        node = history_node(chain_id, &left_node, &node);
        place = HistoryPlace {
            first: left.first,
            level: place.level.saturating_add(1),
        };
    }
}

/// The history of a block: inner nodes from the store as far as the chain is final, the rest from the ids above.
pub(crate) struct History<'a> {
    pub(crate) chain_id: ChainId,
    pub(crate) store: &'a Store,
    /// Ids of the block's ancestors that may not be final yet; none needed for a final block.
    pub(crate) recent: &'a BTreeMap<SideHeight, BlockId>,
}

impl History<'_> {
    /// Proof that the block at height `of` has its ancestor at `height`.
    pub(crate) fn proof(&self, of: SideHeight, height: SideHeight) -> anyhow::Result<HistoryProof> {
        HistoryProof::build_with(of, height, |first, level| self.node(first, level))
            .with_context(|| format!("history proof of height {height} below {of}"))
    }

    fn node(&self, first: u64, level: u32) -> Option<Digest> {
        let place = HistoryPlace { first, level };
        // Complete nodes only are stored, so one that is there is of the final chain alone.
        if let Ok(Some(node)) = self.store.get::<HistoryNodes>(&place) {
            return Some(node);
        }
        let Some(below) = level.checked_sub(1) else {
            let height = SideHeight::new(first);
            let id = self.recent.get(&height)?;
            return Some(history_leaf(self.chain_id, height, *id));
        };
        let left = self.node(first, below)?;
        let right = self.node(first.checked_add(1u64.checked_shl(below)?)?, below)?;
        Some(history_node(self.chain_id, &left, &right))
    }
}

/// Proof that the final block at `of` has the final block at `height` among its ancestors.
pub(crate) fn history_proof(
    chain: &Chain,
    store: &Store,
    of: SideHeight,
    height: SideHeight,
) -> anyhow::Result<HistoryProof> {
    let history = History {
        chain_id: chain.id(),
        store,
        recent: &BTreeMap::new(),
    };
    history.proof(of, height)
}

/// The header of a stored block; genesis's where the id is genesis's.
pub(crate) fn header(chain: &Chain, store: &Store, id: BlockId) -> anyhow::Result<Header> {
    if id == chain.genesis_id() {
        return Ok(chain.genesis().clone());
    }
    let proposal = store
        .get::<Blocks>(&id)?
        .with_context(|| format!("block {id} is not stored"))?;
    Ok(proposal.block.header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alys_protocol::bytes::SpecDigest;
    use alys_protocol::history::Peaks;

    const CHAIN: ChainId = ChainId::new(7);

    fn id(height: u64) -> BlockId {
        BlockId::new([height as u8; 32])
    }

    fn append(store: &Store, height: u64) {
        let mut batch = store.batch();
        append_leaf(
            CHAIN,
            store,
            &mut batch,
            &mut Vec::new(),
            SideHeight::new(height),
            id(height),
        )
        .unwrap();
        batch.commit().unwrap();
    }

    fn peaks(leaves: u64) -> Peaks {
        (0..leaves).fold(Peaks::empty(), |peaks, height| {
            peaks.append(CHAIN, id(height)).unwrap()
        })
    }

    /// Proves every ancestor of the block at height `of` against the root that its header carries.
    fn prove_all(store: &Store, recent: &BTreeMap<SideHeight, BlockId>, of: u64) {
        let history = History {
            chain_id: CHAIN,
            store,
            recent,
        };
        let root = peaks(of).root(CHAIN);
        let of = SideHeight::new(of);
        for height in 0..of.get() {
            let below = SideHeight::new(height);
            let proof = history.proof(of, below).unwrap();
            proof.verify(CHAIN, root, of, below, id(height)).unwrap();
        }
        assert!(history.proof(of, of).is_err());
    }

    #[test]
    fn stored_nodes_prove_what_the_peaks_commit_to() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), SpecDigest::ZERO).unwrap();
        for height in 0..21 {
            append(&store, height);
            prove_all(&store, &BTreeMap::new(), height + 1);
        }
    }

    #[test]
    fn blocks_above_the_final_one_are_proven_from_their_ids() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), SpecDigest::ZERO).unwrap();
        // Before anything is final, and then with ever less above it.
        for stored in 0..40u64 {
            for of in [stored + 1, stored + 2, stored + 7, 40] {
                let overlap = stored.saturating_sub(3);
                let recent = (overlap..of)
                    .map(|height| (SideHeight::new(height), id(height)))
                    .collect();
                prove_all(&store, &recent, of);
            }
            append(&store, stored);
        }
    }

    #[test]
    fn a_gap_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), SpecDigest::ZERO).unwrap();
        append(&store, 0);
        let recent = BTreeMap::from([(SideHeight::new(2), id(2))]);
        let history = History {
            chain_id: CHAIN,
            store: &store,
            recent: &recent,
        };
        let three = SideHeight::new(3);
        assert!(history.proof(three, SideHeight::new(0)).is_err());
        assert!(history.proof(three, SideHeight::new(2)).is_err());
    }
}
