//! When a certificate or a list ends, in words.

use core::time::Duration;
use rustls::pki_types::UnixTime;

const DAY: u64 = 86_400;

/// The system's clock.
pub fn now() -> UnixTime {
    UnixTime::now()
}

/// Whole days from `now` until `end`; 0 on the last day, negative from the moment it has passed.
pub fn days_left(end: UnixTime, now: UnixTime) -> i64 {
    let days = |seconds: u64| i64::try_from(seconds / DAY).unwrap_or(i64::MAX);
    match end.as_secs().checked_sub(now.as_secs()) {
        Some(left) if left > 0 => days(left),
        Some(_) | None => (-1i64).saturating_sub(days(now.as_secs().saturating_sub(end.as_secs()))),
    }
}

/// A date as RFC 3339 writes it.
pub fn date(time: UnixTime) -> String {
    der::DateTime::from_unix_duration(Duration::from_secs(time.as_secs())).map_or_else(
        |_| format!("{} s after 1970", time.as_secs()),
        |date| date.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_and_dates_written() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        for (end, now, left) in [
            (DAY * 30, 0, 30),
            (DAY * 30, 1, 29),
            (DAY, 1, 0),
            (5, 5, -1),
            (5, 6, -1),
            (5, 5 + DAY, -2),
        ] {
            assert_eq!(days_left(at(end), at(now)), left, "{end} {now}");
        }
        assert_eq!(date(at(1_767_225_600)), "2026-01-01T00:00:00Z");
        assert_eq!(date(at(u64::MAX)), format!("{} s after 1970", u64::MAX));
    }
}
