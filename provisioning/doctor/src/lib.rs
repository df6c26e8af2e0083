//! Checks a host of the federation: signer, node or provisioning workstation. Each [`Finding`] says what was found, why it
//! matters and what to do. Nothing is changed, no secret is read but a Bitcoin node's cookie, and no PIN is tried.
//!
//! What the system says is read below a root folder ([`System`]), so that tests prepare one; what programs say is passed as
//! text. A check that cannot be made is a warning, never silence.

pub mod backup;
pub mod bitcoin_node;
pub mod certificates;
mod cli;
pub mod files;
mod finding;
pub mod firewall;
pub mod node;
pub mod provisioning;
pub mod signer;
mod system;
pub mod token;
pub mod unit;

pub use cli::{Doctor, Host};
pub use finding::{Finding, Report, Severity};
pub use system::{
    System, clock, core_dumps, disk, free_space, listening, processes, swap, synchronized,
};
