//! The clock of the signer's rolling windows (design 10).
//!
//! A signer believes no clock that somebody else can set. Window time advances by the smaller of the change in Bitcoin's
//! median time and the change in the local monotonic timer:
//!
//! ```text
//! gained(timer)  = timer now - timer at the last reading          0 at the first reading after a start
//! lead           = lead + (median now - highest median so far)    0 at the first reading after a start
//! step           = min(gained(timer), lead)
//! window time   += step;   lead = min(lead - step, MAX_LEAD)
//! ```
//!
//! Bitcoin's median time stands still between blocks, so what it gained and the timer did not yet use up is kept as a
//! lead, and only so much of it. What the *timer* gained while the median stood still is never kept: headers that are
//! withheld and then released in steps give no burst.
//!
//! - In any stretch of one run, window time gains at most what the timer gains.
//! - In any stretch at all, it gains at most what the median's highest value gains, plus [`MAX_LEAD_MS`]: that is what
//!   somebody who sets the local timer at will can win.
//! - Power-off adds nothing, and neither does a median or a timer that goes back and forth.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A moment of a signer's window time, in milliseconds since its first reading. It has no relation to a date.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WindowTime(u64);

impl WindowTime {
    /// The first moment.
    pub const ZERO: Self = Self(0);

    /// Takes milliseconds of window time.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds of window time.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Milliseconds since `earlier`; 0 where that is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment that many milliseconds later, at most the last one.
    #[must_use]
    pub const fn saturating_add_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// A stretch of window time as policies give it, in seconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(u64);

impl Seconds {
    /// Takes seconds.
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Milliseconds, at most all there are.
    pub const fn as_millis(self) -> u64 {
        self.0.saturating_mul(1000)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bitcoin's median time past: the median of the last eleven headers' times, in Unix seconds (BIP-113).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MedianTime(u32);

impl MedianTime {
    /// Takes Unix seconds.
    pub const fn new(seconds: u32) -> Self {
        Self(seconds)
    }

    /// Unix seconds.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The local monotonic timer: milliseconds since an arbitrary moment of this run, such as the process's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Takes milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }
}

/// Both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Median time at the tip of the signer's own header chain.
    pub median: MedianTime,
    /// The local timer.
    pub timer: Monotonic,
}

/// What the median may be ahead of window time, in milliseconds: two hours, which is more than it strays from real time
/// when blocks come slowly or with odd times.
pub const MAX_LEAD_MS: u64 = 2 * 60 * 60 * 1000;

/// The part of the clock that a signer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClockState {
    /// Window time.
    pub time: WindowTime,
    /// The highest median time read.
    pub median: Option<MedianTime>,
}

/// The running clock: the kept part, and what ends with this run.
#[derive(Debug, Clone)]
pub struct WindowClock {
    state: ClockState,
    run: Option<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    /// The highest timer read.
    timer: Monotonic,
    /// What the median is ahead, in milliseconds.
    lead: u64,
}

impl WindowClock {
    /// Starts the clock where the kept part stood.
    pub const fn start(state: ClockState) -> Self {
        Self { state, run: None }
    }

    /// Reads both clocks, and gives window time.
    pub fn advance(&mut self, reading: Reading) -> WindowTime {
        let highest = self.state.median.unwrap_or(reading.median);
        let median_gained = u64::from(reading.median.0.saturating_sub(highest.0));
        self.state.median = Some(highest.max(reading.median));
        let Some(run) = &mut self.run else {
            self.run = Some(Run {
                timer: reading.timer,
                lead: 0,
            });
            return self.state.time;
        };
        let timer_gained = reading.timer.0.saturating_sub(run.timer.0);
        run.timer = run.timer.max(reading.timer);
        let lead = run.lead.saturating_add(Seconds(median_gained).as_millis());
        let step = timer_gained.min(lead);
        run.lead = lead.saturating_sub(step).min(MAX_LEAD_MS);
        self.state.time = self.state.time.saturating_add_millis(step);
        self.state.time
    }

    /// Window time at the last reading.
    pub const fn now(&self) -> WindowTime {
        self.state.time
    }

