//! `alys-signer audit`: what an auditor does with a log. None of it needs a key, and all but `--state` no signer.

use super::archive::{Archive, ArchiveError};
use super::entry::{Entry, Event, Sequence, Verdict, entry_hash};
use super::named::Named;
use super::open::{export, open_state, public_key};
use super::replay::{self, ReplayError};
use super::show::Line;
use super::verify::{self, Break, Expectations, Report};
use super::{AuditError, AuditPublicKey};
use crate::authority::Operation;
use crate::store::StoreError;
use alys_protocol::bytes::{Digest, HexError};
use alys_protocol::rules::Rule;
use alys_protocol::units::ChainId;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Find the first place where a log was changed: its chain, its checkpoints, its states.
    Verify(Verify),
    /// Print entries, one a line.
    Show(Show),
    /// Write a log, its checkpoints and its evidence, spec and policy to one file.
    Export(Export),
    /// Ask the core again: every decision must come out as recorded, byte for byte.
    Replay(Replay),
    /// Print the public key that signs the log's checkpoints.
    Key(Key),
}

/// Where the log is.
#[derive(Debug, Args)]
pub struct Source {
    /// The log's files, or folders that have them (`state.redb.audit`), in any order.
    #[arg(value_name = "FILE", required_unless_present = "state")]
    files: Vec<PathBuf>,
    /// The state of a signer that does not run: its whole log.
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    state: Option<PathBuf>,
}

/// `audit verify`.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    source: Source,
    /// The audit key that the checkpoints must be signed with, as `audit key` printed it at the signer.
    #[arg(long, value_name = "HEX")]
    key: Option<AuditPublicKey>,
    /// An earlier end that the log must include: how many entries there were and the last one's hash.
    #[arg(long, value_name = "COUNT:HASH")]
    includes: Option<Known>,
}

/// `audit show`.
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    source: Source,
    /// Only decisions of this kind.
    #[arg(long, value_enum)]
    decision: Option<DecisionKind>,
    /// Only refusals by this rule.
    #[arg(long, value_name = "ID", value_parser = by_name::<Rule>)]
    rule: Option<Rule>,
    /// Only decisions about this operation.
    #[arg(long, value_name = "NAME", value_parser = by_name::<Operation>)]
    operation: Option<Operation>,
    /// JSON, an object a line.
    #[arg(long)]
    json: bool,
}

/// A kind of decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DecisionKind {
    /// Something new was signed.
    Yes,
    /// A recorded signature was given again.
    Repeat,
    /// Refused.
    No,
}

/// `audit export`.
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    source: Source,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// First entry; from the log's first without it.
    #[arg(long, value_name = "ENTRY")]
    from: Option<u64>,
    /// Last entry; to the log's last without it.
    #[arg(long, value_name = "ENTRY")]
    to: Option<u64>,
}

/// `audit replay`.
#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    source: Source,
    /// Succeed where decisions were left out because evidence is not here any more, as long as no other one differs.
    #[arg(long)]
    partial: bool,
}

/// `audit key`.
#[derive(Debug, Args)]
pub struct Key {
    /// The state of a signer that does not run.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
}

/// An end that a log had.
#[derive(Debug, Clone, Copy)]
pub struct Known(Sequence, Digest);

impl FromStr for Known {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (count, hash) = text
            .split_once(':')
            .ok_or_else(|| "expected COUNT:HASH".to_owned())?;
        let count = count
            .parse()
            .map_err(|error: std::num::ParseIntError| error.to_string())?;
        let hash = hash.parse().map_err(|error: HexError| error.to_string())?;
        Ok(Self(Sequence::new(count), hash))
    }
}

