//! An execution client in this process: `ethrex`, behind the ports that Geth or Reth would open.
//!
//! The rest of the node talks to it over HTTP like to any other client. Only the two servers are our own (ethrex's
//! cannot be extended), which lets them
//! - listen on port 0 and say where they listen;
//! - answer by block hash for blocks that are not canonical (ethrex answers with the canonical block of that height);
//! - refuse to read state that is no longer there (ethrex answers with current values);
//! - put the transactions of a block that a reorganisation dropped back into the pool;
//! - never start a peer-to-peer sync: there are no peers, no sockets, and a failed sync would end the process.
//!
//! # What the JSON-RPC offers
//! Namespaces `eth`, `net`, `web3`, `txpool` over HTTP POST and websocket on one port; with
//! [`EmbeddedConfig::tracing_api`] also `debug_trace*` and `debug_getRaw*`. Added to what ethrex has: `eth_accounts`
//! (none), `eth_mining`, `eth_hashrate`, `eth_getUncle*` (none), `net_listening`, `net_peerCount`, `web3_sha3`.
//!
//! Not there: keys and signing (`eth_sendTransaction`, `eth_sign*`, `personal_*`), block and pending filters
//! (`eth_newBlockFilter`, `eth_newPendingTransactionFilter`), `eth_getFilterLogs`, subscriptions other than
//! `newHeads`, `debug_traceCall`, `trace_*`, `eth_simulateV1`; blob transactions; state older than about 128 blocks.
//!
//! # Durability
//! A block that was answered VALID is in the database after a `kill -9`, unless it is one of the last few, which may
//! still have been on their way to it: after a start, compare [`EmbeddedClient::head`] with the chain and hand the
//! missing payloads in again.

mod config;
mod engine_port;
mod executor;
mod peerless;
mod public_port;
mod recovery;
mod server;
mod state;
mod websocket;

pub use self::config::{EmbeddedConfig, EmbeddedError};
use crate::genesis;
use crate::jwt::JwtSecret;
use alys_http::Access;
use alys_protocol::bytes::ExecutionHash;
use alys_protocol::units::SideHeight;
use bytes::Bytes;
use ethrex_blockchain::{Blockchain, BlockchainOptions};
use ethrex_rpc::{
    ClientVersion, NodeData, RpcApiContext, RpcNamespace, SubscriptionManager, WebSocketConfig,
    clean_outdated_filters,
};
use ethrex_storage::error::StoreError;
use ethrex_storage::{EngineType, Store, StoreConfig};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long requests in progress and the executor may take to end at a shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// ethrex works on a block that nobody fetched for up to 12 s, and holds the database meanwhile.
const RELEASE_LIMIT: Duration = Duration::from_secs(20);
/// Unused `eth_newFilter` filters are forgotten after this time.
const FILTER_LIFETIME: Duration = Duration::from_secs(300);

/// A running embedded client. Dropping it stops its servers; [`Self::shutdown`] also closes the database in order.
#[derive(Debug)]
pub struct EmbeddedClient {
    http: SocketAddr,
    engine: SocketAddr,
    genesis: ExecutionHash,
    replayed: u64,
    store: Store,
    blockchain: Weak<Blockchain>,
    stop: DropGuard,
    tasks: JoinSet<Result<(), std::io::Error>>,
    executor: JoinHandle<()>,
}

impl EmbeddedClient {
    /// Opens the database, brings its state up to its head, and serves.
    ///
    /// Needs a multi-threaded Tokio runtime. ethrex installs a handler for SIGINT: the process no longer ends by
    /// Ctrl-C alone, and has to end itself.
    ///
    /// # Errors
    /// - one variant of [`EmbeddedError`] for each thing that can be wrong; nothing keeps running then.
    pub async fn start(config: EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let secret = JwtSecret::from_file(&config.jwt_secret)?;
        let parsed = genesis::parse(&config.genesis)?;
        let genesis = genesis::genesis_block_hash(&config.genesis)?;
        let gas_limit = parsed.gas_limit;
        let http = listen("EVM JSON-RPC", config.http).await?;
        let engine = listen("Engine API", config.engine).await?;

        let mut store = open(&config).await?;
        store
            .add_initial_state(parsed)
            .await
            .map_err(|error| match error {
                StoreError::IncompatibleChainConfig => EmbeddedError::OtherChain {
                    path: config.data_dir.clone(),
                    genesis,
                },
                other => EmbeddedError::Store(other),
            })?;
        // Blob transactions do not exist here; the builder must not wait for any.
        let options = BlockchainOptions {
            max_blobs_per_block: Some(0),
            ..BlockchainOptions::default()
        };
        let blockchain = Arc::new(Blockchain::new(store.clone(), options));
        let replayed = recovery::recover(&store, &blockchain, &config.data_dir).await?;
        blockchain.set_synced();

        let stop = CancellationToken::new();
        let peerless = peerless::peerless(stop.clone()).await?;
        let (block_worker_channel, executor) = executor::start(Arc::clone(&blockchain))?;
        let filters = Arc::default();
        let mut namespaces = HashSet::from([
            RpcNamespace::Eth,
            RpcNamespace::Net,
            RpcNamespace::Web3,
            RpcNamespace::Mempool,
        ]);
        if config.tracing_api {
            namespaces.insert(RpcNamespace::Debug);
        }
        let context = RpcApiContext {
            storage: store.clone(),
            blockchain: Arc::clone(&blockchain),
            active_filters: Arc::clone(&filters),
            syncer: Some(Arc::new(peerless.syncer)),
            peer_handler: None,
            node_data: NodeData {
                // Checked by our own port; ethrex never sees it.
                jwt_secret: Bytes::new(),
                local_p2p_node: peerless.node,
                local_node_record: peerless.record,
                client_version: client_version(),
                extra_data: Bytes::new(),
            },
            gas_tip_estimator: Arc::default(),
            log_filter_handler: None,
            gas_ceil: gas_limit,
            block_worker_channel,
            ws: Some(WebSocketConfig {
                addr: http.1,
                subscription_manager: SubscriptionManager::spawn(),
            }),
            allowed_namespaces: Arc::new(namespaces),
        };

        let mut tasks = JoinSet::new();
        let access = Access::new(http.1.ip(), config.hosts, config.origins);
        let limits = config.limits;
        let public =
            public_port::router(context.clone(), stop.clone(), access, limits.header_timeout);
        let engine_port = engine_port::router(context, secret);
        for (listener, router) in [(http.0, public), (engine.0, engine_port)] {
            let serving = alys_http::serve(listener, router, stop.clone(), limits);
            tasks.spawn(async move {
                serving.await;
                Ok(())
            });
        }
        let filters_stop = stop.clone();
        tasks.spawn(async move {
            let mut turn = tokio::time::interval(FILTER_LIFETIME);
            while filters_stop
                .run_until_cancelled(turn.tick())
                .await
                .is_some()
            {
                clean_outdated_filters(Arc::clone(&filters), FILTER_LIFETIME);
            }
            Ok(())
        });
        tracing::info!(http = %http.1, engine = %engine.1, %genesis, replayed, "embedded execution client runs");
        Ok(Self {
            http: http.1,
            engine: engine.1,
            genesis,
            replayed,
            store,
            blockchain: Arc::downgrade(&blockchain),
            stop: stop.drop_guard(),
            tasks,
            executor,
        })
    }

