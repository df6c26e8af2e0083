//! The genesis of a chain's execution layer, as the JSON that Geth, Reth and ethrex read.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alys_protocol::bytes::{Digest, EvmAddress, ExecutionHash};
use alys_protocol::units::{ChainId, Wei};
use ethrex_common::types::Genesis;
use ethrex_rlp::encode::RLPEncode as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use thiserror::Error;

/// EIP-4788: beacon roots. Here they are the ids of side blocks.
pub const BEACON_ROOTS: EvmAddress =
    EvmAddress::new(hex!("000f3df6d732807ef1319fb7b8bb8522d0beac02"));
/// EIP-2935: hashes of the last 8191 blocks.
pub const HISTORY_STORAGE: EvmAddress =
    EvmAddress::new(hex!("0000f90827f1c53a10cb7a02335b175320002935"));
/// EIP-7002: validator withdrawal requests, of which this chain has none.
pub const WITHDRAWAL_REQUESTS: EvmAddress =
    EvmAddress::new(hex!("00000961ef480eb55e80d19ad83579a64c007002"));
/// EIP-7251: validator consolidation requests, of which this chain has none.
pub const CONSOLIDATION_REQUESTS: EvmAddress =
    EvmAddress::new(hex!("0000bbddc7ce488642fb579f8b00f3a590007251"));

/// The code in EIP-4788.
const BEACON_ROOTS_CODE: &[u8] = &hex!(
    "3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff810690815414603c57"
    "5f5ffd5b62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"
);
/// The code in EIP-2935.
const HISTORY_STORAGE_CODE: &[u8] = &hex!(
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311604257611fff"
    "9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
);
/// What stands in for the contracts of EIP-7002 and EIP-7251.
///
/// A Prague block without code there is invalid, and with the code of those EIPs anyone could put validator requests
/// into a block, which has no meaning here and would make the block one that no member approves. So the client's
/// call at the end of each block gets an empty list, and anyone else is reverted and keeps the money:
///
/// ```text
/// CALLER PUSH20 0xff..fe EQ PUSH1 0x1d JUMPI PUSH0 PUSH0 REVERT JUMPDEST STOP
/// ```
const NO_REQUESTS_CODE: &[u8] =
    &hex!("3373fffffffffffffffffffffffffffffffffffffffe14601d575f5ffd5b00");

/// Blocks and forks that are active from the first block on; there is no other fork rule on the chain.
const BLOCK_FORKS: [&str; 11] = [
    "homesteadBlock",
    "eip150Block",
    "eip155Block",
    "eip158Block",
    "byzantiumBlock",
    "constantinopleBlock",
    "petersburgBlock",
    "istanbulBlock",
    "berlinBlock",
    "londonBlock",
    "mergeNetsplitBlock",
];
const TIME_FORKS: [&str; 3] = ["shanghaiTime", "cancunTime", "pragueTime"];

/// An account that exists from the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenesisAccount {
    /// Its balance; part of the supply that has to be backed.
    pub balance: Wei,
    /// Its nonce.
    pub nonce: u64,
    /// Its code; empty for an account of a person.
    pub code: Vec<u8>,
    /// Its storage: slot and value.
    pub storage: Vec<([u8; 32], [u8; 32])>,
}

/// What differs between chains; everything else is the same on all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisParameters {
    /// EIP-155 id.
    pub chain_id: ChainId,
    /// Unix seconds; blocks must be later.
    pub timestamp: u64,
    /// Gas limit, which builders keep.
    pub gas_limit: u64,
    /// Base fee of the genesis; the first block's follows from it (EIP-1559).
    pub base_fee: Wei,
    /// Accounts that exist from the start, each once.
    pub alloc: Vec<(EvmAddress, GenesisAccount)>,
}

/// A genesis that cannot be.
#[derive(Debug, Error)]
pub enum GenesisError {
    /// Two accounts at one address, or one where a system contract is.
    #[error("genesis: expected each address once, found {0} again")]
    Duplicate(EvmAddress),
    /// Outside what Ethereum allows (5,000 to 2^63 - 1).
    #[error("genesis: expected a gas limit of 5000 to 2^63 - 1, found {0}")]
    GasLimit(u64),
    /// A base fee that does not fit 64 bits, which clients assume.
    #[error("genesis: expected a base fee of 7 to 2^64 - 1 wei, found {0}")]
    BaseFee(Wei),
    /// JSON that is no genesis.
    #[error("genesis: expected Geth-style JSON: {0}")]
    Json(String),
}

