//! Requests per certificate (rule `rate`): a token bucket each, so that reconnecting gains nothing.

use crate::config::Limits;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Hash of a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl core::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0
            .iter()
            .take(8)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Certificates that are remembered; the CA issues few.
const MAX_CERTIFICATES: usize = 1024;
/// Dropped requests are reported together, at most this often, so that a flood fills no disk.
const REPORT_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    dropped: u64,
    reported: Instant,
}

/// All buckets.
#[derive(Debug)]
pub struct RateLimiter {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<Fingerprint, Bucket>>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is served.
    Admitted,
    /// It is dropped. `report` has how many were dropped since the last report, where one is due.
    Dropped {
        /// Dropped since the last report.
        report: Option<u64>,
    },
}

impl RateLimiter {
    /// Buckets with these limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            per_second: f64::from(limits.requests_per_second),
            burst: f64::from(limits.request_burst),
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes a token of a certificate's bucket.
    pub fn admit(&self, certificate: Fingerprint, now: Instant) -> Admission {
        // Buckets are consistent after every statement, so a panic elsewhere changes nothing.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_CERTIFICATES && !buckets.contains_key(&certificate) {
            buckets.retain(|_, bucket| now.duration_since(bucket.filled) < REPORT_EVERY);
        }
        let bucket = buckets.entry(certificate).or_insert(Bucket {
            tokens: self.burst,
            filled: now,
            dropped: 0,
            reported: now,
        });
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed * self.per_second).min(self.burst);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Admission::Admitted;
        }
        bucket.dropped = bucket.dropped.saturating_add(1);
        let due = now.saturating_duration_since(bucket.reported) >= REPORT_EVERY;
        let report = (due || bucket.dropped == 1).then_some(bucket.dropped);
        if due {
            bucket.reported = now;
            bucket.dropped = 0;
        }
        Admission::Dropped { report }
    }
}

/// Lets one event a second into the log, since anybody who reaches the port can cause them.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Option<(Instant, u64)>>);

impl LogThrottle {
    /// How many events were kept out since the last one that was let in, or `None` where this one is kept out.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((since, kept_out))
                if now.saturating_duration_since(*since) < Duration::from_secs(1) =>
            {
                *kept_out = kept_out.saturating_add(1);
                None
            }
            Some((_, kept_out)) => {
                let kept_out = *kept_out;
                *last = Some((now, 0));
                Some(kept_out)
            }
            None => {
                *last = Some((now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_log() {
        let throttle = LogThrottle::default();
        let start = Instant::now();
        let admitted: Vec<Option<u64>> = [0, 1, 999, 1000, 1500]
            .map(|ms| throttle.admit(start + Duration::from_millis(ms)))
            .to_vec();
        assert_eq!(admitted, [Some(0), None, None, Some(2), None]);
    }

    #[test]
    fn a_burst_then_the_rate() {
        let limiter = RateLimiter::new(&Limits {
            requests_per_second: 2,
            request_burst: 3,
            ..Limits::default()
        });
        let (one, other) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let start = Instant::now();
        let admitted = |certificate, ms| {
            limiter.admit(certificate, start + Duration::from_millis(ms)) == Admission::Admitted
        };
        assert_eq!((0..5).filter(|_| admitted(one, 0)).count(), 3);
        assert!(admitted(other, 0), "each certificate has its own bucket");
        assert!(!admitted(one, 400));
        assert!(admitted(one, 500));
        assert_eq!((0..9).filter(|_| admitted(one, 60_000)).count(), 3);
    }

    #[test]
    fn a_flood_is_reported_once_in_a_while() {
        let limiter = RateLimiter::new(&Limits {
            requests_per_second: 1,
            request_burst: 1,
            ..Limits::default()
        });
        let start = Instant::now();
        let certificate = Fingerprint([1; 32]);
        let reports = (0..5000u64)
            .map(|request| limiter.admit(certificate, start + Duration::from_millis(request)))
            .filter(|admission| matches!(admission, Admission::Dropped { report: Some(_) }))
            .count();
        assert_eq!(reports, 1);
    }
}
