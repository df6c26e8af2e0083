// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

/// @notice There is no `1` between a human-readable part and the data.
error MissingBech32Separator();

/// @notice The human-readable part belongs to another network, or to no Bitcoin network at all.
error WrongHumanReadablePart(string expected, string found);

/// @notice A character outside Bech32's alphabet. `position` counts from 0.
error InvalidBech32Character(uint256 position, bytes1 found);

/// @notice Upper and lower case in one address (BIP-173 forbids that). `position` is that of the first offender.
error MixedCase(uint256 position, bytes1 found);

/// @notice The data is shorter than a witness version and the checksum's six characters.
error Bech32TooShort(uint256 expectedAtLeast, uint256 found);

/// @notice The checksum polynomial's remainder: 1 for witness version 0 (Bech32), 0x2bc830a3 for others (Bech32m).
error BadBech32Checksum(uint32 expected, uint32 found);

/// @notice A witness version that no rule of Bitcoin gives a meaning yet: anybody could take what is paid there.
error UnsupportedWitnessVersion(uint8 expectedAtMost, uint8 found);

/// @notice `found` counts the characters between witness version and checksum: 32 stand for a program of 20 bytes, 52 for
/// one of 32 bytes.
error WrongWitnessProgramLength(uint8 version, string expected, uint256 found);

/// @notice The bits after the program must be zero.
error NonZeroPadding(uint8 expected, uint8 found);

