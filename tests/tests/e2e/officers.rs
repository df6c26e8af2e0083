//! Officers pause peg-outs, resume them, and skip a burn.

use crate::bench::{Bench, fast, paid_to};
use alys_protocol::units::Sats;
use alys_rpc::types::PegOutStage;
use alys_tests::cluster::{Backend, Options};

#[tokio::test]
async fn officers_pause_resume_and_skip_a_burn() {
    // Here with keys sealed by tokens.
    let mut bench = Bench::start(Options {
        backend: Backend::Pkcs11,
        ..fast()
    })
    .await;
    let user = bench.account("user");
    bench.more_blocks(0, 1).await;
    let amount = Sats::new(100_000_000);
    let recipient = user.address();
    let deposit = bench.cluster.deposit(amount, recipient.as_bytes()).await;
    deposit.unwrap();
    bench.mine(3).await;
    bench.credited(0, user.address(), amount).await;

    let (never, paid) = (
        bench.new_address("bech32").await,
        bench.new_address("bech32m").await,
    );
    let (one, other) = (Sats::new(20_000_000), Sats::new(30_000_000));
    let burns = bench.burn(&user, &[(&never, one), (&paid, other)]).await;
    let number = burns[0].get().to_string();
    let skip = ["skip", "--burn", &number];
    // One officer is not enough to take somebody's payment away, or to let payments go on.
    let alone = bench.cluster.officers_say(0, &skip, 1).await.unwrap_err();
    assert!(alone.to_string().contains("rule quorum"), "{alone}");
    for member in 0..4 {
        bench.cluster.officers_say(member, &skip, 2).await.unwrap();
    }
    for member in 0..2 {
        bench
            .cluster
            .officers_say(member, &["pause"], 1)
            .await
            .unwrap();
    }
    let alone = bench
        .cluster
        .officers_say(0, &["resume"], 1)
        .await
        .unwrap_err();
    assert!(alone.to_string().contains("rule quorum"), "{alone}");

    // The chain goes on and records the batch; two of four signers sign it, which is one too few.
    bench.cluster.start_miner(0).await.unwrap();
    let peg = bench
        .peg_that(0, "the shares of two members", |peg| {
            peg.pending.iter().any(|batch| batch.shares.len() == 2)
        })
        .await;
    assert_eq!(peg.pending.len(), 1);
    for member in 0..2 {
        let node = bench.node(member);
        let look = async || {
            let refused = node.metric("alys_pegout_refused_total").await?;
            Ok((refused >= 1.0).then_some(()))
        };
        let what = "a paused signer to refuse";
        let waited = bench.cluster.wait(what, crate::bench::LIMIT, look).await;
        waited.unwrap();
    }
    let peg = bench.peg(0).await;
    assert!(peg.pending.iter().all(|batch| !batch.broadcast));
    bench.peg_out_is_at(0, burns[0], PegOutStage::Skipped).await;
    bench
        .peg_out_is_at(0, burns[1], PegOutStage::Recorded)
        .await;

    bench.cluster.officers_say(1, &["resume"], 2).await.unwrap();
    let payment = bench.settled(0, burns[1]).await;
    let sats = paid_to(&payment, &paid);
    assert!(sats <= other.get() && sats + 50_000 > other.get(), "{sats}");
    for index in 0..4 {
        bench
            .peg_that(index, "the skipped burn to be counted", |peg| {
                peg.skipped_sats == one
            })
            .await;
        bench
            .peg_out_is_at(index, burns[0], PegOutStage::Skipped)
            .await;
    }
    assert!(bench.payments_to(&never).await.is_empty());
    bench.finish().await;
}
