//! What an authority issued, and what became of it.

use super::register::{Issuee, Reason, Register, UnixSeconds};
use super::revocation::newest_list;
use super::{CERTIFICATE_FILE, CaError};
use alys_signer_client::revocation::ListReport;
use alys_signer_client::time::{date, days_left};
use alys_signer_client::{Serial, certificate};
use rustls::pki_types::UnixTime;
use serde::Serialize;
use std::path::Path;

/// A certificate with fewer days than this is listed as expiring, unless said otherwise.
pub const EXPIRING_DAYS: u32 = 30;

/// What became of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It counts.
    Valid,
    /// It counts, and ends soon.
    Expiring,
    /// It counts no more.
    Expired,
    /// The authority took it back.
    Revoked,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its number.
    pub serial: Serial,
    /// Whose it is.
    pub role: Issuee,
    /// Its name for people.
    pub name: String,
    /// It counts from then (RFC 3339).
    pub not_before: String,
    /// It counts until then (RFC 3339).
    pub not_after: String,
    /// Whole days until then; negative once it has passed.
    pub days_left: i64,
    /// What became of it.
    pub state: State,
    /// Why it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The newest one that was issued in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewed_by: Option<Serial>,
    /// SHA-256 of its DER.
    pub fingerprint: String,
}

/// Everything of one authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Its name.
    pub authority: String,
    /// It lasts until then (RFC 3339).
    pub not_after: String,
    /// Whole days until then.
    pub days_left: i64,
    /// Its newest list of revoked certificates.
    pub list: Option<ListReport>,
    /// What is wrong with that list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_problem: Option<String>,
    /// What it issued, the oldest first.
    pub certificates: Vec<Row>,
}

impl Listing {
    /// Reads the folder of an authority; no key is needed or read. `soon` are the days from which on a certificate is
    /// expiring.
    ///
    /// # Errors
    /// - [`CaError`] where certificate or register cannot be read.
    pub fn read(folder: &Path, soon: u32, now: UnixTime) -> Result<Self, CaError> {
        let path = folder.join(CERTIFICATE_FILE);
        let authority = certificate::inspect(&path)?;
        let register = Register::read(folder)?;
        let (list, list_problem) = match newest_list(folder) {
            Err(error) => (None, Some(error.to_string())),
            Ok(list) => {
                let report = list.report(now);
                let newest = register.last_list();
                let problem = if report.number != newest.to_string() {
                    let found = &report.number;
                    Some(format!(
                        "expected list {newest}, found {found}: run `ca crl`"
                    ))
                } else if report.days_left < i64::from(soon) {
                    Some("it ends soon or has ended: run `ca crl`".to_owned())
                } else {
                    None
                };
                (Some(report), problem)
            }
        };
        let certificates = register.issued().map(|issued| {
            let left = days_left(issued.not_after.time(), now);
            let revoked = register
                .revoked()
                .find(|(serial, ..)| **serial == issued.serial);
            let renewed_by = register
                .issued()
                .filter(|other| other.renews.as_ref() == Some(&issued.serial))
                .last();
            let written = |time: UnixSeconds| date(time.time());
            Row {
                serial: issued.serial.clone(),
                role: issued.role,
                name: issued.name.clone(),
                not_before: written(issued.not_before),
                not_after: written(issued.not_after),
                days_left: left,
                state: match revoked {
                    Some(_) => State::Revoked,
                    None if left < 0 => State::Expired,
                    None if left < i64::from(soon) => State::Expiring,
                    None => State::Valid,
                },
                reason: revoked.map(|(_, _, reason, _)| reason),
                renewed_by: renewed_by.map(|other| other.serial.clone()),
                fingerprint: issued.fingerprint.clone(),
            }
        });
        Ok(Self {
            authority: authority.subject.clone(),
            not_after: date(authority.not_after),
            days_left: days_left(authority.not_after, now),
            list,
            list_problem,
            certificates: certificates.collect(),
        })
    }
}

impl core::fmt::Display for Listing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            authority,
            not_after,
            days_left,
            ..
        } = self;
        writeln!(
            f,
            "authority {authority:?}, until {not_after} ({days_left} days)"
        )?;
        if let Some(list) = &self.list {
            writeln!(
                f,
                "list of revoked certificates {}, until {} ({} days)",
                list.number, list.next_update, list.days_left
            )?;
        }
        if let Some(problem) = &self.list_problem {
            writeln!(f, "ATTENTION, list of revoked certificates: {problem}")?;
        }
        writeln!(
            f,
            "{:<9} {:>5} {:<20} {:<8} {:<40} name",
            "state", "days", "until", "role", "serial"
        )?;
        for row in &self.certificates {
            write!(
                f,
                "{:<9} {:>5} {:<20} {:<8} {:<40} {}",
                row.state.name(),
                row.days_left,
                row.not_after,
                row.role.name(),
                row.serial.to_string(),
                row.name
            )?;
            if let Some(other) = &row.renewed_by {
                write!(f, " (renewed by {other})")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
