//! The command line.

mod backup;
mod counter;
mod device;
mod init;
mod policy;
mod restore;
mod serving;
mod statement;
mod watermarks;

pub use backup::BackupCommand;
pub use counter::CounterCommand;
pub use device::DeviceCommand;
pub use init::{CardArguments, Init};
pub use policy::PolicyCommand;
pub use restore::RestoreCommand;
pub use statement::StatementCommand;
pub use watermarks::WatermarksCommand;

use crate::audit::cli::{self as audit, AuditCliError, AuditCommand};
use crate::audit::{Approval, AuditError, Recorder};
use crate::card::CardError;
use crate::circumstances::{Circumstances, CircumstancesError};
use crate::config::{Config, ConfigError, CounterConfig, Overrides};
use crate::counter::CounterError;
use crate::device::{RelayConfig, RequestLogError};
use crate::engine::{Engine, unix_now};
use crate::harden::harden;
use crate::keys::EntropyError;
use crate::metrics::Watch;
use crate::passphrase::Passphrase;
use crate::policy_file::{OfficersConfigError, PolicyFileError, ReadPolicy};
use crate::seal::{self, SealError, Sealer};
use crate::server::Server;
use crate::store::{Store, StoreError};
use crate::tls::{Files, TlsError};
use alys_backup::BackupError;
use alys_device_host::DeviceError;
use alys_protocol::signer::SignerStatus;
use alys_protocol::spec::{Chain, ChainSpec, SpecError};
use alys_signer_client::{ClientConfig, ClientError, LinkReport, SignerClient};
use alys_signer_core::{SetupError, Signer};
use alys_signer_pkcs11::TokenError;
use clap::{Args, Parser, Subcommand};
use rustls::pki_types::UnixTime;
use serde::Serialize;
use serving::Listening;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tokio::runtime::Runtime;

/// The signer of an Alys federation member: holds the keys and signs only what its rules allow.
#[derive(Debug, Parser)]
#[command(name = "alys-signer", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve nodes until SIGTERM or Ctrl-C.
    Run(Run),
    /// Make keys inside this machine, seal them under a passphrase or a token's key, make an empty state, and print the member card.
    Init(Init),
    /// Print the member card: the public keys and the proof of possession that the chain spec needs; with --ceremony the
    /// signed card for a ceremony, as `init` printed it.
    Card(CardArguments),
    /// Ask a running signer who it is and where it stands.
    Status(Status),
    /// Look at the policy that officers sign.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Look at the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Draft, explain and hand in what officers say: pause, resume, or that a signer's state is fresh.
    #[command(subcommand)]
    Statement(StatementCommand),
    /// Export and import what must never go down: slots, lock, burns.
    #[command(subcommand)]
    Watermarks(WatermarksCommand),
    /// Look after the outside counter.
    #[command(subcommand)]
    Counter(CounterCommand),
    /// Encrypt the keys to officers, of whom k open them; prove that they do.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Find a signer device, pair this host with it, and ask it how it stands.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Put the keys of a backup into a fresh signer, which is silent until officers vouch for it.
    #[command(subcommand)]
    Restore(RestoreCommand),
}

/// The configuration file.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "ALYS_SIGNER_CONFIG")]
    pub config: PathBuf,
}

/// Where the passphrase comes from.
#[derive(Debug, Args)]
pub struct PassphraseSource {
    /// Read the passphrase from this open file descriptor, up to its first newline; without it, ask on the terminal.
    #[arg(long, value_name = "N")]
    pub passphrase_fd: Option<u32>,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// File to write the bound address to.
    #[arg(long, value_name = "FILE")]
    listen_file: Option<PathBuf>,
    /// Filter of the log, for example `info` or `alys_signer=debug`.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Client configuration (TOML): `address`, `server_ca`, `certificate`, `key`, and optionally `server_name`.
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
}

