//! The node's host.

use crate::cli::Doctor;
use crate::files::{Secrecy, file};
use crate::finding::Finding;
use crate::signer::same_chain;
use crate::system::{self, System, read_text};
use crate::{backup, bitcoin_node, certificates, unit};
use alys_signer_client::ClientConfig;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Least free bytes for the databases.
const LEAST_FREE: u64 = 10 << 30;

/// Of the node's configuration what is checked here; the node itself refuses unknown keys.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeConfig {
    /// The chain spec.
    pub spec: PathBuf,
    /// Databases.
    pub data_dir: PathBuf,
    /// The member.
    pub member: Option<u16>,
    /// Its signer.
    pub signer: Option<ClientConfig>,
    /// The Bitcoin node.
    pub bitcoin: Bitcoin,
    /// JSON-RPC.
    #[serde(default)]
    pub rpc: Listener,
    /// EVM JSON-RPC.
    #[serde(default)]
    pub execution: Execution,
    /// Peers.
    #[serde(default)]
    pub network: Network,
}

/// `[bitcoin]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Bitcoin {
    /// `http://host:port`.
    pub url: String,
    /// The cookie file.
    pub cookie: Option<PathBuf>,
    /// Or a user...
    pub user: Option<String>,
    /// ...and the file of the password.
    pub password_file: Option<PathBuf>,
}

/// `[rpc]`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Listener {
    /// Where it listens; the node's default is loopback.
    pub listen: Option<SocketAddr>,
}

/// `[execution]`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Execution {
    /// Where it listens; the node's default is loopback.
    pub http: Option<SocketAddr>,
}

/// `[network]`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Network {
    /// Multiaddresses.
    #[serde(default)]
    pub listen: Vec<String>,
}

impl NodeConfig {
    /// Reads it; paths count from its folder.
    ///
    /// # Errors
    /// - what is wrong with it, in words.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = read_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut config: Self =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        config.signer = config.signer.map(|signer| signer.relative_to(base));
        let bitcoin = &mut config.bitcoin;
        let paths = [
            Some(&mut config.spec),
            Some(&mut config.data_dir),
            bitcoin.cookie.as_mut(),
            bitcoin.password_file.as_mut(),
        ];
        for path in paths.into_iter().flatten() {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    /// TCP ports that it opens beyond loopback.
    fn ports(&self) -> BTreeSet<u16> {
        let sockets = [self.rpc.listen, self.execution.http].into_iter().flatten();
        let multiaddresses = self.network.listen.iter().filter_map(|address| {
            let mut parts = address.split('/').skip_while(|part| *part != "tcp");
            parts.nth(1)?.parse().ok()
        });
        sockets
            .map(|socket| socket.port())
            .chain(multiaddresses)
            .collect()
    }

    fn credentials(&self) -> Result<String, String> {
        let read =
            |path: &Path| read_text(path).map_err(|error| format!("{}: {error}", path.display()));
        let bitcoin = &self.bitcoin;
        match (&bitcoin.cookie, &bitcoin.user, &bitcoin.password_file) {
            (Some(cookie), None, None) => read(cookie),
            (None, Some(user), Some(file)) => Ok(format!("{user}:{}", read(file)?.trim())),
            _ => Err("[bitcoin]: expected cookie, or user and password_file".to_owned()),
        }
    }
}

/// All checks.
pub fn examine(system: &System, doctor: &Doctor) -> Vec<Finding> {
    let mut findings = system::core_dumps(system);
    findings.push(system::clock(&system::synchronized()));
    findings.extend(unit::unit(system, "alys-node.service", unit::NODE_UNIT));
    if let Some(record) = &doctor.backup_record {
        findings.push(backup::backup(record, SystemTime::now()));
    }
    let path = doctor.config_path();
    let config = match NodeConfig::read(&path) {
        Ok(config) => config,
        Err(error) => {
            findings.push(Finding::error(
                "config",
                error,
                "the node does not start",
                "see docs/running.md for the keys",
            ));
            return findings;
        }
    };
    findings.push(Finding::fine("config", path.display().to_string()));
    let own = system
        .user("alys-node")
        .unwrap_or_else(|| nix::unistd::geteuid().as_raw());
    findings.extend(file(&path, Secrecy::Public, &[0]));
    findings.extend(file(&config.data_dir, Secrecy::Owner, &[own]));
    let (chain, spec) = same_chain(&config.spec, doctor.chain.as_deref());
    findings.extend(chain);
    if let Some(signer) = &config.signer {
        findings.extend(file(&signer.key, Secrecy::Group, &[0, own]));
        for path in [&signer.certificate, &signer.server_ca] {
            findings.push(certificates::certificates(
                path,
                certificates::now(),
                doctor.expiry_days,
            ));
        }
    }
    findings.extend(open_rpc(&config));
    if let (true, Some(spec)) = (doctor.bitcoin, &spec) {
        let said = config
            .credentials()
            .and_then(|it| bitcoin_node::ask(&config.bitcoin.url, &it));
        let bitcoin = &spec.spec().bitcoin;
        let network = serde_json::to_value(bitcoin.network).unwrap_or_default();
        // Bitcoin Core's own name of its main network.
        let network = match network.as_str() {
            Some("bitcoin") | None => "main",
            Some(other) => other,
        };
        findings.extend(bitcoin_node::judge(
            &said,
            network,
            u64::from(bitcoin.start_height.get()),
        ));
    }
    findings.push(system::disk(
        &config.data_dir,
        system::free_space(&config.data_dir),
        LEAST_FREE,
    ));
    // Bitcoin's own port, and ssh: a node is administered over the network.
    let expected = config
        .ports()
        .into_iter()
        .chain([22, 8333, 18333, 18444, 38333, 48333])
        .collect();
    findings.extend(system::listening(system, &expected));
    findings
}

/// JSON-RPC without authentication is on loopback.
pub fn open_rpc(config: &NodeConfig) -> Vec<Finding> {
    let sockets = [
        ("rpc.listen", config.rpc.listen),
        ("execution.http", config.execution.http),
    ];
    let open = |ip: IpAddr| !ip.to_canonical().is_loopback();
    sockets
        .into_iter()
        .filter_map(|(key, socket)| Some((key, socket.filter(|it| open(it.ip()))?)))
        .map(|(key, socket)| {
            Finding::warning(
                "rpc",
                format!("{key} is {socket}, which is not loopback"),
                "it has no authentication: whoever reaches it can use it, and load the node",
                "listen on 127.0.0.1, with a proxy in front that authenticates",
            )
        })
        .collect()
}
