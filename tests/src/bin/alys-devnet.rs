//! `alys-devnet`: a federation of four on this machine; see [`alys_tests::devnet`].

use alys_tests::devnet::{Settings, run};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Settings::from_environment() {
        Ok(settings) => run(&settings).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("alys-devnet: {error:#}");
            ExitCode::FAILURE
        }
    }
}
