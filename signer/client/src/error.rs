//! What can go wrong between a node and its signer, in words for the operator.

use crate::key_exchange::KeyExchange;
use alys_protocol::signer::{FrameError, ProtocolError, Refusal};
use rustls::AlertDescription;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// A request that got no signature.
#[derive(Debug, Error)]
pub enum ClientError {
    /// A rule forbids it. Asking again with the same request is no use.
    #[error("the signer {0}")]
    Refused(Refusal),
    /// The certificate's role may not ask this.
    #[error("the signer does not allow {operation} to a certificate of role {role}")]
    Forbidden {
        /// The certificate's role.
        role: String,
        /// What was asked.
        operation: String,
    },
    /// Nobody answers. Asking again later may help.
    #[error("the signer at {address} cannot be reached: {reason}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The signer answered too late. Asking again is safe: a repeat gets the same signature.
    #[error("the signer at {address} did not answer within {timeout:?}")]
    Timeout {
        /// `host:port`.
        address: String,
        /// How long the client waited.
        timeout: Duration,
    },
    /// One side's certificate is wrong: CA, name, role or expiry.
    #[error(
        "the signer at {address} and this client do not accept each other's certificates: {reason}"
    )]
    Certificate {
        /// `host:port`.
        address: String,
        /// What is wrong, and on which side.
        reason: String,
    },
    /// The two ends share no key exchange.
    #[error(
        "the signer at {address} and this client share no key exchange: this client offers {offered}; compare key_exchange on both sides"
    )]
    KeyExchange {
        /// `host:port`.
        address: String,
        /// What this client offers.
        offered: String,
    },
    /// It is another chain's or another member's signer.
    #[error(
        "the signer at {address} is not the expected one: expected {what} {expected}, found {found}"
    )]
    WrongSigner {
        /// `host:port`.
        address: String,
        /// What differs.
        what: &'static str,
        /// What this client expects.
        expected: String,
        /// What the signer says.
        found: String,
    },
    /// The signer could not answer.
    #[error("the signer reports {0:?}")]
    Signer(ProtocolError),
    /// The signer's answer is none to this request.
    #[error("expected a reply of kind {expected}, found another")]
    Reply {
        /// What was expected.
        expected: &'static str,
    },
    /// A message that does not fit a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A file of the configuration cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a failed connection means, where `key_exchange` was offered.
pub(crate) fn connection_error(
    address: &str,
    key_exchange: KeyExchange,
    error: &io::Error,
) -> ClientError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let certificate = |reason: String| ClientError::Certificate {
        address: address.to_owned(),
        reason,
    };
    match tls {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            certificate(format!("this client refuses the signer's: {reason}"))
        }
        // The only thing that we leave open to negotiate besides cipher suites, of which both ends have all.
        Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
            ClientError::KeyExchange {
                address: address.to_owned(),
                offered: key_exchange.offered(),
            }
        }
        Some(rustls::Error::AlertReceived(alert)) if is_about_certificates(*alert) => {
            certificate(format!("the signer refuses this client's: {alert:?}"))
        }
        Some(_) | None => ClientError::Unreachable {
            address: address.to_owned(),
            reason: error.to_string(),
        },
    }
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    [
        AlertDescription::NoCertificate,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
        AlertDescription::CertificateRequired,
        AlertDescription::DecryptError,
    ]
    .contains(&alert)
}
