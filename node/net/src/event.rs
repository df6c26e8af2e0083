//! What the network tells the application.

use std::fmt;
use std::time::Duration;

use hex::DisplayHex;
use libp2p::request_response::InboundRequestId;
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::message::{Request, StatusMessage};
use crate::topic::Topic;

/// Names a received gossip message until its verdict. Local to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GossipId(pub(crate) u64);

/// Names a received request until its answer. Local to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) InboundRequestId);

impl fmt::Display for GossipId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", self.0)
    }
}

/// The application's judgement on a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Valid and new: forward it.
    Accept,
    /// Invalid whoever looks at it: do not forward it, and lower the score of every peer that sent it.
    Reject,
    /// Neither: old, already known in other words, or not decidable now. Not forwarded, nobody's fault.
    Ignore,
}

/// Something that the application should know or answer.
#[derive(Debug)]
pub enum NetworkEvent {
    /// A gossip message. Answer with [`NetworkHandle::report`](crate::NetworkHandle::report) within the validation
    /// timeout, else it counts as ignored.
    ///
    /// The same bytes published by two authors are two messages: answer [`Verdict::Ignore`] for content that
    /// was already judged, so that strangers cannot multiply traffic by publishing others' messages again.
    Gossip {
        /// Its topic.
        topic: Topic,
        /// Who published it. Authenticated by the author's signature; says nothing about the content.
        source: PeerId,
        /// Who sent it to this node.
        forwarder: PeerId,
        /// Names the message in the verdict.
        id: GossipId,
        /// The content, at most [`Topic::max_bytes`] long.
        bytes: Vec<u8>,
    },
    /// A peer asks for blocks. Answer with [`NetworkHandle::respond`](crate::NetworkHandle::respond).
    Request {
        /// Who asks.
        peer: PeerId,
        /// Names the request in the answer.
        id: RequestId,
        /// The question, within bounds. Never [`Request::Status`].
        request: Request,
    },
    /// A peer is connected and on the same chain.
    PeerConnected {
        /// The peer.
        peer: PeerId,
        /// Its first status.
        status: StatusMessage,
    },
    /// A connected peer told a newer status.
    PeerStatus {
        /// The peer.
        peer: PeerId,
        /// Its status.
        status: StatusMessage,
    },
    /// A peer that had been announced is gone.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer was turned away. It is blocked for a while, then may try again.
    PeerRefused {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: RefusalReason,
    },
}

/// Why a peer was turned away.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RefusalReason {
    /// It follows another chain spec.
    #[error("expected spec {}, found {}", .expected.as_hex(), .found.as_hex())]
    WrongSpec {
        /// This node's digest.
        expected: [u8; 32],
        /// The peer's digest.
        found: [u8; 32],
    },
    /// The same spec digest but another genesis block.
    #[error("expected genesis {}, found {}", .expected.as_hex(), .found.as_hex())]
    WrongGenesis {
        /// This node's genesis.
        expected: [u8; 32],
        /// The peer's genesis.
        found: [u8; 32],
    },
    /// It told no status in time.
    #[error("no status within {} ms", .waited.as_millis())]
    NoStatus {
        /// The handshake timeout.
        waited: Duration,
    },
    /// It does not speak the status protocol: no Alys node, or an incompatible version.
    #[error("the peer does not speak the status protocol")]
    NotAlys,
    /// It sent something that does not decode.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// It kept asking in spite of being told that its rate limit is exceeded.
    #[error("flood of requests above the rate limit")]
    Flooding,
    /// The address of a bootnode or member answers under another identity. Nobody is blocked for this.
    #[error("{address} answers as {found}")]
    WrongIdentity {
        /// The address dialed.
        address: Multiaddr,
        /// Who answered.
        found: PeerId,
    },
}

impl RefusalReason {
    /// Metric label.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::WrongSpec { .. } => "wrong_spec",
            Self::WrongGenesis { .. } => "wrong_genesis",
            Self::NoStatus { .. } => "no_status",
            Self::NotAlys => "not_alys",
            Self::Malformed(_) => "malformed",
            Self::Flooding => "flooding",
            Self::WrongIdentity { .. } => "wrong_identity",
        }
    }
}

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Its identity.
    pub peer: PeerId,
    /// Its newest status.
    pub status: StatusMessage,
    /// Remote address of its oldest connection.
    pub address: Multiaddr,
    /// Who opened that connection.
    pub direction: Direction,
    /// How long it has been connected.
    pub connected_for: Duration,
    /// Gossip score: 0 for a newcomer, grows with useful messages, falls steeply with invalid ones.
    pub score: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_expected_and_found() {
        let reason = RefusalReason::WrongSpec {
            expected: [0xaa; 32],
            found: [0xbb; 32],
        };
        assert_eq!(
            reason.to_string(),
            format!(
                "expected spec {}, found {}",
                "aa".repeat(32),
                "bb".repeat(32)
            )
        );
    }
}
