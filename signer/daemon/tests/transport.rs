//! Who may connect and what may be said, over real TLS to a real process.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alys_protocol::bytes::SpecDigest;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{MAX_FRAME_BYTES, PROTOCOL_VERSION, ProtocolError, Reply, Request};
use alys_protocol::units::MemberId;
use alys_signer_client::{ClientError, Expected, Role, SignerClient};
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
        let refused =
            SignerClient::connect(rig.client_config(&running, name), rig.expected()).await;
        assert!(
            matches!(refused, Err(ClientError::Forbidden { .. })),
            "{name}: {refused:?}"
        );
    }
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

/// SIGHUP, until the log says what became of it, for the `times`-th time.
async fn hang_up(running: &support::Running, times: usize) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(running.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    let read = || running.log().matches("read again").count();
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