/// Makes the genesis of a chain: Prague from the first block, no blobs, no requests, no deposit contract.
///
/// # Errors
/// - [`GenesisError::Duplicate`] where an address comes twice;
/// - [`GenesisError::GasLimit`] or [`GenesisError::BaseFee`] where a number is outside its range.
pub fn execution_genesis(parameters: &GenesisParameters) -> Result<Value, GenesisError> {
    if !(5_000..1 << 63).contains(&parameters.gas_limit) {
        return Err(GenesisError::GasLimit(parameters.gas_limit));
    }
    if !(7..1 << 64).contains(&parameters.base_fee.get()) {
        return Err(GenesisError::BaseFee(parameters.base_fee));
    }
    let mut config = json!({
        "chainId": parameters.chain_id.get(),
        "terminalTotalDifficulty": 0,
        "terminalTotalDifficultyPassed": true,
        // No contract: no log of it can ever be written, so no deposit request either.
        "depositContractAddress": Address::ZERO,
        "blobSchedule": { "cancun": no_blobs(), "prague": no_blobs() },
    });
    if let Some(config) = config.as_object_mut() {
        let forks = BLOCK_FORKS
            .iter()
            .chain(&TIME_FORKS)
            .map(|fork| ((*fork).to_owned(), Value::from(0)));
        config.extend(forks);
    }
    let system = system_accounts();
    let mut seen = BTreeSet::new();
    let mut alloc = Map::new();
    for (place, account) in system.iter().chain(&parameters.alloc) {
        if !seen.insert(*place) {
            return Err(GenesisError::Duplicate(*place));
        }
        alloc.insert(place.to_string(), account_json(account));
    }
    Ok(json!({
        "config": config,
        "nonce": "0x0",
        "timestamp": format!("{:#x}", parameters.timestamp),
        "extraData": "0x",
        "gasLimit": format!("{:#x}", parameters.gas_limit),
        "difficulty": "0x0",
        "mixHash": B256::ZERO,
        "coinbase": Address::ZERO,
        "alloc": alloc,
        "number": "0x0",
        "gasUsed": "0x0",
        "parentHash": B256::ZERO,
        "baseFeePerGas": format!("{:#x}", parameters.base_fee.get()),
        "excessBlobGas": "0x0",
        "blobGasUsed": "0x0",
    }))
}

/// Blob transactions do not fit into a block of ours.
fn no_blobs() -> Value {
    json!({ "target": 0, "max": 0, "baseFeeUpdateFraction": 5_007_716 })
}

fn system_accounts() -> [(EvmAddress, GenesisAccount); 4] {
    [
        (BEACON_ROOTS, BEACON_ROOTS_CODE),
        (HISTORY_STORAGE, HISTORY_STORAGE_CODE),
        (WITHDRAWAL_REQUESTS, NO_REQUESTS_CODE),
        (CONSOLIDATION_REQUESTS, NO_REQUESTS_CODE),
    ]
    .map(|(place, code)| {
        (
            place,
            GenesisAccount {
                nonce: 1,
                code: code.to_vec(),
                ..GenesisAccount::default()
            },
        )
    })
}

fn account_json(account: &GenesisAccount) -> Value {
    let storage: Map<String, Value> = account
        .storage
        .iter()
        .map(|(slot, value)| (B256::new(*slot).to_string(), json!(B256::new(*value))))
        .collect();
    json!({
        "balance": U256::from(account.balance.get()),
        "nonce": format!("{:#x}", account.nonce),
        "code": Bytes::copy_from_slice(&account.code),
        "storage": storage,
    })
}

/// What a genesis comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisBlock {
    /// Hash of the first block.
    pub hash: ExecutionHash,
    /// Its state root.
    pub state_root: Digest,
    /// RLP of its header; the keccak-256 of it is the hash.
    pub header_rlp: Vec<u8>,
}

