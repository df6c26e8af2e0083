//! What consensus knows of the execution layer: payloads and withdrawals of the Engine API (Prague).

use crate::bounded::BoundedVec;
use crate::bytes::{Digest, EvmAddress, ExecutionHash, byte_string};
use crate::units::{Gwei, SideHeight, Wei};
use serde::{Deserialize, Serialize};

byte_string!(
    /// Bloom filter over a block's logs.
    LogsBloom[256]
);

/// Where genesis puts the Bridge contract. Nobody has a key to it: that would take a preimage of a 160-bit hash.
pub const BRIDGE: EvmAddress = EvmAddress::new([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa1, 0x75,
]);

/// The usual fee vault: the last 20 bytes of `tagged("alys/vault/1", "")`. Whoever knew a key or code for it would have
/// found a preimage of a 160-bit hash.
pub const VAULT: EvmAddress = EvmAddress::new([
    0x0b, 0x45, 0xa5, 0x45, 0x8e, 0x03, 0xde, 0xd6, 0x32, 0xeb, 0x94, 0x2c, 0x3d, 0xea, 0xd1, 0x49,
    0xda, 0xd5, 0x17, 0x79,
]);

/// The contracts that Prague's rules call, and which genesis has: of EIP-4788, EIP-2935, EIP-7002 and EIP-7251.
pub const SYSTEM_CONTRACTS: [EvmAddress; 4] = [
    EvmAddress::new([
        0x00, 0x0f, 0x3d, 0xf6, 0xd7, 0x32, 0x80, 0x7e, 0xf1, 0x31, 0x9f, 0xb7, 0xb8, 0xbb, 0x85,
        0x22, 0xd0, 0xbe, 0xac, 0x02,
    ]),
    EvmAddress::new([
        0x00, 0x00, 0xf9, 0x08, 0x27, 0xf1, 0xc5, 0x3a, 0x10, 0xcb, 0x7a, 0x02, 0x33, 0x5b, 0x17,
        0x53, 0x20, 0x00, 0x29, 0x35,
    ]),
    EvmAddress::new([
        0x00, 0x00, 0x09, 0x61, 0xef, 0x48, 0x0e, 0xb5, 0x5e, 0x80, 0xd1, 0x9a, 0xd8, 0x35, 0x79,
        0xa6, 0x4c, 0x00, 0x70, 0x02,
    ]),
    EvmAddress::new([
        0x00, 0x00, 0xbb, 0xdd, 0xc7, 0xce, 0x48, 0x86, 0x42, 0xfb, 0x57, 0x9f, 0x8b, 0x00, 0xf3,
        0xa5, 0x90, 0x00, 0x72, 0x51,
    ]),
];

/// Whose an address is that nobody may be paid at, and that holds no fees: `None` where it is free.
pub fn reserved(address: EvmAddress) -> Option<&'static str> {
    if address == BRIDGE {
        Some("the Bridge's")
    } else if address.as_bytes().starts_with(&[0; 18]) {
        // Precompiled contracts, those to come, and the zero that a template leaves.
        Some("one of the first 65536, which are reserved")
    } else if SYSTEM_CONTRACTS.contains(&address) {
        Some("a system contract's")
    } else {
        None
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{self, TaggedHasher};

    #[test]
    fn the_vault_is_the_hash_that_it_is_said_to_be() {
        let hash = TaggedHasher::without_chain(hash::VAULT).finish();
        assert_eq!(&hash[12..], VAULT.as_bytes());
        assert_eq!(reserved(VAULT), None);
    }

    #[test]
    fn reserved_addresses_say_whose_they_are() {
        assert_eq!(reserved(BRIDGE), Some("the Bridge's"));
        assert!(reserved(EvmAddress::ZERO).is_some());
        let mut last = [0; 20];
        last[18] = 0xff;
        assert!(reserved(EvmAddress::new(last)).is_some());
        last[17] = 1;
        assert_eq!(reserved(EvmAddress::new(last)), None);
        for contract in SYSTEM_CONTRACTS {
            assert_eq!(reserved(contract), Some("a system contract's"));
        }
    }
}
