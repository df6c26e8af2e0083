// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {BridgeFixture} from "./support/BridgeFixture.sol";
import {vm} from "./support/Vm.sol";

/// @title The genesis account that Rust makes is the Bridge that Solidity means
contract PredeployTest is BridgeFixture {
    function testGenesisAccountHoldsTheParameters() external {
        string memory json = vm.readFile("test/vectors/predeploy.json");
        address account = vm.parseJsonAddress(json, ".address");
        assertTrue(account == address(bridge), "address");
        bytes memory code =
            vm.parseJsonBytes(vm.readFile("bindings/artifacts/Bridge.json"), ".deployedBytecode");
        assertTrue(keccak256(code) == keccak256(address(bridge).code), "code: run contracts/generate.sh");

        // An account that has this code and those slots, and nothing else.
        vm.etch(account, "");
        for (uint256 slot = 0; slot < 3; ++slot) {
            vm.store(account, bytes32(slot), 0);
        }
        vm.etch(account, code);
        bytes32[] memory slots = vm.parseJsonBytes32Array(json, ".slots");
        bytes32[] memory values = vm.parseJsonBytes32Array(json, ".values");
        assertEq(slots.length, values.length, "slots and values");
        for (uint256 i = 0; i < slots.length; ++i) {
            vm.store(account, slots[i], values[i]);
        }

        assertEq(uint256(bridge.network()), vm.parseJsonUint(json, ".network"), "network");
        assertEq(bridge.minPegOutSats(), vm.parseJsonUint(json, ".minPegOutSats"), "minPegOutSats");
        assertEq(bridge.maxPegOutSats(), vm.parseJsonUint(json, ".maxPegOutSats"), "maxPegOutSats");
        assertEq(bridge.federationScript(), vm.parseJsonBytes(json, ".federationScript"), "federationScript");
        assertEq(bridge.nextSequence(), 0, "nextSequence");
        assertEq(bridge.totalBurnedSats(), 0, "totalBurnedSats");
    }
}
