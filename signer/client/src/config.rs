//! Where a signer is and with what the client shows itself.

use crate::key_exchange::KeyExchange;
use crate::role::DEFAULT_SERVER_NAME;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The client's configuration; a table of the node's TOML file. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// `host:port` of the signer.
    pub address: String,
    /// DNS name in the signer's certificate.
    #[serde(default = "default_server_name")]
    pub server_name: String,
    /// PEM file of the CA that issued the signer's certificate.
    pub server_ca: PathBuf,
    /// PEM file of that CA's list of revoked certificates, one of each CA in `server_ca`. Without it nothing is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_crl: Option<PathBuf>,
    /// Which key exchanges are offered.
    #[serde(default)]
    pub key_exchange: KeyExchange,
    /// PEM file of the client's certificate, then its intermediates if any.
    pub certificate: PathBuf,
    /// PEM file of the client's private key.
    pub key: PathBuf,
    /// Milliseconds to connect and shake hands.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Milliseconds to wait for an answer.
    #[serde(default = "default_request_timeout_ms")]
    pub request_timeout_ms: u64,
}

fn default_server_name() -> String {
    DEFAULT_SERVER_NAME.to_owned()
}

const fn default_connect_timeout_ms() -> u64 {
    3_000
}

const fn default_request_timeout_ms() -> u64 {
    10_000
}

impl ClientConfig {
    /// A configuration with the default name and timeouts.
    pub fn new(
        address: impl Into<String>,
        server_ca: impl Into<PathBuf>,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        Self {
            address: address.into(),
            server_name: default_server_name(),
            server_ca: server_ca.into(),
            server_crl: None,
            key_exchange: KeyExchange::default(),
            certificate: certificate.into(),
            key: key.into(),
            connect_timeout_ms: default_connect_timeout_ms(),
            request_timeout_ms: default_request_timeout_ms(),
        }
    }

    /// The same with relative paths taken as relative to `directory`, where the configuration file lies.
    #[must_use]
    pub fn relative_to(mut self, directory: &Path) -> Self {
        let paths = [&mut self.server_ca, &mut self.certificate, &mut self.key];
        for path in paths.into_iter().chain(self.server_crl.as_mut()) {
            *path = directory.join(&*path);
        }
        self
    }
}
