//! The server's side of mutual TLS 1.3.

use crate::config::TlsConfig;
use crate::limits::Fingerprint;
use alys_signer_client::{ClientError, Role, RoleError, pem};
use bitcoin::hashes::{Hash as _, sha256};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

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

/// An acceptor that takes TLS 1.3 only and only clients with a certificate of the client CA.
///
/// # Errors
/// - [`TlsError`] for the file that cannot be used.
pub fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(pem::roots(&config.client_ca)?),
        provider.clone(),
    )
    .build()?;
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            pem::certificates(&config.certificate)?,
            pem::private_key(&config.key)?,
        )?;
    // A resumed session would outlive the certificate that it was opened with.
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// Who a verified client certificate says its holder is.
///
/// # Errors
/// - [`RoleError`] where it names no role.
pub fn identify(certificate: &CertificateDer<'_>) -> Result<(Role, Fingerprint), RoleError> {
    let role = Role::of_certificate(certificate)?;
    let fingerprint = sha256::Hash::hash(certificate).to_byte_array();
    Ok((role, Fingerprint(fingerprint)))
}
