//! The signer device's shell: the same requests and replies as the daemon's, judged by the same core, generic over the
//! board ([`alys_firmware_platform::Platform`]).
//!
//! ```text
//! message -> Device::handle -> judge (alys-signer-core) -> journal -> counter -> sign -> reply
//! ```
//!
//! Nothing is released before the flash records it ([`alys_signer_core::persist`]), and nothing where the flash's state is
//! not the newest ([`alys_signer_core::freshness`]). `no_std` with an allocator; every request is bounded by
//! [`MAX_MESSAGE_BYTES`] before it is read, and every state by the sizes in [`layout`].
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm
    )
)]

extern crate alloc;

mod circumstances;
pub mod command;
mod decode;
mod device;
mod headers;
mod journal;
mod keys;
pub mod layout;
mod minisign;
mod provision;
mod serving;
mod state;

pub use device::Device;
pub use minisign::{OfficerError, TrustedOfficers};

/// Bytes of one message at most: a peg-out of 50 burns with its evidence has 110 KB.
pub const MAX_MESSAGE_BYTES: usize = 120 << 10;
/// Bitcoin headers in one message at most: the ring is in flash, but judged headers are in memory three times.
pub const MAX_HEADERS: usize = 600;
/// Slots of one lease of the monotonic counter: 158 million slots in ten years are 2.1 million of its steps.
pub const LEASE_SLOTS: u64 = 75;
/// How far past its clock the device signs (design 5): its clock is the median time at its last header and the time since.
pub const HORIZON_MS: u64 = 6 * 60 * 60 * 1000;
