//! A federation of four on one machine: bitcoind, a signer and a node for each member, a miner, and observers.

mod plan;
mod provision;

use crate::bitcoin_node::BitcoinNode;
use crate::evm::{Call, TestAccount};
use crate::process::{Process, Program};
use crate::wait::wait_until;
use alys_bitcoin::devnet::DevnetWallet;
use alys_execution::EthClient;
use alys_execution::receipt::Receipt;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::spec::{Chain, ChainSpec};
use alys_protocol::units::{ChainId, Sats};
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::{NodeStatus, PegStatus};
use anyhow::{Context as _, bail};
use bitcoin::script::PushBytesBuf;
use bitcoin::{Address, Amount, Network, ScriptBuf, Transaction, TxOut};
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use plan::{NodePlan, PASSPHRASE, Plan, free_ports, loopback, node_dir, signer_dir};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The wallet of the Bitcoin node that owns the first coins.
pub const WALLET: &str = "devnet";
/// Mined before genesis: the first ten coinbases can be spent.
pub const FIRST_BITCOIN_BLOCKS: u32 = 110;

/// Starts take seconds; the limit is for a machine that does much else.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Within this a transaction is in a certified block, or something is wrong.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(90);

/// What can differ between clusters.
#[derive(Debug, Clone)]
pub struct Options {
    /// Final blocks without proof of work before production halts.
    pub max_blocks_without_pow: u64,
    /// Milliseconds between two blocks of the miner.
    pub miner_pace_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_blocks_without_pow: alys_provision::parameters::REGTEST_MAX_BLOCKS_WITHOUT_POW,
            miner_pace_ms: 3000,
        }
    }
}

/// How to talk to one node.
#[derive(Debug, Clone)]
pub struct NodeClient {
    /// The node's JSON-RPC.
    pub rpc: HttpClient,
    /// Its execution client's.
    pub eth: Arc<EthClient>,
    /// Address of the former.
    pub rpc_url: String,
    /// Address of the latter.
    pub evm_url: String,
}

impl NodeClient {
    fn new(plan: &NodePlan) -> anyhow::Result<Self> {
        let rpc_url = format!("http://{}", loopback(plan.rpc));
        let evm_url = format!("http://{}", loopback(plan.evm));
        Ok(Self {
            rpc: HttpClientBuilder::default()
                .request_timeout(Duration::from_secs(10))
                .build(&rpc_url)?,
            eth: Arc::new(EthClient::new(&evm_url)?),
            rpc_url,
            evm_url,
        })
    }

    /// Where it stands.
    ///
    /// # Errors
    /// - where it cannot be asked.
    pub async fn status(&self) -> anyhow::Result<NodeStatus> {
        Ok(self.rpc.node_status().await?)
    }

