//! Calls for miners: block templates and finished blocks.

use crate::client::BitcoinClient;
use crate::error::RpcError;
use alys_protocol::units::BtcHeight;
use bitcoin::block::Version;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Amount, Block, BlockHash, CompactTarget, ScriptBuf, Transaction, Txid};
use serde::Deserialize;
use serde_json::json;

/// What the next block may be (BIP-22, BIP-23, BIP-145).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTemplate {
    /// Version with the signals of present deployments.
    pub version: Version,
    /// The block that it builds on.
    pub parent: BlockHash,
    /// Height of the new block.
    pub height: BtcHeight,
    /// Difficulty.
    pub bits: CompactTarget,
    /// Earliest time allowed, Unix seconds.
    pub min_time: u32,
    /// The node's time, Unix seconds.
    pub current_time: u32,
    /// Subsidy and fees: the most that the coinbase may pay.
    pub coinbase_value: Amount,
    /// The coinbase's output script that commits to the witnesses of exactly these transactions (BIP-141).
    pub witness_commitment: Option<ScriptBuf>,
    /// Everything but the coinbase, in order.
    pub transactions: Vec<TemplateTransaction>,
}

/// A transaction of a [`BlockTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateTransaction {
    /// Its id.
    pub txid: Txid,
    /// The transaction.
    pub transaction: Transaction,
    /// Its fee.
    pub fee: Amount,
}

/// What a node made of a finished block (BIP-22).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockSubmission {
    /// It is valid and the new best block, or about to be.
    Accepted,
    /// The node has it already, and it is valid.
    AlreadyKnown,
    /// It is valid so far, and another block is better.
    NotBest,
    /// It is not valid.
    Rejected {
        /// The node's words.
        reason: String,
    },
}

#[derive(Deserialize)]
struct TemplateReply {
    version: i32,
    previousblockhash: BlockHash,
    transactions: Vec<TransactionReply>,
    coinbasevalue: u64,
    mintime: u32,
    curtime: u32,
    bits: String,
    height: u32,
    default_witness_commitment: Option<ScriptBuf>,
}

#[derive(Deserialize)]
struct TransactionReply {
    data: String,
    txid: Txid,
    fee: u64,
}

impl BitcoinClient {
    /// A template for the next block, under segwit rules.
    ///
    /// # Errors
    /// - [`RpcError::Malformed`] where the template cannot be decoded;
    /// - [`RpcError::Refused`] while a mainnet node has no peers or catches up;
    /// - any other [`RpcError`] where the node cannot be asked.
    pub async fn block_template(&self) -> Result<BlockTemplate, RpcError> {
        const METHOD: &str = "getblocktemplate";
        // Signet nodes insist on their own rule, too; naming it elsewhere does no harm (BIP-9: client's support).
        let params = [json!({ "rules": ["segwit", "signet"] })];
        let reply: TemplateReply = self.call(METHOD, &params).await?;
        let malformed = |error: &dyn std::fmt::Display| RpcError::malformed(METHOD, error);
        let bits =
            CompactTarget::from_unprefixed_hex(&reply.bits).map_err(|error| malformed(&error))?;
        let mut transactions = Vec::with_capacity(reply.transactions.len());
        for entry in reply.transactions {
            let transaction: Transaction =
                deserialize_hex(&entry.data).map_err(|error| malformed(&error))?;
            if transaction.compute_txid() != entry.txid {
                return Err(malformed(&format_args!("{} is not its id", entry.txid)));
            }
            transactions.push(TemplateTransaction {
                txid: entry.txid,
                transaction,
                fee: Amount::from_sat(entry.fee),
            });
        }
        Ok(BlockTemplate {
            version: Version::from_consensus(reply.version),
            parent: reply.previousblockhash,
            height: BtcHeight::new(reply.height),
            bits,
            min_time: reply.mintime,
            current_time: reply.curtime,
            coinbase_value: Amount::from_sat(reply.coinbasevalue),
            witness_commitment: reply.default_witness_commitment,
            transactions,
        })
    }

    /// Hands a finished block to the node. Safe to repeat.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked, or cannot decode the block.
    pub async fn submit_block(&self, block: &Block) -> Result<BlockSubmission, RpcError> {
        let params = [json!(serialize_hex(block))];
        let reply: Option<String> = self.call("submitblock", &params).await?;
        Ok(submission(reply))
    }
}

/// The answers of BIP-22 as Bitcoin Core uses them (`src/rpc/mining.cpp`).
fn submission(reply: Option<String>) -> BlockSubmission {
    match reply.as_deref() {
        None => BlockSubmission::Accepted,
        Some("duplicate") => BlockSubmission::AlreadyKnown,
        Some("inconclusive" | "duplicate-inconclusive") => BlockSubmission::NotBest,
        Some(reason) => BlockSubmission::Rejected {
            reason: reason.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_bip_22() {
        let answer = |text: &str| submission(Some(text.to_owned()));
        assert_eq!(submission(None), BlockSubmission::Accepted);
        assert_eq!(answer("duplicate"), BlockSubmission::AlreadyKnown);
        assert_eq!(answer("inconclusive"), BlockSubmission::NotBest);
        for bad in ["duplicate-invalid", "high-hash", "bad-txnmrklroot"] {
            assert_eq!(
                answer(bad),
                BlockSubmission::Rejected { reason: bad.into() }
            );
        }
    }
}
