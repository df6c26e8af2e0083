//! Receipts and logs: types, their trie, and proofs of single receipts.

use alloy_primitives::{B256, Bloom, Bytes, Log as RlpLog, LogData};
use alloy_rlp::{Encodable as _, RlpEncodable};
use alloy_trie::proof::ProofRetainer;
use alloy_trie::root::adjust_index_for_rlp;
use alloy_trie::{HashBuilder, Nibbles};
use alys_protocol::bytes::{Digest, EvmAddress, ExecutionHash};
use alys_protocol::execution::LogsBloom;
use alys_protocol::units::SideHeight;
use thiserror::Error;

/// An event that a contract wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The contract that wrote it: the only field that says who did.
    pub address: EvmAddress,
    /// Indexed words, the first of which is the event's signature.
    pub topics: Vec<Digest>,
    /// The rest, ABI-encoded.
    pub data: Vec<u8>,
    /// Place among all logs of the block, from 0.
    pub index: u64,
    /// The block.
    pub block_hash: ExecutionHash,
    /// Its height.
    pub block_number: SideHeight,
    /// The transaction.
    pub transaction_hash: Digest,
    /// Its place in the block, from 0.
    pub transaction_index: u64,
}

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// EIP-2718 type; 0 for legacy.
    pub transaction_type: u8,
    /// Whether it succeeded; where not, it wrote no logs.
    pub succeeded: bool,
    /// Gas used in the block up to and with this transaction.
    pub cumulative_gas_used: u64,
    /// Bloom filter over its logs.
    pub logs_bloom: LogsBloom,
    /// Its logs, in order.
    pub logs: Vec<Log>,
    /// The transaction.
    pub transaction_hash: Digest,
    /// Its place in the block, from 0.
    pub transaction_index: u64,
    /// The block.
    pub block_hash: ExecutionHash,
    /// Its height.
    pub block_number: SideHeight,
    /// Gas used by this transaction alone.
    pub gas_used: u64,
    /// Wei paid per gas.
    pub effective_gas_price: u128,
    /// Address of the contract that it made, if it made one.
    pub contract_address: Option<EvmAddress>,
}

/// A receipt that is not in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected a receipt index below {count}, found {index}")]
pub struct NoSuchReceipt {
    /// Receipts in the block.
    pub count: usize,
    /// The index asked for.
    pub index: usize,
}

#[derive(RlpEncodable)]
struct ReceiptRlp {
    succeeded: bool,
    cumulative_gas_used: u64,
    logs_bloom: Bloom,
    logs: Vec<RlpLog>,
}

impl Receipt {
    /// The consensus encoding (EIP-2718): the type, unless legacy, then the RLP of status, gas, bloom and logs.
    pub fn encode(&self) -> Vec<u8> {
        let receipt = ReceiptRlp {
            succeeded: self.succeeded,
            cumulative_gas_used: self.cumulative_gas_used,
            logs_bloom: Bloom::new(self.logs_bloom.to_bytes()),
            logs: self.logs.iter().map(Log::to_rlp).collect(),
        };
        let mut bytes = Vec::new();
        if self.transaction_type != 0 {
            bytes.push(self.transaction_type);
        }
        receipt.encode(&mut bytes);
        bytes
    }
}

impl Log {
    fn to_rlp(&self) -> RlpLog {
        let topics = self
            .topics
            .iter()
            .map(|topic| B256::new(topic.to_bytes()))
            .collect();
        RlpLog {
            address: crate::payload::address(self.address),
            data: LogData::new_unchecked(topics, Bytes::copy_from_slice(&self.data)),
        }
    }
}

/// The trie key of place `index` in a list: its RLP.
fn key(index: usize) -> Nibbles {
    Nibbles::unpack(alloy_rlp::encode(index))
}

/// The root of a block's receipts, to compare with the one in its header.
pub fn receipts_root(receipts: &[Receipt]) -> Digest {
    let encoded: Vec<Vec<u8>> = receipts.iter().map(Receipt::encode).collect();
    Digest::new(alloy_trie::root::ordered_trie_root_encoded(&encoded).0)
}

/// The Merkle-Patricia nodes from the root of a block's receipts to receipt `index`, root first.
///
/// # Errors
/// - [`NoSuchReceipt`] where the block has no such receipt.
pub fn receipt_proof(receipts: &[Receipt], index: usize) -> Result<Vec<Vec<u8>>, NoSuchReceipt> {
    let count = receipts.len();
    if index >= count {
        return Err(NoSuchReceipt { count, index });
    }
    let mut builder =
        HashBuilder::default().with_proof_retainer(ProofRetainer::new(vec![key(index)]));
    for place in 0..count {
        // Keys must come in order; RLP puts 0 behind 1 to 127.
        let place = adjust_index_for_rlp(place, count);
        if let Some(receipt) = receipts.get(place) {
            builder.add_leaf(key(place), &receipt.encode());
        }
    }
    let _root = builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    Ok(nodes.into_iter().map(|(_, node)| node.to_vec()).collect())
}

/// Whether `proof` shows that `receipt` is at place `index` under `root`.
pub fn verify_receipt_proof(
    root: Digest,
    index: usize,
    receipt: &Receipt,
    proof: &[Vec<u8>],
) -> bool {
    let nodes: Vec<Bytes> = proof
        .iter()
        .map(|node| Bytes::copy_from_slice(node))
        .collect();
    let root = B256::new(root.to_bytes());
    alloy_trie::proof::verify_proof(root, key(index), Some(receipt.encode()), &nodes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(place: u64) -> Receipt {
        Receipt {
            transaction_type: if place.is_multiple_of(2) { 2 } else { 0 },
            succeeded: true,
            cumulative_gas_used: 21_000 * (place + 1),
            logs_bloom: LogsBloom::ZERO,
            logs: vec![Log {
                address: EvmAddress::new([7; 20]),
                topics: vec![Digest::new([8; 32])],
                data: place.to_be_bytes().to_vec(),
                index: place,
                block_hash: ExecutionHash::ZERO,
                block_number: SideHeight::new(1),
                transaction_hash: Digest::ZERO,
                transaction_index: place,
            }],
            transaction_hash: Digest::ZERO,
            transaction_index: place,
            block_hash: ExecutionHash::ZERO,
            block_number: SideHeight::new(1),
            gas_used: 21_000,
            effective_gas_price: 1,
            contract_address: None,
        }
    }

    #[test]
    fn every_receipt_of_any_block_is_proven_and_no_other() {
        for count in [1u64, 2, 3, 17, 127, 128, 129, 300] {
            let receipts: Vec<Receipt> = (0..count).map(receipt).collect();
            let root = receipts_root(&receipts);
            for index in [0, count as usize / 2, count as usize - 1] {
                let proof = receipt_proof(&receipts, index).unwrap();
                assert!(
                    verify_receipt_proof(root, index, &receipts[index], &proof),
                    "{index} of {count}"
                );
                let mut other = receipts[index].clone();
                other.logs[0].address = EvmAddress::new([9; 20]);
                assert!(
                    !verify_receipt_proof(root, index, &other, &proof),
                    "{index} of {count}"
                );
            }
        }
        assert_eq!(
            receipt_proof(&[], 0),
            Err(NoSuchReceipt { count: 0, index: 0 })
        );
    }
}
