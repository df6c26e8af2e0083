//! The client's side of mutual TLS 1.3, and whom an end of a link trusts.

use crate::certificate::{self, Certificate};
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::key_exchange::Negotiated;
use crate::link::Link;
use crate::pem;
use crate::revocation::{self, RevocationLists, SeenLists};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::UnixTime;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom one end of a link trusts.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The other end's authorities.
    pub authorities: Arc<RootCertStore>,
    /// What they took back; `None` where no file is configured, and nothing is ever revoked.
    pub revoked: Option<RevocationLists>,
}

impl Trust {
    /// Reads authorities and, where `crl` names a file, one list of each. A list older than one in `seen` is refused.
    ///
    /// # Errors
    /// - [`ClientError::Config`] where a file cannot be used; `seen` has not changed then.
    pub fn read(ca: &Path, crl: Option<&Path>, seen: &mut SeenLists) -> Result<Self, ClientError> {
        let certificates = pem::certificates(ca)?;
        let revoked = match crl {
            None => None,
            Some(path) => {
                let lists = RevocationLists::read(path, &certificates, UnixTime::now())?;
                seen.take(&lists)
                    .map_err(|error| revocation::bad(path, &error))?;
                Some(lists)
            }
        };
        Ok(Self {
            authorities: Arc::new(pem::anchors(ca, certificates)?),
            revoked,
        })
    }
}

/// What a client connects with; made again whenever the files are read again.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    certificate: Certificate,
    revoked: Option<RevocationLists>,
}

impl core::fmt::Debug for Connector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connector")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// TLS 1.3 with the client's certificate, to signers of the CA whose certificates it did not revoke.
    ///
    /// # Errors
    /// - [`ClientError::Config`] where a file of the configuration cannot be used.
    pub fn read(config: &ClientConfig, seen: &mut SeenLists) -> Result<Self, ClientError> {
        let wrong = |reason: String| ClientError::Config {
            path: config.certificate.clone(),
            reason,
        };
        let trust = Trust::read(&config.server_ca, config.server_crl.as_deref(), seen)?;
        let provider = config.key_exchange.provider();
        let mut verifier =
            WebPkiServerVerifier::builder_with_provider(trust.authorities, provider.clone());
        if let Some(lists) = &trust.revoked {
            verifier = verifier
                .with_crls(lists.ders())
                .enforce_revocation_expiration();
        }
        let verifier = verifier.build().map_err(|error| ClientError::Config {
            path: config.server_ca.clone(),
            reason: error.to_string(),
        })?;
        let key_file = |error: rustls::Error| {
            let key = config.key.display();
            wrong(format!(
                "expected a certificate for the key in {key}: {error}"
            ))
        };
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(key_file)?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(
                pem::certificates(&config.certificate)?,
                pem::private_key(&config.key)?,
            )
            .map_err(key_file)?;
        // Nothing of one connection is left for the next: each is verified anew.
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls)),
            certificate: certificate::inspect(&config.certificate)?,
            revoked: trust.revoked,
        })
    }

    /// rustls' own.
    pub fn tls(&self) -> &TlsConnector {
        &self.tls
    }

    /// What a connection that it made turned out to be.
    pub(crate) fn link(&self, stream: &TlsStream<TcpStream>) -> Result<Link, String> {
        let (_, connection) = stream.get_ref();
        let server = connection
            .peer_certificates()
            .and_then(<[_]>::first)
            .ok_or_else(|| "expected the signer's certificate, found none".to_owned())?;
        Ok(Link {
            key_exchange: Negotiated::of(connection.negotiated_key_exchange_group()),
            client: self.certificate.clone(),
            server: Certificate::read(server).map_err(|error| error.to_string())?,
            revoked: self.revoked.clone(),
        })
    }
}
