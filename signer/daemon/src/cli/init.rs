//! `alys-signer init` and `card`.

use super::{CliError, ConfigFile, PassphraseSource, io_error, print};
use crate::card::{CardError, Origin, Particulars};
use crate::config::{Config, Overrides};
use crate::harden::harden;
use crate::keys::{MAX_THROWS_BYTES, MemberCard, OfficerInput, Pool};
use crate::passphrase::{Passphrase, PassphraseError, line_of, open_descriptor};
use crate::seal::{self, SealError, Sealer};
use crate::store::Store;
use alys_protocol::ceremony::CeremonyId;
use clap::Args;
use std::fs::File;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `init`.
#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    ceremony: CeremonyArguments,
    /// Read an officer's throws of dice or coins from this open file descriptor, up to its first newline. In a ceremony,
    /// without it, ask on the terminal. Where it is the passphrase's descriptor, too, the throws come first.
    #[arg(long, value_name = "N")]
    entropy_fd: Option<u32>,
    /// In a ceremony: make keys without an officer's throws. The card says so.
    #[arg(long, requires = "ceremony", conflicts_with = "entropy_fd")]
    without_officer_entropy: bool,
}

/// `card`.
#[derive(Debug, Args)]
pub struct CardArguments {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    ceremony: CeremonyArguments,
}

/// What a ceremony's card needs.
#[derive(Debug, Args)]
struct CeremonyArguments {
    /// The ceremony's file (ceremony.json): keys and card are for it alone.
    #[arg(long, value_name = "FILE", requires_all = ["member", "signer_ca", "client_ca"])]
    ceremony: Option<PathBuf>,
    /// The member's name in the ceremony.
    #[arg(long, value_name = "NAME", requires = "ceremony")]
    member: Option<String>,
    /// Certificate (PEM) of the authority of the member's signer.
    #[arg(long, value_name = "FILE", requires = "ceremony")]
    signer_ca: Option<PathBuf>,
    /// Certificate (PEM) of the authority of the signer's clients.
    #[arg(long, value_name = "FILE", requires = "ceremony")]
    client_ca: Option<PathBuf>,
}

impl CeremonyArguments {
    fn read(&self) -> Result<Option<Particulars>, CardError> {
        let Self {
            ceremony: Some(ceremony),
            member: Some(member),
            signer_ca: Some(signer),
            client_ca: Some(client),
        } = self
        else {
            return Ok(None);
        };
        Particulars::read(ceremony, member, signer, client).map(Some)
    }
}

/// Secrets that come in: one descriptor may carry both, the throws first.
struct Input {
    throws: Option<OfficerInput>,
    shared: Option<File>,
}

impl Input {
    fn read(arguments: &Init) -> Result<Self, CardError> {
        let read = |error: std::io::Error| CardError::ReadThrows(PassphraseError::Read(error));
        let line = match arguments.entropy_fd {
            Some(fd) => {
                let mut file = open_descriptor(fd).map_err(read)?;
                let line = line_of(&mut file, MAX_THROWS_BYTES).map_err(CardError::ReadThrows)?;
                let shared = arguments.passphrase.passphrase_fd == Some(fd);
                (line, shared.then_some(file))
            }
            None if arguments.ceremony.ceremony.is_some() && !arguments.without_officer_entropy => {
                let prompt = "An officer's throws, 50 or more of a die (1 to 6) or 128 or more of a coin (h, t): ";
                let line = rpassword::prompt_password(prompt).map_err(read)?;
                (Zeroizing::new(line), None)
            }
            None => {
                return Ok(Self {
                    throws: None,
                    shared: None,
                });
            }
        };
        Ok(Self {
            throws: Some(OfficerInput::parse(&line.0)?),
            shared: line.1,
        })
    }
}

pub(super) fn run(arguments: &Init) -> Result<(), CliError> {
    let hardening = harden();
    for warning in &hardening.warnings {
        eprintln!("alys-signer: warning: {warning}");
    }
    let config = Config::load(&arguments.file.config, &Overrides::default())?;
    if config.keys.exists() {
        return Err(SealError::Exists { path: config.keys }.into());
    }
    let particulars = arguments.ceremony.read()?;
    let mut input = Input::read(arguments)?;
    let token = config.open_token()?;
    let sealer = Sealer::for_new(&config, token.as_ref(), || match &mut input.shared {
        Some(file) => Passphrase::next_line(file, true),
        None => Passphrase::read(arguments.passphrase.passphrase_fd, true),
    })?;
    let ceremony = particulars
        .as_ref()
        .map_or(CeremonyId::ZERO, |particulars| particulars.ceremony);
    let pool = Pool::gather(ceremony, token.as_deref(), input.throws.as_ref())?;
    drop(input);
    let keys = pool.keys().map_err(SealError::from)?;
    let sealed = sealer.seal(&keys)?;
    let card: MemberCard = keys.card();
    // State first: keys without state cannot be used, state without keys can be made again.
    Store::create(&config.state, &card.bls)?;
    let entropy = pool.report();
    let rest = || -> Result<_, CliError> {
        if let Some(counter) = config.open_counter(token.as_ref())? {
            counter.create()?;
        }
        let audit_key = crate::audit::create(&config.state, &keys)?;
        if particulars.is_some() {
            Origin { ceremony, entropy }.write(&config.keys)?;
        }
        sealed.write(&config.keys)?;
        Ok(audit_key)
    };
    let audit_key = match rest() {
        Ok(audit_key) => audit_key,
        Err(error) => {
            forget(&config.state)?;
            return Err(error);
        }
    };
    let backend = sealer.backend();
    let described = backend.describe(hardening.locked);
    eprintln!("alys-signer: {described}");
    eprintln!("alys-signer: the audit log's checkpoints will be signed by key {audit_key}");
    match particulars {
        Some(particulars) => print(&particulars.sign(&keys, &backend, entropy)?),
        None => print(&card),
    }
}

fn forget(state: &Path) -> Result<(), CliError> {
    std::fs::remove_file(state).map_err(io_error(format!("cannot remove {}", state.display())))
}

pub(super) fn card(arguments: &CardArguments) -> Result<(), CliError> {
    let config = Config::load(&arguments.file.config, &Overrides::default())?;
    let Some(particulars) = arguments.ceremony.read()? else {
        return print(&seal::card(&config.keys)?);
    };
    harden();
    let origin = Origin::read(&config.keys, particulars.ceremony)?;
    let token = config.open_token()?;
    let sealer = Sealer::for_file(&config, token.as_ref(), || {
        Passphrase::read(arguments.passphrase.passphrase_fd, false)
    })?;
    let keys = sealer.open(&config.keys)?;
    print(&particulars.sign(&keys, &sealer.backend(), origin.entropy)?)
}
