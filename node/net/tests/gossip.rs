//! Discovery and gossip between real nodes on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

mod common;

use std::collections::BTreeSet;

use alys_net::{NetworkEvent, PublishError, RateLimit, Topic, Verdict};
use common::raw::Raw;
use common::{Node, pair};

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_with_one_bootnode_find_each_other_and_gossip_reaches_all() {
    let boot = Node::start(|_| {}).await;
    let mut nodes = vec![];
    for _ in 0..4 {
        nodes.push(Node::start_knowing(&boot).await);
    }
    nodes.push(boot);
    let all: BTreeSet<_> = nodes.iter().map(Node::id).collect();
    assert_eq!(all.len(), 5);

    for node in &mut nodes {
        let mut missing = all.clone();
        missing.remove(&node.id());
        while !missing.is_empty() {
            if let NetworkEvent::PeerConnected { peer, status } = node.next().await {
                assert!(
                    missing.remove(&peer),
                    "announced once, and a member of this network"
                );
                assert_eq!(status.spec_digest, common::SPEC);
            }
        }
        assert_eq!(node.handle.peers().await.unwrap().len(), 4);
    }

    for topic in Topic::ALL {
        let (publisher, others) = nodes.split_first_mut().unwrap();
        publisher
            .handle
            .publish(topic, topic.name().into())
            .await
            .unwrap();
        for node in others.iter_mut() {
            let gossip = node.next_gossip().await;
            assert_eq!((gossip.topic, gossip.source), (topic, publisher.id()));
            assert_eq!(gossip.bytes, topic.name().as_bytes());
            node.handle
                .report(gossip.id, Verdict::Accept)
                .await
                .unwrap();
        }
        nodes.rotate_left(1);
    }
}

