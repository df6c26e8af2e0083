//! Blocks, halts and their ends.

use crate::bench::{Bench, LIMIT, fast};
use alys_protocol::units::{MemberId, SideHeight};
use alys_rpc::types::BlockInfo;
use alys_tests::cluster::Options;
use std::collections::BTreeSet;

#[tokio::test]
async fn blocks_come_from_all_four_and_from_three_and_not_from_two() {
    let mut bench = Bench::start(Options {
        slot_ms: 2000,
        ..fast()
    })
    .await;
    // All four: a run of slots without a gap, each leader twice. A busy machine may miss a slot before.
    let run = run_of_slots(&mut bench, 8).await;
    let leaders: BTreeSet<_> = run.iter().map(|block| block.leader).collect();
    assert_eq!(leaders, (0..4).map(MemberId::new).collect());
    let last = run.last().unwrap().height;
    bench
        .status_that(0, "finality with four members", |status| {
            status.r#final.height >= last
        })
        .await;

    // Three go on and finalise.
    bench.cluster.kill_node(3).await.unwrap();
    let killed_at = bench.more_blocks(0, 1).await.head.height.get();
    bench
        .status_that(0, "finality with three members", |status| {
            status.r#final.height.get() > killed_at + 3
        })
        .await;
    bench.agree_on(&[0, 1, 2], killed_at + 2).await;

    // Two stop.
    bench.cluster.kill_node(2).await.unwrap();
    // What was under way may still be certified; after that nothing, for several turns of each leader.
    let two = bench.status(0).await;
    let standing = bench
        .status_that(0, "slots with two members", |status| {
            status.slot.get() >= two.slot.get() + 10
        })
        .await;
    assert!(
        standing.head.height.get() <= two.head.height.get() + 1,
        "two of four certified blocks: {two:?} {standing:?}"
    );

    // One returns, and production resumes.
    bench.cluster.start_node(2).await.unwrap();
    bench
        .status_that(0, "finality after a member's return", |status| {
            status.r#final.height.get() > standing.head.height.get()
        })
        .await;
    bench.cluster.start_node(3).await.unwrap();
    bench.more_blocks(3, 3).await;
    bench.finish().await;
}

/// Waits for so many successive slots with a block in each.
async fn run_of_slots(bench: &mut Bench, length: usize) -> Vec<BlockInfo> {
    let mut run: Vec<BlockInfo> = Vec::new();
    let begin = bench.more_blocks(0, 2).await;
    let mut height = begin.head.height.get();
    let last_slot = begin.slot.get() + LIMIT.as_secs();
    while run.len() < length {
        let block = bench.block(0, height).await;
        assert!(block.slot.get() < last_slot, "no such run");
        let gap = run
            .last()
            .is_some_and(|last| block.slot.get() != last.slot.get() + 1);
        if gap {
            run.clear();
        }
        run.push(block);
        height += 1;
        bench
            .status_that(0, "the next block", |status| {
                // Below the head nothing changes any more unless a fork wins, which the parent would show.
                status.head.height.get() > height
            })
            .await;
    }
    for pair in run.windows(2) {
        assert_eq!(pair[1].parent, pair[0].id);
    }
    run
}

#[tokio::test]
async fn without_proof_of_work_the_chain_halts_and_with_it_it_resumes() {
    let limit = 12;
    let mut bench = Bench::start(Options {
        max_blocks_without_pow: limit,
        miner_pace_ms: 1000,
        ..fast()
    })
    .await;
    bench
        .status_that(0, "the halt's distance", |status| {
            status.r#final.height.get() >= limit
        })
        .await;
    let before = bench.status(0).await;
    let halted = bench
        .status_that(0, "slots in which nothing may come", |status| {
            status.slot.get() >= before.slot.get() + 10
        })
        .await;
    let again = bench
        .status_that(0, "more slots in which nothing may come", |status| {
            status.slot.get() >= halted.slot.get() + 5
        })
        .await;
    assert_eq!(
        again.head.height, halted.head.height,
        "the chain did not halt"
    );
    assert_eq!(again.pow_final.height, SideHeight::ZERO);
    let said = again.problems.join("; ");
    assert!(said.contains("proof of work"), "{said}");

    bench.cluster.start_miner(1).await.unwrap();
    let resumed = bench
        .status_that(0, "proof-of-work finality past the halt", |status| {
            status.pow_final.height >= again.head.height
        })
        .await;
    assert!(resumed.pow_count.get() >= 1);
    bench
        .status_that(2, "blocks and bundles to go on", |status| {
            status.pow_final.height.get() > again.head.height.get() + 3
        })
        .await;
    bench.finish().await;
}
