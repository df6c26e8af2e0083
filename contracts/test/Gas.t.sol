// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {BitcoinNetwork} from "../src/BitcoinAddress.sol";
import {AddressEncoder} from "./support/AddressEncoder.sol";
import {BridgeFixture} from "./support/BridgeFixture.sol";
import {vm} from "./support/Vm.sol";

/// @title What a request costs: written to snapshots/PegOut.json, which is committed
/// @dev Each call is a transaction of its own (isolate), with intrinsic gas and cold storage, as users pay it.
/// forge-config: default.isolate = true
contract GasTest is BridgeFixture {
    function testGasOfEveryKind() external {
        vm.deal(address(this), 1 ether);
        string[5] memory names = ["P2PKH", "P2SH", "P2WPKH", "P2WSH", "P2TR"];
        bytes32 program = keccak256("an ordinary hash");
        // The first request ever also pays for a slot that was zero.
        bridge.requestPegOutToScript{value: MIN * SAT}(abi.encodePacked(hex"5120", program));
        vm.snapshotGasLastCall("PegOut", "first request ever, script P2TR");
        for (uint8 kind = 0; kind < 5; ++kind) {
            (string memory text, bytes memory script) =
                AddressEncoder.encode(AddressEncoder.Kind(kind), program, BitcoinNetwork.Mainnet);
            configure(BitcoinNetwork.Mainnet);
            bridge.requestPegOut{value: MIN * SAT}(text);
            vm.snapshotGasLastCall("PegOut", string.concat("address ", names[kind]));
            bridge.requestPegOutToScript{value: MIN * SAT}(script);
            vm.snapshotGasLastCall("PegOut", string.concat("script ", names[kind]));
        }
    }
}
