//! `alys-devnet`: a federation of four on this machine; see [`alys_tests::devnet`].

use alys_tests::devnet::{Settings, run};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // A person who asks for help must not get a federation.
    if let Some(argument) = std::env::args().nth(1) {
        eprintln!(
            "alys-devnet: expected no arguments, found {argument}; ONCE=1, FRESH=1, SLOTS=200 and BACKEND=pkcs11 are environment \
             variables, see `make help`"
        );
        return ExitCode::from(2);
    }
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
