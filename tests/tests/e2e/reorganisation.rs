//! Bitcoin changes its mind: by fewer blocks than the confirmations, which costs nothing, and by more, which the peg must
//! not follow.

use crate::bench::{Bench, block_by_block, paid_to};
use alys_protocol::units::{BtcHeight, Sats};
use alys_rpc::types::PegOutStage;
use bitcoin::BlockHash;

/// The block at a height of Bitcoin's best chain.
async fn block_at(bench: &Bench, height: u32) -> BlockHash {
    let client = bench.cluster.bitcoin().client();
    let hash = client.block_hash(BtcHeight::new(height)).await.unwrap();
    hash.unwrap()
}

async fn tip(bench: &Bench) -> u32 {
    let client = bench.cluster.bitcoin().client();
    client.tip().await.unwrap().height.get()
}

#[tokio::test]
async fn a_reorganisation_below_the_confirmations_loses_and_doubles_nothing() {
    let mut bench = Bench::start(block_by_block()).await;
    let user = bench.account("user");
    let data = user.address().to_bytes();
    bench.more_blocks(0, 1).await;
    let first = Sats::new(100_000_000);
    bench.cluster.deposit(first, data).await.unwrap();
    bench.mine(3).await;
    bench.minted(0, first).await;
    let payout = bench.new_address("bech32").await;
    let burned = Sats::new(10_000_000);
    let sequence = bench.burn(&user, &[(&payout, burned)]).await[0];
    let burn_block = bench.status(0).await.head.height;
    bench
        .status_that(0, "the burn's block to be final", |status| {
            status.r#final.height >= burn_block
        })
        .await;
    bench.mine_merged(0).await;
    bench
        .peg_out_reaches(0, sequence, PegOutStage::Broadcast)
        .await;

    // A payment and a deposit with two confirmations of three each.
    let second = Sats::new(70_000_000);
    let deposit = bench.cluster.deposit(second, data).await.unwrap();
    bench.mine(2).await;
    let height = tip(&bench).await;
    let devnet = bench.cluster.bitcoin().devnet().unwrap();
    let gone = block_at(&bench, height - 1).await;
    devnet.invalidate_block(gone).await.unwrap();
    // Three others take the place of two.
    bench.mine(3).await;
    assert_ne!(block_at(&bench, height - 1).await, gone);

    let payment = bench.settled(0, sequence).await;
    let paid = paid_to(&payment, &payout);
    let both = first.checked_add(second.get()).unwrap();
    for index in 0..4 {
        bench.minted(index, both).await;
    }
    let client = bench.cluster.bitcoin().client();
    let status = client.transaction(deposit.compute_txid(), None).await;
    assert!(status.unwrap().unwrap().confirmations >= 3);
    // Blocks of both chains, in which a second mint or payment would show.
    bench.mine(4).await;
    bench.more_blocks(0, 6).await;
    assert_eq!(bench.peg(0).await.minted_sats, both, "minted once");
    assert_eq!(bench.payments_to(&payout).await, [paid], "paid once");
    bench.finish().await;
}

#[tokio::test]
async fn a_reorganisation_below_the_cursor_halts_the_peg_and_is_said() {
    let mut bench = Bench::start(block_by_block()).await;
    let user = bench.account("user");
    let data = user.address().to_bytes();
    bench.more_blocks(0, 1).await;
    let first = Sats::new(100_000_000);
    bench.cluster.deposit(first, data).await.unwrap();
    bench.mine(4).await;
    for index in 0..4 {
        bench.minted(index, first).await;
    }
    let height = tip(&bench).await;
    let read = BtcHeight::new(height - 2);
    for index in 0..4 {
        let what = "the last confirmed block to be read";
        bench
            .peg_that(index, what, |peg| peg.bitcoin_height == read)
            .await;
    }

    // The block with the deposit goes, and longer is the chain without it.
    let devnet = bench.cluster.bitcoin().devnet().unwrap();
    let gone = block_at(&bench, height - 3).await;
    devnet.invalidate_block(gone).await.unwrap();
    let second = Sats::new(50_000_000);
    bench.cluster.deposit(second, data).await.unwrap();
    bench.mine(8).await;
    let other = block_at(&bench, height - 3).await;
    assert_ne!(other, gone);
    let found = block_at(&bench, read.get()).await.to_string();
    let says = |text: &String| text.contains("reorganised") && text.contains(&found);
    for index in 0..4 {
        let what = "the peg to halt";
        bench
            .peg_that(index, what, |peg| peg.halted.as_ref().is_some_and(says))
            .await;
        let status = bench.status(index).await;
        assert!(status.problems.iter().any(says), "{:?}", status.problems);
    }
    // Production goes on, the peg does not: neither the deposit that is there twice now nor the new one is minted.
    bench.more_blocks(0, 5).await;
    for index in 0..4 {
        let peg = bench.peg(index).await;
        assert_eq!(peg.bitcoin_height, read);
        assert_eq!(peg.minted_sats, first);
    }

    // The old chain comes back and wins: the peg goes on where it stood.
    devnet.invalidate_block(other).await.unwrap();
    devnet.reconsider_block(gone).await.unwrap();
    bench.mine(10).await;
    assert_eq!(block_at(&bench, height - 3).await, gone);
    let both = first.checked_add(second.get()).unwrap();
    for index in 0..4 {
        bench.minted(index, both).await;
        bench
            .peg_that(index, "the halt's end", |peg| peg.halted.is_none())
            .await;
    }
    bench.finish().await;
}
