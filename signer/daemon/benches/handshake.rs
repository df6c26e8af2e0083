//! What the hybrid key exchange costs: mutual TLS handshakes in memory, both ends on one thread, hybrid and classical in
//! turns, against the signer's own acceptor.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use alys_signer::config::TlsConfig;
use alys_signer::tls::{Files, Transport};
use alys_signer_client::{KeyExchange, pem};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::Rig;
use tokio_rustls::TlsConnector;

const HANDSHAKES: usize = 1000;

struct Client {
    name: &'static str,
    connector: TlsConnector,
    times: Vec<Duration>,
}

impl Client {
    fn new(rig: &Rig, name: &'static str, group: &'static dyn SupportedKxGroup) -> Self {
        let provider = CryptoProvider {
            kx_groups: vec![group],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(pem::roots(&rig.path("signers.pem")).unwrap())
            .with_client_auth_cert(
                pem::certificates(&rig.path("node.pem")).unwrap(),
                pem::private_key(&rig.path("node.key")).unwrap(),
            )
            .unwrap();
        config.resumption = rustls::client::Resumption::disabled();
        Self {
            name,
            connector: TlsConnector::from(Arc::new(config)),
            times: Vec::new(),
        }
    }

    async fn shake(&mut self, server: &Transport) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("signer.alys.internal").unwrap();
        let start = Instant::now();
        let (connected, accepted) = tokio::join!(
            self.connector.connect(name, near),
            server.acceptor.accept(far)
        );
        self.times.push(start.elapsed());
        connected.unwrap();
        accepted.unwrap();
    }

    fn median(&mut self) -> f64 {
        self.times.sort_unstable();
        self.times[self.times.len() / 2].as_secs_f64() * 1e6
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rig = Rig::new();
    let mut files = Files::new(TlsConfig {
        certificate: rig.path("signer.pem"),
        key: rig.path("signer.key"),
        client_ca: rig.path("clients.pem"),
        client_crl: None,
        key_exchange: KeyExchange::ClassicalAllowed,
    });
    let server = files.read().unwrap();
    let mut clients = [
        Client::new(&rig, "X25519", kx_group::X25519),
        Client::new(&rig, "X25519MLKEM768", kx_group::X25519MLKEM768),
    ];
    for _ in 0..HANDSHAKES {
        for client in &mut clients {
            client.shake(&server).await;
        }
    }
    let medians = clients.each_mut().map(Client::median);
    for (client, median) in clients.iter().zip(medians) {
        println!(
            "{:<15} median {median:7.1} us of {HANDSHAKES} handshakes",
            client.name
        );
    }
    println!("hybrid : classical = {:.2}", medians[1] / medians[0]);
}
