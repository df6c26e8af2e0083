//! The execution header of a payload, computed here so that no client has to be believed about its own hash.

use crate::payload::{address, digest, hash};
use alloy_primitives::{B256, Bloom, Bytes, U256, b256, keccak256};
use alloy_rlp::{Encodable as _, RlpEncodable};
use alloy_trie::root::{ordered_trie_root, ordered_trie_root_encoded};
use alys_protocol::bytes::{BlockId, ExecutionHash};
use alys_protocol::execution::{ExecutionPayload, Withdrawal};

/// Keccak-256 of the RLP of an empty list: there are no ommers since the Merge.
const EMPTY_OMMERS_HASH: B256 =
    b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");
/// SHA-256 of nothing: no execution requests (EIP-7685).
const EMPTY_REQUESTS_HASH: B256 =
    b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// Fields in the order of the Prague header: the Yellow Paper, EIP-1559, 4895, 4844, 4788, 7685.
#[derive(RlpEncodable)]
struct Header {
    parent_hash: B256,
    ommers_hash: B256,
    fee_recipient: alloy_primitives::Address,
    state_root: B256,
    transactions_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    difficulty: U256,
    number: u64,
    gas_limit: u64,
    gas_used: u64,
    timestamp: u64,
    extra_data: Bytes,
    prev_randao: B256,
    nonce: alloy_primitives::B64,
    base_fee_per_gas: u128,
    withdrawals_root: B256,
    blob_gas_used: u64,
    excess_blob_gas: u64,
    parent_beacon_block_root: B256,
    requests_hash: B256,
}

#[derive(RlpEncodable)]
struct WithdrawalLeaf {
    index: u64,
    validator_index: u64,
    address: alloy_primitives::Address,
    amount: u64,
}

impl From<&Withdrawal> for WithdrawalLeaf {
    fn from(withdrawal: &Withdrawal) -> Self {
        Self {
            index: withdrawal.index,
            validator_index: withdrawal.validator_index,
            address: address(withdrawal.address),
            amount: withdrawal.amount.get(),
        }
    }
}

/// The RLP of the Prague header that a payload and its beacon root stand for, without execution requests.
///
/// `parent_beacon_block_root` is the side chain's parent id (design 7). The payload is sound only if the keccak-256
/// of the result equals its `block_hash`.
pub fn execution_header_rlp(
    payload: &ExecutionPayload,
    parent_beacon_block_root: BlockId,
) -> Vec<u8> {
    let transactions: Vec<&[u8]> = payload
        .transactions
        .iter()
        .map(|transaction| &**transaction)
        .collect();
    let withdrawals: Vec<WithdrawalLeaf> = payload.withdrawals.iter().map(Into::into).collect();
    let header = Header {
        parent_hash: hash(payload.parent_hash),
        ommers_hash: EMPTY_OMMERS_HASH,
        fee_recipient: address(payload.fee_recipient),
        state_root: digest(payload.state_root),
        transactions_root: ordered_trie_root_encoded(&transactions),
        receipts_root: digest(payload.receipts_root),
        logs_bloom: Bloom::new(payload.logs_bloom.to_bytes()),
        difficulty: U256::ZERO,
        number: payload.block_number.get(),
        gas_limit: payload.gas_limit,
        gas_used: payload.gas_used,
        timestamp: payload.timestamp,
        extra_data: payload.extra_data.to_vec().into(),
        prev_randao: digest(payload.prev_randao),
        nonce: alloy_primitives::B64::ZERO,
        base_fee_per_gas: payload.base_fee_per_gas.get(),
        withdrawals_root: ordered_trie_root(&withdrawals),
        blob_gas_used: payload.blob_gas_used,
        excess_blob_gas: payload.excess_blob_gas,
        parent_beacon_block_root: B256::new(parent_beacon_block_root.to_bytes()),
        requests_hash: EMPTY_REQUESTS_HASH,
    };
    let mut rlp = Vec::with_capacity(header.length());
    header.encode(&mut rlp);
    rlp
}

/// The hash of the block that a payload and its beacon root stand for.
pub fn execution_block_hash(
    payload: &ExecutionPayload,
    parent_beacon_block_root: BlockId,
) -> ExecutionHash {
    ExecutionHash::new(keccak256(execution_header_rlp(payload, parent_beacon_block_root)).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::tests::sample;

    #[test]
    fn every_field_counts() {
        let root = BlockId::new([9; 32]);
        let base = execution_block_hash(&sample(), root);
        assert_ne!(base, execution_block_hash(&sample(), BlockId::ZERO));
        let mut payload = sample();
        payload.withdrawals = Default::default();
        assert_ne!(base, execution_block_hash(&payload, root));
        let mut payload = sample();
        payload.transactions = Default::default();
        assert_ne!(base, execution_block_hash(&payload, root));
    }
}
