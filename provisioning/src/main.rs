//! `alys-provision`: see [`alys_provision::cli`].

use alys_provision::cli::{Cli, run};
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("alys-provision: {error}");
            ExitCode::FAILURE
        }
    }
}
