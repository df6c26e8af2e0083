//! The end-to-end suite: whole federations of real processes and a real bitcoind. Run with `--test-threads=1`: each
//! scenario is a federation with real slots, and two cores carry one.
#![allow(
    clippy::disallowed_methods,
    reason = "files that a test makes need not survive a power loss"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use alloy_sol_types::SolCall as _;
use alys_contracts::{BRIDGE_EVM_ADDRESS, abi};
use alys_execution::eth::BlockRef;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, BurnSequence, MemberId, Sats, SideHeight};
use alys_provision::files::{self, Readers};
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::{BlockInfo, NodeStatus, PegOutStage};
use alys_tests::cluster::{Cluster, NodeClient, Options};
use alys_tests::devnet::burn_sequence;
use alys_tests::evm::{Call, TestAccount};
use alys_tests::supply::check_supply;
use bitcoin::{Address, Transaction, Txid};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

/// What takes seconds where all is well.
const LIMIT: Duration = Duration::from_secs(180);
const BURN_GAS: u64 = 300_000;

struct Bench {
    cluster: Cluster,
    // Removed after the processes are gone.
    _dir: TempDir,
}

impl Bench {
    async fn start(options: Options) -> Self {
        let dir = TempDir::new().unwrap();
        let mut cluster = Cluster::open(&dir.path().join("cluster"), options)
            .await
            .unwrap();
        cluster.start().await.unwrap();
        Self { cluster, _dir: dir }
    }

    async fn with_miner() -> Self {
        let mut bench = Self::start(Options::default()).await;
        bench.cluster.start_miner(0).await.unwrap();
        bench
    }

    fn node(&self, index: usize) -> NodeClient {
        self.cluster.node(index).unwrap()
    }

    fn account(&self, name: &str) -> TestAccount {
        TestAccount::new(name, self.cluster.chain_id()).unwrap()
    }

    async fn status_that(
        &mut self,
        index: usize,
        what: &str,
        mut wanted: impl FnMut(&NodeStatus) -> bool,
    ) -> NodeStatus {
        let node = self.node(index);
        self.cluster
            .wait(what, LIMIT, async || {
                let status = node.status().await?;
                Ok(wanted(&status).then_some(status))
            })
            .await
            .unwrap()
    }

    /// Waits for so many more certified blocks, as the node sees them.
    async fn more_blocks(&mut self, index: usize, count: u64) -> NodeStatus {
        let node = self.node(index);
        let now = node.status().await.unwrap().head.height.get();
        let what = format!("{count} blocks after {now}");
        self.status_that(index, &what, |status| {
            status.head.height.get() >= now + count
        })
        .await
    }

    async fn block(&self, index: usize, height: u64) -> BlockInfo {
        let node = self.node(index);
        let height = SideHeight::new(height);
        node.rpc.block_by_height(height).await.unwrap().unwrap()
    }

    /// That all nodes have the same final block at a height.
    async fn agree_on(&self, nodes: &[usize], height: u64) {
        let mut ids = BTreeSet::new();
        for node in nodes {
            ids.insert(self.block(*node, height).await.id);
        }
        assert_eq!(ids.len(), 1, "nodes differ at height {height}");
    }

    async fn balance_reaches(&mut self, index: usize, account: EvmAddress, least: Sats) {
        let node = self.node(index);
        let what = format!("{} sat on {account}", least.get());
        self.cluster
            .wait(&what, LIMIT, async || {
                let balance = node.eth.balance(account, BlockRef::Latest).await?;
                Ok((balance >= least.to_wei()).then_some(()))
            })
            .await
            .unwrap();
    }

    async fn burn(
        &mut self,
        account: &TestAccount,
        payments: &[(&Address, Sats)],
    ) -> Vec<BurnSequence> {
        let calls: Vec<Call> = payments
            .iter()
            .map(|(address, amount)| Call {
                to: Some(BRIDGE_EVM_ADDRESS),
                value: amount.to_wei(),
                data: abi::Bridge::requestPegOutCall {
                    bitcoinAddress: address.to_string(),
                }
                .abi_encode(),
                gas: BURN_GAS,
            })
            .collect();
        let receipts = self.cluster.transact(account, &calls).await.unwrap();
        receipts
            .iter()
            .map(|receipt| burn_sequence(receipt).unwrap())
            .collect()
    }

