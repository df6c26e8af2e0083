//! The limits of a run: each at, one below and one above what some request needs.

use super::universe::{LARGE, MAX_REORG, MINTED_155, MINTED_162, REPLACED_RATE, Universe};
use alys_protocol::spec::Target;
use alys_protocol::units::{Sats, SatsPerKvb};
use alys_signer_core::Policy;
use alys_signer_core::clock::Seconds;
use alys_signer_core::window::Payments;

/// The policy in plain numbers, as the oracle reads it.
#[derive(Debug, Clone)]
pub struct Limits {
    pub horizon: u64,
    pub max_rate: u64,
    pub max_fee: u64,
    pub cap_single: u64,
    pub cap_window: u64,
    pub count_window: u64,
    pub window_ms: u64,
    pub mint_window: u64,
    pub mint_window_ms: u64,
    pub confirmations: u32,
    /// Bitcoin headers over which `header-pace` looks.
    pub pace: u32,
    pub hold_from: u64,
    pub hold_blocks: u64,
    pub pow_floor: [u8; 32],
}

/// Reads choices, one after the other, from a number.
struct Choices(u32);

impl Choices {
    fn of<T: Clone>(&mut self, from: &[T]) -> T {
        let count = u32::try_from(from.len()).unwrap();
        let chosen = self.0 % count;
        self.0 /= count;
        from[chosen as usize].clone()
    }
}

impl Limits {
    /// Zero chooses limits that the requests just meet.
    pub fn chosen(universe: &Universe, number: u32) -> Self {
        let mut choices = Choices(number);
        let payments = &universe.payments;
        // The first three batches are of one chain, the fourth replaces the first.
        let (three, last) = payments.split_at(3);
        let value: u64 = three.iter().map(|payment| payment.leaving).sum();
        let count: u64 = three
            .iter()
            .map(|payment| payment.burns.end - payment.burns.start)
            .sum();
        let fee = last[0].fee;
        let highest_fee = payments.iter().map(|payment| payment.fee).max().unwrap();
        let work = payments[0].work;
        Self {
            cap_window: choices.of(&[value, value - 1, value + 1]),
            count_window: choices.of(&[count, count - 1, count + 1, 1_000]),
            cap_single: choices.of(&[LARGE, LARGE - 1, LARGE + 1]),
            max_fee: choices.of(&[highest_fee, fee, fee - 1]),
            max_rate: choices.of(&[REPLACED_RATE, REPLACED_RATE - 1, 100_000]),
            mint_window: choices.of(&[
                MINTED_155,
                MINTED_155 - 1,
                MINTED_155 + 1,
                MINTED_162,
                10 * MINTED_162,
            ]),
            horizon: choices.of(&[2, 1]),
            pow_floor: choices.of(&[[0xff; 32], work, one_less(work)]),
            hold_blocks: choices.of(&[0, 1]),
            hold_from: choices.of(&[LARGE, LARGE + 1]),
            confirmations: choices.of(&[3, 4, 9]),
            pace: choices.of(&[6, 36]),
            window_ms: 6 * 3_600_000,
            mint_window_ms: 6 * 3_600_000 + 1_800_000,
        }
    }

    pub fn policy(&self, universe: &Universe) -> Policy {
        Policy {
            slot_horizon_slots: self.horizon,
            max_fee_rate_sats_per_kvb: SatsPerKvb::new(self.max_rate),
            max_fee_sats: Sats::new(self.max_fee),
            cap_single_sats: Sats::new(self.cap_single),
            window_seconds: Seconds::new(self.window_ms / 1000),
            cap_window_sats: Sats::new(self.cap_window),
            count_window_payments: Payments::new(self.count_window),
            mint_window_seconds: Seconds::new(self.mint_window_ms / 1000),
            mint_window_sats: Sats::new(self.mint_window),
            deposit_confirmations: self.confirmations,
            pace_headers: self.pace,
            max_reorg_blocks: MAX_REORG,
            hold_from_sats: Sats::new(self.hold_from),
            hold_blocks: self.hold_blocks,
            pow_floor_target: Target::new(self.pow_floor),
            ..Policy::of_chain(&universe.chain)
        }
    }
}

fn one_less(mut number: [u8; 32]) -> [u8; 32] {
    for byte in number.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    number
}
