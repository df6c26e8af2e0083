//! Aura slots, Streamlet votes, certificates and finality (design 5), sans-IO.
//!
//! [`BlockTree`] holds headers, certificates and verdicts on validity, and says which chain is certified and which is
//! final. [`Consensus`] drives it for one node: inputs in, outputs to carry out. Neither does IO, reads a clock, draws
//! randomness or does curve arithmetic: signatures are checked when a value becomes a `Verified…`, by the shell.
//!
//! Safety does not rest on this crate: the signer enforces the voting rules against any node. This crate is what an
//! honest node does so that signers agree and the chain grows.
//!
//! # How a shell drives it
//!
//! - Start: [`BlockTree::restore`] from the stored [`Anchor`] and certificate of the newest final block
//!   ([`BlockTree::new`] at first), [`Consensus::new`], then every stored block above as [`Input::Proposal`], lowest
//!   first, and the tips' certificates as [`Input::Certificate`].
//! - Run: [`Consensus::step`] with one input at a time, its outputs in order; [`Input::Tick`] at
//!   [`Consensus::next_deadline`].
//! - Catch up: a range through [`VerifiedProposal::verify_all`], lowest first, then those of the certificates beside it that
//!   it still lacks ([`Consensus::lacks_certificate`]) through [`VerifiedCertificate::verify_all`].
//! - On [`Output::Final`], store [`BlockTree::anchor`] of the last block; on [`Output::Certified`], the certificate; on
//!   [`Output::Validate`], the block once it is valid. All of this before outputs that follow are released.
//! - Send [`BlockTree::head`]'s certificate with the node's status: it is how a node that missed messages learns that it
//!   is behind. Certificates of blocks that are in the store already are not put in again.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm
    )
)]

mod evidence;
mod machine;
mod message;
mod orphans;
mod pool;
mod tree;
mod verified;

pub use evidence::Evidence;
pub use machine::Consensus;
pub use message::{Input, Output, UnixMs, VotingState};
pub use tree::{
    Anchor, BlockRef, BlockTree, Changes, InsertError, RestoreError, UnknownBlock, Validity,
};
pub use verified::{
    MAX_BATCH, ProposalError, VerifiedApproval, VerifiedCertificate, VerifiedProposal,
};
