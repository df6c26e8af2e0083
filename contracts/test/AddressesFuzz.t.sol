// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {BitcoinNetwork} from "../src/BitcoinAddress.sol";
import {AddressEncoder} from "./support/AddressEncoder.sol";
import {BridgeFixture} from "./support/BridgeFixture.sol";
import {vm} from "./support/Vm.sol";

/// @title What the independent encoder writes is read back, and nothing near it is
contract AddressesFuzzTest is BridgeFixture {
    function encode(uint8 kind, bytes32 program, uint8 network)
        private
        returns (string memory text, bytes memory script)
    {
        BitcoinNetwork bitcoinNetwork = BitcoinNetwork(1 + (network % 3));
        configure(bitcoinNetwork);
        return AddressEncoder.encode(AddressEncoder.Kind(kind % 5), program, bitcoinNetwork);
    }

    function isSegwit(uint8 kind) private pure returns (bool) {
        return kind % 5 >= 2;
    }

    function testFuzzRoundTrip(uint8 kind, bytes32 program, uint8 network) external {
        (string memory text, bytes memory script) = encode(kind, program, network);
        assertDecodes(text, script);
    }

    /// @dev Short numbers, so that Base58 starts with many ones.
    function testFuzzRoundTripOfSmallHashes(uint8 kind, bytes32 program, uint8 network, uint8 zeros)
        external
    {
        (string memory text, bytes memory script) = encode(kind, program >> zeros, network);
        assertDecodes(text, script);
    }

    /// @dev BIP-173: an encoder may write upper case, for QR codes.
    function testFuzzUpperCaseSegwit(uint8 kind, bytes32 program, uint8 network) external {
        (string memory text, bytes memory script) = encode(2 + (kind % 3), program, network);
        assertDecodes(AddressEncoder.upperCase(text), script);
    }

    function testFuzzOneSubstitutionIsRefused(
        uint8 kind,
        bytes32 program,
        uint8 network,
        uint256 position,
        bytes1 replacement
    ) external {
        (string memory text,) = encode(kind, program, network);
        bytes memory changed = bytes(text);
        position %= changed.length;
        vm.assume(changed[position] != replacement);
        changed[position] = replacement;
        assertTrue(refusal(string(changed)) != 0, string(changed));
    }

    /// @dev The substitutions that a checksum alone must catch: from within the alphabet.
    function testFuzzOneSubstitutionWithinTheAlphabetIsRefused(
        uint8 kind,
        bytes32 program,
        uint8 network,
        uint256 position,
        uint256 digit
    ) external {
        (string memory text,) = encode(kind, program, network);
        bytes memory alphabet = isSegwit(kind) ? AddressEncoder.BECH32 : AddressEncoder.BASE58;
        bytes memory changed = bytes(text);
        position %= changed.length;
        bytes1 replacement = alphabet[digit % alphabet.length];
        vm.assume(changed[position] != replacement);
        changed[position] = replacement;
        assertTrue(refusal(string(changed)) != 0, string(changed));
    }

    /// @dev Also two to four substitutions, which Bech32 detects for certain.
    function testFuzzUpToFourSubstitutionsInSegwitAreRefused(
        uint8 kind,
        bytes32 program,
        uint8 network,
        uint256[4] calldata positions,
        uint256[4] calldata digits
    ) external {
        (string memory text,) = encode(2 + (kind % 3), program, network);
        bytes memory changed = abi.encodePacked(text);
        for (uint256 i = 0; i < 4; ++i) {
            // Behind the separator of the longest prefix.
            changed[5 + (positions[i] % (changed.length - 5))] = AddressEncoder.BECH32[digits[i] % 32];
        }
        vm.assume(keccak256(changed) != keccak256(bytes(text)));
        assertTrue(refusal(string(changed)) != 0, string(changed));
    }

    /// @dev Bech32's known weakness is inserting a `q` before a final `p`; the lengths of programs exclude it.
    function testFuzzOneInsertionIsRefused(
        uint8 kind,
        bytes32 program,
        uint8 network,
        uint256 position,
        uint256 digit
    ) external {
        (string memory text,) = encode(kind, program, network);
        bytes memory alphabet = isSegwit(kind) ? AddressEncoder.BECH32 : AddressEncoder.BASE58;
        bytes memory original = bytes(text);
        bytes memory changed = new bytes(original.length + 1);
        position %= changed.length;
        for (uint256 i = 0; i < changed.length; ++i) {
            if (i == position) changed[i] = alphabet[digit % alphabet.length];
            else changed[i] = original[i < position ? i : i - 1];
        }
        assertTrue(refusal(string(changed)) != 0, string(changed));
    }

    function testFuzzOneDeletionIsRefused(uint8 kind, bytes32 program, uint8 network, uint256 position)
        external
    {
        (string memory text,) = encode(kind, program, network);
        bytes memory original = bytes(text);
        bytes memory changed = new bytes(original.length - 1);
        position %= original.length;
        for (uint256 i = 0; i < changed.length; ++i) {
            changed[i] = original[i < position ? i : i + 1];
        }
        assertTrue(refusal(string(changed)) != 0, string(changed));
    }

    function testFuzzOtherNetworkIsRefused(uint8 kind, bytes32 program, uint8 network) external {
        (string memory text,) = encode(kind, program, network);
        for (uint8 other = 0; other < 3; ++other) {
            if (other == network % 3) continue;
            configure(BitcoinNetwork(1 + other));
            // The test networks share Base58's version bytes.
            bool alike = !isSegwit(kind) && other > 0 && network % 3 > 0;
            assertTrue((refusal(text) == 0) == alike, text);
        }
    }

    /// @dev Version 0 with Bech32m, version 1 with Bech32, other versions, other lengths.
    function testFuzzOtherWitnessProgramsAreRefused(uint8 version, bytes calldata program, bool bech32m)
        external
        view
    {
        version %= 32;
        bytes memory cut = program[:program.length > 40 ? 40 : program.length];
        bool standard = version == 0 ? (cut.length == 20 || cut.length == 32) && !bech32m : false;
        standard = standard || (version == 1 && cut.length == 32 && bech32m);
        string memory text = AddressEncoder.bech32("bcrt", version, cut, bech32m ? 0x2bc830a3 : 1, 0);
        assertTrue((refusal(text) == 0) == standard, text);
    }

    /// @dev Whatever is accepted is what the independent encoder writes. (Foundry picks valid addresses from other tests.)
    function testFuzzGarbageIsRefused(string calldata text, uint8 network) external {
        BitcoinNetwork bitcoinNetwork = BitcoinNetwork(1 + (network % 3));
        configure(bitcoinNetwork);
        try bridge.decodeAddress(text) returns (bytes memory script) {
            string memory written = AddressEncoder.fromScript(script, bitcoinNetwork);
            bool same = keccak256(bytes(written)) == keccak256(bytes(text));
            bool sameInUpperCase = script.length != 25 && script.length != 23
                && keccak256(bytes(AddressEncoder.upperCase(written))) == keccak256(bytes(text));
            assertTrue(same || sameInUpperCase, text);
        } catch {}
    }

    /// @dev Bytes that are no text at all.
    function testFuzzBinaryGarbageIsRefused(bytes calldata text, uint8 network) external {
        configure(BitcoinNetwork(1 + (network % 3)));
        string memory binary = string(bytes.concat(text, hex"ff"));
        assertTrue(refusal(binary) != 0, binary);
    }

    /// @dev The right prefix, alphabet and length, and no checksum: accepted by chance once in 2^30.
    function testFuzzPlausibleGarbageIsRefused(uint8 kind, bytes32 program, uint8 network, bytes32 entropy)
        external
    {
        (string memory text,) = encode(kind, program, network);
        bytes memory alphabet = isSegwit(kind) ? AddressEncoder.BECH32 : AddressEncoder.BASE58;
        bytes memory changed = bytes(text);
        for (uint256 i = isSegwit(kind) ? 5 : 1; i < changed.length; ++i) {
            changed[i] = alphabet[uint256(keccak256(abi.encode(entropy, i))) % alphabet.length];
        }
        assertTrue(refusal(string(changed)) != 0, string(changed));
    }

    /// @dev Each way for one changed byte to make a script another template, or none.
    function testFuzzScriptIsAcceptedOnlyIfStandard(
        uint8 kind,
        bytes32 program,
        uint256 position,
        bytes1 replacement
    ) external {
        (, bytes memory script) = AddressEncoder.encode(
            AddressEncoder.Kind(kind % 5), program, BitcoinNetwork.Regtest
        );
        bytes memory original = abi.encodePacked(script);
        script[position % script.length] = replacement;
        vm.assume(keccak256(script) != keccak256(federationScript()));
        vm.deal(address(this), MIN * SAT);
        try bridge.requestPegOutToScript{value: MIN * SAT}(script) {
            assertTrue(sameTemplate(original, script), "template");
        } catch {
            assertTrue(!sameTemplate(original, script), "template");
        }
    }

    /// @dev Opcodes and lengths equal, pushed bytes free; the two witness programs of 32 bytes differ in the first byte.
    function sameTemplate(bytes memory original, bytes memory changed) private pure returns (bool) {
        uint256 length = original.length;
        uint256 head = length == 25 ? 3 : 2;
        uint256 tail = length == 25 ? 2 : length == 23 ? 1 : 0;
        for (uint256 i = 0; i < length; ++i) {
            bool fixed_ = i < head || i >= length - tail;
            bool swap = length == 34 && i == 0 && (changed[0] == 0x00 || changed[0] == 0x51);
            if (fixed_ && !swap && original[i] != changed[i]) return false;
        }
        return true;
    }
}
