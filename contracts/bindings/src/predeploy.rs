//! The Bridge as genesis holds it: code and storage, without a constructor.

use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::Sats;
use bitcoin::{Network, Script, ScriptBuf};
use std::collections::BTreeMap;
use thiserror::Error;

/// Where genesis puts the Bridge. Nobody has a key to it: that would take a collision with a 160-bit hash.
pub const BRIDGE_ADDRESS: Address = address!("000000000000000000000000000000000000A175");

/// The same, for the chain spec.
pub const BRIDGE_EVM_ADDRESS: EvmAddress = EvmAddress::new(BRIDGE_ADDRESS.0.0);

/// Slot of `federationScript` (the layout table is in `Bridge.sol`, and a test compares the two).
const FEDERATION_SCRIPT_SLOT: u64 = 1;
/// Slot of `network`, `minPegOutSats` and `maxPegOutSats`.
const LIMITS_SLOT: u64 = 2;

/// All the satoshi that there will ever be.
const MAX_MONEY_SATS: u64 = 21_000_000 * 100_000_000;

/// What the Bridge is told at genesis, and can never be told again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeParameters {
    /// The Bitcoin network whose addresses are payable.
    pub network: Network,
    /// The federation's output script (P2TR): the one standard script that is refused as a destination.
    pub federation_script: Vec<u8>,
    /// The smallest burn.
    pub min_pegout_sats: Sats,
    /// The largest burn.
    pub max_pegout_sats: Sats,
}

/// An account of the execution layer's genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predeploy {
    /// Where it lives.
    pub address: Address,
    /// 1, as for every contract (EIP-161).
    pub nonce: u64,
    /// The code that runs; no constructor does.
    pub code: Bytes,
    /// The slots that are not zero.
    pub storage: BTreeMap<B256, B256>,
}

impl Predeploy {
    /// The account as the value of an `alloc` entry in a Geth-style genesis.
    pub fn genesis_account(&self) -> serde_json::Value {
        let storage: serde_json::Map<_, _> = self
            .storage
            .iter()
            .map(|(slot, value)| (slot.to_string(), value.to_string().into()))
            .collect();
        serde_json::json!({
            "nonce": format!("{:#x}", self.nonce),
            "balance": "0x0",
            "code": self.code.to_string(),
            "storage": storage,
        })
    }
}

/// Parameters that no Bridge may have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// The federation's wallet is taproot (design 9).
    #[error("bridge: expected the federation's script to be P2TR (5120 and 32 bytes), found {}", .0.to_hex_string())]
    FederationScript(ScriptBuf),
    /// A burn of nothing cannot be paid.
    #[error("bridge: expected min_pegout of at least 1 satoshi, found 0")]
    ZeroMinimum,
    /// No burn could satisfy both.
    #[error(
        "bridge: expected max_pegout of at least min_pegout, {minimum} satoshi, found {maximum}"
    )]
    MaximumBelowMinimum {
        /// The smallest burn.
        minimum: Sats,
        /// The largest burn.
        maximum: Sats,
    },
    /// More than there will ever be.
    #[error("bridge: expected max_pegout of at most {MAX_MONEY_SATS} satoshi, found {0}")]
    MaximumAboveMoney(Sats),
}

/// The Bridge's genesis account.
///
/// # Errors
/// - [`ParameterError`] where the parameters would make a Bridge that cannot pay, or that takes its own federation for
///   a customer.
pub fn bridge_predeploy(parameters: &BridgeParameters) -> Result<Predeploy, ParameterError> {
    check(parameters)?;
    let mut storage = solidity_bytes(FEDERATION_SCRIPT_SLOT, &parameters.federation_script);
    storage.insert(slot(LIMITS_SLOT), limits(parameters));
    Ok(Predeploy {
        address: BRIDGE_ADDRESS,
        nonce: 1,
        code: crate::abi::Bridge::DEPLOYED_BYTECODE.clone(),
        storage,
    })
}

fn check(parameters: &BridgeParameters) -> Result<(), ParameterError> {
    let (minimum, maximum) = (parameters.min_pegout_sats, parameters.max_pegout_sats);
    if !Script::from_bytes(&parameters.federation_script).is_p2tr() {
        return Err(ParameterError::FederationScript(
            parameters.federation_script.clone().into(),
        ));
    }
    if minimum == Sats::ZERO {
        return Err(ParameterError::ZeroMinimum);
    }
    if maximum < minimum {
        return Err(ParameterError::MaximumBelowMinimum { minimum, maximum });
    }
    if maximum.get() > MAX_MONEY_SATS {
        return Err(ParameterError::MaximumAboveMoney(maximum));
    }
    Ok(())
}

/// `BitcoinNetwork` of `BitcoinAddress.sol`.
const fn network_number(network: Network) -> u8 {
    match network {
        Network::Bitcoin => 1,
        // The three look alike to an address.
        Network::Testnet | Network::Testnet4 | Network::Signet => 2,
        Network::Regtest => 3,
    }
}

/// The word of [`LIMITS_SLOT`]: Solidity packs from the right.
fn limits(parameters: &BridgeParameters) -> B256 {
    let word: U256 = U256::from(network_number(parameters.network))
        | (U256::from(parameters.min_pegout_sats.get()) << 8)
        | (U256::from(parameters.max_pegout_sats.get()) << 72);
    word.into()
}

fn slot(number: u64) -> B256 {
    U256::from(number).into()
}

/// `bytes` in storage, for 32 bytes and more: twice the length plus one in its slot, and the bytes, padded with zeros, from the slot
/// that is the hash of its slot's number (Solidity's documentation, "Layout of State Variables in Storage").
fn solidity_bytes(number: u64, bytes: &[u8]) -> BTreeMap<B256, B256> {
    let mut storage = BTreeMap::new();
    storage.insert(slot(number), U256::from(bytes.len() * 2 + 1).into());
    let first = U256::from_be_bytes(keccak256(slot(number)).0);
    for (index, chunk) in bytes.chunks(32).enumerate() {
        storage.insert(
            (first + U256::from(index)).into(),
            B256::right_padding_from(chunk),
        );
    }
    storage
}
