//! How the application talks to the network task.

use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::config::NetworkConfig;
use crate::error::{Closed, Error, PublishError, RequestError, RespondError};
use crate::event::{GossipId, NetworkEvent, PeerInfo, RequestId, Verdict};
use crate::identity::Identity;
use crate::message::{Heads, Request, Response};
use crate::service::Service;
use crate::topic::Topic;

/// Places in the command queue.
const COMMANDS: usize = 256;

/// The peer-to-peer network.
#[derive(Debug)]
pub struct Network;

impl Network {
    /// Starts the network: loads or makes the identity, listens on every configured address, and begins to dial.
    /// Returns once all addresses are listened on. Needs a Tokio runtime.
    ///
    /// Events must be read: see the crate's documentation for what happens when the queue is full. Dropping the
    /// receiver or the last handle ends the network.
    ///
    /// # Errors
    /// - [`Error::Config`] if the configuration is invalid.
    /// - [`Error::Identity`] if the key file cannot be used.
    /// - [`Error::Setup`] if a protocol cannot be set up.
    /// - [`Error::Listen`] if an address cannot be listened on.
    pub async fn start(
        config: NetworkConfig,
    ) -> Result<(NetworkHandle, mpsc::Receiver<NetworkEvent>), Error> {
        config.validate()?;
        let identity = Identity::load_or_create(&config.identity_path)?;
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let (events, event_receiver) = mpsc::channel(config.limits.event_capacity);
        let service = Service::start(&config, identity.keypair(), commands, events).await?;
        tokio::spawn(service.run());
        Ok((
            NetworkHandle {
                local: identity.peer_id(),
                commands: command_sender,
            },
            event_receiver,
        ))
    }
}

/// What the application asks of the network task.
#[derive(Debug)]
pub(crate) enum Command {
    Publish {
        topic: Topic,
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<(), PublishError>>,
    },
    Report {
        id: GossipId,
        verdict: Verdict,
    },
    Request {
        peer: PeerId,
        request: Request,
        reply: oneshot::Sender<Result<Response, RequestError>>,
    },
    Respond {
        id: RequestId,
        response: Response,
        reply: oneshot::Sender<Result<(), RespondError>>,
    },
    SetHeads(Heads),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    ListenAddresses(oneshot::Sender<Vec<Multiaddr>>),
    Shutdown,
}

/// A handle on the running network. Clones share it.
#[derive(Debug, Clone)]
pub struct NetworkHandle {
    local: PeerId,
    commands: mpsc::Sender<Command>,
}

impl NetworkHandle {
    /// This node's identity.
    #[must_use]
    pub const fn local_peer(&self) -> PeerId {
        self.local
    }

    /// Publishes a message to all peers that take part in `topic`. Does not come back as an event. Success means
    /// that it is queued for at least one peer.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, topic: Topic, bytes: Vec<u8>) -> Result<(), PublishError> {
        self.ask(|reply| Command::Publish {
            topic,
            bytes,
            reply,
        })
        .await?
    }

    /// Judges a received gossip message. A verdict that comes late or twice has no effect.
    ///
    /// # Errors
    /// [`Closed`] after shutdown.
    pub async fn report(&self, id: GossipId, verdict: Verdict) -> Result<(), Closed> {
        self.send(Command::Report { id, verdict }).await
    }

    /// Asks a connected peer and waits for the answer, at most for the request timeout. [`Response::Error`] is an
    /// answer. Other answers fit the question: blocks for blocks (never more than asked for), a status for a status.
    /// What the blocks hold is unchecked. A [`Request::Status`] always carries this node's current status.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(&self, peer: PeerId, request: Request) -> Result<Response, RequestError> {
        self.ask(|reply| Command::Request {
            peer,
            request,
            reply,
        })
        .await?
    }

    /// Answers a request of a peer.
    ///
    /// # Errors
    /// See [`RespondError`].
    pub async fn respond(&self, id: RequestId, response: Response) -> Result<(), RespondError> {
        self.ask(|reply| Command::Respond {
            id,
            response,
            reply,
        })
        .await?
    }

    /// Updates what this node tells about its chain. Peers hear of it with the next status exchange.
    ///
    /// # Errors
    /// [`Closed`] after shutdown.
    pub async fn set_heads(&self, heads: Heads) -> Result<(), Closed> {
        self.send(Command::SetHeads(heads)).await
    }

    /// The connected peers on the same chain, ordered by id.
    ///
    /// # Errors
    /// [`Closed`] after shutdown.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Closed> {
        self.ask(Command::Peers).await
    }

    /// The addresses this node listens on, with its peer id: they can serve as others' bootnode addresses.
    ///
    /// # Errors
    /// [`Closed`] after shutdown.
    pub async fn listen_addresses(&self) -> Result<Vec<Multiaddr>, Closed> {
        self.ask(Command::ListenAddresses).await
    }

    /// Says goodbye to all peers and ends the network task; returns when it has ended.
    pub async fn shutdown(&self) {
        // Fails only if the task has ended.
        let _ = self.commands.send(Command::Shutdown).await;
        self.commands.closed().await;
    }

    async fn send(&self, command: Command) -> Result<(), Closed> {
        self.commands.send(command).await.map_err(|_| Closed)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Closed)
    }
}
