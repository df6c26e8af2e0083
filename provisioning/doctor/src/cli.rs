//! The command.

use crate::finding::{Finding, Report, Severity};
use crate::{node, provisioning, signer, system::System};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// Runs `alys-signer`, and nothing else.
    Signer,
    /// Runs `alys-node` and a Bitcoin node.
    Node,
    /// Has authorities' and officers' keys.
    Provisioning,
}

/// Check this host and explain what is found. Exits with 1 where there is an error.
///
/// Run as root: others cannot see all of it, and what they cannot see is a warning.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// What this host is for.
    #[arg(long, value_enum)]
    pub host: Host,
    /// The configuration (signer.toml, node.toml); on a provisioning workstation the folder of authorities and officers'
    /// keys.
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// A copy of the chain spec from another host of the member: it must be the same chain.
    #[arg(long, value_name = "FILE")]
    pub chain: Option<PathBuf>,
    /// A file that each backup renews; a warning where it is older than a week.
    #[arg(long, value_name = "FILE")]
    pub backup_record: Option<PathBuf>,
    /// Also ask the Bitcoin node (node).
    #[arg(long)]
    pub bitcoin: bool,
    /// Days before its end from which on a certificate is a warning.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub expiry_days: u32,
}

impl Doctor {
    /// All checks of the host.
    pub fn examine(&self, system: &System) -> Report {
        let findings = match self.host {
            Host::Signer => signer::examine(system, self),
            Host::Node => node::examine(system, self),
            Host::Provisioning => provisioning::examine(system, self),
        };
        Report::new(self.host, findings)
    }

    /// The configuration, or where the packages have it.
    pub fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| {
            PathBuf::from(match self.host {
                Host::Signer => "/etc/alys-signer/signer.toml",
                Host::Node => "/etc/alys-node/node.toml",
                Host::Provisioning => "/var/lib/alys-provision",
            })
        })
    }

    /// Checks this host and prints the report.
    pub fn run(&self) -> ExitCode {
        let mut report = self.examine(&System::this());
        if !nix::unistd::geteuid().is_root() {
            report.findings.push(Finding::warning(
                "privileges",
                "not run as root",
                "files, firewall and sockets of others cannot all be seen",
                "run it as root",
            ));
            report = Report::new(report.host, report.findings);
        }
        let text = if self.json {
            serde_json::to_string_pretty(&report).map(|text| text + "\n")
        } else {
            Ok(report.to_string())
        };
        let printed = text
            .map_err(std::io::Error::other)
            .and_then(|text| std::io::stdout().write_all(text.as_bytes()));
        match printed {
            Ok(()) if report.worst < Severity::Error => ExitCode::SUCCESS,
            Ok(()) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("alys-doctor: cannot print: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
