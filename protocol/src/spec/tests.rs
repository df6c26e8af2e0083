//! Each rule of chain specs is broken once, and the refusal says what was expected and found.

use super::*;
use crate::bls::SecretKey;
use crate::certificate::MAX_MEMBERS;
use crate::execution::{BRIDGE, SYSTEM_CONTRACTS, VAULT};
use crate::signer::MAX_DEPOSIT_PROOFS;
use crate::units::MemberId;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::Keypair;
use proptest::prelude::*;

pub(crate) fn bls_key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn schnorr(seed: u8) -> SchnorrPublicKeyBytes {
    let pair = Keypair::from_seckey_slice(&Secp256k1::new(), &[seed; 32]).unwrap();
    SchnorrPublicKeyBytes::new(pair.x_only_public_key().0.serialize())
}

pub(crate) fn members(count: u8) -> Vec<MemberSpec> {
    (1..=count)
        .map(|seed| MemberSpec {
            name: format!("member {seed}"),
            bls: bls_key(seed).public_key().to_bytes(),
            bls_possession: bls_key(seed).prove_possession(),
            schnorr: schnorr(seed),
            fee_recipient: EvmAddress::new([seed; 20]),
        })
        .collect()
}

/// A spec of `count` members that keeps every rule.
fn spec_of(count: u8) -> ChainSpec {
    let faults = count - (2 * count / 3 + 1);
    ChainSpec {
        name: "test".to_owned(),
        chain_id: ChainId::new(212_121),
        epoch: Epoch::new(0),
        slots: SlotSpec {
            duration_ms: 2000,
            genesis: Slot::new(850_000_000),
        },
        bitcoin: BitcoinSpec {
            network: Network::Regtest,
            start_height: BtcHeight::new(100),
            start_hash: BlockHash::from_byte_array([5; 32]),
            threshold: u16::from(count - faults),
            recovery_threshold: 2,
            recovery_keys: vec![schnorr(201), schnorr(202), schnorr(203)],
            recovery_timelock_blocks: 12_960,
        },
        deposits: DepositSpec {
            confirmations: 6,
            min_sats: Sats::new(10_000),
            max_withdrawals: 256,
        },
        pegout: PegOutSpec {
            min_sats: Sats::new(5_000_000),
            max_sats: Sats::new(1_000_000_000),
            max_batch_value_sats: Sats::new(5_000_000_000),
            max_burns: 20,
            max_inputs: 20,
            batch_interval_slots: 30,
            max_fee_rate_sats_per_kvb: SatsPerKvb::new(100_000),
            refresh_margin_blocks: 144,
        },
        mining: MiningSpec {
            aux_chain_id: 0xa175,
            pow_limit: Target::new([0x7f; 32]),
            anchor_target: Target::new([0x0f; 32]),
            slots_per_record: 300,
            half_life_slots: 43_200,
            max_blocks_without_pow: 1000,
        },
        execution: ExecutionSpec {
            genesis_hash: ExecutionHash::new([6; 32]),
            vault: VAULT,
            bridge: BRIDGE,
            gas_limit: 30_000_000,
            base_fee_wei: Wei::new(1_000_000),
        },
        members: members(count),
    }
}

fn spec() -> ChainSpec {
    spec_of(4)
}

fn refused(change: impl FnOnce(&mut ChainSpec)) -> SpecError {
    let mut changed = spec();
    change(&mut changed);
    assert_ne!(changed, spec(), "the change is none");
    Chain::new(changed).unwrap_err()
}

fn accepted(change: impl FnOnce(&mut ChainSpec)) {
    let mut changed = spec();
    change(&mut changed);
    Chain::new(changed).unwrap();
}

#[test]
fn federations_of_every_size_are_accepted() {
    for count in [1, 2, 3, 4, 5, 7, 10, 15, 21, 64] {
        let chain = Chain::new(spec_of(count)).unwrap();
        let roster = chain.roster();
        assert_eq!(roster.quorum() + roster.faults(), usize::from(count));
        assert!(3 * roster.faults() < usize::from(count));
        assert_eq!(chain.wallet().keys().len(), usize::from(count));
    }
}

#[test]
fn leaders_take_turns() {
    let chain = Chain::new(spec()).unwrap();
    for slot in [0, 1, 6, 7, u64::MAX] {
        let leader = chain.roster().leader(Slot::new(slot));
        assert_eq!(u64::from(leader.get()), slot % 4);
    }
}

