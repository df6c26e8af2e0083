//! Who may connect and what may be said, over real TLS to a real process.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alys_protocol::bytes::SpecDigest;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{MAX_FRAME_BYTES, PROTOCOL_VERSION, ProtocolError, Reply, Request};
use alys_protocol::units::MemberId;
use alys_signer_client::{ClientConfig, ClientError, Expected, Role, SignerClient};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::NamedGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::UnixTime;
use rustls::version::{TLS12, TLS13};
use std::sync::Arc;
use support::{
    Authority, Rig, client_certificate, envelope, expired, read_reply, server_certificate,
};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn each_role_has_its_operations_and_no_other() {
    let rig = Rig::new();
    let running = rig.start();
    let header = rig.honest.child_of(0, 4, |_| ()).header;
    for role in Role::ALL {
        let client = rig.client(&running, role.name()).await;
        let status = client.status().await.unwrap();
        assert_eq!(status.member, MemberId::new(0));
        assert_eq!(status.spec, rig.honest.chain.digest());
        let signed = client.sign_proposal(&header).await;
        if role == Role::Node {
            assert!(signed.is_ok(), "{signed:?}");
            continue;
        }
        let Err(ClientError::Forbidden {
            role: said,
            operation,
        }) = signed
        else {
            panic!("expected Forbidden, found {signed:?}");
        };
        assert_eq!(
            (said.as_str(), operation.as_str()),
            (role.name(), "sign-proposal")
        );
        // The connection serves on.
        assert!(client.status().await.is_ok());
    }
    assert!(running.stop(), "SIGTERM ends it well");
}

#[tokio::test]
async fn certificates_that_are_wrong_get_nothing() {
    let rig = Rig::new();
    let running = rig.start();
    let stranger = Authority::new("clients");
    rig.issue_by(&stranger, "stranger", |params| {
        client_certificate(params, &Role::Node.uri());
    });
    rig.issue("expired", expired);
    // A certificate for servers, of the same CA.
    rig.issue("server", server_certificate);
    for name in ["stranger", "expired", "server"] {
        let refused =
            SignerClient::connect(rig.client_config(&running, name), rig.expected()).await;
        let Err(error @ ClientError::Certificate { .. }) = refused else {
            panic!("{name}: expected Certificate, found {refused:?}");
        };
        assert!(error.to_string().contains("this client's"), "{error}");
    }
    // No certificate at all.
    let mut bare = rig.raw(&running, None, &[&TLS13]).await.unwrap();
    let _ = bare
        .write_all(&envelope(PROTOCOL_VERSION, Request::Status))
        .await;
    assert_eq!(read_reply(&mut bare).await, None);
    // The right CA, but no role, an unknown one, or two.
    let two = [Role::Node.uri(), Role::Auditor.uri()];
    rig.issue("two", |params| {
        client_certificate(params, &two[0]);
        let second = rcgen::SanType::URI(two[1].as_str().try_into().unwrap());
        params.subject_alt_names.push(second);
    });
    rig.issue("unknown", |params| {
        client_certificate(params, "alys://role/root")
    });
    rig.issue("none", |params| {
        client_certificate(params, "alys://elsewhere")
    });
    for name in ["two", "unknown", "none"] {
        let mut strange = rig.raw(&running, Some(name), &[&TLS13]).await.unwrap();
        let reply = read_reply(&mut strange).await;
        assert!(
            matches!(reply, Some(Reply::Error(ProtocolError::Forbidden { .. }))),
            "{name}: {reply:?}"
        );
    }
    // Our client does not even try with the first two.
    for name in ["two", "unknown"] {
        let refused = SignerClient::new(rig.client_config(&running, name), None);
        assert!(
            matches!(refused, Err(ClientError::Config { .. })),
            "{name}: {refused:?}"
        );
    }
    let refused = SignerClient::connect(rig.client_config(&running, "none"), rig.expected()).await;
    assert!(
        matches!(refused, Err(ClientError::Forbidden { .. })),
        "{refused:?}"
    );
    // Honest clients are served all the while.
    assert!(rig.client(&running, "node").await.status().await.is_ok());
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let rig = Rig::new();
    let running = rig.start();
    assert!(rig.raw(&running, Some("node"), &[&TLS13]).await.is_ok());
    let old = rig.raw(&running, Some("node"), &[&TLS12]).await;
    assert!(old.is_err());
}

