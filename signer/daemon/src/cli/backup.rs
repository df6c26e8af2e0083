//! `alys-signer backup`: keys encrypted to officers (`alys_backup`, docs/backup.md).
//!
//! `create` needs keys and state for itself: the signer must not run. `drill` needs neither; it writes nothing, and the
//! identity that the shares are encrypted to is gone when it ends.

use super::{CliError, ConfigFile, PassphraseSource, io_error, lock_keys, print, read_chain};
use crate::config::{Config, Overrides};
use crate::engine::{SOFTWARE, unix_now};
use crate::files::{Existing, write_durably};
use crate::harden::harden;
use crate::keys::{Keys, SoftwareKeys};
use crate::passphrase::Passphrase;
use crate::seal::{self, Sealer};
use crate::store::Store;
use alys_backup::{
    BACKUP_FILE, Backup, BackupError, Holder, Identity, Made, Marks, Officer, OfficerName, Opened,
    Plan, Share, UnixMillis, share_file,
};
use alys_protocol::bytes::Digest;
use alys_signer_core::state::{AdminState, PegOutState};
use alys_signer_core::watermarks::Watermarks;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fs::{DirBuilder, File};
use std::io::{self, BufRead as _, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of file names that a drill reads.
const MAX_NAMES_BYTES: u64 = 64 << 10;

/// `backup`.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Encrypt the keys and split what opens them among officers; print a record to keep (JSON). The signer must not run.
    Create(Create),
    /// Prove that officers open a backup and that the member's keys are in it; print a record to keep (JSON). Needs no
    /// signer and no passphrase, and writes nothing.
    ///
    /// Shows a recipient, to which each officer hands over a share (`alys-provision officer share`), then reads the names
    /// of their files, one a line, up to an empty line.
    Drill(Drill),
}

/// `backup create`.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// An officer and the officer's age recipient (`age-keygen -y`); once for each officer.
    #[arg(long = "recipient", value_name = "NAME=AGE1...", required = true)]
    recipients: Vec<String>,
    /// How many officers are to open it: at least 2, at most all.
    #[arg(long, value_name = "K")]
    threshold: u8,
    /// Folder to make; it must not exist.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// `backup drill`.
#[derive(Debug, Args)]
pub struct Drill {
    /// The backup's folder, or a folder with its backup.json.
    #[arg(long, value_name = "DIR")]
    backup: PathBuf,
    /// The chain spec, from elsewhere than the backup: the member's public keys in it are the ones to be found.
    #[arg(long, value_name = "FILE")]
    chain_spec: PathBuf,
}

/// What was done with a backup, for auditors: nobody signs it.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    format: &'static str,
    act: &'static str,
    time: UnixMillis,
    software: &'static str,
    backup: Digest,
    id: alys_backup::BackupId,
    made: UnixMillis,
    #[serde(flatten)]
    holder: &'a Holder,
    marks: &'a Marks,
    threshold: u8,
    /// Those who have shares.
    officers: Vec<&'a OfficerName>,
    /// Those who showed theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_by: Option<&'a [OfficerName]>,
}

impl<'a> Record<'a> {
    pub(super) fn new(
        act: &'static str,
        backup: &'a Backup,
        opened_by: Option<&'a [OfficerName]>,
    ) -> Result<Self, BackupError> {
        let header = backup.header();
        Ok(Self {
            format: "alys-backup-record/1",
            act,
            time: now(),
            software: SOFTWARE,
            backup: backup.digest()?,
            id: header.id,
            made: header.made,
            holder: &header.holder,
            marks: &header.marks,
            threshold: header.threshold,
            officers: header.shares.iter().map(|share| &share.officer).collect(),
            opened_by,
        })
    }
}

pub(super) fn run(command: &BackupCommand) -> Result<(), CliError> {
    match command {
        BackupCommand::Create(arguments) => create(arguments),
        BackupCommand::Drill(arguments) => drill(arguments),
    }
}

/// Forbids dumps and locks memory, and says what could not be had.
pub(super) fn protect_memory() {
    for warning in harden().warnings {
        eprintln!("alys-signer: warning: {warning}");
    }
}

/// The member's keys, if they are the ones that the backup says to hold.
pub(super) fn keys_of(backup: &Backup, opened: &Opened) -> Result<SoftwareKeys, BackupError> {
    let holder = &backup.header().holder;
    let keys = SoftwareKeys::from_secret_bytes(&opened.secret).map_err(|_| BackupError::Keys)?;
    let card = keys.card();
    if (card.bls, card.schnorr) != (holder.bls, holder.schnorr) {
        return Err(BackupError::Keys);
    }
    Ok(keys)
}

