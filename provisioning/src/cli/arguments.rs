//! The arguments.

use super::ca::Ca;
use super::ceremony::CeremonyCommand;
use crate::parameters::{MemberParameters, REGTEST_CHAIN_ID, REGTEST_MAX_BLOCKS_WITHOUT_POW};
use alys_backup::ShareCommand;
use alys_doctor::Doctor;
use alys_protocol::bytes::{EvmAddress, HexError};
use alys_protocol::spec::SchnorrPublicKeyBytes;
use bitcoin::BlockHash;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// Make certificate authorities; issue, renew, revoke and list certificates.
    #[command(subcommand)]
    Ca(Ca),
    /// From agreed parameters to a live deposit address, step by step, each member confirming the result.
    #[command(subcommand)]
    Ceremony(CeremonyCommand),
    /// Write parameters to start from.
    #[command(subcommand)]
    Parameters(ParametersOf),
    /// Make the chain spec from the parameters and the cards that the members' signers printed.
    Assemble(Assemble),
    /// Check a chain spec, and print the figures that members compare (JSON).
    Check(Check),
    /// Make officers' keys. They are minisign's: `minisign -G` makes them, too.
    #[command(subcommand)]
    Officer(OfficerCommand),
    /// Write and sign the signers' policy.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Write configuration files.
    #[command(subcommand)]
    Configs(Configs),
    /// Check this host, and explain what is found.
    Doctor(Doctor),
}

/// `officer`.
#[derive(Debug, Subcommand)]
pub enum OfficerCommand {
    /// Make an officer's key: NAME.key, sealed by a passphrase, and NAME.pub.
    Create {
        /// The officer's name: letters, digits and dashes.
        #[arg(long)]
        name: String,
        /// Folder for both.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// Read the passphrase from this open file descriptor, up to its first newline; without it, ask on the terminal.
        #[arg(long, value_name = "N")]
        passphrase_fd: Option<u32>,
    },
    /// Say what a policy or a statement means, then sign it: FILE.NAME.minisig beside it, as `minisign -S` makes it.
    Sign {
        /// The officer's NAME.key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The policy that is in force, to see what the new one changes.
        #[arg(long, value_name = "FILE")]
        before: Option<PathBuf>,
        /// The policy or the statement.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Read the passphrase from this open file descriptor, up to its first newline; without it, ask on the terminal
        /// once the file was explained.
        #[arg(long, value_name = "N")]
        passphrase_fd: Option<u32>,
    },
    /// Hand over your share of a backup to the machine where it is opened.
    Share(ShareCommand),
}