#[test]
fn the_digest_and_the_genesis_id_cover_every_field() {
    let own = Chain::new(spec()).unwrap();
    // Computed by this code once: a change of the encoding is a change of every chain's identity.
    assert_eq!(own.digest().to_string(), GOLDEN_DIGEST);
    assert_eq!(own.genesis_id().to_string(), GOLDEN_GENESIS);
    let changes: [fn(&mut ChainSpec); 33] = [
        |spec| spec.name.push('x'),
        |spec| spec.chain_id = ChainId::new(7),
        |spec| spec.epoch = Epoch::new(1),
        |spec| spec.slots.duration_ms = 3000,
        |spec| spec.slots.genesis = Slot::new(1),
        |spec| spec.bitcoin.network = Network::Signet,
        |spec| spec.bitcoin.start_height = BtcHeight::new(101),
        |spec| spec.bitcoin.start_hash = BlockHash::from_byte_array([6; 32]),
        |spec| {
            spec.members.push(members(5).remove(4));
            spec.bitcoin.threshold = 4;
        },
        |spec| spec.bitcoin.recovery_threshold = 3,
        |spec| spec.bitcoin.recovery_keys.swap(0, 1),
        |spec| spec.bitcoin.recovery_timelock_blocks = 12_961,
        |spec| spec.deposits.confirmations = 7,
        |spec| spec.deposits.min_sats = Sats::new(10_001),
        |spec| spec.deposits.max_withdrawals = 257,
        |spec| spec.pegout.min_sats = Sats::new(5_000_001),
        |spec| spec.pegout.max_sats = Sats::new(1_000_000_001),
        |spec| spec.pegout.max_batch_value_sats = Sats::new(5_000_000_001),
        |spec| spec.pegout.max_burns = 21,
        |spec| spec.pegout.max_inputs = 21,
        |spec| spec.pegout.batch_interval_slots = 31,
        |spec| spec.pegout.max_fee_rate_sats_per_kvb = SatsPerKvb::new(100_001),
        |spec| spec.pegout.refresh_margin_blocks = 145,
        |spec| spec.mining.aux_chain_id = 1,
        |spec| spec.mining.pow_limit = Target::new([0x7e; 32]),
        |spec| spec.mining.anchor_target = Target::new([0x0e; 32]),
        |spec| spec.mining.slots_per_record = 301,
        |spec| spec.mining.half_life_slots = 43_201,
        |spec| spec.mining.max_blocks_without_pow = 1001,
        |spec| spec.execution.genesis_hash = ExecutionHash::new([7; 32]),
        |spec| spec.execution.vault = EvmAddress::new([0x77; 20]),
        |spec| spec.execution.gas_limit = 30_000_001,
        |spec| spec.execution.base_fee_wei = Wei::new(1_000_001),
    ];
    let mut seen = vec![own.digest()];
    for (place, change) in changes.iter().enumerate() {
        let mut changed = spec();
        change(&mut changed);
        let chain = Chain::new(changed).unwrap();
        assert!(!seen.contains(&chain.digest()), "change {place}");
        assert_ne!(chain.genesis_id(), own.genesis_id(), "change {place}");
        seen.push(chain.digest());
    }
}

const GOLDEN_DIGEST: &str = "0xa83908b928da59b9b5e0647b95fe892192cc7185f44bea15a69da12166d1d9bb";
const GOLDEN_GENESIS: &str = "0x98c9a60412c053412e7d3cfd54047821bc9d28bf5e4d19ac906d87abed6228d1";

#[test]
fn members_are_a_bounded_number_of_different_people() {
    assert_eq!(
        refused(|spec| spec.members.clear()),
        SpecError::Members { found: 0 }
    );
    assert_eq!(
        refused(|spec| spec.members = members(65)),
        SpecError::Members { found: 65 }
    );
    let shared = |what, second| SpecError::SharedByMembers {
        what,
        first: MemberId::new(0),
        second: MemberId::new(second),
    };
    assert_eq!(
        refused(|spec| spec.members[2].schnorr = schnorr(1)),
        shared("Schnorr key", 2)
    );
    assert_eq!(
        refused(|spec| {
            spec.members[3].bls = bls_key(1).public_key().to_bytes();
            spec.members[3].bls_possession = bls_key(1).prove_possession();
        }),
        shared("BLS key", 3)
    );
    let error = refused(|spec| spec.members[1].name = "member 1".to_owned());
    assert_eq!(error, shared("name", 1));
    assert_eq!(
        error.to_string(),
        "members: expected a name of its own for each, found that of member 0 at member 1"
    );
}

