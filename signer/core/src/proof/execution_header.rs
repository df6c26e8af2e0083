//! Headers of execution blocks.

use alloc::format;
use alloc::string::String;
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256, keccak256};
use alloy_rlp::{Decodable as _, RlpDecodable, RlpEncodable};
use alys_protocol::bytes::ExecutionHash;
use thiserror::Error;

/// An execution block's header as of Prague, in the order of its RLP.
///
/// Sources: yellow paper 4.3, EIP-1559, EIP-4399, EIP-4895, EIP-4844, EIP-4788, EIP-7685.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct ExecutionHeader {
    /// Hash of the parent.
    pub parent_hash: B256,
    /// Of an empty list.
    pub ommers_hash: B256,
    /// Fee recipient: the vault.
    pub beneficiary: Address,
    /// State after the block.
    pub state_root: B256,
    /// Trie root of the transactions.
    pub transactions_root: B256,
    /// Trie root of the receipts.
    pub receipts_root: B256,
    /// Bloom over the logs.
    pub logs_bloom: Bloom,
    /// Zero since the merge.
    pub difficulty: U256,
    /// Height.
    pub number: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Unix time in seconds.
    pub timestamp: u64,
    /// Up to 32 free bytes.
    pub extra_data: Bytes,
    /// `prevRandao`.
    pub prev_randao: B256,
    /// Zero since the merge.
    pub nonce: B64,
    /// Base fee in wei.
    pub base_fee_per_gas: U256,
    /// Trie root of the withdrawals.
    pub withdrawals_root: B256,
    /// Zero: no blobs.
    pub blob_gas_used: u64,
    /// Zero: no blobs.
    pub excess_blob_gas: u64,
    /// The side block's parent id.
    pub parent_beacon_block_root: B256,
    /// Of no requests.
    pub requests_hash: B256,
}

/// Bytes that are not the header with a hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExecutionHeaderError {
    /// Another header, or none.
    #[error("expected an execution header with hash {expected}, found one with hash {found}")]
    Hash {
        /// The hash that a side block's header names.
        expected: B256,
        /// Hash of the bytes.
        found: B256,
    },
    /// Not the RLP of a header of 21 fields, though it has the hash: an execution block of another fork.
    #[error("expected the RLP of a Prague header of 21 fields: {0}")]
    Rlp(String),
}

impl ExecutionHeader {
    /// Decodes the header whose keccak-256 is `hash`.
    ///
    /// # Errors
    /// - [`ExecutionHeaderError::Hash`] where the bytes have another hash;
    /// - [`ExecutionHeaderError::Rlp`] where they are no Prague header.
    pub fn with_hash(hash: ExecutionHash, rlp: &[u8]) -> Result<Self, ExecutionHeaderError> {
        let (expected, found) = (B256::new(hash.to_bytes()), keccak256(rlp));
        if expected != found {
            return Err(ExecutionHeaderError::Hash { expected, found });
        }
        let mut rest = rlp;
        let header = Self::decode(&mut rest)
            .map_err(|error| ExecutionHeaderError::Rlp(format!("{error}")))?;
        if !rest.is_empty() {
            return Err(ExecutionHeaderError::Rlp(format!(
                "{} bytes after the header",
                rest.len()
            )));
        }
        Ok(header)
    }
}
