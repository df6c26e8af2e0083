//! The execution genesis of an Alys chain: nothing but the bridge and the system contracts, so that no coin exists
//! which no deposit backs.

use crate::genesis::{GenesisAccount, GenesisError, GenesisParameters, execution_genesis};
use alys_contracts::{BridgeParameters, ParameterError, bridge_predeploy};
use alys_protocol::spec::Chain;
use thiserror::Error;

/// A chain whose genesis cannot be made.
#[derive(Debug, Error)]
pub enum ChainGenesisError {
    /// The bridge refuses its parameters.
    #[error("bridge: {0}")]
    Bridge(#[from] ParameterError),
    /// The genesis slot lies beyond time.
    #[error("the genesis slot lies beyond what a timestamp can hold")]
    Timestamp,
    /// The genesis itself cannot be made.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

/// The Geth-style genesis JSON of a chain. Does not look at the spec's `execution.genesis_hash`, which is this one's.
///
/// # Errors
/// - [`ChainGenesisError`] where bridge or genesis refuse the spec's parameters.
pub fn chain_genesis(chain: &Chain) -> Result<serde_json::Value, ChainGenesisError> {
    let spec = chain.spec();
    let bridge = bridge_predeploy(&BridgeParameters {
        network: spec.bitcoin.network,
        federation_script: chain.wallet().script_pubkey().to_bytes(),
        min_pegout_sats: spec.pegout.min_sats,
        max_pegout_sats: spec.pegout.max_sats,
    })?;
    let account = GenesisAccount {
        nonce: bridge.nonce,
        code: bridge.code.to_vec(),
        storage: bridge
            .storage
            .into_iter()
            .map(|(slot, value)| (slot.0, value.0))
            .collect(),
        ..GenesisAccount::default()
    };
    Ok(execution_genesis(&GenesisParameters {
        chain_id: spec.chain_id,
        timestamp: chain
            .timestamp(spec.slots.genesis)
            .ok_or(ChainGenesisError::Timestamp)?,
        gas_limit: spec.execution.gas_limit,
        base_fee: spec.execution.base_fee_wei,
        alloc: vec![(spec.execution.bridge, account)],
    })?)
}
