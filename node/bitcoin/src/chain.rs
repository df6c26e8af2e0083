//! Calls about blocks and the best chain.

use crate::client::BitcoinClient;
use crate::error::{RpcCode, RpcError, absent_on};
use alys_protocol::units::BtcHeight;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hashes::Hash as _;
use bitcoin::{Block, BlockHash, CompactTarget, TxMerkleNode};
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::time::Duration;

/// Longest wait that one call may ask of the node; `corepc-client` gives up after 60 s.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A block's place and identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockPosition {
    /// Its height.
    pub height: BtcHeight,
    /// Its hash.
    pub hash: BlockHash,
}

impl fmt::Display for BlockPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.height, self.hash)
    }
}

/// The node's view of its best chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInfo {
    /// The best block.
    pub tip: BlockPosition,
    /// Height of the best header that the node knows; above the tip while it catches up.
    pub headers: BtcHeight,
    /// Median time of the last 11 blocks, Unix seconds (BIP-113).
    pub median_time: u32,
    /// Whether the node still catches up with the network.
    pub initial_block_download: bool,
    /// Whether it forgets old blocks.
    pub pruned: bool,
}

/// A header and its place in the node's block tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderInfo {
    /// Height and hash.
    pub position: BlockPosition,
    /// The header; its hash is the position's.
    pub header: Header,
    /// 1 for the tip; `None` where the block is not in the best chain.
    pub confirmations: Option<u32>,
    /// Median time of this block and the 10 before it, Unix seconds (BIP-113).
    pub median_time: u32,
}

#[derive(Deserialize)]
struct ChainInfoReply {
    blocks: u32,
    headers: u32,
    bestblockhash: BlockHash,
    mediantime: u32,
    initialblockdownload: bool,
    pruned: bool,
}

#[derive(Deserialize)]
struct HeaderReply {
    confirmations: i64,
    height: u32,
    version: i32,
    merkleroot: TxMerkleNode,
    time: u32,
    mediantime: u32,
    nonce: u32,
    bits: String,
    previousblockhash: Option<BlockHash>,
}

#[derive(Deserialize)]
struct PositionReply {
    hash: BlockHash,
    height: u32,
}

