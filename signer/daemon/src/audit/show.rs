//! Entries as lines for people.

use super::entry::{Entry, Event, UnixMillis, Verdict};
use alys_protocol::bytes::write_hex;
use std::fmt;

/// One entry on one line.
pub(crate) struct Line<'a>(pub(crate) &'a Entry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(f, "{} {} ", entry.sequence, Utc(entry.time))?;
        match &entry.event {
            Event::Standing(standing) => write!(
                f,
                "{:?}: {}, member {}, spec {}, policy {}, audit key {}",
                standing.cause,
                standing.software,
                standing.member,
                standing.spec,
                standing.policy,
                standing.audit_key,
            ),
            Event::Decided(decided) => {
                let (operation, request) = (decided.operation.name(), decided.request);
                match &decided.verdict {
                    Verdict::Signed { .. } | Verdict::Accepted => {
                        write!(f, "yes, {operation} of {request}")?;
                    }
                    Verdict::Repeated { .. } => {
                        write!(f, "yes, {operation} of {request} as recorded")?;
                    }
                    Verdict::Refused {
                        rule,
                        expected,
                        found,
                    } => write!(
                        f,
                        "no, {operation} of {request} by rule {rule}: expected {expected}, found {found}"
                    )?,
                }
                write!(f, "; asked by {} ", decided.role)?;
                write_hex(f, &decided.certificate)
            }
            Event::Counted(counted) => {
                write!(f, "since {}:", Utc(counted.since))?;
                for repeats in &counted.repeats {
                    write!(f, " entry {} {} times more;", repeats.entry, repeats.times)?;
                }
                for row in &counted.turned_away {
                    write!(f, " turned away from {} ", row.role)?;
                    write_hex(f, &row.certificate)?;
                    write!(
                        f,
                        ": {} too many, {} forbidden, {} malformed;",
                        row.too_many, row.forbidden, row.malformed
                    )?;
                }
                write!(f, " {} refusals without an entry", counted.unrecorded)
            }
            Event::Stated(stated) => {
                let evidence = stated.evidence;
                match &stated.verdict {
                    Verdict::Refused {
                        rule,
                        expected,
                        found,
                    } => write!(
                        f,
                        "no, statement {evidence} of officers by rule {rule}: expected {expected}, found {found}"
                    )?,
                    Verdict::Accepted | Verdict::Signed { .. } | Verdict::Repeated { .. } => {
                        write!(f, "yes, statement {evidence} of officers")?;
                    }
                }
                write!(f, "; handed in by {} ", stated.role)?;
                write_hex(f, &stated.certificate)
            }
            Event::Raised(raised) => {
                let marks = &raised.watermarks;
                write!(
                    f,
                    "watermarks imported: slot {}, lock {}, next burn {}",
                    marks.last_slot, marks.lock, marks.next_burn
                )
            }
            Event::Approved(approved) => write!(
                f,
                "policy in force as officers signed it: {}",
                approved.policy
            ),
        }
    }
}

/// A time as RFC 3339 writes it.
struct Utc(UnixMillis);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.get();
        let (days, millis) = (millis / 86_400_000, millis % 86_400_000);
        // Howard Hinnant's `civil_from_days`: years that begin in March, in eras of 400.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
        let (seconds, millis) = (millis / 1000 % 60, millis % 1000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From GNU date.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_799, "2000-02-29T23:59:59.007Z"),
            (1_795_000_000, "2026-11-18T11:06:40.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(Utc(UnixMillis::new(seconds * 1000 + 7)).to_string(), text);
        }
    }
}
