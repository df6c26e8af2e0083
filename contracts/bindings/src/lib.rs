//! The contracts of Alys for Rust: the Bridge's genesis predeploy, its calls, and its event, decoded strictly.
//!
//! Everything comes from `artifacts/`, which `contracts/generate.sh` compiles from the Solidity sources; a test
//! says that the two agree.

mod event;
mod predeploy;
mod script;

pub use event::{
    DecodeError, PEG_OUT_REQUESTED_TOPIC, PegOutRequested, decode_bridge_log,
    decode_peg_out_requested,
};
pub use predeploy::{
    BRIDGE_ADDRESS, BRIDGE_EVM_ADDRESS, BridgeParameters, ParameterError, Predeploy,
    bridge_predeploy,
};
pub use script::is_payable;

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolValue;

/// What the compiler knows of the contracts: types for every call, event and error, and the code.
///
/// `abi::Bridge::requestPegOutCall { bitcoinAddress }.abi_encode()` is the calldata of a peg-out request.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    reason = "generated from the compiler's output"
)]
pub mod abi {
    alloy_sol_types::sol!(Bridge, "artifacts/Bridge.json");
    alloy_sol_types::sol!(DemoToken, "artifacts/DemoToken.json");
}

/// The code that deploys a `DemoToken` whose `supply` (in units of 10^-18 token) belongs to the deployer: the data of
/// a transaction without a recipient.
pub fn demo_token_creation_code(supply: U256) -> Bytes {
    let mut code = abi::DemoToken::BYTECODE.to_vec();
    code.extend_from_slice(&supply.abi_encode());
    code.into()
}

#[cfg(test)]
mod tests;
