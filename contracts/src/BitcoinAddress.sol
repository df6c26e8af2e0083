// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Base58Check} from "./Base58Check.sol";
import {ScriptTemplates} from "./ScriptTemplates.sol";
import {SegwitAddress} from "./SegwitAddress.sol";

/// @notice Which addresses are payable. Testnet stands for testnet3, testnet4 and signet, whose addresses look alike.
/// @dev The numbers are part of the genesis storage layout of `Bridge`.
enum BitcoinNetwork {
    Unset,
    Mainnet,
    Testnet,
    Regtest
}

/// @notice An address has between 1 and 90 characters.
error WrongAddressLength(uint256 expectedAtMost, uint256 found);

/// @notice The version byte belongs to another network, or to something that is not an address.
error WrongBase58Version(uint8 expectedPubkeyHash, uint8 expectedScriptHash, uint8 found);

/// @title Bitcoin addresses to the scripts that they stand for
library BitcoinAddress {
    /// @notice Decodes an address of `network` and refuses everything else.
    /// @return The output script: one of the five templates of `ScriptTemplates`.
    function toScript(string calldata bitcoinAddress, BitcoinNetwork network)
        internal
        pure
        returns (bytes memory)
    {
        bytes calldata text = bytes(bitcoinAddress);
        if (text.length == 0 || text.length > SegwitAddress.MAX_CHARACTERS) {
            revert WrongAddressLength(SegwitAddress.MAX_CHARACTERS, text.length);
        }
        return _looksLikeSegwit(text) ? _segwitScript(text, network) : _base58Script(text, network);
    }

    /// @dev Decides which error a bad address gets, and never whether a good one passes: the networks' Base58 addresses start
    /// with 1, 3, m, n or 2 and have at most 35 characters, the segwit ones start with bc, tb or bcrt and have at least 42.
    function _looksLikeSegwit(bytes calldata text) private pure returns (bool) {
        bytes1 first = text[0] | 0x20;
        return text.length > Base58Check.MAX_CHARACTERS || first == "b" || first == "t";
    }

    function _segwitScript(bytes calldata text, BitcoinNetwork network) private pure returns (bytes memory) {
        (uint8 version, bytes32 program, bool isShort) =
            SegwitAddress.decode(text, _humanReadablePart(network));
        if (version == 1) return ScriptTemplates.payToTaproot(program);
        if (isShort) return ScriptTemplates.payToWitnessPubkeyHash(bytes20(program));
        return ScriptTemplates.payToWitnessScriptHash(program);
    }

    function _base58Script(bytes calldata text, BitcoinNetwork network) private pure returns (bytes memory) {
        (uint8 pubkeyHash, uint8 scriptHash) = _base58Versions(network);
        (uint8 version, bytes20 hash) = Base58Check.decode(text);
        if (version == pubkeyHash) return ScriptTemplates.payToPubkeyHash(hash);
        if (version == scriptHash) return ScriptTemplates.payToScriptHash(hash);
        revert WrongBase58Version(pubkeyHash, scriptHash, version);
    }

    /// @dev Bitcoin Core, `chainparams.cpp`: `bech32_hrp`.
    function _humanReadablePart(BitcoinNetwork network) private pure returns (bytes memory) {
        if (network == BitcoinNetwork.Mainnet) return "bc";
        if (network == BitcoinNetwork.Testnet) return "tb";
        return "bcrt";
    }

    /// @dev Bitcoin Core, `chainparams.cpp`: `base58Prefixes`. All test networks share them.
    function _base58Versions(BitcoinNetwork network)
        private
        pure
        returns (uint8 pubkeyHash, uint8 scriptHash)
    {
        return network == BitcoinNetwork.Mainnet ? (0x00, 0x05) : (0x6f, 0xc4);
    }
}