    /// Waits until a burn is settled and returns the confirmed transaction.
    async fn settled(&mut self, index: usize, sequence: BurnSequence) -> Transaction {
        let node = self.node(index);
        let what = format!("burn {} to be settled", sequence.get());
        let txid: Txid = self
            .cluster
            .wait(&what, LIMIT, async || {
                let found = node.rpc.peg_out(sequence).await?;
                Ok(found
                    .filter(|found| found.stage == PegOutStage::Settled)
                    .and_then(|found| found.txid))
            })
            .await
            .unwrap()
            .parse()
            .unwrap();
        let client = self.cluster.bitcoin().client().clone();
        let status = client.transaction(txid, None).await.unwrap().unwrap();
        assert!(status.confirmations > 0);
        status.transaction
    }

    async fn new_address(&self, kind: &str) -> Address {
        let wallet = self.cluster.wallet().await.unwrap();
        wallet.new_address_of(kind).await.unwrap()
    }

    async fn check_supply(&self, index: usize, accounts: &[&TestAccount]) {
        let accounts: Vec<_> = accounts.iter().map(|account| account.address()).collect();
        let sheet = check_supply(&self.cluster, &self.node(index), &accounts)
            .await
            .unwrap();
        println!("    supply is explained: {sheet:?}");
    }

    /// How often Bitcoin's best chain pays to an address.
    async fn payments_to(&mut self, address: &Address) -> Vec<u64> {
        let client = self.cluster.bitcoin().client().clone();
        let script = address.script_pubkey();
        let tip = client.tip().await.unwrap().height;
        let mut found = Vec::new();
        for info in client
            .headers(BtcHeight::new(1), tip)
            .await
            .unwrap()
            .unwrap()
        {
            let block = client.block(info.position.hash).await.unwrap().unwrap();
            let outputs = block
                .txdata
                .iter()
                .flat_map(|transaction| &transaction.output);
            let paid = outputs.filter(|output| output.script_pubkey == script);
            found.extend(paid.map(|output| output.value.to_sat()));
        }
        found
    }

    async fn stop(mut self) {
        self.cluster.stop().await.unwrap();
    }
}

fn paid_to(transaction: &Transaction, address: &Address) -> u64 {
    let script = address.script_pubkey();
    let outputs = transaction.output.iter();
    let paid: Vec<_> = outputs
        .filter(|output| output.script_pubkey == script)
        .collect();
    assert_eq!(paid.len(), 1, "expected one payment to {address}");
    paid[0].value.to_sat()
}

fn enough_without_pow() -> Options {
    Options {
        max_blocks_without_pow: 10_000,
        ..Options::default()
    }
}

