//! Regression A8: neither strangers nor a member that does not sign, or lies, stall a peg-out.

use crate::bench::{Bench, LIMIT, block_by_block, paid_to};
use alys_net::{Network, NetworkConfig, NetworkEvent, Software, Topic};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::BatchId;
use alys_protocol::peg::MAX_BATCH_INPUTS;
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::units::{MemberId, Sats};
use alys_rpc::types::PegOutStage;
use alys_tests::cluster::NodeClient;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::time::timeout;

/// Gossip of peg-out shares as nodes write it: batch, member, one signature per input, which are forged.
fn forged_share(batch: BatchId, member: u16, variant: u8) -> Vec<u8> {
    let signature = SchnorrSignature::new([variant; 64]);
    let signatures: BoundedVec<_, MAX_BATCH_INPUTS> = BoundedVec::new(vec![signature]).unwrap();
    postcard::to_stdvec(&(batch, MemberId::new(member), signatures)).unwrap()
}

/// What a node has rejected so far: at the network, as its author is no member, or after reading it.
async fn rejected(node: &NodeClient) -> anyhow::Result<f64> {
    let unread = r#"alys_net_gossip_outcomes_total{topic="pegout_shares",outcome="not_allowed"}"#;
    Ok(node.metric(unread).await? + node.metric("alys_gossip_rejected_total").await?)
}

/// The owner of a network key joins the network, says this to all nodes that run, and leaves when all have rejected it.
async fn say(bench: &mut Bench, key: PathBuf, lie: impl Fn(u8) -> Vec<u8>) {
    let chain = bench.cluster.chain();
    let mut config = NetworkConfig::new(
        key,
        chain.digest().to_bytes(),
        chain.genesis_id().to_bytes(),
        Software::try_from("not a node").unwrap(),
    );
    let running = bench.cluster.running();
    let address = |index: &usize| bench.cluster.multiaddress(*index).unwrap().parse().unwrap();
    config.members = running.iter().map(address).collect();
    let nodes = bench.cluster.running_nodes().unwrap();
    let mut before = Vec::new();
    for node in &nodes {
        before.push(rejected(node).await.unwrap());
    }
    let (speaker, mut events) = Network::start(config).await.unwrap();
    let mut connected = BTreeSet::new();
    let join = async {
        while connected.len() < running.len() {
            if let Some(NetworkEvent::PeerConnected { peer, .. }) = events.recv().await {
                connected.insert(peer);
            }
        }
    };
    timeout(LIMIT, join).await.unwrap();
    // Events must be read, or the network stands still.
    let reader = tokio::spawn(async move { while events.recv().await.is_some() {} });
    // Again and again, as a peer's subscriptions may come later than the peer; each time another message, since the
    // network drops what it has heard before.
    let mut variant = 0u8;
    let heard = async || {
        variant = variant.wrapping_add(1);
        speaker.publish(Topic::PegOutShares, lie(variant)).await?;
        for (node, before) in nodes.iter().zip(&before) {
            if rejected(node).await? <= *before {
                return Ok(None);
            }
        }
        Ok(Some(()))
    };
    let what = "all nodes to reject what was said";
    bench.cluster.wait(what, LIMIT, heard).await.unwrap();
    speaker.shutdown().await;
    reader.await.unwrap();
}

#[tokio::test]
async fn a8_strangers_and_a_missing_member_stall_no_peg_out() {
    let mut bench = Bench::start(block_by_block()).await;
    let user = bench.account("user");
    bench.more_blocks(0, 1).await;
    let deposited = Sats::new(50_000_000);
    let data = user.address().to_bytes();
    bench.cluster.deposit(deposited, data).await.unwrap();
    bench.mine(3).await;
    bench.minted(0, deposited).await;
    let payout = bench.new_address("bech32m").await;
    let burned = Sats::new(20_000_000);
    let sequence = bench.burn(&user, &[(&payout, burned)]).await[0];
    let burn_block = bench.status(0).await.head.height;
    // Two members do not sign: the batch lacks one share.
    for member in [2, 3] {
        bench.limit_fee(member, Sats::new(1)).await;
    }
    bench
        .status_that(0, "the burn's block to be final", |status| {
            status.r#final.height >= burn_block
        })
        .await;
    bench.mine_merged(0).await;
    let both = [MemberId::new(0), MemberId::new(1)];
    let mut batch = None;
    for index in 0..4 {
        let peg = bench
            .peg_that(index, "the shares of the two that sign", |peg| {
                peg.pending.iter().any(|batch| batch.shares == both)
            })
            .await;
        batch = Some(peg.pending[0].id);
    }
    let batch = batch.unwrap();

    // Strangers speak for a member that has not signed and for some that do not exist, and make noise.
    let strangers = tempfile::tempdir().unwrap();
    let key = |name: &str| strangers.path().join(name);
    for member in [2, 4, u16::MAX] {
        let lie = |variant| forged_share(batch, member, variant);
        say(&mut bench, key(&member.to_string()), lie).await;
    }
    let noise = |variant: u8| vec![variant; 100];
    say(&mut bench, key("noise"), noise).await;
    // Worse: the host of the fourth member speaks for the third.
    let taken_over = bench.cluster.node_dir(3).unwrap().join("data/network.key");
    bench.cluster.kill_node(3).await.unwrap();
    let lie = |variant| forged_share(batch, 2, variant);
    say(&mut bench, taken_over, lie).await;
    for index in 0..3 {
        let peg = bench.peg(index).await;
        assert_eq!(peg.pending.len(), 1, "{:?}", peg.pending);
        assert_eq!(peg.pending[0].shares, both, "node {index}");
        assert!(!peg.pending[0].broadcast);
    }

    // The third member's real shares are taken, and the fourth's are not needed.
    bench.limit_fee(2, Sats::new(1_000_000)).await;
    bench
        .peg_out_reaches(0, sequence, PegOutStage::Broadcast)
        .await;
    let peg = bench.peg(0).await;
    let missing = MemberId::new(3);
    assert!(!peg.pending[0].shares.contains(&missing), "{peg:?}");
    bench.mine(3).await;
    let payment = bench.settled(0, sequence).await;
    let paid = paid_to(&payment, &payout);
    assert_eq!(bench.payments_to(&payout).await, [paid]);
    bench.finish().await;
}
