//! Starting and stopping the JSON-RPC server.

use crate::api::NodeRpcServer;
use crate::health::{HealthSource, PlainGetLayer};
use jsonrpsee::server::{ServerBuilder, ServerConfig, ServerHandle};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use thiserror::Error;

/// Bytes of one request at most: an AuxPoW as hex fits.
const MAX_REQUEST_BYTES: u32 = 1 << 20;
/// Bytes of one answer at most.
const MAX_RESPONSE_BYTES: u32 = 8 << 20;
/// Open connections at most.
const MAX_CONNECTIONS: u32 = 256;

/// Where and how to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
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
    handle: ServerHandle,
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
        let limits = ServerConfig::builder()
            .max_request_body_size(MAX_REQUEST_BYTES)
            .max_response_body_size(MAX_RESPONSE_BYTES)
            .max_connections(MAX_CONNECTIONS)
            .build();
        let server = ServerBuilder::with_config(limits)
            .set_http_middleware(
                tower::ServiceBuilder::new().layer(PlainGetLayer { health, metrics }),
            )
            .build(config.listen)
            .await
            .map_err(listen)?;
        let address = server.local_addr().map_err(listen)?;
        Ok(Self {
            address,
            handle: server.start(api.into_rpc()),
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking requests and waits for those under way.
    pub async fn stop(self) {
        // Fails only where it has stopped already.
        let _ = self.handle.stop();
        self.handle.stopped().await;
    }
}
