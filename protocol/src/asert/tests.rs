//! Regression A14: a target that jumps because of a clamp or of rounding.

use super::*;
use alloc::format;
use alloc::vec::Vec;
use proptest::prelude::*;

fn mining(limit: &str, anchor: &str) -> MiningSpec {
    MiningSpec {
        aux_chain_id: 1,
        pow_limit: limit.parse().unwrap(),
        anchor_target: anchor.parse().unwrap(),
        slots_per_record: 300,
        half_life_slots: 43_200,
        max_blocks_without_pow: 1000,
    }
}

fn mainnet() -> MiningSpec {
    mining(
        "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "00000000000404cb000000000000000000000000000000000000000000000000",
    )
}

/// Specs whose clamps lie at different places: far off, at the anchor, at both ends of 256 bits.
fn specs() -> Vec<MiningSpec> {
    let full = "f".repeat(64);
    let half = format!("7f{}", "f".repeat(62));
    let one = format!("{:064}", 1);
    let mut specs = alloc::vec![
        mainnet(),
        mining(&half, &half),
        mining(&full, &full),
        mining(&full, &half),
        mining(&full, &one),
        mining(&one, &one),
    ];
    for (slots_per_record, half_life_slots) in [(1, 1), (5, 30), (1, 1 << 32)] {
        specs.push(MiningSpec {
            slots_per_record,
            half_life_slots,
            ..mainnet()
        });
    }
    specs
}

fn at(mining: &MiningSpec, count: u32, slot: u64) -> Target {
    target(mining, Slot::ZERO, PowCount::new(count), Slot::new(slot))
}

/// Integers with room for whatever the formula may give.
type Unbounded = Uint<1024, 16>;

fn unbounded(target: Target) -> Unbounded {
    Unbounded::try_from_be_slice(target.as_bytes()).unwrap()
}

/// The module's formula step by step: 512 bits after the point, one doubling or halving at a time, and one clamp.
fn reference(mining: &MiningSpec, count: u32, slot: u64) -> Target {
    let ideal = i128::from(mining.slots_per_record) * (i128::from(count) + 1);
    let units = (i128::from(slot) - ideal) * 65_536;
    let exponent = units.div_euclid(i128::from(mining.half_life_slots));
    let (whole, x) = (exponent.div_euclid(65_536), exponent.rem_euclid(65_536));
    let x = Unbounded::from(u128::try_from(x).unwrap());
    let number = |value: u64| Unbounded::from(value);
    let polynomial = number(195_766_423_245_049) * x
        + number(971_821_376) * x * x
        + number(5127) * x * x * x
        + (number(1) << 47);
    let factor = number(65_536) + (polynomial >> 48);
    let anchor: Unbounded = unbounded(mining.anchor_target) << 512usize;
    let mut value: Unbounded = (anchor * factor) >> 16usize;
    let limit: Unbounded = unbounded(mining.pow_limit) << 512usize;
    for _step in 0..whole.abs() {
        if whole > 0 {
            value <<= 1;
        } else {
            value >>= 1;
        }
        if value > limit || value.is_zero() {
            break;
        }
    }
    let clamped = (value.min(limit) >> 512usize).max(Unbounded::from(1u8));
    let bytes: [u8; 128] = clamped.to_be_bytes();
    Target::new(bytes[96..].try_into().unwrap())
}

#[test]
fn a14_on_schedule_the_target_is_the_anchors() {
    for count in [0u32, 1, 1000] {
        let slot = Slot::new(5000 + 300 * (u64::from(count) + 1));
        assert_eq!(
            target(&mainnet(), Slot::new(5000), PowCount::new(count), slot),
            mainnet().anchor_target
        );
    }
}

#[test]
fn a14_committed_vectors() {
    // Computed apart from this code with unbounded integers, from the formula above.
    for (count, slot, expected) in VECTORS {
        let expected: Target = expected.parse().unwrap();
        assert_eq!(
            at(&mainnet(), *count, *slot),
            expected,
            "count {count}, slot {slot}"
        );
        assert_eq!(reference(&mainnet(), *count, *slot), expected);
    }
}

