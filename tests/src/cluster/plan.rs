//! Where everything of a cluster lies and listens. Ports are chosen once, so that addresses outlive restarts.

use super::tokens::Backend;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Of all signers of a cluster. Whoever can read this can read the sealed keys beside it, too; they guard nothing.
pub const PASSPHRASE: &str = "a devnet keeps no secrets";

const PLAN_FILE: &str = "cluster.json";

/// The plan of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) bitcoin_rpc: u16,
    pub(crate) bitcoin_p2p: u16,
    /// Ports of the second Bitcoin node, if there is one: RPC, then p2p.
    #[serde(default)]
    pub(crate) bitcoin_peer: Option<(u16, u16)>,
    /// Members, in the order of their ids, then observers.
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) members: usize,
    #[serde(default)]
    pub(crate) backend: Backend,
}

/// One node's addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodePlan {
    pub(crate) name: String,
    pub(crate) signer: u16,
    pub(crate) rpc: u16,
    pub(crate) evm: u16,
    pub(crate) p2p: u16,
    /// Multiaddress with its peer id.
    pub(crate) multiaddress: String,
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Plan {
    /// All ports of it.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let nodes = self.nodes.iter();
        let peer = self.bitcoin_peer.iter();
        nodes
            .flat_map(|node| [node.signer, node.rpc, node.evm, node.p2p])
            .chain([self.bitcoin_rpc, self.bitcoin_p2p])
            .chain(peer.flat_map(|(rpc, p2p)| [*rpc, *p2p]))
            .collect()
    }

    pub(crate) fn read(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join(PLAN_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        let plan = serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))?;
        Ok(Some(plan))
    }

    /// Atomic: a plan that is there is complete.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        alys_provision::files::write(
            &dir.join(PLAN_FILE),
            &bytes,
            alys_provision::files::Readers::Owner,
        )?;
        Ok(())
    }
}

pub(crate) fn node_dir(dir: &Path, name: &str) -> PathBuf {
    dir.join(name).join("node")
}

pub(crate) fn signer_dir(dir: &Path, name: &str) -> PathBuf {
    dir.join(name).join("signer")
}

/// Ports below those that the system gives to outgoing connections, which would take them while a process restarts.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 32_000;

/// Where the next search begins: clusters of one process never look at the same ports at the same time.
static SEARCHED: AtomicU32 = AtomicU32::new(0);

/// Free ports, all different and none of `taken`, which may belong to a process that is down. Where to begin looking
/// differs from process to process.
///
/// # Errors
/// - where so many are not free.
pub fn free_ports(count: usize, taken: &[u16]) -> anyhow::Result<Vec<u16>> {
    let span = u32::from(LAST_PORT - FIRST_PORT);
    let begin = std::process::id().wrapping_mul(61);
    let mut held = Vec::new();
    for _ in 0..span {
        if held.len() == count {
            break;
        }
        let step = SEARCHED.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + u16::try_from(begin.wrapping_add(step) % span)?;
        if taken.contains(&port) {
            continue;
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        bail!(
            "expected {count} free ports from {FIRST_PORT} to {LAST_PORT}, found {}",
            held.len()
        );
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}