#[tokio::test]
async fn a_client_refuses_a_signer_that_is_not_the_expected_one() {
    let rig = Rig::new();
    let running = rig.start();
    let mut config = rig.client_config(&running, "node");
    config.server_ca = rig.path("clients.pem");
    let wrong_ca = SignerClient::connect(config.clone(), rig.expected()).await;
    let Err(error @ ClientError::Certificate { .. }) = wrong_ca else {
        panic!("expected Certificate, found {wrong_ca:?}");
    };
    assert!(error.to_string().contains("the signer's"), "{error}");
    config.server_ca = rig.path("signers.pem");
    config.server_name = "elsewhere.alys.internal".to_owned();
    let wrong_name = SignerClient::connect(config.clone(), rig.expected()).await;
    assert!(matches!(wrong_name, Err(ClientError::Certificate { .. })));
    let config = rig.client_config(&running, "node");
    let other_spec = Expected {
        spec: SpecDigest::ZERO,
        ..rig.expected()
    };
    let other_member = Expected {
        member: Some(MemberId::new(1)),
        ..rig.expected()
    };
    for (expected, what) in [(other_spec, "chain spec"), (other_member, "member")] {
        let wrong = SignerClient::connect(config.clone(), expected).await;
        let Err(error @ ClientError::WrongSigner { .. }) = wrong else {
            panic!("expected WrongSigner, found {wrong:?}");
        };
        assert!(error.to_string().contains(what), "{error}");
    }
    drop(running);
    let gone = SignerClient::connect(config, rig.expected()).await;
    assert!(
        matches!(gone, Err(ClientError::Unreachable { .. })),
        "{gone:?}"
    );
}

#[tokio::test]
async fn a_client_reconnects() {
    let rig = Rig::new();
    let running = rig.start();
    let address = running.address.clone();
    let client = rig.client(&running, "node").await;
    drop(running);
    assert!(client.status().await.is_err());
    let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
    let same_port = text.replace("127.0.0.1:0", &address);
    support::write(&rig.path("signer.toml"), &same_port);
    let _running = rig.start();
    assert!(client.status().await.is_ok());
}

#[tokio::test]
async fn bad_frames_get_an_error_and_the_signer_serves_on() {
    let rig = Rig::new();
    let running = rig.start();
    let connect = || async { rig.raw(&running, Some("node"), &[&TLS13]).await.unwrap() };
    let malformed = |reply: Option<Reply>| {
        assert!(
            matches!(reply, Some(Reply::Error(ProtocolError::Malformed(_)))),
            "{reply:?}"
        );
    };
    // A frame that is announced too long, with and without the bytes.
    let too_long = u32::try_from(MAX_FRAME_BYTES + 1).unwrap().to_be_bytes();
    for length in [too_long, [0xff; 4]] {
        let mut stream = connect().await;
        stream.write_all(&length).await.unwrap();
        let _ = stream.write_all(&[0; 4096]).await;
        malformed(read_reply(&mut stream).await);
        assert_eq!(read_reply(&mut stream).await, None, "the connection ends");
    }
    // No request, an empty frame, bytes after the request.
    let mut trailing = envelope(PROTOCOL_VERSION, Request::Status);
    trailing.push(0);
    trailing[3] += 1;
    for frame in [vec![0, 0, 0, 2, 1, 250], vec![0; 4], trailing] {
        let mut stream = connect().await;
        stream.write_all(&frame).await.unwrap();
        malformed(read_reply(&mut stream).await);
    }
    // Another version.
    let mut stream = connect().await;
    stream
        .write_all(&envelope(PROTOCOL_VERSION + 1, Request::Status))
        .await
        .unwrap();
    let expected = ProtocolError::Version {
        expected: PROTOCOL_VERSION,
        found: PROTOCOL_VERSION + 1,
    };
    assert_eq!(read_reply(&mut stream).await, Some(Reply::Error(expected)));
    // A frame that ends early.
    let mut stream = connect().await;
    stream.write_all(&[0, 0, 1, 0, 1]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_reply(&mut stream).await, None);
    // No headers at all.
    let mut stream = connect().await;
    let headers = Request::BitcoinHeaders(alys_protocol::bounded::BoundedVec::empty());
    stream
        .write_all(&envelope(PROTOCOL_VERSION, headers))
        .await
        .unwrap();
    let reply = read_reply(&mut stream).await;
    assert!(matches!(reply, Some(Reply::Bitcoin(standing)) if standing.tip.is_none()));
    assert!(rig.client(&running, "node").await.status().await.is_ok());
}

