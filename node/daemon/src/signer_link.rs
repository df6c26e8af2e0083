//! What an operator sees of the link to the signer: its key exchange, and the days that certificates and lists have left.

use alys_signer_client::{Link, LinkReport, time};
use std::time::Duration;
use tokio::sync::watch;

/// How often the days are counted again.
const EVERY: Duration = Duration::from_secs(86_400);
/// From so many days on the log warns.
const WARN_DAYS: i64 = 30;

/// Keeps metrics and log up to date until the client is dropped.
pub(crate) async fn observe(mut link: watch::Receiver<Option<Link>>) {
    let mut every = tokio::time::interval(EVERY);
    let mut logged = None;
    loop {
        let seen = link.borrow_and_update().clone();
        if let Some(link) = &seen {
            let report = link.report(time::now());
            publish(&report);
            // Connections come and go; what they are changes rarely.
            if logged.as_ref() != Some(&report) {
                log(&report);
                logged = Some(report);
            }
        }
        tokio::select! {
            changed = link.changed() => if changed.is_err() { return },
            _ = every.tick() => {}
        }
    }
}

/// What ends one day, and in how many days.
fn ends(report: &LinkReport) -> Vec<(&'static str, i64)> {
    let mut ends = vec![
        ("node certificate", report.client_certificate.days_left),
        ("signer certificate", report.server_certificate.days_left),
    ];
    let lists = report.server_crl.iter().map(|list| list.days_left);
    ends.extend(lists.min().map(|days| ("revocation list", days)));
    ends
}

fn publish(report: &LinkReport) {
    let post_quantum = if report.post_quantum { 1.0 } else { 0.0 };
    metrics::gauge!("alys_signer_link_post_quantum").set(post_quantum);
    for (what, days) in ends(report) {
        metrics::gauge!("alys_signer_link_days_left", "of" => what).set(days as f64);
    }
}

fn log(report: &LinkReport) {
    tracing::info!(
        key_exchange = report.key_exchange,
        post_quantum = report.post_quantum,
        node_certificate = %report.client_certificate.serial,
        node_certificate_until = report.client_certificate.not_after,
        signer_certificate = %report.server_certificate.serial,
        signer_certificate_until = report.server_certificate.not_after,
        "the link to the signer"
    );
    for (what, days) in ends(report) {
        if days < WARN_DAYS {
            tracing::warn!(days, "the {what} of the link to the signer ends soon");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alys_signer_client::certificate::CertificateReport;
    use alys_signer_client::revocation::ListReport;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn an_operator_sees_what_ends_when() {
        let certificate = |role, days_left| CertificateReport {
            subject: String::new(),
            role,
            serial: "01".parse().unwrap(),
            not_after: String::new(),
            days_left,
        };
        let list = |days_left| ListReport {
            authority: String::new(),
            number: String::new(),
            next_update: String::new(),
            days_left,
        };
        let report = LinkReport {
            key_exchange: "X25519MLKEM768".to_owned(),
            post_quantum: true,
            client_certificate: certificate("node", 300),
            server_certificate: certificate("signer", -1),
            server_crl: vec![list(80), list(9)],
        };
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || publish(&report));
        let text = recorder.handle().render();
        for line in [
            "alys_signer_link_post_quantum 1",
            "alys_signer_link_days_left{of=\"node certificate\"} 300",
            "alys_signer_link_days_left{of=\"signer certificate\"} -1",
            "alys_signer_link_days_left{of=\"revocation list\"} 9",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