/// Why a command failed, in words for its user.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each variant is its source's error")]
pub enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Circumstances(#[from] CircumstancesError),
    #[error(transparent)]
    Counter(#[from] CounterError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    RequestLog(#[from] RequestLogError),
    #[error(transparent)]
    AuditCommand(#[from] AuditCliError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("statement {path}: {reason}", path = path.display())]
    Statement { path: PathBuf, reason: String },
    #[error("watermarks {path}: {reason}", path = path.display())]
    Watermarks { path: PathBuf, reason: String },
    #[error("the configuration has no [counter]")]
    NoCounter,
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    #[error(transparent)]
    Officers(#[from] OfficersConfigError),
    #[error("the signer cannot serve this chain: {0}")]
    Setup(#[from] SetupError),
    #[error("chain spec {path}: {reason}", path = path.display())]
    Spec { path: PathBuf, reason: String },
    #[error("key file {path} is in use by another signer; two signers with one key would both sign", path = path.display())]
    KeysInUse { path: PathBuf },
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> CliError {
    let what = what.into();
    move |error| CliError::Io { what, error }
}

/// Runs a command.
///
/// # Errors
/// - [`CliError`] with a sentence for the user.
pub fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Run(arguments) => serve(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Card(arguments) => init::card(&arguments),
        Command::Status(arguments) => status(&arguments),
        Command::Policy(command) => policy::run(&command),
        Command::Audit(command) => Ok(audit::run(&command)?),
        Command::Statement(command) => statement::run(&command),
        Command::Counter(command) => counter::run(&command),
        Command::Backup(command) => backup::run(&command),
        Command::Device(command) => device::run(&command),
        Command::Restore(command) => restore::run(&command),
        Command::Watermarks(command) => watermarks::run(&command),
    }
}

fn print<T: Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| io_error("cannot print")(io::Error::other(error)))?;
    writeln!(io::stdout(), "{text}").map_err(io_error("cannot print"))
}

fn say(text: &str) -> Result<(), CliError> {
    writeln!(io::stdout(), "{text}").map_err(io_error("cannot print"))
}

fn serve(arguments: &Run) -> Result<(), CliError> {
    let overrides = Overrides {
        listen: arguments.listen,
        listen_file: arguments
            .listen_file
            .as_deref()
            .map(std::path::absolute)
            .transpose()
            .map_err(io_error("--listen-file"))?,
        log: arguments.log.clone(),
    };
    if let Some(config) = RelayConfig::load(&arguments.file.config, &overrides)? {
        return device::serve(config);
    }
    let config = Config::load(&arguments.file.config, &overrides)?;
    start_log(&config.log)?;
    let hardening = harden();
    for warning in &hardening.warnings {
        tracing::warn!("{warning}");
    }
    let chain = read_chain(&config.chain_spec)?;
    let mut files = Files::new(config.tls.clone());
    let transport = files.read()?;
    serving::warn_ahead(&transport);
    // Held until the process ends: a copy of the state must not serve a second signer with the same keys.
    let _lock = lock_keys(&config.keys)?;
    let card = seal::card(&config.keys)?;
    let officers = config.officers.trusted()?;
    let digest = officers.officers().digest();
    let store = Store::open(&config.state, &card.bls, chain.digest(), digest)?;
    let read = ReadPolicy::read(&config.policy)?;
    let signed = read.verify(&chain, &officers)?;
    let signer = Signer::new(chain, read.file.policy.clone(), &card.bls, &card.schnorr)?;
    let token = config.open_token()?;
    let sealer = Sealer::for_file(&config, token.as_ref(), || {
        Passphrase::read(arguments.passphrase.passphrase_fd, false)
    })?;
    let keys = sealer.open(&config.keys)?;
    drop(sealer);
    tracing::info!(
        member = %signer.member(),
        chain_id = %signer.chain().id(),
        spec = %signer.chain().digest(),
        locked_memory = hardening.locked,
        backend = keys.backend().describe(hardening.locked),
        "keys are open"
    );
    let approval = Approval::new(read, signed, officers.clone(), config.officers.clone());
    let (limits, now) = (config.audit.clone(), unix_now());
    // Remembers the policy: an older one is refused from then on.
    let recorder = Recorder::start(store, &signer, &keys, &approval, limits, now)?;
    tracing::info!(
        audit_key = %recorder.public_key(),
        policy = %approval.digest(),
        iteration = %approval.iteration(),
        "the audit log is open and the policy in force"
    );
    let lease_slots = config
        .counter
        .as_ref()
        .map_or(1, CounterConfig::lease_slots);
    let counter = config.open_counter(token.as_ref())?;
    let circumstances = Circumstances::start(&recorder, &signer, counter, lease_slots)?;
    let locked = hardening.locked;
    let engine = Engine::new(signer, keys, recorder, circumstances, officers, locked);
    let listening = Listening {
        listen: config.listen,
        listen_file: config.listen_file,
    };
    let watch = Watch::new(config.metrics_file, token);
    let engine = Arc::new(engine);
    serving::until_stopped(&listening, files, transport, |listener, transport| {
        Server::new(listener, transport, engine.clone(), config.limits).with_watch(watch, engine)
    })
}

fn start_log(filter: &str) -> Result<(), CliError> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| io_error("log filter")(io::Error::other(error)))?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .try_init()
        .map_err(|error| io_error("cannot start the log")(io::Error::other(error)))
}

/// Reads and checks a chain spec.
///
/// # Errors
/// - [`CliError::Spec`] where the file cannot be read, parsed, or used.
pub fn read_chain(path: &Path) -> Result<Chain, CliError> {
    let wrong = |reason: String| CliError::Spec {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let spec: ChainSpec = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Chain::new(spec).map_err(|error: SpecError| wrong(error.to_string()))
}

fn lock_keys(path: &Path) -> Result<File, CliError> {
    let file = File::open(path).map_err(io_error(format!("key file {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(CliError::KeysInUse {
            path: path.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(io_error(format!("key file {}", path.display()))(error))
        }
    }
}

fn status(arguments: &Status) -> Result<(), CliError> {
    /// What the signer says of itself, and what this command saw of the connection to it.
    #[derive(Serialize)]
    struct Seen {
        #[serde(flatten)]
        signer: SignerStatus,
        connection: Option<LinkReport>,
    }
    let (runtime, client) = connect(&arguments.client)?;
    let signer = runtime.block_on(client.status())?;
    let link = client.link();
    let link = link.borrow();
    let connection = link.as_ref().map(|link| link.report(UnixTime::now()));
    print(&Seen { signer, connection })
}

/// A client of a running signer.
fn connect(path: &Path) -> Result<(Runtime, SignerClient), CliError> {
    let wrong = |reason: String| {
        CliError::from(ClientError::Config {
            path: path.to_owned(),
            reason,
        })
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let config: ClientConfig = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let config = config.relative_to(path.parent().unwrap_or(Path::new(".")));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io_error("cannot start the runtime"))?;
    Ok((runtime, SignerClient::new(config, None)?))
}
