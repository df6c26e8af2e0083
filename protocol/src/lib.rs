//! Types, ids, proofs and wire encodings shared by every tier of Alys.
//!
//! This crate is `no_std` and pure: it knows no clock, no randomness, no log and no IO, so the same bytes mean the
//! same thing in the node, in the signer daemon and on the signer device.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm
    )
)]

extern crate alloc;

pub mod asert;
pub mod auxpow;
pub mod block;
pub mod bls;
pub mod body;
pub mod bounded;
pub mod bytes;
pub mod ceremony;
pub mod certificate;
pub mod execution;
pub mod federation;
pub mod hash;
pub mod header;
pub mod history;
pub mod peg;
pub mod rules;
pub mod signer;
pub mod spec;
pub mod units;
