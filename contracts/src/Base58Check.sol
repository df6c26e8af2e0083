// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

/// @notice A character outside Base58's alphabet. `position` counts from 0.
error InvalidBase58Character(uint256 position, bytes1 found);

/// @notice A Base58Check address is a version byte, a 20-byte hash and 4 bytes of checksum: `expected` is always 25.
error WrongBase58Length(uint256 expected, uint256 found);

/// @notice The last four bytes are not the double SHA-256 of those before: a typing error, most likely.
error BadBase58Checksum(bytes4 expected, bytes4 found);

/// @title Base58Check of a version byte and a 20-byte hash
/// @dev As in Bitcoin Core's `base58.cpp`. An address of 25 bytes has at most 35 characters, so that its number fits into
/// one word: no big-number arithmetic.
library Base58Check {
    /// @dev More characters than any 25 bytes need; 58^35 < 2^206.
    uint256 internal constant MAX_CHARACTERS = 35;

    /// @dev Version byte, hash and checksum.
    uint256 private constant PAYLOAD_LENGTH = 25;

    /// @dev The value of each character of the alphabet "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", by its
    /// distance from '0', 'A' or 'a'; ff where there is none (0, I, O, l).
    bytes32 private constant DIGITS = 0xff000102030405060708ffffffffffffffffffffffffffffffffffffffffffff;
    bytes32 private constant UPPER = 0x090a0b0c0d0e0f10ff1112131415ff161718191a1b1c1d1e1f20ffffffffffff;
    bytes32 private constant LOWER = 0x2122232425262728292a2bff2c2d2e2f30313233343536373839ffffffffffff;

    /// @notice Decodes and checks an address. The caller judges the version byte.
    /// @param text At most 35 characters; more is refused.
    function decode(bytes calldata text) internal pure returns (uint8 version, bytes20 hash) {
        // No text that long has 25 bytes, unless it starts with '1's that stand for zero bytes beyond them.
        if (text.length > MAX_CHARACTERS) revert WrongBase58Length(PAYLOAD_LENGTH, text.length);

        uint256 number;
        uint256 leadingZeros; // each leading '1' is a zero byte
        for (uint256 i = 0; i < text.length; ++i) {
            uint256 digit = _value(text[i]);
            if (digit == 0xff) revert InvalidBase58Character(i, text[i]);
            unchecked {
                // 35 characters stay below 2^206.
                number = number * 58 + digit;
                if (number == 0) ++leadingZeros;
            }
        }

        // Exactly one text stands for 25 given bytes: as many '1's as leading zero bytes, and no more.
        uint256 length = leadingZeros + _byteLength(number);
        if (length != PAYLOAD_LENGTH) revert WrongBase58Length(PAYLOAD_LENGTH, length);

        bytes4 found = bytes4(uint32(number));
        bytes21 payload = bytes21(uint168(number >> 32));
        bytes4 expected = bytes4(sha256(abi.encodePacked(sha256(abi.encodePacked(payload)))));
        if (found != expected) revert BadBase58Checksum(expected, found);

        version = uint8(payload[0]);
        hash = bytes20(uint160(number >> 32));
    }

    function _value(bytes1 character) private pure returns (uint256) {
        uint256 code = uint8(character);
        unchecked {
            if (code >= 0x61 && code < 0x61 + 26) return uint8(LOWER[code - 0x61]);
            if (code >= 0x41 && code < 0x41 + 26) return uint8(UPPER[code - 0x41]);
            if (code >= 0x30 && code < 0x30 + 10) return uint8(DIGITS[code - 0x30]);
        }
        return 0xff;
    }

    function _byteLength(uint256 number) private pure returns (uint256 length) {
        for (; number != 0; number >>= 8) {
            unchecked {
                ++length;
            }
        }
    }
}
