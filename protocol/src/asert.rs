//! The target that a proof-of-work record must meet: ASERT over slots, in integers only (design 6, regression A14).
//!
//! `target = anchor * 2^((slot - anchor_slot - slots_per_record * (count + 1)) / half_life)`, capped at the limit. It
//! depends on nothing but the number of records before and the block's slot, so there is no field to trust; and it
//! only eases as the slot grows, so a share that was good once stays good.
//!
//! Source: aserti3-2d (M. Lundeberg, J. Toomim, 2020), whose cubic approximation of 2^x is used with 16 fraction bits.

use crate::spec::{MiningSpec, Target};
use crate::units::{PowCount, Slot};
use ruint::Uint;

/// Wide enough for a 256-bit target times a 17-bit factor, with room to see a left shift overflow.
type Wide = Uint<384, 6>;

/// Bits of the exponent's fraction.
const FRACTION_BITS: u32 = 16;

/// The target for the next record after `count` of them, in a block of `slot`.
///
/// `anchor_slot` is genesis's. Where slots or counts are so large that the exponent leaves its range, the result is
/// the limit (late) or the smallest target there is (early).
pub fn target(mining: &MiningSpec, anchor_slot: Slot, count: PowCount, slot: Slot) -> Target {
    let limit = wide(&mining.pow_limit);
    let exponent = exponent(mining, anchor_slot, count, slot);
    let (whole, fraction) = (
        exponent >> FRACTION_BITS,
        // The low 16 bits: 0 to 65535 also for a negative exponent, as the shift above rounds down.
        u64::try_from(exponent & 0xffff).unwrap_or_default(),
    );
    let scaled = wide(&mining.anchor_target).wrapping_mul(Wide::from(factor(fraction)));
    let shift = whole.saturating_sub(i128::from(FRACTION_BITS));
    let eased = if shift >= 0 {
        let room = usize::try_from(shift).unwrap_or(usize::MAX);
        // Shifting may not lose a set bit: that is beyond every limit.
        if room > scaled.leading_zeros() {
            return mining.pow_limit;
        }
        scaled.wrapping_shl(room)
    } else {
        let room = usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX);
        if room >= 384 {
            Wide::ZERO
        } else {
            scaled.wrapping_shr(room)
        }
    };
    narrow(eased.clamp(Wide::from(1u8), limit))
}

/// `(slot - anchor - slots_per_record * (count + 1)) / half_life` in units of 2^-16, rounded down.
fn exponent(mining: &MiningSpec, anchor_slot: Slot, count: PowCount, slot: Slot) -> i128 {
    let elapsed = i128::from(slot.get()).saturating_sub(i128::from(anchor_slot.get()));
    let ideal = i128::from(mining.slots_per_record)
        .saturating_mul(i128::from(count.get()).saturating_add(1));
    elapsed
        .saturating_sub(ideal)
        .saturating_mul(1 << FRACTION_BITS)
        .checked_div_euclid(i128::from(mining.half_life_slots))
        .unwrap_or_default()
}

/// `2^(fraction / 2^16)` in units of 2^-16: 65536 to 131071, within 0.013 %.
fn factor(fraction: u64) -> u64 {
    let x = u128::from(fraction);
    let square = x.saturating_mul(x);
    let cube = square.saturating_mul(x);
    let sum = 195_766_423_245_049u128
        .saturating_mul(x)
        .saturating_add(971_821_376u128.saturating_mul(square))
        .saturating_add(5_127u128.saturating_mul(cube))
        .saturating_add(1 << 47);
    u64::try_from(sum >> 48)
        .unwrap_or_default()
        .saturating_add(1 << FRACTION_BITS)
}

fn wide(target: &Target) -> Wide {
    Wide::try_from_be_slice(target.as_bytes()).unwrap_or(Wide::ZERO)
}

fn narrow(value: Wide) -> Target {
    let bytes: [u8; 48] = value.to_be_bytes();
    let mut target = [0u8; 32];
    if let Some(low) = bytes.get(16..) {
        target.copy_from_slice(low);
    }
    Target::new(target)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn on_schedule_the_target_is_the_anchors() {
        for count in [0u32, 1, 1000] {
            let slot = Slot::new(5000 + 300 * (u64::from(count) + 1));
            assert_eq!(
                target(&mainnet(), Slot::new(5000), PowCount::new(count), slot),
                mainnet().anchor_target
            );
        }
    }

    #[test]
    fn vectors() {
        // Computed apart from this code with unbounded integers, from the formula above.
        for (count, slot, expected) in VECTORS {
            assert_eq!(
                target(
                    &mainnet(),
                    Slot::ZERO,
                    PowCount::new(*count),
                    Slot::new(*slot)
                ),
                expected.parse().unwrap(),
                "count {count}, slot {slot}"
            );
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
    fn extremes_neither_panic_nor_leave_the_range() {
        for spec in [
            mainnet(),
            mining(&"f".repeat(64), &"f".repeat(64)),
            mining(&"f".repeat(64), &alloc::format!("{:064}", 1)),
        ] {
            assert_eq!(
                target(&spec, Slot::ZERO, PowCount::ZERO, Slot::MAX),
                spec.pow_limit
            );
            let early = target(&spec, Slot::MAX, PowCount::MAX, Slot::ZERO);
            assert_eq!(early, alloc::format!("{:064}", 1).parse().unwrap());
        }
    }

    proptest! {
        #[test]
        fn a14_the_target_only_eases_with_the_slot(
            count in 0u32..100_000, slot in 0u64..1 << 34, later in 1u64..100_000,
            limit in any::<bool>()
        ) {
            let spec = if limit { mainnet() } else { mining(&"f".repeat(64), "7fffff0000000000000000000000000000000000000000000000000000000000") };
            let at = |slot| target(&spec, Slot::ZERO, PowCount::new(count), Slot::new(slot));
            prop_assert!(at(slot) <= at(slot + later));
            prop_assert!(at(slot + later) <= spec.pow_limit);
            // And each record before makes it harder.
            prop_assert!(target(&spec, Slot::ZERO, PowCount::new(count + 1), Slot::new(slot)) <= at(slot));
        }
    }
}
