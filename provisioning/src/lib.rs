//! Provisioning: what a federation needs before its first block (design 1).
//!
//! | module | makes |
//! |---|---|
//! | [`ca`] | certificate authorities, and the certificates by which signers and their clients know each other |
//! | [`parameters`], [`mod@assemble`] | the chain spec, from what the members agreed on and the cards their signers printed |
//! | [`ceremony`] | the same step by step, each member confirming the result |
//! | [`mod@check`] | what a chain spec means, for people to compare before genesis |
//! | [`config`] | configuration files of signers and nodes, and the policy to start from |
//! | [`officer`] | officers' keys and signatures |
//! | [`paper`] | what they sign |
//!
//! Members' keys are not made here: `alys-signer init` makes them where they stay, and prints the public card that
//! [`assemble()`] takes.

pub mod assemble;
pub mod ca;
pub mod card;
pub mod ceremony;
pub mod check;
pub mod cli;
pub mod config;
pub mod files;
pub mod officer;
pub mod paper;
pub mod parameters;

pub use assemble::{AssembleError, assemble};
pub use ca::{CaError, CertificateAuthority, Credentials};
pub use card::MemberCard;
pub use check::{CheckError, Report, check};
pub use officer::{Officer, OfficerError, OfficersConfig};
pub use paper::{Paper, PaperError};
pub use parameters::{MemberParameters, Parameters, Regtest};
