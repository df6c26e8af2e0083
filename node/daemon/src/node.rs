//! A node's life: start what it needs, run the driver, stop everything in order.

use crate::bitcoin_side::BitcoinSide;
use crate::config::{NETWORK_KEY, NodeConfig};
use crate::driver::{Driver, Sources};
use crate::execution::Execution;
use crate::header_feed::HeaderFeed;
use crate::jobs::Tools;
use crate::rpc::{Api, SOFTWARE, health};
use crate::signer_link;
use crate::view::View;
use alys_chain::{PegState, reconcile};
use alys_consensus::VotingState;
use alys_net::{Identity, Multiaddr, Network, NetworkConfig, PeerId, Software};
use alys_protocol::spec::Chain;
use alys_protocol::units::{SideHeight, Slot};
use alys_rpc::{RpcConfig, RpcServer};
use alys_signer_client::{Expected, SignerClient};
use alys_store::Store;
use alys_store::schema::{Ledgers, Position, Positions};
use anyhow::{Context as _, bail};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// File in the data folder that names the addresses in use, for tools and tests: ports may have been free ones.
const ENDPOINTS_FILE: &str = "endpoints.json";

/// Runs a node until it is told to stop.
///
/// # Errors
/// - where a part cannot start, or the store fails later.
pub(crate) async fn run(config: NodeConfig) -> anyhow::Result<()> {
    let chain = config.chain()?;
    tracing::info!(
        chain = chain.spec().name,
        spec = %chain.digest(),
        member = ?config.member,
        "{SOFTWARE} starts"
    );
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("data folder {}", config.data_dir.display()))?;
    let metrics = PrometheusBuilder::new().install_recorder().ok();
    let store = Store::open(&config.data_dir.join("store"), chain.digest())?;
    let (signer, voting) = connect_signer(&chain, &config).await?;
    let bitcoin = Arc::new(BitcoinSide::start(&chain, &config.bitcoin).await?);
    bitcoin.check_start(&chain).await?;
    check_wallet(&chain, &store, &bitcoin).await?;
    let execution = Arc::new(Execution::start(&chain, &config.execution, &config.data_dir).await?);
    let (network, events) = Network::start(network_config(&chain, &config)?).await?;

    let (stop, shutdown) = watch::channel(false);
    let (done_sender, done) = mpsc::unbounded_channel();
    let (command_sender, commands) = mpsc::channel(256);
    let (view_sender, view) = watch::channel(first_view(&chain));
    let headers = signer
        .as_ref()
        .map(|signer| Arc::new(HeaderFeed::new(signer.clone(), bitcoin.clone())));
    let renewed = signer.clone();
    if let Some(signer) = &signer {
        tokio::spawn(signer_link::observe(signer.link()));
    }
    let tools = Tools {
        chain: chain.clone(),
        store: store.clone(),
        execution: execution.clone(),
        bitcoin,
        signer,
        headers,
    };
    let member = config.member;
    let driver = Driver::restore(
        tools,
        config.clone(),
        network.clone(),
        voting,
        done_sender,
        view_sender,
    )?;
    let api = Api {
        chain,
        store,
        view: view.clone(),
        commands: command_sender,
        network: network.clone(),
        execution: execution.clone(),
        member,
        fee_recipient: config.mining.fee_recipient,
    };
    let rpc_config = RpcConfig {
        listen: config.rpc.listen,
        hosts: config.rpc.hosts,
        origins: config.rpc.origins,
    };
    let source = Arc::new(move || health(&view.borrow()));
    let server = RpcServer::start(rpc_config, api, source, metrics).await?;
    write_endpoints(&config.data_dir, &server, &execution, &network).await?;
    tracing::info!(rpc = %server.address(), evm = execution.rpc_url(), "ready");

    let sources = Sources {
        network: events,
        commands,
        done,
        shutdown,
    };
    let running = tokio::spawn(driver.run(sources));
    let outcome = wait(running, stop, renewed).await;
    tracing::info!("stopping");
    server.stop().await;
    network.shutdown().await;
    execution.stop().await;
    tracing::info!("stopped");
    outcome
}

