//! A federation from nothing, by the code and the programs that operators use.

use super::officers::{OFFICERS_DIR, copy_policy, make_officers};
use super::plan::{NodePlan, PASSPHRASE, Plan, free_ports, loopback, node_dir, signer_dir};
use super::{FIRST_BITCOIN_BLOCKS, Options, WALLET};
use crate::bitcoin_node::{BitcoinNode, NodeOptions};
use crate::evm::TestAccount;
use crate::process;
use alys_net::Identity;
use alys_protocol::spec::{ChainSpec, SlotSpec};
use alys_protocol::units::{MemberId, Slot};
use alys_provision::ca::{AUTHORITY_DAYS, CERTIFICATE_DAYS, CertificateAuthority};
use alys_provision::config::{
    BitcoinConfig, CHAIN_FILE, CLIENT_CA_FILE, ExecutionConfig, NODE_CREDENTIALS, NetworkConfig,
    NodeConfig, SIGNER_CA_FILE, SIGNER_CREDENTIALS, SIGNER_FILE, SignerConfig, TLS_FOLDER,
};
use alys_provision::files::{self, Readers};
use alys_provision::parameters::REGTEST_CHAIN_ID;
use alys_provision::{MemberCard, MemberParameters, Parameters, Regtest, assemble};
use alys_signer_client::Role;
use alys_signer_client::role::DEFAULT_SERVER_NAME;
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt as _;

/// In the order of their ids.
pub(super) const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
const RECOVERY_NAMES: [&str; 3] = ["recovery-1", "recovery-2", "recovery-3"];

/// Starts Bitcoin, mines the first coins, and makes everything that the members' machines need.
pub(crate) async fn provision(
    dir: &Path,
    options: &Options,
) -> anyhow::Result<(Plan, BitcoinNode, Option<BitcoinNode>)> {
    let ports = free_ports(4 + 4 * NAMES.len(), &[])?;
    let (bitcoin_ports, node_ports) = ports.split_at(4);
    let mut nodes = Vec::new();
    for (name, ports) in NAMES.iter().zip(node_ports.chunks(4)) {
        nodes.push(node_plan(dir, name, ports)?);
    }
    let [bitcoin_rpc, bitcoin_p2p, peer_rpc, peer_p2p] = bitcoin_ports.try_into()?;
    let plan = Plan {
        bitcoin_rpc,
        bitcoin_p2p,
        bitcoin_peer: options.bitcoin_peer.then_some((peer_rpc, peer_p2p)),
        nodes,
        members: NAMES.len(),
        backend: options.backend,
    };
    let (bitcoin, bitcoin_peer) = start_bitcoin(dir, &plan).await?;
    let devnet = bitcoin.devnet()?;
    let wallet = devnet.wallet(WALLET).await?;
    devnet
        .generate(FIRST_BITCOIN_BLOCKS, &wallet.new_address().await?)
        .await?;
    // The chain names this tip: a bitcoind that is killed must not forget it.
    devnet.flush().await?;
    let tip = bitcoin.client().tip().await?;

    let defaults = Parameters::regtest(Regtest {
        chain_id: REGTEST_CHAIN_ID,
        genesis_ms: 0,
        start_height: tip.height,
        start_hash: tip.hash,
        recovery_keys: Vec::new(),
        members: Vec::new(),
        max_blocks_without_pow: options.max_blocks_without_pow,
    });
    let officers = make_officers(&dir.join(OFFICERS_DIR), &defaults)?;
    let mut making = Vec::new();
    let recovery = RECOVERY_NAMES.iter().map(|name| (*name, 0));
    let members = plan
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node.signer));
    for (name, port) in members.chain(recovery) {
        let folder = signer_dir(dir, name);
        fs::create_dir_all(&folder)?;
        let config = SignerConfig::new(loopback(port), officers.clone());
        let config = plan.backend.prepare(dir, name, config).await?;
        config.write(&folder)?;
        let environment = plan.backend.environment(dir, name);
        copy_policy(&dir.join(OFFICERS_DIR), &folder)?;
        making.push(async move {
            let card = make_keys(&folder, environment).await?;
            anyhow::Ok((name.to_owned(), card))
        });
    }
    let mut cards = BTreeMap::new();
    for keys in making {
        let (name, card) = keys.await?;
        cards.insert(name, card);
    }
    let mut recovery_keys = Vec::new();
    for name in RECOVERY_NAMES {
        let card = cards.remove(name).context("no card for the recovery key")?;
        recovery_keys.push(card.schnorr);
    }
    let mut member_parameters = Vec::new();
    for name in NAMES {
        member_parameters.push(MemberParameters {
            name: name.to_owned(),
            fee_recipient: TestAccount::new(name, REGTEST_CHAIN_ID)?.address(),
        });
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let genesis_ms = u64::try_from(now)?;
    let mut parameters = Parameters::regtest(Regtest {
        chain_id: REGTEST_CHAIN_ID,
        genesis_ms,
        start_height: tip.height,
        start_hash: tip.hash,
        recovery_keys,
        members: member_parameters,
        max_blocks_without_pow: options.max_blocks_without_pow,
    });
    parameters.slots = SlotSpec {
        duration_ms: options.slot_ms,
        genesis: Slot::at(genesis_ms, options.slot_ms).context("a slot of 0 ms")?,
    };
    let spec = assemble(parameters, &cards)?;
    for (index, node) in plan.nodes.iter().enumerate() {
        let member = MemberId::new(index.try_into()?);
        write_member(dir, &plan, node, member, &bitcoin, &spec)?;
    }
    plan.write(dir)?;
    Ok((plan, bitcoin, bitcoin_peer))
}

