//! What the targets share: the honest federation of the signer's own tests.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

#[path = "../../../signer/core/tests/bitcoin_kit/mod.rs"]
pub mod bitcoin_kit;
#[path = "../../../signer/core/tests/fixtures/mod.rs"]
pub mod fixtures;

/// Cuts bytes into pieces: one byte of length, that many bytes, and so on.
pub fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (piece, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