    /// Where the EVM JSON-RPC and the websocket listen.
    pub const fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where the Engine API listens.
    pub const fn engine_addr(&self) -> SocketAddr {
        self.engine
    }

    /// `http://` address of the EVM JSON-RPC.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// `http://` address of the Engine API.
    pub fn engine_url(&self) -> String {
        format!("http://{}", self.engine)
    }

    /// Hash of the first block.
    pub const fn genesis_hash(&self) -> ExecutionHash {
        self.genesis
    }

    /// Blocks that were executed again at the start, because only their outcome, not their state, was on disk.
    pub const fn replayed_blocks(&self) -> u64 {
        self.replayed
    }

    /// The client's `latest`: height and hash.
    ///
    /// # Errors
    /// - [`EmbeddedError::Store`] where the database fails.
    pub async fn head(&self) -> Result<(SideHeight, ExecutionHash), EmbeddedError> {
        let height = self.store.get_latest_block_number().await?;
        let hash = self
            .store
            .get_canonical_block_hash(height)
            .await?
            .ok_or(StoreError::MissingLatestBlockNumber)?;
        Ok((SideHeight::new(height), ExecutionHash::new(hash.0)))
    }

    /// Waits until every block answered so far is in the database, and survives a `kill -9`.
    ///
    /// # Errors
    /// - [`EmbeddedError::Store`] where the database fails.
    pub async fn persisted(&self) -> Result<(), EmbeddedError> {
        Ok(self.store.wait_for_persistence_idle().await?)
    }

    /// Returns only if a server of it ended by itself, with the reason: the node cannot go on then.
    pub async fn failed(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(Ok(()))) | None => "a server of the embedded execution client ended".to_owned(),
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(error)) => error.to_string(),
        }
    }

    /// Lets requests in progress end, flushes and closes the database.
    ///
    /// # Errors
    /// - [`EmbeddedError::Store`] where the last write fails;
    /// - [`EmbeddedError::StillInUse`] where something still holds the database; it is flushed all the same.
    pub async fn shutdown(self) -> Result<(), EmbeddedError> {
        let Self {
            store,
            blockchain,
            stop,
            mut tasks,
            executor,
            ..
        } = self;
        drop(stop);
        let ended = tokio::time::timeout(SHUTDOWN_GRACE, async {
            while tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tasks.shutdown().await;
        }
        // The executor ends with the last sender, which the servers held.
        let joined = tokio::task::spawn_blocking(move || executor.join());
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, joined).await;
        store.shutdown().await?;
        // Closing RocksDB joins its threads, which blocks.
        let _ = tokio::task::spawn_blocking(move || drop(store)).await;
        // ethrex gives no event for the end of a build that nobody fetched: look until it is gone.
        let gone = async {
            while blockchain.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(RELEASE_LIMIT, gone)
            .await
            .map_err(|_| EmbeddedError::StillInUse(RELEASE_LIMIT))
    }
}

async fn listen(
    role: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), EmbeddedError> {
    let wrong = |source| EmbeddedError::Listen {
        role,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok((listener, bound))
}

async fn open(config: &EmbeddedConfig) -> Result<Store, EmbeddedError> {
    let path = config.data_dir.clone();
    tokio::fs::create_dir_all(&path)
        .await
        .map_err(|source| EmbeddedError::Folder {
            path: path.clone(),
            source,
        })?;
    let settings = StoreConfig {
        rocksdb_block_cache_size: config.block_cache_bytes,
        ..StoreConfig::default()
    };
    let folder = path.clone();
    let opened = tokio::task::spawn_blocking(move || {
        Store::new_with_config(folder, EngineType::RocksDB, settings)
    })
    .await;
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(error)) => Err(EmbeddedError::Open {
            path,
            reason: error.to_string(),
        }),
        Err(error) => Err(EmbeddedError::Open {
            path,
            reason: error.to_string(),
        }),
    }
}

fn client_version() -> ClientVersion {
    let text = str::to_owned;
    ClientVersion::new(
        text("alys-ethrex"),
        text("24.0.0"),
        text("embedded"),
        text(env!("CARGO_PKG_VERSION")),
        format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        text("1.95.0"),
    )
}