/// `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a policy to start from, and to tighten.
    Template {
        /// The chain's parameters.
        #[arg(long, value_name = "FILE")]
        parameters: PathBuf,
        /// The policy's number; each one of a chain is higher than the one before.
        #[arg(long, default_value_t = 1)]
        iteration: u64,
        /// Where to write.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// `configs signer`.
#[derive(Debug, Args)]
pub struct SignerArguments {
    /// An officer's NAME.pub.
    #[arg(long = "officer", value_name = "FILE", required = true)]
    pub(super) officers: Vec<PathBuf>,
    /// Officers who decide together; the smallest majority, unless given.
    #[arg(long)]
    pub(super) threshold: Option<usize>,
    /// Where the signer listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,
    /// File that the signer writes the bound address to.
    #[arg(long, value_name = "FILE")]
    pub(super) listen_file: Option<PathBuf>,
    /// PKCS#11 library (an absolute path) of a token whose key seals the member's keys and that holds the outside counter.
    #[arg(long, value_name = "FILE", requires = "token_uri")]
    pub(super) token_module: Option<PathBuf>,
    /// RFC 7512 URI of the token, the key in it, and the file with its PIN:
    /// pkcs11:token=NAME;object=KEY?pin-source=file:/PATH. The PIN itself is refused.
    #[arg(long, value_name = "URI", requires = "token_module")]
    pub(super) token_uri: Option<String>,
    /// The signer's folder.
    #[arg(long, value_name = "DIR")]
    pub(super) output: PathBuf,
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
    pub(super) chain_id: u64,
    /// Unix time of genesis in seconds; now, unless given.
    #[arg(long)]
    pub(super) genesis_time: Option<u64>,
    /// Height of the last Bitcoin block that is not looked at for deposits.
    #[arg(long)]
    pub(super) start_height: u32,
    /// Its hash.
    #[arg(long)]
    pub(super) start_hash: BlockHash,
    /// A recovery key (32 bytes of hex).
    #[arg(long = "recovery-key", value_name = "HEX")]
    pub(super) recovery_keys: Vec<SchnorrPublicKeyBytes>,
    /// A card whose Schnorr key is a recovery key.
    #[arg(long = "recovery-card", value_name = "FILE")]
    pub(super) recovery_cards: Vec<PathBuf>,
    /// A member, and the account that its share of fees goes to; in the order of ids.
    #[arg(long = "member", value_name = "NAME=ADDRESS", value_parser = member, required = true)]
    pub(super) members: Vec<MemberParameters>,
    /// Final blocks without proof of work before production halts.
    #[arg(long, default_value_t = REGTEST_MAX_BLOCKS_WITHOUT_POW)]
    pub(super) max_blocks_without_pow: u64,
    /// Where to write.
    #[arg(long, value_name = "FILE")]
    pub(super) output: PathBuf,
}

/// `assemble`.
#[derive(Debug, Args)]
pub struct Assemble {
    /// The parameters (TOML).
    #[arg(long, value_name = "FILE")]
    pub(super) parameters: PathBuf,
    /// A member's name and its signer's card.
    #[arg(long = "card", value_name = "NAME=FILE", value_parser = named_card, required = true)]
    pub(super) cards: Vec<(String, PathBuf)>,
    /// Where to write the chain spec.
    #[arg(long, value_name = "FILE")]
    pub(super) output: PathBuf,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The chain spec (TOML).
    #[arg(value_name = "FILE")]
    pub(super) chain: PathBuf,
}

/// `configs`.
#[derive(Debug, Subcommand)]
pub enum Configs {
    /// Write signer.toml. The signer's `init` needs it before there is a chain spec.
    Signer(SignerArguments),
    /// Write node.toml.
    Node(Box<NodeArguments>),
}

/// `configs node`.
#[derive(Debug, Args)]
pub struct NodeArguments {
    /// The member that the node works for; an observer without it.
    #[arg(long, requires = "signer")]
    pub(super) member: Option<u16>,
    /// `host:port` of the member's signer.
    #[arg(long, value_name = "ADDRESS", requires = "member")]
    pub(super) signer: Option<String>,
    /// `http://host:port` of the Bitcoin node.
    #[arg(long, value_name = "URL")]
    pub(super) bitcoin: String,
    /// Its cookie file.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "bitcoin_user",
        conflicts_with = "bitcoin_user"
    )]
    pub(super) bitcoin_cookie: Option<PathBuf>,
    /// Or a user of its RPC.
    #[arg(long, value_name = "NAME", requires = "bitcoin_password_file")]
    pub(super) bitcoin_user: Option<String>,
    /// And the file that holds the user's password.
    #[arg(long, value_name = "FILE", requires = "bitcoin_user")]
    pub(super) bitcoin_password_file: Option<PathBuf>,
    /// Where JSON-RPC listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(super) rpc: SocketAddr,
    /// Where the embedded execution client's EVM JSON-RPC listens.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) evm: Option<SocketAddr>,
    /// A multiaddress to listen on for peers.
    #[arg(long = "listen", value_name = "MULTIADDRESS")]
    pub(super) listen: Vec<String>,
    /// An entry point to the network, with its peer id.
    #[arg(long = "bootnode", value_name = "MULTIADDRESS")]
    pub(super) bootnodes: Vec<String>,
    /// Another member's node, with its peer id.
    #[arg(long = "peer-member", value_name = "MULTIADDRESS")]
    pub(super) members: Vec<String>,
    /// The account that is paid by `getauxblock` without arguments.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) fee_recipient: Option<EvmAddress>,
    /// The node's folder.
    #[arg(long, value_name = "DIR")]
    pub(super) output: PathBuf,
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

pub(super) fn named_card(text: &str) -> Result<(String, PathBuf), String> {
    text.split_once('=')
        .map(|(name, path)| (name.to_owned(), path.into()))
        .ok_or_else(|| format!("expected NAME=FILE, found {text:?}"))
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
    }
}
