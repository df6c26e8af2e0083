//! `alys-signer restore`: the keys of a backup in a fresh signer (docs/backup.md).
//!
//! `begin` makes an age identity beside where the keys will be and shows its recipient, to which officers hand over their
//! shares; `finish` opens them. No share is ever in clear on a disk. The new state says nothing of what the old one
//! signed since the backup, so no outside counter may take it for the newest one: the signer is silent until officers
//! vouch for it (claim C5).

use super::backup::{Record, keys_of, protect_memory};
use super::{CliError, ConfigFile, PassphraseSource, io_error, print, read_chain};
use crate::audit;
use crate::circumstances::fresh_tag;
use crate::config::{Config, Overrides};
use crate::counter::OutsideCounter;
use crate::engine::unix_now;
use crate::files::{Existing, write_durably};
use crate::keys::Keys;
use crate::passphrase::Passphrase;
use crate::seal::{SealError, Sealer};
use crate::store::{Store, StoreError};
use alys_backup::{Backup, BackupError, Identity, Marks, Recipient, Share};
use alys_protocol::spec::Chain;
use alys_signer_core::freshness::CounterMark;
use alys_signer_core::state::{AdminState, PegOutState};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// `restore`.
#[derive(Debug, Subcommand)]
pub enum RestoreCommand {
    /// Make what officers encrypt their shares to, and print its recipient (JSON); once more, print it again.
    Begin(ConfigFile),
    /// Put the keys into a new sealed key file and a new state, and print a record to keep (JSON). Replaces nothing.
    Finish(Finish),
}

/// `restore finish`.
#[derive(Debug, Args)]
pub struct Finish {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// The backup's folder, or a folder with its backup.json.
    #[arg(long, value_name = "DIR")]
    backup: PathBuf,
    /// A share that an officer handed over to the recipient of `begin`; once for each.
    #[arg(long = "share", value_name = "FILE", required = true)]
    shares: Vec<PathBuf>,
}

/// What officers need.
#[derive(Debug, Serialize)]
struct Begun<'a> {
    recipient: &'a Recipient,
}

pub(super) fn run(command: &RestoreCommand) -> Result<(), CliError> {
    protect_memory();
    match command {
        RestoreCommand::Begin(file) => begin(file),
        RestoreCommand::Finish(arguments) => finish(arguments),
    }
}

fn begin(file: &ConfigFile) -> Result<(), CliError> {
    let config = Config::load(&file.config, &Overrides::default())?;
    refuse(&config)?;
    let path = identity_file(&config);
    let identity = if path.exists() {
        read_identity(&path)?
    } else {
        let (identity, text) = Identity::generate_with_file();
        write_durably(&path, text.as_bytes(), Existing::Refuse)
            .map_err(io_error(format!("cannot write {}", path.display())))?;
        identity
    };
    for recipient in identity.recipients() {
        print(&Begun { recipient })?;
    }
    Ok(())
}

fn finish(arguments: &Finish) -> Result<(), CliError> {
    let config = Config::load(&arguments.file.config, &Overrides::default())?;
    refuse(&config)?;
    let chain = read_chain(&config.chain_spec)?;
    let backup = Backup::read(&arguments.backup)?;
    backup.header().check_chain(&chain)?;
    let path = identity_file(&config);
    let identity = read_identity(&path)?;
    let shares = arguments
        .shares
        .iter()
        .map(|share| {
            let opened = Share::read(share, &identity)?;
            backup
                .check_share(&opened)
                .map_err(|error| error.at(share))?;
            Ok(opened)
        })
        .collect::<Result<Vec<_>, CliError>>()?;
    let opened = backup.open(&shares)?;
    let keys = keys_of(&backup, &opened)?;

    let token = config.open_token()?;
    let sealer = Sealer::for_new(&config, token.as_ref(), || {
        Passphrase::read(arguments.passphrase.passphrase_fd, true)
    })?;
    let (keys, sealed) = sealer.seal(keys)?;
    if let Some(counter) = config.open_counter(token.as_ref())? {
        move_on(counter.as_ref())?;
    }
    make_state(&config, &chain, &keys, &backup.header().marks)?;
    // Last: state without keys signs nothing.
    if let Err(error) = sealed.write(&config.keys) {
        remove(&config.state)?;
        return Err(error.into());
    }
    remove(&path)?;
    eprintln!(
        "alys-signer: the keys are restored. The signer is silent until officers vouch for its state: import the newest \
         watermarks that anybody has, start it, and hand in a statement of the kind fresh"
    );
    print(&Record::new("restored", &backup, Some(&opened.officers))?)
}

