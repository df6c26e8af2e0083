//! `alys-doctor`: see [`alys_doctor::Doctor`].

use clap::Parser;
use std::process::ExitCode;

/// Checks a host of the federation and explains what it finds. The same as `alys-provision doctor`.
#[derive(Debug, Parser)]
#[command(name = "alys-doctor", version)]
struct Cli {
    #[command(flatten)]
    doctor: alys_doctor::Doctor,
}

fn main() -> ExitCode {
    Cli::parse().doctor.run()
}
