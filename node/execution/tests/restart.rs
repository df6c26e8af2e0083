//! What is there after the client stopped, in order or by `kill -9`.
#![allow(clippy::unwrap_used)]

mod common;

use alys_execution::eth::BlockRef;
use alys_execution::{EmbeddedClient, EmbeddedConfig, EmbeddedError, PayloadStatus};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::{SideHeight, Wei};
use common::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

const MINTED: EvmAddress = EvmAddress::new([0x44; 20]);
const FOLDER: &str = "ALYS_EXECUTION_TEST_FOLDER";

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing_and_old_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let mut tip = Tip::genesis(&node);
    let mut at_five = tip;
    for height in 1..=140 {
        tip = extend(&node, tip, vec![tip.withdrawal(0, MINTED, 1)]).await;
        if height == 5 {
            at_five = tip;
        }
    }
    // Its state is gone; ethrex would answer with the current balance.
    for block in [
        BlockRef::Hash(at_five.hash),
        BlockRef::Height(SideHeight::new(5)),
    ] {
        let error = node
            .eth
            .balance(MINTED, block)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("not available"), "{error}");
    }
    let old = node
        .eth
        .block(BlockRef::Hash(at_five.hash))
        .await
        .unwrap()
        .unwrap();
    assert!(
        node.eth
            .account(MINTED, old.hash, old.state_root)
            .await
            .is_err()
    );
    let (kept, head) = (SideHeight::new(100), tip);
    assert_eq!(
        node.eth
            .balance(MINTED, BlockRef::Height(kept))
            .await
            .unwrap(),
        Wei::new(100_000_000_000)
    );

    // A block that was validated and never became the head.
    let side = tip.build(&node, vec![tip.withdrawal(0, MINTED, 7)]).await;
    validate(&node, &side, &tip).await;
    node.stop().await;

    let node = Node::start(folder.path()).await;
    assert!(
        node.client.replayed_blocks() > 100,
        "{}",
        node.client.replayed_blocks()
    );
    assert_eq!(
        node.client.head().await.unwrap(),
        (SideHeight::new(140), head.hash)
    );
    assert_eq!(
        node.eth.balance(MINTED, BlockRef::Latest).await.unwrap(),
        Wei::new(140_000_000_000)
    );
    assert_eq!(
        node.eth
            .balance(MINTED, BlockRef::Height(kept))
            .await
            .unwrap(),
        Wei::new(100_000_000_000)
    );
    validate(&node, &side, &tip).await;
    follow(&node, side.block_hash).await;
    extend(&node, Tip::of(&side), vec![]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_leaves_a_chain_to_go_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_builds_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut payloads = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(json) = line.strip_prefix("payload ") {
            payloads.push(
                alys_execution::payload::from_json(serde_json::from_str(json).unwrap()).unwrap(),
            );
        }
        if payloads.len() == 150 {
            child.kill().unwrap();
            break;
        }
    }
    child.wait().unwrap();
    assert_eq!(payloads.len(), 150);

    let node = Node::start(folder.path()).await;
    let (height, hash) = node.client.head().await.unwrap();
    let height = usize::try_from(height.get()).unwrap();
    // Only the last few may be missing; the child may also have been a block further than it could tell.
    assert!(height >= 140, "{height}");
    if let Some(payload) = payloads.get(height - 1) {
        assert_eq!(payload.block_hash, hash);
    }
    let mut parent = Tip::of(&payloads[height.min(150) - 2]);
    for payload in &payloads[height.min(150) - 1..] {
        validate(&node, payload, &parent).await;
        parent = Tip::of(payload);
    }
    follow(&node, parent.hash).await;
    assert_eq!(
        node.eth.balance(MINTED, BlockRef::Latest).await.unwrap(),
        Wei::new(150_000_000_000)
    );
    extend(&node, parent, vec![]).await;
    node.stop().await;
}

/// Not a test: the process that the test above kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by kill_9_leaves_a_chain_to_go_on_with"]
async fn child_builds_until_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let node = Node::start(folder.as_ref()).await;
    let mut tip = Tip::genesis(&node);
    loop {
        let payload = tip.build(&node, vec![tip.withdrawal(0, MINTED, 1)]).await;
        validate(&node, &payload, &tip).await;
        follow(&node, payload.block_hash).await;
        tip = Tip::of(&payload);
        println!("payload {}", alys_execution::payload::to_json(&payload));
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_belongs_to_one_chain_and_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let config = |genesis| {
        EmbeddedConfig::new(
            folder.path().join("evm"),
            genesis,
            folder.path().join("jwt.hex"),
        )
    };
    let error = EmbeddedClient::start(config(genesis())).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::Open { .. }), "{error}");
    let mut taken = config(genesis());
    taken.http = node.client.http_addr();
    let error = EmbeddedClient::start(taken).await.unwrap_err();
    assert!(
        matches!(
            error,
            EmbeddedError::Listen {
                role: "EVM JSON-RPC",
                ..
            }
        ),
        "{error}"
    );
    node.stop().await;

    let mut other = genesis();
    other["timestamp"] = "0x1".into();
    let error = EmbeddedClient::start(config(other)).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::OtherChain { .. }), "{error}");
    let error = EmbeddedClient::start(config(serde_json::json!({})))
        .await
        .unwrap_err();
    assert!(matches!(error, EmbeddedError::Genesis(_)), "{error}");
    let mut config = config(genesis());
    config.jwt_secret = folder.path().join("none");
    let error = EmbeddedClient::start(config).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::Secret(_)), "{error}");

    let node = Node::start(folder.path()).await;
    assert_eq!(
        node.execution
            .validate(&first(&node).await, Tip::genesis(&node).side_id())
            .await
            .unwrap(),
        PayloadStatus::Valid
    );
    node.stop().await;
}

async fn first(node: &Node) -> alys_protocol::execution::ExecutionPayload {
    Tip::genesis(node).build(node, vec![]).await
}
