//! The signer's own limits. They hold whatever the nodes ask (regression N8).

mod destination;
mod diff;
mod explain;

pub use destination::{Destinations, ScriptPattern, ScriptPatternError, Template};
pub use diff::diff;
pub use explain::explain;

use crate::btc;
use crate::clock::{MAX_LEAD_MS, Seconds};
use crate::window::{Limit, Payments};
use alloc::string::{String, ToString};
use alys_protocol::spec::{Chain, DepositSpec, PegOutSpec, Target};
use alys_protocol::units::{ChainId, Sats, SatsPerKvb};
use core::fmt::Display;
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
    /// Length of the rolling windows of peg-outs, in window time ([`crate::clock`]).
    pub window_seconds: Seconds,
    /// The most that may leave the wallet in a window, fees included. This is L of claim C4: members that forged
    /// finality could move at most members / threshold times as much.
    pub cap_window_sats: Sats,
    /// The most payments in a window.
    pub count_window_payments: Payments,
    /// Length of the rolling window of mints, in window time.
    pub mint_window_seconds: Seconds,
    /// The most that deposits may mint in that window. A single deposit above it waits until officers raise it.
    pub mint_window_sats: Sats,
    /// Confirmations of a deposit in the signer's own chain of Bitcoin headers.
    pub deposit_confirmations: u32,
    /// Bitcoin headers over which rule `header-pace` looks.
    pub pace_headers: u32,
    /// Blocks that a Bitcoin reorganisation may take off the signer's chain of headers.
    pub max_reorg_blocks: u32,
    /// The easiest target of a Bitcoin header that the signer takes: what the difficulty has not been below for long.
    pub header_floor_target: Target,
    /// Payments of at least this amount are held.
    pub hold_from_sats: Sats,
    /// Side blocks, final by proof of work, from a held payment's burn on before it is signed.
    pub hold_blocks: u64,
    /// The highest Bitcoin block hash that counts as work over burns, whatever the chain's own target.
    pub pow_floor_target: Target,
    /// Where payments may go.
    #[serde(default, skip_serializing_if = "Destinations::is_any")]
    pub destinations: Destinations,
}

/// A number of a policy; each one officers signed for a chain is above the one before.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Iteration(u64);

impl Iteration {
    /// Takes a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Display for Iteration {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// First line of a policy file: officers who sign one sign nothing else by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyFormat {
    /// This version.
    #[serde(rename = "alys-policy/1")]
    V1,
}

/// The file that officers sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// What the file is.
    pub format: PolicyFormat,
    /// The chain that it is for.
    pub chain_id: ChainId,
    /// Its number.
    pub iteration: Iteration,
    /// The limits.
    pub policy: Policy,
}

/// A policy that would block honest requests of the chain for ever, or that limits nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("policy {field}: expected {relation} {bound}, found {found}")]
pub struct PolicyError {
    /// The key.
    pub field: &'static str,
    /// `at least` or `at most`, or what the value has to be.
    pub relation: &'static str,
    /// The bound.
    pub bound: String,
    /// What the policy says.
    pub found: String,
}

/// A horizon beyond this would let a lying node burn an hour of the signer's slots of 2 s.
const MAX_HORIZON_SLOTS: u64 = 1800;
/// The shortest window: three times what somebody who sets the signer's timer at will can win.
pub const MIN_WINDOW_SECONDS: u64 = 3 * (MAX_LEAD_MS / 1000);
/// The longest window, and so the longest wait after a restore: 90 days.
pub const MAX_WINDOW_SECONDS: u64 = 90 * 24 * 60 * 60;
/// The longest hold: a week of slots of 2 s. A hold may delay, never block for ever.
pub const MAX_HOLD_BLOCKS: u64 = 302_400;

/// The most confirmations that a deposit may need: two weeks of blocks, half of what the ring of headers keeps.
pub const MAX_DEPOSIT_CONFIRMATIONS: u32 = 2016;

/// Headers over which the template looks for a slow pace: honest miners miss it once in a million.
const TEMPLATE_PACE_HEADERS: u32 = 36;
/// Blocks of a reorganisation in the template: a day of them.
const TEMPLATE_REORG_BLOCKS: u32 = 144;
/// Windows of the template: a day, ...
const TEMPLATE_WINDOW_SECONDS: u64 = 24 * 60 * 60;
/// ... with room for as many of the largest batches.
const TEMPLATE_BATCHES: u64 = 24;

impl Policy {
    /// A template to tighten, which suits a devnet: every single request that the chain allows, and in a day 24 of the
    /// largest batches and mints of twice their value; the chain's own easiest work; no hold, any destination.
    pub fn of_chain(chain: &Chain) -> Self {
        let spec = chain.spec();
        Self::template(&spec.pegout, &spec.deposits, spec.mining.pow_limit)
    }