#[test]
fn names_cannot_deceive_a_terminal() {
    for bad in [
        "",
        "a\nb",
        "\u{1b}[2J",
        "\u{202e}ecila",
        "älys",
        &"x".repeat(65),
    ] {
        let found = bad.chars().take(64).collect::<String>();
        let error = refused(|spec| spec.name = bad.to_owned());
        assert_eq!(error, SpecError::Name { found });
        assert!(error.to_string().is_ascii() || bad == "älys", "{error}");
        assert!(matches!(
            refused(|spec| spec.members[0].name = bad.to_owned()),
            SpecError::Name { .. }
        ));
    }
    accepted(|spec| spec.name = "x".repeat(64));
}

#[test]
fn keys_are_keys_and_their_holders_have_them() {
    use crate::bls::BlsError;
    assert_eq!(
        refused(|spec| spec.members[0].bls_possession = bls_key(2).prove_possession()),
        SpecError::MemberBls {
            member: "member 1".to_owned(),
            error: BlsError::Mismatch
        }
    );
    assert!(matches!(
        refused(|spec| spec.members[0].bls = BlsPublicKeyBytes::ZERO),
        SpecError::MemberBls {
            error: BlsError::PublicKey(_),
            ..
        }
    ));
    let none = SchnorrPublicKeyBytes::new([0xff; 32]);
    assert_eq!(
        refused(|spec| spec.members[0].schnorr = none),
        SpecError::SchnorrKey(none)
    );
    assert_eq!(
        refused(|spec| spec.bitcoin.recovery_keys[1] = none),
        SpecError::SchnorrKey(none)
    );
    assert_eq!(
        refused(|spec| spec.bitcoin.recovery_keys[1] = schnorr(4)).to_string(),
        "bitcoin.recovery_keys: expected keys of no member, found \"member 4\"'s"
    );
    assert!(matches!(
        refused(|spec| spec.bitcoin.recovery_keys[1] = schnorr(201)),
        SpecError::Wallet(crate::federation::WalletError::DuplicateKey(_))
    ));
}

#[test]
fn the_threshold_is_safe_and_live() {
    // max(f, floor(n/2)) < m <= n - f.
    for (members, allowed) in [(1, 1..=1), (2, 2..=2), (3, 2..=3), (4, 3..=3), (7, 4..=5)] {
        for threshold in 0..=u16::from(members) + 1 {
            let mut changed = spec_of(members);
            changed.bitcoin.threshold = threshold;
            let outcome = Chain::new(changed);
            assert_eq!(
                outcome.is_ok(),
                allowed.contains(&threshold),
                "{threshold} of {members}"
            );
        }
    }
    assert_eq!(
        refused(|spec| spec.bitcoin.threshold = 2).to_string(),
        "bitcoin.threshold: expected above 2 and at most 3 for 4 members, found 2"
    );
}

#[test]
fn slots_are_whole_seconds_and_genesis_is_in_our_time() {
    for found in [0, 1, 999, 1001, 2500, 61_000, u64::MAX] {
        let error = refused(|spec| spec.slots.duration_ms = found);
        assert_eq!(error, SpecError::SlotDuration { found });
    }
    accepted(|spec| spec.slots.duration_ms = 1000);
    accepted(|spec| spec.slots.duration_ms = 60_000);
    accepted(|spec| spec.slots.genesis = Slot::ZERO);
    let last = 253_402_300_799_999 / 2000;
    accepted(|spec| spec.slots.genesis = Slot::new(last));
    for found in [last + 1, u64::MAX] {
        assert_eq!(
            refused(|spec| spec.slots.genesis = Slot::new(found)).to_string(),
            format!("slots.genesis: expected 0 to {last}, found {found}")
        );
    }
}

#[test]
fn the_bridge_is_where_genesis_has_it() {
    let found = EvmAddress::new([8; 20]);
    let error = refused(|spec| spec.execution.bridge = found);
    let expected = BRIDGE;
    assert_eq!(error, SpecError::Bridge { expected, found });
    assert_eq!(
        error.to_string(),
        "execution.bridge: expected 0x000000000000000000000000000000000000a175, where genesis has the contract, \
         found 0x0808080808080808080808080808080808080808"
    );
}

