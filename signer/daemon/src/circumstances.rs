//! What decisions rest on beside requests and their own state: clocks, Bitcoin's headers, the outside counter.

use crate::audit::entry::Inputs;
use crate::audit::{AuditError, Recorder, UnixMillis};
use crate::counter::{CounterError, OutsideCounter, RunCounter};
use alys_protocol::bytes::{CounterTag, Digest};
use alys_protocol::signer::Refusal;
use alys_protocol::units::{BurnSequence, Slot};
use alys_signer_core::btc::{HeaderChain, Headers as _, LoadError, UnixTime};
use alys_signer_core::clock::{ClockState, Monotonic, Reading, WindowClock};
use alys_signer_core::freshness::{self, CounterMark, Freshness, Lease, Standing};
use alys_signer_core::signer::Context;
use alys_signer_core::state::AdminState;
use alys_signer_core::{Signer, clock::WindowTime};
use std::time::Instant;
use thiserror::Error;

/// How often the window clock is kept: what a crash loses of it makes windows last longer.
const KEEP_CLOCK_MS: u64 = 60_000;

/// A state that does not let the signer start.
#[derive(Debug, Error)]
pub enum CircumstancesError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] AuditError),
    /// What is stored is no chain of Bitcoin headers.
    #[error("the stored Bitcoin headers are damaged: {0}")]
    Headers(#[from] LoadError),
}

/// A lease that could not be taken; nothing may be released.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// The counter stands elsewhere.
    #[error("{0}")]
    Refused(Refusal),
    /// The operating system gives no entropy.
    #[error("the operating system gives no entropy: {0}")]
    Entropy(getrandom::Error),
}

/// Everything that changes while the signer runs and is no decision's own state. One decision at a time holds it.
#[derive(Debug)]
pub struct Circumstances {
    bitcoin: HeaderChain,
    bitcoin_digest: Digest,
    clock: WindowClock,
    started: Instant,
    kept: WindowTime,
    freshness: Freshness,
    counter: Option<Box<dyn OutsideCounter>>,
    lease_slots: u64,
    /// What officers who vouch must answer; gone with the process.
    challenge: Option<Digest>,
    /// Burns that officers agreed to skip.
    skips: Vec<BurnSequence>,
}

impl Circumstances {
    /// Reads what was kept, and looks at the outside counter: see [`freshness`].
    ///
    /// # Errors
    /// - [`CircumstancesError`] where the state cannot be read, or its Bitcoin headers are no chain from the checkpoint.
    pub fn start(
        recorder: &Recorder,
        signer: &Signer,
        counter: Option<Box<dyn OutsideCounter>>,
        lease_slots: u64,
    ) -> Result<Self, CircumstancesError> {
        let bitcoin: HeaderChain = recorder.read()?;
        if let Some(stored) = bitcoin.stored() {
            signer.bitcoin().load(bitcoin.anchor(), &stored)?;
        }
        let clock: ClockState = recorder.read()?;
        let lease: Lease = recorder.read()?;
        let mut circumstances = Self {
            bitcoin_digest: recorder.state_digest(&bitcoin)?,
            bitcoin,
            clock: WindowClock::start(clock),
            started: Instant::now(),
            kept: clock.time,
            freshness: Freshness {
                lease,
                outside: None,
                // After an orderly stop this is the last vote's slot.
                floor: lease.until,
            },
            counter,
            lease_slots,
            challenge: None,
            skips: recorder.read::<AdminState>()?.skips,
        };
        circumstances.look();
        if let Err(refusal) = circumstances.silent() {
            tracing::error!(rule = %refusal.rule, expected = refusal.expected, found = refusal.found,
                "the signer is silent: its state may not be the newest");
        }
        Ok(circumstances)
    }

    /// The outside counter in words.
    pub fn counter_description(&self) -> String {
        self.counter
            .as_ref()
            .map_or_else(|| "none".to_owned(), |counter| counter.description())
    }

    /// Why nothing is signed, if so.
    ///
    /// # Errors
    /// - the refusal that every request gets, by rule `fresh` or `counter`.
    pub fn silent(&self) -> Result<(), Refusal> {
        freshness::current(&self.freshness)
    }

