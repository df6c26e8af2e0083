//! Rolling windows: how much was charged in any stretch of window time of the policy's length.
//!
//! The invariant, for every window and whatever was asked: **at the moment of each admitted charge, what was charged in
//! the stretch of the policy's length that ends there is within the policy's limit.** So no stretch of that length ever
//! holds more, wherever it starts. The state is bounded; where it must round, it counts a charge for longer than it was.

mod mint;

pub use mint::{MintWindow, mint_window};

use crate::clock::{Seconds, WindowTime};
use crate::refusal::refusal;
use alloc::vec::Vec;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::units::Sats;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A number of payments.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Payments(u64);

impl Payments {
    /// Takes a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Payments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a window adds up; the unit is in the type (regression N3).
pub trait Amount: Copy + Ord + Default + fmt::Display {
    /// The unit's name for refusals.
    const UNIT: &'static str;

    /// The sum, or `None` where it does not fit.
    #[must_use]
    fn plus(self, other: Self) -> Option<Self>;

    /// The sum, stopping at the largest amount.
    #[must_use]
    fn plus_or_most(self, other: Self) -> Self;
}

impl Amount for Sats {
    const UNIT: &'static str = "sat";

    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other.get())
    }

    fn plus_or_most(self, other: Self) -> Self {
        self.saturating_add(other.get())
    }
}

impl Amount for Payments {
    const UNIT: &'static str = "payments";

    fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    fn plus_or_most(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A limit as the policy gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<A> {
    /// Length of the stretch of window time.
    pub length: Seconds,
    /// The most that may be charged in it.
    pub most: A,
}

/// Entries that a window keeps.
pub const MAX_CHARGES: usize = 32;
/// Charges within this fraction of the length are kept as one.
const GRAINS: u64 = 24;

/// A rolling window.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RollingWindow<A> {
    /// Anything may have been charged up to this moment; nobody remembers.
    forgotten: Option<WindowTime>,
    /// Oldest first.
    charges: Vec<Charge<A>>,
}

/// What was charged from `since` to `until`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Charge<A> {
    since: WindowTime,
    until: WindowTime,
    amount: A,
}

impl<A: Amount> RollingWindow<A> {
    /// Nothing was ever charged: for new keys only.
    pub const fn empty() -> Self {
        Self {
            forgotten: None,
            charges: Vec::new(),
        }
    }

    /// Full up to `now`, under whatever limit: nothing is admitted before the policy's length has passed. For a signer
    /// that was restored.
    pub const fn full(now: WindowTime) -> Self {
        Self {
            forgotten: Some(now),
            charges: Vec::new(),
        }
    }

    /// Whether `amount` more fits now.
    ///
    /// Nothing always fits. A clock that is behind the last charge counts as standing at it.
    ///
    /// # Errors
    /// - a refusal by `rule`.
    pub fn admit(
        &self,
        rule: Rule,
        now: WindowTime,
        limit: Limit<A>,
        amount: A,
    ) -> Result<(), Refusal> {
        if amount == A::default() {
            return Ok(());
        }
        let now = self.not_before_the_last(now);
        let (unit, length) = (A::UNIT, limit.length);
        let expected = format_args!("at most {} {unit} in {length} s", limit.most);
        if self
            .forgotten
            .is_some_and(|until| !expired(until, now, length))
        {
            return Err(refusal(
                rule,
                expected,
                format_args!("{amount} {unit} more, after a time that this signer does not know"),
            ));
        }
        let charged = self.charged(now, length);
        match charged.plus(amount) {
            Some(sum) if sum <= limit.most => Ok(()),
            Some(_) | None => Err(refusal(
                rule,
                expected,
                format_args!("{amount} {unit} after {charged}"),
            )),
        }
    }

    /// Charges what was admitted.
    pub fn charge(&mut self, now: WindowTime, length: Seconds, amount: A) {
        if amount == A::default() {
            return;
        }
        let now = self.not_before_the_last(now);
        // A length of zero makes each charge an entry of its own, until there are too many.
        let grain = length.as_millis().checked_div(GRAINS).unwrap_or_default();
        match self.charges.last_mut() {
            Some(last) if now.millis_since(last.since) < grain => {
                last.until = now;
                last.amount = last.amount.plus_or_most(amount);
            }
            Some(_) | None => self.charges.push(Charge {
                since: now,
                until: now,
                amount,
            }),
        }
        while self.charges.len() > MAX_CHARGES {
            let oldest = self.charges.remove(0);
            if expired(oldest.until, now, length) {
                // Matters only once a policy makes the length longer.
                self.forgotten = self.forgotten.max(Some(oldest.until));
            } else if let Some(next) = self.charges.first_mut() {
                next.since = oldest.since;
                next.amount = next.amount.plus_or_most(oldest.amount);
            }
        }
    }

    /// The most that may have been charged in the stretch of `length` that ends now.
    fn charged(&self, now: WindowTime, length: Seconds) -> A {
        self.charges
            .iter()
            .filter(|charge| !expired(charge.until, now, length))
            .fold(A::default(), |sum, charge| sum.plus_or_most(charge.amount))
    }

    fn not_before_the_last(&self, now: WindowTime) -> WindowTime {
        let last = self.charges.last().map(|charge| charge.until);
        now.max(last.unwrap_or_default())
            .max(self.forgotten.unwrap_or_default())
    }
}

/// Whether a charge lies before the stretch of `length` that ends now.
const fn expired(charge: WindowTime, now: WindowTime, length: Seconds) -> bool {
    now.millis_since(charge) > length.as_millis()
}

#[cfg(test)]
mod tests;
