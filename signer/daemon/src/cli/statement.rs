//! `alys-signer statement`: what officers say to one signer.
//!
//! `draft` needs a certificate of role `officer`; officers then sign the file offline (`alys-provision officer sign`, or
//! minisign itself), each signature beside it as `FILE.NAME.minisig`; `submit` hands in all of them.

use super::{CliError, connect, io_error, print, say};
use crate::files::{Existing, write_durably};
use crate::policy_file::{read_text, signatures};
use crate::statement::parse;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::signer::{Challenge, MAX_SIGNATURE_BYTES, MAX_STATEMENT_BYTES, SignedStatement};
use alys_protocol::units::{BtcHeight, BurnSequence, SideHeight};
use alys_signer_core::admin::statement::{Act, Skipped, Statement, Vouched, explain};
use alys_signer_core::btc::Checkpoint;
use bitcoin::BlockHash;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// `statement`.
#[derive(Debug, Subcommand)]
pub enum StatementCommand {
    /// Print what a statement to a running signer must name: its member, the last number, and an open challenge (JSON).
    Challenge(Client),
    /// Write a statement for officers to sign, and say what it does.
    #[command(subcommand)]
    Draft(Draft),
    /// Say in plain language what a statement does. Its comments are not looked at: signers do not look at them either.
    Explain {
        /// The statement (TOML).
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Hand in a statement with the signatures beside it (FILE.NAME.minisig).
    Submit {
        /// Which signer.
        #[command(flatten)]
        client: Client,
        /// The statement (TOML).
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Which signer.
#[derive(Debug, Args)]
pub struct Client {
    /// Client configuration (TOML) with a certificate of role `officer`.
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
}

/// Where a draft goes.
#[derive(Debug, Args)]
pub struct Target {
    #[command(flatten)]
    client: Client,
    /// File to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// What to draft.
#[derive(Debug, Subcommand)]
pub enum Draft {
    /// No peg-outs until a quorum of officers resumes them; one officer's signature is enough.
    Pause(Target),
    /// Peg-outs again.
    Resume(Target),
    /// Batches may leave a burn unpaid: what was burned stays locked.
    Skip {
        /// Which signer, and where to write.
        #[command(flatten)]
        target: Target,
        /// The burn's number; it must be in a final block.
        #[arg(long, value_name = "NUMBER")]
        burn: u64,
    },
    /// The signer's chain of Bitcoin headers starts anew from a block, because the signer cannot go on from what it has.
    Anchor {
        /// Which signer, and where to write.
        #[command(flatten)]
        target: Target,
        /// The block's height; one that has many confirmations.
        #[arg(long, value_name = "HEIGHT")]
        height: u32,
        /// The block's hash, as `bitcoin-cli getblockhash` prints it.
        #[arg(long, value_name = "HASH")]
        hash: BlockHash,
    },
    /// The signer's state is safe from these marks on, although no outside counter shows that it is the newest.
    Fresh {
        /// Which signer, and where to write.
        #[command(flatten)]
        target: Target,
        /// The height from the newest certificates of q live signers, as their `status` shows it (`lock`).
        #[arg(long, value_name = "HEIGHT")]
        lock: u64,
        /// One past the highest burn that any signed batch has, as the other signers' `status` shows it (`next_burn`).
        #[arg(long, value_name = "NUMBER")]
        next_burn: u64,
        /// Slots from now until the statement must be handed in; the signer is silent for as long, and the horizon more.
        #[arg(long, value_name = "SLOTS", default_value_t = 900)]
        valid_slots: u64,
    },
}

pub(super) fn run(command: &StatementCommand) -> Result<(), CliError> {
    match command {
        StatementCommand::Challenge(client) => print(&ask(client)?),
        StatementCommand::Draft(draft) => write_draft(draft),
        StatementCommand::Explain { file } => {
            let text = read(file)?;
            say(&explain(&parsed(file, &text)?))
        }
        StatementCommand::Submit { client, file } => submit(client, file),
    }
}

fn ask(client: &Client) -> Result<Challenge, CliError> {
    let (runtime, client) = connect(&client.client)?;
    Ok(runtime.block_on(client.challenge())?)
}

fn write_draft(draft: &Draft) -> Result<(), CliError> {
    let (Draft::Pause(target)
    | Draft::Resume(target)
    | Draft::Skip { target, .. }
    | Draft::Anchor { target, .. }
    | Draft::Fresh { target, .. }) = draft;
    let challenge = ask(&target.client)?;
    let act = match draft {
        Draft::Pause(_) => Act::Pause,
        Draft::Resume(_) => Act::Resume,
        Draft::Skip { burn, .. } => Act::Skip(Skipped {
            burn: BurnSequence::new(*burn),
        }),
        Draft::Anchor { height, hash, .. } => Act::Anchor(Checkpoint {
            height: BtcHeight::new(*height),
            hash: *hash,
        }),
        Draft::Fresh {
            lock,
            next_burn,
            valid_slots,
            ..
        } => Act::Fresh(Vouched {
            challenge: challenge.nonce,
            // Above what it must be above when it is handed in.
            slot_floor: challenge
                .slot
                .saturating_add(challenge.horizon_slots)
                .saturating_add(valid_slots.saturating_add(1)),
            lock: SideHeight::new(*lock),
            next_burn: BurnSequence::new(*next_burn),
        }),
    };
    let statement = Statement {
        chain_id: challenge.chain_id,
        member: challenge.member,
        number: challenge.last_statement.saturating_add(1),
        act,
    };
    let path = &target.output;
    let explained = explain(&statement);
    let mut text = String::new();
    for line in explained.lines() {
        text.push_str(format!("# {line}").trim_end());
        text.push('\n');
    }
    let body = toml::to_string(&statement).map_err(|error| wrong(path, error))?;
    text.push_str(&body);
    write_durably(path, text.as_bytes(), Existing::Refuse)
        .map_err(io_error(format!("cannot write {}", path.display())))?;
    say(&explained)
}

/// What a signer answered.
#[derive(Serialize)]
struct Stated {
    /// The statement's number.
    accepted: u64,
}

fn submit(client: &Client, file: &Path) -> Result<(), CliError> {
    let text = read(file)?;
    // Said here rather than by the signer, which knows no file.
    parsed(file, &text)?;
    let mut signed = Vec::new();
    for path in signatures(file)? {
        let signature = read_text(&path, MAX_SIGNATURE_BYTES as u64)?.into_bytes();
        signed.push(BoundedVec::new(signature).map_err(|error| wrong(&path, error))?);
    }
    let request = SignedStatement {
        text: BoundedVec::new(text.into_bytes()).map_err(|error| wrong(file, error))?,
        signatures: BoundedVec::new(signed).map_err(|error| wrong(file, error))?,
    };
    let (runtime, client) = connect(&client.client)?;
    let number = runtime.block_on(client.statement(request))?;
    print(&Stated {
        accepted: number.get(),
    })
}

fn read(path: &Path) -> Result<String, CliError> {
    Ok(read_text(path, MAX_STATEMENT_BYTES as u64)?)
}

fn parsed(path: &Path, text: &str) -> Result<Statement, CliError> {
    parse(text.as_bytes()).map_err(|error| wrong(path, format!("{error:?}")))
}

fn wrong(path: &Path, reason: impl ToString) -> CliError {
    CliError::Statement {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