    /// The lease in force, and where the outside counter stood when it was read or advanced last.
    pub const fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The chain of Bitcoin headers.
    pub fn bitcoin(&self) -> &HeaderChain {
        &self.bitcoin
    }

    /// Takes over the chain of Bitcoin headers that was just recorded.
    ///
    /// # Errors
    /// - [`AuditError`] where it cannot be read.
    pub fn take_over_bitcoin(&mut self, recorder: &Recorder) -> Result<(), AuditError> {
        let bitcoin = recorder.read()?;
        self.bitcoin_digest = recorder.state_digest(&bitcoin)?;
        self.bitcoin = bitcoin;
        Ok(())
    }

    /// Reads the clocks for a decision, and the counter again where the signer is silent: it may have come back.
    pub fn inputs(&mut self, slot: Slot) -> Inputs {
        if self.silent().is_err() {
            self.look();
        }
        Inputs {
            slot,
            window: self.window(),
            bitcoin: self.bitcoin_digest,
            freshness: self.freshness,
            randomness: None,
        }
    }

    /// The context that goes with [`Circumstances::inputs`].
    pub fn context(&self, inputs: &Inputs, time: UnixMillis) -> Context<'_, HeaderChain> {
        Context {
            slot: inputs.slot,
            time: unix_time(time),
            window: inputs.window,
            bitcoin: &self.bitcoin,
            freshness: inputs.freshness,
            skips: &self.skips,
        }
    }

    /// Burns that officers agreed to skip, rising.
    pub fn skips(&self) -> &[BurnSequence] {
        &self.skips
    }

    /// Takes over what officers said and was just recorded.
    ///
    /// # Errors
    /// - [`AuditError`] where it cannot be read.
    pub fn take_over(&mut self, recorder: &Recorder) -> Result<(), AuditError> {
        self.skips = recorder.read::<AdminState>()?.skips;
        self.take_over_bitcoin(recorder)
    }

    /// The lease that a vote in `slot` needs beyond the one in force.
    ///
    /// # Errors
    /// - [`LeaseError::Entropy`] as named.
    pub fn lease_for(&self, slot: Slot) -> Result<Option<Lease>, LeaseError> {
        if self.freshness.lease.covers(slot) {
            return Ok(None);
        }
        Ok(self.freshness.lease.next(slot, self.lease_slots, tag()?))
    }

    /// The lease that a peg-out takes: no older state than the one that records it counts as fresh.
    ///
    /// # Errors
    /// - [`LeaseError::Entropy`] as named.
    pub fn lease_for_peg_out(&self, slot: Slot) -> Result<Option<Lease>, LeaseError> {
        Ok(self.freshness.lease.next(slot, self.lease_slots, tag()?))
    }

    /// Advances the counter to a lease that was just recorded. Only then may anything be released.
    ///
    /// # Errors
    /// - [`LeaseError::Refused`] by rule `fresh` or `counter` where the counter did not advance.
    pub fn take(&mut self, lease: Lease) -> Result<(), LeaseError> {
        let from = self.freshness.lease.counter;
        self.freshness.lease = lease;
        self.advance(from);
        self.silent().map_err(LeaseError::Refused)
    }

    /// The open challenge, a new one where there is none.
    ///
    /// # Errors
    /// - [`LeaseError::Entropy`] as named.
    pub fn challenge(&mut self) -> Result<Digest, LeaseError> {
        if let Some(open) = self.challenge {
            return Ok(open);
        }
        let mut bytes = [0u8; Digest::LENGTH];
        getrandom::fill(&mut bytes).map_err(LeaseError::Entropy)?;
        Ok(*self.challenge.insert(Digest::new(bytes)))
    }

    /// The open challenge.
    pub const fn open_challenge(&self) -> Option<Digest> {
        self.challenge
    }

    /// Whether there is an outside counter that cannot be read: nobody could say where to go on from.
    pub fn counter_is_lost(&self) -> bool {
        self.counter.is_some() && self.freshness.outside.is_none()
    }

    /// Goes on with a lease that officers vouched for and that was just recorded, from where the counter stands now.
    ///
    /// # Errors
    /// - [`LeaseError::Refused`] by rule `fresh` or `counter` where the counter did not advance.
    pub fn vouched(&mut self, lease: Lease) -> Result<(), LeaseError> {
        self.challenge = None;
        let from = self.freshness.outside;
        let from = from.unwrap_or(self.freshness.lease.counter);
        if self.counter.is_none() {
            self.counter = Some(Box::new(RunCounter::new(from)));
        }
        self.freshness.lease = lease;
        self.advance(from);
        self.silent().map_err(LeaseError::Refused)
    }

    /// Takes the last lease of an orderly stop, which ends with the last vote.
    pub fn close(&mut self, recorder: &Recorder, last_vote: Slot) {
        if let Err(error) = self.keep_clock(recorder) {
            tracing::error!(%error, "the window clock cannot be kept");
        }
        if self.silent().is_err() {
            return;
        }
        let Ok(tag) = tag() else { return };
        let Some(lease) = self.freshness.lease.closing(last_vote, tag) else {
            return;
        };
        let closed = recorder
            .keep_lease(&lease)
            .map_err(|error| error.to_string());
        if let Err(error) =
            closed.and_then(|()| self.take(lease).map_err(|error| error.to_string()))
        {
            tracing::error!(
                error,
                "the last lease runs on: the next start waits until it ends"
            );
        }
    }

    /// Keeps the window clock once a minute.
    ///
    /// # Errors
    /// - [`AuditError`] where it cannot be written.
    pub fn tick(&mut self, recorder: &Recorder) -> Result<(), AuditError> {
        let now = self.window();
        if now.millis_since(self.kept) < KEEP_CLOCK_MS {
            return Ok(());
        }
        self.keep_clock(recorder)
    }

    fn keep_clock(&mut self, recorder: &Recorder) -> Result<(), AuditError> {
        recorder.keep_clock(self.clock.state())?;
        self.kept = self.clock.now();
        Ok(())
    }

    fn window(&mut self) -> WindowTime {
        let median = self
            .bitcoin
            .tip()
            .and_then(|tip| self.bitcoin.median_time(tip.height));
        let Some(median) = median else {
            // Without headers no time passes.
            return self.clock.now();
        };
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.clock.advance(Reading {
            median,
            timer: Monotonic::from_millis(millis),
        })
    }

    /// Reads the counter, and goes on where a start was interrupted between the record and the counter.
    fn look(&mut self) {
        let Some(counter) = &self.counter else { return };
        self.freshness.outside = shown(counter.read());
        let standing = freshness::fresh(&self.freshness.lease, self.freshness.outside);
        if let Ok(Standing::Interrupted(from)) = standing {
            self.advance(from);
        }
    }

    fn advance(&mut self, from: CounterMark) {
        let Some(counter) = &self.counter else { return };
        let tag = self.freshness.lease.counter.tag;
        self.freshness.outside = match counter.advance(from, tag) {
            Ok(mark) => Some(mark),
            Err(error) => {
                tracing::error!(%error, "the outside counter did not advance");
                shown(counter.read())
            }
        };
    }
}

fn shown(read: Result<Option<CounterMark>, CounterError>) -> Option<CounterMark> {
    read.unwrap_or_else(|error| {
        tracing::error!(%error, "the outside counter cannot be read");
        None
    })
}

pub(crate) fn tag() -> Result<CounterTag, LeaseError> {
    fresh_tag().map_err(LeaseError::Entropy)
}

/// Random: no two advances have the same.
pub(crate) fn fresh_tag() -> Result<CounterTag, getrandom::Error> {
    let mut bytes = [0u8; CounterTag::LENGTH];
    getrandom::fill(&mut bytes)?;
    Ok(CounterTag::new(bytes))
}

/// The clock in the seconds that Bitcoin's headers count in.
pub(crate) const fn unix_time(millis: UnixMillis) -> UnixTime {
    UnixTime::new(millis.get() / 1000)
}
