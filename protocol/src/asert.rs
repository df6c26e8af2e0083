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
mod tests;
