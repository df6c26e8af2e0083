//! `kill -9` of each process at each stage of a peg: nothing is lost, nothing is minted or paid twice.
//!
//! Bitcoin blocks come only where the scenario makes one, so that each stage lasts until it is left on purpose.

use crate::bench::{Bench, LIMIT, block_by_block, paid_to};
use alys_protocol::units::{MemberId, Sats};
use alys_rpc::types::{PegOutStage, PendingBatch};
use alys_tests::cluster::Options;
use bitcoin::Txid;

/// Kills the signers and nodes of these members, the miner and bitcoind, all before any of them starts again. The
/// miner does not start again.
async fn kill_one_of_each(bench: &mut Bench, members: &[usize]) {
    let cluster = &mut bench.cluster;
    cluster.kill_bitcoin().await.unwrap();
    for member in members {
        cluster.kill_signer(*member).await.unwrap();
        cluster.kill_node(*member).await.unwrap();
    }
    cluster.kill_miner().await.unwrap();
    cluster.start_bitcoin().await.unwrap();
    for member in members {
        cluster.start_signer(*member).await.unwrap();
    }
    for member in members {
        cluster.start_node(*member).await.unwrap();
    }
    // They take part again.
    for member in members {
        let head = bench.status(*member).await.head.height;
        bench
            .status_that(*member, "blocks after the kills", |status| {
                status.r#final.height > head
            })
            .await;
    }
}

async fn pending(bench: &Bench, index: usize) -> PendingBatch {
    let peg = bench.peg(index).await;
    assert_eq!(peg.pending.len(), 1, "{:?}", peg.pending);
    peg.pending[0].clone()
}

#[tokio::test]
async fn kill_9_of_each_process_at_each_stage_of_a_peg() {
    let mut bench = Bench::start(Options {
        bitcoin_peer: true,
        ..block_by_block()
    })
    .await;
    let user = bench.account("user");
    bench.more_blocks(0, 2).await;

    // A deposit that has confirmations, but not enough.
    let deposited = Sats::new(100_000_000);
    let data = user.address().to_bytes();
    bench.cluster.deposit(deposited, data).await.unwrap();
    bench.mine(1).await;
    bench.mine_merged(0).await;
    assert_eq!(bench.peg(0).await.minted_sats, Sats::ZERO);
    kill_one_of_each(&mut bench, &[0]).await;
    assert_eq!(bench.peg(0).await.minted_sats, Sats::ZERO);
    bench.mine(1).await;
    for index in 0..4 {
        bench.minted(index, deposited).await;
    }

    // A burn without proof of work.
    let payout = bench.new_address("bech32").await;
    let burned = Sats::new(30_000_000);
    bench.mine_merged(0).await;
    let sequence = bench.burn(&user, &[(&payout, burned)]).await[0];
    let burn_block = bench.status(0).await.head.height;
    kill_one_of_each(&mut bench, &[1]).await;
    for index in 0..4 {
        bench
            .peg_out_is_at(index, sequence, PegOutStage::Burned)
            .await;
    }

    // A recorded batch without enough shares: two signers refuse it.
    bench.limit_fee(2, Sats::new(1)).await;
    bench.limit_fee(3, Sats::new(1)).await;
    bench
        .status_that(0, "the burn's block to be final", |status| {
            status.r#final.height >= burn_block
        })
        .await;
    bench.mine_merged(1).await;
    let what = "the shares of the two that sign";
    let both = [MemberId::new(0), MemberId::new(1)];
    for index in 0..4 {
        bench
            .peg_that(index, what, |peg| {
                peg.pending.iter().any(|batch| batch.shares == both)
            })
            .await;
    }
    kill_one_of_each(&mut bench, &[1]).await;
    for index in 0..4 {
        let batch = pending(&bench, index).await;
        // Shares survive a restart (regression A8), and two are not enough.
        assert_eq!(batch.shares, both, "node {index}");
        assert!(!batch.broadcast);
        bench
            .peg_out_is_at(index, sequence, PegOutStage::Recorded)
            .await;
    }
    // A miner to kill at the next stage; its block is too early for the payment.
    bench.mine_merged(1).await;
    let enough = Sats::new(1_000_000);
    bench.limit_fee(2, enough).await;
    bench.limit_fee(3, enough).await;

    // Broadcast, and in no Bitcoin block: everything is killed at once, and the mempool is gone.
    for index in 0..4 {
        bench
            .peg_out_reaches(index, sequence, PegOutStage::Broadcast)
            .await;
    }
    let txid: Txid = pending(&bench, 0).await.txid.parse().unwrap();
    let client = bench.cluster.bitcoin().client().clone();
    assert!(client.mempool_entry(txid).await.unwrap().is_some());
    kill_one_of_each(&mut bench, &[0, 1, 2, 3]).await;
    let look = async || Ok(client.mempool_entry(txid).await?.map(|_| ()));
    let what = "the payment to be in the mempool again";
    bench.cluster.wait(what, LIMIT, look).await.unwrap();
    bench.mine(1).await;
    for index in 0..4 {
        bench
            .peg_out_is_at(index, sequence, PegOutStage::Broadcast)
            .await;
    }
    bench.mine(2).await;

    let payment = bench.settled(0, sequence).await;
    assert_eq!(payment.compute_txid(), txid);
    let paid = paid_to(&payment, &payout);
    // Blocks of both chains, in which a second mint or payment would show.
    bench.mine(4).await;
    bench.more_blocks(0, 6).await;
    assert_eq!(bench.payments_to(&payout).await, [paid], "paid once");
    for index in 0..4 {
        bench.settled(index, sequence).await;
        assert_eq!(bench.peg(index).await.minted_sats, deposited);
    }
    bench.finish().await;
}
