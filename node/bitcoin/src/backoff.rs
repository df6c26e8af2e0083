//! Exponential backoff with full jitter, as a pure function.

use std::time::Duration;

/// Waits between attempts: doubling from `first` up to `longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub first: Duration,
    /// Upper bound of every wait.
    pub longest: Duration,
}

impl Backoff {
    /// Upper bound of the wait after `failures` failures in a row; the first one is 1 (0 is treated alike).
    pub fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// The wait itself: between half the bound and the bound, placed there by `random`.
    ///
    /// Half is kept so that a node that is down is never hammered, the other half spreads clients that lost the node
    /// at the same moment (AWS Architecture Blog, "Exponential Backoff and Jitter", equal jitter).
    pub fn wait(&self, failures: u32, random: u32) -> Duration {
        let half = self.bound(failures) / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(5),
    };

    #[test]
    fn doubles_up_to_the_longest() {
        let bounds: Vec<_> = (1..9).map(|n| BACKOFF.bound(n).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(BACKOFF.bound(u32::MAX), BACKOFF.longest);
    }

    proptest! {
        #[test]
        fn jitter_stays_in_the_upper_half(failures: u32, random: u32) {
            let wait = BACKOFF.wait(failures, random);
            let bound = BACKOFF.bound(failures);
            prop_assert!(wait >= bound / 2 && wait <= bound, "{:?} for a bound of {:?}", wait, bound);
        }
    }
}