/// Computes the first block of a genesis, without running a client.
///
/// # Errors
/// - [`GenesisError::Json`] where that is no genesis.
pub fn genesis_block(genesis: &Value) -> Result<GenesisBlock, GenesisError> {
    let header = parse(genesis)?.get_block().header;
    Ok(GenesisBlock {
        hash: ExecutionHash::new(header.hash().0),
        state_root: Digest::new(header.state_root.0),
        header_rlp: header.encode_to_vec(),
    })
}

/// Hash of the first block of a genesis.
///
/// # Errors
/// - [`GenesisError::Json`] where that is no genesis.
pub fn genesis_block_hash(genesis: &Value) -> Result<ExecutionHash, GenesisError> {
    genesis_block(genesis).map(|block| block.hash)
}

pub(crate) fn parse(genesis: &Value) -> Result<Genesis, GenesisError> {
    serde_json::from_value(genesis.clone()).map_err(|error| GenesisError::Json(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use alloy_trie::TrieAccount;
    use alloy_trie::root::{state_root_unhashed, storage_root_unhashed};

    fn parameters() -> GenesisParameters {
        GenesisParameters {
            chain_id: ChainId::new(727_272),
            timestamp: 1_700_000_000,
            gas_limit: 30_000_000,
            base_fee: Wei::new(1_000_000_000),
            alloc: vec![
                (
                    EvmAddress::new([1; 20]),
                    GenesisAccount {
                        balance: Wei::new(5),
                        ..GenesisAccount::default()
                    },
                ),
                (
                    EvmAddress::new([2; 20]),
                    GenesisAccount {
                        nonce: 1,
                        code: vec![0x60, 0x00],
                        storage: vec![([0; 32], [7; 32]), ([1; 32], [8; 32])],
                        ..GenesisAccount::default()
                    },
                ),
            ],
        }
    }

    #[test]
    fn the_state_root_agrees_with_an_independent_trie() {
        let block = genesis_block(&execution_genesis(&parameters()).unwrap()).unwrap();
        let accounts =
            system_accounts()
                .into_iter()
                .chain(parameters().alloc)
                .map(|(place, account)| {
                    let storage = account
                        .storage
                        .iter()
                        .map(|(slot, value)| (B256::new(*slot), U256::from_be_bytes(*value)));
                    let state = TrieAccount::new(
                        account.nonce,
                        U256::from(account.balance.get()),
                        storage_root_unhashed(storage),
                        keccak256(&account.code),
                    );
                    (crate::payload::address(place), state)
                });
        assert_eq!(block.state_root.to_bytes(), state_root_unhashed(accounts).0);
        assert_eq!(block.hash.to_bytes(), keccak256(&block.header_rlp).0);
    }

    #[test]
    fn golden_hash() {
        let hash = genesis_block_hash(&execution_genesis(&parameters()).unwrap()).unwrap();
        assert_eq!(
            hash.to_string(),
            "0xefa7a56363075a247189220a872e536eef69301e6ead2c990505b9bd3323cb3b"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let with = |change: fn(&mut GenesisParameters)| {
            let mut parameters = parameters();
            change(&mut parameters);
            execution_genesis(&parameters)
        };
        let twice = with(|parameters| {
            parameters
                .alloc
                .push((EvmAddress::new([1; 20]), GenesisAccount::default()))
        });
        assert!(matches!(twice, Err(GenesisError::Duplicate(_))));
        let system = with(|parameters| {
            parameters
                .alloc
                .push((BEACON_ROOTS, GenesisAccount::default()))
        });
        assert!(matches!(system, Err(GenesisError::Duplicate(BEACON_ROOTS))));
        assert!(matches!(
            with(|parameters| parameters.gas_limit = 1),
            Err(GenesisError::GasLimit(1))
        ));
        assert!(matches!(
            with(|parameters| parameters.base_fee = Wei::ZERO),
            Err(GenesisError::BaseFee(_))
        ));
        assert!(matches!(
            genesis_block_hash(&json!({})),
            Err(GenesisError::Json(_))
        ));
    }
}
