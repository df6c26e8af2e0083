//! Configuration files of a member's two machines. Each machine has one folder, and all paths are relative to it:
//!
//! ```text
//! signer/  signer.toml  chain.toml  keys.sealed  state.redb  tls/{signer.pem,signer.key,client-ca.pem,client-ca.crl.pem}
//!          policy.toml  policy.toml.OFFICER.minisig
//! node/    node.toml    chain.toml  data/                    tls/{node.pem,node.key,signer-ca.pem,signer-ca.crl.pem}
//! ```
//!
//! The structures are those that the programs read, as far as provisioning sets them; the programs refuse unknown keys.

use crate::files::{self, FileError, Readers};
use crate::officer::OfficersConfig;
use crate::parameters::Parameters;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::MemberId;
use alys_signer_client::ClientConfig;
use alys_signer_core::Policy;
pub use alys_signer_core::policy::Iteration;
use alys_signer_core::policy::{PolicyFile, PolicyFormat};
use alys_signer_pkcs11::NativeConfig;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the chain spec in both folders.
pub const CHAIN_FILE: &str = "chain.toml";
/// Name of the signer's configuration.
pub const SIGNER_FILE: &str = "signer.toml";
/// Name of the node's configuration.
pub const NODE_FILE: &str = "node.toml";
/// Name of the signer's policy; officers' signatures lie beside it.
pub const POLICY_FILE: &str = "policy.toml";
/// Folder of certificates in both folders.
pub const TLS_FOLDER: &str = "tls";
/// What [`crate::ca::Credentials::write`] calls a signer's certificate and key.
pub const SIGNER_CREDENTIALS: &str = "signer";
/// What [`crate::ca::Credentials::write`] calls a node's certificate and key.
pub const NODE_CREDENTIALS: &str = "node";
/// The authority that the signer's clients are trusted by, in the signer's [`TLS_FOLDER`].
pub const CLIENT_CA_FILE: &str = "client-ca.pem";
/// What that authority revoked, beside it.
pub const CLIENT_CRL_FILE: &str = "client-ca.crl.pem";
/// The authority that the signer is trusted by, in the node's [`TLS_FOLDER`].
pub const SIGNER_CA_FILE: &str = "signer-ca.pem";
/// What that authority revoked, beside it.
pub const SIGNER_CRL_FILE: &str = "signer-ca.crl.pem";

/// A configuration that cannot be written.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value that TOML cannot hold.
    #[error("configuration: {0}")]
    Toml(#[from] toml::ser::Error),
}

/// Writes a configuration as TOML, with a comment on top. Never replaces a file.
///
/// # Errors
/// - [`ConfigError`] where the file exists or cannot be written.
pub fn write(path: &Path, comment: &str, value: &impl Serialize) -> Result<(), ConfigError> {
    let mut text = String::new();
    for line in comment.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str(&toml::to_string_pretty(value)?);
    Ok(files::write_new(path, text.as_bytes(), Readers::All)?)
}

/// Configuration of `alys-signer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignerConfig {
    /// The chain spec.
    pub chain_spec: PathBuf,
    /// The sealed keys.
    pub keys: PathBuf,
    /// The durable state.
    pub state: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// File for the bound address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_file: Option<PathBuf>,
    /// Certificates.
    pub tls: SignerTls,
    /// What tells a restored state from the newest one.
    pub counter: CounterConfig,
    /// What opens the keys in place of a passphrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenConfig>,
    /// Limits of what is signed.
    pub policy: PathBuf,
    /// Who signs them.
    pub officers: OfficersConfig,
}

/// Outside counter of `alys-signer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CounterConfig {
    /// A file, for development.
    DevelopmentFile {
        /// Where it is.
        path: PathBuf,
    },
    /// An object in the token.
    Pkcs11 {
        /// Its label.
        object: String,
    },
}

/// A PKCS#11 token whose key seals the member's keys, or which signs itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenConfig {
    /// The vendor's library.
    pub module: PathBuf,
    /// The token, the key in it, and the file with its PIN (RFC 7512).
    pub uri: String,
    /// What it does for the keys.
    pub mode: &'static str,
    /// Its keys and mechanisms where it signs itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeConfig>,
}

/// Label of the counter's object in a token.
const COUNTER_OBJECT: &str = "alys-freshness";

/// Certificates of `alys-signer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignerTls {
    /// Its certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority of its clients.
    pub client_ca: PathBuf,
    /// What that authority revoked.
    pub client_crl: PathBuf,
}

impl SignerConfig {
    /// A configuration for the folder described above. With port 0 the signer picks a free one, and writes the address
    /// to `listen_file` where one is set.
    pub fn new(listen: SocketAddr, officers: OfficersConfig) -> Self {
        let tls = Path::new(TLS_FOLDER);
        Self {
            chain_spec: CHAIN_FILE.into(),
            keys: "keys.sealed".into(),
            state: "state.redb".into(),
            listen,
            listen_file: None,
            tls: SignerTls {
                certificate: tls.join(format!("{SIGNER_CREDENTIALS}.pem")),
                key: tls.join(format!("{SIGNER_CREDENTIALS}.key")),
                client_ca: tls.join(CLIENT_CA_FILE),
                client_crl: tls.join(CLIENT_CRL_FILE),
            },
            // Where there is no TPM or token: it is to be moved to a filesystem that no snapshot of the state's takes along.
            counter: CounterConfig::DevelopmentFile {
                path: "counter".into(),
            },
            token: None,
            policy: POLICY_FILE.into(),
            officers,
        }
    }