/// Where the identity is between `begin` and `finish`.
fn identity_file(config: &Config) -> PathBuf {
    let mut path = config.keys.clone().into_os_string();
    path.push(".restore");
    path.into()
}

fn read_identity(path: &Path) -> Result<Identity, CliError> {
    let cannot = |error| io_error(format!("restore begin has made no {}", path.display()))(error);
    let mode = std::fs::metadata(path)
        .map_err(cannot)?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(cannot(io::Error::other(format!(
            "expected a file of mode 0600, found {mode:04o}: others may have read it; remove it and begin again"
        ))));
    }
    Ok(Identity::read(path, || {
        Err(io::Error::other("its identity has no passphrase"))
    })?)
}

/// A restore replaces nothing, and a token that makes its own keys takes none.
fn refuse(config: &Config) -> Result<(), CliError> {
    if config.native().is_some() {
        return Err(BackupError::IntoToken.into());
    }
    if config.keys.exists() {
        let path = config.keys.clone();
        return Err(SealError::Exists { path }.into());
    }
    if config.state.exists() {
        let path = config.state.clone();
        return Err(StoreError::Exists { path }.into());
    }
    Ok(())
}

/// Advances the outside counter to where no state knows it: a new one would suit the new state, which knows nothing of what
/// the old one signed; one that the old signer used makes that signer silent.
fn move_on(counter: &dyn OutsideCounter) -> Result<(), CliError> {
    let from = match counter.read()? {
        Some(mark) => mark,
        None => {
            counter.create()?;
            CounterMark::ZERO
        }
    };
    let tag = fresh_tag().map_err(|error| io_error("entropy")(io::Error::other(error)))?;
    counter.advance(from, tag)?;
    Ok(())
}

/// A state that refuses what the old one refused when the backup was made: all that it knew and that makes a signer sign
/// less. It agrees to no skip, and its windows are full.
fn make_state(config: &Config, chain: &Chain, keys: &Keys, marks: &Marks) -> Result<(), CliError> {
    let (path, bls) = (&config.state, keys.card().bls);
    let officers = config.officers.trusted()?.officers().digest();
    Store::create(path, &bls)?;
    let made = || -> Result<(), CliError> {
        let audit_key = audit::create(path, keys)?;
        eprintln!(
            "alys-signer: the audit log begins anew; its checkpoints will be signed by key {audit_key}"
        );
        let store = Store::open(path, &bls, chain.digest(), officers)?;
        store.keep(&AdminState {
            policy: marks.policy.clone(),
            statement: marks.statement,
            ..AdminState::default()
        })?;
        store.keep(&PegOutState {
            paused: marks.paused,
            ..PegOutState::default()
        })?;
        audit::import(&store, chain.id(), &marks.watermarks, unix_now())?;
        Ok(())
    };
    made().inspect_err(|_| {
        // Nothing was signed by it, and the next attempt makes it again.
        let _ = std::fs::remove_file(path);
    })
}

/// Removes a file durably.
fn remove(path: &Path) -> Result<(), CliError> {
    let cannot = io_error(format!("cannot remove {}", path.display()));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    std::fs::remove_file(path)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(cannot)
}
