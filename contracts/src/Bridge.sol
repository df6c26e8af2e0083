// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {BitcoinAddress, BitcoinNetwork} from "./BitcoinAddress.sol";
import {ScriptTemplates} from "./ScriptTemplates.sol";

/// @title The way out of Alys: burns BTC here so that the federation pays it on Bitcoin
/// @author Alys
///
/// @notice Send BTC along with a Bitcoin address, or with an output script. The BTC is burned at once, and the request gets
/// the next sequence number. What could not be paid is refused, and the BTC stays with the caller; nothing is burned and ignored.
/// The payment's share of Bitcoin's fee is deducted from it on Bitcoin.
///
/// Anybody may call, contracts too: whoever's call it is, the burn counts.
///
/// @dev Burned means locked here, for ever: the contract has no way to send anything. So the supply that still circulates is the
/// total supply less this contract's balance. That balance is `totalBurnedSats` times 10^10 wei, plus what was forced in
/// without a request (`selfdestruct`, or a deposit that names this address), which is lost to its sender and counts as surplus.
/// Plain transfers are refused.
///
/// A predeploy: no constructor runs. Genesis writes the parameters into the storage slots below, and nothing can change them: there
/// is no owner, no setter, no upgrade. The layout is part of the interface:
///
/// | slot | bytes from the right | field                                               |
/// |------|----------------------|-----------------------------------------------------|
/// | 0    | 0..8                 | nextSequence (0 at genesis)                         |
/// | 0    | 8..16                | totalBurnedSats (0 at genesis)                      |
/// | 1    |                      | federationScript, as Solidity stores `bytes`        |
/// | 2    | 0                    | network: 1 mainnet, 2 testnet and signet, 3 regtest |
/// | 2    | 1..9                 | minPegOutSats                                       |
/// | 2    | 9..17                | maxPegOutSats                                       |
contract Bridge {
    /// @notice A satoshi of Bitcoin is 10^10 wei here.
    uint256 public constant WEI_PER_SAT = 1e10;

    /// @notice The next request's sequence number; equals the number of requests so far.
    uint64 public nextSequence;

    /// @notice The sum of all requests, in satoshi.
    uint64 public totalBurnedSats;

    /// @notice The federation's own output script. Paying it would be a deposit without an owner, so it is refused.
    bytes public federationScript;

    /// @notice The Bitcoin network whose addresses are payable.
    BitcoinNetwork public network;

    /// @notice The least that one request may burn, in satoshi.
    uint64 public minPegOutSats;

    /// @notice The most that one request may burn, in satoshi.
    uint64 public maxPegOutSats;

    /// @notice A burn that the federation will pay, once final.
    /// @param sequence Counts the requests, from 0, without gaps.
    /// @param sender The account that called, which may be a contract.
    /// @param scriptPubKey The Bitcoin output script to pay: P2PKH, P2SH, P2WPKH, P2WSH or P2TR.
    /// @param sats The amount burned, in satoshi.
    event PegOutRequested(uint64 indexed sequence, address indexed sender, bytes scriptPubKey, uint64 sats);

    /// @notice This is a copy of the code that no genesis gave parameters to. Expected: the predeploy.
    error NotConfigured();

    /// @notice Bitcoin cannot express the amount: `remainder` wei are too much, or `expectedMultipleOf - remainder` are missing.
    error FractionalSatoshi(uint256 expectedMultipleOf, uint256 remainder);

    /// @notice Both in satoshi.
    error BelowMinimum(uint64 expectedAtLeast, uint256 found);

    /// @notice Both in satoshi.
    error AboveMaximum(uint64 expectedAtMost, uint256 found);

    /// @notice The destination is the federation itself. Expected: any other script.
    error FederationOwnScript(bytes found);

    /// @notice Burns the BTC sent along, to be paid to a Bitcoin address.
    /// @param bitcoinAddress P2PKH or P2SH (Base58Check), P2WPKH or P2WSH (Bech32), P2TR (Bech32m), of this network.
    /// @return sequence The request's number.
    function requestPegOut(string calldata bitcoinAddress) external payable returns (uint64 sequence) {
        return _burn(decodeAddress(bitcoinAddress));
    }

    /// @notice Burns the BTC sent along, to be paid to a Bitcoin output script.
    /// @param scriptPubKey One of P2PKH, P2SH, P2WPKH, P2WSH, P2TR.
    /// @return sequence The request's number.
    function requestPegOutToScript(bytes calldata scriptPubKey) external payable returns (uint64 sequence) {
        ScriptTemplates.requireStandard(scriptPubKey);
        return _burn(scriptPubKey);
    }

    /// @notice The output script of an address of this network. Reverts as `requestPegOut` would.
    function decodeAddress(string calldata bitcoinAddress) public view returns (bytes memory scriptPubKey) {
        if (network == BitcoinNetwork.Unset) revert NotConfigured();
        return BitcoinAddress.toScript(bitcoinAddress, network);
    }

    /// @dev Calls nobody, so there is nothing to re-enter.
    function _burn(bytes memory scriptPubKey) private returns (uint64 sequence) {
        if (network == BitcoinNetwork.Unset) revert NotConfigured();

        uint256 remainder = msg.value % WEI_PER_SAT;
        if (remainder != 0) revert FractionalSatoshi(WEI_PER_SAT, remainder);
        uint256 amount = msg.value / WEI_PER_SAT;
        if (amount < minPegOutSats) revert BelowMinimum(minPegOutSats, amount);
        if (amount > maxPegOutSats) revert AboveMaximum(maxPegOutSats, amount);
        if (keccak256(scriptPubKey) == keccak256(federationScript)) revert FederationOwnScript(scriptPubKey);

        // At most maxPegOutSats, hence 64 bits.
        uint64 sats = uint64(amount);
        sequence = nextSequence;
        nextSequence = sequence + 1;
        totalBurnedSats += sats;
        emit PegOutRequested(sequence, msg.sender, scriptPubKey, sats);
    }
}
