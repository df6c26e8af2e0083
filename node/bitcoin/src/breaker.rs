//! A circuit breaker, sans-IO: while a node is known to be dead, callers are told so at once instead of queueing up
//! behind timeouts.
//!
//! | state | a call | after a success | after a failure |
//! |---|---|---|---|
//! | closed | is let through | failures forgotten | at `failures_to_open` in a row: open |
//! | open | is refused until the pause ends | - | - |
//! | half-open | one probe is let through, others are refused | closed | open, with a longer pause |
//!
//! Time is an input: the time since any fixed moment, on a clock that never goes back.

use crate::backoff::Backoff;
use std::time::Duration;

/// When to open and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open the circuit; at least 1 is assumed.
    pub failures_to_open: u32,
    /// How long it stays open: longer with each probe that fails.
    pub pause: Backoff,
}

/// What callers and operators may know of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// One call is trying out whether the node is back.
    HalfOpen,
}

/// The refusal of a call while the circuit is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitOpen {
    /// When another attempt is worth it; zero while a probe is under way.
    pub retry_in: Duration,
}

/// The right to make one call; give it back with what came of it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not given back blocks a half-open circuit"]
pub struct Permit {
    generation: u64,
}

/// How a permitted call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// The node answered, be it with a refusal.
    Answered,
    /// The node could not be reached or used.
    Failed,
    /// The caller lost interest before the end, which says nothing about the node.
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration },
    HalfOpen,
}

/// See the module's table.
#[derive(Debug)]
pub struct CircuitBreaker {
    config: BreakerConfig,
    state: State,
    /// Pauses in a row, which decides on the length of the next.
    pauses: u32,
    /// Grows with every change of state, so that a slow call which started before the change cannot alter what came
    /// after it.
    generation: u64,
}

impl CircuitBreaker {
    /// A closed circuit.
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed { failures: 0 },
            pauses: 0,
            generation: 0,
        }
    }

    /// The present state; an open circuit stays open until a call asks for a permit after its pause.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// Asks to make a call.
    ///
    /// # Errors
    /// - [`CircuitOpen`] while the circuit is open or while another call probes the node.
    pub fn admit(&mut self, now: Duration) -> Result<Permit, CircuitOpen> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until } if now < until => {
                return Err(CircuitOpen {
                    retry_in: until.saturating_sub(now),
                });
            }
            State::Open { .. } => self.enter(State::HalfOpen),
            State::HalfOpen => {
                return Err(CircuitOpen {
                    retry_in: Duration::ZERO,
                });
            }
        }
        Ok(Permit {
            generation: self.generation,
        })
    }

    /// Gives a permit back. `random` places the pause that a failure may start (see [`Backoff::wait`]).
    pub fn finish(&mut self, permit: Permit, end: CallEnd, now: Duration, random: u32) {
        if permit.generation != self.generation {
            return;
        }
        match (self.state, end) {
            (State::Closed { .. }, CallEnd::Answered) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, CallEnd::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= self.config.failures_to_open {
                    self.pause(now, random);
                } else {
                    self.state = State::Closed { failures };
                }
            }
            (State::Closed { .. }, CallEnd::Abandoned) => {}
            (State::HalfOpen, CallEnd::Answered) => {
                self.pauses = 0;
                self.enter(State::Closed { failures: 0 });
            }
            (State::HalfOpen, CallEnd::Failed) => self.pause(now, random),
            // Nothing was learned: the next caller probes, without another pause.
            (State::HalfOpen, CallEnd::Abandoned) => self.enter(State::Open { until: now }),
            // No permit carries the generation of an open circuit.
            (State::Open { .. }, _) => {}
        }
    }

    fn pause(&mut self, now: Duration, random: u32) {
        self.pauses = self.pauses.saturating_add(1);
        let until = now.saturating_add(self.config.pause.wait(self.pauses, random));
        self.enter(State::Open { until });
    }

    fn enter(&mut self, state: State) {
        self.generation = self.generation.wrapping_add(1);
        self.state = state;
    }
}

#[cfg(test)]
mod tests;