    /// [`Self::of_chain`] of what is known before there is a chain spec.
    pub fn template(pegout: &PegOutSpec, deposits: &DepositSpec, pow_limit: Target) -> Self {
        // A batch cannot be larger than the standard limit of 100,000 vbytes.
        let max_fee = pegout.max_fee_rate_sats_per_kvb.get().saturating_mul(100);
        let largest = pegout.max_batch_value_sats.saturating_add(max_fee);
        let cap = largest.get().saturating_mul(TEMPLATE_BATCHES);
        Self {
            slot_horizon_slots: 2,
            max_fee_rate_sats_per_kvb: pegout.max_fee_rate_sats_per_kvb,
            max_fee_sats: Sats::new(max_fee),
            cap_single_sats: pegout.max_sats,
            window_seconds: Seconds::new(TEMPLATE_WINDOW_SECONDS),
            cap_window_sats: Sats::new(cap),
            count_window_payments: Payments::new(
                u64::from(pegout.max_burns).saturating_mul(TEMPLATE_BATCHES),
            ),
            mint_window_seconds: Seconds::new(TEMPLATE_WINDOW_SECONDS),
            mint_window_sats: Sats::new(cap.saturating_mul(2)),
            deposit_confirmations: deposits.confirmations,
            pace_headers: TEMPLATE_PACE_HEADERS,
            max_reorg_blocks: TEMPLATE_REORG_BLOCKS,
            header_floor_target: Target::new([0xff; 32]),
            hold_from_sats: Sats::ZERO,
            hold_blocks: 0,
            pow_floor_target: pow_limit,
            destinations: Destinations::default(),
        }
    }

    /// The limit of rule `cap-window`.
    pub const fn value_limit(&self) -> Limit<Sats> {
        Limit {
            length: self.window_seconds,
            most: self.cap_window_sats,
        }
    }

    /// The limit of rule `count-window`.
    pub const fn count_limit(&self) -> Limit<Payments> {
        Limit {
            length: self.window_seconds,
            most: self.count_window_payments,
        }
    }

    /// The limit of rule `mint-window`.
    pub const fn mint_limit(&self) -> Limit<Sats> {
        Limit {
            length: self.mint_window_seconds,
            most: self.mint_window_sats,
        }
    }

    /// Checks the limits against the chain's own (design 10): every single honest request must fit into an empty window.
    ///
    /// # Errors
    /// - [`PolicyError`] for the first limit that is too low or too high.
    pub fn check(&self, chain: &Chain) -> Result<(), PolicyError> {
        let (pegout, mining) = (&chain.spec().pegout, &chain.spec().mining);
        self.check_alone()?;
        at_least(
            "cap_single_sats",
            pegout.max_sats.get(),
            self.cap_single_sats.get(),
        )?;
        // What leaves is the burns' value and, where change was dust, a part of the fee.
        let largest = pegout
            .max_batch_value_sats
            .saturating_add(self.max_fee_sats.get());
        at_least("cap_window_sats", largest.get(), self.cap_window_sats.get())?;
        at_least(
            "count_window_payments",
            u64::from(pegout.max_burns),
            self.count_window_payments.get(),
        )?;
        // Coins that may leave in one batch may come back.
        at_least(
            "mint_window_sats",
            pegout.max_batch_value_sats.get(),
            self.mint_window_sats.get(),
        )?;
        // Leaders consume deposits as early as the spec lets them: a policy may only be stricter.
        at_least(
            "deposit_confirmations",
            u64::from(chain.spec().deposits.confirmations),
            u64::from(self.deposit_confirmations),
        )?;
        if self.pow_floor_target > mining.pow_limit {
            return Err(PolicyError {
                field: "pow_floor_target",
                relation: "at most the chain's easiest target",
                bound: mining.pow_limit.to_string(),
                found: self.pow_floor_target.to_string(),
            });
        }
        self.destinations.check(chain.spec().bitcoin.network)
    }

    /// Checks what no chain is needed for.
    ///
    /// # Errors
    /// - [`PolicyError`] for the first limit that is too low or too high.
    pub fn check_alone(&self) -> Result<(), PolicyError> {
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
        for (field, found) in [
            ("window_seconds", self.window_seconds),
            ("mint_window_seconds", self.mint_window_seconds),
        ] {
            at_least(field, MIN_WINDOW_SECONDS, found.get())?;
            at_most(field, MAX_WINDOW_SECONDS, found.get())?;
        }
        for (field, found, most) in [
            (
                "deposit_confirmations",
                self.deposit_confirmations,
                MAX_DEPOSIT_CONFIRMATIONS,
            ),
            ("pace_headers", self.pace_headers, btc::OPENING_HEADERS - 1),
            (
                "max_reorg_blocks",
                self.max_reorg_blocks,
                btc::MAX_REORG_BLOCKS,
            ),
        ] {
            at_least(field, 1, u64::from(found))?;
            at_most(field, u64::from(most), u64::from(found))?;
        }
        at_most("hold_blocks", MAX_HOLD_BLOCKS, self.hold_blocks)?;
        for (field, found) in [
            ("pow_floor_target", self.pow_floor_target),
            ("header_floor_target", self.header_floor_target),
        ] {
            if found == Target::ZERO {
                return Err(PolicyError {
                    field,
                    relation: "above",
                    bound: Target::ZERO.to_string(),
                    found: found.to_string(),
                });
            }
        }
        self.destinations.check_alone()
    }
}

fn at_least(field: &'static str, bound: u64, found: u64) -> Result<(), PolicyError> {
    if found >= bound {
        return Ok(());
    }
    Err(PolicyError {
        field,
        relation: "at least",
        bound: bound.to_string(),
        found: found.to_string(),
    })
}

fn at_most(field: &'static str, bound: u64, found: u64) -> Result<(), PolicyError> {
    if found <= bound {
        return Ok(());
    }
    Err(PolicyError {
        field,
        relation: "at most",
        bound: bound.to_string(),
        found: found.to_string(),
    })
}
