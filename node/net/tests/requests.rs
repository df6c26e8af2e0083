//! Requests and responses between real nodes, and against a peer that breaks the rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

mod common;

use std::time::Duration;

use alys_net::{
    ErrorReply, Heads, NetworkEvent, RateLimit, RefusalReason, Request, RequestError, RespondError,
    Response, Topic,
};
use common::raw::{Raw, frame};
use common::{Node, pair};

fn range(count: u32) -> Request {
    Request::BlocksByRange {
        start_height: 7,
        count,
    }
}

/// Answers the next request of `node` with `response`.
async fn answer(node: &mut Node, expected: Request, response: Response) {
    let (_, id, request) = node.next_request().await;
    assert_eq!(request, expected);
    node.handle.respond(id, response).await.unwrap();
}

async fn large_responses_arrive(transport: &'static str) {
    let only = move |config: &mut alys_net::NetworkConfig| {
        config
            .listen
            .retain(|address| address.to_string().contains(transport));
        assert_eq!(config.listen.len(), 1);
    };
    let (mut server, client) = pair(only, only).await;
    let blocks: Vec<_> = (0..15).map(|n| vec![n; 1024 * 1024]).collect();
    let expected = Response::Blocks(blocks.clone());
    let asked = client.handle.request(server.id(), range(15));
    let (got, ()) = tokio::join!(
        asked,
        answer(
            &mut server,
            range(15),
            Response::blocks_within_limits(blocks)
        )
    );
    assert_eq!(got.unwrap(), expected);

    let by_id = Request::BlockById([9; 32]);
    let asked = client.handle.request(server.id(), by_id.clone());
    let (got, ()) = tokio::join!(asked, answer(&mut server, by_id, Response::Blocks(vec![])));
    assert_eq!(got.unwrap(), Response::Blocks(vec![]), "not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_responses_arrive_over_tcp() {
    large_responses_arrive("/tcp/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_responses_arrive_over_quic() {
    large_responses_arrive("/quic-v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_are_kept_up_to_date() {
    let (mut one, two) = pair(|_| {}, |_| {}).await;
    let heads = Heads {
        certified_height: 12,
        final_height: 10,
        ..Heads::default()
    };
    two.handle.set_heads(heads).await.unwrap();
    let asked = two
        .handle
        .request(one.id(), Request::Status(common::raw::status()))
        .await
        .unwrap();
    let Response::Status(of_one) = asked else {
        panic!("expected a status, found {asked:?}")
    };
    assert_eq!(of_one.heads(), Heads::default());
    let told = one
        .until(|event| match event {
            NetworkEvent::PeerStatus { peer, status } if *peer == two.id() => Some(status.heads()),
            _ => None,
        })
        .await;
    assert_eq!(
        told, heads,
        "the status sent is the current one, not the placeholder in the request"
    );
    assert_eq!(one.handle.peers().await.unwrap()[0].status.heads(), heads);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_above_the_rate_get_a_clear_answer_and_floods_get_refused() {
    let (mut server, mut client) = pair(
        |config| {
            config.limits.block_rate = RateLimit::new(128, 1).unwrap();
            config.limits.refusal_rate = RateLimit::new(2, 1).unwrap();
        },
        |_| {},
    )
    .await;
    let asked = client.handle.request(server.id(), range(128));
    let (got, ()) = tokio::join!(
        asked,
        answer(&mut server, range(128), Response::Blocks(vec![vec![1]]))
    );
    assert_eq!(got.unwrap(), Response::Blocks(vec![vec![1]]));

    for _ in 0..2 {
        let got = client
            .handle
            .request(server.id(), range(100))
            .await
            .unwrap();
        let Response::Error(ErrorReply::RateLimited { retry_after_ms }) = got else {
            panic!("found {got:?}")
        };
        assert!(
            (50_000..=100_000).contains(&retry_after_ms),
            "about 100 s at one block a second: {retry_after_ms}"
        );
    }
    // Most likely the third is one too many; a slow machine earns one more answer per second.
    while client.handle.request(server.id(), range(100)).await.is_ok() {}
    assert_eq!(
        server.until_refused(client.id()).await,
        RefusalReason::Flooding
    );
    client.until_disconnected(server.id()).await;
}

fn short(config: &mut alys_net::NetworkConfig) {
    config.limits.request_timeout = Duration::from_millis(500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_answer_times_out() {
    let (server, client) = pair(|_| {}, short).await;
    let got = client.handle.request(server.id(), range(1)).await;
    assert_eq!(got, Err(RequestError::Timeout));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_does_not_answer_in_time_cannot_answer_later() {
    let (mut server, client) = pair(short, |_| {}).await;
    let got = client.handle.request(server.id(), range(1)).await;
    assert_eq!(got, Err(RequestError::Unanswered));
    let (_, id, _) = server.next_request().await;
    let late = server.handle.respond(id, Response::Blocks(vec![])).await;
    assert_eq!(late, Err(RespondError::NotWaiting(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_checked_before_anything_is_sent() {
    let (mut server, client) = pair(|_| {}, |_| {}).await;
    for count in [0, 129] {
        let got = client.handle.request(server.id(), range(count)).await;
        assert_eq!(got, Err(RequestError::Invalid { found: count }));
    }
    let nobody = alys_net::PeerId::random();
    assert_eq!(
        client.handle.request(nobody, range(1)).await,
        Err(RequestError::NotConnected { peer: nobody })
    );

    let asked = client.handle.request(server.id(), range(2));
    let serve = async {
        let (_, id, _) = server.next_request().await;
        let too_many = server
            .handle
            .respond(id, Response::Blocks(vec![vec![]; 3]))
            .await;
        assert!(
            matches!(
                too_many,
                Err(RespondError::OutOfBounds {
                    limit: 2,
                    blocks: 3,
                    ..
                })
            ),
            "{too_many:?}"
        );
        let too_large = server
            .handle
            .respond(id, Response::Blocks(vec![vec![0; 16 * 1024 * 1024]]))
            .await;
        assert!(matches!(
            too_large,
            Err(RespondError::OutOfBounds { blocks: 1, .. })
        ));
        server
            .handle
            .respond(id, Response::Error(ErrorReply::Internal))
            .await
            .unwrap();
        let again = server.handle.respond(id, Response::Blocks(vec![])).await;
        assert_eq!(again, Err(RespondError::NotWaiting(id)));
    };
    let (got, ()) = tokio::join!(asked, serve);
    assert_eq!(got.unwrap(), Response::Error(ErrorReply::Internal));
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_malformed_requests_end_the_connection_and_nothing_else() {
    let (mut node, client) = pair(|_| {}, |_| {}).await;
    let addresses = node.addresses().await;
    let too_long = |length: u32| length.to_le_bytes().to_vec();
    let garbage = [
        ("garbage", [&too_long(4)[..], &[0xff; 4]].concat()),
        ("a length of zero", too_long(0)),
        ("a length over the limit", too_long(4097)),
        ("a length of 4 GiB", too_long(u32::MAX)),
        (
            "a frame with leftovers",
            [&too_long(4)[..], &[1, 7, 3, 0]].concat(),
        ),
    ];
    for (what, bytes) in garbage {
        for protocol in ["sync", "status"] {
            let mut raw = Raw::connect_properly(&addresses).await;
            node.until_connected(raw.id).await;
            if protocol == "sync" {
                raw.send_sync(bytes.clone())
            } else {
                raw.send_status(bytes.clone())
            }
            let reason = node.until_refused(raw.id).await;
            assert!(
                matches!(reason, RefusalReason::Malformed(_)),
                "{what} on {protocol}: {reason}"
            );
            raw.until_closed().await;
        }
    }
    let asked = client.handle.request(node.id(), range(1));
    let (got, ()) = tokio::join!(
        asked,
        answer(&mut node, range(1), Response::Blocks(vec![vec![1]]))
    );
    assert_eq!(got.unwrap(), Response::Blocks(vec![vec![1]]));
    assert_eq!(node.handle.peers().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_frames_fail_alone_and_invalid_requests_are_answered() {
    let mut node = Node::start(|_| {}).await;
    let mut raw = Raw::connect_properly(&node.addresses().await).await;
    node.until_connected(raw.id).await;
    raw.send_sync(vec![3, 0, 0, 0, 1]);
    raw.until(|event| {
        matches!(
            event,
            common::raw::RawEvent::Failed(_) | common::raw::RawEvent::Answer(_)
        )
        .then_some(())
    })
    .await;

    for invalid in [range(0), range(129), Request::Status(common::raw::status())] {
        raw.send_sync(frame(&invalid));
        assert_eq!(raw.answer().await, Response::Error(ErrorReply::Invalid));
    }
    raw.send_status(frame(&range(1)));
    assert_eq!(raw.answer().await, Response::Error(ErrorReply::Invalid));

    raw.send_sync(frame(&range(1)));
    answer(&mut node, range(1), Response::Blocks(vec![vec![8]])).await;
    assert_eq!(raw.answer().await, Response::Blocks(vec![vec![8]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_answers_are_errors_and_end_the_connection() {
    let mut node = Node::start(|_| {}).await;
    let raw = Raw::connect_properly(&node.addresses().await).await;
    node.until_connected(raw.id).await;
    // The raw peer answers everything with a status.
    let got = node.handle.request(raw.id, range(1)).await;
    assert!(matches!(got, Err(RequestError::Malformed(_))), "{got:?}");
    assert!(matches!(
        node.until_refused(raw.id).await,
        RefusalReason::Malformed(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_event_queue_loses_no_announcement() {
    let mut sleepy = Node::start(|config| config.limits.event_capacity = 1).await;
    let mut others = vec![];
    for _ in 0..3 {
        let mut other = Node::start_knowing(&sleepy).await;
        other.until_connected(sleepy.id()).await;
        others.push(other);
    }
    let first = &others[0];
    while first.handle.publish(Topic::AuxPow, vec![1]).await.is_err() {
        tokio::task::yield_now().await;
    }
    let got = first.handle.request(sleepy.id(), range(1)).await.unwrap();
    assert_eq!(
        got,
        Response::Error(ErrorReply::Busy),
        "answered although the application sleeps"
    );

    let mut announced: Vec<_> = vec![];
    while announced.len() < 3 {
        match sleepy.next().await {
            NetworkEvent::PeerConnected { peer, .. } => announced.push(peer),
            other => panic!("expected announcements only, found {other:?}"),
        }
    }
    announced.sort();
    let mut expected: Vec<_> = others.iter().map(Node::id).collect();
    expected.sort();
    assert_eq!(announced, expected);
}
