//! What a connection to a signer turned out to be.

use crate::certificate::{Certificate, CertificateReport};
use crate::key_exchange::Negotiated;
use crate::revocation::{ListReport, RevocationLists};
use rustls::pki_types::UnixTime;
use serde::Serialize;

/// A connection, as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What its keys were agreed on by.
    pub key_exchange: Negotiated,
    /// The client's own certificate.
    pub client: Certificate,
    /// The signer's.
    pub server: Certificate,
    /// The lists that the signer's certificate is not on; none where the configuration names no file.
    pub revoked: Option<RevocationLists>,
}

impl Link {
    /// From then on this client would not connect any more: the signer's certificate or a list ends.
    pub fn ends(&self) -> UnixTime {
        let lists = self.revoked.as_ref().and_then(RevocationLists::next_update);
        lists.map_or(self.server.not_after, |lists| {
            lists.min(self.server.not_after)
        })
    }

    /// What to print of it at `now`.
    pub fn report(&self, now: UnixTime) -> LinkReport {
        let lists = self.revoked.iter().flat_map(RevocationLists::iter);
        LinkReport {
            key_exchange: self.key_exchange.to_string(),
            post_quantum: self.key_exchange.is_post_quantum(),
            client_certificate: self.client.report(now),
            server_certificate: self.server.report(now),
            server_crl: lists.map(|list| list.report(now)).collect(),
        }
    }
}

/// A link, printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkReport {
    /// Name of the TLS group.
    pub key_exchange: String,
    /// Whether a quantum computer could not read what was recorded, either.
    pub post_quantum: bool,
    /// The client's own certificate.
    pub client_certificate: CertificateReport,
    /// The signer's.
    pub server_certificate: CertificateReport,
    /// The lists of revoked signers' certificates; empty where none is configured.
    pub server_crl: Vec<ListReport>,
}
