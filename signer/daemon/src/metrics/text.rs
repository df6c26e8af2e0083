//! Prometheus' text format (version 0.0.4). No sample has a time: the textfile collector takes none.

use super::Snapshot;
use alys_protocol::ceremony::CardBackend;
use alys_signer_pkcs11::{Condition, Health, PinState};
use std::fmt::Write as _;

pub(super) fn running(snapshot: &Snapshot) -> String {
    let Snapshot {
        written,
        standing,
        decisions,
        token,
    } = snapshot;
    let mut page = Page::new(*written, true);
    let backends = [
        CardBackend::Software,
        CardBackend::Pkcs11Sealed,
        CardBackend::Pkcs11Native,
    ];
    page.states(
        ("backend", "Where the signing keys are."),
        "backend",
        backends.map(|backend| (backend.name(), backend == standing.backend)),
    );
    page.gauge(
        ("silent", "1 where nothing is signed, whatever is asked."),
        u64::from(standing.silent),
    );
    if let Some(mark) = standing.counter {
        page.gauge(
            ("counter_value", "Where the outside counter stands."),
            mark.value.get(),
        );
    }
    page.gauge(
        (
            "lease_counter_value",
            "Where the lease in force expects the outside counter.",
        ),
        standing.lease.counter.value.get(),
    );
    page.gauge(
        (
            "lease_until_slot",
            "The last slot of the lease in force: a vote beyond it advances the counter.",
        ),
        standing.lease.until.get(),
    );
    page.family(
        (
            "decisions_total",
            "Requests by operation and outcome: yes, error, or the rule that refused.",
        ),
        "counter",
    );
    for ((operation, outcome), count) in decisions {
        let labels = [("operation", *operation), ("outcome", *outcome)];
        page.sample("decisions_total", &labels, *count);
    }
    if let Some(health) = token {
        page.token(health);
    }
    page.0
}

pub(super) fn stopped(written: u64) -> String {
    Page::new(written, false).0
}

/// Name without its beginning, and help.
type About = (&'static str, &'static str);

struct Page(String);

impl Page {
    fn new(written: u64, is_running: bool) -> Self {
        let mut page = Self(String::new());
        page.gauge(
            ("running", "0 after an orderly end."),
            u64::from(is_running),
        );
        page.gauge(
            (
                "written_timestamp_seconds",
                "When this was written: an old time is a signer that died or hangs.",
            ),
            written,
        );
        page
    }

    fn token(&mut self, health: &Health) {
        let present = health.condition != Condition::Absent;
        self.gauge(
            ("token_present", "Whether the token is in its slot."),
            u64::from(present),
        );
        self.states(
            ("token_condition", "How the token is."),
            "condition",
            Condition::ALL.map(|it| (it.label(), it == health.condition)),
        );
        let unknown = ("unknown", health.pin.is_none());
        let states = PinState::ALL.map(|it| (it.label(), health.pin == Some(it)));
        self.states(
            (
                "token_pin",
                "What the token says about its PIN; unknown where it is away.",
            ),
            "state",
            states.into_iter().chain([unknown]),
        );
        let troubles = Condition::ALL
            .into_iter()
            .filter(|it| *it != Condition::Ready);
        self.states(
            (
                "token_last_error",
                "The kind of the last failure since the start, which may be over.",
            ),
            "kind",
            troubles.map(|it| (it.label(), health.last_condition == Some(it))),
        );
        let reopened = (
            "token_sessions_reopened_total",
            "Sessions after the first one.",
        );
        self.counter(reopened, health.reconnections);
        let failures = ("token_failures_total", "Calls of the token that failed.");
        self.counter(failures, health.failures);
    }

    fn family(&mut self, (name, help): About, kind: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP alys_signer_{name} {help}");
        let _ = writeln!(self.0, "# TYPE alys_signer_{name} {kind}");
    }

    fn gauge(&mut self, about: About, value: u64) {
        self.family(about, "gauge");
        self.sample(about.0, &[], value);
    }

