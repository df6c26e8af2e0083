//! Errors of the public API.

use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::config::ConfigError;
use crate::event::RequestId;
use crate::identity::IdentityError;
use crate::message::{MAX_BLOCKS_PER_RESPONSE, MAX_RESPONSE_BYTES};
use crate::topic::Topic;

/// The network could not be started.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The identity key could not be loaded or made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A transport or protocol could not be set up.
    #[error("setting up {what}: {reason}")]
    Setup {
        /// Which part.
        what: &'static str,
        /// What it says.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("listening on {address}: {reason}")]
    Listen {
        /// The address from the configuration.
        address: Multiaddr,
        /// What the system says.
        reason: String,
    },
}

/// The network has been shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the network has been shut down")]
pub struct Closed;

/// A message was not published.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublishError {
    /// Larger than the topic allows.
    #[error("{topic} message: expected at most {limit} bytes, found {found}")]
    TooLarge {
        /// The topic.
        topic: Topic,
        /// [`Topic::max_bytes`].
        limit: usize,
        /// Size of the message, in bytes.
        found: usize,
    },
    /// The topic has a list of publishers and this node is not on it.
    #[error("this node is not among the publishers allowed on {topic}")]
    NotAllowed {
        /// The topic.
        topic: Topic,
    },
    /// No connected peer takes part in this topic. Nothing was sent; publishing again later may work.
    #[error("no connected peer takes part in {topic}")]
    NoPeers {
        /// The topic.
        topic: Topic,
    },
    /// This node published the same bytes within the last 20 s: its peers have them.
    #[error("the same message was just published on {topic}")]
    Duplicate {
        /// The topic.
        topic: Topic,
    },
    /// The queues of all peers are full.
    #[error("the send queues of all {topic} peers are full")]
    Overloaded {
        /// The topic.
        topic: Topic,
    },
    /// The message could not be signed or encoded.
    #[error("publishing on {topic}: {reason}")]
    Internal {
        /// The topic.
        topic: Topic,
        /// What the library says.
        reason: String,
    },
    /// The network has been shut down.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// A request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A range of no blocks, or of more than [`MAX_BLOCKS_PER_RESPONSE`].
    #[error("block range: expected a count from 1 to {MAX_BLOCKS_PER_RESPONSE}, found {found}")]
    Invalid {
        /// The count asked for.
        found: u32,
    },
    /// No connection to this peer, or it has not told its status yet.
    #[error("peer {peer} is not connected")]
    NotConnected {
        /// The peer.
        peer: PeerId,
    },
    /// Too many requests are waiting for their answers.
    #[error("{waiting} requests are already waiting for answers")]
    TooMany {
        /// How many.
        waiting: usize,
    },
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended first.
    #[error("the connection ended before the answer came")]
    Disconnected,
    /// The peer does not speak the protocol.
    #[error("the peer does not speak the protocol of this request")]
    Unsupported,
    /// The peer gave up: it closed the stream without an answer.
    #[error("the peer closed the stream without an answer")]
    Unanswered,
    /// The stream failed.
    #[error("stream failed: {0}")]
    Io(String),
    /// The answer does not decode, or does not answer the question. The peer is refused for it.
    #[error("invalid answer: {0}")]
    Malformed(String),
    /// The network has been shut down.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// A response was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RespondError {
    /// Answered before, timed out, or the peer has gone.
    #[error("request {0} is no longer waiting")]
    NotWaiting(RequestId),
    /// Over the limits; the request stays open. See [`Response::blocks_within_limits`].
    ///
    /// [`Response::blocks_within_limits`]: crate::Response::blocks_within_limits
    #[error(
        "response to {id}: expected at most {limit} blocks and {MAX_RESPONSE_BYTES} bytes, found {blocks} blocks and {bytes} bytes"
    )]
    OutOfBounds {
        /// The request.
        id: RequestId,
        /// Most blocks that this request may be answered with.
        limit: u32,
        /// Blocks in the response.
        blocks: usize,
        /// Upper bound of the encoded size.
        bytes: usize,
    },
    /// A status does not answer a request for blocks; the request stays open.
    #[error("request {0} asks for blocks, not for a status")]
    WrongKind(RequestId),
    /// The network has been shut down.
    #[error(transparent)]
    Closed(#[from] Closed),
}