#[tokio::test]
async fn rate_is_limited_for_each_certificate_across_connections() {
    let rig = Rig::with_limits("requests_per_second = 1\nrequest_burst = 4");
    let running = rig.start();
    let mut refused = 0;
    for _connection in 0..4 {
        // Each client asks for the status once to check the signer, and once more here.
        let client = SignerClient::new(rig.client_config(&running, "node"), None).unwrap();
        for _request in 0..2 {
            match client.status().await {
                Ok(_) => {}
                Err(ClientError::Refused(refusal)) => {
                    assert_eq!(refusal.rule, Rule::Rate);
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(refused >= 2, "{refused} of 8 refused");
    assert!(rig.client(&running, "auditor").await.status().await.is_ok());
}

#[tokio::test]
async fn connections_are_limited() {
    let rig = Rig::with_limits("connections = 2");
    let running = rig.start();
    let first = rig.client(&running, "node").await;
    let second = rig.client(&running, "auditor").await;
    let third = SignerClient::connect(rig.client_config(&running, "officer"), rig.expected()).await;
    assert!(third.is_err());
    assert!(first.status().await.is_ok());
    assert!(second.status().await.is_ok());
}

/// Both sides change to certificates of other authorities while requests go on: none is lost, the old ones are worth
/// nothing at once, and files that are no certificates change nothing.
#[tokio::test]
async fn certificates_are_rotated_under_load() {
    let rig = Rig::with_limits("requests_per_second = 1000000\nrequest_burst = 1000000");
    let running = rig.start();
    let client = Arc::new(rig.client(&running, "node").await);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asking = tokio::spawn({
        let (client, stop) = (client.clone(), stop.clone());
        async move {
            let mut asked = 0u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                client.status().await.unwrap();
                asked += 1;
            }
            asked
        }
    });
    // A connection of before, to see that it does not stay.
    let mut open = rig.raw(&running, Some("auditor"), &[&TLS13]).await.unwrap();
    let status = envelope(PROTOCOL_VERSION, Request::Status);
    open.write_all(&status).await.unwrap();
    assert!(read_reply(&mut open).await.is_some());

    // First both authorities are trusted, then the new certificates come, then the old authority goes.
    let (clients, servers) = (Authority::new("clients 2"), Authority::new("signers 2"));
    let trust = |clients_pem: &str, servers_pem: &str| {
        support::write(&rig.path("clients.pem"), clients_pem);
        support::write(&rig.path("signers.pem"), servers_pem);
    };
    let both = |old: &Authority, new: &Authority| format!("{}{}", old.pem, new.pem);
    trust(&both(&rig.clients, &clients), &both(&rig.servers, &servers));
    hang_up(&running, 1).await;
    client.renew().await.unwrap();
    assert_eq!(read_reply(&mut open).await, None, "it ended");

    for role in [Role::Node, Role::Auditor] {
        let name = role.name();
        for kind in ["pem", "key"] {
            let (from, to) = (format!("{name}.{kind}"), format!("old-{name}.{kind}"));
            std::fs::copy(rig.path(&from), rig.path(&to)).unwrap();
        }
        rig.issue_by(&clients, name, |params| {
            client_certificate(params, &role.uri())
        });
    }
    let (certificate, key) = servers.issue(server_certificate);
    support::write(&rig.path("signer.pem"), &certificate);
    support::write(&rig.path("signer.key"), &key);
    hang_up(&running, 2).await;
    client.renew().await.unwrap();
    trust(&clients.pem, &servers.pem);
    hang_up(&running, 3).await;
    client.renew().await.unwrap();
    client.status().await.unwrap();
    let new = rig.raw(&running, Some("auditor"), &[&TLS13]).await;
    assert!(asks(new).await, "the new certificate");
    let old = rig.raw(&running, Some("old-auditor"), &[&TLS13]).await;
    assert!(!asks(old).await, "the old one");

    support::write(&rig.path("clients.pem"), "no certificate");
    hang_up(&running, 4).await;
    assert!(running.log().contains("the old ones stay"));
    let new = rig.raw(&running, Some("auditor"), &[&TLS13]).await;
    assert!(asks(new).await);
    support::write(&rig.path("signers.pem"), "no certificate");
    assert!(client.renew().await.is_err());
    client.status().await.unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(asking.await.unwrap() > 0);
    assert!(running.stop());
}

/// A client that offers one group only.
fn only(group: &'static dyn SupportedKxGroup) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![group],
        ..rustls::crypto::aws_lc_rs::default_provider()
    })
}

/// What the signer's log says of connections.
fn logged(running: &support::Running, message: &str) -> Vec<serde_json::Value> {
    let log = running.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &serde_json::Value| {
            line["message"]
                .as_str()
                .is_some_and(|it| it.contains(message))
        })
        .collect()
}

