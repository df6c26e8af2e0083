// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {BitcoinNetwork} from "../../src/BitcoinAddress.sol";

/// @title Bitcoin addresses, encoded
/// @dev Shares nothing with `src`: Base58 by long division of a byte string, Bech32 as the reference code of BIP-173 and
/// BIP-350 reads.
library AddressEncoder {
    bytes internal constant BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    bytes internal constant BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

    enum Kind {
        P2pkh,
        P2sh,
        P2wpkh,
        P2wsh,
        P2tr
    }

    function encode(Kind kind, bytes32 program, BitcoinNetwork network)
        internal
        pure
        returns (string memory, bytes memory script)
    {
        bool mainnet = network == BitcoinNetwork.Mainnet;
        bytes20 hash = bytes20(program);
        if (kind == Kind.P2pkh) {
            return (base58Check(mainnet ? 0 : 111, hash), abi.encodePacked(hex"76a914", hash, hex"88ac"));
        }
        if (kind == Kind.P2sh) {
            return (base58Check(mainnet ? 5 : 196, hash), abi.encodePacked(hex"a914", hash, hex"87"));
        }
        bytes memory prefix =
            mainnet ? bytes("bc") : network == BitcoinNetwork.Testnet ? bytes("tb") : bytes("bcrt");
        if (kind == Kind.P2wpkh) {
            return (segwit(prefix, 0, abi.encodePacked(hash)), abi.encodePacked(hex"0014", hash));
        }
        if (kind == Kind.P2wsh) {
            return (segwit(prefix, 0, abi.encodePacked(program)), abi.encodePacked(hex"0020", program));
        }
        return (segwit(prefix, 1, abi.encodePacked(program)), abi.encodePacked(hex"5120", program));
    }

    /// @param script One of the five templates.
    function fromScript(bytes memory script, BitcoinNetwork network)
        internal
        pure
        returns (string memory text)
    {
        uint256 start = script.length == 25 ? 3 : 2;
        Kind kind = script.length == 25
            ? Kind.P2pkh
            : script.length == 23
                ? Kind.P2sh
                : script.length == 22 ? Kind.P2wpkh : script[0] == 0x00 ? Kind.P2wsh : Kind.P2tr;
        uint256 program;
        for (uint256 i = 0; i < 32; ++i) {
            program = (program << 8) | (start + i < script.length ? uint8(script[start + i]) : 0);
        }
        (text,) = encode(kind, bytes32(program), network);
    }

    function base58Check(uint8 version, bytes20 hash) internal pure returns (string memory) {
        bytes memory payload = abi.encodePacked(version, hash);
        return base58(bytes.concat(payload, bytes4(sha256(abi.encodePacked(sha256(payload))))));
    }

    function base58(bytes memory data) internal pure returns (string memory) {
        bytes memory digits = new bytes(data.length * 2);
        uint256 length;
        for (uint256 i = 0; i < data.length; ++i) {
            uint256 carry = uint8(data[i]);
            for (uint256 j = 0; j < length; ++j) {
                carry += uint256(uint8(digits[j])) << 8;
                digits[j] = bytes1(uint8(carry % 58));
                carry /= 58;
            }
            for (; carry > 0; carry /= 58) {
                digits[length++] = bytes1(uint8(carry % 58));
            }
        }
        for (uint256 i = 0; i < data.length && data[i] == 0; ++i) {
            digits[length++] = 0;
        }
        bytes memory text = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            text[i] = BASE58[uint8(digits[length - 1 - i])];
        }
        return string(text);
    }

    function segwit(bytes memory prefix, uint8 version, bytes memory program)
        internal
        pure
        returns (string memory)
    {
        return bech32(prefix, version, program, version == 0 ? 1 : 0x2bc830a3, 0);
    }

    /// @param padding What the bits after the program hold: 0 in a valid address.
    function bech32(bytes memory prefix, uint8 version, bytes memory program, uint32 constant_, uint8 padding)
        internal
        pure
        returns (string memory)
    {
        // convertbits(program, 8, 5)
        bytes memory values = abi.encodePacked(version);
        uint256 accumulator;
        uint256 bits;
        for (uint256 i = 0; i < program.length; ++i) {
            accumulator = ((accumulator << 8) | uint8(program[i])) & 0xffff;
            for (bits += 8; bits >= 5;) {
                bits -= 5;
                values = abi.encodePacked(values, uint8((accumulator >> bits) & 31));
            }
        }
        if (bits > 0) values = abi.encodePacked(values, uint8(((accumulator << (5 - bits)) & 31) | padding));

        // bech32_create_checksum
        bytes memory expanded;
        for (uint256 i = 0; i < prefix.length; ++i) {
            expanded = abi.encodePacked(expanded, uint8(prefix[i]) >> 5);
        }
        expanded = abi.encodePacked(expanded, uint8(0));
        for (uint256 i = 0; i < prefix.length; ++i) {
            expanded = abi.encodePacked(expanded, uint8(prefix[i]) & 31);
        }
        uint32 polymod = bech32Polymod(bytes.concat(expanded, values, new bytes(6))) ^ constant_;
        for (uint256 i = 0; i < 6; ++i) {
            values = abi.encodePacked(values, uint8((polymod >> (5 * (5 - i))) & 31));
        }

        bytes memory text = bytes.concat(prefix, "1");
        for (uint256 i = 0; i < values.length; ++i) {
            text = abi.encodePacked(text, BECH32[uint8(values[i])]);
        }
        return string(text);
    }

    function bech32Polymod(bytes memory values) private pure returns (uint32 checksum) {
        uint32[5] memory generator = [
            uint32(0x3b6a57b2), uint32(0x26508e6d), uint32(0x1ea119fa), uint32(0x3d4233dd), uint32(0x2a1462b3)
        ];
        checksum = 1;
        for (uint256 i = 0; i < values.length; ++i) {
            uint32 top = checksum >> 25;
            checksum = ((checksum & 0x1ffffff) << 5) ^ uint8(values[i]);
            for (uint256 bit = 0; bit < 5; ++bit) {
                if ((top >> bit) & 1 == 1) checksum ^= generator[bit];
            }
        }
    }

    function upperCase(string memory text) internal pure returns (string memory) {
        bytes memory upper = abi.encodePacked(text);
        for (uint256 i = 0; i < upper.length; ++i) {
            if (upper[i] >= "a" && upper[i] <= "z") upper[i] = bytes1(uint8(upper[i]) - 32);
        }
        return string(upper);
    }
}
