// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {BitcoinNetwork} from "../../src/BitcoinAddress.sol";
import {Bridge} from "../../src/Bridge.sol";
import {vm} from "./Vm.sol";

/// @title The Bridge as genesis makes it: code put in place, parameters written into its slots, no constructor
abstract contract BridgeFixture {
    Bridge internal constant bridge = Bridge(0x000000000000000000000000000000000000a175);

    uint64 internal constant MIN = 20_000;
    uint64 internal constant MAX = 500_000_000;
    uint256 internal constant SAT = 1e10;

    error AssertionFailed(string what, bytes expected, bytes found);

    function setUp() public virtual {
        vm.etch(address(bridge), address(new Bridge()).code);
        configure(BitcoinNetwork.Regtest);
    }

    function configure(BitcoinNetwork network) internal {
        storeFederationScript(federationScript());
        uint256 limits = uint256(network) | (uint256(MIN) << 8) | (uint256(MAX) << 72);
        vm.store(address(bridge), bytes32(uint256(2)), bytes32(limits));
    }

    function federationScript() internal pure returns (bytes memory) {
        return abi.encodePacked(hex"5120", keccak256("federation"));
    }

    /// @dev `bytes` of 34 in storage: length * 2 + 1 in its slot, the bytes from the slot's hash on.
    function storeFederationScript(bytes memory script) private {
        bytes32 slot = bytes32(uint256(1));
        bytes32 first = keccak256(abi.encode(slot));
        (bytes32 head, bytes32 tail) = abi.decode(bytes.concat(script, new bytes(30)), (bytes32, bytes32));
        vm.store(address(bridge), slot, bytes32(uint256(34 * 2 + 1)));
        vm.store(address(bridge), first, head);
        vm.store(address(bridge), bytes32(uint256(first) + 1), tail);
    }

    /// @dev The error's selector, or zero if the address was accepted.
    function refusal(string memory bitcoinAddress) internal view returns (bytes4) {
        try bridge.decodeAddress(bitcoinAddress) returns (bytes memory) {
            return 0;
        } catch (bytes memory reason) {
            return bytes4(reason);
        }
    }

    function assertRefused(string memory bitcoinAddress, bytes4 selector) internal view {
        bytes4 found = refusal(bitcoinAddress);
        if (found != selector) {
            revert AssertionFailed(bitcoinAddress, abi.encodePacked(selector), abi.encodePacked(found));
        }
    }

    function assertDecodes(string memory bitcoinAddress, bytes memory script) internal view {
        assertEq(bridge.decodeAddress(bitcoinAddress), script, bitcoinAddress);
    }

    function assertEq(bytes memory found, bytes memory expected, string memory what) internal pure {
        if (keccak256(found) != keccak256(expected)) revert AssertionFailed(what, expected, found);
    }

    function assertEq(uint256 found, uint256 expected, string memory what) internal pure {
        if (found != expected) revert AssertionFailed(what, abi.encode(expected), abi.encode(found));
    }

    function assertTrue(bool condition, string memory what) internal pure {
        if (!condition) revert AssertionFailed(what, abi.encode(true), abi.encode(false));
    }
}
