//! The execution layer: unmodified Ethereum (Prague) over the Engine API.
//!
//! | module | role |
//! |---|---|
//! | [`client`] | what consensus asks: build, validate, set the heads |
//! | [`engine`] | the Engine API itself, with JWT |
//! | [`eth`] | the EVM JSON-RPC, with proofs checked against block headers |
//! | [`payload`], [`header`], [`receipt`] | encodings, independent of any client |
//! | [`genesis`] | the genesis that every client of a chain starts from |
//! | [`embedded`] | an execution client in this process, behind the same two ports that Geth or Reth would open |
//!
//! Geth, Reth and the embedded client are reached through the same code: nothing outside [`embedded`] knows which one
//! answers.

pub mod chain_genesis;
pub mod client;
pub mod embedded;
pub mod engine;
pub mod eth;
pub mod genesis;
pub mod header;
pub mod jwt;
pub mod payload;
pub mod receipt;
pub mod rpc;

pub use chain_genesis::{ChainGenesisError, chain_genesis};
pub use client::{ExecutionClient, ExecutionError, Heads, PayloadRequest, PayloadStatus};
pub use embedded::{EmbeddedClient, EmbeddedConfig, EmbeddedError};
pub use engine::{EngineClient, EngineConfig};
pub use eth::EthClient;
pub use header::execution_header_rlp;
pub use jwt::JwtSecret;
