//! A member's token goes away while its signer runs.

use crate::bench::{Bench, LIMIT, fast};
use alys_tests::cluster::{Backend, Options};
use std::fs;

/// Sealed mode. The signer's keys are open, so it votes on until the lease of the token's counter ends, and then signs nothing. The
/// chain goes on without it. SoftHSM does not find a token again before its process ends: once the token is back, a
/// restart suffices, and no officer.
#[tokio::test]
async fn a_lost_token_silences_one_member_until_it_is_back() {
    const LOST: usize = 2;
    let mut bench = Bench::start(Options {
        backend: Backend::Pkcs11,
        ..fast()
    })
    .await;
    let node = bench.node(LOST);
    let votes = "alys_approvals_total";
    reaches(&mut bench, LOST, "the member's votes", votes, 0.0).await;

    let folder = bench.cluster.signer_dir(LOST).unwrap().join("token");
    let (here, away) = (folder.join("tokens"), folder.join("away"));
    let refused = "alys_approvals_refused_total";
    let before = node.metric(refused).await.unwrap();
    fs::rename(&here, &away).unwrap();
    reaches(&mut bench, LOST, "the signer to be silent", refused, before).await;
    bench.more_blocks(0, 5).await;

    fs::rename(&away, &here).unwrap();
    bench.cluster.kill_signer(LOST).await.unwrap();
    let before = node.metric(votes).await.unwrap();
    bench.cluster.start_signer(LOST).await.unwrap();
    reaches(&mut bench, LOST, "votes again", votes, before).await;
    bench.finish().await;
}

/// Native mode. Without its token the signer signs nothing from that moment, and the chain goes on; once the token is back,
/// it votes again, in the same process.
#[tokio::test]
async fn a_member_whose_token_signs_is_back_with_its_token() {
    const LOST: usize = 3;
    let mut bench = Bench::start(Options {
        backend: Backend::Pkcs11,
        ..fast()
    })
    .await;
    let node = bench.node(LOST);
    let votes = "alys_approvals_total";
    reaches(&mut bench, LOST, "the member's votes", votes, 0.0).await;
    let folder = bench.cluster.signer_dir(LOST).unwrap().join("token");
    let removed = folder.join("native").join(alys_test_pkcs11_module::REMOVED);
    fs::File::create(&removed).unwrap();
    // A vote that was under way may still come.
    bench.more_blocks(0, 2).await;
    let before = node.metric(votes).await.unwrap();
    bench.more_blocks(0, 5).await;
    assert_eq!(node.metric(votes).await.unwrap(), before);
    fs::remove_file(&removed).unwrap();
    reaches(&mut bench, LOST, "votes again", votes, before).await;
    bench.finish().await;
}

async fn reaches(bench: &mut Bench, lost: usize, what: &str, metric: &str, above: f64) {
    let node = bench.node(lost);
    let look = async || Ok((node.metric(metric).await? > above).then_some(()));
    bench.cluster.wait(what, LIMIT, look).await.unwrap();
}
