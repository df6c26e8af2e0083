//! The daemon's configuration: command line over environment over file, unknown keys refused.

mod token;

pub use token::{TokenConfig, TokenMode};

use crate::audit::AuditLimits;
use crate::counter::{FileCounter, OutsideCounter};
use crate::policy_file::OfficersConfig;
use alys_signer_client::KeyExchange;
use alys_signer_pkcs11::{Token, TokenCounter, TokenError};
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Environment variables that set a key: `ALYS_SIGNER_LISTEN`, `ALYS_SIGNER_TLS__KEY`, and so on.
pub const ENVIRONMENT_PREFIX: &str = "ALYS_SIGNER_";

/// The configuration file. Relative paths are relative to its directory. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The chain spec (TOML), the same file that the nodes have.
    pub chain_spec: PathBuf,
    /// The key file that `init` makes: sealed keys, or which keys of a token sign.
    pub keys: PathBuf,
    /// The PKCS#11 token that opens the sealed keys or signs itself, holds the outside counter, or both.
    #[serde(default)]
    pub token: Option<TokenConfig>,
    /// The durable state that `init` makes.
    pub state: PathBuf,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// File that the bound address is written to, for programs that start the signer.
    #[serde(default)]
    pub listen_file: Option<PathBuf>,
    /// File that metrics are written to once a second, for the textfile collector of Prometheus' node exporter.
    #[serde(default)]
    pub metrics_file: Option<PathBuf>,
    /// Filter of the log, in `tracing`'s notation.
    #[serde(default = "default_log")]
    pub log: String,
    /// Certificates.
    pub tls: TlsConfig,
    /// Limits of the transport.
    #[serde(default)]
    pub limits: Limits,
    /// How much the audit log keeps.
    #[serde(default)]
    pub audit: AuditLimits,
    /// The counter that tells a restored state from the newest one. Without it the signer is silent until officers vouch
    /// for its state.
    #[serde(default)]
    pub counter: Option<CounterConfig>,
    /// The policy that officers signed; their signatures lie beside it.
    pub policy: PathBuf,
    /// Who may sign a policy.
    pub officers: OfficersConfig,
}

/// The signer's certificate and whose clients it accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the signer's certificate, then its intermediates if any.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// PEM file of the CA that issues client certificates.
    pub client_ca: PathBuf,
    /// PEM file of that CA's list of revoked certificates, one of each CA in `client_ca`. Without it nothing is revoked.
    #[serde(default)]
    pub client_crl: Option<PathBuf>,
    /// Which key exchanges are accepted.
    #[serde(default)]
    pub key_exchange: KeyExchange,
}

/// An outside counter, and how often it advances.
///
/// `lease_slots` are the slots of a lease: the counter advances once per so many, and a start after a crash waits as long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CounterConfig {
    /// A file, for development: it is as good as the separation of its filesystem.
    DevelopmentFile {
        /// Where it is.
        path: PathBuf,
        /// Slots of a lease.
        #[serde(default = "default_lease_slots")]
        lease_slots: u64,
    },
    /// An object in the token of [`Config::token`].
    Pkcs11 {
        /// Its label.
        object: String,
        /// Slots of a lease.
        #[serde(default = "default_lease_slots")]
        lease_slots: u64,
    },
}

impl CounterConfig {
    /// The counter, which may be in `token`.
    ///
    /// # Errors
    /// - [`ConfigError::NoToken`] where it is to be in one and there is none.
    pub fn open(&self, token: Option<&Arc<Token>>) -> Result<Box<dyn OutsideCounter>, ConfigError> {
        Ok(match (self, token) {
            (Self::DevelopmentFile { path, .. }, _) => Box::new(FileCounter::new(path.clone())),
            (Self::Pkcs11 { object, .. }, Some(token)) => {
                Box::new(TokenCounter::new(Arc::clone(token), object))
            }
            (Self::Pkcs11 { .. }, None) => return Err(ConfigError::NoToken),
        })
    }

    /// Slots of a lease.
    pub const fn lease_slots(&self) -> u64 {
        match self {
            Self::DevelopmentFile { lease_slots, .. } | Self::Pkcs11 { lease_slots, .. } => {
                *lease_slots
            }
        }
    }
}

const fn default_lease_slots() -> u64 {
    8
}

/// Limits of the transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Requests per second of one certificate, in the long run.
    pub requests_per_second: u32,
    /// Requests that one certificate may make at once after a pause.
    pub request_burst: u32,
    /// Milliseconds for the TLS handshake.
    pub handshake_timeout_ms: u64,
    /// Milliseconds for the bytes of one frame.
    pub frame_timeout_ms: u64,
    /// Milliseconds that a connection may be silent.
    pub idle_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32,
            // A node asks for a vote each slot; the rest is for its restarts and peg-outs.
            requests_per_second: 10,
            request_burst: 50,
            handshake_timeout_ms: 5_000,
            frame_timeout_ms: 10_000,
            idle_timeout_ms: 300_000,
        }
    }
}

fn default_log() -> String {
    "info".to_owned()
}

