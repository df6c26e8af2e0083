//! `alys-signer policy`: looks at policies, changes nothing.

use super::{CliError, print, read_chain, say};
use crate::audit::cli::{AuditCliError, Source};
use crate::audit::replay::{Change, Replayed, simulate};
use crate::audit::verify::{Expectations, verify};
use crate::config::{Config, Overrides};
use crate::policy_file::ReadPolicy;
use alys_protocol::units::ChainId;
use alys_signer_core::admin;
use alys_signer_core::policy::{Iteration, PolicyFile, diff, explain};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;

/// `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check a policy by itself; with a signer's configuration also its signatures, and that it suits the chain (JSON).
    Check(PolicyFileArguments),
    /// Say in plain language what a policy means; with a signer's configuration also what its members could lose.
    Explain(PolicyFileArguments),
    /// Say what changes from one policy to the next, and which way.
    Diff {
        /// The policy before.
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The policy after.
        #[arg(value_name = "NEW")]
        new: PathBuf,
    },
    /// Judge what a signer was asked again under another policy, and print which decisions would change (JSON).
    Simulate {
        /// The policy to try (TOML); signatures are not looked at.
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// The log.
        #[command(flatten)]
        log: Source,
    },
}

/// A policy, and the signer that it is for.
#[derive(Debug, Args)]
pub struct PolicyFileArguments {
    /// The policy (TOML); signatures are beside it as FILE.NAME.minisig.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Configuration of a signer, for its officers and its chain.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What `policy check` found.
#[derive(Serialize)]
struct Checked {
    chain_id: ChainId,
    iteration: Iteration,
    /// Digest that a signer's log names.
    digest: String,
    /// Officers who signed; none where no configuration said who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    officers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<usize>,
    /// What was not looked at.
    not_checked: &'static str,
}

pub(super) fn run(command: &PolicyCommand) -> Result<(), CliError> {
    match command {
        PolicyCommand::Check(arguments) => check(arguments),
        PolicyCommand::Explain(arguments) => {
            let read = ReadPolicy::read(&arguments.file)?;
            let chain = match &arguments.config {
                Some(config) => {
                    let config = Config::load(config, &Overrides::default())?;
                    Some(read_chain(&config.chain_spec)?)
                }
                None => None,
            };
            let text = explain(&read.file, chain.as_ref());
            say(&format!(
                "{text}\n\nSignatures were not looked at: `alys-signer policy check`."
            ))
        }
        PolicyCommand::Diff { old, new } => {
            let (old, new) = (ReadPolicy::read(old)?, ReadPolicy::read(new)?);
            say(&diff(&old.file, &new.file).join("\n"))
        }
        PolicyCommand::Simulate { policy, log } => {
            let read = ReadPolicy::read(policy)?;
            print(&simulated(&read.file, log)?)
        }
    }
}

/// What `policy simulate` found.
#[derive(Serialize)]
struct Simulated {
    /// The log by itself.
    log: Replayed,
    /// Decisions that the policy would change, each judged on the state as it really was.
    changes: Vec<Change>,
}

fn simulated(file: &PolicyFile, log: &Source) -> Result<Simulated, AuditCliError> {
    let archive = log.open()?;
    let of_log = archive.chain();
    if let Some(found) = of_log.filter(|id| *id != file.chain_id) {
        return Err(AuditCliError::OtherChain {
            policy: file.chain_id,
            log: found,
        });
    }
    verify(&archive, &Expectations::default())?;
    let (log, changes) = simulate(&archive, &file.policy)?;
    Ok(Simulated { log, changes })
}

fn check(arguments: &PolicyFileArguments) -> Result<(), CliError> {
    let read = ReadPolicy::read(&arguments.file)?;
    let file = &read.file;
    let mut checked = Checked {
        chain_id: file.chain_id,
        iteration: file.iteration,
        digest: admin::policy_digest(file.chain_id, &read.bytes).to_string(),
        signed: None,
        officers: None,
        threshold: None,
        not_checked: "signatures and chain: give --config",
    };
    if let Some(path) = &arguments.config {
        let config = Config::load(path, &Overrides::default())?;
        let officers = config.officers.trusted()?;
        let signed = read.verify(&read_chain(&config.chain_spec)?, &officers)?;
        let distinct: std::collections::BTreeSet<_> = signed.officers.into_iter().collect();
        checked.signed = Some(distinct.len());
        checked.officers = Some(officers.officers().count());
        checked.threshold = Some(officers.officers().threshold());
        checked.not_checked = "whether the signer has had a newer one: it says so when it starts";
    }
    print(&checked)
}
