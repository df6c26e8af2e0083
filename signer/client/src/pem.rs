//! PEM files of certificates and keys, with errors that name the file.

use crate::error::ClientError;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

fn bad(path: &Path, reason: impl core::fmt::Display) -> ClientError {
    ClientError::Config {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// The certificates in a file, in order; at least one.
///
/// # Errors
/// - [`ClientError::Config`] where the file cannot be read or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(path, format_args!("expected PEM certificates: {error}")))?;
    if certificates.is_empty() {
        return Err(bad(
            path,
            "expected at least one PEM certificate, found none",
        ));
    }
    Ok(certificates)
}

/// The private key in a file.
///
/// # Errors
/// - [`ClientError::Config`] where the file cannot be read or has none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ClientError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| bad(path, format_args!("expected a PEM private key: {error}")))
}

/// The trust anchors in a file.
///
/// # Errors
/// - [`ClientError::Config`] where the file cannot be read, has none, or one is no CA certificate.
pub fn roots(path: &Path) -> Result<RootCertStore, ClientError> {
    anchors(path, certificates(path)?)
}

/// The certificates of `path` as trust anchors.
pub(crate) fn anchors(
    path: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| bad(path, format_args!("expected a CA certificate: {error}")))?;
    }
    Ok(roots)
}
