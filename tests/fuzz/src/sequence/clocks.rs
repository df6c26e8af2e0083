//! The clocks of a run. Window time is the signer's own, held against what design 10 says of it: no faster than the local
//! timer, nor than Bitcoin's median time but for the lead of two hours.

use alys_signer_core::clock::{MedianTime, Monotonic, Reading, WindowClock, WindowTime};

/// What the median may be ahead of window time.
const LEAD_MS: u64 = 2 * 60 * 60 * 1000;
/// Readings that are held against each other.
const READINGS: usize = 64;

struct Past {
    window: u64,
    timer: u64,
    /// The highest median time so far.
    median: u32,
    run: u32,
}

pub struct Clocks {
    /// Slot of the clock.
    pub slot: u64,
    /// Unix time in seconds.
    pub time: u64,
    /// The local timer, in milliseconds.
    pub timer: u64,
    run: u32,
    clock: WindowClock,
    past: Vec<Past>,
}

impl Clocks {
    pub fn new(slot: u64, time: u64) -> Self {
        Self {
            slot,
            time,
            timer: 0,
            run: 0,
            clock: WindowClock::start(Default::default()),
            past: Vec::new(),
        }
    }

    /// A new process on the kept part of the clock.
    pub fn restart(&mut self) {
        self.clock = WindowClock::start(*self.clock.state());
        self.run += 1;
        self.timer = 0;
    }

    /// Window time, where `median` is Bitcoin's at the signer's tip; without headers no time passes.
    pub fn window(&mut self, median: Option<u32>) -> u64 {
        let Some(median) = median else {
            return self.clock.now().as_millis();
        };
        let now: WindowTime = self.clock.advance(Reading {
            median: MedianTime::new(median),
            timer: Monotonic::from_millis(self.timer),
        });
        let window = now.as_millis();
        let highest = self
            .past
            .last()
            .map_or(median, |past| past.median.max(median));
        for past in &self.past {
            let gained = window - past.window;
            let by_median = u64::from(highest - past.median) * 1000;
            assert!(gained <= by_median + LEAD_MS, "faster than Bitcoin");
            assert!(
                past.run != self.run || gained <= self.timer - past.timer,
                "faster than the timer"
            );
        }
        if self.past.len() == READINGS {
            self.past.remove(0);
        }
        self.past.push(Past {
            window,
            timer: self.timer,
            median: highest,
            run: self.run,
        });
        window
    }
}
