//! `alys-signer device`: finding, pairing and asking a signer device; and `run` with one.

use super::serving::{self, Listening};
use super::{CliError, ConfigFile, io_error, print, read_chain, say, start_log};
use crate::config::Overrides;
use crate::device::{Relay, RelayConfig, RequestLog};
use crate::files::{Existing, write_durably};
use crate::harden::harden;
use crate::server::Server;
use crate::tls::Files;
use alys_device_host::{
    BY_ID, Candidate, DEFAULT_SPEED, Device, DeviceError, Line, Pairedness, Person, list, pair,
};
use alys_protocol::signer::{
    PROTOCOL_VERSION, Reply, Request, RequestEnvelope, SignerStatus, decode_frame,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a line may be silent before nobody is there.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a person may take for the button.
const BUTTON: Duration = Duration::from_secs(120);

/// `device`.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Show what is plugged in, and which of it are signer devices. Every serial line gets a few bytes.
    List(List),
    /// Pair this host with a device that was opened for it: type the code that the device shows, then press its button.
    Pair(Pair),
    /// Open a session with the paired device, and ask it who it is and where it stands. The daemon must not be running.
    Status(ConfigFile),
}

/// `device list`.
#[derive(Debug, Args)]
pub struct List {
    /// Folder with the lines.
    #[arg(long, value_name = "FOLDER", default_value = BY_ID)]
    folder: PathBuf,
    #[command(flatten)]
    speed: Speed,
}

/// `device pair`.
#[derive(Debug, Args)]
pub struct Pair {
    /// The device's line: a path in /dev/serial/by-id, or an emulator's Unix socket.
    #[arg(long, value_name = "PATH")]
    path: PathBuf,
    /// File to write the pairing to. It holds this host's secret for the device, and must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    speed: Speed,
}

/// Of a line.
#[derive(Debug, Args)]
pub(super) struct Speed {
    /// Bits per second; a line over USB has its own.
    #[arg(long, value_name = "BITS", default_value_t = DEFAULT_SPEED)]
    speed: u32,
}

pub(super) fn run(command: &DeviceCommand) -> Result<(), CliError> {
    match command {
        DeviceCommand::List(arguments) => list_devices(arguments),
        DeviceCommand::Pair(arguments) => pair_device(arguments),
        DeviceCommand::Status(file) => status(file),
    }
}

fn list_devices(arguments: &List) -> Result<(), CliError> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Found {
        Device {
            path: PathBuf,
            device: String,
            pairing: &'static str,
            firmware: String,
        },
        Other {
            path: PathBuf,
            problem: String,
        },
    }
    let found = list(&arguments.folder, arguments.speed.speed, SILENCE)
        .map_err(io_error(format!("folder {}", arguments.folder.display())))?;
    let found: Vec<Found> = found
        .into_iter()
        .map(|Candidate { path, found }| match found {
            Ok(found) => Found::Device {
                path,
                device: found.device.to_string(),
                pairing: match found.pairedness {
                    Pairedness::Unpaired => "unpaired",
                    Pairedness::Paired => "paired",
                    Pairedness::Open => "open for pairing",
                },
                firmware: found.words.to_string(),
            },
            Err(error) => Found::Other {
                path,
                problem: error.to_string(),
            },
        })
        .collect();
    print(&found)
}

/// The person at the terminal, who sees the device, too.
struct Terminal;

impl Person for Terminal {
    fn types_code(&mut self) -> Option<String> {
        // The host's own code is not shown: what is typed can only come from the device.
        eprint!("alys-signer: type the six digits that the device shows: ");
        io::stderr().flush().ok()?;
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(length) if length > 0 => Some(line),
            Ok(_) | Err(_) => None,
        }
    }

    fn presses_button(&mut self) {
        eprintln!(
            "alys-signer: the code is right; press the device's button within {} s",
            BUTTON.as_secs()
        );
    }
}

fn pair_device(arguments: &Pair) -> Result<(), CliError> {
    if arguments.out.exists() {
        return Err(io_error(format!("{}", arguments.out.display()))(
            io::ErrorKind::AlreadyExists.into(),
        ));
    }
    let line = Line::open(&arguments.path, arguments.speed.speed)?;
    let pairing = pair(line, SILENCE, BUTTON, &mut Terminal)?;
    write_durably(
        &arguments.out,
        pairing.to_text().as_bytes(),
        Existing::Refuse,
    )
    .map_err(io_error(format!(
        "cannot write {}",
        arguments.out.display()
    )))?;
    let device = pairing.device().fingerprint();
    say(&format!("paired with device {device}"))
}

fn load(file: &ConfigFile) -> Result<RelayConfig, CliError> {
    RelayConfig::load(&file.config, &Overrides::default())?.ok_or_else(|| {
        DeviceError::PairingFile {
            path: file.config.clone(),
            reason: "expected a configuration with the table [device], found none".to_owned(),
        }
        .into()
    })
}

fn status(file: &ConfigFile) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Seen {
        device: String,
        path: PathBuf,
        firmware: String,
        status: SignerStatus,
    }
    let config = load(file)?;
    let chain = read_chain(&config.chain_spec)?;
    let mut device = Device::new(config.device.settings(&chain)?);
    let hello = device.connect()?;
    let envelope = RequestEnvelope {
        version: PROTOCOL_VERSION,
        request: Request::Status,
    };
    let unexpected = |what: String| io_error("the device's reply")(io::Error::other(what));
    let request =
        postcard::to_allocvec(&envelope).map_err(|error| unexpected(error.to_string()))?;
    let reply = device.request(&request)?;
    match decode_frame(&reply) {
        Ok(Reply::Status(status)) => print(&Seen {
            device: device.fingerprint().to_string(),
            path: config.device.path,
            firmware: hello.firmware.to_string(),
            status: *status,
        }),
        Ok(other) => Err(unexpected(format!("expected a status, found {other:?}"))),
        Err(error) => Err(unexpected(error.to_string())),
    }
}

/// `run` with a device.
pub(super) fn serve(config: RelayConfig) -> Result<(), CliError> {
    start_log(&config.log)?;
    for warning in harden().warnings {
        tracing::warn!("{warning}");
    }
    let chain = read_chain(&config.chain_spec)?;
    let mut files = Files::new(config.tls.clone());
    let transport = files.read()?;
    serving::warn_ahead(&transport);
    let log = RequestLog::open(&config.device.request_log)?;
    let mut device = Device::new(config.device.settings(&chain)?);
    match device.connect() {
        Ok(hello) => tracing::info!(
            device = %device.fingerprint(), firmware = %hello.firmware, member = %config.device.member,
            chain_id = %chain.id(), spec = %chain.digest(), "the device has the keys, and decides"
        ),
        // It may be plugged in later, which needs no restart.
        Err(error) if error.is_absence() => {
            tracing::error!(device = %device.fingerprint(), %error, "the device is not there yet");
        }
        Err(error) => return Err(error.into()),
    }
    let relay = Relay::new(device, log);
    let listening = Listening {
        listen: config.listen,
        listen_file: config.listen_file,
    };
    serving::until_stopped(&listening, files, transport, |listener, transport| {
        Server::new(listener, transport, Arc::new(relay), config.limits)
    })
}
