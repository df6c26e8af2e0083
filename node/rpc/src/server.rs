//! Starting and stopping the JSON-RPC server.

use crate::api::NodeRpcServer;
use crate::health::{HealthSource, PlainGetLayer};
use alys_http::{Access, AccessLayer, AllowedHost, AllowedOrigin, Limits};
use jsonrpsee::server::{
    BatchRequestConfig, PingConfig, ServerBuilder, ServerConfig, ServerHandle, stop_channel,
};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes of one request at most: an AuxPoW as hex fits.
const MAX_REQUEST_BYTES: u32 = 1 << 20;
/// Bytes of one answer at most, a batch's together.
const MAX_RESPONSE_BYTES: u32 = 8 << 20;
/// Calls in one batch at most.
const MAX_BATCH: u32 = 100;
/// Open websockets and requests under way at most.
const MAX_SESSIONS: u32 = 256;
/// Answers that a websocket's client may leave unread before its next call waits.
const MAX_UNREAD: u32 = 8;
/// How often websockets are asked whether anybody is there.
const PING: Duration = Duration::from_secs(30);
/// Websockets without a sign of life for so long are closed.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// How long websockets may take to close when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Where and whom to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Hosts under which clients reach it, besides loopback and the address itself.
    pub hosts: Vec<AllowedHost>,
    /// Web pages' origins that may call it.
    pub origins: Vec<AllowedOrigin>,
}

impl RpcConfig {
    /// For programs that reach it under loopback or `listen`, and no web page.
    pub const fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            hosts: Vec::new(),
            origins: Vec::new(),
        }
    }
}

/// The server cannot start.
#[derive(Debug, Error)]
pub enum RpcError {
    /// The address cannot be listened on.
    #[error("cannot serve JSON-RPC on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A running server; stops when dropped or told to.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    calls: ServerHandle,
    stop: DropGuard,
    connections: JoinHandle<()>,
}

impl RpcServer {
    /// Serves `api`, `/health` and, where there is a recorder, `/metrics`.
    ///
    /// # Errors
    /// - [`RpcError::Listen`] where the address cannot be listened on.
    pub async fn start(
        config: RpcConfig,
        api: impl NodeRpcServer,
        health: HealthSource,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self, RpcError> {
        let listen = |source| RpcError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let access = Access::new(address.ip(), config.hosts, config.origins);
        let (stop_calls, calls) = stop_channel();
        // Who may call is decided first, for the plain paths as well: metrics are nobody's business either.
        let service = ServerBuilder::with_config(call_limits())
            .set_http_middleware(
                tower::ServiceBuilder::new()
                    .layer(AccessLayer::new(access))
                    .layer(PlainGetLayer { health, metrics }),
            )
            .to_service_builder()
            .build(api.into_rpc(), stop_calls);
        let stop = CancellationToken::new();
        let connections = alys_http::serve(listener, service, stop.clone(), Limits::default());
        Ok(Self {
            address,
            calls,
            stop: stop.drop_guard(),
            connections: tokio::spawn(connections),
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking requests, and waits a moment for those under way.
    pub async fn stop(self) {
        // Fails only where it has stopped already.
        let _ = self.calls.stop();
        drop(self.stop);
        // Bounded by itself; fails only where a request panicked.
        let _ = self.connections.await;
        let closed = tokio::time::timeout(SHUTDOWN_GRACE, self.calls.stopped());
        if closed.await.is_err() {
            tracing::debug!("some websockets did not close in time");
        }
    }
}

fn call_limits() -> ServerConfig {
    ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .max_connections(MAX_SESSIONS)
        .max_subscriptions_per_connection(0)
        .set_message_buffer_capacity(MAX_UNREAD)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .enable_ws_ping(
            PingConfig::new()
                .ping_interval(PING)
                .inactive_limit(MAX_SILENCE),
        )
        .build()
}