#[test]
fn fees_collect_where_nobody_has_a_key_and_go_to_people() {
    let owner = |error: SpecError| match error {
        SpecError::Address { field, owner, .. } => (field, owner),
        other => panic!("{other}"),
    };
    // Design 7: the vault has no code and is not where burns go.
    for (vault, whose) in [
        (BRIDGE, "the Bridge's"),
        (
            EvmAddress::ZERO,
            "one of the first 65536, which are reserved",
        ),
        (SYSTEM_CONTRACTS[3], "a system contract's"),
    ] {
        assert_eq!(
            owner(refused(|spec| spec.execution.vault = vault)),
            ("execution.vault".to_owned(), whose)
        );
        assert_eq!(
            owner(refused(|spec| spec.members[2].fee_recipient = vault)),
            ("fee_recipient of \"member 3\"".to_owned(), whose)
        );
    }
    let error = refused(|spec| spec.members[0].fee_recipient = VAULT);
    assert_eq!(
        error.to_string(),
        format!(
            "fee_recipient of \"member 1\": expected an address of its own, found {VAULT}, the vault's"
        )
    );
}

#[test]
fn the_network_is_one_that_the_bridge_tells_apart() {
    for network in [Network::Bitcoin, Network::Testnet4, Network::Signet] {
        accepted(|spec| spec.bitcoin.network = network);
    }
    assert_eq!(
        refused(|spec| spec.bitcoin.network = Network::Testnet).to_string(),
        "bitcoin.network: expected bitcoin, testnet4, signet or regtest, found testnet"
    );
}

type Set = fn(&mut ChainSpec, u64);

/// Each number, its bounds, and the key that a number above them is refused by: its own, or that of a number which it
/// limits.
const NUMBERS: [(&str, u64, u64, &str, Set); 19] = {
    const MONEY: u64 = Sats::MAX_MONEY.get();
    const DEPOSITS: u64 = MAX_DEPOSIT_PROOFS as u64;
    [
        ("chain_id", 1, u64::MAX / 2 - 36, "chain_id", |spec, to| {
            spec.chain_id = ChainId::new(to);
        }),
        (
            "slots.genesis",
            0,
            126_701_150_399,
            "slots.genesis",
            |spec, to| {
                spec.slots.genesis = Slot::new(to);
            },
        ),
        (
            "bitcoin.start_height",
            0,
            499_999_999,
            "bitcoin.start_height",
            |spec, to| {
                spec.bitcoin.start_height = BtcHeight::new(cut(to));
            },
        ),
        (
            "bitcoin.recovery_threshold",
            1,
            3,
            "bitcoin.recovery_threshold",
            |spec, to| {
                spec.bitcoin.recovery_threshold = u16::try_from(to).unwrap_or(u16::MAX);
            },
        ),
        (
            "deposits.confirmations",
            1,
            143,
            "pegout.refresh_margin_blocks",
            |spec, to| {
                spec.deposits.confirmations = cut(to).min(10_000);
            },
        ),
        (
            "deposits.min_sats",
            330,
            MONEY,
            "deposits.min_sats",
            |spec, to| {
                spec.deposits.min_sats = Sats::new(to);
            },
        ),
        (
            "deposits.max_withdrawals",
            6,
            DEPOSITS + 5,
            "deposits.max_withdrawals",
            |spec, to| {
                spec.deposits.max_withdrawals = cut(to);
            },
        ),
        (
            "pegout.max_sats",
            5_000_000,
            5_000_000_000,
            "pegout.max_batch_value_sats",
            |spec, to| {
                spec.pegout.max_sats = Sats::new(to.min(MONEY));
            },
        ),
        (
            "pegout.max_batch_value_sats",
            1_000_000_000,
            MONEY,
            "pegout.max_batch_value_sats",
            |spec, to| {
                spec.pegout.max_batch_value_sats = Sats::new(to);
            },
        ),
        (
            "pegout.max_burns",
            1,
            256,
            "pegout.max_burns",
            |spec, to| {
                spec.pegout.max_burns = cut(to);
            },
        ),
        (
            "pegout.max_inputs",
            2,
            256,
            "pegout.max_inputs",
            |spec, to| {
                spec.pegout.max_inputs = cut(to);
            },
        ),
        (
            "pegout.max_fee_rate_sats_per_kvb",
            1000,
            10_000_000,
            "pegout.max_fee_rate_sats_per_kvb",
            |spec, to| {
                spec.pegout.max_fee_rate_sats_per_kvb = SatsPerKvb::new(to);
                spec.pegout.min_sats = spec.pegout.max_sats;
            },
        ),
        (
            "pegout.refresh_margin_blocks",
            7,
            6480,
            "pegout.refresh_margin_blocks",
            |spec, to| {
                spec.pegout.refresh_margin_blocks = u16::try_from(to).unwrap_or(u16::MAX);
            },
        ),
        (
            "pegout.batch_interval_slots",
            1,
            41_400,
            "pegout.batch_interval_slots",
            |spec, to| {
                spec.pegout.batch_interval_slots = to;
            },
        ),
        (
            "mining.slots_per_record",
            1,
            43_200,
            "mining.half_life_slots",
            |spec, to| {
                spec.mining.slots_per_record = to.min(1 << 32);
            },
        ),
        (
            "mining.half_life_slots",
            300,
            1 << 32,
            "mining.half_life_slots",
            |spec, to| {
                spec.mining.half_life_slots = to;
            },
        ),
        (
            "mining.max_blocks_without_pow",
            1,
            1 << 32,
            "mining.max_blocks_without_pow",
            |spec, to| {
                spec.mining.max_blocks_without_pow = to;
            },
        ),
        (
            "execution.gas_limit",
            5_000_000,
            1 << 40,
            "execution.gas_limit",
            |spec, to| {
                spec.execution.gas_limit = to;
            },
        ),
        (
            "execution.base_fee_wei",
            7,
            10_000_000_000_000,
            "execution.base_fee_wei",
            |spec, to| {
                spec.execution.base_fee_wei = Wei::new(u128::from(to));
            },
        ),
    ]
};

