//! `alys-signer watermarks`: what must never go down, as JSON (`alys_signer_core::watermarks`).
//!
//! ```json
//! { "format": "alys-watermarks/1", "chain_id": 212121, "bls": "0x...",
//!   "last_slot": 901000000, "lock": 1200, "next_burn": 17 }
//! ```
//!
//! Both commands need the state for themselves: the signer must not run. The file holds no secret.

use super::{CliError, ConfigFile, print, read_chain};
use crate::audit;
use crate::config::{Config, Overrides};
use crate::engine::unix_now;
use crate::seal;
use crate::store::Store;
use alys_protocol::bls::BlsPublicKeyBytes;
use alys_protocol::spec::Chain;
use alys_protocol::units::ChainId;
use alys_signer_core::watermarks::Watermarks;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Longest file that is read.
const MAX_BYTES: u64 = 4 << 10;

/// `watermarks`.
#[derive(Debug, Subcommand)]
pub enum WatermarksCommand {
    /// Print the marks of the state (JSON).
    Export(ConfigFile),
    /// Raise the state to the marks in a file, never lower, and print where it stands. Whether it may sign is another matter.
    Import {
        /// Which signer.
        #[command(flatten)]
        config: ConfigFile,
        /// What `export` printed.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// The file's format and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "alys-watermarks/1")]
    V1,
}

/// Marks, and whose they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatermarksFile {
    format: Format,
    chain_id: ChainId,
    /// The key that the marks are of.
    bls: BlsPublicKeyBytes,
    last_slot: alys_protocol::units::Slot,
    lock: alys_protocol::units::SideHeight,
    next_burn: alys_protocol::units::BurnSequence,
}

pub(super) fn run(command: &WatermarksCommand) -> Result<(), CliError> {
    let (WatermarksCommand::Export(config) | WatermarksCommand::Import { config, .. }) = command;
    let config = Config::load(&config.config, &Overrides::default())?;
    let (chain, card) = (read_chain(&config.chain_spec)?, seal::card(&config.keys)?);
    let officers = config.officers.trusted()?.officers().digest();
    let open = || Store::open(&config.state, &card.bls, chain.digest(), officers);
    let (store, marks) = match command {
        WatermarksCommand::Export(_) => {
            let store = open()?;
            let marks = Watermarks::of(&store.read()?, &store.read()?);
            (store, marks)
        }
        WatermarksCommand::Import { file, .. } => {
            let marks = read(file, &chain, &card.bls)?;
            let store = open()?;
            let marks = audit::import(&store, chain.id(), &marks, unix_now())?;
            (store, marks)
        }
    };
    drop(store);
    print(&WatermarksFile {
        format: Format::V1,
        chain_id: chain.id(),
        bls: card.bls,
        last_slot: marks.last_slot,
        lock: marks.lock,
        next_burn: marks.next_burn,
    })
}

fn read(path: &Path, chain: &Chain, bls: &BlsPublicKeyBytes) -> Result<Watermarks, CliError> {
    let wrong = |reason: &dyn Display| CliError::Watermarks {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| wrong(&error))?;
    let file: WatermarksFile = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    if file.chain_id != chain.id() {
        let (expected, found) = (chain.id(), file.chain_id);
        return Err(wrong(&format_args!(
            "expected chain {expected}, found {found}"
        )));
    }
    if file.bls != *bls {
        let found = file.bls;
        return Err(wrong(&format_args!(
            "expected the marks of key {bls}, found {found}"
        )));
    }
    Ok(Watermarks {
        last_slot: file.last_slot,
        lock: file.lock,
        next_burn: file.next_burn,
    })
}
