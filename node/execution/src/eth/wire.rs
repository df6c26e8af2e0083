//! The JSON of blocks, receipts, logs and proofs, and what it stands for.

use super::ExecutionBlock;
use crate::receipt::{Log, Receipt};
use alloy_primitives::{Address, B256, Bloom, Bytes, U64, U128, U256};
use alys_protocol::bytes::{BlockId, Digest, EvmAddress, ExecutionHash};
use alys_protocol::execution::LogsBloom;
use alys_protocol::units::{SideHeight, Wei};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockJson {
    hash: B256,
    parent_hash: B256,
    number: U64,
    timestamp: U64,
    state_root: B256,
    receipts_root: B256,
    gas_limit: U64,
    gas_used: U64,
    base_fee_per_gas: U128,
    parent_beacon_block_root: B256,
    transactions: Vec<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogJson {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    log_index: U64,
    block_hash: B256,
    block_number: U64,
    transaction_hash: B256,
    transaction_index: U64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiptJson {
    #[serde(rename = "type")]
    kind: U64,
    status: U64,
    cumulative_gas_used: U64,
    logs_bloom: Bloom,
    logs: Vec<LogJson>,
    transaction_hash: B256,
    transaction_index: U64,
    block_hash: B256,
    block_number: U64,
    gas_used: U64,
    effective_gas_price: U128,
    contract_address: Option<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProofJson {
    pub(super) account_proof: Vec<Bytes>,
    pub(super) balance: U256,
    pub(super) code_hash: B256,
    pub(super) nonce: U64,
    pub(super) storage_hash: B256,
}

impl From<BlockJson> for ExecutionBlock {
    fn from(json: BlockJson) -> Self {
        Self {
            hash: ExecutionHash::new(json.hash.0),
            parent: ExecutionHash::new(json.parent_hash.0),
            height: SideHeight::new(json.number.to()),
            timestamp: json.timestamp.to(),
            state_root: Digest::new(json.state_root.0),
            receipts_root: Digest::new(json.receipts_root.0),
            gas_limit: json.gas_limit.to(),
            gas_used: json.gas_used.to(),
            base_fee_per_gas: Wei::new(json.base_fee_per_gas.to()),
            parent_beacon_block_root: BlockId::new(json.parent_beacon_block_root.0),
            transactions: json
                .transactions
                .into_iter()
                .map(|hash| Digest::new(hash.0))
                .collect(),
        }
    }
}

impl From<LogJson> for Log {
    fn from(json: LogJson) -> Self {
        Self {
            address: EvmAddress::new(json.address.into()),
            topics: json
                .topics
                .into_iter()
                .map(|topic| Digest::new(topic.0))
                .collect(),
            data: json.data.into(),
            index: json.log_index.to(),
            block_hash: ExecutionHash::new(json.block_hash.0),
            block_number: SideHeight::new(json.block_number.to()),
            transaction_hash: Digest::new(json.transaction_hash.0),
            transaction_index: json.transaction_index.to(),
        }
    }
}

impl From<ReceiptJson> for Receipt {
    fn from(json: ReceiptJson) -> Self {
        Self {
            // A type above 127 does not exist (EIP-2718); 255 fails the check against the receipts root.
            transaction_type: u8::try_from(json.kind.to::<u64>()).unwrap_or(u8::MAX),
            succeeded: json.status == U64::from(1),
            cumulative_gas_used: json.cumulative_gas_used.to(),
            logs_bloom: LogsBloom::new(json.logs_bloom.into()),
            logs: json.logs.into_iter().map(Into::into).collect(),
            transaction_hash: Digest::new(json.transaction_hash.0),
            transaction_index: json.transaction_index.to(),
            block_hash: ExecutionHash::new(json.block_hash.0),
            block_number: SideHeight::new(json.block_number.to()),
            gas_used: json.gas_used.to(),
            effective_gas_price: json.effective_gas_price.to(),
            contract_address: json
                .contract_address
                .map(|address| EvmAddress::new(address.into())),
        }
    }
}