/// Until the driver ends, or a signal asks it to. SIGHUP has the certificates for the signer read again.
async fn wait(
    mut running: tokio::task::JoinHandle<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
    signer: Option<Arc<SignerClient>>,
) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            ended = &mut running => return ended.context("the driver failed")?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {}
        }
        match &signer {
            None => tracing::info!("there is no signer whose certificates to read again"),
            Some(signer) => match signer.renew().await {
                Ok(()) => tracing::info!("certificates for the signer are read again"),
                Err(error) => tracing::error!("certificates stay as they are: {error}"),
            },
        }
    }
    // Fails only where the driver has ended already.
    let _ = stop.send(true);
    running.await.context("the driver failed")?
}

async fn connect_signer(
    chain: &Arc<Chain>,
    config: &NodeConfig,
) -> anyhow::Result<(Option<Arc<SignerClient>>, VotingState)> {
    match (&config.signer, config.member) {
        (None, None) => Ok((None, VotingState::default())),
        (Some(_), None) => bail!("[signer] is configured, but `member` is not"),
        (None, Some(member)) => bail!("member {member} needs a [signer]"),
        (Some(signer), Some(member)) => {
            let expected = Expected {
                chain_id: chain.id(),
                spec: chain.digest(),
                member: Some(member),
            };
            let address = signer.address.clone();
            let context = || format!("signer at {address}");
            let client = SignerClient::connect(signer.clone(), expected)
                .await
                .with_context(context)?;
            let status = client.status().await.with_context(context)?;
            let voting = VotingState {
                last_slot: status.last_slot,
                lock: status.lock,
            };
            Ok((Some(Arc::new(client)), voting))
        }
    }
}

/// "The UTXO set is derived from the chain, checked against the Bitcoin node at start."
async fn check_wallet(chain: &Chain, store: &Store, bitcoin: &BitcoinSide) -> anyhow::Result<()> {
    let Some(id) = store.get::<Positions>(&Position::Final)? else {
        return Ok(());
    };
    let Some(bytes) = store.get::<Ledgers>(&id)? else {
        return Ok(());
    };
    let ledger = PegState::decode(&bytes)?;
    let found = reconcile(&ledger, bitcoin.unspent(chain).await?);
    for discrepancy in &found {
        tracing::error!("ledger and Bitcoin differ: {discrepancy}");
    }
    tracing::info!(
        utxos = ledger.utxos().len(),
        discrepancies = found.len(),
        "the ledger was checked against the Bitcoin node"
    );
    Ok(())
}

fn network_config(chain: &Chain, config: &NodeConfig) -> anyhow::Result<NetworkConfig> {
    let mut network = NetworkConfig::new(
        config.data_dir.join(NETWORK_KEY),
        chain.digest().to_bytes(),
        chain.genesis_id().to_bytes(),
        Software::try_from(SOFTWARE)?,
    );
    let parse = |addresses: &[String]| {
        addresses
            .iter()
            .map(|address| {
                address
                    .parse::<Multiaddr>()
                    .with_context(|| format!("[network]: {address:?} is no multiaddress"))
            })
            .collect::<anyhow::Result<Vec<_>>>()
    };
    let listen = parse(&config.network.listen)?;
    if !listen.is_empty() {
        network.listen = listen;
    }
    network.bootnodes = parse(&config.network.bootnodes)?;
    network.members = parse(&config.network.members)?;
    if let Some(members) = known_members(chain.roster().len(), config, &network)? {
        network.allow_members_only(&members);
    }
    Ok(network)
}

