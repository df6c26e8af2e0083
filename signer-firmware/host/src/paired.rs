//! What a host keeps of a pairing.

use crate::error::DeviceError;
use alys_firmware_core::link::{LinkFault, PublicKey, StaticKey};
use alys_protocol::bytes::from_hex;
use serde::Deserialize;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of the file at most.
const MAX_BYTES: u64 = 4096;
const FORMAT: u32 = 1;

/// The device's public key, and the host's own, which is secret: whoever has it is this host to the device. Never printed.
pub struct PairingFile {
    key: StaticKey,
    device: PublicKey,
}

impl core::fmt::Debug for PairingFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PairingFile({})", self.device.fingerprint())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    /// The device's public key, hex.
    device: String,
    /// The host's secret key, hex.
    host_key: String,
}

impl PairingFile {
    pub(crate) fn new(key: StaticKey, device: PublicKey) -> Self {
        Self { key, device }
    }

    /// Reads a file that [`Self::to_text`] was written to. Only its owner may read it.
    ///
    /// # Errors
    /// - [`DeviceError::PairingFile`] where that is not so.
    pub fn read(path: &Path) -> Result<Self, DeviceError> {
        let wrong = |reason: String| DeviceError::PairingFile {
            path: path.to_owned(),
            reason,
        };
        let metadata = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(wrong(format!(
                "expected a file that only its owner may read (mode 600), found mode {mode:o}"
            )));
        }
        if metadata.len() > MAX_BYTES {
            return Err(wrong(format!(
                "expected at most {MAX_BYTES} bytes, found {}",
                metadata.len()
            )));
        }
        let text = fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| wrong(error.to_string()))?;
        // The parser's own words would quote the line, which may be the secret one.
        let text: Text =
            toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        let secret = Zeroizing::new(text.host_key);
        if text.format != FORMAT {
            return Err(wrong(format!(
                "expected format {FORMAT}, found {}",
                text.format
            )));
        }
        let device = from_hex(&text.device).map_err(|error| wrong(format!("device: {error}")))?;
        // Nor its characters here.
        let key = from_hex(&secret)
            .map_err(|_| wrong("host_key: expected 32 bytes of hex".to_owned()))?;
        Ok(Self {
            key: StaticKey::new(Zeroizing::new(key)),
            device: PublicKey::new(device),
        })
    }

    /// The file's text, with the secret in it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(512));
        text.push_str("# The pairing of this host with a signer device. It holds a secret: mode 600, and no copies.\n");
        text.push_str(&format!("format = {FORMAT}\ndevice = \""));
        push_hex(&mut text, &self.device.to_bytes());
        text.push_str("\"\nhost_key = \"");
        push_hex(&mut text, self.key.to_bytes().as_slice());
        text.push_str("\"\n");
        text
    }

    /// The device.
    pub fn device(&self) -> PublicKey {
        self.device
    }

    /// The host's public key, which the device knows.
    ///
    /// # Errors
    /// - [`LinkFault`] where the build lacks a primitive.
    pub fn host(&self) -> Result<PublicKey, LinkFault> {
        self.key.public()
    }

    pub(crate) fn key(&self) -> &StaticKey {
        &self.key
    }
}

/// Writes hex digit by digit: no copy is left behind.
fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
}
