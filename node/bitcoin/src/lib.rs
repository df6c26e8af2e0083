//! A Bitcoin node's client that survives the node: retries, a circuit breaker, and a block stream that follows
//! reorganisations.
//!
//! - [`BitcoinClient`] makes calls; [`RpcError`] tells "the node says no" from "cannot reach the node".
//! - [`BlockStream`] follows the best chain from a given block on; its pure core is [`follower`].
//! - [`BlockCache`] answers which block is confirmed at a height.
//! - [`devnet`] makes blocks and spends from a wallet of the node, for regtest only.

pub mod auth;
pub mod backoff;
pub mod breaker;
mod cache;
mod chain;
mod client;
mod config;
pub mod devnet;
mod error;
mod fees;
pub mod follower;
mod identity;
mod mining;
mod stream;
mod transactions;
mod unspent;

pub use auth::Credentials;
pub use cache::{BlockCache, ConfirmedBlock};
pub use chain::{BlockPosition, ChainInfo, HeaderInfo};
pub use client::BitcoinClient;
pub use config::{ConfigError, NodeConfig};
pub use error::{RpcCode, RpcError};
pub use fees::{FeeEstimate, FeePolicy, FeePolicyError, FeeSource};
pub use follower::{BlockEvent, ConnectedBlock};
pub use identity::{NodeIdentity, NodeMismatch, NodeVersion};
pub use mining::{BlockSubmission, BlockTemplate, TemplateTransaction};
pub use stream::{BlockStream, StreamError};
pub use transactions::{
    Broadcast, BroadcastError, MempoolEntry, MempoolVerdict, TransactionStatus,
};
pub use unspent::{ScannedOutput, UnspentOutput, UnspentScan};
