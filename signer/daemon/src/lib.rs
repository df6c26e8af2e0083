//! The signer daemon: the trusted tier's process (design 10).
//!
//! A thin shell around `alys-signer-core`: mutual TLS 1.3 with roles ([`server`], [`authority`]), one durable transaction
//! per decision ([`engine`], [`store`]), a log of all decisions ([`audit`]), limits that officers sign ([`policy_file`]) and
//! what else they say ([`statement`]), what decisions rest on besides ([`circumstances`]: clocks, Bitcoin's headers, the
//! outside [`counter`]), keys made inside and sealed, or in a token ([`keys`], [`seal`]), what a monitor sees ([`metrics`]),
//! memory that is neither swapped nor dumped ([`harden`]). Where a [`device`] has the keys, it decides, too, and the daemon
//! hands requests on.

pub mod audit;
pub mod authority;
pub mod card;
pub mod circumstances;
pub mod cli;
pub mod config;
pub mod counter;
pub mod device;
pub mod engine;
pub mod files;
pub mod harden;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod passphrase;
pub mod policy_file;
pub mod seal;
pub mod server;
pub mod statement;
pub mod store;
pub mod tls;
