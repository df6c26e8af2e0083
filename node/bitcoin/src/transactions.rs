//! Calls about transactions: broadcast, mempool, lookup.

use crate::client::BitcoinClient;
use crate::error::{RpcCode, RpcError, absent_on};
use alys_protocol::units::SatsPerKvb;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Amount, BlockHash, OutPoint, Transaction, Txid};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

/// How a transaction got to where it should be. Each is a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broadcast {
    /// The mempool took it just now.
    Accepted,
    /// It was in the mempool; the node announces it again.
    AlreadyInMempool,
    /// It is in the best chain.
    AlreadyConfirmed,
}

/// Why a transaction could not be broadcast.
#[derive(Debug, Error)]
pub enum BroadcastError {
    /// An input does not exist or is spent by a confirmed transaction. Also the answer for a confirmed transaction all
    /// of whose outputs are spent, where the node has no `txindex` to tell.
    #[error("inputs missing or spent: {reason}")]
    InputsMissing {
        /// The node's words.
        reason: String,
    },
    /// The mempool holds another transaction with one of the inputs, and this one does not pay enough to replace it.
    #[error("conflicts with a transaction in the mempool: {reason}")]
    Conflict {
        /// The node's words.
        reason: String,
    },
    /// Its fee is below what the node relays at present.
    #[error("fee too low: {reason}")]
    FeeTooLow {
        /// The node's words.
        reason: String,
    },
    /// Consensus or relay rules forbid it for another reason.
    #[error("rejected: {reason} (code {code})")]
    Rejected {
        /// The node's error code.
        code: RpcCode,
        /// The node's words.
        reason: String,
    },
    /// The node could not be asked.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// Whether the mempool would take a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MempoolVerdict {
    /// It would.
    Accepted {
        /// Virtual size in vbytes (BIP-141).
        vsize: u64,
        /// Its fee.
        fee: Amount,
    },
    /// It would not.
    Rejected {
        /// The node's words.
        reason: String,
    },
}

/// A transaction that waits in the mempool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MempoolEntry {
    /// Virtual size in vbytes (BIP-141).
    pub vsize: u64,
    /// Its fee.
    pub fee: Amount,
    /// Its own fee rate, rounded down.
    pub fee_rate: SatsPerKvb,
    /// Transactions in the mempool that it spends from, directly or not, itself included.
    pub ancestors: u64,
    /// Transactions in the mempool that spend from it, directly or not, itself included.
    pub descendants: u64,
}

/// A transaction and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionStatus {
    /// The transaction.
    pub transaction: Transaction,
    /// Its block in the best chain; `None` in the mempool.
    pub block: Option<BlockHash>,
    /// 0 in the mempool, 1 in the best block.
    pub confirmations: u32,
}

#[derive(Deserialize)]
struct AcceptReply {
    allowed: bool,
    vsize: Option<u64>,
    fees: Option<BaseFee>,
    #[serde(rename = "reject-reason")]
    reject_reason: Option<String>,
}

#[derive(Deserialize)]
struct BaseFee {
    #[serde(with = "bitcoin::amount::serde::as_btc")]
    base: Amount,
}

#[derive(Deserialize)]
struct EntryReply {
    vsize: u64,
    fees: BaseFee,
    ancestorcount: u64,
    descendantcount: u64,
}

#[derive(Deserialize)]
struct TransactionReply {
    hex: String,
    blockhash: Option<BlockHash>,
    /// Absent in the mempool; -1 or 0 in a block outside the best chain.
    #[serde(default)]
    confirmations: i64,
}

