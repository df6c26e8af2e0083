//! Rules of area `state`: whether the state that was loaded is the newest there is (claim C5, design 10).
//!
//! An outside counter that no snapshot holds (TPM, token, device) only goes up. The signer takes a [`Lease`] of slots:
//!
//! 1. it writes a state with the next lease, whose counter value is one higher;
//! 2. it advances the counter from the old value to that one, which fails where another instance did so first;
//! 3. it signs, until the lease's last slot or the next peg-out.
//!
//! Nothing is signed between 1 and 2, so a start that finds the counter one below the state's just goes on with 2. After
//! a start that follows no orderly stop, every slot of the lease may have been voted in already, so the lease's last slot
//! becomes the floor: see [`Lease::slot_floor`]. An orderly stop takes a last lease that ends with the last vote.
//!
//! Not covered: a state of the *same* lease put back within it. The floor keeps such a signer from voting twice in a slot,
//! but its lock may be as old as the lease. A lease of one slot closes this where the counter bears a write per vote.

use crate::refusal::refusal;
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

/// What may be signed under one value of the outside counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lease {
    /// The counter's value while the lease runs.
    pub counter: CounterValue,
    /// The last slot that may be voted in.
    pub until: Slot,
}

/// How a fresh state stands to the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The counter has the lease's value.
    Equal,
    /// The lease was written and the counter not advanced: advance it from the value given before anything is signed.
    Interrupted(CounterValue),
}

impl Lease {
    /// The next lease, for `slots` slots from `slot` on; none at the end of the counter or of time.
    pub fn next(&self, slot: Slot, slots: u64) -> Option<Self> {
        Some(Self {
            counter: self.counter.next()?,
            until: slot.checked_add(slots)?.max(self.until),
        })
    }

    /// The lease that an orderly stop takes: it ends with the last vote, so that nothing is forgone at the next start.
    pub fn closing(&self, last_vote: Slot) -> Option<Self> {
        Some(Self {
            counter: self.counter.next()?,
            until: last_vote,
        })
    }

    /// Whether a vote in `slot` needs another lease first.
    pub fn covers(&self, slot: Slot) -> bool {
        slot <= self.until
    }

    /// The slot that a start counts as voted in: votes up to the lease's end may be out already.
    pub fn slot_floor(&self, last_vote: Slot) -> Slot {
        self.until.max(last_vote)
    }
}

/// What a decision knows of the outside counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Freshness {
    /// The lease in force.
    pub lease: Lease,
    /// What the counter showed when it was read or advanced last; none where there is no counter.
    pub outside: Option<CounterValue>,
    /// A run before this one may have signed in slots up to this one.
    pub floor: Slot,
}

impl Freshness {
    /// The lease to write together with a signature for `slot`; none where the one in force covers it, or at the end of
    /// the counter or of time.
    pub fn lease_for(&self, slot: Slot, slots: u64) -> Option<Lease> {
        if self.lease.covers(slot) {
            return None;
        }
        self.lease.next(slot, slots)
    }
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
/// `outside` is the counter's value; none where there is no counter.
///
/// # Errors
/// - a refusal by rule `fresh`.
pub fn fresh(lease: &Lease, outside: Option<CounterValue>) -> Result<Standing, Refusal> {
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
    if outside.next() == Some(lease.counter) {
        return Ok(Standing::Interrupted(outside));
    }
    let what = if outside > lease.counter {
        "the state is an old one"
    } else {
        "the counter was replaced or reset"
    };
    Err(refusal(
        Rule::Fresh,
        format_args!("an outside counter at the state's value {}", lease.counter),
        format_args!("{outside}: {what}"),
    ))
}

/// The counter advanced from the lease before to this one: compare-and-advance succeeds for one instance only.
///
/// # Errors
/// - a refusal by rule `counter` where the counter shows another value than the lease's.
pub fn counter(lease: &Lease, advanced_to: CounterValue) -> Result<(), Refusal> {
    crate::refusal::equal(
        Rule::Counter,
        "an outside counter advanced to",
        lease.counter,
        advanced_to,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Lease = Lease {
        counter: CounterValue::new(7),
        until: Slot::new(100),
    };

    #[test]
    fn equal_is_fresh_and_one_below_was_interrupted() {
        assert_eq!(
            fresh(&LEASE, Some(CounterValue::new(7))),
            Ok(Standing::Equal)
        );
        assert_eq!(
            fresh(&LEASE, Some(CounterValue::new(6))),
            Ok(Standing::Interrupted(CounterValue::new(6)))
        );
    }

    #[test]
    fn n1_an_old_state_another_counter_and_none_are_refused() {
        for (outside, word) in [
            (Some(CounterValue::new(8)), "old"),
            (Some(CounterValue::new(u64::MAX)), "old"),
            (Some(CounterValue::new(5)), "replaced"),
            (Some(CounterValue::new(0)), "replaced"),
            (None, "officers"),
        ] {
            let refused = fresh(&LEASE, outside).unwrap_err();
            assert_eq!(refused.rule, Rule::Fresh);
            assert!(refused.found.contains(word), "{refused}");
        }
        let end = Lease {
            counter: CounterValue::new(0),
            ..LEASE
        };
        assert!(fresh(&end, Some(CounterValue::new(u64::MAX))).is_err());
    }

    #[test]
    fn the_counter_must_show_the_new_value() {
        assert_eq!(counter(&LEASE, CounterValue::new(7)), Ok(()));
        let refused = counter(&LEASE, CounterValue::new(8)).unwrap_err();
        assert_eq!(refused.rule, Rule::Counter);
    }

    #[test]
    fn a_lease_covers_its_slots_and_an_unclean_start_forgoes_them() {
        let next = LEASE.next(Slot::new(101), 10).unwrap();
        assert_eq!(next.counter, CounterValue::new(8));
        assert!(next.covers(Slot::new(111)) && !next.covers(Slot::new(112)));
        assert_eq!(next.slot_floor(Slot::new(103)), Slot::new(111));
        let closed = next.closing(Slot::new(103)).unwrap();
        assert_eq!(closed.slot_floor(Slot::new(103)), Slot::new(103));
        let end = Lease {
            counter: CounterValue::new(u64::MAX),
            ..LEASE
        };
        assert_eq!(end.next(Slot::new(101), 1), None);
    }

    /// Every interleaving of write, advance and crash, against what was really signed: a start either knows a floor at or
    /// above every slot signed in, or refuses.
    #[test]
    fn no_crash_or_older_lease_signs_below_what_was_signed() {
        // Snapshots of the state after each write; the counter's value beside it; the highest slot signed so far.
        let mut written = alloc::vec![LEASE];
        let mut outside = LEASE.counter;
        let mut signed = Slot::new(0);
        for step in 0..5u64 {
            let lease = written[written.len() - 1];
            let start = Slot::new(lease.until.get() + 1);
            let next = lease.next(start, 3 + step).unwrap();
            written.push(next);
            check(&written, outside, signed);
            outside = outside.next().unwrap();
            check(&written, outside, signed);
            for slot in start.get()..=next.until.get() {
                signed = Slot::new(slot);
                check(&written, outside, signed);
            }
        }

        fn check(written: &[Lease], outside: CounterValue, signed: Slot) {
            let mut fresh_ones = 0;
            for lease in written {
                if fresh(lease, Some(outside)).is_ok() {
                    fresh_ones += 1;
                    assert!(lease.slot_floor(Slot::new(0)) >= signed, "{lease:?}");
                }
            }
            assert!((1..=2).contains(&fresh_ones));
        }
    }
}
