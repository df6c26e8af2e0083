//! Confirmed blocks by height, with the blocks themselves kept in memory up to a limit.

use crate::chain::BlockPosition;
use crate::client::BitcoinClient;
use crate::error::RpcError;
use alys_protocol::units::BtcHeight;
use bitcoin::{Block, BlockHash};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// A block of the best chain under a number of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmedBlock {
    /// Height and hash.
    pub position: BlockPosition,
    /// 1 for the tip.
    pub confirmations: u32,
    /// The whole block.
    pub block: Arc<Block>,
}

/// Gives blocks of the node's present best chain; what a block contains is cached by its hash, what the best chain is
/// never.
#[derive(Debug)]
pub struct BlockCache {
    client: BitcoinClient,
    blocks: Mutex<RecentBlocks>,
}

impl BlockCache {
    /// A cache of at most `max_bytes` of serialised blocks; a block larger than that is given and not kept.
    pub fn new(client: BitcoinClient, max_bytes: usize) -> Self {
        Self {
            client,
            blocks: Mutex::new(RecentBlocks::new(max_bytes)),
        }
    }

    /// The block at a height, if it is in the best chain now with at least so many confirmations (1: it is there).
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn confirmed_block(
        &self,
        height: BtcHeight,
        confirmations: u32,
    ) -> Result<Option<ConfirmedBlock>, RpcError> {
        let Some(hash) = self.client.block_hash(height).await? else {
            return Ok(None);
        };
        // One answer tells both that the block is in the best chain and how deep: asking for the tip apart from
        // it could count the blocks of another chain.
        let Some(info) = self.client.header(hash).await? else {
            return Ok(None);
        };
        let Some(found) = info
            .confirmations
            .filter(|&found| found >= confirmations.max(1))
        else {
            return Ok(None);
        };
        Ok(self.block(hash).await?.map(|block| ConfirmedBlock {
            position: info.position,
            confirmations: found,
            block,
        }))
    }

    /// A block by its hash, in the best chain or not; `None` where the node does not know it.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn block(&self, hash: BlockHash) -> Result<Option<Arc<Block>>, RpcError> {
        if let Some(block) = self.recent(|recent| recent.find(&hash)) {
            return Ok(Some(block));
        }
        let Some(block) = self.client.block(hash).await? else {
            return Ok(None);
        };
        let block = Arc::new(block);
        self.recent(|recent| recent.insert(hash, Arc::clone(&block)));
        Ok(Some(block))
    }

    fn recent<T>(&self, action: impl FnOnce(&mut RecentBlocks) -> T) -> T {
        // A panic elsewhere may at most have lost an entry.
        action(&mut self.blocks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The least recently used block goes first.
#[derive(Debug)]
struct RecentBlocks {
    max_bytes: usize,
    bytes: usize,
    uses: u64,
    by_hash: HashMap<BlockHash, Entry>,
    by_use: BTreeMap<u64, BlockHash>,
}

#[derive(Debug)]
struct Entry {
    block: Arc<Block>,
    bytes: usize,
    last_use: u64,
}

impl RecentBlocks {
    fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            uses: 0,
            by_hash: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    fn find(&mut self, hash: &BlockHash) -> Option<Arc<Block>> {
        let entry = self.by_hash.get_mut(hash)?;
        self.uses += 1;
        self.by_use.remove(&entry.last_use);
        self.by_use.insert(self.uses, *hash);
        entry.last_use = self.uses;
        Some(Arc::clone(&entry.block))
    }

    fn insert(&mut self, hash: BlockHash, block: Arc<Block>) {
        let bytes = block.total_size();
        if bytes > self.max_bytes || self.by_hash.contains_key(&hash) {
            return;
        }
        while self.bytes + bytes > self.max_bytes {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            if let Some(entry) = self.by_hash.remove(&oldest) {
                self.bytes -= entry.bytes;
            }
        }
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, hash);
        self.by_hash.insert(
            hash,
            Entry {
                block,
                bytes,
                last_use: self.uses,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::constants::genesis_block;
    use bitcoin::hashes::Hash as _;
    use proptest::prelude::*;

    fn hash(number: u8) -> BlockHash {
        BlockHash::from_byte_array([number; 32])
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let block = Arc::new(genesis_block(bitcoin::Network::Regtest));
        let mut recent = RecentBlocks::new(block.total_size() * 2 + 1);
        recent.insert(hash(1), Arc::clone(&block));
        recent.insert(hash(2), Arc::clone(&block));
        assert!(recent.find(&hash(1)).is_some());
        recent.insert(hash(3), Arc::clone(&block));
        let found = [1, 2, 3].map(|number| recent.find(&hash(number)).is_some());
        assert_eq!(found, [true, false, true]);
    }

    proptest! {
        #[test]
        fn never_above_the_limit(max_blocks in 0usize..5, uses in prop::collection::vec((0u8..8, any::<bool>()), 0..60)) {
            let block = Arc::new(genesis_block(bitcoin::Network::Regtest));
            let mut recent = RecentBlocks::new(block.total_size() * max_blocks);
            for (number, insert) in uses {
                if insert {
                    recent.insert(hash(number), Arc::clone(&block));
                    prop_assert_eq!(recent.find(&hash(number)).is_some(), max_blocks > 0);
                } else {
                    recent.find(&hash(number));
                }
                prop_assert!(recent.by_hash.len() <= max_blocks);
                prop_assert_eq!(recent.bytes, recent.by_hash.len() * block.total_size());
                prop_assert_eq!(recent.by_use.len(), recent.by_hash.len());
            }
        }
    }
}
