//! The command line. No argument is a secret, and nothing secret is printed.

use crate::assemble::{AssembleError, assemble};
use crate::ca::{self, CaError, CertificateAuthority};
use crate::card::{CardError, MemberCard};
use crate::check::{self, CheckError, check};
use crate::config::{self, BitcoinConfig, ConfigError, NodeConfig, SignerConfig};
use crate::parameters::{
    MemberParameters, Parameters, ParametersError, REGTEST_CHAIN_ID,
    REGTEST_MAX_BLOCKS_WITHOUT_POW, Regtest,
};
use alys_protocol::bytes::{EvmAddress, HexError};
use alys_protocol::spec::{Chain, SchnorrPublicKeyBytes, SpecError};
use alys_protocol::units::{BtcHeight, ChainId, MemberId};
use alys_signer_client::Role;
use alys_signer_client::role::DEFAULT_SERVER_NAME;
use bitcoin::BlockHash;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;
use thiserror::Error;

/// Makes what an Alys federation needs before its first block. No file is ever replaced.
#[derive(Debug, Parser)]
#[command(name = "alys-provision", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make certificate authorities and certificates.
    #[command(subcommand)]
    Ca(Ca),
    /// Write parameters to start from.
    #[command(subcommand)]
    Parameters(ParametersOf),
    /// Make the chain spec from the parameters and the cards that the members' signers printed.
    Assemble(Assemble),
    /// Check a chain spec, and print the figures that members compare (JSON).
    Check(Check),
    /// Write configuration files.
    #[command(subcommand)]
    Configs(Configs),
}

