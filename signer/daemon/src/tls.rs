//! The server's side of mutual TLS 1.3.

use crate::config::TlsConfig;
use crate::limits::Fingerprint;
use alys_signer_client::certificate::{self, CertificateError};
use alys_signer_client::key_exchange::Negotiated;
use alys_signer_client::revocation::{RevocationLists, SeenLists};
use alys_signer_client::time::{date, days_left};
use alys_signer_client::tls::Trust;
use alys_signer_client::{Certificate, ClientError, Holder, KeyExchange, Role, RoleError, pem};
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError as Refused, Error, PeerIncompatible, ServerConnection};
use std::io;
use std::sync::Arc;
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// The log warns from so many days before a certificate or a list ends.
pub const WARN_DAYS: i64 = 30;

/// Certificates that make no server.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] ClientError),
    /// The client CA cannot verify anybody.
    #[error("the client CA cannot be used: {0}")]
    ClientCa(#[from] rustls::server::VerifierBuilderError),
    /// Certificate and key do not belong together.
    #[error("the signer's certificate and key cannot be used: {0}")]
    Certificate(#[from] rustls::Error),
}

/// The files of the configuration, read at the start and again on SIGHUP.
#[derive(Debug)]
pub struct Files {
    config: TlsConfig,
    seen: SeenLists,
}

impl Files {
    /// Nothing is read yet.
    pub fn new(config: TlsConfig) -> Self {
        Self {
            config,
            seen: SeenLists::default(),
        }
    }

    /// Reads them: an acceptor that takes TLS 1.3 only, and only clients with a certificate of the client CA that it did
    /// not revoke.
    ///
    /// # Errors
    /// - [`TlsError`] for the file that cannot be used; among them a revocation list older than one of before.
    pub fn read(&mut self) -> Result<Transport, TlsError> {
        let config = &self.config;
        let trust = Trust::read(
            &config.client_ca,
            config.client_crl.as_deref(),
            &mut self.seen,
        )?;
        let provider = config.key_exchange.provider();
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(trust.authorities, provider.clone());
        if let Some(lists) = &trust.revoked {
            verifier = verifier
                .with_crls(lists.ders())
                .enforce_revocation_expiration();
        }
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier.build()?)
            .with_single_cert(
                pem::certificates(&config.certificate)?,
                pem::private_key(&config.key)?,
            )?;
        // A resumed session would outlive the certificate that it was opened with.
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Transport {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            key_exchange: config.key_exchange,
            own: certificate::inspect(&config.certificate)?,
            revoked: trust.revoked.map(Arc::new),
        })
    }
}

/// What connections are accepted with.
#[derive(Clone)]
pub struct Transport {
    /// rustls' own.
    pub acceptor: TlsAcceptor,
    key_exchange: KeyExchange,
    own: Certificate,
    revoked: Option<Arc<RevocationLists>>,
}

impl core::fmt::Debug for Transport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Transport")
            .field("key_exchange", &self.key_exchange)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// What an operator should hear at `now`: what ends soon or has ended.
    pub fn warnings(&self, now: UnixTime) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |what: String, end: UnixTime| {
            let left = days_left(end, now);
            if left < 0 {
                warnings.push(format!("{what} ended on {}", date(end)));
            } else if left < WARN_DAYS {
                warnings.push(format!("{what} ends on {}, in {left} days", date(end)));
            }
        };
        warn(
            format!("the signer's certificate {}", self.own.serial),
            self.own.not_after,
        );
        for list in self.revoked.iter().flat_map(|lists| lists.iter()) {
            let report = list.report(now);
            let what = format!(
                "the list of revoked certificates of {:?}, after which nobody of it is served,",
                report.authority
            );
            warn(what, list.next_update());
        }
        warnings
    }

    /// Who is at the other end of a connection.
    ///
    /// # Errors
    /// - [`IdentityError`] where the certificate names no role.
    pub fn identify(&self, connection: &ServerConnection) -> Result<Identity, IdentityError> {
        let certificate = connection
            .peer_certificates()
            .and_then(<[_]>::first)
            .ok_or(IdentityError::Nobody)?;
        let certificate = Certificate::read(certificate)?;
        let role = match certificate.holder {
            Holder::Client(role) => role,
            Holder::Authority | Holder::Signer => return Err(RoleError::Count(0).into()),
        };
        let lists = self.revoked.as_ref().and_then(|lists| lists.next_update());
        Ok(Identity {
            role,
            fingerprint: Fingerprint(certificate.fingerprint),
            key_exchange: Negotiated::of(connection.negotiated_key_exchange_group()),
            ends: lists.map_or(certificate.not_after, |lists| {
                lists.min(certificate.not_after)
            }),
            certificate,
        })
    }

    /// Why a handshake failed, in words.
    pub fn explain(&self, error: &io::Error) -> String {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)) => format!(
                "the client offers no key exchange that is accepted here: expected {}",
                self.key_exchange.offered()
            ),
            Some(Error::InvalidCertificate(Refused::Revoked)) => {
                "the client's certificate is revoked".to_owned()
            }
            Some(Error::InvalidCertificate(
                Refused::ExpiredRevocationList | Refused::ExpiredRevocationListContext { .. },
            )) => "the list of revoked certificates is past its date: nobody is served until there is a newer one (tls.client_crl)".to_owned(),
            _ => error.to_string(),
        }
    }
}

/// Who is at the other end of a connection, and how well it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What it may ask.
    pub role: Role,
    /// Its certificate's.
    pub fingerprint: Fingerprint,
    /// Its certificate.
    pub certificate: Certificate,
    /// What the connection's keys were agreed on by.
    pub key_exchange: Negotiated,
    /// From then on it would not be let in any more: its certificate or a list ends.
    pub ends: UnixTime,
}

/// A client whose certificate is genuine and not enough.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// The verifier demands a certificate, so this does not happen.
    #[error("expected a certificate, found none")]
    Nobody,
    /// It names no role, several, or one that there is not.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// It cannot be read.
    #[error("{0}")]
    Malformed(String),
}

impl From<CertificateError> for IdentityError {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Role(error) => Self::Role(error),
            CertificateError::Malformed(_) => Self::Malformed(error.to_string()),
        }
    }
}
