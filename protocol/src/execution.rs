//! What consensus knows of the execution layer: payloads and withdrawals of the Engine API (Prague).

use crate::bounded::BoundedVec;
use crate::bytes::{Digest, EvmAddress, ExecutionHash, byte_string};
use crate::units::{Gwei, SideHeight, Wei};
use serde::{Deserialize, Serialize};

byte_string!(
    /// Bloom filter over a block's logs.
    LogsBloom[256]
);

/// Transactions in a payload at most; a block's gas ends long before.
pub const MAX_TRANSACTIONS: usize = 65_536;
/// Bytes of one transaction at most (EIP-7702 and large deployments stay far below).
pub const MAX_TRANSACTION_BYTES: usize = 1 << 20;
/// Withdrawals in a payload at most: their index has 16 bits for the place in a block (design 7).
pub const MAX_WITHDRAWALS: usize = 65_536;

/// A mint: an EIP-4895 withdrawal, which is how BTC enters the side chain's supply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// `height * 2^16 + place in the block` (design 7).
    pub index: u64,
    /// Always 0: there are no validators on the execution layer.
    pub validator_index: u64,
    /// Who is credited.
    pub address: EvmAddress,
    /// Amount in gwei; never zero.
    pub amount: Gwei,
}

/// An execution payload, as `engine_getPayloadV4` gives it and `engine_newPayloadV4` takes it.
///
/// Source: Ethereum execution-apis, `ExecutionPayloadV3`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionPayload {
    /// Hash of the parent execution block.
    pub parent_hash: ExecutionHash,
    /// Who gets the priority fees: the vault.
    pub fee_recipient: EvmAddress,
    /// State root after the block.
    pub state_root: Digest,
    /// Root of the receipts.
    pub receipts_root: Digest,
    /// Bloom over the logs.
    pub logs_bloom: LogsBloom,
    /// Tagged hash, not random (design 7).
    pub prev_randao: Digest,
    /// Height; equals the side block's.
    pub block_number: SideHeight,
    /// Gas limit.
    pub gas_limit: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Unix time in seconds: `slot * duration / 1000`.
    pub timestamp: u64,
    /// Free bytes of the builder.
    pub extra_data: BoundedVec<u8, 32>,
    /// Base fee in wei; fits 128 bits.
    pub base_fee_per_gas: Wei,
    /// Hash of this block.
    pub block_hash: ExecutionHash,
    /// Signed transactions in their EIP-2718 encoding.
    pub transactions: BoundedVec<BoundedVec<u8, MAX_TRANSACTION_BYTES>, MAX_TRANSACTIONS>,
    /// Mints, in order.
    pub withdrawals: BoundedVec<Withdrawal, MAX_WITHDRAWALS>,
    /// Always 0: no blobs.
    pub blob_gas_used: u64,
    /// Always 0: no blobs.
    pub excess_blob_gas: u64,
}
