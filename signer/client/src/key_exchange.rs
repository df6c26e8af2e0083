//! How the two ends of a link agree on its keys.

use rustls::NamedGroup;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which key exchanges an end of a link takes. Hybrid is X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): whoever records the
/// traffic must break both X25519 and ML-KEM-768 to read it one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyExchange {
    /// Hybrid only. Both ends of a link are ours, so nothing else is needed.
    #[default]
    Hybrid,
    /// Hybrid where the other end takes it, else X25519, P-256 or P-384, which a quantum computer would break.
    ClassicalAllowed,
}

impl KeyExchange {
    /// The cryptography of an end of a link.
    pub fn provider(self) -> Arc<CryptoProvider> {
        Arc::new(CryptoProvider {
            kx_groups: self.groups(),
            ..default_provider()
        })
    }

    /// Names of the groups, the preferred one first.
    pub fn offered(self) -> String {
        let groups = self.groups();
        let names: Vec<String> = groups
            .into_iter()
            .map(|group| Negotiated::of(Some(group)).to_string())
            .collect();
        names.join(", ")
    }

    fn groups(self) -> Vec<&'static dyn SupportedKxGroup> {
        let hybrid = kx_group::X25519MLKEM768;
        match self {
            Self::Hybrid => vec![hybrid],
            Self::ClassicalAllowed => vec![
                hybrid,
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
            ],
        }
    }
}

/// The key exchange that a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated(Option<NamedGroup>);

impl Negotiated {
    /// Of rustls' `negotiated_key_exchange_group`.
    pub fn of(group: Option<&'static dyn SupportedKxGroup>) -> Self {
        Self(group.map(SupportedKxGroup::name))
    }

    /// Whether it resists a quantum computer, too.
    pub fn is_post_quantum(self) -> bool {
        self.0 == Some(NamedGroup::X25519MLKEM768)
    }
}

impl core::fmt::Display for Negotiated {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(group) => write!(f, "{group:?}"),
            None => f.write_str("none"),
        }
    }
}