async fn until_logged(running: &support::Running, message: &str) {
    while logged(running, message).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_and_both_ends_say_so() {
    let rig = Rig::new();
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let link = client.link().borrow().clone().unwrap();
    assert_eq!(link.key_exchange.to_string(), "X25519MLKEM768");
    let report = link.report(UnixTime::now());
    assert!(report.post_quantum);
    assert_eq!(report.client_certificate.role, "node");
    assert_eq!(report.server_certificate.role, "signer");
    assert!(report.server_crl.is_empty());
    let connected = logged(&running, "connected");
    assert_eq!(connected[0]["key_exchange"], "X25519MLKEM768");
    assert_eq!(
        connected[0]["serial"],
        report.client_certificate.serial.to_string()
    );

    // Clients that cannot, or do not want to. The log has one line of strangers each second.
    for group in [kx_group::X25519, kx_group::SECP256R1, kx_group::MLKEM768] {
        let other = rig
            .raw_by(only(group), &running, Some("node"), &[&TLS13])
            .await;
        assert!(other.is_err(), "{group:?}");
    }
    let why = "the client offers no key exchange that is accepted here: expected X25519MLKEM768";
    until_logged(&running, why).await;
    // One that prefers something else, and can.
    let both = CryptoProvider {
        kx_groups: vec![kx_group::X25519, kx_group::X25519MLKEM768],
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let asked_again = rig
        .raw_by(Arc::new(both), &running, Some("node"), &[&TLS13])
        .await
        .unwrap();
    let (_, connection) = asked_again.get_ref();
    let group = connection.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn classical_links_need_a_word_on_the_signers_side() {
    let rig = Rig::new();
    rig.configure_tls("key_exchange = 'classical-allowed'");
    let running = rig.start();
    // Ours goes on preferring the hybrid one.
    let client = rig.client(&running, "node").await;
    assert!(
        client
            .link()
            .borrow()
            .as_ref()
            .unwrap()
            .key_exchange
            .is_post_quantum()
    );
    let classical = rig
        .raw_by(only(kx_group::X25519), &running, Some("auditor"), &[&TLS13])
        .await;
    assert!(asks(classical).await);
    let groups: Vec<_> = logged(&running, "connected")
        .iter()
        .map(|line| line["key_exchange"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(groups, ["X25519MLKEM768", "X25519"]);

    let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
    let unknown = text.replace("classical-allowed", "none");
    support::write(&rig.path("signer.toml"), &unknown);
    let error = rig.try_start().err().unwrap();
    assert!(error.contains("key_exchange"), "{error}");
}

/// A server of yesterday behind the signer's address.
#[tokio::test]
async fn a_client_does_without_a_signer_that_is_classical_only() {
    let rig = Rig::new();
    let server = rustls::ServerConfig::builder_with_provider(only(kx_group::X25519))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            alys_signer_client::pem::certificates(&rig.path("signer.pem")).unwrap(),
            alys_signer_client::pem::private_key(&rig.path("signer.key")).unwrap(),
        )
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(|_| ()).unwrap_err()
    });
    let config = ClientConfig::new(
        address,
        rig.path("signers.pem"),
        rig.path("node.pem"),
        rig.path("node.key"),
    );
    let refused = SignerClient::connect(config, rig.expected()).await;
    let Err(error @ ClientError::KeyExchange { .. }) = refused else {
        panic!("expected KeyExchange, found {refused:?}");
    };
    assert!(error.to_string().contains("X25519MLKEM768"), "{error}");
    serving.await.unwrap();
}

#[tokio::test]
async fn a_revoked_client_is_out_from_the_reload_on() {
    let rig = Rig::new();
    rig.issue("stolen", |params| {
        client_certificate(params, &Role::Auditor.uri());
        params.serial_number = Some(7u64.into());
    });
    rig.configure_tls("client_crl = 'clients.crl'");
    let publish = |list: &str| support::write(&rig.path("clients.crl"), list);
    let (empty, revoked) = (
        rig.clients.list(1, &[], false),
        rig.clients.list(2, &[7], false),
    );
    publish(&empty);
    let running = rig.start();
    let mut open = rig.raw(&running, Some("stolen"), &[&TLS13]).await.unwrap();
    let status = envelope(PROTOCOL_VERSION, Request::Status);
    open.write_all(&status).await.unwrap();
    assert!(read_reply(&mut open).await.is_some());

    publish(&revoked);
    hang_up(&running, 1).await;
    assert_eq!(read_reply(&mut open).await, None, "it ended");
    let refused =
        SignerClient::connect(rig.client_config(&running, "stolen"), rig.expected()).await;
    let Err(error @ ClientError::Certificate { .. }) = refused else {
        panic!("expected Certificate, found {refused:?}");
    };
    assert!(error.to_string().contains("CertificateRevoked"), "{error}");
    until_logged(&running, "the client's certificate is revoked").await;
    // Others are served.
    assert!(rig.client(&running, "node").await.status().await.is_ok());

    // What must not give the certificate back: the list of before, one cut short, another authority's, one that has
    // ended, none at all.
    let cut: String = revoked.chars().take(revoked.len() / 2).collect();
    for (turn, (list, why)) in [
        (empty.as_str(), "expected number 2 or higher, found 1"),
        (
            &rig.clients.list(2, &[], false),
            "found another of that number",
        ),
        (&cut, "clients.crl: expected lists of revoked certificates"),
        (&rig.servers.list(3, &[], false), "found one of \"signers\""),
        (&rig.clients.list(3, &[], true), "2021-01-01"),
        ("", "found none of \"clients\""),
    ]
    .into_iter()
    .enumerate()
    {
        publish(list);
        hang_up(&running, turn + 2).await;
        let kept = logged(&running, "the old ones stay");
        let error = kept.last().unwrap()["error"].as_str().unwrap();
        assert_eq!(kept.len(), turn + 1);
        assert!(error.contains(why), "{error}");
        let old = rig.raw(&running, Some("stolen"), &[&TLS13]).await;
        assert!(!asks(old).await, "{why}");
    }
    assert!(rig.client(&running, "node").await.status().await.is_ok());
    // A list that cannot be used starts no signer either.
    drop(running);
    publish(&rig.clients.list(3, &[], true));
    let error = rig.try_start().err().unwrap();
    assert!(error.contains("2021-01-01"), "{error}");
}

#[tokio::test]
async fn a_revoked_signer_is_refused_by_its_clients() {
    let rig = Rig::new();
    let (certificate, key) = rig.servers.issue(|params| {
        server_certificate(params);
        params.serial_number = Some(9u64.into());
    });
    support::write(&rig.path("signer.pem"), &certificate);
    support::write(&rig.path("signer.key"), &key);
    let running = rig.start();
    let publish = |list: &str| support::write(&rig.path("signers.crl"), list);
    publish(&rig.servers.list(1, &[], false));
    let mut config = rig.client_config(&running, "node");
    config.server_crl = Some(rig.path("signers.crl"));
    let client = SignerClient::connect(config.clone(), rig.expected())
        .await
        .unwrap();
    let link = client.link().borrow().clone().unwrap();
    let lists = link.report(UnixTime::now()).server_crl;
    assert_eq!(
        (lists[0].authority.as_str(), lists[0].number.as_str()),
        ("signers", "1")
    );

    publish(&rig.servers.list(2, &[9], false));
    client.renew().await.unwrap();
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Certificate { .. }), "{error}");
    assert!(error.to_string().contains("Revoked"), "{error}");
    // Back to the list of before: the newer one stays.
    publish(&rig.servers.list(1, &[], false));
    let error = client.renew().await.unwrap_err().to_string();
    assert!(
        error.contains("expected number 2 or higher, found 1"),
        "{error}"
    );
    assert!(client.status().await.is_err());
    publish(&rig.servers.list(3, &[], true));
    let ended = SignerClient::new(config, None).unwrap_err().to_string();
    assert!(
        ended.contains("signers.crl") && ended.contains("2021"),
        "{ended}"
    );
}

