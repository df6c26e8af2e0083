//! Tests of the consensus crate: its tree, its state machine, a simulator of whole federations, and the search that
//! shows that each voting rule is needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's exception for tests does not reach their helper functions"
)]

mod batch;
mod federation;
mod machine;
mod order;
mod search;
mod signed;
mod signer;
mod simulator;
mod tree;
mod verified;