    /// With a PKCS#11 token: its key seals the member's keys, and the outside counter is in it. `uri` names token, key and
    /// PIN file.
    #[must_use]
    pub fn with_token(mut self, module: PathBuf, uri: String) -> Self {
        self.token = Some(TokenConfig {
            module,
            uri,
            mode: "sealed",
            native: None,
        });
        self.counter = CounterConfig::Pkcs11 {
            object: COUNTER_OBJECT.to_owned(),
        };
        self
    }

    /// With a PKCS#11 token that signs itself (docs/tokens.md), otherwise as [`SignerConfig::with_token`]; the key that `uri`
    /// names seals what the signer keeps for itself.
    #[must_use]
    pub fn with_native_token(self, module: PathBuf, uri: String, native: NativeConfig) -> Self {
        let mut config = self.with_token(module, uri);
        if let Some(token) = &mut config.token {
            (token.mode, token.native) = ("native", Some(native));
        }
        config
    }

    /// Writes [`SIGNER_FILE`] into the signer's folder.
    ///
    /// # Errors
    /// - [`ConfigError`] where it exists or cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ConfigError> {
        let comment = "Configuration of alys-signer. Relative paths count from this file's folder.";
        write(&folder.join(SIGNER_FILE), comment, self)
    }
}

/// Writes a policy to start from, and to tighten before officers sign it: [`Policy::of_chain`] of what is known before
/// there is a chain spec.
///
/// # Errors
/// - [`ConfigError`] where the file exists or cannot be written.
pub fn write_policy(
    path: &Path,
    parameters: &Parameters,
    iteration: Iteration,
) -> Result<(), ConfigError> {
    let comment = "Policy of the signers: a template, to be tightened before officers sign it.\n\
                   Each policy of a chain has a higher iteration. `alys-signer policy explain` says what this one means.";
    let file = PolicyFile {
        format: PolicyFormat::V1,
        chain_id: parameters.chain_id,
        iteration,
        policy: Policy::template(
            &parameters.pegout,
            &parameters.deposits,
            parameters.mining.pow_limit,
        ),
    };
    write(path, comment, &file)
}

/// Configuration of `alys-node`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeConfig {
    /// The chain spec.
    pub spec: PathBuf,
    /// Folder of databases.
    pub data_dir: PathBuf,
    /// The member; an observer without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// The member's signer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<ClientConfig>,
    /// The Bitcoin node.
    pub bitcoin: BitcoinConfig,
    /// The execution client.
    pub execution: ExecutionConfig,
    /// Peers.
    pub network: NetworkConfig,
    /// JSON-RPC.
    pub rpc: RpcConfig,
    /// Merged mining.
    pub mining: MiningConfig,
}

/// How `alys-node` reaches its Bitcoin node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BitcoinConfig {
    /// `http://host:port`.
    pub url: String,
    /// Its cookie file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<PathBuf>,
    /// Or a user...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// ...and the file of the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

impl BitcoinConfig {
    /// With a cookie file.
    pub fn cookie(url: impl Into<String>, cookie: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            cookie: Some(cookie.into()),
            user: None,
            password_file: None,
        }
    }

    /// With a user and a password in a file.
    pub fn password(
        url: impl Into<String>,
        user: impl Into<String>,
        password_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            url: url.into(),
            cookie: None,
            user: Some(user.into()),
            password_file: Some(password_file.into()),
        }
    }
}

/// The execution client of `alys-node`: the embedded one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExecutionConfig {
    /// Where its EVM JSON-RPC listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
}

/// Peers of `alys-node`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NetworkConfig {
    /// Multiaddresses to listen on; free loopback ports where there are none.
    pub listen: Vec<String>,
    /// Entry points, each with its peer id.
    pub bootnodes: Vec<String>,
    /// Other members, in the same form.
    pub members: Vec<String>,
}

/// JSON-RPC of `alys-node`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RpcConfig {
    /// Where to listen.
    pub listen: SocketAddr,
}

/// Merged mining of `alys-node`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MiningConfig {
    /// Who is paid by templates of `getauxblock` without arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fee_recipient: Option<EvmAddress>,
}

impl NodeConfig {
    /// An observer's configuration for the folder described above.
    pub fn observer(bitcoin: BitcoinConfig, rpc: SocketAddr) -> Self {
        Self {
            spec: CHAIN_FILE.into(),
            data_dir: "data".into(),
            member: None,
            signer: None,
            bitcoin,
            execution: ExecutionConfig::default(),
            network: NetworkConfig::default(),
            rpc: RpcConfig { listen: rpc },
            mining: MiningConfig::default(),
        }
    }

    /// The same for a member, whose signer listens at `signer` (`host:port`).
    #[must_use]
    pub fn for_member(mut self, member: MemberId, signer: impl Into<String>) -> Self {
        let tls = Path::new(TLS_FOLDER);
        self.member = Some(member);
        let mut client = ClientConfig::new(
            signer,
            tls.join(SIGNER_CA_FILE),
            tls.join(format!("{NODE_CREDENTIALS}.pem")),
            tls.join(format!("{NODE_CREDENTIALS}.key")),
        );
        client.server_crl = Some(tls.join(SIGNER_CRL_FILE));
        self.signer = Some(client);
        self
    }

    /// Writes [`NODE_FILE`] into the node's folder.
    ///
    /// # Errors
    /// - [`ConfigError`] where it exists or cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ConfigError> {
        let comment = "Configuration of alys-node. Relative paths count from this file's folder.";
        write(&folder.join(NODE_FILE), comment, self)
    }
}
