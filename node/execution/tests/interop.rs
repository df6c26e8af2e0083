//! Another client, through the same code: ethereumjs builds what ethrex validates, and the other way round.
//!
//! Run with `ALYS_ETHEREUMJS=path/to/node_modules/.bin/ethereumjs cargo test -p alys-execution --test interop -- --ignored`
//! (npm package `@ethereumjs/client`).
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use alys_execution::eth::BlockRef;
use alys_execution::genesis::genesis_block_hash;
use alys_execution::{
    EngineClient, EngineConfig, EthClient, ExecutionClient, Heads, JwtSecret, PayloadStatus,
};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::SideHeight;
use common::*;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Other {
    process: Child,
    execution: ExecutionClient,
    eth: EthClient,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

async fn ethereumjs(folder: &Path) -> Other {
    let program =
        std::env::var("ALYS_ETHEREUMJS").expect("ALYS_ETHEREUMJS names the ethereumjs program");
    let (genesis_file, secret) = (folder.join("genesis.json"), folder.join("jwt.hex"));
    std::fs::File::create(&genesis_file)
        .unwrap()
        .write_all(genesis().to_string().as_bytes())
        .unwrap();
    JwtSecret::from_file_or_new(&secret).unwrap();
    let (http, engine, p2p) = (free_port(), free_port(), free_port());
    let process = Command::new(program)
        .current_dir(folder)
        .arg(format!("--gethGenesis={}", genesis_file.display()))
        .arg(format!("--dataDir={}", folder.display()))
        .arg(format!("--jwtSecret={}", secret.display()))
        .args([
            "--rpc",
            "--rpcEngine",
            "--rpcAddr=127.0.0.1",
            "--rpcEngineAddr=127.0.0.1",
        ])
        .args([
            format!("--rpcPort={http}"),
            format!("--rpcEnginePort={engine}"),
            format!("--port={p2p}"),
        ])
        .args([
            "--extIP=127.0.0.1",
            "--discDns=false",
            "--discV4=false",
            "--minPeers=0",
            "--maxPeers=0",
        ])
        .args(["--sync=none", "--logFile=false", "--saveReceipts=true"])
        .stdout(Stdio::from(
            std::fs::File::create(folder.join("log")).unwrap(),
        ))
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let config = EngineConfig {
        url: format!("http://127.0.0.1:{engine}"),
        jwt_secret: secret,
    };
    let other = Other {
        process,
        execution: ExecutionClient::new(EngineClient::new(&config).unwrap()),
        eth: EthClient::new(&format!("http://127.0.0.1:{http}")).unwrap(),
    };
    // It announces nothing that could be waited for.
    let begun = Instant::now();
    while let Err(error) = other.execution.engine().exchange_capabilities().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    other
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the npm package @ethereumjs/client"]
async fn blocks_go_both_ways() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ours = Node::start(folders[0].path()).await;
    let other = ethereumjs(folders[1].path()).await;
    let genesis = genesis_block_hash(&genesis()).unwrap();
    let height = BlockRef::Height(SideHeight::new(0));
    assert_eq!(
        other.eth.block(height).await.unwrap().unwrap().hash,
        genesis
    );

    let rich = Wallet::new(1);
    let minted = EvmAddress::new([0x11; 20]);
    let mut tip = Tip::genesis(&ours);
    for round in 0..10u64 {
        // Its pool takes no transactions before a sync that never happens here, so its own blocks only mint.
        let (builder, paying) = if round % 2 == 0 {
            (&ours.execution, true)
        } else {
            (&other.execution, false)
        };
        let send = match round {
            0 => rich.transaction(0, None, 0, &emitter()),
            _ => rich.transaction(round / 2, Some(rich.contract(0)), 0, &[]),
        };
        if paying {
            ours.eth.send_raw_transaction(&send).await.unwrap();
        }
        let mints = vec![tip.withdrawal(0, minted, 10), tip.withdrawal(1, VAULT, 1)];
        let payload = builder
            .build_payload(&tip.request(mints), genesis, genesis)
            .await
            .unwrap();
        assert_eq!(
            payload.transactions.len(),
            usize::from(paying),
            "round {round}"
        );
        for (execution, eth) in [(&ours.execution, &ours.eth), (&other.execution, &other.eth)] {
            let status = execution.validate(&payload, tip.side_id()).await.unwrap();
            assert_eq!(status, PayloadStatus::Valid, "round {round}");
            let heads = Heads {
                latest: payload.block_hash,
                safe: genesis,
                finalized: genesis,
            };
            execution.set_heads(heads).await.unwrap();
            assert_eq!(
                eth.block(BlockRef::Latest).await.unwrap().unwrap().hash,
                payload.block_hash
            );
            // It answers by height only, not by hash.
            let balance = eth.balance(minted, BlockRef::Latest).await.unwrap();
            assert_eq!(balance.get(), u128::from(round + 1) * 10_000_000_000);
            if paying {
                let hash = transaction_hash(&send);
                let receipt = eth.transaction_receipt(hash).await.unwrap().unwrap();
                assert_eq!(
                    (receipt.succeeded, receipt.block_hash),
                    (true, payload.block_hash)
                );
            }
        }
        tip = Tip::of(&payload);
    }
    ours.stop().await;
}
