//! The output scripts that a peg-out may name.

use bitcoin::Script;

/// Whether the Bridge accepts a script as a destination: P2PKH, P2SH, P2WPKH, P2WSH or P2TR (the same five as
/// `ScriptTemplates.sol`).
pub fn is_payable(script: &Script) -> bool {
    script.is_p2pkh()
        || script.is_p2sh()
        || script.is_p2wpkh()
        || script.is_p2wsh()
        || script.is_p2tr()
}
