//! The signer's rules and decisions (design 10), the same code in the daemon, on the device and in the auditor's replay.
//!
//! This crate is `no_std`, pure and sans-IO. [`Signer`] judges a request against the durable state and gives either a
//! refusal, which names the rule, or a [`persist::Pending`] decision. A pending decision shows what is to be signed only
//! after the state that records it was written: see [`persist`].
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

pub mod admin;
pub mod btc;
pub mod catalogue;
pub mod clock;
pub mod freshness;
pub mod mint;
pub mod pegout;
pub mod persist;
pub mod policy;
pub mod pow;
pub mod proof;
mod refusal;
pub mod signer;
pub mod state;
pub mod vote;
pub mod watermarks;
pub mod window;

pub use persist::{Decision, Durable, Pending, Persisted};
pub use policy::{Policy, PolicyError};
pub use signer::{SetupError, Signer};
