//! Token buckets per peer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::config::RateLimit;

/// Peers remembered at once; beyond that the longest untouched is forgotten.
const MAX_TRACKED: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Tokens at `at`, in thousandths.
    millitokens: u64,
    at: Instant,
}

/// One token bucket per peer. It outlives the connection: reconnecting does not refill it.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    limit: RateLimit,
    buckets: HashMap<PeerId, Bucket>,
}

impl RateLimiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            buckets: HashMap::new(),
        }
    }

    /// Takes `cost` tokens, or says how long until they are there. A cost above the bucket's size takes it all.
    pub(crate) fn take(&mut self, peer: PeerId, cost: u32, now: Instant) -> Result<(), Duration> {
        let full = self.full();
        if self.buckets.len() >= MAX_TRACKED && !self.buckets.contains_key(&peer) {
            self.make_room(now);
        }
        let limit = self.limit;
        let bucket = self.buckets.entry(peer).or_insert(Bucket {
            millitokens: full,
            at: now,
        });
        bucket.millitokens = level(limit, *bucket, now);
        bucket.at = now;
        let cost = u64::from(cost).saturating_mul(1000).min(full);
        match bucket.millitokens.checked_sub(cost) {
            Some(left) => {
                bucket.millitokens = left;
                Ok(())
            }
            None => {
                let missing = cost.saturating_sub(bucket.millitokens);
                // `per_second` tokens a second are as many thousandths a millisecond.
                Err(Duration::from_millis(
                    missing.div_ceil(u64::from(limit.per_second.get())),
                ))
            }
        }
    }

    /// Forgets peers whose bucket is full again: a new one would be the same.
    pub(crate) fn forget_full(&mut self, now: Instant) {
        let (limit, full) = (self.limit, self.full());
        self.buckets
            .retain(|_, bucket| level(limit, *bucket, now) < full);
    }

    fn make_room(&mut self, now: Instant) {
        self.forget_full(now);
        if self.buckets.len() >= MAX_TRACKED {
            let oldest = self
                .buckets
                .iter()
                .min_by_key(|(_, bucket)| bucket.at)
                .map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                self.buckets.remove(&oldest);
            }
        }
    }

    fn full(&self) -> u64 {
        u64::from(self.limit.burst.get()).saturating_mul(1000)
    }
}

fn level(limit: RateLimit, bucket: Bucket, now: Instant) -> u64 {
    let elapsed =
        u64::try_from(now.saturating_duration_since(bucket.at).as_millis()).unwrap_or(u64::MAX);
    bucket
        .millitokens
        .saturating_add(elapsed.saturating_mul(u64::from(limit.per_second.get())))
        .min(u64::from(limit.burst.get()).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refills_with_time_and_tells_how_long() {
        let mut limiter = RateLimiter::new(RateLimit::new(10, 2).unwrap());
        let (peer, other) = (PeerId::random(), PeerId::random());
        let start = Instant::now();
        assert_eq!(limiter.take(peer, 8, start), Ok(()));
        assert_eq!(limiter.take(peer, 4, start), Err(Duration::from_secs(1)));
        assert_eq!(
            limiter.take(other, 10, start),
            Ok(()),
            "peers do not share a bucket"
        );
        assert_eq!(
            limiter.take(peer, 4, start + Duration::from_millis(999)),
            Err(Duration::from_millis(1))
        );
        assert_eq!(
            limiter.take(peer, 4, start + Duration::from_secs(1)),
            Ok(())
        );
        assert_eq!(
            limiter.take(peer, 1, start + Duration::from_secs(1)),
            Err(Duration::from_millis(500))
        );
    }

    #[test]
    fn never_holds_more_than_the_burst() {
        let mut limiter = RateLimiter::new(RateLimit::new(3, 100).unwrap());
        let peer = PeerId::random();
        let start = Instant::now();
        assert_eq!(limiter.take(peer, 3, start), Ok(()));
        let later = start + Duration::from_secs(3600);
        assert_eq!(limiter.take(peer, 3, later), Ok(()));
        assert!(limiter.take(peer, 1, later).is_err());
        assert_eq!(
            limiter.take(peer, u32::MAX, later + Duration::from_secs(1)),
            Ok(()),
            "capped at the burst"
        );
    }

    #[test]
    fn memory_is_bounded_and_full_buckets_are_forgotten() {
        let mut limiter = RateLimiter::new(RateLimit::new(2, 1).unwrap());
        let start = Instant::now();
        for _ in 0..MAX_TRACKED + 10 {
            let _ = limiter.take(PeerId::random(), 1, start);
        }
        assert_eq!(limiter.buckets.len(), MAX_TRACKED);
        limiter.forget_full(start + Duration::from_secs(1));
        assert!(limiter.buckets.is_empty());
    }
}
