//! The signer's own limits. They hold whatever the nodes ask (regression N8).

use alys_protocol::spec::Chain;
use alys_protocol::units::{Sats, SatsPerKvb};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the owner of a signer limits it to. Units are in the names; unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Slots past the clock's that may be signed for.
    pub slot_horizon_slots: u64,
    /// The highest fee rate of a batch.
    pub max_fee_rate_sats_per_kvb: SatsPerKvb,
    /// The highest fee of a batch, whatever its size.
    pub max_fee_sats: Sats,
    /// The largest single payment.
    pub cap_single_sats: Sats,
    /// The most that may leave the wallet in one batch, fees included.
    pub cap_window_sats: Sats,
    /// The most payments in one batch.
    pub count_window_payments: u64,
}

/// A policy that would block honest requests of the chain for ever, or that limits nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("policy {field}: expected {relation} {bound}, found {found}")]
pub struct PolicyError {
    /// The key.
    pub field: &'static str,
    /// `at least` or `at most`.
    pub relation: &'static str,
    /// The bound.
    pub bound: u64,
    /// What the policy says.
    pub found: u64,
}

/// A horizon beyond this would let a lying node burn an hour of the signer's slots of 2 s.
const MAX_HORIZON_SLOTS: u64 = 1800;

impl Policy {
    /// The loosest limits that the chain itself allows: for a devnet, and as a template to tighten.
    pub fn of_chain(chain: &Chain) -> Self {
        let pegout = &chain.spec().pegout;
        // A batch cannot be larger than the standard limit of 100,000 vbytes.
        let max_fee = pegout.max_fee_rate_sats_per_kvb.get().saturating_mul(100);
        Self {
            slot_horizon_slots: 2,
            max_fee_rate_sats_per_kvb: pegout.max_fee_rate_sats_per_kvb,
            max_fee_sats: Sats::new(max_fee),
            cap_single_sats: pegout.max_sats,
            cap_window_sats: pegout.max_batch_value_sats.saturating_add(max_fee),
            count_window_payments: u64::from(pegout.max_burns),
        }
    }

    /// Checks the limits against the chain's own (design 10): honest requests must fit.
    ///
    /// # Errors
    /// - [`PolicyError`] for the first limit that is too low or too high.
    pub fn check(&self, chain: &Chain) -> Result<(), PolicyError> {
        let pegout = &chain.spec().pegout;
        at_least("slot_horizon_slots", 1, self.slot_horizon_slots)?;
        at_most(
            "slot_horizon_slots",
            MAX_HORIZON_SLOTS,
            self.slot_horizon_slots,
        )?;
        at_least(
            "max_fee_rate_sats_per_kvb",
            1000,
            self.max_fee_rate_sats_per_kvb.get(),
        )?;
        at_least("max_fee_sats", 1, self.max_fee_sats.get())?;
        at_least(
            "cap_single_sats",
            pegout.max_sats.get(),
            self.cap_single_sats.get(),
        )?;
        // What leaves is the burns' value and, where change was dust, a part of the fee.
        at_least(
            "cap_window_sats",
            pegout
                .max_batch_value_sats
                .saturating_add(self.max_fee_sats.get())
                .get(),
            self.cap_window_sats.get(),
        )?;
        at_least(
            "count_window_payments",
            u64::from(pegout.max_burns),
            self.count_window_payments,
        )
    }
}

fn at_least(field: &'static str, bound: u64, found: u64) -> Result<(), PolicyError> {
    if found >= bound {
        return Ok(());
    }
    Err(PolicyError {
        field,
        relation: "at least",
        bound,
        found,
    })
}

fn at_most(field: &'static str, bound: u64, found: u64) -> Result<(), PolicyError> {
    if found <= bound {
        return Ok(());
    }
    Err(PolicyError {
        field,
        relation: "at most",
        bound,
        found,
    })
}