const VECTORS: &[(u32, u64, &str)] = &[
    (
        0,
        0,
        "000000000003ffdb1c9c80000000000000000000000000000000000000000000",
    ),
    (
        0,
        300,
        "00000000000404cb000000000000000000000000000000000000000000000000",
    ),
    (
        0,
        43500,
        "0000000000080996000000000000000000000000000000000000000000000000",
    ),
    (
        0,
        86700,
        "000000000010132c000000000000000000000000000000000000000000000000",
    ),
    (
        0,
        1000000,
        "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ),
    (
        0,
        10000000,
        "00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ),
    (
        5,
        1,
        "000000000003e79225e380000000000000000000000000000000000000000000",
    ),
    (
        1000,
        1,
        "00000000000008504a5388000000000000000000000000000000000000000000",
    ),
    (
        10000,
        5,
        "000000000000000000000000000017833ae4c400000000000000000000000000",
    ),
    (
        10000,
        3000301,
        "00000000000404cf04cb00000000000000000000000000000000000000000000",
    ),
    (
        123456,
        37037100,
        "00000000000404cb000000000000000000000000000000000000000000000000",
    ),
    (
        4000000,
        1,
        "0000000000000000000000000000000000000000000000000000000000000001",
    ),
];

#[test]
fn a14_the_approximation_of_powers_of_two_neither_jumps_nor_falls() {
    let mut last = factor(0);
    assert_eq!(last, 65_536);
    for fraction in 1..65_536 {
        let next = factor(fraction);
        // At most two units of 2^-16 for one: the slope of 2^x is below 2 ln 2.
        assert!((last..=last + 2).contains(&next), "{fraction}");
        let exact = 65_536.0 * (fraction as f64 / 65_536.0).exp2();
        assert!((next as f64 / exact - 1.0).abs() < 0.000_13, "{fraction}");
        last = next;
    }
    // Where the whole part takes over: 2^1, without a jump.
    assert!((131_070..=131_072).contains(&last), "{last}");
}

/// `next <= (this + 1) * 2^(1 / half_life)`, with what 16 bits of fraction and the approximation may add: the one is for
/// rounding a target down to a whole number.
fn eases_smoothly(mining: &MiningSpec, count: u32, slot: u64) -> Result<(), TestCaseError> {
    let (this, next) = (at(mining, count, slot), at(mining, count, slot + 1));
    prop_assert!(this <= next);
    prop_assert!(next <= mining.pow_limit);
    prop_assert!(this > Target::ZERO);
    // 2^x <= 1 + x for x from 0 to 1, and two more units of 2^-16 for each rounding of exponent and factor.
    let half_life = Unbounded::from(mining.half_life_slots);
    let unit = Unbounded::from(65_536u32);
    let most = (unbounded(this) + Unbounded::from(1u8))
        * (unit * (half_life + Unbounded::from(1u8)) + half_life * Unbounded::from(4u8));
    prop_assert!(
        unbounded(next) * half_life * unit <= most,
        "count {count}, slot {slot}: from {this} to {next}"
    );
    Ok(())
}

/// The slots around which a clamp begins to hold, found by bisection: the first that is not at the smallest target, and
/// the first at the limit.
fn clamp_boundaries(mining: &MiningSpec, count: u32) -> Vec<u64> {
    let one: Target = format!("{:064}", 1).parse().unwrap();
    let first = |reached: &dyn Fn(Target) -> bool| {
        let (mut low, mut high) = (0u64, 1u64 << 50);
        while low < high {
            let middle = low.midpoint(high);
            if reached(at(mining, count, middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    };
    alloc::vec![
        first(&|target| target > one),
        first(&|target| target >= mining.pow_limit),
    ]
}

#[test]
fn a14_no_jump_at_a_clamp() {
    for mining in specs() {
        for count in [0, 1, 1000, 1_000_000] {
            for boundary in clamp_boundaries(&mining, count) {
                for slot in boundary.saturating_sub(3)..boundary.saturating_add(3) {
                    eases_smoothly(&mining, count, slot).unwrap();
                    assert_eq!(at(&mining, count, slot), reference(&mining, count, slot));
                }
            }
        }
    }
}

/// Where the exponent's sign and its whole part change, which is where floating rounding and clamps went wrong.
#[test]
fn a14_no_jump_where_the_exponent_changes_sign_or_whole_part() {
    let mining = mainnet();
    for halvings in 0..=40 {
        let schedule = 300 * 6000u64;
        for boundary in [schedule - halvings * 43_200, schedule + halvings * 43_200] {
            for slot in boundary - 3..boundary + 3 {
                eases_smoothly(&mining, 5999, slot).unwrap();
            }
        }
    }
}

#[test]
fn a14_extremes_neither_panic_nor_leave_the_range() {
    let one: Target = format!("{:064}", 1).parse().unwrap();
    for spec in specs() {
        let late = target(&spec, Slot::ZERO, PowCount::ZERO, Slot::MAX);
        assert_eq!(late, spec.pow_limit);
        let early = target(&spec, Slot::MAX, PowCount::MAX, Slot::ZERO);
        assert_eq!(early, one);
    }
}

proptest! {
    #[test]
    fn a14_the_target_only_eases_with_the_slot(
        which in 0..specs().len(), count in 0u32..100_000, slot in 0u64..1 << 34,
        later in 1u64..100_000,
    ) {
        let spec = &specs()[which];
        prop_assert!(at(spec, count, slot) <= at(spec, count, slot + later));
        // And each record before makes it harder.
        prop_assert!(at(spec, count + 1, slot) <= at(spec, count, slot));
    }

    #[test]
    fn a14_one_slot_never_changes_the_target_by_much(
        which in 0..specs().len(), count in 0u32..100_000, off in -10_000_000i64..10_000_000,
    ) {
        let spec = &specs()[which];
        let schedule = spec.slots_per_record * (u64::from(count) + 1);
        eases_smoothly(spec, count, schedule.saturating_add_signed(off))?;
    }

    #[test]
    fn a14_the_target_is_the_slow_references(
        which in 0..specs().len(), count in 0u32..1_000_000, off in -50_000_000i64..50_000_000,
    ) {
        let spec = &specs()[which];
        let slot = (spec.slots_per_record * (u64::from(count) + 1)).saturating_add_signed(off);
        prop_assert_eq!(at(spec, count, slot), reference(spec, count, slot));
    }
}
