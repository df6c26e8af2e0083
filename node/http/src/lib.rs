//! The HTTP side of the node's two JSON-RPC ports.
//!
//! - [`Access`] says who may call. Neither port has authentication, and both are on loopback by default, where every
//!   web page that somebody opens on the machine can reach them: directly, or through a name of its own that it lets
//!   point to 127.0.0.1 (DNS rebinding). A browser gives both away, by `Origin` and by `Host`.
//! - [`serve`] bounds what a connection costs: how many there are, and how long each may take to say or to hear
//!   something.

mod access;
mod body;
mod layer;
mod pattern;
mod serve;

pub use access::{Access, Refused};
pub use body::{BodyError, TimedBody};
pub use layer::{AccessLayer, Guarded};
pub use pattern::{AllowedHost, AllowedOrigin, PatternError};
pub use serve::{Limits, serve};