fn cut(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[test]
fn every_number_has_its_range() {
    for (field, least, most, above, set) in NUMBERS {
        let outcome = |to| {
            let mut changed = spec();
            set(&mut changed, to);
            Chain::new(changed)
        };
        for good in [least, most] {
            if let Err(error) = outcome(good) {
                panic!("{field} = {good}: {error}");
            }
        }
        let below = least.checked_sub(1).map(|bad| (bad, field));
        for (bad, named) in below
            .into_iter()
            .chain([(most + 1, above), (u64::MAX, above)])
        {
            match outcome(bad) {
                Err(SpecError::Range { field: found, .. }) if found == named => {}
                other => panic!("{field} = {bad}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_ranges_that_others_hide_are_there_too() {
    // Above what the number that they limit lets through.
    let field = |error| match error {
        SpecError::Range { field, .. } => field,
        other => panic!("{other}"),
    };
    let confirmations = refused(|spec| {
        spec.bitcoin.recovery_timelock_blocks = u16::MAX;
        spec.pegout.refresh_margin_blocks = 20_000;
        spec.deposits.confirmations = 10_001;
    });
    assert_eq!(field(confirmations), "deposits.confirmations");
    let max_sats = refused(|spec| {
        spec.pegout.max_sats = Sats::new(Sats::MAX_MONEY.get() + 1);
        spec.pegout.max_batch_value_sats = Sats::MAX;
    });
    assert_eq!(field(max_sats), "pegout.max_sats");
    let records = refused(|spec| {
        spec.mining.slots_per_record = (1 << 32) + 1;
        spec.mining.half_life_slots = u64::MAX;
    });
    assert_eq!(field(records), "mining.slots_per_record");
}

#[test]
fn recovery_keys_are_a_bounded_number_and_wait() {
    let keys = "number of bitcoin.recovery_keys: expected 1 to 64, found";
    let none = refused(|spec| spec.bitcoin.recovery_keys.clear());
    assert_eq!(none.to_string(), format!("{keys} 0"));
    let many = refused(|spec| spec.bitcoin.recovery_keys = (100..165).map(schnorr).collect());
    assert_eq!(many.to_string(), format!("{keys} 65"));
    accepted(|spec| spec.bitcoin.recovery_keys = (100..164).map(schnorr).collect());
    // A timelock that is over before a coin could be moved again.
    for blocks in [0, 1, 144, 287] {
        assert_eq!(
            refused(|spec| spec.bitcoin.recovery_timelock_blocks = blocks).to_string(),
            format!(
                "pegout.refresh_margin_blocks: expected 7 to {}, found 144",
                blocks / 2
            )
        );
    }
    accepted(|spec| spec.bitcoin.recovery_timelock_blocks = 288);
}

#[test]
fn anchor_targets_are_possible_and_not_easier_than_the_limit() {
    for bad in [Target::ZERO, Target::new([0x80; 32])] {
        assert_eq!(
            refused(|spec| spec.mining.anchor_target = bad).to_string(),
            format!(
                "mining.anchor_target: expected above zero, at most {}, found {bad}",
                Target::new([0x7f; 32])
            )
        );
    }
    accepted(|spec| spec.mining.anchor_target = spec.mining.pow_limit);
}

#[test]
fn a_block_mints_no_more_than_a_signer_can_be_shown() {
    for count in [4u8, 64] {
        let mut largest = spec_of(count);
        // The fee rate of a large federation's large inputs.
        largest.pegout.max_sats = Sats::new(2_000_000_000);
        largest.pegout.min_sats = Sats::new(1_000_000_000);
        largest.deposits.max_withdrawals = u32::from(count) + 1 + 1024;
        let mut larger = largest.clone();
        Chain::new(largest).unwrap();
        larger.deposits.max_withdrawals += 1;
        assert_eq!(
            Chain::new(larger).unwrap_err().to_string(),
            format!(
                "deposits.max_withdrawals: expected {} to {}, found {}",
                count + 2,
                u32::from(count) + 1025,
                u32::from(count) + 1026
            )
        );
    }
}

/// The most inputs of a batch of 256 burns in a federation of 64 that nodes relay.
#[test]
fn the_largest_batch_is_one_that_nodes_relay() {
    let of = |inputs| {
        let mut spec = spec_of(64);
        spec.pegout.max_burns = 256;
        spec.pegout.max_inputs = inputs;
        spec.pegout.min_sats = Sats::new(50_000_000);
        Chain::new(spec)
    };
    let inputs: Vec<u32> = (2..=256).collect();
    let most = inputs[inputs.partition_point(|inputs| of(*inputs).is_ok()) - 1];
    let chain = of(most).unwrap();
    let longest = [0; 34];
    let outputs = core::iter::repeat_n(&longest[..], 257);
    let size = |inputs: u32| chain.wallet().batch_vsize(inputs as usize, outputs.clone());
    assert!(size(most) <= 100_000);
    assert!(size(most + 1) > 100_000);
    let error = of(most + 1).unwrap_err();
    let found = size(most + 1);
    assert_eq!(error, SpecError::BatchSize { found });
    assert_eq!(
        error.to_string(),
        format!(
            "pegout.max_inputs and max_burns: expected a largest batch of at most 100000 vB, found {found} vB"
        )
    );
}

#[test]
fn the_smallest_burn_pays_dust_and_the_highest_fee() {
    // Design 9: min_pegout >= dust + max_fee_rate * vsize(max_inputs, 1 burn), with change.
    let chain = Chain::new(spec()).unwrap();
    let change = chain.wallet().script_pubkey().as_bytes();
    let vsize = chain.wallet().batch_vsize(20, [&[0; 34][..], change]);
    let expected = Sats::new(546 + vsize * 100);
    accepted(|spec| spec.pegout.min_sats = expected);
    let found = Sats::new(expected.get() - 1);
    let error = refused(|spec| spec.pegout.min_sats = found);
    assert_eq!(error, SpecError::MinPegOut { expected, found });
    assert_eq!(
        error.to_string(),
        format!(
            "pegout.min_sats: expected at least {expected} to pay dust and the highest fee, found {found}"
        )
    );
}

#[test]
fn timestamps_are_whole_seconds_of_the_slot() {
    let chain = Chain::new(spec()).unwrap();
    assert_eq!(chain.timestamp(Slot::new(850_000_001)), Some(1_700_000_002));
    assert_eq!(chain.timestamp(Slot::MAX), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever numbers somebody writes, a spec is refused or every later sum fits.
    #[test]
    fn accepted_numbers_never_overflow(
        changes in proptest::collection::vec((0usize..NUMBERS.len(), any::<u64>(), 0u32..64), 1..6),
    ) {
        let mut changed = spec();
        for (place, number, shift) in changes {
            let (_, _, _, _, set) = NUMBERS[place];
            set(&mut changed, number >> shift);
        }
        if let Ok(chain) = Chain::new(changed) {
            let pegout = &chain.spec().pegout;
            let most = usize::try_from(pegout.max_inputs).unwrap();
            let vsize = chain.wallet().batch_vsize(most, [&[0; 34][..]]);
            let fee = crate::peg::fee(pegout.max_fee_rate_sats_per_kvb, vsize).unwrap();
            prop_assert!(fee < pegout.min_sats);
            prop_assert!(pegout.max_batch_value_sats.to_gwei().is_ok());
            prop_assert!(chain.timestamp(chain.genesis().slot).is_some());
            prop_assert!(chain.spec().deposits.max_withdrawals as usize <= crate::signer::MAX_REQUEST_WITHDRAWALS);
            prop_assert!(chain.roster().len() <= MAX_MEMBERS);
        }
    }
}