fn now() -> UnixMillis {
    UnixMillis::new(unix_now().get())
}

fn create(arguments: &Create) -> Result<(), CliError> {
    let officers = arguments
        .recipients
        .iter()
        .map(|officer| officer.parse())
        .collect::<Result<Vec<Officer>, _>>()?;
    Plan::check(arguments.threshold, &officers)?;
    protect_memory();
    let config = Config::load(&arguments.file.config, &Overrides::default())?;
    if config.native().is_some() {
        return Err(BackupError::InToken.into());
    }
    let chain = read_chain(&config.chain_spec)?;
    let _lock = lock_keys(&config.keys)?;
    let card = seal::card(&config.keys)?;
    let holder = Holder::of(&chain, card.bls, card.schnorr)?;
    let deciding = config.officers.trusted()?.officers().digest();
    let store = Store::open(&config.state, &card.bls, chain.digest(), deciding)?;
    let plan = Plan {
        made: now(),
        holder,
        marks: marks(&store)?,
        threshold: arguments.threshold,
        officers,
    };
    let token = config.open_token()?;
    let sealer = Sealer::for_file(&config, token.as_ref(), || {
        Passphrase::read(arguments.passphrase.passphrase_fd, false)
    })?;
    let keys = match sealer.open(&config.keys)? {
        Keys::Software(keys) => keys,
        Keys::Native(_) => return Err(BackupError::InToken.into()),
    };
    let made = Backup::make(&plan, &keys.to_secret_bytes())?;
    drop(keys);
    write_folder(&arguments.output, &made)?;
    print(&Record::new("created", &made.backup, None)?)
}

fn marks(store: &Store) -> Result<Marks, CliError> {
    let pegout: PegOutState = store.read()?;
    let admin: AdminState = store.read()?;
    Ok(Marks {
        watermarks: Watermarks::of(&store.read()?, &pegout),
        statement: admin.statement,
        policy: admin.policy,
        paused: pegout.paused,
    })
}

/// The backup's own file comes last: a folder without it is none.
fn write_folder(folder: &Path, made: &Made) -> Result<(), CliError> {
    let cannot = |path: &Path| io_error(format!("cannot write {}", path.display()));
    let mut builder = DirBuilder::new();
    builder.mode(0o700).create(folder).map_err(cannot(folder))?;
    let write = |path: &Path, text: &str| {
        let path = folder.join(path);
        write_durably(&path, text.as_bytes(), Existing::Refuse).map_err(cannot(&path))
    };
    for (officer, sealed) in &made.shares {
        write(&share_file(officer), sealed.as_str())?;
    }
    write(Path::new(BACKUP_FILE), &made.backup.to_text()?)?;
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(cannot(folder))
}

fn drill(arguments: &Drill) -> Result<(), CliError> {
    protect_memory();
    let chain = read_chain(&arguments.chain_spec)?;
    let backup = Backup::read(&arguments.backup)?;
    backup.header().check_chain(&chain)?;
    let identity = Identity::generate();
    for recipient in identity.recipients() {
        eprintln!(
            "alys-signer: {} officers hand over their shares to {recipient}; \
             then name the files, one a line, up to an empty line",
            backup.header().threshold
        );
    }
    let shares = named_shares(&backup, &identity)?;
    let opened = backup.open(&shares)?;
    keys_of(&backup, &opened)?;
    print(&Record::new("drilled", &backup, Some(&opened.officers))?)
}

/// Reads shares until an empty line. A wrong one is named and does not count: the others need not be made again.
fn named_shares(backup: &Backup, identity: &Identity) -> Result<Vec<Share>, CliError> {
    let mut shares: Vec<Share> = Vec::new();
    for line in io::stdin().lock().take(MAX_NAMES_BYTES).lines() {
        let line = line.map_err(io_error("cannot read the files' names"))?;
        let name = line.trim();
        if name.is_empty() {
            break;
        }
        let path = Path::new(name);
        let share = Share::read(path, identity).and_then(|share| {
            let officer = backup.check_share(&share).map_err(|error| error.at(path))?;
            if shares.iter().any(|other| other.number() == share.number()) {
                return Err(BackupError::GivenTwice(officer.clone()));
            }
            eprintln!("alys-signer: {name}: the share of officer {officer}");
            Ok(share)
        });
        match share {
            Ok(share) => shares.push(share),
            Err(error) => eprintln!("alys-signer: not counted: {error}"),
        }
    }
    Ok(shares)
}
