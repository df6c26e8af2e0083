//! What decisions rest on beside requests and their own state: the clock and the monotonic counter.

use crate::HORIZON_MS;
use crate::state::Head;
use alys_firmware_platform::{Entropy, Fault, MonotonicCounter};
use alys_protocol::bytes::{CounterTag, Digest};
use alys_protocol::signer::Refusal;
use alys_protocol::units::Slot;
use alys_signer_core::Signer;
use alys_signer_core::btc::{Headers, UnixTime};
use alys_signer_core::clock::{MedianTime, Monotonic, Reading, WindowClock, WindowTime};
use alys_signer_core::freshness::{self, CounterMark, Freshness, Lease, Standing};

/// Everything that ends with the power.
#[derive(Debug)]
pub(crate) struct Circumstances {
    window: WindowClock,
    /// What the clock stood at, in Unix milliseconds, and the timer's milliseconds then.
    clock: (u64, u64),
    pub(crate) freshness: Freshness,
    /// What officers who vouch must answer.
    pub(crate) challenge: Option<Digest>,
}

/// Median time at the tip; none before the chain of headers is open.
pub(crate) fn median(headers: &impl Headers) -> Option<MedianTime> {
    headers.median_time(headers.tip()?.height)
}

impl Circumstances {
    /// After power came on: see [`alys_signer_core::freshness`].
    pub(crate) fn start(
        head: &Head,
        signer: &Signer,
        headers: &impl Headers,
        millis: u64,
        counter: &mut impl MonotonicCounter,
    ) -> Self {
        let mut circumstances = Self {
            window: WindowClock::start(head.clock),
            clock: (genesis_ms(signer), millis),
            freshness: Freshness {
                lease: head.lease,
                outside: None,
                floor: head.lease.until,
            },
            challenge: None,
        };
        circumstances.headers_changed(headers, millis);
        circumstances.look(counter);
        circumstances
    }

    /// Sets the clock by the newest headers: their median time, and from then on the timer.
    pub(crate) fn headers_changed(&mut self, headers: &impl Headers, millis: u64) {
        if let Some(median) = median(headers) {
            self.clock = (u64::from(median.get()).saturating_mul(1000), millis);
        }
    }

    fn clock_ms(&self, millis: u64) -> u64 {
        let (at, then) = self.clock;
        at.saturating_add(millis.saturating_sub(then))
    }

    /// The clock in the seconds that Bitcoin's headers count in.
    pub(crate) fn time(&self, millis: u64) -> UnixTime {
        UnixTime::new(self.clock_ms(millis).saturating_div(1000))
    }

    /// The slot from which the policy's horizon reaches as far as the device's own, six hours past its clock: a device
    /// without a battery is behind by what the median time is, and by the time since the last header it was given.
    pub(crate) fn slot(&self, signer: &Signer, millis: u64) -> Slot {
        let reach = self.clock_ms(millis).saturating_add(HORIZON_MS);
        let last = Slot::at(reach, signer.chain().spec().slots.duration_ms);
        let horizon = signer.policy().slot_horizon_slots;
        Slot::new(last.unwrap_or_default().get().saturating_sub(horizon))
    }

    /// Reads both clocks of the rolling windows.
    pub(crate) fn window(&mut self, headers: &impl Headers, millis: u64) -> WindowTime {
        match median(headers) {
            Some(median) => self.window.advance(Reading {
                median,
                timer: Monotonic::from_millis(millis),
            }),
            // Without headers no time passes.
            None => self.window.now(),
        }
    }

    /// Window time's part to keep.
    pub(crate) fn kept(&self) -> alys_signer_core::clock::ClockState {
        *self.window.state()
    }

    /// Why nothing is signed, if so.
    pub(crate) fn silent(&self) -> Result<(), Refusal> {
        freshness::current(&self.freshness)
    }

    /// Reads the counter, and goes on where a start was interrupted between the record and the counter.
    pub(crate) fn look(&mut self, counter: &mut impl MonotonicCounter) {
        self.freshness.outside = counter.read().ok();
        let standing = freshness::fresh(&self.freshness.lease, self.freshness.outside);
        if let Ok(Standing::Interrupted(from)) = standing {
            self.advance(from, counter);
        }
    }

    /// Advances the counter to a lease that was just recorded. Only then may anything be released.
    pub(crate) fn take(
        &mut self,
        lease: Lease,
        counter: &mut impl MonotonicCounter,
    ) -> Result<(), Refusal> {
        let from = self.freshness.lease.counter;
        self.freshness.lease = lease;
        self.advance(from, counter);
        self.silent()
    }

    /// Goes on with a lease that officers vouched for, from where the counter stands.
    pub(crate) fn vouched(
        &mut self,
        lease: Lease,
        counter: &mut impl MonotonicCounter,
    ) -> Result<(), Refusal> {
        self.challenge = None;
        let from = self.freshness.outside;
        let from = from.unwrap_or(self.freshness.lease.counter);
        self.freshness.lease = lease;
        self.advance(from, counter);
        self.silent()
    }

    fn advance(&mut self, from: CounterMark, counter: &mut impl MonotonicCounter) {
        let tag = self.freshness.lease.counter.tag;
        self.freshness.outside = match counter.advance(from, tag) {
            Ok(mark) => Some(mark),
            Err(_fault) => counter.read().ok(),
        };
    }
}

/// Before there are headers the clock stands at genesis.
fn genesis_ms(signer: &Signer) -> u64 {
    let spec = signer.chain().spec();
    let start = spec.slots.genesis.start_ms(spec.slots.duration_ms);
    start.unwrap_or_default()
}

/// Random: no two advances have the same.
pub(crate) fn tag(entropy: &mut impl Entropy) -> Result<CounterTag, Fault> {
    let mut bytes = [0u8; CounterTag::LENGTH];
    entropy.fill(&mut bytes)?;
    Ok(CounterTag::new(bytes))
}
