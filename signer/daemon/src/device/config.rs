//! The configuration of a daemon whose keys are in a device: the one with the table `[device]`.

use crate::config::{ConfigError, ENVIRONMENT_PREFIX, Limits, Overrides, TlsConfig};
use alys_device_host::{DEFAULT_SPEED, DeviceError, Expected, PairingFile, Settings, Timing};
use alys_protocol::spec::Chain;
use alys_protocol::units::MemberId;
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration file. Relative paths are relative to its directory. It has no keys, no state, no policy and no officers:
/// the device has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayConfig {
    /// The chain spec (TOML), the same file that the nodes have.
    pub chain_spec: PathBuf,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// File that the bound address is written to, for programs that start the signer.
    #[serde(default)]
    pub listen_file: Option<PathBuf>,
    /// Filter of the log, in `tracing`'s notation.
    #[serde(default = "default_log")]
    pub log: String,
    /// Certificates.
    pub tls: TlsConfig,
    /// Limits of the transport.
    #[serde(default)]
    pub limits: Limits,
    /// The device.
    pub device: DeviceConfig,
}

/// The device, and how long things may take with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// The serial line, best by its lasting name in `/dev/serial/by-id`; or an emulator's Unix socket.
    pub path: PathBuf,
    /// The file that `device pair` wrote.
    pub paired: PathBuf,
    /// The member whose keys the device must hold.
    pub member: MemberId,
    /// Log of requests: JSON lines, each with the hash of the one before.
    pub request_log: PathBuf,
    /// Bits per second of the line; one over USB has its own speed.
    #[serde(default = "default_speed")]
    pub speed: u32,
    /// Milliseconds from a request to its answer.
    #[serde(default = "default_answer")]
    pub answer_timeout_ms: u64,
    /// Milliseconds without a sign of life, from a device that did not say that it is busy.
    #[serde(default = "default_silence")]
    pub silence_timeout_ms: u64,
}

fn default_log() -> String {
    "info".to_owned()
}

const fn default_speed() -> u32 {
    DEFAULT_SPEED
}

const fn default_answer() -> u64 {
    60_000
}

const fn default_silence() -> u64 {
    5_000
}

impl RelayConfig {
    /// Reads the configuration as [`crate::config::Config::load`] does; `None` where it has no table `[device]`.
    ///
    /// # Errors
    /// - [`ConfigError::Read`] where there is no such file;
    /// - [`ConfigError::Invalid`] where a key is unknown, missing or malformed: with a device, keys of software backends are;
    /// - [`ConfigError::Zero`] where a limit is 0.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Option<Self>, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        // What cannot be read here is reported by whoever reads it as a configuration.
        let table: toml::Table = toml::from_str(&text).unwrap_or_default();
        if !table.contains_key("device") {
            return Ok(None);
        }
        let mut config: Self = Figment::new()
            .merge(Toml::string(&text))
            .merge(
                Env::prefixed(ENVIRONMENT_PREFIX)
                    .ignore(&["config"])
                    .split("__"),
            )
            .merge(Serialized::defaults(overrides))
            .extract()
            .map_err(|error| ConfigError::Invalid {
                path: path.to_owned(),
                error: Box::new(error),
            })?;
        config.limits.check()?;
        let device = &mut config.device;
        for (name, value) in [
            ("device.speed", u64::from(device.speed)),
            ("device.answer_timeout_ms", device.answer_timeout_ms),
            ("device.silence_timeout_ms", device.silence_timeout_ms),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero(name));
            }
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        for path in [
            &mut config.chain_spec,
            &mut device.path,
            &mut device.paired,
            &mut device.request_log,
            &mut config.tls.certificate,
            &mut config.tls.key,
            &mut config.tls.client_ca,
        ]
        .into_iter()
        .chain(config.listen_file.as_mut())
        .chain(config.tls.client_crl.as_mut())
        {
            *path = directory.join(&*path);
        }
        Ok(Some(config))
    }
}

impl DeviceConfig {
    /// What the device is reached by, and whose it must be.
    ///
    /// # Errors
    /// - [`DeviceError::PairingFile`] where the pairing cannot be read.
    pub fn settings(&self, chain: &Chain) -> Result<Settings, DeviceError> {
        Ok(Settings {
            path: self.path.clone(),
            speed: self.speed,
            pairing: PairingFile::read(&self.paired)?,
            expected: Some(Expected {
                chain_id: chain.id(),
                spec: chain.digest(),
                member: Some(self.member),
            }),
            timing: Timing {
                answer: Duration::from_millis(self.answer_timeout_ms),
                silence: Duration::from_millis(self.silence_timeout_ms),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = include_str!("../../tests/configs/device-0.1.toml");

    fn load(text: &str) -> Result<Option<RelayConfig>, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signer.toml");
        crate::files::write_durably(&path, text.as_bytes(), crate::files::Existing::Refuse)
            .unwrap();
        RelayConfig::load(&path, &Overrides::default())
    }

    #[test]
    fn the_configuration_of_each_release_is_read() {
        let config = load(RELEASE).unwrap().unwrap();
        assert_eq!(config.device.member, MemberId::new(3));
        assert_eq!(config.device.speed, DEFAULT_SPEED);
        assert!(config.device.paired.is_absolute());
        assert_eq!(
            config.device.path,
            Path::new("/dev/serial/by-id/usb-Alys_signer-if00")
        );
    }

    #[test]
    fn a_configuration_without_a_device_is_not_one_of_these() {
        let software = include_str!("../../tests/configs/0.1.toml");
        assert_eq!(load(software).unwrap(), None);
    }

    #[test]
    fn keys_beside_a_device_unknown_ones_and_zeros_are_refused() {
        for (from, to, word) in [
            ("listen =", "keys = 'keys.json'\nlisten =", "keys"),
            ("member =", "membre =", "membre"),
            ("member = 3", "member = 3\nspeed = 0", "device.speed"),
            (
                "member = 3",
                "member = 3\nanswer_timeout_ms = 0",
                "device.answer_timeout_ms",
            ),
        ] {
            let error = load(&RELEASE.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
