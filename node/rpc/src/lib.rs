//! JSON-RPC of the node, with its health and metrics endpoints on the same port.
//!
//! | namespace | methods |
//! |---|---|
//! | chain | `getheadblock`, `getblockbyheight`, `getblockbyhash`, `getnodestatus` |
//! | peg | `getdepositaddress`, `getpegstatus`, `getpegout` |
//! | mining | `createauxblock`, `submitauxblock`, `getauxblock`, `getqueuedpow` |
//!
//! `GET /health` answers 200 while the node follows the chain, 503 with the reason otherwise; `GET /metrics` is
//! Prometheus text. There is no authentication, so it binds to loopback unless told otherwise (regression A13), and
//! refuses web pages and names that it does not know ([`alys_http::Access`]).

pub mod api;
mod health;
mod server;
pub mod types;

pub use api::{NodeRpcClient, NodeRpcServer};
pub use health::{Health, HealthSource};
pub use server::{RpcConfig, RpcError, RpcServer};