#[tokio::test]
async fn blocks_come_from_all_four_and_from_three_and_not_from_two() {
    let mut bench = Bench::start(enough_without_pow()).await;
    // All four, a block in every slot.
    let start = bench.more_blocks(0, 2).await.head.height.get();
    let end = bench.more_blocks(0, 12).await.head.height.get();
    let mut leaders = BTreeSet::new();
    for height in start..=end {
        leaders.insert(bench.block(0, height).await.leader);
    }
    assert_eq!(leaders, (0..4).map(MemberId::new).collect());
    let (first, last) = (bench.block(0, start).await, bench.block(0, end).await);
    let missed = (last.slot.get() - first.slot.get()) - (end - start);
    assert!(missed <= 2, "{missed} of {} slots missed", end - start);
    let r#final = bench.node(0).status().await.unwrap().r#final.height.get();
    assert!(
        end - r#final <= 4,
        "head {end}, final {final}",
        r#final = r#final
    );

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
    let slots = 10;
    let two = bench.node(0).status().await.unwrap();
    let standing = bench
        .status_that(0, "slots with two members", |status| {
            status.slot.get() >= two.slot.get() + slots
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
    let height = bench.more_blocks(3, 3).await.r#final.height.get();
    bench.agree_on(&[0, 3], height).await;
    bench.stop().await;
}

#[tokio::test]
async fn without_proof_of_work_the_chain_halts_and_with_it_it_resumes() {
    let limit = 12;
    let options = Options {
        max_blocks_without_pow: limit,
        miner_pace_ms: 1000,
    };
    let mut bench = Bench::start(options).await;
    bench
        .status_that(0, "the halt's distance", |status| {
            status.r#final.height.get() >= limit
        })
        .await;
    let before = bench.node(0).status().await.unwrap();
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
    bench.check_supply(0, &[]).await;
    bench.stop().await;
}

#[tokio::test]
async fn coins_go_in_by_both_encodings_and_come_out_in_one_batch() {
    let mut bench = Bench::with_miner().await;
    let (raw, hex) = (bench.account("raw"), bench.account("hex"));
    bench.more_blocks(0, 1).await;
    let (first, second, third) = (
        Sats::new(100_000_000),
        Sats::new(50_000_000),
        Sats::new(12_345),
    );
    // In one Bitcoin block: all are in the mempool before the next one is found, or the miner was very quick; either way
    // each is minted exactly once.
    bench.cluster.stop_miner().await.unwrap();
    let data = raw.address().to_string();
    let deposits = [
        bench
            .cluster
            .deposit(first, raw.address().as_bytes())
            .await
            .unwrap(),
        bench
            .cluster
            .deposit(second, hex.address().to_string())
            .await
            .unwrap(),
        bench
            .cluster
            .deposit(third, data.trim_start_matches("0x"))
            .await
            .unwrap(),
    ];
    bench.cluster.start_miner(0).await.unwrap();
    bench
        .balance_reaches(0, raw.address(), first.saturating_add(third.get()))
        .await;
    bench.balance_reaches(0, hex.address(), second).await;
    let client = bench.cluster.bitcoin().client().clone();
    let mut blocks = BTreeSet::new();
    for deposit in &deposits {
        let status = client
            .transaction(deposit.compute_txid(), None)
            .await
            .unwrap();
        blocks.insert(status.unwrap().block.unwrap());
    }
    assert_eq!(
        blocks.len(),
        1,
        "the deposits are in different Bitcoin blocks"
    );
    let peg = bench.node(0).peg().await.unwrap();
    assert_eq!(
        peg.minted_sats,
        Sats::checked_sum([first, second, third]).unwrap()
    );
    bench.check_supply(0, &[&raw, &hex]).await;

    // Out again, to a P2WPKH and a P2TR address, in one batch: both burns are handed in together.
    let (p2wpkh, p2tr) = (
        bench.new_address("bech32").await,
        bench.new_address("bech32m").await,
    );
    let (one, other) = (Sats::new(20_000_000), Sats::new(30_000_001));
    let sequences = bench.burn(&raw, &[(&p2wpkh, one), (&p2tr, other)]).await;
    let payment = bench.settled(0, sequences[0]).await;
    assert_eq!(
        bench.settled(0, sequences[1]).await.compute_txid(),
        payment.compute_txid(),
        "the burns are in different batches"
    );
    // Each pays its share of the fee, and nothing else is missing.
    for (address, burned) in [(&p2wpkh, one), (&p2tr, other)] {
        let paid = paid_to(&payment, address);
        assert!(
            paid <= burned.get() && paid + 50_000 > burned.get(),
            "{paid} of {burned:?}"
        );
        assert_eq!(bench.payments_to(address).await, [paid]);
    }
    bench.check_supply(0, &[&raw, &hex]).await;
    bench.check_supply(3, &[&raw, &hex]).await;
    bench.stop().await;
}

#[tokio::test]
async fn kill_9_of_every_process_and_a_reorg_lose_and_double_nothing() {
    let mut bench = Bench::with_miner().await;
    let user = bench.account("user");
    bench.more_blocks(0, 2).await;
    let deposited = Sats::new(100_000_000);
    bench
        .cluster
        .deposit(deposited, user.address().as_bytes())
        .await
        .unwrap();
    bench.balance_reaches(0, user.address(), deposited).await;
    let payout = bench.new_address("bech32").await;
    let burned = Sats::new(10_000_000);
    let second = Sats::new(70_000_000);

    // A peg-out and a deposit are in flight from here on.
    let sequence = bench.burn(&user, &[(&payout, burned)]).await[0];
    let deposit = bench
        .cluster
        .deposit(second, user.address().as_bytes())
        .await
        .unwrap();
    for member in 0..4 {
        bench.cluster.kill_signer(member).await.unwrap();
        bench.cluster.start_signer(member).await.unwrap();
        bench.cluster.kill_node(member).await.unwrap();
        bench.cluster.start_node(member).await.unwrap();
    }
    bench.cluster.kill_miner().await.unwrap();
    // A power cut may lose blocks that bitcoind has not written; the peg survives that as a reorganisation, which comes
    // below on its own.
    let devnet = bench.cluster.bitcoin().devnet().unwrap();
    devnet.flush().await.unwrap();
    bench.cluster.bitcoin().kill().await.unwrap();
    bench.cluster.bitcoin().restart().await.unwrap();

    // Two blocks are replaced by three others: less deep than the confirmations.
    let client = bench.cluster.bitcoin().client().clone();
    let tip = client.tip().await.unwrap().height;
    let gone = client
        .block_hash(BtcHeight::new(tip.get() - 1))
        .await
        .unwrap()
        .unwrap();
    devnet.invalidate_block(gone).await.unwrap();
    let elsewhere = bench.new_address("bech32m").await;
    devnet.generate(3, &elsewhere).await.unwrap();
    bench.cluster.start_miner(1).await.unwrap();

    let payment = bench.settled(0, sequence).await;
    let paid = paid_to(&payment, &payout);
    assert_eq!(bench.payments_to(&payout).await, [paid], "paid once");
    let all = deposited.checked_add(second.get()).unwrap();
    let node = bench.node(0);
    bench
        .cluster
        .wait("the second mint", LIMIT, async || {
            Ok((node.peg().await?.minted_sats >= all).then_some(()))
        })
        .await
        .unwrap();
    let status = client
        .transaction(deposit.compute_txid(), None)
        .await
        .unwrap();
    assert!(status.unwrap().confirmations >= 3);
    // Some blocks more, in which a second mint or payment would show.
    bench.more_blocks(0, 10).await;
    assert_eq!(node.peg().await.unwrap().minted_sats, all, "minted once");
    assert_eq!(bench.payments_to(&payout).await, [paid], "paid once");
    for index in 0..4 {
        bench.check_supply(index, &[&user]).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_fifth_node_syncs_from_genesis_and_a_node_that_was_away_catches_up() {
    let mut bench = Bench::start(enough_without_pow()).await;
    bench.cluster.kill_node(3).await.unwrap();
    // As many blocks as the suite's time allows; more than one request's worth is what matters.
    let missed = 40;
    let height = bench.more_blocks(0, missed).await.r#final.height.get();

    let spec = bench.cluster.chain().spec().clone();
    let observer = bench.cluster.add_observer("observer", &spec).unwrap();
    bench.cluster.start_node(observer).await.unwrap();
    bench.cluster.start_node(3).await.unwrap();
    for index in [observer, 3] {
        bench
            .status_that(index, "the missed blocks", |status| {
                status.r#final.height.get() >= height
            })
            .await;
    }
    for past in [1, height / 2, height] {
        bench.agree_on(&[0, 3, observer], past).await;
    }
    // They follow; and the one that was away takes part.
    let now = bench.more_blocks(observer, 8).await;
    assert_eq!(now.member, None);
    let head = now.head.height.get();
    let mut takes_part = false;
    for height in head - 6..=head {
        takes_part |= bench
            .block(0, height)
            .await
            .approved_by
            .contains(&MemberId::new(3));
    }
    assert!(takes_part, "member 3 approved none of the last blocks");
    bench.stop().await;
}

#[tokio::test]
async fn a_wrong_certificate_or_chain_spec_is_said_and_the_node_stays_outside() {
    let mut bench = Bench::start(enough_without_pow()).await;
    bench.more_blocks(0, 1).await;

    // Member 3 with the certificate that member 2's authority issued.
    bench.cluster.kill_node(3).await.unwrap();
    let (own, other) = (
        bench.cluster.node_dir(3).unwrap(),
        bench.cluster.node_dir(2).unwrap(),
    );
    for file in ["tls/node.pem", "tls/node.key"] {
        fs::copy(own.join(file), own.join(format!("{file}.kept"))).unwrap();
        fs::copy(other.join(file), own.join(file)).unwrap();
    }
    let log = bench.cluster.start_failing_node(3).await.unwrap();
    let said = log.lines().last().unwrap_or_default();
    assert!(
        said.contains("signer at") && said.contains("certificate"),
        "{said}"
    );
    for file in ["tls/node.pem", "tls/node.key"] {
        fs::rename(own.join(format!("{file}.kept")), own.join(file)).unwrap();
    }

    // Member 3 with another chain spec: its database is of another chain, and without one its signer refuses.
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
    let said = log.lines().last().unwrap_or_default();
    assert!(said.contains(&right) && said.contains(&wrong), "{said}");
    let (store, kept) = (own.join("data/store"), own.join("data/store.kept"));
    fs::rename(&store, &kept).unwrap();
    let log = bench.cluster.start_failing_node(3).await.unwrap();
    let said = log.lines().last().unwrap_or_default();
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
    let log = bench.cluster.dir().join("logs/node-stranger.log");
    bench
        .cluster
        .wait("the stranger's log to name both specs", LIMIT, async || {
            let text = fs::read_to_string(&log)?;
            Ok(text.contains("expected spec").then_some(()))
        })
        .await
        .unwrap();

    // With the right files the member is back.
    bench.cluster.start_node(3).await.unwrap();
    bench.more_blocks(3, 2).await;
    bench.stop().await;
}
