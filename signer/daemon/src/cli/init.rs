//! `alys-signer init` and `card`.

use super::{CliError, ConfigFile, PassphraseSource, io_error, print};
use crate::card::{CardError, Origin, Particulars};
use crate::config::{Config, Overrides};
use crate::counter::CounterError;
use crate::harden::harden;
use crate::keys::{Backend, Keys, MAX_THROWS_BYTES, MemberCard, OfficerInput, Pool};
use crate::passphrase::{Passphrase, PassphraseError, line_of, open_descriptor};
use crate::seal::{self, NativeSeal, SealError, SealedText, Sealer};
use crate::store::{Store, StoreError};
use alys_protocol::ceremony::{CeremonyId, EntropyReport};
use alys_signer_pkcs11::Token;
use clap::Args;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// None are asked for where the token makes the keys by itself.
    fn read(arguments: &Init, native: bool) -> Result<Self, CardError> {
        let going_without =
            arguments.ceremony.ceremony.is_none() || arguments.without_officer_entropy;
        if native && (arguments.entropy_fd.is_some() || !going_without) {
            return Err(CardError::NothingMixed);
        }
        let read = |error: std::io::Error| CardError::ReadThrows(PassphraseError::Read(error));
        let line = match arguments.entropy_fd {
            Some(fd) => {
                let mut file = open_descriptor(fd).map_err(read)?;
                let line = line_of(&mut file, MAX_THROWS_BYTES).map_err(CardError::ReadThrows)?;
                let shared = arguments.passphrase.passphrase_fd == Some(fd);
                (line, shared.then_some(file))
            }
            None if !going_without => {
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
    let mut input = Input::read(arguments, config.native().is_some())?;
    let token = config.open_token()?;
    let sealer = Sealer::for_new(&config, token.as_ref(), || match &mut input.shared {
        Some(file) => Passphrase::next_line(file, true),
        None => Passphrase::read(arguments.passphrase.passphrase_fd, true),
    })?;
    let ceremony = particulars
        .as_ref()
        .map_or(CeremonyId::ZERO, |particulars| particulars.ceremony);
    let Made {
        keys,
        sealed,
        entropy,
    } = match &sealer {
        Sealer::Native(seal) => {
            check_free(&config, token.as_ref())?;
            Made::inside(seal)?
        }
        sealer @ (Sealer::Passphrase(_) | Sealer::Token(_)) => {
            let pool = Pool::gather(ceremony, token.as_deref(), input.throws.as_ref())?;
            Made::from(&pool, sealer)?
        }
    };
    drop(input);
    let card: MemberCard = keys.card();
    // State first: keys without state cannot be used, state without keys can be made again.
    Store::create(&config.state, &card.bls)?;
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
            if config.native().is_some() {
                eprintln!(
                    "alys-signer: the token has keys that were made and not used; delete them with its vendor's tool, or \
                     leave `generate` out of [token.native] to take them the next time"
                );
            }
            forget(&config.state)?;
            return Err(error);
        }
    };
    let described = keys.backend().describe(hardening.locked);
    eprintln!("alys-signer: {described}");
    eprintln!("alys-signer: the audit log's checkpoints will be signed by key {audit_key}");
    match particulars {
        Some(particulars) => print(&particulars.sign(&keys, entropy)?),
        None => print(&card),
    }
}

/// New keys, what their file is to say, and what they were made from.
struct Made {
    keys: Keys,
    sealed: SealedText,
    entropy: EntropyReport,
}

impl Made {
    fn from(pool: &Pool, sealer: &Sealer) -> Result<Self, CliError> {
        let (keys, sealed) = sealer.seal(pool.keys().map_err(SealError::from)?)?;
        Ok(Self {
            keys,
            sealed,
            entropy: pool.report(),
        })
    }

    /// Keys that a token makes, by its own generator.
    fn inside(seal: &NativeSeal) -> Result<Self, CliError> {
        let (keys, sealed) = seal.make()?;
        let made_inside = matches!(
            keys.backend(),
            Backend::TokenNative {
                made_inside: true,
                ..
            }
        );
        let token_bits = if made_inside { NATIVE_BITS } else { 0 };
        Ok(Self {
            keys: keys.into(),
            sealed,
            entropy: EntropyReport {
                host_bits: 0,
                token_bits,
                officer: None,
            },
        })
    }
}

/// Two secret scalars of 256 bits.
const NATIVE_BITS: u32 = 512;

/// What would stop `init` later, looked at before a token makes keys that stay in it.
fn check_free(config: &Config, token: Option<&Arc<Token>>) -> Result<(), CliError> {
    if config.state.exists() {
        let path = config.state.clone();
        return Err(StoreError::Exists { path }.into());
    }
    if let Some(counter) = config.open_counter(token)?
        && counter.read()?.is_some()
    {
        let counter = counter.description();
        return Err(CounterError::Exists { counter }.into());
    }
    Ok(())
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
    print(&particulars.sign(&keys, origin.entropy)?)
}
