//! `alys-signer`: see `alys-signer --help`.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match alys_signer::cli::run(alys_signer::cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("alys-signer: {error}");
            ExitCode::FAILURE
        }
    }
}
