//! Why a step of the ceremony is refused.

use super::spend::SpendError;
use crate::assemble::AssembleError;
use crate::check::CheckError;
use crate::config::ConfigError;
use crate::files::FileError;
use crate::officer::OfficerError;
use crate::parameters::ParametersError;
use alys_protocol::ceremony::{CardError, CeremonyId};
use alys_protocol::spec::SpecError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a step of the ceremony is refused.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum CeremonyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: expected what an earlier step of a ceremony wrote: {error}", path = path.display())]
    Json {
        path: PathBuf,
        error: serde_json::Error,
    },
    #[error("cannot be written as JSON: {0}")]
    Encode(serde_json::Error),
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error(transparent)]
    Officer(#[from] OfficerError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Spend(#[from] SpendError),
    #[error("members: expected a name of at most 64 letters, digits and dashes, found {0:?}")]
    Name(String),
    #[error("expected an officer of each member ({members}), found officers of {found}")]
    Officers { members: String, found: String },
    #[error("expected another officer for each member, found one key for {first:?} and {second:?}")]
    OneOfficer { first: String, second: String },
    #[error("expected a public key (minisign) of the officer of {member:?}: {reason}")]
    OfficerKey { member: String, reason: String },
    #[error("card of {member:?}: expected one of ceremony {expected}, found one of {found}")]
    OtherCeremony {
        member: String,
        expected: CeremonyId,
        found: CeremonyId,
    },
    #[error("expected cards of the members only, each under its member's name, found one of {0:?}")]
    Stranger(String),
    #[error("card of {member:?}: {error}")]
    Card { member: String, error: CardError },
    #[error(
        "expected different keys and authorities, found the same {what} with {first:?} and {second:?}"
    )]
    Shared {
        what: &'static str,
        first: String,
        second: String,
    },
    #[error("{whose}: expected a key that nobody else knows, found a {what} key that {why}")]
    Weak {
        whose: String,
        what: &'static str,
        why: &'static str,
    },
    #[error("expected a card of each member, found none of {0}")]
    MissingCards(String),
    #[error("{path}: expected what follows from the files before it, found something else; nothing is replaced: find out who changed it", path = path.display())]
    Differs { path: PathBuf },
    #[error("expected a member of the ceremony, found {0:?}")]
    NoMember(String),
    #[error(
        "expected the key of the officer that {0:?} named when the ceremony began, found another one"
    )]
    OtherOfficer(String),
    #[error("expected a confirmation of each member, found none of {0}")]
    MissingConfirmations(String),
    #[error("confirmation of {member:?}: {reason}")]
    Confirmation { member: String, reason: String },
    #[error("members derived different results:\n{0}")]
    Disagreement(String),
    #[error("the ceremony is not closed: run `ceremony close` once all have confirmed")]
    NotClosed,
    #[error(
        "no spend from the deposit address was shown yet: run `ceremony spend-test` first; until then it must not be published"
    )]
    NoSpendTest,
    #[error("rehearsal: {0}")]
    Rehearsal(String),
}
