//! `alys-node`: the untrusted tier. Consensus, network, mining, execution and peg coordination; it holds no signing key.

mod bitcoin_side;
mod chain_index;
mod commands;
mod config;
mod driver;
mod execution;
mod header_feed;
mod jobs;
mod messages;
mod node;
mod rpc;
mod signer_link;
mod view;

use clap::{Parser, Subcommand, ValueEnum};
use config::{NodeConfig, Overrides};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// A node of an Alys federation sidechain.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How log lines look. What is logged: RUST_LOG, by default `info`.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node until SIGTERM or Ctrl-C.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Write a commented configuration to start from. Existing files are kept.
    Init {
        /// Folder for the configuration.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print the node's peer id, for the other members' configurations. Its key is made where there is none yet.
    Identity {
        /// The node's data folder.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Show where a running node stands.
    Status {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Write the final chain as JSON lines, one block each, oldest first. The node must not run.
    Export {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Where to write.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// First height.
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Look into the database.
    Db {
        #[command(subcommand)]
        command: DbCommand,
    },
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    /// Count what each table holds. The node must not run.
    Inspect {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    match execute(arguments.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config, overrides } => {
            node::run(NodeConfig::load(&config, &overrides)?).await
        }
        Command::Init { dir } => commands::init(&dir),
        Command::Identity { data_dir } => commands::identity(&data_dir),
        Command::Status { config } => {
            commands::status(&NodeConfig::load(&config, &Overrides::default())?).await
        }
        Command::Export {
            config,
            output,
            from,
        } => commands::export(
            &NodeConfig::load(&config, &Overrides::default())?,
            &output,
            from,
        ),
        Command::Db {
            command: DbCommand::Inspect { config },
        } => commands::inspect(&NodeConfig::load(&config, &Overrides::default())?),
    }
}
