//! Client of the signer: mutual TLS 1.3, reconnecting, with errors that an operator can act on.
//!
//! ```no_run
//! # async fn example(chain: alys_protocol::spec::Chain) -> Result<(), alys_signer_client::ClientError> {
//! use alys_signer_client::{ClientConfig, Expected, SignerClient};
//! let config = ClientConfig::new("127.0.0.1:7700", "server-ca.pem", "node.pem", "node.key");
//! let expected = Expected { chain_id: chain.id(), spec: chain.digest(), member: None };
//! let signer = SignerClient::connect(config, expected).await?;
//! println!("{:?}", signer.status().await?);
//! # Ok(()) }
//! ```

pub mod certificate;
pub mod client;
pub mod config;
mod der;
pub mod error;
pub mod frame;
pub mod key_exchange;
pub mod link;
pub mod pem;
pub mod revocation;
pub mod role;
pub mod time;
pub mod tls;

pub use certificate::{Certificate, Holder, Serial};
pub use client::{Expected, SignerClient};
pub use config::ClientConfig;
pub use error::ClientError;
pub use key_exchange::KeyExchange;
pub use link::{Link, LinkReport};
pub use role::{Role, RoleError};