/// `ca`.
#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Make an authority: ca.pem, and ca.key, which stays where it is.
    Create {
        /// Folder for the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Its name for people.
        #[arg(long)]
        name: String,
        /// Days that it lasts.
        #[arg(long, default_value_t = ca::AUTHORITY_DAYS)]
        days: u32,
    },
    /// Issue a signer's certificate: signer.pem and signer.key.
    IssueSigner {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// DNS names and IP addresses of the signer.
        #[arg(long = "name", value_name = "NAME", default_value = DEFAULT_SERVER_NAME)]
        names: Vec<String>,
        /// Days that it lasts.
        #[arg(long, default_value_t = ca::CERTIFICATE_DAYS)]
        days: u32,
        /// Folder for the certificate and its key.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Issue a certificate to a client of the signer: ROLE.pem and ROLE.key.
    IssueClient {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// What the client may do: node, officer or auditor.
        #[arg(long, value_parser = role)]
        role: Role,
        /// The client's name for people.
        #[arg(long)]
        name: String,
        /// Days that it lasts.
        #[arg(long, default_value_t = ca::CERTIFICATE_DAYS)]
        days: u32,
        /// Folder for the certificate and its key.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Copy an authority's certificate, and not its key, to a file.
    Export {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The file.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// `parameters`.
#[derive(Debug, Subcommand)]
pub enum ParametersOf {
    /// Parameters of a development chain on Bitcoin's regtest.
    Regtest(RegtestArguments),
}

/// `parameters regtest`.
#[derive(Debug, Args)]
pub struct RegtestArguments {
    /// EIP-155 chain id.
    #[arg(long, default_value_t = REGTEST_CHAIN_ID.get())]
    chain_id: u64,
    /// Unix time of genesis in seconds; now, unless given.
    #[arg(long)]
    genesis_time: Option<u64>,
    /// Height of the last Bitcoin block that is not looked at for deposits.
    #[arg(long)]
    start_height: u32,
    /// Its hash.
    #[arg(long)]
    start_hash: BlockHash,
    /// A recovery key (32 bytes of hex).
    #[arg(long = "recovery-key", value_name = "HEX")]
    recovery_keys: Vec<SchnorrPublicKeyBytes>,
    /// A card whose Schnorr key is a recovery key.
    #[arg(long = "recovery-card", value_name = "FILE")]
    recovery_cards: Vec<PathBuf>,
    /// A member, and the account that its share of fees goes to; in the order of ids.
    #[arg(long = "member", value_name = "NAME=ADDRESS", value_parser = member, required = true)]
    members: Vec<MemberParameters>,
    /// Final blocks without proof of work before production halts.
    #[arg(long, default_value_t = REGTEST_MAX_BLOCKS_WITHOUT_POW)]
    max_blocks_without_pow: u64,
    /// Where to write.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// `assemble`.
#[derive(Debug, Args)]
pub struct Assemble {
    /// The parameters (TOML).
    #[arg(long, value_name = "FILE")]
    parameters: PathBuf,
    /// A member's name and its signer's card.
    #[arg(long = "card", value_name = "NAME=FILE", value_parser = named_card, required = true)]
    cards: Vec<(String, PathBuf)>,
    /// Where to write the chain spec.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The chain spec (TOML).
    #[arg(value_name = "FILE")]
    chain: PathBuf,
}

/// `configs`.
#[derive(Debug, Subcommand)]
pub enum Configs {
    /// Write signer.toml. The signer's `init` needs it before there is a chain spec.
    Signer {
        /// The parameters, for the policy.
        #[arg(long, value_name = "FILE")]
        parameters: PathBuf,
        /// Where the signer listens; port 0 picks a free one.
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
        /// File that the signer writes the bound address to.
        #[arg(long, value_name = "FILE")]
        listen_file: Option<PathBuf>,
        /// The signer's folder.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Write node.toml.
    Node(NodeArguments),
}

/// `configs node`.
#[derive(Debug, Args)]
pub struct NodeArguments {
    /// The member that the node works for; an observer without it.
    #[arg(long, requires = "signer")]
    member: Option<u16>,
    /// `host:port` of the member's signer.
    #[arg(long, value_name = "ADDRESS", requires = "member")]
    signer: Option<String>,
    /// `http://host:port` of the Bitcoin node.
    #[arg(long, value_name = "URL")]
    bitcoin: String,
    /// Its cookie file.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "bitcoin_user",
        conflicts_with = "bitcoin_user"
    )]
    bitcoin_cookie: Option<PathBuf>,
    /// Or a user of its RPC.
    #[arg(long, value_name = "NAME", requires = "bitcoin_password_file")]
    bitcoin_user: Option<String>,
    /// And the file that holds the user's password.
    #[arg(long, value_name = "FILE", requires = "bitcoin_user")]
    bitcoin_password_file: Option<PathBuf>,
    /// Where JSON-RPC listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    rpc: SocketAddr,
    /// Where the embedded execution client's EVM JSON-RPC listens.
    #[arg(long, value_name = "ADDRESS")]
    evm: Option<SocketAddr>,
    /// A multiaddress to listen on for peers.
    #[arg(long = "listen", value_name = "MULTIADDRESS")]
    listen: Vec<String>,
    /// An entry point to the network, with its peer id.
    #[arg(long = "bootnode", value_name = "MULTIADDRESS")]
    bootnodes: Vec<String>,
    /// Another member's node, with its peer id.
    #[arg(long = "peer-member", value_name = "MULTIADDRESS")]
    members: Vec<String>,
    /// The account that is paid by `getauxblock` without arguments.
    #[arg(long, value_name = "ADDRESS")]
    fee_recipient: Option<EvmAddress>,
    /// The node's folder.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Why a command failed, in words for its user.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each variant is its source's error")]
pub enum CliError {
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("--card: expected one card of each member, found two of {0:?}")]
    CardTwice(String),
    #[error("expected at least one --recovery-card or --recovery-key, found none")]
    NoRecovery,
    #[error("the system's clock cannot be right")]
    Clock,
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

fn role(text: &str) -> Result<Role, String> {
    Role::ALL
        .into_iter()
        .find(|role| role.name() == text)
        .ok_or_else(|| format!("expected node, officer or auditor, found {text:?}"))
}

fn member(text: &str) -> Result<MemberParameters, String> {
    let (name, address) = text
        .split_once('=')
        .ok_or_else(|| format!("expected NAME=ADDRESS, found {text:?}"))?;
    Ok(MemberParameters {
        name: name.to_owned(),
        fee_recipient: address
            .parse()
            .map_err(|error: HexError| format!("address of {name:?}: {error}"))?,
    })
}

fn named_card(text: &str) -> Result<(String, PathBuf), String> {
    text.split_once('=')
        .map(|(name, path)| (name.to_owned(), path.into()))
        .ok_or_else(|| format!("expected NAME=FILE, found {text:?}"))
}

/// Runs a command.
///
/// # Errors
/// - [`CliError`] with a sentence for the user.
pub fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Ca(command) => authority(command),
        Command::Parameters(ParametersOf::Regtest(arguments)) => regtest(arguments),
        Command::Assemble(arguments) => make_chain(arguments),
        Command::Check(arguments) => print(&check(&check::read(&arguments.chain)?)?),
        Command::Configs(command) => configs(command),
    }
}

fn print<T: Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    Ok(writeln!(io::stdout(), "{text}")?)
}

fn authority(command: Ca) -> Result<(), CliError> {
    match command {
        Ca::Create { ca, name, days } => {
            CertificateAuthority::create(&ca, &name, days)?;
        }
        Ca::IssueSigner {
            ca,
            names,
            days,
            output,
        } => CertificateAuthority::load(&ca)?
            .issue_signer(&names, days)?
            .write(&output, config::SIGNER_CREDENTIALS)?,
        Ca::IssueClient {
            ca,
            role,
            name,
            days,
            output,
        } => CertificateAuthority::load(&ca)?
            .issue_client(role, &name, days)?
            .write(&output, role.name())?,
        Ca::Export { ca, output } => CertificateAuthority::load(&ca)?.export(&output)?,
    }
    Ok(())
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

fn configs(command: Configs) -> Result<(), CliError> {
    match command {
        Configs::Signer {
            parameters,
            listen,
            listen_file,
            output,
        } => {
            let policy = config::loosest_policy(&Parameters::read(&parameters)?.pegout);
            let mut signer = SignerConfig::new(listen, policy);
            signer.listen_file = listen_file;
            signer.write(&output)?;
        }
        Configs::Node(arguments) => node(arguments)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn named_values_say_what_is_wrong() {
        assert!(member("alice").unwrap_err().contains("NAME=ADDRESS"));
        assert!(member("alice=0x12").unwrap_err().contains("20 bytes"));
        assert!(named_card("alice").unwrap_err().contains("NAME=FILE"));
        assert!(role("root").unwrap_err().contains("found \"root\""));
    }
}
