//! What becomes durable when blocks are final.

use super::Driver;
use crate::chain_index::append_leaf;
use alys_consensus::BlockRef;
use alys_protocol::bytes::BlockId;
use alys_protocol::signer::FinalityEvidence;
use alys_protocol::units::SideHeight;
use alys_store::schema::{
    Batches, Blocks, FinalChain, Ledgers, Only, Position, Positions, Recent, RecentKey, Root,
};
use alys_store::{Store, StoreError};
use anyhow::Context as _;

/// Ledgers of final blocks that are kept, for people and for rebuilding.
const KEPT_LEDGERS: u64 = 64;
/// Stale blocks that are forgotten in one go.
const MAX_STALE: usize = 4096;

impl Driver {
    pub(super) fn finalised(&mut self, blocks: &[BlockRef]) -> anyhow::Result<()> {
        let Some(last) = blocks.last() else {
            return Ok(());
        };
        let store = self.tools.store.clone();
        let chain = self.tools.chain.clone();
        let mut batch = store.batch();
        let mut pending = Vec::new();
        if store.get::<FinalChain>(&chain.genesis().height)?.is_none() {
            let genesis = chain.genesis();
            append_leaf(
                chain.id(),
                &store,
                &mut batch,
                &mut pending,
                genesis.height,
                chain.genesis_id(),
            )?;
        }
        for block in blocks {
            append_leaf(
                chain.id(),
                &store,
                &mut batch,
                &mut pending,
                block.height,
                block.id,
            )?;
            let body = self
                .proposals
                .get(&block.id)
                .map(|proposal| &proposal.block.body);
            if body.is_some_and(|body| body.pow.is_some()) {
                batch.put::<Positions>(&Position::PowCarrier, &block.id)?;
            }
            // Rival siblings may record one batch; signers ask for the block that is final.
            if let Some(record) = body.and_then(|body| body.batch.as_ref()) {
                batch.put::<Batches>(&record.id(chain.id()), &block.id)?;
            }
        }
        let anchor = self
            .consensus
            .tree()
            .anchor(last.id)
            .context("a final block without anchor")?;
        batch.put::<Root>(&Only, &postcard::to_stdvec(&anchor)?)?;
        batch.put::<Positions>(&Position::Final, &last.id)?;
        batch.put::<Positions>(&Position::PowFinal, &anchor.header.pow.id)?;
        for entry in store.scan::<Recent>(&[], MAX_STALE)? {
            match RecentKey::from_bytes(&entry.key) {
                Some(key) if key.height <= last.height => batch.delete::<Recent>(&key)?,
                _above => break,
            }
        }
        let outdated = last.height.saturating_sub(KEPT_LEDGERS);
        let first_before = outdated.saturating_sub(blocks.len() as u64);
        for height in first_before.get()..outdated.get() {
            let height = SideHeight::new(height);
            if let Some(id) = store.get::<FinalChain>(&height)? {
                batch.delete::<Ledgers>(&id)?;
            }
        }
        batch.commit()?;
        metrics::gauge!("alys_final_height").set(last.height.get() as f64);
        metrics::gauge!("alys_pow_final_height").set(anchor.header.pow.height.get() as f64);
        self.forget_below(last.id);
        self.note_finality(*last);
        self.refresh_pegouts(last.id)?;
        self.set_heads();
        Ok(())
    }

    /// Drops what is no longer in the tree.
    fn forget_below(&mut self, root: BlockId) {
        let tree = self.consensus.tree();
        self.ledgers
            .retain(|id, _| *id == root || tree.contains(*id));
        self.proposals.retain(|id, proposal| {
            tree.contains(*id) || proposal.block.header.height > tree.root().height
        });
    }

    /// Drops blocks that consensus does not hold any more, and their traces in the store: siblings of slots long past that
    /// nobody certified, and orphans that made place for others. Should one be certified after all, it is fetched again.
    pub(super) fn forget_dropped(&mut self) -> anyhow::Result<()> {
        let (consensus, root) = (&self.consensus, self.consensus.tree().root().height);
        let dropped: Vec<RecentKey> = self
            .proposals
            .iter()
            .map(|(id, proposal)| RecentKey {
                height: proposal.block.header.height,
                id: *id,
            })
            .filter(|key| key.height > root && !consensus.holds(key.id))
            .collect();
        erase(&self.tools.store, &dropped)?;
        for RecentKey { id, .. } in dropped {
            self.proposals.remove(&id);
            self.ledgers.remove(&id);
        }
        Ok(())
    }

    /// Keeps the three headers and the certificate that show a final block to signers.
    fn note_finality(&mut self, block: BlockRef) {
        let tree = self.consensus.tree();
        let Some(header) = tree.header(block.id) else {
            return;
        };
        let Ok(parent) = self.header(header.parent) else {
            return;
        };
        let third = tree.children(block.id).iter().find_map(|child| {
            let child_header = tree.header(*child)?;
            let certificate = tree.certificate(*child)?;
            (child_header.slot.get() == header.slot.get().saturating_add(1))
                .then(|| (child_header.clone(), certificate.certificate().clone()))
        });
        if let Some((third, certificate)) = third {
            self.finality = Some(FinalityEvidence {
                headers: [parent, header.clone(), third],
                certificate,
            });
        }
    }
}

/// Takes blocks that are not final out of the store, so that they do not come back at the next start.
fn erase(store: &Store, blocks: &[RecentKey]) -> Result<(), StoreError> {
    if blocks.is_empty() {
        return Ok(());
    }
    let mut batch = store.batch();
    for key in blocks {
        batch.delete::<Recent>(key)?;
        batch.delete::<Ledgers>(&key.id)?;
        batch.delete::<Blocks>(&key.id)?;
    }
    batch.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alys_protocol::bytes::SpecDigest;

    #[test]
    fn dropped_blocks_do_not_come_back_at_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), SpecDigest::ZERO).unwrap();
        let [dropped, sibling, kept] = [(1, 7), (2, 7), (3, 8)].map(|(tag, height)| RecentKey {
            height: SideHeight::new(height),
            id: BlockId::new([tag; 32]),
        });
        let mut batch = store.batch();
        for key in [dropped, sibling, kept] {
            batch.put::<Recent>(&key, &()).unwrap();
            batch.put::<Ledgers>(&key.id, &vec![1]).unwrap();
        }
        batch.commit().unwrap();
        erase(&store, &[]).unwrap();
        erase(&store, &[dropped]).unwrap();
        let recent = store.scan::<Recent>(&[], 9).unwrap();
        let recent: Vec<_> = recent
            .iter()
            .map(|entry| RecentKey::from_bytes(&entry.key).unwrap())
            .collect();
        assert_eq!(recent, [sibling, kept]);
        assert!(!store.contains::<Ledgers>(&dropped.id).unwrap());
        assert!(store.contains::<Ledgers>(&sibling.id).unwrap());
    }
}
