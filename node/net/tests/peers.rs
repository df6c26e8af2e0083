//! Who may stay, who is turned away, and who comes back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use alys_net::{Error, IdentityError, Network, NetworkEvent, RefusalReason, Topic};
use common::raw::{self, Raw, frame};
use common::{GENESIS, Node, SPEC, config_in, pair};

const OTHER: [u8; 32] = [0x33; 32];

/// Two nodes that must refuse each other; their first events about each other.
async fn refusals(
    change: impl FnOnce(&mut alys_net::NetworkConfig),
) -> (NetworkEvent, NetworkEvent) {
    let mut one = Node::start(|_| {}).await;
    let bootnodes = one.addresses().await;
    let mut two = Node::start(|config| {
        config.bootnodes = bootnodes;
        change(config);
    })
    .await;
    let events = (one.next().await, two.next().await);
    assert!(one.handle.peers().await.unwrap().is_empty());
    assert!(two.handle.peers().await.unwrap().is_empty());
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spec_is_refused_on_both_sides_with_expected_and_found() {
    let (at_one, at_two) = refusals(|config| config.spec_digest = OTHER).await;
    let expect = |event, (expected, found)| match event {
        NetworkEvent::PeerRefused { reason, .. } => {
            assert_eq!(reason, RefusalReason::WrongSpec { expected, found });
            let text = reason.to_string();
            assert!(
                text.starts_with("expected spec ") && text.contains(", found "),
                "{text}"
            );
        }
        other => panic!("expected a refusal, found {other:?}"),
    };
    expect(at_one, (SPEC, OTHER));
    expect(at_two, (OTHER, SPEC));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_genesis_is_refused_on_both_sides() {
    let (at_one, at_two) = refusals(|config| config.genesis_id = OTHER).await;
    let reason = |event| match event {
        NetworkEvent::PeerRefused { reason, .. } => reason,
        other => panic!("expected a refusal, found {other:?}"),
    };
    assert_eq!(
        reason(at_one),
        RefusalReason::WrongGenesis {
            expected: GENESIS,
            found: OTHER
        }
    );
    assert_eq!(
        reason(at_two),
        RefusalReason::WrongGenesis {
            expected: OTHER,
            found: GENESIS
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_peer_is_blocked_for_a_while_and_may_then_try_again() {
    let block = Duration::from_secs(2);
    let mut one = Node::start(|config| config.limits.refusal_block = block).await;
    let bootnodes = one.addresses().await;
    let two = Node::start(|config| {
        config.bootnodes = bootnodes;
        config.spec_digest = OTHER;
        config.limits.refusal_block = Duration::from_millis(100);
    })
    .await;
    one.until_refused(two.id()).await;
    let first = Instant::now();
    one.until_refused(two.id()).await;
    assert!(
        first.elapsed() >= block - Duration::from_millis(500),
        "refused again after {:?}",
        first.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tells_no_status_or_does_not_speak_it_is_refused() {
    let mut node =
        Node::start(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await;
    let silent = Raw::connect(&node.addresses().await).await;
    let waited = Duration::from_secs(1);
    assert_eq!(
        node.until_refused(silent.id).await,
        RefusalReason::NoStatus { waited }
    );

    let mut wrong = raw::status();
    wrong.spec_digest = OTHER;
    let mut liar = Raw::connect(&node.addresses().await).await;
    liar.send_status(frame(&alys_net::Request::Status(wrong)));
    let alys_net::Response::Status(told) = liar.answer().await else {
        panic!("expected a status")
    };
    assert_eq!(told.spec_digest, SPEC, "the refused peer learns why");
    assert!(matches!(
        node.until_refused(liar.id).await,
        RefusalReason::WrongSpec { .. }
    ));
    liar.until_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_bootnode_identity_is_reported() {
    let one = Node::start(|_| {}).await;
    let address = one.addresses().await.remove(0);
    let expected = alys_net::PeerId::random();
    let text = address
        .to_string()
        .replace(&one.id().to_string(), &expected.to_string());
    let mut two = Node::start(|config| config.bootnodes = vec![text.parse().unwrap()]).await;
    match two.until_refused(expected).await {
        RefusalReason::WrongIdentity { found, .. } => assert_eq!(found, one.id()),
        other => panic!("expected the wrong identity, found {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_nodes_reconnect_by_themselves() {
    let (one, mut two) = pair(|_| {}, |_| {}).await;
    let (one_id, two_id) = (one.id(), two.id());
    let listen: Vec<alys_net::Multiaddr> = one
        .addresses()
        .await
        .into_iter()
        .map(|mut address| {
            address.pop();
            address
        })
        .filter(|address| address.to_string().contains("/tcp/"))
        .collect();

    // The bootnode goes away and comes back at its address.
    let folder = one.stop().await;
    two.until_disconnected(one_id).await;
    let mut one = Node::start_in(folder, |config| config.listen = listen).await;
    assert_eq!(one.id(), one_id, "the identity is kept");
    two.until_connected(one_id).await;
    one.until_connected(two_id).await;

    // The other one goes away and comes back elsewhere.
    let bootnodes = one.addresses().await;
    let folder = two.stop().await;
    one.until_disconnected(two_id).await;
    let mut two = Node::start_in(folder, |config| config.bootnodes = bootnodes).await;
    one.until_connected(two_id).await;
    two.until_connected(one_id).await;

    while two
        .handle
        .publish(Topic::Approvals, b"back".to_vec())
        .await
        .is_err()
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(one.next_gossip().await.bytes, b"back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_starts_late_is_dialed_until_it_is_there() {
    let late_folder = tempfile::tempdir().unwrap();
    let reserved = Node::start_in(late_folder, |_| {}).await;
    let address = reserved
        .addresses()
        .await
        .into_iter()
        .find(|address| address.to_string().contains("/tcp/"))
        .unwrap();
    let late_id = reserved.id();
    let late_folder = reserved.stop().await;

    let mut early = Node::start(|config| config.members = vec![address.clone()]).await;
    let mut late = Node::start_in(late_folder, |config| {
        let mut listen = address;
        listen.pop();
        config.listen = vec![listen];
    })
    .await;
    early.until_connected(late_id).await;
    late.until_connected(early.id()).await;
    let peers = late.handle.peers().await.unwrap();
    assert_eq!(
        peers[0].direction,
        alys_net::Direction::Inbound,
        "the early one dialed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_identities_and_addresses_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start_in(folder, |_| {}).await;
    let taken = node.addresses().await;
    let folder = node.stop().await;

    let path = folder.path().join("identity");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Network::start(config_in(&folder)).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Identity(IdentityError::Permissions { found: 0o644, .. })
        ),
        "{error}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    let port = taken.iter().find_map(|address| {
        address.iter().find_map(|part| match part {
            libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
            _ => None,
        })
    });
    let socket =
        std::net::TcpListener::bind(("127.0.0.1", port.unwrap())).expect("shutdown freed the port");
    let mut config = config_in(&folder);
    config.listen = vec![
        format!("/ip4/127.0.0.1/tcp/{}", socket.local_addr().unwrap().port())
            .parse()
            .unwrap(),
    ];
    let error = Network::start(config).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error}");

    let mut config = config_in(&folder);
    config.bootnodes = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
    assert!(matches!(
        Network::start(config).await,
        Err(Error::Config(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_either_end_stops_the_network() {
    let (one, mut two) = pair(|_| {}, |_| {}).await;
    let one_id = one.id();
    let Node { handle, events, .. } = one;
    drop(events);
    two.until_disconnected(one_id).await;
    handle.shutdown().await;

    let (three, mut four) = pair(|_| {}, |_| {}).await;
    let three_id = three.id();
    let Node {
        handle, mut events, ..
    } = three;
    drop(handle);
    four.until_disconnected(three_id).await;
    while events.recv().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_turns_strangers_away_but_not_its_members() {
    let mut member = Node::start(|_| {}).await;
    let members = member.addresses().await;
    let mut full = Node::start(|config| {
        config.limits.max_peers = 1;
        config.limits.target_peers = 1;
    })
    .await;
    let first = Raw::connect_properly(&full.addresses().await).await;
    full.until_connected(first.id).await;
    let mut second = Raw::dial(&full.addresses().await);
    second.until_closed().await;
    assert_eq!(full.handle.peers().await.unwrap().len(), 1);

    let mut fuller = Node::start(|config| {
        config.limits.max_peers = 1;
        config.limits.target_peers = 1;
        config.members = members;
    })
    .await;
    fuller.until_connected(member.id()).await;
    member.until_connected(fuller.id()).await;
    let stranger = Raw::connect_properly(&fuller.addresses().await).await;
    fuller.until_connected(stranger.id).await;
    assert_eq!(
        fuller.handle.peers().await.unwrap().len(),
        2,
        "members take no stranger's place"
    );
}
