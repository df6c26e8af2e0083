//! `alys-signer counter`: the outside counter.

use super::{CliError, ConfigFile};
use crate::circumstances::fresh_tag;
use crate::config::{Config, Overrides};
use alys_signer_core::freshness::CounterMark;
use clap::Subcommand;
use std::io;

/// `counter`.
#[derive(Debug, Subcommand)]
pub enum CounterCommand {
    /// Make a new counter in place of one that was lost. No state counts as fresh by it: officers must vouch.
    Replace(ConfigFile),
}

pub(super) fn run(command: &CounterCommand) -> Result<(), CliError> {
    let CounterCommand::Replace(file) = command;
    let config = Config::load(&file.config, &Overrides::default())?;
    let counter = config
        .open_counter(config.open_token()?.as_ref())?
        .ok_or(CliError::NoCounter)?;
    let tag = fresh_tag().map_err(|error| super::io_error("entropy")(io::Error::other(error)))?;
    counter.create()?;
    // Under a tag that no state knows: at zero it would suit a state that never signed, such as an old copy.
    let mark = counter.advance(CounterMark::ZERO, tag)?;
    eprintln!(
        "alys-signer: the counter stands at {mark}; the signer is silent until officers vouch for its state"
    );
    Ok(())
}