impl BitcoinClient {
    /// Brings a transaction to the network. Safe to repeat: being there already is a success.
    ///
    /// # Errors
    /// - [`BroadcastError`] with the reason of the node's refusal, or the failure to ask it.
    pub async fn broadcast(&self, transaction: &Transaction) -> Result<Broadcast, BroadcastError> {
        let txid = transaction.compute_txid();
        let waits = self.mempool_entry(txid).await?.is_some();
        let params = [json!(serialize_hex(transaction))];
        let error = match self.call::<Txid>("sendrawtransaction", &params).await {
            Ok(found) if found == txid && waits => return Ok(Broadcast::AlreadyInMempool),
            Ok(found) if found == txid => return Ok(Broadcast::Accepted),
            Ok(found) => {
                let reason = format!("expected txid {txid}, found {found}");
                return Err(RpcError::malformed("sendrawtransaction", reason).into());
            }
            Err(error) => error,
        };
        let RpcError::Refused { code, message, .. } = error else {
            return Err(error.into());
        };
        match classify_refusal(code, message) {
            Refusal::AlreadyConfirmed => Ok(Broadcast::AlreadyConfirmed),
            // A confirmed transaction's inputs are spent: by itself.
            Refusal::Error(error @ BroadcastError::InputsMissing { .. }) => {
                if self.is_confirmed(transaction, txid).await? {
                    Ok(Broadcast::AlreadyConfirmed)
                } else {
                    Err(error)
                }
            }
            Refusal::Error(error) => Err(error),
        }
    }

    async fn is_confirmed(&self, transaction: &Transaction, txid: Txid) -> Result<bool, RpcError> {
        if let Some(status) = self.transaction(txid, None).await? {
            return Ok(status.block.is_some());
        }
        // Without `txindex` an unspent output gives it away.
        for vout in 0..transaction.output.len() as u32 {
            let outpoint = OutPoint { txid, vout };
            if let Some(found) = self.unspent_output(outpoint, false).await? {
                return Ok(found.confirmations > 0);
            }
        }
        Ok(false)
    }

    /// Whether the mempool would take a transaction, without giving it.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn test_mempool_accept(
        &self,
        transaction: &Transaction,
    ) -> Result<MempoolVerdict, RpcError> {
        const METHOD: &str = "testmempoolaccept";
        let params = [json!([serialize_hex(transaction)])];
        let [reply]: [AcceptReply; 1] = self.call(METHOD, &params).await?;
        match (reply.allowed, reply.vsize, reply.fees) {
            (true, Some(vsize), Some(fees)) => Ok(MempoolVerdict::Accepted {
                vsize,
                fee: fees.base,
            }),
            (true, _, _) => Err(RpcError::malformed(METHOD, "no size or fee")),
            (false, _, _) => Ok(MempoolVerdict::Rejected {
                reason: reply.reject_reason.unwrap_or_default(),
            }),
        }
    }

    /// A transaction's entry in the mempool, or `None` where it is not there.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked.
    pub async fn mempool_entry(&self, txid: Txid) -> Result<Option<MempoolEntry>, RpcError> {
        let reply = self.call("getmempoolentry", &[json!(txid)]).await;
        let reply: Option<EntryReply> = absent_on(RpcCode::NOT_FOUND, reply)?;
        Ok(reply.map(|reply| MempoolEntry {
            vsize: reply.vsize,
            fee: reply.fees.base,
            fee_rate: SatsPerKvb::new(
                reply
                    .fees
                    .base
                    .to_sat()
                    .saturating_mul(1000)
                    .checked_div(reply.vsize)
                    .unwrap_or_default(),
            ),
            ancestors: reply.ancestorcount,
            descendants: reply.descendantcount,
        }))
    }

    /// A transaction and where it is; `None` where the node cannot find it.
    ///
    /// Without `block` the node looks into its mempool and, where it has `txindex`, into its best chain; with `block`
    /// into that block.
    ///
    /// # Errors
    /// - [`RpcError::Malformed`] where the answer is another transaction;
    /// - any other [`RpcError`] where the node cannot be asked.
    pub async fn transaction(
        &self,
        txid: Txid,
        block: Option<BlockHash>,
    ) -> Result<Option<TransactionStatus>, RpcError> {
        const METHOD: &str = "getrawtransaction";
        let mut params = vec![json!(txid), json!(1)];
        params.extend(block.map(|hash| json!(hash)));
        let reply = self.call(METHOD, &params).await;
        let Some(reply) = absent_on::<TransactionReply>(RpcCode::NOT_FOUND, reply)? else {
            return Ok(None);
        };
        let transaction: Transaction =
            deserialize_hex(&reply.hex).map_err(|error| RpcError::malformed(METHOD, error))?;
        if transaction.compute_txid() != txid {
            return Err(RpcError::malformed(
                METHOD,
                format!("expected {txid}, found {}", transaction.compute_txid()),
            ));
        }
        let confirmations = u32::try_from(reply.confirmations).unwrap_or_default();
        Ok(Some(TransactionStatus {
            transaction,
            // A block that left the best chain confirms nothing.
            block: reply.blockhash.filter(|_| confirmations > 0),
            confirmations,
        }))
    }
}

