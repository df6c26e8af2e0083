// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {Bridge} from "../../src/Bridge.sol";

/// @title Contracts that call the Bridge for somebody
contract Forwarder {
    error OnPurpose();

    function forward(Bridge bridge, bytes calldata script) external payable returns (uint64) {
        return bridge.requestPegOutToScript{value: msg.value}(script);
    }

    /// @dev Two requests in one transaction.
    function forwardTwice(Bridge bridge, bytes calldata script, string calldata bitcoinAddress)
        external
        payable
    {
        bridge.requestPegOutToScript{value: msg.value / 2}(script);
        bridge.requestPegOut{value: msg.value / 2}(bitcoinAddress);
    }

    /// @dev The request succeeds, and is undone with everything else.
    function forwardAndRevert(Bridge bridge, bytes calldata script) external payable {
        bridge.requestPegOutToScript{value: msg.value}(script);
        revert OnPurpose();
    }

    /// @dev Swallows a refusal: the ether stays here.
    function tryForward(Bridge bridge, bytes calldata script) external payable returns (bool accepted) {
        try bridge.requestPegOutToScript{value: msg.value}(script) returns (uint64) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev The Bridge runs in this contract's storage, which no genesis configured.
    function delegate(Bridge bridge, bytes calldata script)
        external
        payable
        returns (bool success, bytes memory result)
    {
        return address(bridge).delegatecall(abi.encodeCall(Bridge.requestPegOutToScript, (script)));
    }
}

/// @title Tries to get back into the Bridge whenever it is given control
contract Reentrant {
    Bridge private immutable BRIDGE;
    bytes private script;
    uint256 public entered;

    constructor(Bridge bridge, bytes memory script_) {
        BRIDGE = bridge;
        script = script_;
    }

    function attack() external payable {
        BRIDGE.requestPegOutToScript{value: msg.value}(script);
    }

    fallback() external payable {
        ++entered;
        BRIDGE.requestPegOutToScript{value: msg.value}(script);
    }

    receive() external payable {
        ++entered;
        BRIDGE.requestPegOutToScript{value: msg.value}(script);
    }
}