pub(crate) fn node_plan(dir: &Path, name: &str, ports: &[u16]) -> anyhow::Result<NodePlan> {
    let [signer, rpc, evm, p2p] = ports.try_into()?;
    let data = node_dir(dir, name).join("data");
    fs::create_dir_all(&data)?;
    let identity = Identity::load_or_create(&data.join("network.key"))?;
    Ok(NodePlan {
        name: name.to_owned(),
        signer,
        rpc,
        evm,
        p2p,
        multiaddress: format!("/ip4/127.0.0.1/tcp/{p2p}/p2p/{}", identity.peer_id()),
    })
}

/// The Bitcoin node, and the second one if the plan has it.
pub(crate) async fn start_bitcoin(
    dir: &Path,
    plan: &Plan,
) -> anyhow::Result<(BitcoinNode, Option<BitcoinNode>)> {
    let mut peer = None;
    let mut extra = Vec::new();
    if let Some(ports) = plan.bitcoin_peer {
        let options = NodeOptions {
            listen: true,
            ports: Some(ports),
            // It gives back blocks, and nothing else: transactions have to come from those that need them.
            extra: vec!["-blocksonly=1".to_owned()],
            ..NodeOptions::default()
        };
        let started = BitcoinNode::start(&dir.join("bitcoin-peer"), options).await?;
        extra.push(format!("-addnode={}", started.p2p_address()));
        peer = Some(started);
    }
    let options = NodeOptions {
        txindex: true,
        ports: Some((plan.bitcoin_rpc, plan.bitcoin_p2p)),
        extra,
        ..NodeOptions::default()
    };
    let bitcoin = BitcoinNode::start(&dir.join("bitcoin"), options).await?;
    Ok((bitcoin, peer))
}

/// `alys-signer init`: keys are made where they stay; only the card comes out.
async fn make_keys(
    folder: &Path,
    environment: Vec<(&'static str, PathBuf)>,
) -> anyhow::Result<MemberCard> {
    let mut child = process::command("alys-signer")?
        .envs(environment)
        .arg("init")
        .arg("--config")
        .arg(folder.join(SIGNER_FILE))
        .args(["--passphrase-fd", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("alys-signer init")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(PASSPHRASE.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!(
            "alys-signer init in {}: {}",
            folder.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("the card that alys-signer init printed")
}

fn write_chain(folder: &Path, spec: &ChainSpec) -> anyhow::Result<()> {
    let text = toml::to_string_pretty(spec)?;
    files::write_new(&folder.join(CHAIN_FILE), text.as_bytes(), Readers::All)?;
    Ok(())
}

fn write_member(
    dir: &Path,
    plan: &Plan,
    node: &NodePlan,
    member: MemberId,
    bitcoin: &BitcoinNode,
    spec: &ChainSpec,
) -> anyhow::Result<()> {
    let signer_folder = signer_dir(dir, &node.name);
    let node_folder = node_dir(dir, &node.name);
    let (signer_tls, node_tls) = (signer_folder.join(TLS_FOLDER), node_folder.join(TLS_FOLDER));
    let authorities = dir.join(&node.name).join("authorities");
    for folder in [&signer_tls, &node_tls] {
        fs::create_dir_all(folder)?;
    }
    let new_authority = |kind: &str| {
        let folder = authorities.join(kind);
        fs::create_dir_all(&folder)?;
        let name = format!("{} {kind}", node.name);
        anyhow::Ok(CertificateAuthority::create(
            &folder,
            &name,
            AUTHORITY_DAYS,
        )?)
    };
    let signers = new_authority("signer")?;
    let clients = new_authority("clients")?;
    signers
        .issue_signer(&[DEFAULT_SERVER_NAME], CERTIFICATE_DAYS)?
        .write(&signer_tls, SIGNER_CREDENTIALS)?;
    clients.export(&signer_tls.join(CLIENT_CA_FILE))?;
    clients
        .issue_client(Role::Node, &format!("{} node", node.name), CERTIFICATE_DAYS)?
        .write(&node_tls, NODE_CREDENTIALS)?;
    signers.export(&node_tls.join(SIGNER_CA_FILE))?;
    write_chain(&signer_folder, spec)?;
    write_chain(&node_folder, spec)?;
    node_config(plan, node, bitcoin)?
        .for_member(member, loopback(node.signer).to_string())
        .write(&node_folder)?;
    Ok(())
}

/// An observer's folder: a node without signer.
pub(crate) fn write_observer(
    dir: &Path,
    plan: &Plan,
    node: &NodePlan,
    bitcoin: &BitcoinNode,
    spec: &ChainSpec,
) -> anyhow::Result<()> {
    let folder = node_dir(dir, &node.name);
    write_chain(&folder, spec)?;
    Ok(node_config(plan, node, bitcoin)?.write(&folder)?)
}

fn node_config(plan: &Plan, node: &NodePlan, bitcoin: &BitcoinNode) -> anyhow::Result<NodeConfig> {
    let settings = bitcoin.config();
    let alys_bitcoin::Credentials::CookieFile(cookie) = settings.credentials else {
        bail!("bitcoind is expected to use a cookie file");
    };
    let cookie = std::path::absolute(cookie)?;
    let mut config = NodeConfig::observer(
        BitcoinConfig::cookie(settings.url, cookie),
        loopback(node.rpc),
    );
    config.execution = ExecutionConfig {
        http: Some(loopback(node.evm)),
    };
    let others = plan
        .nodes
        .iter()
        .take(plan.members)
        .filter(|other| other.name != node.name)
        .map(|other| other.multiaddress.clone());
    config.network = NetworkConfig {
        listen: vec![format!("/ip4/127.0.0.1/tcp/{}", node.p2p)],
        bootnodes: Vec::new(),
        members: others.collect(),
    };
    Ok(config)
}