    fn counter(&mut self, about: About, value: u64) {
        self.family(about, "counter");
        self.sample(about.0, &[], value);
    }

    /// One series for each state, of which at most one is 1.
    fn states(
        &mut self,
        about: About,
        label: &str,
        states: impl IntoIterator<Item = (&'static str, bool)>,
    ) {
        self.family(about, "gauge");
        for (state, holds) in states {
            self.sample(about.0, &[(label, state)], u64::from(holds));
        }
    }

    /// Values of labels are names in this program: nothing in them has to be escaped.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{text}\""))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            some => format!("{{{}}}", some.join(",")),
        };
        let _ = writeln!(self.0, "alys_signer_{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Standing;
    use alys_protocol::units::Slot;
    use alys_signer_core::freshness::{CounterMark, CounterValue, Lease};

    fn snapshot() -> Snapshot {
        let mark = CounterMark {
            value: CounterValue::new(7),
            ..CounterMark::ZERO
        };
        Snapshot {
            written: 1_790_000_000,
            standing: Standing {
                backend: CardBackend::Pkcs11Native,
                silent: true,
                counter: Some(mark),
                lease: Lease {
                    counter: CounterMark {
                        value: CounterValue::new(8),
                        ..mark
                    },
                    until: Slot::new(99),
                    ..Lease::default()
                },
            },
            decisions: [(("approve", "slot-monotonic"), 2), (("approve", "yes"), 5)].into(),
            token: Some(Health {
                token: "\"alys\" (serial 1)".to_owned(),
                condition: Condition::PinLocked,
                pin: Some(PinState::Locked),
                reconnections: 3,
                failures: 4,
                last_error: Some("two\nlines".to_owned()),
                last_condition: Some(Condition::Absent),
            }),
        }
    }

    #[test]
    fn each_series_is_there_once_and_no_text_of_a_token_is() {
        let text = running(&snapshot());
        for line in [
            "alys_signer_running 1",
            "alys_signer_written_timestamp_seconds 1790000000",
            "alys_signer_backend{backend=\"pkcs11-native\"} 1",
            "alys_signer_backend{backend=\"pkcs11-sealed\"} 0",
            "alys_signer_silent 1",
            "alys_signer_counter_value 7",
            "alys_signer_lease_counter_value 8",
            "alys_signer_lease_until_slot 99",
            "alys_signer_decisions_total{operation=\"approve\",outcome=\"slot-monotonic\"} 2",
            "alys_signer_decisions_total{operation=\"approve\",outcome=\"yes\"} 5",
            "alys_signer_token_present 1",
            "alys_signer_token_condition{condition=\"pin-locked\"} 1",
            "alys_signer_token_condition{condition=\"ready\"} 0",
            "alys_signer_token_pin{state=\"locked\"} 1",
            "alys_signer_token_pin{state=\"unknown\"} 0",
            "alys_signer_token_last_error{kind=\"absent\"} 1",
            "alys_signer_token_sessions_reopened_total 3",
            "alys_signer_token_failures_total 4",
        ] {
            assert_eq!(
                text.lines().filter(|it| *it == line).count(),
                1,
                "{line}\n{text}"
            );
        }
        let series: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| {
                assert!(value.parse::<u64>().is_ok(), "{series} {value}");
                series
            })
            .collect();
        let distinct: std::collections::BTreeSet<_> = series.iter().collect();
        assert_eq!(distinct.len(), series.len());
        assert!(!text.contains("serial") && !text.contains("lines"));
    }

    #[test]
    fn what_is_not_there_has_no_series() {
        let mut snapshot = snapshot();
        (snapshot.token, snapshot.standing.counter) = (None, None);
        let text = running(&snapshot);
        assert!(!text.contains("token") && !text.contains("signer_counter_value"));
        let text = stopped(1);
        assert!(text.contains("alys_signer_running 0\n"));
        assert!(!text.contains("decisions"));
    }
}
