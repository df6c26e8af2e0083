//! What the scenarios share: a federation, what it is asked for, and the checks at its end.

use alloy_sol_types::SolCall as _;
use alys_contracts::{BRIDGE_EVM_ADDRESS, abi};
use alys_execution::eth::BlockRef;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::{BtcHeight, BurnSequence, Sats, SideHeight};
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::{BlockInfo, NodeStatus, PegOutStage, PegOutStatus, PegStatus};
use alys_tests::cluster::{Cluster, NodeClient, Options};
use alys_tests::devnet::burn_sequence;
use alys_tests::evm::{Call, TestAccount};
use alys_tests::supply::check_supply;
use alys_tests::wait::wait_until;
use bitcoin::{Address, Transaction, Txid};
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;

/// What takes seconds where all is well.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);
const BURN_GAS: u64 = 300_000;

/// Slots as short as a chain can have, and no halt without proof of work.
pub(crate) fn fast() -> Options {
    Options {
        slot_ms: 1000,
        max_blocks_without_pow: 100_000,
        miner_pace_ms: 2000,
        ..Options::default()
    }
}

/// As [`fast`], with a miner that makes one block at its start and no other: what happens between two Bitcoin blocks is
/// then up to the scenario.
pub(crate) fn block_by_block() -> Options {
    Options {
        miner_pace_ms: 24 * 3600 * 1000,
        ..fast()
    }
}

/// A running federation.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    accounts: Vec<EvmAddress>,
    // Removed after the processes are gone.
    _dir: TempDir,
}

impl Bench {
    pub(crate) async fn start(options: Options) -> Self {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("cluster");
        let mut cluster = Cluster::open(&folder, options).await.unwrap();
        cluster.start().await.unwrap();
        Self {
            cluster,
            accounts: Vec::new(),
            _dir: dir,
        }
    }

    pub(crate) fn node(&self, index: usize) -> NodeClient {
        self.cluster.node(index).unwrap()
    }

    /// An account that may hold coins: the supply is counted over all of them.
    pub(crate) fn account(&mut self, name: &str) -> TestAccount {
        let account = TestAccount::new(name, self.cluster.chain_id()).unwrap();
        self.accounts.push(account.address());
        account
    }

    pub(crate) async fn status(&self, index: usize) -> NodeStatus {
        self.node(index).status().await.unwrap()
    }

    pub(crate) async fn status_that(
        &mut self,
        index: usize,
        what: &str,
        mut wanted: impl FnMut(&NodeStatus) -> bool,
    ) -> NodeStatus {
        let node = self.node(index);
        let look = async || {
            let status = node.status().await?;
            Ok(wanted(&status).then_some(status))
        };
        self.cluster.wait(what, LIMIT, look).await.unwrap()
    }

    /// Waits for so many more certified blocks, as the node sees them.
    pub(crate) async fn more_blocks(&mut self, index: usize, count: u64) -> NodeStatus {
        let now = self.status(index).await.head.height.get();
        let what = format!("{count} blocks after {now}");
        self.status_that(index, &what, |status| {
            status.head.height.get() >= now + count
        })
        .await
    }

    /// The block at a height, as soon as the node has it.
    pub(crate) async fn block(&self, index: usize, height: u64) -> BlockInfo {
        let node = self.node(index);
        let what = format!("block {height} on node {index}");
        let height = SideHeight::new(height);
        let look = async || Ok(node.rpc.block_by_height(height).await?);
        let found = wait_until(&what, LIMIT, || Ok(()), look).await;
        found.unwrap()
    }

    /// That all nodes have the same final block at a height.
    pub(crate) async fn agree_on(&self, nodes: &[usize], height: u64) {
        let mut ids = BTreeSet::new();
        for node in nodes {
            ids.insert(self.block(*node, height).await.id);
        }
        assert_eq!(ids.len(), 1, "nodes differ at height {height}");
    }

    pub(crate) async fn peg(&self, index: usize) -> PegStatus {
        self.node(index).peg().await.unwrap()
    }

    pub(crate) async fn peg_that(
        &mut self,
        index: usize,
        what: &str,
        mut wanted: impl FnMut(&PegStatus) -> bool,
    ) -> PegStatus {
        let node = self.node(index);
        let look = async || {
            let peg = node.peg().await?;
            Ok(wanted(&peg).then_some(peg))
        };
        self.cluster.wait(what, LIMIT, look).await.unwrap()
    }

    /// Waits until a node has minted so much in all, and checks that it is no more.
    pub(crate) async fn minted(&mut self, index: usize, total: Sats) {
        let what = format!("{} sat to be minted", total.get());
        let peg = self
            .peg_that(index, &what, |peg| peg.minted_sats >= total)
            .await;
        assert_eq!(peg.minted_sats, total, "minted more than was deposited");
    }

    /// Waits until an account has so much, which the execution client shows a little after the ledger, and checks that it
    /// is no more.
    pub(crate) async fn credited(&mut self, index: usize, account: EvmAddress, total: Sats) {
        let node = self.node(index);
        let what = format!("{} sat on {account}", total.get());
        let look = async || {
            let balance = node.eth.balance(account, BlockRef::Latest).await?;
            Ok((balance >= total.to_wei()).then_some(balance))
        };
        let balance = self.cluster.wait(&what, LIMIT, look).await.unwrap();
        assert_eq!(balance, total.to_wei());
    }

