//! A federation of four on one machine: bitcoind, a signer and a node for each member, a miner, and observers.

mod client;
mod members;
mod miner;
mod officers;
mod plan;
mod provision;
mod tokens;
mod transactions;

pub use client::NodeClient;
pub use miner::MINER;
pub use tokens::Backend;
pub use transactions::fee_accounts;

use crate::bitcoin_node::BitcoinNode;
use crate::process::Process;
use crate::wait::wait_until;
use alys_bitcoin::devnet::DevnetWallet;
use alys_protocol::spec::{Chain, ChainSpec};
use alys_protocol::units::ChainId;
use anyhow::Context as _;
use plan::{NodePlan, Plan, node_dir};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use plan::{PASSPHRASE, free_ports};

/// The wallet of the Bitcoin node that owns the first coins.
pub const WALLET: &str = "devnet";
/// Mined before genesis: the first ten coinbases can be spent.
pub const FIRST_BITCOIN_BLOCKS: u32 = 110;

/// Starts take seconds; the limit is for a machine that does much else.
const START_LIMIT: Duration = Duration::from_secs(90);

/// What can differ between clusters.
#[derive(Debug, Clone)]
pub struct Options {
    /// Milliseconds of a slot, a multiple of 1000.
    pub slot_ms: u64,
    /// Final blocks without proof of work before production halts.
    pub max_blocks_without_pow: u64,
    /// Milliseconds between two blocks of the miner.
    pub miner_pace_ms: u64,
    /// Whether there is a second Bitcoin node, which stands for the rest of Bitcoin: from it the first one gets back the
    /// blocks that it forgets when it is killed. It takes blocks only, no transactions.
    pub bitcoin_peer: bool,
    /// What keeps the members' keys, where they are made.
    pub backend: Backend,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slot_ms: 2000,
            max_blocks_without_pow: alys_provision::parameters::REGTEST_MAX_BLOCKS_WITHOUT_POW,
            miner_pace_ms: 3000,
            bitcoin_peer: false,
            backend: Backend::Software,
        }
    }
}

/// The cluster. Dropping it kills its processes.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    options: Options,
    plan: Plan,
    chain: Chain,
    bitcoin: BitcoinNode,
    bitcoin_peer: Option<BitcoinNode>,
    signers: Vec<Option<Process>>,
    nodes: Vec<Option<Process>>,
    miner: Option<Process>,
}

