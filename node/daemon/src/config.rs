//! The node's configuration: one TOML file; environment variables `ALYS_NODE_*` and flags override it.

use alys_http::{AllowedHost, AllowedOrigin};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::spec::{Chain, ChainSpec};
use alys_protocol::units::{MemberId, SatsPerKvb};
use alys_signer_client::ClientConfig;
use anyhow::Context as _;
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// In the data folder: the key that the peer id is of.
pub(crate) const NETWORK_KEY: &str = "network.key";

/// Everything that a node is told. Unknown keys are refused. Relative paths count from the file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeConfig {
    /// The chain spec's file.
    pub(crate) spec: PathBuf,
    /// Folder of databases, keys of the network tier and the execution client.
    pub(crate) data_dir: PathBuf,
    /// The member this node works for; an observer without it.
    #[serde(default)]
    pub(crate) member: Option<MemberId>,
    /// The member's signer.
    #[serde(default)]
    pub(crate) signer: Option<ClientConfig>,
    /// The Bitcoin node.
    pub(crate) bitcoin: BitcoinConfig,
    /// The execution client.
    #[serde(default)]
    pub(crate) execution: ExecutionConfig,
    /// Peers.
    #[serde(default)]
    pub(crate) network: NetworkConfig,
    /// JSON-RPC.
    #[serde(default)]
    pub(crate) rpc: RpcConfig,
    /// Merged mining.
    #[serde(default)]
    pub(crate) mining: MiningConfig,
}

/// How to reach the Bitcoin node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BitcoinConfig {
    /// `http://host:port` of its RPC.
    pub(crate) url: String,
    /// Its cookie file.
    #[serde(default)]
    pub(crate) cookie: Option<PathBuf>,
    /// Or a user, as in `rpcauth`...
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// ...with a file that holds the password.
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
    /// Fee rate used while the node has no estimate.
    #[serde(default = "fallback_fee_rate")]
    pub(crate) fallback_fee_rate_sats_per_kvb: SatsPerKvb,
    /// Side blocks after which an unconfirmed batch is replaced, if the fee estimate has risen enough.
    #[serde(default = "replace_after_blocks")]
    pub(crate) replace_after_blocks: u64,
}

const fn fallback_fee_rate() -> SatsPerKvb {
    SatsPerKvb::new(5000)
}

const fn replace_after_blocks() -> u64 {
    900
}

/// Which execution client to use: the embedded one, unless an external one is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExecutionConfig {
    /// Where the embedded client's EVM JSON-RPC and websocket listen.
    pub(crate) http: Option<SocketAddr>,
    /// Hosts under which clients reach it, besides loopback and the address itself.
    pub(crate) hosts: Vec<AllowedHost>,
    /// Web pages' origins that may call it; by default those of wallets that are browser extensions.
    pub(crate) origins: Vec<AllowedOrigin>,
    /// An external Geth or Reth, used instead of the embedded client.
    pub(crate) external: Option<ExternalExecution>,
}

impl Default for ExecutionConfig {
    fn default() -> Self {
        Self {
            http: None,
            hosts: Vec::new(),
            origins: AllowedOrigin::wallets(),
            external: None,
        }
    }
}

/// An external execution client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExternalExecution {
    /// `http://host:port` of its Engine API.
    pub(crate) engine: String,
    /// `http://host:port` of its EVM JSON-RPC.
    pub(crate) rpc: String,
    /// File with the Engine API's secret.
    pub(crate) jwt_secret: PathBuf,
}

/// Peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NetworkConfig {
    /// Multiaddresses to listen on; free loopback ports where there are none.
    pub(crate) listen: Vec<String>,
    /// Entry points, each with its peer id.
    pub(crate) bootnodes: Vec<String>,
    /// Other members, in the same form.
    pub(crate) members: Vec<String>,
    /// Peer ids of members whose addresses are not among them. With the peer ids of all members known, nobody else can
    /// publish on their topics.
    pub(crate) member_peers: Vec<String>,
}

/// JSON-RPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RpcConfig {
    /// Where to listen; there is no authentication.
    pub(crate) listen: SocketAddr,
    /// Hosts under which clients reach it, besides loopback and the address itself.
    pub(crate) hosts: Vec<AllowedHost>,
    /// Web pages' origins that may call it.
    pub(crate) origins: Vec<AllowedOrigin>,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            hosts: Vec::new(),
            origins: Vec::new(),
        }
    }
}

/// Merged mining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MiningConfig {
    /// Who is paid by templates of `getauxblock` without arguments.
    pub(crate) fee_recipient: Option<EvmAddress>,
}