/// The network identities of all members, if the configuration has them.
///
/// The chain spec does not: identities belong to machines and change with them.
fn known_members(
    members: usize,
    config: &NodeConfig,
    network: &NetworkConfig,
) -> anyhow::Result<Option<BTreeSet<PeerId>>> {
    let mut known = network.addressed_members();
    for text in &config.network.member_peers {
        let peer = text
            .parse::<PeerId>()
            .with_context(|| format!("[network] member_peers: {text:?} is no peer id"))?;
        known.insert(peer);
    }
    if config.member.is_some() {
        known.insert(Identity::load_or_create(&network.identity_path)?.peer_id());
    }
    if known.len() >= members {
        return Ok(Some(known));
    }
    let found = known.len();
    if !config.network.member_peers.is_empty() {
        bail!(
            "[network] members and member_peers: expected the peer ids of all {members} members or no member_peers at all, found {found}"
        );
    }
    tracing::warn!(
        found,
        members,
        "the members' topics are open to strangers: [network] members and member_peers do not name all members"
    );
    Ok(None)
}

fn first_view(chain: &Chain) -> View {
    let genesis = (chain.genesis_id(), chain.genesis().clone());
    View {
        pow_final: (chain.genesis_id(), SideHeight::ZERO),
        head: genesis.clone(),
        final_block: genesis,
        slot: Slot::ZERO,
        peg: PegState::genesis(chain),
        pegouts: BTreeMap::new(),
        queued: None,
        peers: 0,
        peg_halt: None,
        problems: vec!["starting".to_owned()],
    }
}

async fn write_endpoints(
    data_dir: &Path,
    server: &RpcServer,
    execution: &Execution,
    network: &alys_net::NetworkHandle,
) -> anyhow::Result<()> {
    let addresses = network.listen_addresses().await?;
    let endpoints = serde_json::json!({
        "rpc": format!("http://{}", server.address()),
        "evm": execution.rpc_url(),
        "p2p": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "pid": std::process::id(),
    });
    let path = data_dir.join(ENDPOINTS_FILE);
    let fresh = data_dir.join("endpoints.json.new");
    tokio::fs::write(&fresh, serde_json::to_vec_pretty(&endpoints)?).await?;
    tokio::fs::rename(&fresh, &path).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use std::io::Write as _;

    /// What a node of three members knows, with these lines in its `[network]`.
    fn known(member: bool, lines: &str) -> anyhow::Result<Option<usize>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("node.toml");
        let member = if member { "member = 0" } else { "" };
        let text = format!(
            "spec = 'a'\ndata_dir = '.'\n{member}\n[bitcoin]\nurl = 'b'\n[network]\n{lines}\n"
        );
        std::fs::File::create(&file)?.write_all(text.as_bytes())?;
        let config = NodeConfig::load(&file, &Overrides::default())?;
        let key = folder.path().join(NETWORK_KEY);
        let mut network = NetworkConfig::new(key, [0; 32], [0; 32], Software::try_from("test")?);
        network.members = config
            .network
            .members
            .iter()
            .map(|address| address.parse())
            .collect::<Result<_, _>>()?;
        Ok(known_members(3, &config, &network)?.map(|known| known.len()))
    }

    #[test]
    fn members_topics_are_closed_once_all_members_are_known() {
        let [one, two, three] = [(); 3].map(|()| PeerId::random());
        let address = format!("/ip4/10.0.0.1/tcp/1/p2p/{one}");
        for (member, lines, expected) in [
            (false, String::new(), None),
            (true, format!("members = ['{address}']"), None),
            (
                true,
                format!("members = ['{address}']\nmember_peers = ['{two}']"),
                Some(3),
            ),
            (
                false,
                format!("members = ['{address}']\nmember_peers = ['{two}', '{three}', '{one}']"),
                Some(3),
            ),
        ] {
            assert_eq!(known(member, &lines).unwrap(), expected, "{lines}");
        }
        for (lines, said) in [
            (
                format!("member_peers = ['{one}', '{two}']"),
                "all 3 members",
            ),
            ("member_peers = ['nobody']".to_owned(), "no peer id"),
        ] {
            let error = known(false, &lines).unwrap_err();
            assert!(format!("{error:#}").contains(said), "{error:#}");
        }
    }
}
