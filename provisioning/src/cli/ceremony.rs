//! `alys-provision ceremony`.

use super::{CliError, passphrase, print};
use crate::ceremony::{CeremonyError, Folder, rehearse, spend};
use crate::files;
use crate::officer::Officer;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// `ceremony`.
#[derive(Debug, Subcommand)]
pub enum CeremonyCommand {
    /// Begin: fix the parameters, and who confirms the result for each member. Each member gets the file.
    Begin(Begin),
    /// Verify a member's card and take it into the folder. `alys-signer init --ceremony` prints it.
    Card {
        /// The ceremony's folder.
        #[command(flatten)]
        folder: FolderOf,
        /// The card.
        #[arg(value_name = "FILE")]
        card: PathBuf,
    },
    /// Verify all cards, and derive chain spec, genesis, deposit address, descriptor and transcript from them.
    Assemble(FolderOf),
    /// Derive all of it again on this machine, and sign the transcript as the member's officer.
    Confirm(Confirm),
    /// Compare the confirmations of all members.
    Close(FolderOf),
    /// Verify that members spent a deposit: signatures, script and address.
    SpendTest(SpendTest),
    /// Declare the deposit address live; refused without a spend test.
    Live(FolderOf),
    /// Verify everything in the folder, and say what comes next and who is missing (JSON).
    Status(FolderOf),
    /// Verify everything in the folder, and write the record for people (HTML, to print).
    Record {
        /// The ceremony's folder.
        #[command(flatten)]
        folder: FolderOf,
        /// Where to write.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Rehearse a ceremony on this machine, with real signers and keys that are thrown away.
    Rehearse {
        /// Keep everything in this new folder; a temporary one without it.
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
        /// The program `alys-signer`; the one beside this program without it.
        #[arg(long, value_name = "FILE")]
        signer: Option<PathBuf>,
    },
}

/// The ceremony's folder.
#[derive(Debug, Args)]
pub struct FolderOf {
    /// The ceremony's folder.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// `ceremony begin`.
#[derive(Debug, Args)]
pub struct Begin {
    #[command(flatten)]
    folder: FolderOf,
    /// The parameters (TOML).
    #[arg(long, value_name = "FILE")]
    parameters: PathBuf,
    /// A member, and its officer's NAME.pub: whose signature will confirm the result. One for each member.
    #[arg(long = "officer", value_name = "MEMBER=FILE", value_parser = super::arguments::named_card, required = true)]
    officers: Vec<(String, PathBuf)>,
}

/// `ceremony confirm`.
#[derive(Debug, Args)]
pub struct Confirm {
    #[command(flatten)]
    folder: FolderOf,
    /// For whom.
    #[arg(long, value_name = "NAME")]
    member: String,
    /// The officer's NAME.key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Read the passphrase from this open file descriptor, up to its first newline; without it, ask on the terminal.
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

/// `ceremony spend-test`.
#[derive(Debug, Args)]
pub struct SpendTest {
    #[command(flatten)]
    folder: FolderOf,
    /// The deposit: a file with its hex, as `bitcoin-cli getrawtransaction` prints it.
    #[arg(long, value_name = "FILE")]
    deposit: PathBuf,
    /// The peg-out that spends it, likewise.
    #[arg(long, value_name = "FILE")]
    spend: PathBuf,
}

pub(super) fn run(command: CeremonyCommand) -> Result<(), CliError> {
    let open = |folder: &FolderOf| Folder::open(&folder.dir);
    match command {
        CeremonyCommand::Begin(arguments) => begin(arguments),
        CeremonyCommand::Card { folder, card } => print(&open(&folder)?.add_card(&card)?),
        CeremonyCommand::Assemble(folder) => print(&open(&folder)?.assemble()?.transcript),
        CeremonyCommand::Confirm(arguments) => confirm(&arguments),
        CeremonyCommand::Close(folder) => print(&open(&folder)?.close()?),
        CeremonyCommand::SpendTest(arguments) => {
            let read = |path: &std::path::Path| -> Result<_, CeremonyError> {
                Ok(spend::parse(&files::read(path)?)?)
            };
            let (deposit, spend) = (read(&arguments.deposit)?, read(&arguments.spend)?);
            print(&open(&arguments.folder)?.spend_test(&deposit, &spend)?)
        }
        CeremonyCommand::Live(folder) => print(&open(&folder)?.live()?),
        CeremonyCommand::Status(folder) => print(&open(&folder)?.status()?),
        CeremonyCommand::Record { folder, output } => {
            open(&folder)?.record(&output)?;
            Ok(())
        }
        CeremonyCommand::Rehearse { output, signer } => rehearsal(output, signer),
    }
}

fn begin(arguments: Begin) -> Result<(), CliError> {
    let mut officers = BTreeMap::new();
    for (member, path) in arguments.officers {
        if officers.insert(member.clone(), path).is_some() {
            return Err(CliError::OfficerTwice(member));
        }
    }
    let nonce = rehearse::nonce()?;
    let folder = &arguments.folder.dir;
    let folder = Folder::begin(folder, &arguments.parameters, &officers, nonce)?;
    print(&folder.status()?)
}

fn confirm(arguments: &Confirm) -> Result<(), CliError> {
    let folder = Folder::open(&arguments.folder.dir)?;
    // What is signed is on the screen before the passphrase is asked for.
    print(&folder.assembled()?.transcript)?;
    let passphrase =
        passphrase::read(arguments.passphrase_fd, false).map_err(CliError::Passphrase)?;
    let officer = Officer::open(&arguments.key, &passphrase)?;
    let hash = folder.confirm(&arguments.member, &officer)?;
    Ok(writeln!(io::stdout(), "confirmed: {hash}")?)
}

fn rehearsal(output: Option<PathBuf>, signer: Option<PathBuf>) -> Result<(), CliError> {
    let signer = match signer {
        Some(signer) => signer,
        None => std::env::current_exe()?.with_file_name("alys-signer"),
    };
    let (home, temporary) = match output {
        Some(home) => (home, false),
        None => {
            let name = format!("alys-rehearsal-{}", rehearse::nonce()?);
            (std::env::temp_dir().join(name), true)
        }
    };
    let outcome = rehearse::rehearse(&home, &signer, |line| {
        // Who watches may have gone; the rehearsal goes on.
        let _ = writeln!(io::stderr(), "{line}");
    });
    if temporary && home.exists() {
        std::fs::remove_dir_all(&home)?;
    }
    print(&outcome?)
}