impl BitcoinClient {
    /// The best chain's tip and the node's state of sync, as of one moment.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn chain_info(&self) -> Result<ChainInfo, RpcError> {
        let reply: ChainInfoReply = self.call("getblockchaininfo", &[]).await?;
        Ok(ChainInfo {
            tip: BlockPosition {
                height: BtcHeight::new(reply.blocks),
                hash: reply.bestblockhash,
            },
            headers: BtcHeight::new(reply.headers),
            median_time: reply.mediantime,
            initial_block_download: reply.initialblockdownload,
            pruned: reply.pruned,
        })
    }

    /// The best block.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn tip(&self) -> Result<BlockPosition, RpcError> {
        Ok(self.chain_info().await?.tip)
    }

    /// Median time of the best block, Unix seconds (BIP-113).
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn median_time(&self) -> Result<u32, RpcError> {
        Ok(self.chain_info().await?.median_time)
    }

    /// Hash of the best chain's block at a height; `None` above the tip.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn block_hash(&self, height: BtcHeight) -> Result<Option<BlockHash>, RpcError> {
        let reply = self.call("getblockhash", &[json!(height.get())]).await;
        absent_on(RpcCode::INVALID_PARAMETER, reply)
    }

    /// A header, in the best chain or not; `None` where the node never saw it.
    ///
    /// # Errors
    /// - [`RpcError::Malformed`] where the answer does not hash to `hash`;
    /// - any other [`RpcError`] where the node cannot be asked.
    pub async fn header(&self, hash: BlockHash) -> Result<Option<HeaderInfo>, RpcError> {
        const METHOD: &str = "getblockheader";
        let reply = self.call(METHOD, &[json!(hash), json!(true)]).await;
        let Some(reply) = absent_on::<HeaderReply>(RpcCode::NOT_FOUND, reply)? else {
            return Ok(None);
        };
        let bits = CompactTarget::from_unprefixed_hex(&reply.bits)
            .map_err(|error| RpcError::malformed(METHOD, error))?;
        let header = Header {
            version: Version::from_consensus(reply.version),
            prev_blockhash: reply.previousblockhash.unwrap_or(BlockHash::all_zeros()),
            merkle_root: reply.merkleroot,
            time: reply.time,
            bits,
            nonce: reply.nonce,
        };
        expect_hash(METHOD, hash, header.block_hash())?;
        Ok(Some(HeaderInfo {
            position: BlockPosition {
                height: BtcHeight::new(reply.height),
                hash,
            },
            header,
            // -1: not in the best chain.
            confirmations: u32::try_from(reply.confirmations).ok(),
            median_time: reply.mediantime,
        }))
    }

    /// The headers from `first` to `last`, both included, which were all in one best chain; `None` where the chain is
    /// shorter than `last`.
    ///
    /// # Errors
    /// - [`RpcError::Malformed`] where the answers do not link up;
    /// - any other [`RpcError`] where the node cannot be asked.
    pub async fn headers(
        &self,
        first: BtcHeight,
        last: BtcHeight,
    ) -> Result<Option<Vec<HeaderInfo>>, RpcError> {
        let Some(mut hash) = self.block_hash(last).await? else {
            return Ok(None);
        };
        let mut headers = Vec::new();
        // Backwards along the parents, so that a reorganisation in between cannot mix two chains.
        for height in (first.get()..=last.get()).rev() {
            let info = self.header(hash).await?.ok_or_else(|| {
                RpcError::malformed("getblockheader", format!("header {hash} vanished"))
            })?;
            if info.position.height.get() != height {
                let found = info.position.height;
                return Err(RpcError::malformed(
                    "getblockheader",
                    format!("expected height {height} for {hash}, found {found}"),
                ));
            }
            hash = info.header.prev_blockhash;
            headers.push(info);
        }
        headers.reverse();
        Ok(Some(headers))
    }

    /// A whole block, in the best chain or not; `None` where the node does not know it.
    ///
    /// The block's hash and Merkle root are checked; its validity is the node's business.
    ///
    /// # Errors
    /// - [`RpcError::Malformed`] where the answer is not that block;
    /// - [`RpcError::Refused`] where the node knows it but has pruned it;
    /// - any other [`RpcError`] where the node cannot be asked.
    pub async fn block(&self, hash: BlockHash) -> Result<Option<Block>, RpcError> {
        const METHOD: &str = "getblock";
        let reply = self.call(METHOD, &[json!(hash), json!(0)]).await;
        let Some(hex) = absent_on::<String>(RpcCode::NOT_FOUND, reply)? else {
            return Ok(None);
        };
        let block: Block =
            deserialize_hex(&hex).map_err(|error| RpcError::malformed(METHOD, error))?;
        expect_hash(METHOD, hash, block.block_hash())?;
        if !block.check_merkle_root() {
            let reason = format!("the transactions of {hash} do not match its Merkle root");
            return Err(RpcError::malformed(METHOD, reason));
        }
        Ok(Some(block))
    }

    /// Waits until the best chain has a block at a height, and returns its hash; says where the node is each time that
    /// nothing came for `wait`.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn wait_for_hash(
        &self,
        height: BtcHeight,
        wait: Duration,
        mut still_waiting: impl FnMut(&ChainInfo),
    ) -> Result<BlockHash, RpcError> {
        loop {
            if let Some(hash) = self.block_hash(height).await? {
                return Ok(hash);
            }
            still_waiting(&self.chain_info().await?);
            match self.wait_for_height(height, wait).await {
                // A node that is gone for good is noticed by the next call, which is repeated for a while.
                Ok(_) => {}
                Err(error) if error.is_unreachable() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the best chain is at least this high, or until the time is over, and says what the tip is then.
    ///
    /// The node answers at the very moment (long polling). `wait` is cut to 30 s. Made once: an error may come at any
    /// time, for instance when the node stops.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn wait_for_height(
        &self,
        height: BtcHeight,
        wait: Duration,
    ) -> Result<BlockPosition, RpcError> {
        // At least 1 ms: zero means for ever.
        let wait = wait.clamp(Duration::from_millis(1), MAX_WAIT);
        let params = [json!(height.get()), json!(wait.as_millis() as u64)];
        let limit = wait + Duration::from_secs(10);
        let reply: PositionReply = self.call_once("waitforblockheight", &params, limit).await?;
        Ok(BlockPosition {
            height: BtcHeight::new(reply.height),
            hash: reply.hash,
        })
    }
}

fn expect_hash(
    method: &'static str,
    expected: BlockHash,
    found: BlockHash,
) -> Result<(), RpcError> {
    if expected == found {
        return Ok(());
    }
    Err(RpcError::malformed(
        method,
        format!("expected block {expected}, found {found}"),
    ))
}
