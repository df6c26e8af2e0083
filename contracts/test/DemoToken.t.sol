// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {DemoToken} from "../src/DemoToken.sol";

contract DemoTokenTest {
    function testDeployerHoldsTheSupplyAndCanSend() external {
        DemoToken token = new DemoToken(1_000);
        assert(token.totalSupply() == 1_000 && token.balanceOf(address(this)) == 1_000);
        assert(token.transfer(address(0xb0b), 400));
        assert(token.balanceOf(address(0xb0b)) == 400 && token.balanceOf(address(this)) == 600);
    }
}
