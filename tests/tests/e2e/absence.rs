//! Nodes that were not there. The longest scenario: it comes first where tests start in the order of their names.

use crate::bench::{Bench, fast};
use alys_protocol::units::MemberId;

/// Several requests' worth of blocks.
const MISSED: u64 = 300;
/// What one request brings at most.
const RANGE: u64 = 128;
const ANSWERED: &str = r#"alys_net_requests_total{direction="out",outcome="answered"}"#;

#[tokio::test]
async fn a_fifth_node_syncs_from_genesis_and_a_node_that_missed_300_blocks_catches_up() {
    let mut bench = Bench::start(fast()).await;
    bench.more_blocks(3, 2).await;
    bench.cluster.kill_node(3).await.unwrap();
    let left_at = bench.status(0).await.head.height.get();
    let mut height = left_at;
    while height < left_at + MISSED {
        height = bench.more_blocks(0, 50).await.head.height.get();
    }
    let r#final = bench.status(0).await.r#final.height.get();

    let spec = bench.cluster.chain().spec().clone();
    let fifth = bench.cluster.add_observer("fifth", &spec).unwrap();
    bench.cluster.start_node(fifth).await.unwrap();
    bench.cluster.start_node(3).await.unwrap();
    for index in [fifth, 3] {
        bench
            .status_that(index, "the missed blocks", |status| {
                status.r#final.height.get() >= r#final
            })
            .await;
        // By ranges: block by block it would have been as many requests as blocks. Single blocks come besides: those that
        // gossip announces meanwhile, and their parents.
        let requests = bench.node(index).metric(ANSWERED).await.unwrap();
        println!("    node {index}: {requests} requests for {MISSED} blocks");
        assert!(
            requests >= MISSED.div_ceil(RANGE) as f64 && requests < MISSED as f64,
            "node {index} made {requests} requests"
        );
    }
    for past in [1, left_at, left_at + MISSED / 2, r#final] {
        bench.agree_on(&[0, 3, fifth], past).await;
    }

    // They follow; and the one that was away takes part: it votes, and it leads.
    let now = bench.more_blocks(fifth, 8).await;
    assert_eq!(now.member, None);
    let absent = MemberId::new(3);
    let (mut approved, mut led) = (false, false);
    let mut height = now.head.height.get();
    while !(approved && led) {
        let block = bench.block(0, height).await;
        approved |= block.approved_by.contains(&absent);
        led |= block.leader == absent;
        assert!(height < now.head.height.get() + 60, "it does not take part");
        height += 1;
        bench
            .status_that(0, "the next block", |status| {
                status.head.height.get() > height
            })
            .await;
    }
    bench.finish().await;
}