#[tokio::test]
async fn status_shows_the_link_and_the_log_warns_ahead() {
    let rig = Rig::new();
    rig.issue("auditor", |params| {
        client_certificate(params, &Role::Auditor.uri());
        ends_soon(params);
    });
    let (certificate, key) = rig.servers.issue(|params| {
        server_certificate(params);
        ends_soon(params);
    });
    support::write(&rig.path("signer.pem"), &certificate);
    support::write(&rig.path("signer.key"), &key);
    let running = rig.start();
    let warned = logged(&running, "the signer's certificate");
    assert!(
        warned[0]["message"].as_str().unwrap().contains("in 9 days"),
        "{warned:?}"
    );
    let config = rig.client_config(&running, "auditor");
    support::write(&rig.path("client.toml"), &toml::to_string(&config).unwrap());
    let output = rig.client_command("status", "client.toml");
    assert!(output.status.success(), "{output:?}");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["member"], 0);
    let connection = &status["connection"];
    assert_eq!(connection["key_exchange"], "X25519MLKEM768");
    assert_eq!(connection["post_quantum"], true);
    assert_eq!(connection["client_certificate"]["days_left"], 9);
    assert_eq!(connection["client_certificate"]["role"], "auditor");
    assert_eq!(connection["server_certificate"]["days_left"], 9);
    assert_eq!(
        logged(&running, "this client's certificate ends soon").len(),
        1
    );
}

/// Nine and a half days from now.
fn ends_soon(params: &mut CertificateParams) {
    let seconds = UnixTime::now().as_secs() + 9 * 86_400 + 43_200;
    params.not_after = date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds);
}

/// SIGHUP, until the log says what became of it, for the `times`-th time.
async fn hang_up(running: &support::Running, times: usize) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(running.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    let read = || {
        let log = running.log();
        // A line that is being written is not there yet.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.matches("read again").count()
    };
    while read() < times {
        tokio::task::yield_now().await;
    }
}

/// Whether a connection gets an answer.
async fn asks(
    connection: std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>,
) -> bool {
    let Ok(mut stream) = connection else {
        return false;
    };
    let status = envelope(PROTOCOL_VERSION, Request::Status);
    stream.write_all(&status).await.is_ok() && read_reply(&mut stream).await.is_some()
}