/// `raw` is connected to `relay` only, `far` is connected to `relay` only.
async fn line() -> (Raw, Node, Node) {
    let (mut relay, far) = pair(|_| {}, |_| {}).await;
    let raw = Raw::connect_properly(&relay.addresses().await).await;
    relay.until_connected(raw.id).await;
    (raw, relay, far)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_accepted_messages_are_forwarded_and_rejected_ones_cost_score() {
    let (raw, mut relay, mut far) = line().await;
    let before = relay.score_of(raw.id).await;
    assert!(before >= 0.0);

    for (content, verdict) in [
        ("ignored", Verdict::Ignore),
        ("rejected", Verdict::Reject),
        ("accepted", Verdict::Accept),
    ] {
        raw.publish("auxpow", content.into());
        let gossip = relay.next_gossip().await;
        assert_eq!(gossip.bytes, content.as_bytes());
        assert_eq!((gossip.source, gossip.forwarder), (raw.id, raw.id));
        relay.handle.report(gossip.id, verdict).await.unwrap();
        let score = relay.score_of(raw.id).await;
        match verdict {
            Verdict::Ignore => assert!(score >= 0.0, "ignoring costs nothing: {score}"),
            Verdict::Reject => assert!(
                score <= before - 5.0,
                "rejecting costs: {before} -> {score}"
            ),
            Verdict::Accept => {}
        }
    }

    let arrived = far.next_gossip().await;
    assert_eq!(
        String::from_utf8(arrived.bytes).unwrap(),
        "accepted",
        "the first to arrive is the accepted one"
    );
    assert_eq!((arrived.source, arrived.forwarder), (raw.id, relay.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_messages_are_dropped_cost_score_and_do_no_harm() {
    let (raw, mut relay, far) = line().await;
    let limit = Topic::Approvals.max_bytes();
    raw.publish("approvals", vec![1; limit]);
    let fits = relay.next_gossip().await;
    assert_eq!(fits.bytes.len(), limit);
    relay.handle.report(fits.id, Verdict::Accept).await.unwrap();

    // One byte over our limit; then over the library's limit for the topic.
    raw.publish("approvals", vec![2; limit + 1]);
    raw.publish("approvals", vec![3; 3 * limit]);
    raw.publish("auxpow", b"marker".to_vec());
    let next = relay.next_gossip().await;
    assert_eq!(next.bytes, b"marker", "neither was handed up");
    let score = relay.score_of(raw.id).await;
    assert!(score <= -20.0, "two invalid messages: {score}");

    // Larger than any message: the stream ends, the node goes on.
    raw.publish("proposals", vec![4; 8 * 1024 * 1024]);
    far.handle
        .publish(Topic::Proposals, vec![5; Topic::Proposals.max_bytes()])
        .await
        .unwrap();
    let next = relay.next_gossip().await;
    assert_eq!(next.source, far.id());
    assert_eq!(next.bytes.len(), Topic::Proposals.max_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_says_why_it_did_not() {
    let lonely = Node::start(|_| {}).await;
    let topic = Topic::AuxPow;
    assert_eq!(
        lonely.handle.publish(topic, vec![1]).await,
        Err(PublishError::NoPeers { topic })
    );
    let found = topic.max_bytes() + 1;
    assert_eq!(
        lonely.handle.publish(topic, vec![0; found]).await,
        Err(PublishError::TooLarge {
            topic,
            limit: found - 1,
            found
        })
    );

    let (one, mut two) = pair(|_| {}, |_| {}).await;
    // The subscription may arrive after the announcement of the peer; a first message from it proves that it has.
    while two.handle.publish(topic, vec![1]).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        two.handle.publish(topic, vec![1]).await,
        Err(PublishError::Duplicate { topic })
    );
    one.handle.shutdown().await;
    two.until_disconnected(one.id()).await;
    assert!(matches!(
        one.handle.publish(topic, vec![1]).await,
        Err(PublishError::Closed(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_publishers_are_heard_on_a_members_topic() {
    let topic = Topic::Approvals;
    let member = Node::start(|_| {}).await;
    let allowed = BTreeSet::from([member.id()]);
    let bootnodes = member.addresses().await;
    let mut listener = Node::start(|config| {
        config.bootnodes = bootnodes;
        config.allowed_publishers.insert(topic, allowed);
    })
    .await;
    listener.until_connected(member.id()).await;
    assert_eq!(
        listener.handle.publish(topic, vec![1]).await,
        Err(PublishError::NotAllowed { topic })
    );

    let stranger = Raw::connect_properly(&listener.addresses().await).await;
    listener.until_connected(stranger.id).await;
    stranger.publish("approvals", b"of a stranger".to_vec());
    stranger.publish("auxpow", b"open to all".to_vec());
    assert_eq!(listener.next_gossip().await.bytes, b"open to all");
    assert!(listener.score_of(stranger.id).await <= -5.0);

    member
        .handle
        .publish(topic, b"of a stranger".to_vec())
        .await
        .unwrap();
    let heard = listener.next_gossip().await;
    assert_eq!(
        heard.source,
        member.id(),
        "a stranger who says it first does not silence the member"
    );
    assert_eq!(heard.bytes, b"of a stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_relays_members_and_shields_others_from_strangers() {
    let member = Node::start(|_| {}).await;
    let members = BTreeSet::from([member.id()]);
    let bootnodes = member.addresses().await;
    // Connected to everybody; the others to it only.
    let mut observer = Node::start(|config| {
        config.bootnodes = bootnodes;
        config.allow_members_only(&members);
    })
    .await;
    observer.until_connected(member.id()).await;
    let bootnodes = observer.addresses().await;
    // Knows no list, so that what arrives here was forwarded.
    let mut far = Node::start(|config| {
        config.bootnodes = bootnodes;
        config.limits.target_peers = 0;
    })
    .await;
    far.until_connected(observer.id()).await;
    let stranger = Raw::connect_properly(&observer.addresses().await).await;
    observer.until_connected(stranger.id).await;

    for (number, topic) in (1..).zip(Topic::OF_MEMBERS) {
        let mut before = observer.score_of(stranger.id).await;
        stranger.publish(topic.name(), b"of a stranger".to_vec());
        // The marker comes behind it on the same stream.
        stranger.publish("auxpow", vec![number]);
        let marker = observer.next_gossip().await;
        assert_eq!((marker.topic, marker.bytes), (Topic::AuxPow, vec![number]));
        before -= observer.score_of(stranger.id).await;
        assert!(before >= 5.0, "{topic}: the stranger lost {before}");

        member
            .handle
            .publish(topic, b"of a member".to_vec())
            .await
            .unwrap();
        let heard = observer.next_gossip().await;
        assert_eq!((heard.topic, heard.source), (topic, member.id()));
        observer
            .handle
            .report(heard.id, Verdict::Accept)
            .await
            .unwrap();
        let arrived = far.next_gossip().await;
        assert_eq!((arrived.topic, arrived.source), (topic, member.id()));
        assert_eq!(arrived.bytes, b"of a member");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_to_its_forwarders_share() {
    const BURST: u32 = 300;
    let (mut victim, other) = pair(
        |config| config.limits.gossip_rate = RateLimit::new(BURST, 1).unwrap(),
        |_| {},
    )
    .await;
    let flooder = Raw::connect_properly(&victim.addresses().await).await;
    victim.until_connected(flooder.id).await;
    // 17 units each: 17 messages fit into the burst, and one more for each 17 seconds that this takes.
    let large = |number: u8| vec![number; Topic::AuxPow.max_bytes()];
    for number in 0..40 {
        flooder.publish("auxpow", large(number));
    }
    other
        .handle
        .publish(Topic::AuxPow, b"of somebody else".to_vec())
        .await
        .unwrap();
    let (mut handed_up, mut other_heard, mut attempts) = (0, false, 0u8);
    // Ends with a message that costs one unit, once that has come in; content that was ignored is not looked at again.
    loop {
        tokio::select! {
            gossip = victim.next_gossip() => {
                victim.handle.report(gossip.id, Verdict::Ignore).await.unwrap();
                if gossip.source == other.id() {
                    other_heard = true;
                } else if gossip.bytes.starts_with(b"last") {
                    break;
                } else {
                    handed_up += 1;
                }
            }
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {
                attempts += 1;
                flooder.publish("auxpow", [b"last", [attempts].as_slice()].concat());
            }
        }
    }
    assert!(other_heard, "others have their own share");
    assert!((10..30).contains(&handed_up), "{handed_up} of 40");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_have_their_own_share_whoever_forwards_them() {
    const BURST: u32 = 300;
    let member = Node::start(|_| {}).await;
    let members = BTreeSet::from([member.id()]);
    let bootnodes = member.addresses().await;
    let mut relay = Node::start(|config| {
        config.bootnodes = bootnodes;
        config.allow_members_only(&members);
    })
    .await;
    relay.until_connected(member.id()).await;
    let bootnodes = relay.addresses().await;
    let mut victim = Node::start(|config| {
        config.bootnodes = bootnodes;
        config.limits.target_peers = 0;
        config.allow_members_only(&members);
        config.limits.gossip_rate = RateLimit::new(BURST, 1).unwrap();
    })
    .await;
    relay.until_connected(victim.id()).await;
    // 17 units each: the relay uses up what it has at the victim, and more.
    for number in 0..40u8 {
        let large = vec![number; Topic::AuxPow.max_bytes()];
        relay.handle.publish(Topic::AuxPow, large).await.unwrap();
    }
    let topic = Topic::OF_MEMBERS[0];
    member
        .handle
        .publish(topic, b"a vote".to_vec())
        .await
        .unwrap();
    let heard = relay.next_gossip().await;
    assert_eq!(heard.source, member.id());
    relay
        .handle
        .report(heard.id, Verdict::Accept)
        .await
        .unwrap();
    loop {
        let gossip = victim.next_gossip().await;
        victim
            .handle
            .report(gossip.id, Verdict::Ignore)
            .await
            .unwrap();
        if gossip.source == member.id() {
            assert_eq!((gossip.topic, &gossip.bytes[..]), (topic, &b"a vote"[..]));
            break;
        }
    }
}
