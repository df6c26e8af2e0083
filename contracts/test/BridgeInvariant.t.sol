// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {BitcoinNetwork} from "../src/BitcoinAddress.sol";
import {Bridge} from "../src/Bridge.sol";
import {AddressEncoder} from "./support/AddressEncoder.sol";
import {BridgeFixture} from "./support/BridgeFixture.sol";
import {Forwarder} from "./support/Callers.sol";
import {Vm, vm} from "./support/Vm.sol";

/// @title Many users, good and bad requests, direct and through contracts; keeps its own books from the logs alone
contract BridgeUsers {
    Bridge private immutable BRIDGE;
    Forwarder private immutable FORWARDER = new Forwarder();
    uint64 private immutable MIN;
    uint64 private immutable MAX;

    uint256 public loggedRequests;
    uint256 public loggedSats;
    uint256 public refusals;
    uint256 public wronglyAccepted;
    uint256 public wronglyLogged;

    bytes32 private constant EVENT = keccak256("PegOutRequested(uint64,address,bytes,uint64)");

    constructor(Bridge bridge, uint64 min, uint64 max) {
        (BRIDGE, MIN, MAX) = (bridge, min, max);
    }

    function burnToAddress(uint160 user, uint8 kind, bytes32 program, uint256 amount) external {
        (string memory text, bytes memory script) = destination(kind, program);
        uint64 sats = within(amount);
        fundAndPrank(user, sats);
        BRIDGE.requestPegOut{value: uint256(sats) * 1e10}(text);
        book(account(user), script, sats);
    }

    function burnToScript(uint160 user, uint8 kind, bytes32 program, uint256 amount) external {
        (, bytes memory script) = destination(kind, program);
        uint64 sats = within(amount);
        fundAndPrank(user, sats);
        BRIDGE.requestPegOutToScript{value: uint256(sats) * 1e10}(script);
        book(account(user), script, sats);
    }

    function burnThroughContract(uint160 user, uint8 kind, bytes32 program, uint256 amount) external {
        (, bytes memory script) = destination(kind, program);
        uint64 sats = within(amount);
        fundAndPrank(user, sats);
        FORWARDER.forward{value: uint256(sats) * 1e10}(BRIDGE, script);
        book(address(FORWARDER), script, sats);
    }

    function burnAndRevert(uint160 user, uint8 kind, bytes32 program, uint256 amount) external {
        (, bytes memory script) = destination(kind, program);
        uint64 sats = within(amount);
        fundAndPrank(user, sats);
        try FORWARDER.forwardAndRevert{value: uint256(sats) * 1e10}(BRIDGE, script) {
            ++wronglyAccepted;
        } catch {
            ++refusals;
        }
    }

    function burnTooLittle(uint160 user, uint8 kind, bytes32 program, uint256 amount) external {
        refused(user, kind, program, (amount % MIN) * 1e10);
    }

    function burnTooMuch(uint160 user, uint8 kind, bytes32 program, uint256 amount) external {
        refused(user, kind, program, (uint256(MAX) + 1 + (amount % 1e20)) * 1e10);
    }

    function burnAFraction(uint160 user, uint8 kind, bytes32 program, uint256 amount, uint256 wei_) external {
        refused(user, kind, program, uint256(within(amount)) * 1e10 + 1 + (wei_ % (1e10 - 1)));
    }

    function burnToTheFederation(uint160 user, uint256 amount) external {
        bytes memory script = BRIDGE.federationScript();
        uint64 sats = within(amount);
        fundAndPrank(user, sats);
        try BRIDGE.requestPegOutToScript{value: uint256(sats) * 1e10}(script) {
            ++wronglyAccepted;
        } catch {
            ++refusals;
        }
    }

    function burnToGarbage(uint160 user, string calldata text, uint256 amount) external {
        uint64 sats = within(amount);
        // In no alphabet: without it Foundry finds the valid addresses in the other tests and tries them.
        string memory garbage = string.concat(text, "!");
        fundAndPrank(user, sats);
        try BRIDGE.requestPegOut{value: uint256(sats) * 1e10}(garbage) {
            ++wronglyAccepted;
        } catch {
            ++refusals;
        }
    }

    function refused(uint160 user, uint8 kind, bytes32 program, uint256 value) private {
        (string memory text,) = destination(kind, program);
        vm.deal(account(user), value);
        vm.prank(account(user));
        try BRIDGE.requestPegOut{value: value}(text) {
            ++wronglyAccepted;
        } catch {
            ++refusals;
        }
    }

    /// @dev Hashed, or Foundry finds the federation's own key in the Bridge's storage and asks for that.
    function destination(uint8 kind, bytes32 program) private pure returns (string memory, bytes memory) {
        bytes32 hash = keccak256(abi.encode(program));
        return AddressEncoder.encode(AddressEncoder.Kind(kind % 5), hash, BitcoinNetwork.Regtest);
    }

    /// @dev Never the Bridge, which cannot call, nor a contract of the tests: those have addresses below 2^159.
    function account(uint160 user) private pure returns (address) {
        return address(user | (1 << 159));
    }

    function within(uint256 amount) private view returns (uint64) {
        return uint64(MIN + (amount % (uint256(MAX) - MIN + 1)));
    }

    function fundAndPrank(uint160 user, uint64 sats) private {
        vm.deal(account(user), uint256(sats) * 1e10);
        vm.recordLogs();
        vm.prank(account(user));
    }

    /// @dev Exactly one log, and it says what was asked for, with the next number.
    function book(address sender, bytes memory script, uint64 sats) private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        bool right = logs.length == 1 && logs[0].emitter == address(BRIDGE) && logs[0].topics.length == 3;
        right = right && logs[0].topics[0] == EVENT && uint256(logs[0].topics[1]) == loggedRequests;
        right = right && logs[0].topics[2] == bytes32(uint256(uint160(sender)));
        right = right && keccak256(logs[0].data) == keccak256(abi.encode(script, sats));
        if (!right) ++wronglyLogged;
        (, uint64 logged) = abi.decode(logs[0].data, (bytes, uint64));
        ++loggedRequests;
        loggedSats += logged;
    }
}

/// @title The books always balance
contract BridgeInvariantTest is BridgeFixture {
    BridgeUsers private users;

    function setUp() public override {
        super.setUp();
        users = new BridgeUsers(bridge, MIN, MAX);
    }

    /// @dev Foundry reads this: only the users act.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(users);
    }

    /// @dev Sum of the events = burned wei = the contract's own total.
    function invariantEveryBurnedWeiHasItsEvent() external view {
        assertEq(users.loggedSats() * SAT, address(bridge).balance, "burned wei");
        assertEq(users.loggedSats(), bridge.totalBurnedSats(), "totalBurnedSats");
    }

    function invariantSequencesHaveNoGaps() external view {
        assertEq(users.wronglyLogged(), 0, "logs");
        assertEq(users.loggedRequests(), bridge.nextSequence(), "nextSequence");
    }

    function invariantWhatIsRefusedBurnsNothing() external view {
        assertEq(users.wronglyAccepted(), 0, "accepted");
    }

    function invariantParametersNeverChange() external view {
        assertEq(uint256(bridge.network()), uint256(BitcoinNetwork.Regtest), "network");
        assertEq(bridge.minPegOutSats(), MIN, "minPegOutSats");
        assertEq(bridge.maxPegOutSats(), MAX, "maxPegOutSats");
        assertEq(bridge.federationScript(), federationScript(), "federationScript");
    }
}
