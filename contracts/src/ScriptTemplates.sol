// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

/// @notice The script is none of the templates that a peg-out pays. Expected: P2PKH, P2SH, P2WPKH, P2WSH or P2TR.
error UnknownScriptTemplate(bytes found);

/// @title The five output scripts that the federation pays
/// @dev They are Bitcoin Core's standard, spendable templates less bare multisig and pay-to-anchor: every wallet makes
/// them, every node relays them, and their size bounds the size of a batch.
library ScriptTemplates {
    /// @dev The longest of them, in bytes (P2WSH and P2TR).
    uint256 internal constant MAX_LENGTH = 34;

    /// @notice Pay to public key hash: `OP_DUP OP_HASH160 <20> OP_EQUALVERIFY OP_CHECKSIG`.
    function payToPubkeyHash(bytes20 hash) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"76a914", hash, hex"88ac");
    }

    /// @notice Pay to script hash (BIP-16): `OP_HASH160 <20> OP_EQUAL`.
    function payToScriptHash(bytes20 hash) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"a914", hash, hex"87");
    }

    /// @notice Witness version 0 with a key's hash, P2WPKH (BIP-141): `OP_0 <20>`.
    function payToWitnessPubkeyHash(bytes20 hash) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"0014", hash);
    }

    /// @notice Witness version 0 with a script's hash, P2WSH (BIP-141): `OP_0 <32>`.
    function payToWitnessScriptHash(bytes32 hash) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"0020", hash);
    }

    /// @notice Pay to taproot (BIP-341): `OP_1 <32>`.
    /// @dev That the key is a point on the curve is not checked: the output can be paid either way.
    function payToTaproot(bytes32 outputKey) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"5120", outputKey);
    }

    /// @notice Refuses a script that is none of the five templates.
    function requireStandard(bytes calldata script) internal pure {
        bool standard;
        if (script.length == 25) {
            standard = bytes3(script[:3]) == 0x76a914 && bytes2(script[23:]) == 0x88ac;
        } else if (script.length == 23) {
            standard = bytes2(script[:2]) == 0xa914 && script[22] == 0x87;
        } else if (script.length == 22) {
            standard = bytes2(script[:2]) == 0x0014;
        } else if (script.length == 34) {
            standard = bytes2(script[:2]) == 0x0020 || bytes2(script[:2]) == 0x5120;
        }
        // An oversized script is cut in the error: the revert data costs the caller gas and helps nobody.
        if (!standard) {
            revert UnknownScriptTemplate(script.length > MAX_LENGTH ? script[:MAX_LENGTH] : script);
        }
    }
}