enum Refusal {
    AlreadyConfirmed,
    Error(BroadcastError),
}

/// Sorts the refusals of `sendrawtransaction` (Bitcoin Core `src/node/transaction.cpp`, `src/validation.cpp`).
fn classify_refusal(code: RpcCode, reason: String) -> Refusal {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    Refusal::Error(match code {
        RpcCode::ALREADY_IN_UTXO_SET => return Refusal::AlreadyConfirmed,
        _ if says(&["bad-txns-inputs-missingorspent", "missing-inputs"]) => {
            BroadcastError::InputsMissing { reason }
        }
        RpcCode::VERIFY_REJECTED
            if says(&[
                "insufficient fee",
                "txn-mempool-conflict",
                "replacement-adds-unconfirmed",
                "too many potential replacements",
            ]) =>
        {
            BroadcastError::Conflict { reason }
        }
        RpcCode::VERIFY_REJECTED
            if says(&[
                "min relay fee not met",
                "mempool min fee not met",
                "mempool full",
            ]) =>
        {
            BroadcastError::FeeTooLow { reason }
        }
        RpcCode::VERIFY | RpcCode::VERIFY_REJECTED => BroadcastError::Rejected { code, reason },
        _ => BroadcastError::Rpc(RpcError::Refused {
            method: "sendrawtransaction",
            code,
            message: reason,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let sorted = |code: RpcCode, reason: &str| match classify_refusal(code, reason.into()) {
            Refusal::AlreadyConfirmed => "confirmed",
            Refusal::Error(BroadcastError::InputsMissing { .. }) => "inputs",
            Refusal::Error(BroadcastError::Conflict { .. }) => "conflict",
            Refusal::Error(BroadcastError::FeeTooLow { .. }) => "fee",
            Refusal::Error(BroadcastError::Rejected { .. }) => "rejected",
            Refusal::Error(BroadcastError::Rpc(_)) => "rpc",
        };
        for (code, reason, expected) in [
            (
                RpcCode::ALREADY_IN_UTXO_SET,
                "Transaction outputs already in utxo set",
                "confirmed",
            ),
            (RpcCode::VERIFY, "bad-txns-inputs-missingorspent", "inputs"),
            (
                RpcCode::VERIFY_REJECTED,
                "insufficient fee, rejecting replacement",
                "conflict",
            ),
            (RpcCode::VERIFY_REJECTED, "txn-mempool-conflict", "conflict"),
            (
                RpcCode::VERIFY_REJECTED,
                "min relay fee not met, 0 < 19",
                "fee",
            ),
            (
                RpcCode::VERIFY_REJECTED,
                "mempool min fee not met, 10 < 19",
                "fee",
            ),
            (RpcCode::VERIFY_REJECTED, "scriptpubkey", "rejected"),
            (
                RpcCode::VERIFY,
                "Fee exceeds maximum configured by user",
                "rejected",
            ),
            (RpcCode::new(-22), "TX decode failed", "rpc"),
        ] {
            assert_eq!(sorted(code, reason), expected, "{reason}");
        }
    }
}