/// What the command line sets; it wins over environment and file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overrides {
    /// [`Config::listen`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// [`Config::listen_file`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_file: Option<PathBuf>,
    /// [`Config::log`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No file.
    #[error("configuration {path}: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A key is unknown, missing or of the wrong form.
    #[error("configuration {path}: {error}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which key, and what is wrong.
        error: Box<figment::Error>,
    },
    /// A limit that would shut everybody out.
    #[error("configuration: {0} must not be 0")]
    Zero(&'static str),
    /// The counter is to be in a token that is not named.
    #[error("configuration: counter.kind = \"pkcs11\" needs the table [token], found none")]
    NoToken,
    /// The token's key is not named.
    #[error(
        "configuration: token.mode = \"{0}\" needs the name of its AES key in token.uri: expected object= or id=, found neither"
    )]
    SealingKeyUnnamed(&'static str),
    /// The token's key is to be something else than it can be.
    #[error(
        "configuration: token.mode = \"{0}\" needs a secret key: expected type=secret-key in token.uri, or no type"
    )]
    SealingKeyKind(&'static str),
    /// A token is to sign, and nothing says how.
    #[error(
        "configuration: token.mode = \"native\" needs the table [token.native] with its keys and mechanisms, found none"
    )]
    NoMechanisms,
    /// Mechanisms that nothing uses.
    #[error("configuration: [token.native] is for token.mode = \"native\", found mode \"{0}\"")]
    Mechanisms(&'static str),
    /// Two keys of one name.
    #[error("configuration: token.native: expected two keys of different names, found {0:?} twice")]
    OneKey(String),
}

impl Config {
    /// Reads the configuration: `overrides`, then the environment, then the file.
    ///
    /// # Errors
    /// - [`ConfigError::Read`] where there is no such file;
    /// - [`ConfigError::Invalid`] where a key is unknown, missing or malformed;
    /// - [`ConfigError::Zero`] where a limit is 0.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        let config: Self = Figment::new()
            .merge(Toml::string(&text))
            // The path of this file is the command line's own, not a key.
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
        config.token.as_ref().map_or(Ok(()), TokenConfig::check)?;
        match &config.counter {
            Some(counter) if counter.lease_slots() == 0 => {
                return Err(ConfigError::Zero("counter.lease_slots"));
            }
            Some(CounterConfig::Pkcs11 { .. }) if config.token.is_none() => {
                return Err(ConfigError::NoToken);
            }
            Some(_) | None => {}
        }
        Ok(config.relative_to(path.parent().unwrap_or(Path::new("."))))
    }

    /// The token, if there is one.
    ///
    /// # Errors
    /// - [`TokenError`] where it cannot be opened.
    pub fn open_token(&self) -> Result<Option<Arc<Token>>, TokenError> {
        self.token.as_ref().map(TokenConfig::open).transpose()
    }

    /// The token that signs itself, if there is one.
    pub fn native(&self) -> Option<&TokenConfig> {
        let token = self.token.as_ref();
        token.filter(|token| token.mode == TokenMode::Native)
    }

    /// The outside counter, if there is one; `token` is the one of [`Config::open_token`].
    ///
    /// # Errors
    /// - [`ConfigError::NoToken`] where it is to be in a token and there is none.
    pub fn open_counter(
        &self,
        token: Option<&Arc<Token>>,
    ) -> Result<Option<Box<dyn OutsideCounter>>, ConfigError> {
        let counter = self.counter.as_ref();
        counter.map(|counter| counter.open(token)).transpose()
    }

    fn relative_to(mut self, directory: &Path) -> Self {
        let paths = [
            &mut self.chain_spec,
            &mut self.keys,
            &mut self.state,
            &mut self.policy,
            &mut self.tls.certificate,
            &mut self.tls.key,
            &mut self.tls.client_ca,
        ];
        let counter = match &mut self.counter {
            Some(CounterConfig::DevelopmentFile { path, .. }) => Some(path),
            Some(CounterConfig::Pkcs11 { .. }) | None => None,
        };
        for path in paths
            .into_iter()
            .chain(self.listen_file.as_mut())
            .chain(self.metrics_file.as_mut())
            .chain(self.tls.client_crl.as_mut())
            .chain(counter)
        {
            *path = directory.join(&*path);
        }
        self
    }
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("limits.connections", self.connections as u64),
            (
                "limits.requests_per_second",
                u64::from(self.requests_per_second),
            ),
            ("limits.request_burst", u64::from(self.request_burst)),
            ("limits.handshake_timeout_ms", self.handshake_timeout_ms),
            ("limits.frame_timeout_ms", self.frame_timeout_ms),
            ("limits.idle_timeout_ms", self.idle_timeout_ms),
        ];
        match limits.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signer.toml");
        let bytes = text.as_bytes();
        crate::files::write_durably(&path, bytes, crate::files::Existing::Refuse).unwrap();
        Config::load(&path, overrides)
    }

    const RELEASE_0_1: &str = include_str!("../tests/configs/0.1.toml");

    #[test]
    fn the_configuration_of_each_release_is_read() {
        let config = load(RELEASE_0_1, &Overrides::default()).unwrap();
        assert_eq!(config.listen.port(), 7700);
        assert!(
            config.keys.is_absolute(),
            "relative to the file's directory"
        );
        assert_eq!(config.limits.connections, 16);
        assert_eq!(config.officers.trusted().unwrap().officers().count(), 3);
        assert_eq!(
            config.limits.idle_timeout_ms,
            Limits::default().idle_timeout_ms
        );
    }

    #[test]
    fn the_command_line_wins() {
        let overrides = Overrides {
            listen: Some("127.0.0.1:1".parse().unwrap()),
            ..Overrides::default()
        };
        let config = load(RELEASE_0_1, &overrides).unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.log, "info");
    }

    #[test]
    fn unknown_keys_and_zero_limits_are_refused() {
        for (from, to, word) in [
            ("listen =", "listn =", "listn"),
            ("connections =", "conections =", "conections"),
            ("threshold =", "treshold =", "treshold"),
            ("policy =", "polcy =", "polcy"),
            ("connections = 16", "connections = 0", "connections"),
        ] {
            let error = load(&RELEASE_0_1.replace(from, to), &Overrides::default()).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
