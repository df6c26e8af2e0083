//! Calls about unspent outputs.

use crate::chain::BlockPosition;
use crate::client::BitcoinClient;
use crate::error::RpcError;
use alys_protocol::units::BtcHeight;
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, TxOut, Txid};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// A scan reads the whole set of unspent outputs: minutes on mainnet.
const SCAN_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// An output that is unspent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnspentOutput {
    /// The best block when the node answered.
    pub best_block: BlockHash,
    /// 0 in the mempool, 1 in the best block.
    pub confirmations: u32,
    /// Amount and script.
    pub output: TxOut,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// What a scan found, as of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnspentScan {
    /// The best block at the scan's start; the answer holds for it.
    pub at: BlockPosition,
    /// Every confirmed unspent output that pays to one of the descriptors, by outpoint.
    pub outputs: Vec<ScannedOutput>,
}

/// One output of an [`UnspentScan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedOutput {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Amount and script.
    pub output: TxOut,
    /// Height of the block that made it.
    pub height: BtcHeight,
}

#[derive(Deserialize)]
struct TxOutReply {
    bestblock: BlockHash,
    confirmations: u32,
    #[serde(with = "bitcoin::amount::serde::as_btc")]
    value: Amount,
    #[serde(rename = "scriptPubKey")]
    script: ScriptReply,
    coinbase: bool,
}

#[derive(Deserialize)]
struct ScriptReply {
    hex: ScriptBuf,
}

#[derive(Deserialize)]
struct ScanReply {
    success: bool,
    height: u32,
    bestblock: BlockHash,
    unspents: Vec<ScannedReply>,
}

#[derive(Deserialize)]
struct ScannedReply {
    txid: Txid,
    vout: u32,
    #[serde(rename = "scriptPubKey")]
    script: ScriptBuf,
    #[serde(with = "bitcoin::amount::serde::as_btc")]
    amount: Amount,
    height: u32,
}

impl BitcoinClient {
    /// An unspent output; `None` where it is spent or never existed.
    ///
    /// With `mempool`, outputs of unconfirmed transactions count, and outputs which these spend do not.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn unspent_output(
        &self,
        outpoint: OutPoint,
        mempool: bool,
    ) -> Result<Option<UnspentOutput>, RpcError> {
        let params = [json!(outpoint.txid), json!(outpoint.vout), json!(mempool)];
        let reply: Option<TxOutReply> = self.call("gettxout", &params).await?;
        Ok(reply.map(|reply| UnspentOutput {
            best_block: reply.bestblock,
            confirmations: reply.confirmations,
            output: TxOut {
                value: reply.value,
                script_pubkey: reply.script.hex,
            },
            coinbase: reply.coinbase,
        }))
    }

    /// Every confirmed unspent output that pays to one of these output descriptors (BIP-380, without checksum or with),
    /// found by reading the node's whole set; seconds on a test chain, minutes on mainnet.
    ///
    /// # Errors
    /// - [`RpcError::Refused`] where a descriptor is invalid or another scan is under way;
    /// - any other [`RpcError`] where the node cannot be asked.
    pub async fn scan_unspent(&self, descriptors: &[String]) -> Result<UnspentScan, RpcError> {
        const METHOD: &str = "scantxoutset";
        let params = [json!("start"), json!(descriptors)];
        let reply: ScanReply = self.call_long(METHOD, &params, SCAN_TIMEOUT).await?;
        if !reply.success {
            return Err(RpcError::malformed(METHOD, "the scan was aborted"));
        }
        let mut outputs: Vec<_> = reply
            .unspents
            .into_iter()
            .map(|found| ScannedOutput {
                outpoint: OutPoint::new(found.txid, found.vout),
                output: TxOut {
                    value: found.amount,
                    script_pubkey: found.script,
                },
                height: BtcHeight::new(found.height),
            })
            .collect();
        outputs.sort_by_key(|found| found.outpoint);
        Ok(UnspentScan {
            at: BlockPosition {
                height: BtcHeight::new(reply.height),
                hash: reply.bestblock,
            },
            outputs,
        })
    }
}
