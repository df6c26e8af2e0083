//! What a [`crate::BitcoinClient`] is told at its start.

use crate::auth::Credentials;
use crate::backoff::Backoff;
use crate::breaker::BreakerConfig;
use bitcoin::Network;
use std::time::Duration;
use thiserror::Error;

/// `corepc-client` gives up on any call after 60 s, whatever we ask; staying below keeps the error ours.
const MAX_CALL_TIMEOUT: Duration = Duration::from_secs(50);

/// Which node to use and how patiently. Holds no secret.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// `http://host:port`. The node's RPC has no TLS: keep it on loopback or inside a tunnel.
    pub url: String,
    /// How to log in.
    pub credentials: Credentials,
    /// The network that the chain spec names.
    pub network: Network,
    /// Limit of one attempt of an ordinary call; at most 50 s.
    pub call_timeout: Duration,
    /// Attempts at a call that may be repeated; at least 1 is assumed.
    pub attempts: u32,
    /// Waits between these attempts.
    pub retry: Backoff,
    /// When to stop trying for a while.
    pub breaker: BreakerConfig,
}

/// Why a [`NodeConfig`] cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not a plain HTTP address.
    #[error(
        "expected the Bitcoin node's RPC address as http://host:port, without user, password or path"
    )]
    Url,
    /// Longer than the transport allows, or zero.
    #[error("expected a call timeout above zero and up to {MAX_CALL_TIMEOUT:?}, found {found:?}")]
    CallTimeout {
        /// What was asked for.
        found: Duration,
    },
}

impl NodeConfig {
    /// A configuration with the defaults that suit a node on the same machine or network.
    pub fn new(url: impl Into<String>, credentials: Credentials, network: Network) -> Self {
        Self {
            url: url.into(),
            credentials,
            network,
            call_timeout: Duration::from_secs(20),
            attempts: 4,
            retry: Backoff {
                first: Duration::from_millis(200),
                longest: Duration::from_secs(2),
            },
            breaker: BreakerConfig {
                failures_to_open: 5,
                pause: Backoff {
                    first: Duration::from_millis(500),
                    longest: Duration::from_secs(10),
                },
            },
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        // The address ends up in logs, so it must not carry a password; it is not repeated in the error either.
        let authority = self.url.strip_prefix("http://").ok_or(ConfigError::Url)?;
        let (host, port) = authority.rsplit_once(':').ok_or(ConfigError::Url)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
        if host.is_empty() || !host.chars().all(allowed) || port.parse::<u16>().is_err() {
            return Err(ConfigError::Url);
        }
        if self.call_timeout.is_zero() || self.call_timeout > MAX_CALL_TIMEOUT {
            return Err(ConfigError::CallTimeout {
                found: self.call_timeout,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> NodeConfig {
        NodeConfig::new(
            url,
            Credentials::CookieFile("cookie".into()),
            Network::Regtest,
        )
    }

    #[test]
    fn addresses() {
        for good in [
            "http://127.0.0.1:18443",
            "http://bitcoind:8332",
            "http://[::1]:8332",
        ] {
            assert_eq!(config(good).validate(), Ok(()), "{good}");
        }
        for bad in [
            "127.0.0.1:8332",
            "https://127.0.0.1:8332",
            "http://127.0.0.1",
            "http://127.0.0.1:99999",
            "http://user:secret@127.0.0.1:8332",
            "http://127.0.0.1:8332/wallet/x",
            "http://:8332",
            "",
        ] {
            assert_eq!(config(bad).validate(), Err(ConfigError::Url), "{bad}");
        }
        assert!(!ConfigError::Url.to_string().contains("secret"));
    }

    #[test]
    fn timeouts() {
        for bad in [Duration::ZERO, Duration::from_secs(60)] {
            let mut config = config("http://127.0.0.1:1");
            config.call_timeout = bad;
            assert_eq!(
                config.validate(),
                Err(ConfigError::CallTimeout { found: bad })
            );
        }
    }
}
