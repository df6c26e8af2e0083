//! What a check says.

use serde::Serialize;
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// To be looked at: it protects less than it could, will fail soon, or could not be checked.
    Warning,
    /// Wrong: it does not work, or a protection that is counted on is not there.
    Error,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// Why it matters; empty where all is fine.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
    /// What to do; empty where all is fine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// As it should be.
    pub fn fine(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            severity: Severity::Fine,
            found: found.into(),
            why: "",
            remedy: String::new(),
        }
    }

    /// To be looked at.
    pub fn warning(
        check: &'static str,
        found: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity: Severity::Warning,
            found: found.into(),
            why,
            remedy: remedy.into(),
        }
    }

    /// Wrong.
    pub fn error(
        check: &'static str,
        found: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            ..Self::warning(check, found, why, remedy)
        }
    }
}

/// All findings about a host, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The host.
    pub host: crate::Host,
    /// The worst severity.
    pub worst: Severity,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// A report of these findings.
    pub fn new(host: crate::Host, findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.severity).max();
        Self {
            host,
            worst: worst.unwrap_or(Severity::Fine),
            findings,
        }
    }
}

/// What comes from files is quoted without control characters: a terminal would obey them.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let word = match finding.severity {
                Severity::Fine => "ok",
                Severity::Warning => "warning",
                Severity::Error => "ERROR",
            };
            writeln!(
                f,
                "{word:<8} {}: {}",
                finding.check,
                printable(&finding.found)
            )?;
            if finding.severity > Severity::Fine {
                writeln!(f, "         why: {}", finding.why)?;
                writeln!(f, "         do:  {}", printable(&finding.remedy))?;
            }
        }
        let count = |severity| {
            self.findings
                .iter()
                .filter(|it| it.severity == severity)
                .count()
        };
        writeln!(
            f,
            "{} checks: {} errors, {} warnings",
            self.findings.len(),
            count(Severity::Error),
            count(Severity::Warning)
        )
    }
}
