// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {BitcoinNetwork} from "../src/BitcoinAddress.sol";
import {Bridge} from "../src/Bridge.sol";
import {UnknownScriptTemplate} from "../src/ScriptTemplates.sol";
import {AddressEncoder} from "./support/AddressEncoder.sol";
import {BridgeFixture} from "./support/BridgeFixture.sol";
import {Forwarder, Reentrant} from "./support/Callers.sol";
import {vm} from "./support/Vm.sol";

/// @title What burns, what is refused, and that nothing lies between
contract BridgeTest is BridgeFixture {
    /// @dev Declared again because `emit Bridge.PegOutRequested` would not tell a change of the signature.
    event PegOutRequested(uint64 indexed sequence, address indexed sender, bytes scriptPubKey, uint64 sats);

    bytes private constant P2WPKH = hex"00146f58bac9506f9bfb821d62e69330410bb56f0085";
    string private constant P2WPKH_ADDRESS = "bcrt1qdavt4j2sd7dlhqsavtnfxvzppw6k7qy97tmnu9";
    address private constant ALICE = address(0xa11ce);

    function setUp() public override {
        super.setUp();
        vm.deal(address(this), 1e6 ether);
        vm.deal(ALICE, 1e6 ether);
    }

    function assertUnchanged(uint64 requests, uint256 sats) private view {
        assertEq(bridge.nextSequence(), requests, "nextSequence");
        assertEq(bridge.totalBurnedSats(), sats, "totalBurnedSats");
        assertEq(address(bridge).balance, sats * SAT, "burned wei");
    }

    function testBurnsToAnAddress() external {
        vm.expectEmit(true, true, true, true, address(bridge));
        emit PegOutRequested(0, ALICE, P2WPKH, 30_000);
        vm.prank(ALICE);
        uint64 sequence = bridge.requestPegOut{value: 30_000 * SAT}(P2WPKH_ADDRESS);
        assertEq(sequence, 0, "sequence");
        assertUnchanged(1, 30_000);
        assertEq(ALICE.balance, 1e6 ether - 30_000 * SAT, "sender's balance");
    }

    function testBurnsToEveryTemplate() external {
        bytes32 program = keccak256("program");
        for (uint8 kind = 0; kind < 5; ++kind) {
            (string memory text, bytes memory script) =
                AddressEncoder.encode(AddressEncoder.Kind(kind), program, BitcoinNetwork.Regtest);
            vm.expectEmit(true, true, true, true, address(bridge));
            emit PegOutRequested(2 * kind, address(this), script, MIN);
            bridge.requestPegOut{value: MIN * SAT}(text);
            vm.expectEmit(true, true, true, true, address(bridge));
            emit PegOutRequested(2 * kind + 1, address(this), script, MIN + 1);
            bridge.requestPegOutToScript{value: (MIN + 1) * SAT}(script);
        }
        assertUnchanged(10, 5 * (2 * MIN + 1));
    }

    function testLimitsAreInclusive() external {
        bridge.requestPegOutToScript{value: MIN * SAT}(P2WPKH);
        bridge.requestPegOutToScript{value: MAX * SAT}(P2WPKH);
        assertUnchanged(2, uint256(MIN) + MAX);
    }

    /// @dev Regression A4: what is too small to be paid is refused, and not burned and ignored.
    function testA4BelowMinimumIsRefused() external {
        vm.expectRevert(abi.encodeWithSelector(Bridge.BelowMinimum.selector, MIN, MIN - 1));
        bridge.requestPegOutToScript{value: (MIN - 1) * SAT}(P2WPKH);
        vm.expectRevert(abi.encodeWithSelector(Bridge.BelowMinimum.selector, MIN, 0));
        bridge.requestPegOut(P2WPKH_ADDRESS);
        assertUnchanged(0, 0);
    }

    function testAboveMaximumIsRefused() external {
        vm.expectRevert(abi.encodeWithSelector(Bridge.AboveMaximum.selector, MAX, MAX + 1));
        bridge.requestPegOutToScript{value: (uint256(MAX) + 1) * SAT}(P2WPKH);
        // More satoshi than 64 bits hold.
        vm.deal(address(this), type(uint256).max);
        uint256 huge = uint256(1) << 70;
        vm.expectRevert(abi.encodeWithSelector(Bridge.AboveMaximum.selector, MAX, huge));
        bridge.requestPegOutToScript{value: huge * SAT}(P2WPKH);
        assertUnchanged(0, 0);
    }

    function testFractionOfASatoshiIsRefused() external {
        vm.expectRevert(abi.encodeWithSelector(Bridge.FractionalSatoshi.selector, SAT, 1));
        bridge.requestPegOutToScript{value: MIN * SAT + 1}(P2WPKH);
        vm.expectRevert(abi.encodeWithSelector(Bridge.FractionalSatoshi.selector, SAT, SAT - 1));
        bridge.requestPegOut{value: MIN * SAT - 1}(P2WPKH_ADDRESS);
        assertUnchanged(0, 0);
    }

    function testFederationsOwnScriptIsRefused() external {
        bytes memory own = federationScript();
        vm.expectRevert(abi.encodeWithSelector(Bridge.FederationOwnScript.selector, own));
        bridge.requestPegOutToScript{value: MIN * SAT}(own);
        string memory text = AddressEncoder.segwit("bcrt", 1, abi.encodePacked(keccak256("federation")));
        vm.expectRevert(abi.encodeWithSelector(Bridge.FederationOwnScript.selector, own));
        bridge.requestPegOut{value: MIN * SAT}(text);
        assertUnchanged(0, 0);
    }

    function testBadAddressBurnsNothing() external {
        vm.expectRevert(hex"");
        this.burnToBadAddress();
    }

    /// @dev Empties the reason, which `AddressesTest` covers; what matters here is the state.
    function burnToBadAddress() external {
        try bridge.requestPegOut{value: MIN * SAT}("bcrt1qdavt4j2sd7dlhqsavtnfxvzppw6k7qy97tmnu8") {}
        catch {
            assertUnchanged(0, 0);
            assembly ("memory-safe") {
                revert(0, 0)
            }
        }
    }

    function testUnknownTemplatesAreRefused() external {
        bytes20 hash = bytes20(uint160(1));
        bytes[14] memory scripts = [
            bytes(""),
            hex"6a",
            hex"51",
            hex"51024e73", // pay-to-anchor
            abi.encodePacked(hex"5114", hash), // version 1, 20 bytes
            abi.encodePacked(hex"5220", bytes32(hash)), // version 2
            abi.encodePacked(hex"0021", bytes32(hash), hex"00"), // version 0, 33 bytes
            abi.encodePacked(hex"0013", bytes19(hash)), // version 0, 19 bytes
            abi.encodePacked(hex"21", bytes32(hash), hex"02ac"), // pay to public key
            abi.encodePacked(hex"76a914", hash, hex"88ad"), // CHECKSIGVERIFY
            abi.encodePacked(hex"76a913", hash, hex"88ac"),
            abi.encodePacked(hex"a914", hash, hex"88"),
            abi.encodePacked(hex"a814", hash, hex"87"), // SHA256 where HASH160 belongs
            abi.encodePacked(hex"6a14", hash)
        ];
        for (uint256 i = 0; i < scripts.length; ++i) {
            bytes memory reported = scripts[i];
            if (reported.length > 34) {
                reported = new bytes(34);
                for (uint256 j = 0; j < 34; ++j) {
                    reported[j] = scripts[i][j];
                }
            }
            vm.expectRevert(abi.encodeWithSelector(UnknownScriptTemplate.selector, reported));
            bridge.requestPegOutToScript{value: MIN * SAT}(scripts[i]);
        }
        assertUnchanged(0, 0);
    }

    /// @dev Regression A4: a burn through another contract counts, in that contract's name.
    function testA4BurnThroughAContractCounts() external {
        Forwarder forwarder = new Forwarder();
        vm.expectEmit(true, true, true, true, address(bridge));
        emit PegOutRequested(0, address(forwarder), P2WPKH, MIN);
        forwarder.forward{value: MIN * SAT}(bridge, P2WPKH);
        assertUnchanged(1, MIN);
    }

    function testTwoBurnsInOneTransaction() external {
        Forwarder forwarder = new Forwarder();
        vm.expectEmit(true, true, true, true, address(bridge));
        emit PegOutRequested(0, address(forwarder), P2WPKH, MIN);
        vm.expectEmit(true, true, true, true, address(bridge));
        emit PegOutRequested(1, address(forwarder), P2WPKH, MIN);
        forwarder.forwardTwice{value: 2 * MIN * SAT}(bridge, P2WPKH, P2WPKH_ADDRESS);
        assertUnchanged(2, 2 * uint256(MIN));
    }

    function testARevertedCallTakesNoSequence() external {
        Forwarder forwarder = new Forwarder();
        vm.expectRevert(abi.encodeWithSelector(Forwarder.OnPurpose.selector));
        forwarder.forwardAndRevert{value: MIN * SAT}(bridge, P2WPKH);
        assertTrue(!forwarder.tryForward{value: MIN * SAT}(bridge, hex"6a"), "refused");
        assertUnchanged(0, 0);
        assertTrue(forwarder.tryForward{value: MIN * SAT}(bridge, P2WPKH), "accepted");
        assertUnchanged(1, MIN);
    }

    function testTheBridgeCallsNobodyBack() external {
        Reentrant reentrant = new Reentrant(bridge, P2WPKH);
        reentrant.attack{value: MIN * SAT}();
        assertEq(reentrant.entered(), 0, "entered");
        assertUnchanged(1, MIN);
    }

    /// @dev A copy elsewhere, or a delegatecall, has no parameters: it burns nothing.
    function testACopyIsNotConfigured() external {
        Bridge copy = new Bridge();
        vm.expectRevert(abi.encodeWithSelector(Bridge.NotConfigured.selector));
        copy.requestPegOutToScript{value: MIN * SAT}(P2WPKH);
        vm.expectRevert(abi.encodeWithSelector(Bridge.NotConfigured.selector));
        copy.requestPegOut{value: MIN * SAT}(P2WPKH_ADDRESS);
        vm.expectRevert(abi.encodeWithSelector(Bridge.NotConfigured.selector));
        copy.decodeAddress(P2WPKH_ADDRESS);

        Forwarder forwarder = new Forwarder();
        (bool success, bytes memory result) = forwarder.delegate{value: MIN * SAT}(bridge, P2WPKH);
        assertTrue(!success, "delegatecall");
        assertEq(result, abi.encodeWithSelector(Bridge.NotConfigured.selector), "reason");
    }

    function testPlainTransfersAreRefused() external {
        (bool success,) = address(bridge).call{value: 1 ether}("");
        assertTrue(!success, "transfer");
        (success,) = address(bridge).call{value: 1 ether}(hex"12345678");
        assertTrue(!success, "unknown function");
        (success,) =
            address(bridge).call{value: 1 ether}(abi.encodeCall(bridge.decodeAddress, (P2WPKH_ADDRESS)));
        assertTrue(!success, "view with value");
        assertUnchanged(0, 0);
    }

    /// @dev Ether that is forced in is no request: only the balance grows, never the total.
    function testForcedEtherIsNoRequest() external {
        // As a withdrawal does, or `selfdestruct`: a credit without a call.
        vm.deal(address(bridge), 3 ether);
        assertEq(address(bridge).balance, 3 ether, "balance");
        assertEq(bridge.totalBurnedSats(), 0, "totalBurnedSats");
        assertEq(bridge.nextSequence(), 0, "nextSequence");
        bridge.requestPegOutToScript{value: MIN * SAT}(P2WPKH);
        assertEq(address(bridge).balance, 3 ether + MIN * SAT, "balance");
        assertEq(bridge.totalBurnedSats(), MIN, "totalBurnedSats");
    }

    /// @dev Whatever anybody calls, the parameters stay: the ABI has nothing else that writes.
    function testParametersStay() external {
        bridge.requestPegOutToScript{value: MIN * SAT}(P2WPKH);
        assertEq(uint256(bridge.network()), uint256(BitcoinNetwork.Regtest), "network");
        assertEq(bridge.minPegOutSats(), MIN, "minPegOutSats");
        assertEq(bridge.maxPegOutSats(), MAX, "maxPegOutSats");
        assertEq(bridge.federationScript(), federationScript(), "federationScript");
        assertEq(bridge.WEI_PER_SAT(), SAT, "WEI_PER_SAT");
    }
}
