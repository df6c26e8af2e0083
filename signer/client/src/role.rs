//! Who may connect: the role that a certificate names.
//!
//! A client certificate has exactly one URI in its subject alternative names that starts with `alys://role/`; what
//! follows is the role. Its extended key usage has client authentication (RFC 5280, 4.2.1.12), and a private CA of the
//! signer's owner issued it. A signer's own certificate has server authentication and the DNS name that clients expect.

use rustls::pki_types::CertificateDer;
use thiserror::Error;

/// What every role's URI starts with.
pub const ROLE_URI_PREFIX: &str = "alys://role/";
/// DNS name that a signer's certificate has unless the configuration says otherwise.
pub const DEFAULT_SERVER_NAME: &str = "signer.alys.internal";

/// What the holder of a client certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A member's node: asks for votes and peg-out signatures.
    Node,
    /// An officer: administers.
    Officer,
    /// An auditor: looks.
    Auditor,
}

/// A certificate that names no role.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RoleError {
    /// Not an X.509 certificate.
    #[error("expected an X.509 certificate, found other bytes")]
    Certificate,
    /// Not exactly one role.
    #[error("expected exactly one URI {ROLE_URI_PREFIX}... among the alternative names, found {0}")]
    Count(usize),
    /// A role that there is not.
    #[error("expected role node, officer or auditor, found {0:?}")]
    Unknown(String),
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Node, Self::Officer, Self::Auditor];

    /// The role's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Officer => "officer",
            Self::Auditor => "auditor",
        }
    }

    /// The URI that a certificate of this role carries.
    pub fn uri(self) -> String {
        format!("{ROLE_URI_PREFIX}{}", self.name())
    }

    /// The role that a certificate names. Whether the certificate is genuine is for TLS to say.
    ///
    /// # Errors
    /// - [`RoleError::Certificate`] where it is no certificate;
    /// - [`RoleError::Count`] where it names no role or several;
    /// - [`RoleError::Unknown`] where there is no such role.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, RoleError> {
        let parsed =
            webpki::EndEntityCert::try_from(certificate).map_err(|_| RoleError::Certificate)?;
        let names: Vec<&str> = parsed
            .valid_uri_names()
            .filter_map(|uri| uri.strip_prefix(ROLE_URI_PREFIX))
            .collect();
        let [name] = names.as_slice() else {
            return Err(RoleError::Count(names.len()));
        };
        Self::ALL
            .into_iter()
            .find(|role| role.name() == *name)
            .ok_or_else(|| RoleError::Unknown(name.chars().take(64).collect()))
    }
}

impl core::fmt::Display for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