    /// The part to keep. Keeping it late loses window time and never gains any.
    pub const fn state(&self) -> &ClockState {
        &self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(median: u32, timer: u64) -> Reading {
        Reading {
            median: MedianTime::new(median),
            timer: Monotonic::from_millis(timer),
        }
    }

    const HOUR_MS: u64 = 60 * 60 * 1000;

    #[test]
    fn blocks_every_ten_minutes_lose_nothing_in_the_long_run() {
        let mut clock = WindowClock::start(ClockState::default());
        let day = 24 * 60 * 60;
        for second in (0..=day).step_by(2) {
            let tip = second / 600 * 600;
            clock.advance(reading(1_000_000 + tip, u64::from(second) * 1000));
        }
        let lost = u64::from(day) * 1000 - clock.now().as_millis();
        assert!(lost <= 600_000, "the wait for the first block: {lost}");
    }

    #[test]
    fn headers_withheld_and_released_give_no_burst() {
        let mut clock = WindowClock::start(ClockState::default());
        clock.advance(reading(0, 0));
        let ten_days_ms = 240 * HOUR_MS;
        assert_eq!(clock.advance(reading(0, ten_days_ms)), WindowTime::ZERO);
        // All headers at once, or in steps: only what the timer goes on by counts.
        let all = 240 * 3600;
        assert_eq!(clock.advance(reading(all, ten_days_ms)), WindowTime::ZERO);
        let later = clock.advance(reading(all, ten_days_ms + 5));
        assert_eq!(later.as_millis(), 5);
        // And the median's gain does not wait for ever.
        let much_later = clock.advance(reading(all, ten_days_ms + 9 * HOUR_MS));
        assert_eq!(much_later.as_millis(), MAX_LEAD_MS);
    }

    #[test]
    fn power_off_adds_nothing() {
        let mut clock = WindowClock::start(ClockState::default());
        clock.advance(reading(0, 0));
        clock.advance(reading(3600, HOUR_MS));
        let mut next = WindowClock::start(*clock.state());
        // A day later by Bitcoin; the timer starts anew, or does not.
        for timer in [0, 25 * HOUR_MS] {
            assert_eq!(next.advance(reading(90_000, timer)).as_millis(), HOUR_MS);
            assert_eq!(
                next.advance(reading(90_000, timer + 1)).as_millis(),
                HOUR_MS
            );
            next = WindowClock::start(*next.state());
        }
    }

    #[test]
    fn a_timer_set_at_will_wins_the_lead_and_no_more() {
        let mut clock = WindowClock::start(ClockState::default());
        clock.advance(reading(0, 0));
        clock.advance(reading(1_000_000, 0));
        let jumped = clock.advance(reading(1_000_000, u64::MAX));
        assert_eq!(jumped.as_millis(), MAX_LEAD_MS);
    }

    proptest! {
        /// Against both clocks over every stretch of a history with restarts, jumps and steps back.
        #[test]
        fn never_faster_than_either_clock(
            steps in proptest::collection::vec(
                (any::<bool>(), -4_000i64..8_000, -3_000_000i64..6_000_000, prop::bool::weighted(0.1)),
                1..60,
            ),
        ) {
            let mut clock = WindowClock::start(ClockState::default());
            let (mut median, mut timer, mut run) = (1_000_000i64, 10_000_000i64, 0u32);
            let mut history: Vec<(u64, u32, u64, u32)> = Vec::new();
            for (forward, median_step, timer_step, restart) in steps {
                median = (median + if forward { median_step.abs() } else { median_step }).max(0);
                timer = (timer + timer_step).max(0);
                if restart {
                    clock = WindowClock::start(*clock.state());
                    run += 1;
                }
                let (seen, ticks) = (u32::try_from(median).unwrap(), u64::try_from(timer).unwrap());
                let time = clock.advance(reading(seen, ticks)).as_millis();
                history.push((time, seen, ticks, run));
                for (start, (then, _, old_ticks, old_run)) in history.iter().enumerate() {
                    let gained = time - then;
                    let highest = |end: usize| history[..end].iter().map(|entry| entry.1).max().unwrap();
                    let median_gained = u64::from(highest(history.len()) - highest(start + 1)) * 1000;
                    prop_assert!(gained <= median_gained + MAX_LEAD_MS);
                    if *old_run == run {
                        // What the timer showed forward; steps back and the way up again count once.
                        let top = history[start..].iter().map(|entry| entry.2).max().unwrap();
                        prop_assert!(gained <= top.saturating_sub(*old_ticks));
                    }
                }
                // From the very first reading on, not even the lead is won.
                prop_assert!(time <= u64::from(history.iter().map(|entry| entry.1).max().unwrap() - history[0].1) * 1000);
            }
        }

        /// A restart at any moment, or reading less often, never makes the clock faster.
        #[test]
        fn restarts_gain_nothing(
            steps in proptest::collection::vec((0u32..2_000, 0u64..3_000_000, any::<bool>()), 1..60),
        ) {
            let mut steady = WindowClock::start(ClockState::default());
            let mut restarted = steady.clone();
            let (mut median, mut timer) = (0, 0);
            for (median_step, timer_step, restart) in steps {
                median += median_step;
                timer += timer_step;
                if restart {
                    restarted = WindowClock::start(*restarted.state());
                }
                let now = restarted.advance(reading(median, timer));
                prop_assert!(now <= steady.advance(reading(median, timer)));
            }
        }
    }
}
