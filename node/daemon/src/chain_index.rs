//! What the store knows of the final chain: ids by height and history proofs.

use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;
use alys_protocol::history::{HistoryProof, history_leaf, history_node};
use alys_protocol::spec::Chain;
use alys_protocol::units::{ChainId, SideHeight};
use alys_store::schema::{Blocks, FinalChain, HistoryNodes, HistoryPlace};
use alys_store::{Batch, Store, StoreError};
use anyhow::Context as _;

/// Appends a final block to the index: its id at its height, its leaf, and every inner node that it completes.
pub(crate) fn append_leaf(
    chain_id: ChainId,
    store: &Store,
    batch: &mut Batch,
    pending: &mut Vec<(HistoryPlace, alys_protocol::bytes::Digest)>,
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

/// Proof that the final block `of` has the final block at `height` among its ancestors.
pub(crate) fn history_proof(
    store: &Store,
    of: SideHeight,
    height: SideHeight,
) -> anyhow::Result<HistoryProof> {
    HistoryProof::build_with(of, height, |first, level| {
        store
            .get::<HistoryNodes>(&HistoryPlace { first, level })
            .ok()
            .flatten()
    })
    .with_context(|| format!("history proof of height {height} below {of}"))
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

    #[test]
    fn stored_nodes_prove_what_the_peaks_commit_to() {
        let chain_id = ChainId::new(7);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), SpecDigest::ZERO).unwrap();
        let id = |height: u64| BlockId::new([height as u8; 32]);
        let mut peaks = Peaks::empty();
        for height in 0..21u64 {
            let mut batch = store.batch();
            append_leaf(
                chain_id,
                &store,
                &mut batch,
                &mut Vec::new(),
                SideHeight::new(height),
                id(height),
            )
            .unwrap();
            batch.commit().unwrap();
            peaks = peaks.append(chain_id, id(height)).unwrap();
            let of = SideHeight::new(height + 1);
            for below in 0..=height {
                let below = SideHeight::new(below);
                let proof = history_proof(&store, of, below).unwrap();
                proof
                    .verify(chain_id, peaks.root(chain_id), of, below, id(below.get()))
                    .unwrap();
            }
        }
    }
}
