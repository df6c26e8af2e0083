//! What the embedded client is told, and what can go wrong with it.

use crate::genesis::GenesisError;
use crate::jwt::JwtSecretError;
use alys_http::{AllowedHost, AllowedOrigin, Limits};
use alys_protocol::bytes::ExecutionHash;
use alys_protocol::units::SideHeight;
use ethrex_storage::error::StoreError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// How to run the embedded client.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Folder of the database; made if it does not exist.
    pub data_dir: PathBuf,
    /// The genesis, as [`crate::genesis::execution_genesis`] makes it.
    pub genesis: serde_json::Value,
    /// Where the EVM JSON-RPC and the websocket listen. Has no authentication: keep it on loopback.
    pub http: SocketAddr,
    /// Hosts under which clients reach that port, besides loopback and the address itself.
    pub hosts: Vec<AllowedHost>,
    /// Web pages' origins that may call that port.
    pub origins: Vec<AllowedOrigin>,
    /// What connections to either port may cost.
    pub limits: Limits,
    /// Where the Engine API listens.
    pub engine: SocketAddr,
    /// File with the secret of the Engine API.
    pub jwt_secret: PathBuf,
    /// Bytes of RocksDB's block cache: about the memory that the database takes.
    pub block_cache_bytes: usize,
    /// Whether to offer `debug_trace*` and `debug_getRaw*`, which let a caller keep the machine busy.
    pub tracing_api: bool,
}

impl EmbeddedConfig {
    /// A configuration with free loopback ports for programs and wallets, a 256 MiB cache and no tracing.
    pub fn new(data_dir: PathBuf, genesis: serde_json::Value, jwt_secret: PathBuf) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data_dir,
            genesis,
            http: any,
            hosts: Vec::new(),
            origins: AllowedOrigin::wallets(),
            limits: Limits::default(),
            engine: any,
            jwt_secret,
            block_cache_bytes: 256 << 20,
            tracing_api: false,
        }
    }
}

/// An embedded client that cannot start, or cannot stop in order.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] JwtSecretError),
    /// The genesis is none.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The folder cannot be made.
    #[error("execution database folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database cannot be opened; often because another process has it open.
    #[error("execution database {path}: cannot open it: {reason}")]
    Open {
        /// The folder.
        path: PathBuf,
        /// The database's words.
        reason: String,
    },
    /// The database is that of another chain.
    #[error(
        "execution database {path} holds another chain: expected one with genesis {genesis}; give each chain its own folder"
    )]
    OtherChain {
        /// The folder.
        path: PathBuf,
        /// The genesis that it was opened for.
        genesis: ExecutionHash,
    },
    /// The database failed.
    #[error("execution database: {0}")]
    Store(#[from] StoreError),
    /// The database has blocks but no state to start from.
    #[error(
        "execution database {path}: no block from {head} down to the genesis has its state; remove the folder and sync again"
    )]
    NoState {
        /// The folder.
        path: PathBuf,
        /// Its head.
        head: SideHeight,
    },
    /// A block that was valid before the restart is not any more.
    #[error("execution database: block {height} cannot be executed again: {reason}")]
    Replay {
        /// The block.
        height: SideHeight,
        /// The client's words.
        reason: String,
    },
    /// A port is taken, or the address is not this machine's.
    #[error("cannot listen on {address} for the {role}: {source}")]
    Listen {
        /// What it was for.
        role: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part that ethrex needs did not start.
    #[error("embedded execution client: {0}")]
    Part(String),
    /// Something still held the database when the time was up; everything in it is flushed all the same.
    #[error("the execution database was still in use {0:?} after the shutdown began")]
    StillInUse(Duration),
}
