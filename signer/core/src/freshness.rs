//! Rules of area `state`: whether the state that was loaded is the newest there is (claim C5, design 10).
//!
//! An outside counter that no snapshot holds (TPM, token, device) only goes up, and carries the random tag of whoever
//! advanced it last. The signer takes a [`Lease`] of slots:
//!
//! 1. in one write with the decision it records the next lease: its value is one higher, its tag fresh;
//! 2. it advances the counter from the old value and tag to the new ones, which fails where another instance did so first;
//! 3. it releases the signature, and goes on signing until the lease's last slot or the next peg-out.
//!
//! Nothing is released between 1 and 2, so a start that finds the counter still at the old value and tag just goes on with
//! 2. The tag tells an advance of this state's own from that of a copy, also after a crash between the two. After a
//! start that follows no orderly stop, every slot of the lease may have been voted in already, so the lease's last slot
//! becomes the floor. An orderly stop takes a last lease that ends with the last vote.
//!
//! Not covered: a state of the *same* lease put back within it. The floor keeps such a signer from voting twice in a slot,
//! but its lock may be as old as the lease. A lease of one slot closes this where the counter bears a write per vote.

use crate::refusal::refusal;
use alys_protocol::bytes::CounterTag as Tag;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::units::Slot;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A value of the outside counter.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct CounterValue(u64);

impl CounterValue {
    /// Takes a value as read from a counter.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next value; none at the counter's end.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

impl fmt::Display for CounterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the outside counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterMark {
    /// Its value.
    pub value: CounterValue,
    /// Who advanced it to that value; zeros at zero.
    pub tag: Tag,
}

impl CounterMark {
    /// Where a new counter stands.
    pub const ZERO: Self = Self {
        value: CounterValue::new(0),
        tag: Tag::ZERO,
    };
}

impl Default for CounterMark {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Display for CounterMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (tag {})", self.value, self.tag)
    }
}

/// What may be signed under one value of the outside counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Where the counter stands while the lease runs.
    pub counter: CounterMark,
    /// Who advanced it to the value before.
    pub before: Tag,
    /// The last slot that may be voted in.
    pub until: Slot,
}

/// How a fresh state stands to the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The counter stands where the lease says.
    Equal,
    /// The lease was written and the counter not advanced: advance it from there before anything is signed.
    Interrupted(CounterMark),
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            counter: CounterMark::ZERO,
            before: Tag::ZERO,
            until: Slot::default(),
        }
    }
}

impl Lease {
    /// The next lease, for `slots` slots, of which `slot` is the first; none at the end of the counter or of time.
    pub fn next(&self, slot: Slot, slots: u64, tag: Tag) -> Option<Self> {
        let until = slot.checked_add(slots.saturating_sub(1))?.max(self.until);
        self.followed_by(until, tag)
    }

    /// The lease that an orderly stop takes: it ends with the last vote, so that nothing is forgone at the next start.
    pub fn closing(&self, last_vote: Slot, tag: Tag) -> Option<Self> {
        self.followed_by(last_vote, tag)
    }

    /// The lease after officers vouched for a state that the counter does not know: it goes on from `outside`, where the
    /// counter stands now, and ends with `floor`, or where this one
    /// does if that is later; none at the counter's end.
    ///
    /// The state of any other copy then stands elsewhere than the counter, once it advanced.
    pub fn vouched(&self, outside: CounterMark, floor: Slot, tag: Tag) -> Option<Self> {
        let from = Self {
            counter: outside,
            ..*self
        };
        from.followed_by(floor.max(self.until), tag)
    }

    fn followed_by(&self, until: Slot, tag: Tag) -> Option<Self> {
        Some(Self {
            counter: CounterMark {
                value: self.counter.value.next()?,
                tag,
            },
            before: self.counter.tag,
            until,
        })
    }

    /// Whether a vote in `slot` needs no other lease first.
    pub fn covers(&self, slot: Slot) -> bool {
        slot <= self.until
    }
}

/// What a decision knows of the outside counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Freshness {
    /// The lease in force.
    pub lease: Lease,
    /// Where the counter stood when it was read or advanced last; none where there is no counter.
    pub outside: Option<CounterMark>,
    /// A run before this one may have signed in slots up to this one.
    pub floor: Slot,
}

/// Whether anything may be signed: rules `fresh` and `counter` in the moment of a decision.
///
/// # Errors
/// - a refusal by rule `fresh` or `counter`.
pub fn current(freshness: &Freshness) -> Result<(), Refusal> {
    match fresh(&freshness.lease, freshness.outside)? {
        Standing::Equal => Ok(()),
        Standing::Interrupted(outside) => counter(&freshness.lease, outside),
    }
}

/// The state is the newest there is: `equal at start = fresh without anyone's help; lower, or no such counter = refuse`.
///
/// `outside` is where the counter stands; none where there is no counter.
///
/// # Errors
/// - a refusal by rule `fresh`.
pub fn fresh(lease: &Lease, outside: Option<CounterMark>) -> Result<Standing, Refusal> {
    let Some(outside) = outside else {
        return Err(refusal(
            Rule::Fresh,
            format_args!("an outside counter at {}", lease.counter),
            "none; officers must vouch for the state",
        ));
    };
    if outside == lease.counter {
        return Ok(Standing::Equal);
    }
    if outside.value.next() == Some(lease.counter.value) && outside.tag == lease.before {
        return Ok(Standing::Interrupted(outside));
    }
    let what = if outside.value > lease.counter.value {
        "the state is an old one"
    } else if outside.value == lease.counter.value {
        "another instance advanced it"
    } else {
        "the counter was replaced or reset"
    };
    Err(refusal(
        Rule::Fresh,
        format_args!(
            "an outside counter where the state left it, {}",
            lease.counter
        ),
        format_args!("{outside}: {what}"),
    ))
}

/// The counter advanced from the lease before to this one: compare-and-advance succeeds for one instance only.
///
/// # Errors
/// - a refusal by rule `counter` where the counter stands elsewhere than the lease says.
pub fn counter(lease: &Lease, advanced_to: CounterMark) -> Result<(), Refusal> {
    crate::refusal::equal(
        Rule::Counter,
        "an outside counter advanced to",
        lease.counter,
        advanced_to,
    )
}

#[cfg(test)]
mod tests;