impl Cluster {
    /// Opens the cluster in `dir`, which is provisioned where there is none yet, and starts its Bitcoin node.
    ///
    /// # Errors
    /// - where a part cannot be made or started.
    pub async fn open(dir: &Path, options: Options) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        let dir = std::path::absolute(dir)?;
        let (plan, bitcoin, bitcoin_peer) = match Plan::read(&dir)? {
            Some(plan) => {
                let (bitcoin, peer) = provision::start_bitcoin(&dir, &plan).await?;
                (plan, bitcoin, peer)
            }
            None => provision::provision(&dir, &options).await?,
        };
        let first = plan.nodes.first().context("a plan without nodes")?;
        let chain_file = node_dir(&dir, &first.name).join(alys_provision::config::CHAIN_FILE);
        let spec: ChainSpec = toml::from_str(&fs::read_to_string(&chain_file)?)?;
        Ok(Self {
            options,
            chain: Chain::new(spec)?,
            bitcoin,
            bitcoin_peer,
            signers: (0..plan.members).map(|_| None).collect(),
            nodes: plan.nodes.iter().map(|_| None).collect(),
            miner: None,
            plan,
            dir,
        })
    }

    /// What keeps the members' keys.
    pub const fn backend(&self) -> Backend {
        self.plan.backend
    }

    /// Starts all signers and nodes, and waits until they are ready.
    ///
    /// # Errors
    /// - where one does not start.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        for member in 0..self.plan.members {
            self.spawn_signer(member).await?;
        }
        for member in 0..self.plan.members {
            self.await_signer(member).await?;
        }
        for node in 0..self.plan.nodes.len() {
            self.spawn_node(node).await?;
        }
        for node in 0..self.plan.nodes.len() {
            self.await_node(node).await?;
        }
        Ok(())
    }

    /// Stops everything in order: miner, nodes, signers, Bitcoin.
    ///
    /// # Errors
    /// - where one has to be killed.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop_miner().await?;
        for processes in [&mut self.nodes, &mut self.signers] {
            for process in processes.iter_mut() {
                if let Some(process) = process.take() {
                    process.stop().await?;
                }
            }
        }
        self.bitcoin.stop().await?;
        if let Some(peer) = &mut self.bitcoin_peer {
            peer.stop().await?;
        }
        Ok(())
    }

    /// Folder of its state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Its EIP-155 chain id.
    pub fn chain_id(&self) -> ChainId {
        self.chain.id()
    }

    /// Its Bitcoin node.
    pub fn bitcoin(&self) -> &BitcoinNode {
        &self.bitcoin
    }

    /// The wallet with the first coins.
    ///
    /// # Errors
    /// - where the Bitcoin node cannot be asked.
    pub async fn wallet(&self) -> anyhow::Result<DevnetWallet> {
        Ok(self.bitcoin.devnet()?.wallet(WALLET).await?)
    }

    /// `kill -9` of the Bitcoin node, which forgets the blocks and transactions that it has not written to disk. With a
    /// second Bitcoin node, the blocks are there before.
    ///
    /// # Errors
    /// - where a node cannot be asked or ended.
    pub async fn kill_bitcoin(&mut self) -> anyhow::Result<()> {
        self.await_same_bitcoin_tip().await?;
        Ok(self.bitcoin.kill().await?)
    }

    /// Starts the Bitcoin node again, and waits until it has its blocks back from the second one, if there is one.
    ///
    /// # Errors
    /// - where it does not start, or does not get them.
    pub async fn start_bitcoin(&mut self) -> anyhow::Result<()> {
        self.bitcoin.restart().await?;
        self.await_same_bitcoin_tip().await
    }

    async fn await_same_bitcoin_tip(&self) -> anyhow::Result<()> {
        let Some(peer) = &self.bitcoin_peer else {
            return Ok(());
        };
        let (one, other) = (self.bitcoin.client(), peer.client());
        let what = "the two Bitcoin nodes to agree";
        wait_until(
            what,
            START_LIMIT,
            || Ok(()),
            async || {
                let (one, other) = (one.tip().await?, other.tip().await?);
                Ok((one.hash == other.hash).then_some(()))
            },
        )
        .await
    }

    /// How many nodes there are, observers among them.
    pub fn node_count(&self) -> usize {
        self.plan.nodes.len()
    }

    /// A client of one node, which may be running or not.
    ///
    /// # Errors
    /// - where there is no such node.
    pub fn node(&self, index: usize) -> anyhow::Result<NodeClient> {
        NodeClient::new(self.node_plan(index)?)
    }

    /// The nodes that run.
    pub fn running(&self) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(|(_, process)| process.is_some())
            .map(|(index, _)| index)
            .collect()
    }

    /// Clients of the nodes that run.
    ///
    /// # Errors
    /// - never in practice.
    pub fn running_nodes(&self) -> anyhow::Result<Vec<NodeClient>> {
        let running = self.running().into_iter();
        running.map(|index| self.node(index)).collect()
    }

    /// The ids of the processes that run, with their names.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let named = |(plan, process): (&NodePlan, &Option<Process>), kind: &str| {
            Some((format!("{kind} {}", plan.name), process.as_ref()?.pid()?))
        };
        let nodes = self.plan.nodes.iter().zip(&self.nodes);
        let signers = self.plan.nodes.iter().zip(&self.signers);
        let mut found: Vec<_> = nodes.filter_map(|pair| named(pair, "node")).collect();
        found.extend(signers.filter_map(|pair| named(pair, "signer")));
        let miner = self.miner.as_ref().and_then(Process::pid);
        found.extend(miner.map(|pid| ("miner".to_owned(), pid)));
        found.extend(self.bitcoin.pid().map(|pid| ("bitcoind".to_owned(), pid)));
        let peer = self.bitcoin_peer.as_ref().and_then(BitcoinNode::pid);
        found.extend(peer.map(|pid| ("bitcoind peer".to_owned(), pid)));
        found
    }

    /// That every process that was started and not stopped still runs.
    ///
    /// # Errors
    /// - where one has ended, with the end of its log.
    pub fn check_processes(&mut self) -> anyhow::Result<()> {
        let members = self.signers.iter_mut().chain(&mut self.nodes);
        for process in members.chain([&mut self.miner]).flatten() {
            process.check()?;
        }
        Ok(())
    }

    /// [`wait_until`], which ends at once where a process has died.
    ///
    /// # Errors
    /// - those of [`wait_until`].
    pub async fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        wait_until(what, limit, || self.check_processes(), look).await
    }

    fn node_plan(&self, index: usize) -> anyhow::Result<&NodePlan> {
        let found = self.plan.nodes.get(index);
        found.with_context(|| format!("there is no node {index}"))
    }

    fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect()
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str();
    Ok(text
        .with_context(|| format!("{} is no UTF-8", path.display()))?
        .to_owned())
}