fn by_name<T: Named>(name: &str) -> Result<T, String> {
    T::of_name(name).ok_or_else(|| {
        let names: Vec<&str> = T::ALL.iter().map(|variant| variant.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Why an audit failed, in words for its user.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each variant is its source's error")]
pub enum AuditCliError {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the log is broken: {0}")]
    Broken(#[from] Break),
    #[error("the log does not replay: {0}")]
    Replay(#[from] ReplayError),
    #[error(
        "replayed {identical} decisions, and left out {left_out} whose evidence or state is not here; `--partial` accepts that"
    )]
    Incomplete { identical: u64, left_out: u64 },
    #[error("a signer runs with {state}; the complete segments of its log are in {folder} and can be read meanwhile", state = state.display(), folder = folder.display())]
    Running { state: PathBuf, folder: PathBuf },
    #[error("expected entries {first} to before {end}, found {from} to before {to}")]
    Range {
        first: Sequence,
        end: Sequence,
        from: Sequence,
        to: Sequence,
    },
    #[error("expected a policy for chain {log}, which the log is of, found one for chain {policy}")]
    OtherChain { policy: ChainId, log: ChainId },
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// Runs a command.
///
/// # Errors
/// - [`AuditCliError`] with a sentence for the user.
pub fn run(command: &AuditCommand) -> Result<(), AuditCliError> {
    match command {
        AuditCommand::Verify(arguments) => {
            let expected = Expectations {
                key: arguments.key,
                includes: arguments.includes.map(|Known(count, hash)| (count, hash)),
            };
            let archive = arguments.source.open()?;
            print(&verify::verify(&archive, &expected)?)
        }
        AuditCommand::Show(arguments) => show(arguments),
        AuditCommand::Export(arguments) => print(&arguments.run()?),
        AuditCommand::Replay(arguments) => {
            let archive = arguments.source.open()?;
            verify::verify(&archive, &Expectations::default())?;
            let replayed = replay::replay(&archive)?;
            print(&replayed)?;
            if replayed.is_complete() || arguments.partial {
                return Ok(());
            }
            Err(AuditCliError::Incomplete {
                identical: replayed.identical,
                left_out: replayed
                    .without_evidence
                    .saturating_add(replayed.without_state),
            })
        }
        AuditCommand::Key(arguments) => {
            let key =
                public_key(&arguments.state).map_err(|error| running(&arguments.state, error))?;
            writeln!(io::stdout(), "{key}")?;
            Ok(())
        }
    }
}

impl Source {
    /// Reads the log.
    ///
    /// # Errors
    /// - [`AuditCliError`] where it cannot be read.
    pub fn open(&self) -> Result<Archive, AuditCliError> {
        if let Some(state) = &self.state {
            return open_state(state).map_err(|error| running(state, error));
        }
        let mut files = Vec::new();
        for path in &self.files {
            if path.is_dir() {
                files.extend(super::folder::Folder::at(path.clone()).files()?);
            } else {
                files.push(path.clone());
            }
        }
        Ok(Archive::open(&files)?)
    }
}

fn running(state: &Path, error: AuditError) -> AuditCliError {
    if !matches!(error, AuditError::Store(StoreError::InUse { .. })) {
        return error.into();
    }
    AuditCliError::Running {
        state: state.to_owned(),
        folder: super::folder::Folder::of_state(state).path().to_owned(),
    }
}

impl Export {
    /// Writes the file, and verifies what it wrote.
    fn run(&self) -> Result<Report, AuditCliError> {
        let archive = self.source.open()?;
        let (first, end) = archive.range();
        let from = self.from.map_or(first, Sequence::new);
        let to = self.to.map_or(end, |last| Sequence::new(last).next());
        if from < first || to > end || from >= to {
            return Err(AuditCliError::Range {
                first,
                end,
                from,
                to,
            });
        }
        export(&archive, from..to, &self.out)?;
        let written = Archive::open(&[&self.out])?;
        Ok(verify::verify(&written, &Expectations::default())?)
    }
}

fn show(arguments: &Show) -> Result<(), AuditCliError> {
    #[derive(Serialize)]
    struct Row<'a> {
        hash: Digest,
        #[serde(flatten)]
        entry: &'a Entry,
    }
    let archive = arguments.source.open()?;
    let (mut sequence, end) = archive.range();
    let chain = archive.chain().ok_or(Break::Empty)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    while sequence < end {
        let bytes = archive.entry(sequence)?.ok_or(Break::Missing(sequence))?;
        let entry = Entry::decode(&bytes).map_err(ArchiveError::from)?;
        if arguments.shows(&entry) {
            if arguments.json {
                let row = Row {
                    hash: entry_hash(chain, &bytes),
                    entry: &entry,
                };
                let line = serde_json::to_string(&row).map_err(io::Error::other)?;
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{}", Line(&entry))?;
            }
        }
        sequence = sequence.next();
    }
    out.flush()?;
    Ok(())
}

impl Show {
    fn shows(&self, entry: &Entry) -> bool {
        let (verdict, operation) = match &entry.event {
            Event::Decided(decided) => (&decided.verdict, decided.operation),
            Event::Stated(stated) => (&stated.verdict, Operation::Statement),
            Event::Standing(_) | Event::Counted(_) | Event::Approved(_) | Event::Raised(_) => {
                return self.decision.is_none() && self.rule.is_none() && self.operation.is_none();
            }
        };
        let (kind, by) = match verdict {
            Verdict::Signed { .. } | Verdict::Accepted => (DecisionKind::Yes, None),
            Verdict::Repeated { .. } => (DecisionKind::Repeat, None),
            Verdict::Refused { rule, .. } => (DecisionKind::No, Some(*rule)),
        };
        self.decision.is_none_or(|wanted| wanted == kind)
            && self.rule.is_none_or(|wanted| Some(wanted) == by)
            && self.operation.is_none_or(|wanted| wanted == operation)
    }
}

fn print<T: Serialize>(value: &T) -> Result<(), AuditCliError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}