    /// Makes Bitcoin blocks with what is in the mempool, without the miner.
    pub(crate) async fn mine(&self, blocks: u32) {
        let address = self.new_address("bech32m").await;
        let devnet = self.cluster.bitcoin().devnet().unwrap();
        devnet.generate(blocks, &address).await.unwrap();
    }

    /// Starts the miner for one block on both chains; see [`block_by_block`].
    pub(crate) async fn mine_merged(&mut self, index: usize) {
        self.cluster.stop_miner().await.unwrap();
        let client = self.cluster.bitcoin().client().clone();
        let before = client.tip().await.unwrap().height;
        self.cluster.start_miner(index).await.unwrap();
        let look = async || {
            let tip = client.tip().await?.height;
            Ok((tip > before).then_some(()))
        };
        let what = "the miner's block";
        self.cluster.wait(what, LIMIT, look).await.unwrap();
    }

    /// Burns in one go and returns the burns' sequences.
    pub(crate) async fn burn(
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

    /// Waits until a burn's payment is at a stage, and checks that it is not past it.
    pub(crate) async fn peg_out_is_at(
        &mut self,
        index: usize,
        sequence: BurnSequence,
        stage: PegOutStage,
    ) {
        let found = self.peg_out_reaches(index, sequence, stage).await;
        assert_eq!(found.stage, stage, "node {index}");
    }

    /// Waits until a burn's payment is at a stage or past it.
    pub(crate) async fn peg_out_reaches(
        &mut self,
        index: usize,
        sequence: BurnSequence,
        stage: PegOutStage,
    ) -> PegOutStatus {
        let node = self.node(index);
        let what = format!("burn {} to be {stage:?}", sequence.get());
        let look = async || {
            let found = node.rpc.peg_out(sequence).await?;
            Ok(found.filter(|found| found.stage >= stage))
        };
        self.cluster.wait(&what, LIMIT, look).await.unwrap()
    }

    /// Waits until a burn is settled and returns the confirmed transaction.
    pub(crate) async fn settled(&mut self, index: usize, sequence: BurnSequence) -> Transaction {
        let found = self
            .peg_out_reaches(index, sequence, PegOutStage::Settled)
            .await;
        let txid: Txid = found.txid.unwrap().parse().unwrap();
        let client = self.cluster.bitcoin().client();
        let status = client.transaction(txid, None).await.unwrap().unwrap();
        assert!(status.confirmations > 0);
        status.transaction
    }

    pub(crate) async fn new_address(&self, kind: &str) -> Address {
        let wallet = self.cluster.wallet().await.unwrap();
        wallet.new_address_of(kind).await.unwrap()
    }

    /// What Bitcoin's best chain pays to an address, output by output.
    pub(crate) async fn payments_to(&self, address: &Address) -> Vec<u64> {
        let client = self.cluster.bitcoin().client();
        let script = address.script_pubkey();
        let tip = client.tip().await.unwrap().height;
        let headers = client.headers(BtcHeight::new(1), tip).await.unwrap();
        let mut found = Vec::new();
        for info in headers.unwrap() {
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

    /// Restarts a member's signer with another limit on a batch's fee. With 1 sat it refuses every batch and votes on.
    pub(crate) async fn limit_fee(&mut self, member: usize, sats: Sats) {
        let changed = self
            .cluster
            .change_policy(member, "max_fee_sats", sats.get());
        changed.await.unwrap();
    }

    /// The last check of each scenario: all nodes that run agree on what is final and have read all that Bitcoin has
    /// confirmed, and on each of them every satoshi is explained. Then everything stops in order.
    pub(crate) async fn finish(mut self) {
        self.cluster.stop_miner().await.unwrap();
        let tip = self.cluster.bitcoin().client().tip().await.unwrap();
        let confirmations = self.cluster.chain().spec().deposits.confirmations;
        let confirmed = BtcHeight::new(tip.height.get() + 1 - confirmations);
        let running = self.cluster.running();
        assert!(!running.is_empty());
        let mut common = u64::MAX;
        for index in &running {
            let what = format!("node {index} to have read Bitcoin");
            self.peg_that(*index, &what, |peg| peg.bitcoin_height >= confirmed)
                .await;
            common = common.min(self.status(*index).await.r#final.height.get());
        }
        if common > 0 {
            self.agree_on(&running, common).await;
        }
        for index in running {
            let node = self.node(index);
            let sheet = check_supply(&self.cluster, &node, &self.accounts).await;
            println!("    node {index}: {:?}", sheet.unwrap());
        }
        self.cluster.check_processes().unwrap();
        self.cluster.stop().await.unwrap();
    }
}

/// What a transaction pays to an address, in one output.
pub(crate) fn paid_to(transaction: &Transaction, address: &Address) -> u64 {
    let script = address.script_pubkey();
    let outputs = transaction.output.iter();
    let paid: Vec<_> = outputs
        .filter(|output| output.script_pubkey == script)
        .collect();
    assert_eq!(paid.len(), 1, "expected one payment to {address}");
    paid[0].value.to_sat()
}