/// @title Bech32 and Bech32m addresses of witness versions 0 and 1
/// @dev BIP-173 and BIP-350; the programs' lengths are those of BIP-141 (20 and 32 bytes) and BIP-341 (32 bytes).
library SegwitAddress {
    /// @dev BIP-173: a Bech32 string has at most 90 characters.
    uint256 internal constant MAX_CHARACTERS = 90;

    uint256 private constant CHECKSUM_CHARACTERS = 6;
    uint256 private constant BECH32 = 1;
    uint256 private constant BECH32M = 0x2bc830a3;

    /// @dev The value of each character of the alphabet "qpzry9x8gf2tvdw0s3jn54khce6mua7l", by its distance from '0' or 'a';
    /// ff where there is none (1, b, i, o).
    bytes32 private constant DIGITS = 0x0fff0a1115141a1e0705ffffffffffffffffffffffffffffffffffffffffffff;
    bytes32 private constant LETTERS = 0x1dff180d19090817ff12161f1b13ff010003100b1c0c0e060402ffffffffffff;

    /// @notice Decodes and checks an address.
    /// @param text At most `MAX_CHARACTERS` (the caller's check).
    /// @param expectedPrefix The network's human-readable part, in lower case.
    /// @return version 0 or 1.
    /// @return program A program of 32 bytes, or one of 20 bytes followed by zeros.
    /// @return isShort Whether it is the one of 20 bytes; only version 0 has that.
    function decode(bytes calldata text, bytes memory expectedPrefix)
        internal
        pure
        returns (uint8 version, bytes32 program, bool isShort)
    {
        (uint256 start, uint256 checksum) = _readPrefix(text, expectedPrefix);
        uint256 bits;
        uint256 last;
        (checksum, version, bits, last) = _readData(text, start, checksum);

        uint256 expected = version == 0 ? BECH32 : BECH32M;
        if (checksum != expected) revert BadBech32Checksum(uint32(expected), uint32(checksum));
        if (version > 1) revert UnsupportedWitnessVersion(1, version);

        uint256 characters = text.length - start - 1 - CHECKSUM_CHARACTERS;
        if (characters == 52) {
            // 260 bits: 51 characters, then one bit of the last; its other four are padding.
            if (last & 0x0f != 0) revert NonZeroPadding(0, uint8(last & 0x0f));
            program = bytes32((bits << 1) | (last >> 4));
        } else if (characters == 32 && version == 0) {
            // 160 bits: no padding.
            program = bytes32(((bits << 5) | last) << 96);
            isShort = true;
        } else {
            revert WrongWitnessProgramLength(
                version, version == 0 ? "32 or 52 characters" : "52 characters", characters
            );
        }
    }

    /// @dev Checks everything up to the separator.
    /// @return start Where the data starts; a version and a checksum fit behind it.
    /// @return checksum The checksum so far.
    function _readPrefix(bytes calldata text, bytes memory expectedPrefix)
        private
        pure
        returns (uint256 start, uint256 checksum)
    {
        uint256 separator = _separator(text);
        _requireOneCase(text);
        bytes memory prefix = _lowerCase(text[:separator]);
        if (keccak256(prefix) != keccak256(expectedPrefix)) {
            revert WrongHumanReadablePart(string(expectedPrefix), string(prefix));
        }
        start = separator + 1;
        uint256 length = text.length - start;
        if (length < 1 + CHECKSUM_CHARACTERS) revert Bech32TooShort(1 + CHECKSUM_CHARACTERS, length);
        checksum = _expandPrefix(prefix);
    }

    /// @dev Reads everything behind the separator.
    /// @return remainder The checksum over all of it.
    /// @return version The first character.
    /// @return bits The program's last 256 bits, without its last character.
    /// @return last The program's last character.
    function _readData(bytes calldata text, uint256 start, uint256 checksum)
        private
        pure
        returns (uint256 remainder, uint8 version, uint256 bits, uint256 last)
    {
        remainder = checksum;
        for (uint256 i = start; i < text.length; ++i) {
            uint256 value = _value(text[i]);
            if (value == 0xff) revert InvalidBech32Character(i, text[i]);
            remainder = _step(remainder, value);
            if (i == start) {
                version = uint8(value);
            } else if (i + CHECKSUM_CHARACTERS < text.length) {
                bits = (bits << 5) | last;
                last = value;
            }
        }
    }

    /// @dev The last `1`: human-readable parts may contain it, the data cannot.
    function _separator(bytes calldata text) private pure returns (uint256) {
        for (uint256 i = text.length; i > 0; --i) {
            if (text[i - 1] == "1") return i - 1;
        }
        revert MissingBech32Separator();
    }

    function _requireOneCase(bytes calldata text) private pure {
        bool lower;
        bool upper;
        for (uint256 i = 0; i < text.length; ++i) {
            bytes1 character = text[i];
            if (character >= "a" && character <= "z") lower = true;
            else if (character >= "A" && character <= "Z") upper = true;
            if (lower && upper) revert MixedCase(i, character);
        }
    }

    function _lowerCase(bytes calldata text) private pure returns (bytes memory lower) {
        lower = text;
        for (uint256 i = 0; i < lower.length; ++i) {
            if (lower[i] >= "A" && lower[i] <= "Z") lower[i] |= 0x20;
        }
    }

    /// @dev `bech32_hrp_expand` of BIP-173, fed into the checksum.
    function _expandPrefix(bytes memory prefix) private pure returns (uint256 checksum) {
        checksum = 1;
        for (uint256 i = 0; i < prefix.length; ++i) {
            checksum = _step(checksum, uint8(prefix[i]) >> 5);
        }
        checksum = _step(checksum, 0);
        for (uint256 i = 0; i < prefix.length; ++i) {
            checksum = _step(checksum, uint8(prefix[i]) & 31);
        }
    }

    /// @dev One step of `bech32_polymod` of BIP-173.
    function _step(uint256 checksum, uint256 value) private pure returns (uint256 next) {
        next = ((checksum & 0x1ffffff) << 5) ^ value;
        if (checksum & (1 << 25) != 0) next ^= 0x3b6a57b2;
        if (checksum & (1 << 26) != 0) next ^= 0x26508e6d;
        if (checksum & (1 << 27) != 0) next ^= 0x1ea119fa;
        if (checksum & (1 << 28) != 0) next ^= 0x3d4233dd;
        if (checksum & (1 << 29) != 0) next ^= 0x2a1462b3;
    }

    function _value(bytes1 character) private pure returns (uint256) {
        uint256 code = uint8(character);
        unchecked {
            if (code >= 0x30 && code < 0x30 + 10) return uint8(DIGITS[code - 0x30]);
            // Bit 5 is all that upper and lower case differ in.
            if (code >= 0x41 && code < 0x80) {
                code = (code | 0x20) - 0x61;
                if (code < 26) return uint8(LETTERS[code]);
            }
        }
        return 0xff;
    }
}
