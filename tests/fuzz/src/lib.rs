//! The targets, each as a function of its input's bytes, so that the fuzzer and the check of the committed corpus run the
//! same code; and what they share: the honest federation of the signer's own tests.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::new_without_default
)]

#[path = "../../../signer/core/tests/bitcoin_kit/mod.rs"]
pub mod bitcoin_kit;
#[path = "../../../signer/core/tests/fixtures/mod.rs"]
pub mod fixtures;

pub mod blocks;
pub mod reached;

pub mod auxpow;
pub mod chain;
pub mod deposits;
pub mod headers;
pub mod messages;
pub mod proofs;
pub mod sequence;
pub mod texts;

use reached::Reached;

/// A target: its name, itself, and the accepting paths that its corpus must reach.
pub struct FuzzTarget {
    pub name: &'static str,
    pub run: fn(&[u8]) -> Reached,
    pub paths: &'static [&'static str],
}

macro_rules! targets {
    ($($name:ident),*) => {
        /// Every target.
        pub const TARGETS: &[FuzzTarget] = &[$(FuzzTarget {
            name: stringify!($name),
            run: $name::run,
            paths: $name::PATHS,
        }),*];
    };
}
targets!(
    auxpow, chain, deposits, headers, messages, proofs, sequence, texts
);
