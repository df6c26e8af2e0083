//! Each way in which a device can be absent or wrong.

use alys_firmware_core::link::{Fingerprint, LinkFault, Rejection};
use alys_protocol::bytes::SpecDigest;
use alys_protocol::units::{ChainId, MemberId};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why a device does not serve. Every sentence says what to look at.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// Nothing is plugged in, or the path is another one.
    #[error("device {path}: there is no such path; is the device plugged in and powered? `device list` shows what is", path = path.display())]
    NoSuchPath {
        /// The path.
        path: PathBuf,
    },
    /// The user may not open it.
    #[error("device {path}: no permission; expected this user to be in the group that owns it", path = path.display())]
    NoPermission {
        /// The path.
        path: PathBuf,
    },
    /// It is no serial line.
    #[error("device {path}: expected a serial line or a Unix socket, found {found}", path = path.display())]
    NotALine {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Another process has it.
    #[error("device {path}: another process uses it", path = path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The operating system reports an error: the cable was pulled, the emulator ended.
    #[error("device {path}: the line failed: {error}", path = path.display())]
    Line {
        /// The path.
        path: PathBuf,
        /// What it reports.
        error: io::Error,
    },
    /// Nothing at all came.
    #[error("device {path}: silent for {waited:?}; expected a signer device there, powered and not halted", path = path.display())]
    Silent {
        /// The path.
        path: PathBuf,
        /// How long nothing came.
        waited: Duration,
    },
    /// Something came that is not the link's.
    #[error("device {path}: found {bytes} bytes that no signer device sends; another device, or another line speed?", path = path.display())]
    NotADevice {
        /// The path.
        path: PathBuf,
        /// Bytes that came.
        bytes: usize,
    },
    /// It speaks another version of the link.
    #[error("device {device}: expected version {expected} of the link, found {found}")]
    OtherVersion {
        /// Its short name.
        device: Fingerprint,
        /// Ours.
        expected: u8,
        /// Its.
        found: u8,
    },
    /// It is paired with no host.
    #[error("device {device} is paired with no host; pair it with `device pair`")]
    NotPaired {
        /// Its short name.
        device: Fingerprint,
    },
    /// It is the right device, and does not know this host.
    #[error("device {device} is paired with another host than this one; pair it again")]
    PairedWithAnother {
        /// Its short name.
        device: Fingerprint,
    },
    /// It is not the device that this host is paired with: a swapped cable.
    #[error("expected device {expected}, which this host is paired with, found device {found}")]
    OtherDevice {
        /// The paired one.
        expected: Fingerprint,
        /// The one on the line.
        found: Fingerprint,
    },
    /// It has no entropy, and opens no sessions.
    #[error("device {device} has no entropy: its random number generator fails its tests")]
    NoEntropy {
        /// Its short name.
        device: Fingerprint,
    },
    /// It understands other requests.
    #[error("device {device}: expected version {expected} of the requests, found {found}")]
    OtherProtocol {
        /// Its short name.
        device: Fingerprint,
        /// Ours.
        expected: u16,
        /// Its.
        found: u16,
    },
    /// It has no chain yet.
    #[error("device {device} is not provisioned for a chain")]
    NotProvisioned {
        /// Its short name.
        device: Fingerprint,
    },
    /// It signs for another chain.
    #[error("device {device}: expected chain {expected}, found {found}")]
    WrongChain {
        /// Its short name.
        device: Fingerprint,
        /// The configured chain.
        expected: ChainId,
        /// Its chain.
        found: ChainId,
    },
    /// It was provisioned with another chain spec.
    #[error("device {device}: expected chain spec {expected}, found {found}")]
    WrongSpec {
        /// Its short name.
        device: Fingerprint,
        /// Digest of the configured spec.
        expected: SpecDigest,
        /// Of its spec.
        found: SpecDigest,
    },
    /// It holds another member's keys.
    #[error("device {device}: expected member {expected}, found member {found}")]
    WrongMember {
        /// Its short name.
        device: Fingerprint,
        /// The configured member.
        expected: MemberId,
        /// Its member.
        found: MemberId,
    },
    /// It is there, and has not answered in time.
    #[error("device {device} is busy: no answer within {waited:?}")]
    Busy {
        /// Its short name.
        device: Fingerprint,
        /// How long it had.
        waited: Duration,
    },
    /// It did not take the request.
    #[error("device {device} did not take the request: {why}")]
    Rejected {
        /// Its short name.
        device: Fingerprint,
        /// Why.
        why: Rejection,
    },
    /// Sessions broke one after the other.
    #[error("device {device}: {sessions} sessions in a row broke before there was an answer")]
    Unstable {
        /// Its short name.
        device: Fingerprint,
        /// How many.
        sessions: u32,
    },
    /// The file that `device pair` writes.
    #[error("pairing {path}: {reason}", path = path.display())]
    PairingFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nobody has opened the device for pairing.
    #[error("device {device} is not open for pairing: open it at the device, then try again")]
    PairingClosed {
        /// Its short name.
        device: Fingerprint,
    },
    /// The typed code is another one than this host computed: a typing error, or somebody on the line.
    #[error(
        "the code is not the one that this host expects: somebody may sit on the line; nothing was paired"
    )]
    WrongCode,
    /// The person said no at the device.
    #[error("the pairing was refused at the device")]
    Denied,
    /// The device did not reveal what it had committed to.
    #[error(
        "the device did not keep its commitment: somebody sits on the line; nothing was paired"
    )]
    Forged,
    /// Nobody pressed the button.
    #[error("no press of the device's button within {waited:?}; nothing was paired")]
    NoButton {
        /// How long was waited.
        waited: Duration,
    },
    /// This end cannot.
    #[error(transparent)]
    Fault(#[from] LinkFault),
}

impl DeviceError {
    /// Whether the device is just not there now, or does not speak: it may come. Everything else needs a person.
    pub fn is_absence(&self) -> bool {
        self.may_pass()
            || matches!(
                self,
                Self::Silent { .. } | Self::InUse { .. } | Self::Busy { .. }
            )
    }

    /// Whether the line broke, or its path is not there: a cable that may be plugged in again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Line { .. } | Self::NoSuchPath { .. } => true,
            Self::NoPermission { .. }
            | Self::NotALine { .. }
            | Self::InUse { .. }
            | Self::Silent { .. }
            | Self::NotADevice { .. }
            | Self::OtherVersion { .. }
            | Self::NotPaired { .. }
            | Self::PairedWithAnother { .. }
            | Self::OtherDevice { .. }
            | Self::NoEntropy { .. }
            | Self::OtherProtocol { .. }
            | Self::NotProvisioned { .. }
            | Self::WrongChain { .. }
            | Self::WrongSpec { .. }
            | Self::WrongMember { .. }
            | Self::Busy { .. }
            | Self::Rejected { .. }
            | Self::Unstable { .. }
            | Self::PairingFile { .. }
            | Self::PairingClosed { .. }
            | Self::WrongCode
            | Self::Denied
            | Self::Forged
            | Self::NoButton { .. }
            | Self::Fault(_) => false,
        }
    }
}
