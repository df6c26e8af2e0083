//! `officer share`: what an officer does on an offline machine when a backup is to be opened elsewhere.

use crate::backup::Backup;
use crate::error::BackupError;
use crate::identity::Identity;
use crate::officer::Recipient;
use crate::share::hand_over;
use clap::Args;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Hand over your share of a backup: decrypt it, and encrypt it to the machine where the backup is opened.
#[derive(Debug, Args)]
pub struct ShareCommand {
    /// Folder of the backup: backup.json, and your share in it.
    #[arg(long, value_name = "DIR")]
    backup: PathBuf,
    /// Your age identity file, as age-keygen made it, also where a passphrase protects it.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// The recipient that the other machine shows; compare it with that machine's screen, not with a message.
    #[arg(long, value_name = "AGE1...")]
    to: String,
    /// File to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

impl ShareCommand {
    /// Runs it; `ask` reads the passphrase of an identity file that needs one. What it does is said to `out` first.
    ///
    /// # Errors
    /// - [`BackupError`] as [`hand_over`] has it, and where the output exists or cannot be written.
    pub fn run(
        &self,
        ask: impl FnOnce() -> io::Result<Zeroizing<String>>,
        out: &mut impl Write,
    ) -> Result<(), BackupError> {
        let to: Recipient = self.to.parse()?;
        let backup = Backup::read(&self.backup)?;
        let header = backup.header();
        let (holder, threshold) = (&header.holder, header.threshold);
        let io = |path: &PathBuf| {
            let path = path.clone();
            move |error| BackupError::Io { path, error }
        };
        writeln!(
            out,
            "Backup {id} of the keys of member {member} on chain {chain}; {threshold} of {count} officers open it.\n\
             Whoever holds the secret key of {to} gets your share of them.",
            id = header.id,
            member = holder.member,
            chain = holder.chain_id,
            count = header.shares.len(),
        )
        .map_err(io(&PathBuf::from("standard output")))?;
        let identity = Identity::read(&self.identity, ask)?;
        let sealed = hand_over(&backup, &self.backup, &identity, &to)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.output)
            .and_then(|mut file| {
                file.write_all(sealed.as_str().as_bytes())?;
                file.sync_all()
            })
            .map_err(io(&self.output))
    }
}
