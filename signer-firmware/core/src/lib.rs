//! What the signer device needs beside the signer core, tested on the host: for now the framing of its serial link.
//!
//! `no_std`, no allocator, no unsafe code. A board crate feeds bytes in and takes messages out.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm
    )
)]

mod crc;
pub mod frame;
pub mod link;

pub use frame::{Decoder, FrameError, encode, encoded_length};