    /// The peg's ledger.
    ///
    /// # Errors
    /// - where it cannot be asked.
    pub async fn peg(&self) -> anyhow::Result<PegStatus> {
        Ok(self.rpc.peg_status().await?)
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
        let (plan, bitcoin) = match Plan::read(&dir)? {
            Some(plan) => {
                let bitcoin = provision::start_bitcoin(&dir, &plan).await?;
                (plan, bitcoin)
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
            signers: (0..plan.members).map(|_| None).collect(),
            nodes: plan.nodes.iter().map(|_| None).collect(),
            miner: None,
            plan,
            dir,
        })
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
        Ok(self.bitcoin.stop().await?)
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
    pub fn bitcoin(&mut self) -> &mut BitcoinNode {
        &mut self.bitcoin
    }

    /// The wallet with the first coins.
    ///
    /// # Errors
    /// - where the Bitcoin node cannot be asked.
    pub async fn wallet(&self) -> anyhow::Result<DevnetWallet> {
        Ok(self.bitcoin.devnet()?.wallet(WALLET).await?)
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
        found
    }

    fn node_plan(&self, index: usize) -> anyhow::Result<&NodePlan> {
        let found = self.plan.nodes.get(index);
        found.with_context(|| format!("there is no node {index}"))
    }

    fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    async fn spawn_signer(&mut self, member: usize) -> anyhow::Result<()> {
        let plan = self.node_plan(member)?;
        let config = signer_dir(&self.dir, &plan.name).join(alys_provision::config::SIGNER_FILE);
        let program = Program {
            name: &format!("signer-{}", plan.name),
            program: "alys-signer",
            arguments: strings(&["run", "--config", &text(&config)?, "--passphrase-fd", "0"]),
            input: Some(PASSPHRASE.as_bytes()),
        };
        let process = Process::start(&self.logs(), program).await?;
        slot(&mut self.signers, member)?.replace(process);
        Ok(())
    }

    async fn await_signer(&mut self, member: usize) -> anyhow::Result<()> {
        let plan = self.node_plan(member)?;
        let address = loopback(plan.signer);
        let what = format!("signer {} on {address}", plan.name);
        self.wait(&what, START_LIMIT, async || {
            // It listens once its keys are open.
            Ok(tokio::net::TcpStream::connect(address).await.ok().map(drop))
        })
        .await
    }

    /// Starts a member's signer again, and waits until it listens.
    ///
    /// # Errors
    /// - where it does not start.
    pub async fn start_signer(&mut self, member: usize) -> anyhow::Result<()> {
        self.spawn_signer(member).await?;
        self.await_signer(member).await
    }

    /// `kill -9` of a member's signer.
    ///
    /// # Errors
    /// - where it does not run.
    pub async fn kill_signer(&mut self, member: usize) -> anyhow::Result<()> {
        let process = slot(&mut self.signers, member)?.take();
        process.context("the signer does not run")?.kill().await
    }

    async fn spawn_node(&mut self, index: usize) -> anyhow::Result<()> {
        let plan = self.node_plan(index)?;
        let folder = node_dir(&self.dir, &plan.name);
        let endpoints = folder.join("data/endpoints.json");
        if endpoints.exists() {
            fs::remove_file(&endpoints)?;
        }
        let config = folder.join(alys_provision::config::NODE_FILE);
        let program = Program {
            name: &format!("node-{}", plan.name),
            program: "alys-node",
            arguments: strings(&["run", "--config", &text(&config)?]),
            input: None,
        };
        let process = Process::start(&self.logs(), program).await?;
        slot(&mut self.nodes, index)?.replace(process);
        Ok(())
    }

    async fn await_node(&mut self, index: usize) -> anyhow::Result<()> {
        let plan = self.node_plan(index)?;
        let endpoints = node_dir(&self.dir, &plan.name).join("data/endpoints.json");
        let what = format!("node {}", plan.name);
        self.wait(&what, START_LIMIT, async || {
            Ok(endpoints.exists().then_some(()))
        })
        .await
    }

    /// Starts a node again, and waits until it serves.
    ///
    /// # Errors
    /// - where it does not start.
    pub async fn start_node(&mut self, index: usize) -> anyhow::Result<()> {
        self.spawn_node(index).await?;
        self.await_node(index).await
    }

    /// Starts a node that is expected to give up, and returns its log.
    ///
    /// # Errors
    /// - where it does not end, or ends well.
    pub async fn start_failing_node(&mut self, index: usize) -> anyhow::Result<String> {
        self.spawn_node(index).await?;
        let process = slot(&mut self.nodes, index)?.take();
        let mut process = process.context("the node does not run")?;
        let status = process.wait(START_LIMIT).await?;
        if status.success() {
            bail!("the node ended well:\n{}", process.log_text());
        }
        Ok(process.log_text())
    }

    /// `kill -9` of a node.
    ///
    /// # Errors
    /// - where it does not run.
    pub async fn kill_node(&mut self, index: usize) -> anyhow::Result<()> {
        let process = slot(&mut self.nodes, index)?.take();
        process.context("the node does not run")?.kill().await
    }

    /// A running node's log.
    ///
    /// # Errors
    /// - where it does not run.
    pub fn node_log(&self, index: usize) -> anyhow::Result<String> {
        let process = self.nodes.get(index).and_then(Option::as_ref);
        Ok(process.context("the node does not run")?.log_text())
    }

    /// Where a node's configuration lies.
    ///
    /// # Errors
    /// - where there is no such node.
    pub fn node_dir(&self, index: usize) -> anyhow::Result<PathBuf> {
        Ok(node_dir(&self.dir, &self.node_plan(index)?.name))
    }

    /// Makes a node that works for no member, of the chain `spec`, and returns its index. It is not started.
    ///
    /// # Errors
    /// - where its files cannot be written.
    pub fn add_observer(&mut self, name: &str, spec: &ChainSpec) -> anyhow::Result<usize> {
        let ports = free_ports(4, &self.plan.ports())?;
        let node = provision::node_plan(&self.dir, name, &ports)?;
        provision::write_observer(&self.dir, &self.plan, &node, &self.bitcoin, spec)?;
        self.plan.nodes.push(node);
        self.nodes.push(None);
        self.plan.write(&self.dir)?;
        Ok(self.plan.nodes.len() - 1)
    }

    /// Starts the miner, which asks the node `index` for work.
    ///
    /// # Errors
    /// - where it cannot be started.
    pub async fn start_miner(&mut self, index: usize) -> anyhow::Result<()> {
        let payout = self.wallet().await?.new_address().await?;
        let settings = self.bitcoin.config();
        let alys_bitcoin::Credentials::CookieFile(cookie) = settings.credentials else {
            bail!("bitcoind is expected to use a cookie file");
        };
        let miner = TestAccount::new(MINER, self.chain_id())?;
        let arguments = strings(&[
            "--alys",
            &self.node(index)?.rpc_url,
            "--bitcoin",
            &settings.url,
            "--cookie",
            &text(&cookie)?,
            "--network",
            "regtest",
            "--evm-address",
            &miner.address().to_string(),
            "--bitcoin-address",
            &payout.to_string(),
            "--pace-ms",
            &self.options.miner_pace_ms.to_string(),
            "--refresh-ms",
            "1000",
        ]);
        let program = Program {
            name: "miner",
            program: "alys-miner",
            arguments,
            input: None,
        };
        self.miner = Some(Process::start(&self.logs(), program).await?);
        Ok(())
    }

    /// Stops the miner, if it runs.
    ///
    /// # Errors
    /// - where it has to be killed.
    pub async fn stop_miner(&mut self) -> anyhow::Result<()> {
        match self.miner.take() {
            Some(miner) => miner.stop().await,
            None => Ok(()),
        }
    }

    /// `kill -9` of the miner.
    ///
    /// # Errors
    /// - where it does not run.
    pub async fn kill_miner(&mut self) -> anyhow::Result<()> {
        let miner = self.miner.take().context("the miner does not run")?;
        miner.kill().await
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

    /// The federation's address.
    ///
    /// # Errors
    /// - never on a chain that was checked.
    pub fn federation(&self) -> anyhow::Result<Address> {
        Ok(self.chain.wallet().address(Network::Regtest)?)
    }

    /// Pays several deposits, each with its OP_RETURN data, into Bitcoin's mempool, each in a transaction of its own.
    ///
    /// # Errors
    /// - where the Bitcoin node refuses.
    pub async fn deposit(
        &self,
        amount: Sats,
        data: impl AsRef<[u8]>,
    ) -> anyhow::Result<Transaction> {
        let script = self.federation()?.script_pubkey();
        let data = PushBytesBuf::try_from(data.as_ref().to_vec())?;
        let payment = TxOut {
            value: Amount::from_sat(amount.get()),
            script_pubkey: script,
        };
        let credit = TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::new_op_return(data),
        };
        let wallet = self.wallet().await?;
        Ok(wallet.send_outputs(&[payment, credit]).await?)
    }

    /// Signs transactions with successive nonces, hands them to all running nodes, and waits for their receipts.
    /// What a node loses is handed in again.
    ///
    /// # Errors
    /// - where one is not in a certified block in time, or fails.
    pub async fn transact(
        &mut self,
        account: &TestAccount,
        calls: &[Call],
    ) -> anyhow::Result<Vec<Receipt>> {
        let clients = self.running_nodes()?;
        let first = clients.first().context("no node runs")?.clone();
        let nonce = account.nonce(&first.eth).await?;
        let raw: Vec<Vec<u8>> = (nonce..)
            .zip(calls)
            .map(|(nonce, call)| account.sign(nonce, call))
            .collect();
        let mut receipts = Vec::new();
        for transaction in &raw {
            let hash =
                alys_protocol::bytes::Digest::new(alloy_primitives::keccak256(transaction).0);
            let mut refusal = None;
            let mut looks = 0u32;
            let receipt = self
                .wait("the transaction's receipt", TRANSACTION_LIMIT, async || {
                    if looks.is_multiple_of(20) {
                        refusal = hand_in(&clients, &raw).await.err();
                    }
                    looks += 1;
                    match first.eth.transaction_receipt(hash).await? {
                        Some(receipt) => Ok(Some(receipt)),
                        None => match refusal.take() {
                            Some(error) => Err(error),
                            None => Ok(None),
                        },
                    }
                })
                .await?;
            if !receipt.succeeded {
                bail!(
                    "transaction {hash} failed in block {}",
                    receipt.block_number.get()
                );
            }
            receipts.push(receipt);
        }
        Ok(receipts)
    }

    /// Clients of the nodes that run.
    ///
    /// # Errors
    /// - never in practice.
    pub fn running_nodes(&self) -> anyhow::Result<Vec<NodeClient>> {
        let nodes = self.plan.nodes.iter().zip(&self.nodes);
        nodes
            .filter(|(_, process)| process.is_some())
            .map(|(plan, _)| NodeClient::new(plan))
            .collect()
    }
}

/// The name of the account that the miner is paid on.
pub const MINER: &str = "alys devnet miner";

/// The accounts that members and the miner are paid on.
///
/// # Errors
/// - never in practice.
pub fn fee_accounts(chain: &Chain) -> anyhow::Result<Vec<EvmAddress>> {
    let members = chain.spec().members.iter();
    let mut accounts: Vec<_> = members.map(|member| member.fee_recipient).collect();
    accounts.push(TestAccount::new(MINER, chain.id())?.address());
    Ok(accounts)
}

/// Succeeds where at least one node takes the last one or has it already.
async fn hand_in(clients: &[NodeClient], transactions: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut outcome = Err(anyhow::anyhow!("no node runs"));
    for client in clients {
        for transaction in transactions {
            match client.eth.send_raw_transaction(transaction).await {
                Ok(_) => outcome = Ok(()),
                Err(error) if outcome.is_err() => outcome = Err(error.into()),
                Err(_) => {}
            }
        }
    }
    outcome
}

fn slot(processes: &mut [Option<Process>], index: usize) -> anyhow::Result<&mut Option<Process>> {
    let found = processes.get_mut(index);
    found.with_context(|| format!("there is no process {index}"))
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
