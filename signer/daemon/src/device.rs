//! The backend `device`: the keys are in hardware on a serial line, and so are the rules (ADR 0018).
//!
//! The daemon keeps what belongs to the network: mutual TLS, roles, limits, a log of requests. Every request that passes goes
//! to the device byte for byte, and its reply comes back the same way. The device believes this host nothing: whoever owns
//! the host can keep requests from it, and that is all.

mod config;
mod log;
mod relay;

pub use config::{DeviceConfig, RelayConfig};
pub use log::{LogEntry, RequestLog, RequestLogError};
pub use relay::Relay;
