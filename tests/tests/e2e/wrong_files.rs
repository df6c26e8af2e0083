//! A node with a wrong certificate or a wrong chain spec says so and stays outside.

use crate::bench::{Bench, LIMIT, fast};
use alys_protocol::spec::Chain;
use alys_protocol::units::SideHeight;
use alys_provision::files::{self, Readers};
use std::fs;

fn last_line(log: &str) -> &str {
    log.lines().last().unwrap_or_default()
}

#[tokio::test]
async fn a_wrong_certificate_is_said_and_the_node_stays_outside() {
    let mut bench = Bench::start(fast()).await;
    bench.more_blocks(0, 1).await;
    // Member 3 with the certificate that member 2's authority issued.
    bench.cluster.kill_node(3).await.unwrap();
    let own = bench.cluster.node_dir(3).unwrap();
    let other = bench.cluster.node_dir(2).unwrap();
    for file in ["tls/node.pem", "tls/node.key"] {
        fs::copy(own.join(file), own.join(format!("{file}.kept"))).unwrap();
        fs::copy(other.join(file), own.join(file)).unwrap();
    }
    let log = bench.cluster.start_failing_node(3).await.unwrap();
    let said = last_line(&log);
    assert!(
        said.contains("signer at") && said.contains("certificate"),
        "{said}"
    );
    for file in ["tls/node.pem", "tls/node.key"] {
        fs::rename(own.join(format!("{file}.kept")), own.join(file)).unwrap();
    }
    // With the right files the member is back.
    bench.cluster.start_node(3).await.unwrap();
    bench.more_blocks(3, 2).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_wrong_chain_spec_is_said_and_the_node_stays_outside() {
    let mut bench = Bench::start(fast()).await;
    bench.more_blocks(0, 1).await;
    // Member 3 with another chain spec: its database is of another chain, and without one its signer refuses.
    bench.cluster.kill_node(3).await.unwrap();
    let own = bench.cluster.node_dir(3).unwrap();
    let path = own.join("chain.toml");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replace("slots_per_record = 5", "slots_per_record = 6");
    assert_ne!(changed, text);
    files::write(&path, changed.as_bytes(), Readers::All).unwrap();
    let right = bench.cluster.chain().digest().to_string();
    let wrong = Chain::new(toml::from_str(&changed).unwrap())
        .unwrap()
        .digest()
        .to_string();
    let log = bench.cluster.start_failing_node(3).await.unwrap();
    let said = last_line(&log);
    assert!(said.contains(&right) && said.contains(&wrong), "{said}");
    let (store, kept) = (own.join("data/store"), own.join("data/store.kept"));
    fs::rename(&store, &kept).unwrap();
    let log = bench.cluster.start_failing_node(3).await.unwrap();
    let said = last_line(&log);
    assert!(said.contains("signer at"), "{said}");
    assert!(said.contains(&right) && said.contains(&wrong), "{said}");
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&kept, &store).unwrap();
    files::write(&path, text.as_bytes(), Readers::All).unwrap();

    // A stranger with another chain spec: its peers refuse it, and it says so.
    let mut spec = bench.cluster.chain().spec().clone();
    spec.mining.slots_per_record = 6;
    let stranger = bench.cluster.add_observer("stranger", &spec).unwrap();
    bench.cluster.start_node(stranger).await.unwrap();
    let status = bench
        .status_that(stranger, "the stranger to notice", |status| {
            !status.problems.is_empty()
        })
        .await;
    assert_eq!(
        (status.peers, status.head.height),
        (0, SideHeight::ZERO),
        "{status:?}"
    );
    let log = bench.cluster.node_log_file(stranger).unwrap();
    bench
        .cluster
        .wait("the stranger's log to name both specs", LIMIT, async || {
            let text = fs::read_to_string(&log)?;
            Ok(text.contains("expected spec").then_some(()))
        })
        .await
        .unwrap();
    bench.cluster.kill_node(stranger).await.unwrap();

    // With the right files the member is back.
    bench.cluster.start_node(3).await.unwrap();
    bench.more_blocks(3, 2).await;
    bench.finish().await;
}