impl NodeConfig {
    /// Reads the file, then what the environment and `overrides` change.
    ///
    /// # Errors
    /// - where the file cannot be read, a key is unknown or a value has the wrong form.
    pub(crate) fn load(path: &Path, overrides: &Overrides) -> anyhow::Result<Self> {
        if !path.is_file() {
            anyhow::bail!(
                "expected the node's configuration in {}, found no such file",
                path.display()
            );
        }
        let mut config: Self = Figment::new()
            .merge(Toml::file_exact(path))
            .merge(Env::prefixed("ALYS_NODE_").split("__"))
            .merge(Serialized::defaults(overrides))
            .extract()
            .with_context(|| format!("configuration {}", path.display()))?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    fn resolve(&mut self, base: &Path) {
        self.signer = self.signer.take().map(|signer| signer.relative_to(base));
        let external = self.execution.external.as_mut();
        let paths = [
            Some(&mut self.spec),
            Some(&mut self.data_dir),
            self.bitcoin.cookie.as_mut(),
            self.bitcoin.password_file.as_mut(),
            external.map(|external| &mut external.jwt_secret),
        ];
        for path in paths.into_iter().flatten() {
            *path = base.join(&*path);
        }
    }

    /// Reads and checks the chain spec.
    ///
    /// # Errors
    /// - where the file cannot be read, or the spec breaks a rule.
    pub(crate) fn chain(&self) -> anyhow::Result<Arc<Chain>> {
        let text = std::fs::read_to_string(&self.spec)
            .with_context(|| format!("chain spec {}", self.spec.display()))?;
        let spec: ChainSpec =
            toml::from_str(&text).with_context(|| format!("chain spec {}", self.spec.display()))?;
        let chain =
            Chain::new(spec).with_context(|| format!("chain spec {}", self.spec.display()))?;
        Ok(Arc::new(chain))
    }
}

/// What flags can override.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, clap::Args)]
pub(crate) struct Overrides {
    /// Folder of databases and keys.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    const SMALL: &str = r#"
        spec = "spec.toml"
        data_dir = "data"
        [bitcoin]
        url = "http://127.0.0.1:18443"
        cookie = "/absolute/.cookie"
    "#;

    #[test]
    fn a13_defaults_bind_to_loopback_and_paths_count_from_the_file() {
        let file = file(SMALL);
        let config = NodeConfig::load(file.path(), &Overrides::default()).unwrap();
        assert!(config.rpc.listen.ip().is_loopback());
        assert_eq!(config.spec, file.path().parent().unwrap().join("spec.toml"));
        assert_eq!(
            config.bitcoin.cookie.unwrap(),
            Path::new("/absolute/.cookie")
        );
    }

    #[test]
    fn a13_no_web_page_is_served_by_default_but_wallets_on_the_evm_port() {
        let plain = file(SMALL);
        let config = NodeConfig::load(plain.path(), &Overrides::default()).unwrap();
        assert!(config.rpc.hosts.is_empty() && config.rpc.origins.is_empty());
        assert!(config.execution.hosts.is_empty());
        assert_eq!(config.execution.origins, AllowedOrigin::wallets());
        let changed = file(&format!(
            "{SMALL}\n[rpc]\nhosts = [\"node.example\"]\n[execution]\norigins = [\"https://app.example\"]\n"
        ));
        let config = NodeConfig::load(changed.path(), &Overrides::default()).unwrap();
        assert_eq!(config.rpc.hosts, ["node.example".parse().unwrap()]);
        assert_eq!(
            config.execution.origins,
            ["https://app.example".parse().unwrap()]
        );
        let wrong = file(&format!(
            "{SMALL}\n[rpc]\nhosts = [\"node.example:3000\"]\n"
        ));
        let error = NodeConfig::load(wrong.path(), &Overrides::default()).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("without a port") && error.contains("node.example:3000"),
            "{error}"
        );
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let file = file(&format!(
            "{SMALL}\n[rpc]\nlisten = \"127.0.0.1:1\"\nauthentication = \"none\"\n"
        ));
        let error = NodeConfig::load(file.path(), &Overrides::default()).unwrap_err();
        assert!(format!("{error:#}").contains("authentication"), "{error:#}");
    }

    #[test]
    fn flags_override_the_file() {
        let file = file(SMALL);
        let overrides = Overrides {
            data_dir: Some("/elsewhere".into()),
        };
        let config = NodeConfig::load(file.path(), &overrides).unwrap();
        assert_eq!(config.data_dir, Path::new("/elsewhere"));
    }
}
