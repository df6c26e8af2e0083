//! The command line. No argument is a secret, and nothing secret is printed.

mod arguments;
mod ca;
mod ceremony;
mod passphrase;

pub use arguments::{
    Assemble, Check, Cli, Command, Configs, NodeArguments, OfficerCommand, ParametersOf,
    PolicyCommand, RegtestArguments, SignerArguments,
};
pub use ca::Ca;
pub use ceremony::CeremonyCommand;

use crate::assemble::{AssembleError, assemble};
use crate::ca::CaError;
use crate::card::{CardError, MemberCard};
use crate::ceremony::CeremonyError;
use crate::check::{self, CheckError, check};
use crate::config::{self, BitcoinConfig, ConfigError, Iteration, NodeConfig, SignerConfig};
use crate::officer::{Officer, OfficerError, OfficersConfig};
use crate::paper::{Paper, PaperError};
use crate::parameters::{Parameters, ParametersError, Regtest};
use alys_backup::BackupError;
use alys_protocol::spec::{Chain, SpecError};
use alys_protocol::units::{BtcHeight, ChainId, MemberId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a command failed, in words for its user.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each variant is its source's error")]
pub enum CliError {
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    #[error("--officer: expected one officer of each member, found two of {0:?}")]
    OfficerTwice(String),
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Officer(#[from] OfficerError),
    #[error(transparent)]
    Paper(#[from] PaperError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("the passphrase cannot be read: {0}")]
    Passphrase(io::Error),
    #[error("--card: expected one card of each member, found two of {0:?}")]
    CardTwice(String),
    #[error("expected at least one --recovery-card or --recovery-key, found none")]
    NoRecovery,
    #[error("the system's clock cannot be right")]
    Clock,
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// Runs a command. It fails without an error where a doctor found one.
///
/// # Errors
/// - [`CliError`] with a sentence for the user.
pub fn run(cli: Cli) -> Result<ExitCode, CliError> {
    match cli.command {
        Command::Ca(command) => ca::run(command)?,
        Command::Ceremony(command) => ceremony::run(command)?,
        Command::Parameters(ParametersOf::Regtest(arguments)) => regtest(arguments)?,
        Command::Assemble(arguments) => make_chain(arguments)?,
        Command::Check(arguments) => print(&check(&check::read(&arguments.chain)?)?)?,
        Command::Officer(command) => officer(command)?,
        Command::Policy(command) => policy(command)?,
        Command::Configs(command) => configs(command)?,
        Command::Doctor(doctor) => return Ok(doctor.run()),
    }
    Ok(ExitCode::SUCCESS)
}

fn print<T: Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    Ok(writeln!(io::stdout(), "{text}")?)
}

fn regtest(arguments: RegtestArguments) -> Result<(), CliError> {
    let genesis_ms = match arguments.genesis_time {
        Some(seconds) => seconds.checked_mul(1000).ok_or(CliError::Clock)?,
        None => SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .and_then(|time| u64::try_from(time.as_millis()).ok())
            .ok_or(CliError::Clock)?,
    };
    let mut recovery_keys = arguments.recovery_keys;
    for path in &arguments.recovery_cards {
        recovery_keys.push(MemberCard::read(path)?.schnorr);
    }
    if recovery_keys.is_empty() {
        return Err(CliError::NoRecovery);
    }
    let parameters = Parameters::regtest(Regtest {
        chain_id: ChainId::new(arguments.chain_id),
        genesis_ms,
        start_height: BtcHeight::new(arguments.start_height),
        start_hash: arguments.start_hash,
        recovery_keys,
        members: arguments.members,
        max_blocks_without_pow: arguments.max_blocks_without_pow,
    });
    let comment = "Parameters of a development chain (alys-provision parameters regtest).";
    Ok(config::write(&arguments.output, comment, &parameters)?)
}

fn make_chain(arguments: Assemble) -> Result<(), CliError> {
    let parameters = Parameters::read(&arguments.parameters)?;
    let mut cards = BTreeMap::new();
    for (name, path) in arguments.cards {
        let card = MemberCard::read(&path)?;
        if cards.insert(name.clone(), card).is_some() {
            return Err(CliError::CardTwice(name));
        }
    }
    let spec = assemble(parameters, &cards)?;
    let report = check(&Chain::new(spec.clone())?)?;
    let comment = format!(
        "Chain spec, made by alys-provision. Every node and signer of the chain has this file.\nDigest: {}",
        report.digest
    );
    config::write(&arguments.output, &comment, &spec)?;
    print(&report)
}

fn officer(command: OfficerCommand) -> Result<(), CliError> {
    match command {
        OfficerCommand::Create {
            name,
            output,
            passphrase_fd,
        } => {
            let passphrase = passphrase::read(passphrase_fd, true).map_err(CliError::Passphrase)?;
            Officer::create(&output, &name, &passphrase)?;
        }
        OfficerCommand::Sign {
            key,
            before,
            file,
            passphrase_fd,
        } => {
            let paper = Paper::read(&file)?;
            writeln!(io::stdout(), "{}", paper.explain(before.as_deref())?)?;
            let passphrase =
                passphrase::read(passphrase_fd, false).map_err(CliError::Passphrase)?;
            Officer::open(&key, &passphrase)?.sign(&paper)?;
        }
        OfficerCommand::Share(command) => {
            let ask = || {
                rpassword::prompt_password("Passphrase of the age identity: ").map(Zeroizing::new)
            };
            command.run(ask, &mut io::stdout())?;
        }
    }
    Ok(())
}

fn policy(command: PolicyCommand) -> Result<(), CliError> {
    let PolicyCommand::Template {
        parameters,
        iteration,
        output,
    } = command;
    let parameters = Parameters::read(&parameters)?;
    Ok(config::write_policy(
        &output,
        &parameters,
        Iteration::new(iteration),
    )?)
}

fn configs(command: Configs) -> Result<(), CliError> {
    match command {
        Configs::Signer(arguments) => {
            let officers = OfficersConfig::read(arguments.threshold, &arguments.officers)?;
            let mut signer = SignerConfig::new(arguments.listen, officers);
            signer.listen_file = arguments.listen_file;
            if let (Some(module), Some(uri)) = (arguments.token_module, arguments.token_uri) {
                signer = signer.with_token(module, uri);
            }
            signer.write(&arguments.output)?;
        }
        Configs::Node(arguments) => node(*arguments)?,
    }
    Ok(())
}

fn node(arguments: NodeArguments) -> Result<(), CliError> {
    let bitcoin = BitcoinConfig {
        url: arguments.bitcoin,
        cookie: arguments.bitcoin_cookie,
        user: arguments.bitcoin_user,
        password_file: arguments.bitcoin_password_file,
    };
    let mut node = NodeConfig::observer(bitcoin, arguments.rpc);
    if let (Some(member), Some(signer)) = (arguments.member, arguments.signer) {
        node = node.for_member(MemberId::new(member), signer);
    }
    node.execution.http = arguments.evm;
    node.network.listen = arguments.listen;
    node.network.bootnodes = arguments.bootnodes;
    node.network.members = arguments.members;
    node.mining.fee_recipient = arguments.fee_recipient;
    Ok(node.write(&arguments.output)?)
}
