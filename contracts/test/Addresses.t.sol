// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {InvalidBase58Character, WrongBase58Length, BadBase58Checksum} from "../src/Base58Check.sol";
import {BitcoinNetwork, WrongAddressLength, WrongBase58Version} from "../src/BitcoinAddress.sol";
import {
    BadBech32Checksum,
    Bech32TooShort,
    InvalidBech32Character,
    MissingBech32Separator,
    MixedCase,
    NonZeroPadding,
    UnsupportedWitnessVersion,
    WrongHumanReadablePart,
    WrongWitnessProgramLength
} from "../src/SegwitAddress.sol";
import {AddressEncoder} from "./support/AddressEncoder.sol";
import {BridgeFixture} from "./support/BridgeFixture.sol";
import {vm} from "./support/Vm.sol";

/// @title Address decoding against published vectors and against rust-bitcoin
contract AddressesTest is BridgeFixture {
    /// @dev BIP-173, "Test vectors", and BIP-350, "Test vectors for v0-v16 native segregated witness addresses".
    function testBip173AndBip350ValidAddresses() external {
        configure(BitcoinNetwork.Mainnet);
        assertDecodes(
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", hex"0014751e76e8199196d454941c45d1b3a323f1433bd6"
        );
        assertDecodes(
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            hex"512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        );
        configure(BitcoinNetwork.Testnet);
        assertDecodes(
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
            hex"00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"
        );
        assertDecodes(
            "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
            hex"0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433"
        );
        assertDecodes(
            "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
            hex"5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433"
        );
    }

    /// @dev BIP-350: valid segwit addresses whose outputs anybody could spend, or that no rule defines. Refused here.
    function testBip350ValidAddressesOfOtherTemplates() external {
        configure(BitcoinNetwork.Mainnet);
        assertRefused(
            "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
            WrongWitnessProgramLength.selector
        );
        assertRefused("BC1SW50QGDZ25J", UnsupportedWitnessVersion.selector);
        assertRefused("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", UnsupportedWitnessVersion.selector);
        // Bitcoin Core, pay-to-anchor.
        assertRefused("bc1pfeessrawgf", WrongWitnessProgramLength.selector);
    }

    /// @dev BIP-350, the list of invalid addresses.
    function testBip350InvalidAddressesOfMainnet() external {
        configure(BitcoinNetwork.Mainnet);
        assertRefused(
            "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut", WrongHumanReadablePart.selector
        );
        assertRefused(
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", BadBech32Checksum.selector
        );
        assertRefused(
            "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL", BadBech32Checksum.selector
        );
        assertRefused("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", BadBech32Checksum.selector);
        assertRefused(
            "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", InvalidBech32Character.selector
        );
        assertRefused(
            "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
            UnsupportedWitnessVersion.selector
        );
        assertRefused("bc1pw5dgrnzv", WrongWitnessProgramLength.selector);
        assertRefused(
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
            WrongWitnessProgramLength.selector
        );
        assertRefused("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", WrongWitnessProgramLength.selector);
        assertRefused(
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
            WrongWitnessProgramLength.selector
        );
        assertRefused("bc1gmk9yu", Bech32TooShort.selector);
    }

    /// @dev BIP-350, the list of invalid addresses.
    function testBip350InvalidAddressesOfTestnet() external {
        configure(BitcoinNetwork.Testnet);
        assertRefused(
            "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf", BadBech32Checksum.selector
        );
        assertRefused(
            "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47", BadBech32Checksum.selector
        );
        assertRefused("tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq", MixedCase.selector);
        assertRefused(
            "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j", NonZeroPadding.selector
        );
    }

    /// @dev BIP-173, the list of invalid segwit addresses.
    function testBip173InvalidAddresses() external {
        configure(BitcoinNetwork.Mainnet);
        assertRefused("tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty", WrongHumanReadablePart.selector);
        assertRefused("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", BadBech32Checksum.selector);
        assertRefused("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", WrongWitnessProgramLength.selector);
        // Valid Bech32, as BIP-173 had it for versions above 0; BIP-350 wants Bech32m there.
        assertRefused("BC1SW50QA3JX3S", BadBech32Checksum.selector);
        configure(BitcoinNetwork.Testnet);
        assertRefused("tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sL5k7", MixedCase.selector);
        assertRefused(
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3pjxtptv", NonZeroPadding.selector
        );
    }

    /// @dev BIP-173 and BIP-350: strings that are valid Bech32 or Bech32m and no address, or neither.
    function testBip173AndBip350StringsThatAreNoAddress() external {
        string[19] memory strings = [
            "A1LQFN3A",
            "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
            "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
            "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
            "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
            "?1v759aa",
            " 1xj0phk",
            "\x7f1g6xzxy",
            "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
            "qyrz8wqd2c9m",
            "1qyrz8wqd2c9m",
            "y1b0jsk6g",
            "lt1igcx5c0",
            "in1muywd",
            "mm1crxm3i",
            "au1s5cgom",
            "M1VUXWEZ",
            "16plkw9",
            "1p2gdwpf"
        ];
        for (uint256 network = 1; network <= 3; ++network) {
            configure(BitcoinNetwork(network));
            for (uint256 i = 0; i < strings.length; ++i) {
                assertTrue(refusal(strings[i]) != 0, strings[i]);
            }
        }
    }

    /// @dev Bitcoin Core, src/test/data/key_io_valid.json (entries of the five templates).
    function testBitcoinCoreKeyIoValid() external {
        configure(BitcoinNetwork.Mainnet);
        assertDecodes(
            "1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2mo", hex"76a914a31c06bd463e3923bc1aadbde48b16976c08071788ac"
        );
        assertDecodes(
            "36j4NfKv6Akva9amjWrLG6MuSQym1GuEmm", hex"a914373b819a068f32b7a6b38b6b38729647cfde01c287"
        );
        assertDecodes(
            "bc1qvyq0cc6rahyvsazfdje0twl7ez82ndmuac2lhv", hex"00146100fc6343edc8c874496cb2f5bbfec88ea9b77c"
        );
        assertDecodes(
            "bc1qyucykdlhp62tezs0hagqury402qwhk589q80tqs5myh3rxq34nwqhkdhv7",
            hex"002027304b37f70e94bc8a0fbf500e0c957a80ebda87280ef58214d92f119811acdc"
        );
        assertDecodes(
            "BC1P83N3AU0RJYLEFXQ2NC2XH2Y4JZZ4PM6ZXJ4MW5PAGDJJR2A9F36S6JJNNU",
            hex"51203c671ef1e3913f94980a9e146ba895908550ef4234abb7503d436521aba54c75"
        );
        configure(BitcoinNetwork.Testnet);
        assertDecodes(
            "mzK2FFDEhxqHcmrJw1ysqFkVyhUULo45hZ", hex"76a914ce28b26c57472737f5c3561a1761185bd8589a4388ac"
        );
        assertDecodes(
            "2NC2hEhe28ULKAJkW5MjZ3jtTMJdvXmByvK", hex"a914ce0bba75891ff9ec60148d4bd4a09ee2dc5c933187"
        );
        assertDecodes(
            "tb1qcrh3yqn4nlleplcez2yndq2ry8h9ncg3qh7n54", hex"0014c0ef1202759fff90ff19128936814321ee59e111"
        );
        configure(BitcoinNetwork.Regtest);
        assertDecodes(
            "n4fajahJrAuKbN7uNsKjLjQkz9Qn5ewJXQ", hex"76a914fdeca3b08e38af53d7c4c60e3ad208ce5066441088ac"
        );
        assertDecodes(
            "2MxFajLApXpYk4VodBSZSt7rw8y4ryABkfA", hex"a91436e9f191e0b75036a77f65e2eaa4752443233fbe87"
        );
        assertDecodes(
            "BCRT1QDAVT4J2SD7DLHQSAVTNFXVZPPW6K7QY97TMNU9", hex"00146f58bac9506f9bfb821d62e69330410bb56f0085"
        );
        assertDecodes(
            "bcrt1pfwxjqvtt4tcxrtdluukfmy2dv7xd2qzdfy6kajv5nwn4yam3wxkq3553uh",
            hex"51204b8d20316baaf061adbfe72c9d914d678cd5004d49356ec9949ba752777171ac"
        );
    }

    /// @dev Bitcoin Core, src/test/data/key_io_invalid.json: the ones nearest to an address, for every network.
    function testBitcoinCoreKeyIoInvalid() external {
        string[14] memory strings = [
            "",
            "x",
            "2MygHQjE1U33q3LSC53p69YqFjP8PihumJAF",
            "KzNbAQ4mexfAxa6RKBzHQqfoTycaeWpv2p",
            "AZEah8d1EK362okRBS66e8SvdtYkrE8tsX",
            "2NDNP7GY59tTJPZTpbkprhM9SR99Nn5rUs7",
            "39TKsUQ5QpEL1wowc6GMUqak94ijirPuP69ooV3xsFmiKQX2dau",
            "bt1pq65rzej5glw3ra79gav6fqnx4haa0z257qr3mc8cggkefahmgvyseufhc0",
            "tb13hty4qmumlwpp6chxjvcyzza4duqgtmxw3xhm3u9ahj4nyhtwz8eq7ynrj4",
            "bcrt1q888ryfgxpvl0k7vum8zpyar2u2sexvdhkf38ue37yknmqq0ycrwpl3w48y",
            "bcrt1qzwmyj0z924g7fzs5yvnrkc43y76RVyr2lh5t4r",
            "bc1qpu6d26mrulzetu4jqhd7rsunv9aqru26f5c4j8",
            "bc1p702xksx4z3uqf0u2phllxkfe5cgu0adxptqs0uelx0tqt8e885sqryes2l",
            "bcrt1q60chha7wfwlau4kdr4mlvyeyc8mnnh9dhxk05e0hmrxcuhghefj36uwyha"
        ];
        for (uint256 network = 1; network <= 3; ++network) {
            configure(BitcoinNetwork(network));
            for (uint256 i = 0; i < strings.length; ++i) {
                assertTrue(refusal(strings[i]) != 0, strings[i]);
            }
        }
    }

    /// @dev The addresses that rust-bitcoin makes: contracts/bindings/tests/vectors.rs.
    function testRustBitcoinVectors() external {
        string memory json = vm.readFile("test/vectors/addresses.json");
        string[3] memory names = [".mainnet", ".testnet", ".regtest"];
        for (uint256 i = 0; i < 3; ++i) {
            configure(BitcoinNetwork(i + 1));
            string[] memory addresses = vm.parseJsonStringArray(json, string.concat(names[i], ".addresses"));
            bytes[] memory scripts = vm.parseJsonBytesArray(json, string.concat(names[i], ".scripts"));
            assertEq(addresses.length, 60, "vectors");
            assertEq(scripts.length, 60, "vectors");
            for (uint256 j = 0; j < addresses.length; ++j) {
                assertDecodes(addresses[j], scripts[j]);
            }
        }
    }

    /// @dev Addresses of other chains (Litecoin, Dogecoin, and Liquid's prefix): their hashes may have no owner on Bitcoin.
    function testAddressesOfOtherChainsAreRefused() external {
        configure(BitcoinNetwork.Mainnet);
        assertRefused(AddressEncoder.base58Check(48, bytes20(uint160(1))), WrongBase58Version.selector);
        assertRefused(AddressEncoder.base58Check(30, bytes20(uint160(1))), WrongBase58Version.selector);
        assertRefused(
            AddressEncoder.segwit("ltc", 0, abi.encodePacked(bytes20(uint160(1)))),
            WrongHumanReadablePart.selector
        );
        assertRefused(
            AddressEncoder.segwit("ex", 0, abi.encodePacked(bytes20(uint160(1)))),
            WrongHumanReadablePart.selector
        );
    }

    function testErrorsCarryExpectedAndFound() external {
        string memory tooLong = string(new bytes(91));
        vm.expectRevert(abi.encodeWithSelector(WrongAddressLength.selector, 90, 91));
        bridge.decodeAddress(tooLong);
        vm.expectRevert(abi.encodeWithSelector(WrongAddressLength.selector, 90, 0));
        bridge.decodeAddress("");
        vm.expectRevert(abi.encodeWithSelector(WrongHumanReadablePart.selector, "bcrt", "bc"));
        bridge.decodeAddress("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4");
        vm.expectRevert(abi.encodeWithSelector(WrongBase58Version.selector, 0x6f, 0xc4, 0));
        bridge.decodeAddress("1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2mo");
        vm.expectRevert(abi.encodeWithSelector(InvalidBase58Character.selector, 2, bytes1("0")));
        bridge.decodeAddress("mz0");
        vm.expectRevert(abi.encodeWithSelector(WrongBase58Length.selector, 25, 2));
        bridge.decodeAddress("mz");
        vm.expectRevert(abi.encodeWithSelector(MixedCase.selector, 4, bytes1("Q")));
        bridge.decodeAddress("bc1qQ");
        vm.expectRevert(abi.encodeWithSelector(Bech32TooShort.selector, 7, 6));
        bridge.decodeAddress("bcrt1qqqqqq");
        vm.expectRevert(abi.encodeWithSelector(InvalidBech32Character.selector, 5, bytes1("b")));
        bridge.decodeAddress("bcrt1bqqqqqqq");
        vm.expectRevert(abi.encodeWithSelector(MissingBech32Separator.selector));
        bridge.decodeAddress("bcrt");
        string memory good = AddressEncoder.segwit("bcrt", 1, abi.encodePacked(bytes32(uint256(7))));
        string memory asBech32 = AddressEncoder.bech32("bcrt", 1, abi.encodePacked(bytes32(uint256(7))), 1, 0);
        assertTrue(refusal(good) == 0, "good");
        vm.expectRevert(abi.encodeWithSelector(BadBech32Checksum.selector, 0x2bc830a3, 1));
        bridge.decodeAddress(asBech32);
        string memory version16 = AddressEncoder.segwit("bcrt", 16, abi.encodePacked(bytes32(uint256(7))));
        vm.expectRevert(abi.encodeWithSelector(UnsupportedWitnessVersion.selector, 1, 16));
        bridge.decodeAddress(version16);
        string memory v1Short = AddressEncoder.segwit("bcrt", 1, abi.encodePacked(bytes20(uint160(7))));
        vm.expectRevert(abi.encodeWithSelector(WrongWitnessProgramLength.selector, 1, "52 characters", 32));
        bridge.decodeAddress(v1Short);
        string memory v0Long = AddressEncoder.segwit("bcrt", 0, abi.encodePacked(bytes32(0), bytes8(0)));
        vm.expectRevert(
            abi.encodeWithSelector(WrongWitnessProgramLength.selector, 0, "32 or 52 characters", 64)
        );
        bridge.decodeAddress(v0Long);
        string memory padded =
            AddressEncoder.bech32("bcrt", 1, abi.encodePacked(bytes32(uint256(7))), 0x2bc830a3, 5);
        vm.expectRevert(abi.encodeWithSelector(NonZeroPadding.selector, 0, 5));
        bridge.decodeAddress(padded);
    }

    function testBadBase58ChecksumCarriesExpectedAndFound() external {
        bytes memory payload = abi.encodePacked(uint8(0x6f), bytes20(uint160(5)));
        bytes4 expected = bytes4(sha256(abi.encodePacked(sha256(payload))));
        string memory bad = AddressEncoder.base58(bytes.concat(payload, ~expected));
        vm.expectRevert(abi.encodeWithSelector(BadBase58Checksum.selector, expected, ~expected));
        bridge.decodeAddress(bad);
        // Every byte of the checksum counts.
        for (uint256 i = 0; i < 4; ++i) {
            bytes4 found = expected ^ (bytes4(hex"01000000") >> (8 * i));
            bad = AddressEncoder.base58(bytes.concat(payload, found));
            vm.expectRevert(abi.encodeWithSelector(BadBase58Checksum.selector, expected, found));
            bridge.decodeAddress(bad);
        }
    }

    /// @dev Base58 is unique: a `1` more or less in front is another text, and no address.
    function testBase58LeadingOnes() external {
        configure(BitcoinNetwork.Mainnet);
        string memory zero = AddressEncoder.base58Check(0, bytes20(0));
        assertDecodes(zero, abi.encodePacked(hex"76a914", bytes20(0), hex"88ac"));
        assertRefused(string.concat("1", zero), WrongBase58Length.selector);
        bytes memory shorter = bytes(zero);
        for (uint256 i = 0; i + 1 < shorter.length; ++i) {
            shorter[i] = shorter[i + 1];
        }
        shorter[shorter.length - 1] = "1";
        assertTrue(refusal(string(shorter)) != 0, "rotated");
        assertRefused("1111111111111111111111111", BadBase58Checksum.selector);
        assertRefused("11111111111111111111111111111111111", WrongBase58Length.selector);
        assertRefused("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", WrongBase58Length.selector);
    }
}
