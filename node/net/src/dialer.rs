//! Whom to dial, and when again.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

/// Discovered peers remembered at once.
const MAX_DISCOVERED: usize = 256;
/// Failures after which a discovered peer is forgotten. Bootnodes and members never are.
const MAX_FAILURES: u32 = 6;

#[derive(Debug)]
struct Target {
    addresses: Vec<Multiaddr>,
    permanent: bool,
    failures: u32,
    next: Instant,
}

/// Backoff for every peer that this node wants to be connected to.
#[derive(Debug)]
pub(crate) struct Dialer {
    targets: HashMap<PeerId, Target>,
    redial_min: Duration,
    redial_max: Duration,
    jitter: RandomState,
}

impl Dialer {
    pub(crate) fn new(redial_min: Duration, redial_max: Duration) -> Self {
        Self {
            targets: HashMap::new(),
            redial_min,
            redial_max,
            jitter: RandomState::new(),
        }
    }

    /// A bootnode or member: dialed at once, and for ever.
    pub(crate) fn add_permanent(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        self.targets.insert(
            peer,
            Target {
                addresses,
                permanent: true,
                failures: 0,
                next: now,
            },
        );
    }

    /// A peer that others told about. Ignored when known or when there is no room.
    pub(crate) fn add_discovered(&mut self, peer: PeerId, now: Instant) {
        let discovered = self
            .targets
            .values()
            .filter(|target| !target.permanent)
            .count();
        if discovered < MAX_DISCOVERED {
            // Its addresses are in the routing table, which adds them when dialing.
            let target = || Target {
                addresses: Vec::new(),
                permanent: false,
                failures: 0,
                next: now,
            };
            self.targets.entry(peer).or_insert_with(target);
        }
    }

    pub(crate) fn is_permanent(&self, peer: &PeerId) -> bool {
        self.targets
            .get(peer)
            .is_some_and(|target| target.permanent)
    }

    /// The peer proved useful: its next pause is the shortest one.
    pub(crate) fn succeeded(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.failures = 0;
        }
    }

    /// A dial failed or a connection ended: pause before the next.
    pub(crate) fn failed(&mut self, peer: &PeerId, now: Instant) {
        let Some(target) = self.targets.get_mut(peer) else {
            return;
        };
        target.failures = target.failures.saturating_add(1);
        if !target.permanent && target.failures >= MAX_FAILURES {
            self.targets.remove(peer);
            return;
        }
        let doubled = 1u32
            .checked_shl(target.failures.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let pause = self.redial_min.saturating_mul(doubled).min(self.redial_max);
        // Up to a quarter less, so that nodes that lost each other do not dial in step.
        let fraction =
            u32::try_from(self.jitter.hash_one((peer, target.failures)) % 256).unwrap_or(0);
        let less = pause.saturating_mul(fraction) / 1024;
        target.next = now.checked_add(pause.saturating_sub(less)).unwrap_or(now);
    }

    /// Peers to dial now: permanent ones always, discovered ones only if `want_more`. Marks them as tried: the
    /// next attempt waits for the longest pause unless [`Self::failed`] says when.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        want_more: bool,
        skip: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let later = now.checked_add(self.redial_max).unwrap_or(now);
        let mut due = Vec::new();
        for (peer, target) in &mut self.targets {
            if target.next <= now && (target.permanent || want_more) && !skip(peer) {
                target.next = later;
                due.push((*peer, target.addresses.clone()));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(16);

    fn dials(dialer: &mut Dialer, at: Instant) -> bool {
        !dialer.due(at, false, |_| false).is_empty()
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_never_end() {
        let mut dialer = Dialer::new(MIN, MAX);
        let peer = PeerId::random();
        let mut now = Instant::now();
        dialer.add_permanent(peer, vec![], now);
        assert!(dials(&mut dialer, now));
        for failure in 0..100u32 {
            dialer.failed(&peer, now);
            let pause = MIN
                .saturating_mul(1u32.checked_shl(failure).unwrap_or(u32::MAX))
                .min(MAX);
            assert!(
                !dials(&mut dialer, now + pause * 3 / 4 - Duration::from_millis(1)),
                "too early"
            );
            now += pause;
            assert!(dials(&mut dialer, now), "too late");
        }
        dialer.succeeded(&peer);
        dialer.failed(&peer, now);
        assert!(dials(&mut dialer, now + MIN), "success resets the pause");
    }

    #[test]
    fn a_dial_without_outcome_is_repeated_later() {
        let mut dialer = Dialer::new(MIN, MAX);
        let now = Instant::now();
        dialer.add_permanent(PeerId::random(), vec![], now);
        assert!(dials(&mut dialer, now));
        assert!(!dials(&mut dialer, now));
        assert!(dials(&mut dialer, now + MAX));
    }

    #[test]
    fn discovered_peers_are_optional_bounded_and_forgotten() {
        let mut dialer = Dialer::new(MIN, MAX);
        let now = Instant::now();
        let peer = PeerId::random();
        dialer.add_discovered(peer, now);
        assert!(!dials(&mut dialer, now), "not wanted");
        assert_eq!(dialer.due(now, true, |_| false).len(), 1);
        for _ in 0..MAX_FAILURES {
            dialer.failed(&peer, now);
        }
        assert!(
            dialer.due(now + MAX, true, |_| false).is_empty(),
            "forgotten"
        );
        for _ in 0..2 * MAX_DISCOVERED {
            dialer.add_discovered(PeerId::random(), now);
        }
        assert_eq!(dialer.targets.len(), MAX_DISCOVERED);
    }
}
