//! The host's end of the signer device's link (ADR 0018): finds the device, pairs with it, and asks it, with deadlines.
//!
//! The protocol itself is `alys_firmware_core::link`, sans-IO; here are the file descriptor and the clock. Everything blocks:
//! a device answers one request at a time, so its one user is a thread that waits.

mod connection;
mod device;
mod discover;
mod error;
mod line;
mod pair;
mod paired;

pub use alys_firmware_core::link::{Announcement, Fingerprint, Hello, Pairedness};
pub use device::{Device, Expected, Settings, Timing};
pub use discover::{BY_ID, Candidate, list, probe};
pub use error::DeviceError;
pub use line::{DEFAULT_SPEED, Line};
pub use pair::{Person, pair};
pub use paired::PairingFile;

use alys_firmware_core::link::{Entropy, NoEntropy};
use zeroize::Zeroizing;

/// The operating system's entropy.
struct HostEntropy;

impl Entropy for HostEntropy {
    fn fresh(&mut self) -> Result<Zeroizing<[u8; 32]>, NoEntropy> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| NoEntropy)?;
        Ok(bytes)
    }
}
