// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title The ERC-20 that the devnet deploys and calls, to show that ordinary contracts run
contract DemoToken is ERC20 {
    /// @param supply Goes to the deployer, in units of 10^-18 token.
    constructor(uint256 supply) ERC20("Alys Demo", "DEMO") {
        _mint(msg.sender, supply);
    }
}
