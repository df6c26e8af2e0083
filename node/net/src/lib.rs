//! Peer-to-peer network of an Alys node: gossip, request-response and discovery over libp2p.
//!
//! To this crate every message is opaque bytes. It moves them, bounds them and scores who sent them; what a
//! proposal or a block *means* is decided by the application, which answers every gossip message with a
//! [`Verdict`] before it is forwarded. Design section 11.
//!
//! ```text
//!  application                         this crate (one task)                     peers
//!  publish / report / request  ──────▶ bounded command queue ──▶ gossipsub  ◀──▶ /alys/<digest>/meshsub/...
//!  respond / set_heads                                           blocks     ◀──▶ /alys/<digest>/sync/1
//!  NetworkEvent                ◀────── bounded event queue   ◀── status     ◀──▶ /alys/status/1
//!                                                                kademlia   ◀──▶ /alys/<digest>/kad/1
//! ```
//!
//! `<digest>` is the start of the chain spec's digest, so nodes of different chains share no protocol but the
//! status exchange, and that one exists to tell both of them why they part ([`RefusalReason::WrongSpec`]).
//!
//! # Full queues
//!
//! The network task never waits for the application.
//! - Commands: the caller waits for room.
//! - [`NetworkEvent::Gossip`]: dropped and not forwarded.
//! - [`NetworkEvent::Request`]: answered with [`ErrorReply::Busy`].
//! - [`NetworkEvent::PeerStatus`] and [`NetworkEvent::PeerRefused`]: dropped.
//! - [`NetworkEvent::PeerConnected`] and [`NetworkEvent::PeerDisconnected`]: never lost; a connection that ended
//!   before it was announced is not announced at all.
//!
//! Drops are counted in `alys_net_events_dropped_total`. Dropping the event receiver, or the last
//! [`NetworkHandle`], ends the network.

mod address;
mod behaviour;
mod blocklist;
mod codec;
mod config;
mod dialer;
mod error;
mod event;
mod gossip;
mod guard;
mod handle;
mod identity;
mod message;
mod outbox;
mod peers;
mod rate;
mod service;
mod telemetry;
mod topic;

pub use config::{ConfigError, Limits, NetworkConfig, RateLimit};
pub use error::{Closed, Error, PublishError, RequestError, RespondError};
pub use event::{Direction, GossipId, NetworkEvent, PeerInfo, RefusalReason, RequestId, Verdict};
pub use handle::{Network, NetworkHandle};
pub use identity::{Identity, IdentityError};
pub use libp2p::{Multiaddr, PeerId};
pub use message::{
    ErrorReply, Heads, MAX_BLOCKS_PER_RESPONSE, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Request,
    Response, Software, SoftwareError, StatusMessage,
};
pub use topic::Topic;
