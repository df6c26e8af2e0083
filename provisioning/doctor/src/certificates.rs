//! How long certificates last.

use crate::finding::Finding;
use crate::system::read_text;
use std::path::Path;
use std::time::SystemTime;
use x509_parser::pem::Pem;

const DAY: i64 = 86_400;

/// The ends of the certificates in a PEM file, in Unix seconds. The one place that knows the form of a certificate.
fn ends(path: &Path) -> Result<Vec<i64>, String> {
    let text = read_text(path).map_err(|error| error.to_string())?;
    let mut ends = Vec::new();
    for pem in Pem::iter_from_buffer(text.as_bytes()) {
        let pem = pem.map_err(|error| error.to_string())?;
        let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
        ends.push(certificate.validity().not_after.timestamp());
    }
    if ends.is_empty() {
        return Err("expected a PEM certificate, found none".to_owned());
    }
    Ok(ends)
}

/// Unix seconds of the system's clock.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// That none of the certificates in a file ends within `days` of `now` (Unix seconds).
pub fn certificates(path: &Path, now: i64, days: u32) -> Finding {
    const WHY: &str =
        "after its end node and signer refuse each other, and the member signs nothing";
    let remedy = "issue a new one (alys-provision ca issue-signer, issue-client), replace the files, send SIGHUP \
                  (systemctl reload)";
    let name = path.display();
    let first = match ends(path) {
        Ok(ends) => ends.into_iter().min().unwrap_or(0),
        Err(error) => {
            return Finding::error(
                "certificates",
                format!("{name}: {error}"),
                "the program does not start without it",
                remedy,
            );
        }
    };
    let left = first.saturating_sub(now);
    let found = format!("{name} ends in {} days", left.div_euclid(DAY));
    if left <= 0 {
        Finding::error(
            "certificates",
            format!("{name} ended {} days ago", left.saturating_neg() / DAY),
            WHY,
            remedy,
        )
    } else if left < i64::from(days).saturating_mul(DAY) {
        Finding::warning("certificates", found, WHY, remedy)
    } else {
        Finding::fine("certificates", found)
    }
}
