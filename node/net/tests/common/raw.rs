//! A peer built on libp2p alone, which says what a node of ours never would. Its protocol names and frames are
//! written out here a second time on purpose.

use std::time::Duration;

use alys_net::{Heads, Multiaddr, PeerId, Request, Response, Software, StatusMessage};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::request_response::{self, Message, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, gossipsub, noise, tcp, yamux};
use tokio::sync::mpsc;

use super::{GENESIS, PATIENCE, SPEC};

pub const STATUS: &str = "/alys/status/1";
pub const SYNC: &str = "/alys/1111111111111111/sync/1";

pub fn topic(name: &str) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(format!("/alys/1111111111111111/{name}/1"))
}

/// Sends and receives bytes as they are.
#[derive(Clone, Default)]
struct Verbatim;

impl request_response::Codec for Verbatim {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
    ) -> std::io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
    ) -> std::io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        stream.write_all(&bytes).await?;
        stream.close().await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        stream.write_all(&bytes).await?;
        stream.close().await
    }
}

#[derive(NetworkBehaviour)]
struct RawBehaviour {
    gossip: gossipsub::Behaviour,
    status: request_response::Behaviour<Verbatim>,
    sync: request_response::Behaviour<Verbatim>,
}

#[derive(Debug)]
enum Command {
    Publish(&'static str, Vec<u8>),
    Status(Vec<u8>),
    Sync(Vec<u8>),
}

/// What happened to the raw peer.
#[derive(Debug)]
pub enum RawEvent {
    Connected,
    /// The connection ended, or was refused before it was there.
    Closed,
    Subscribed,
    Answer(Vec<u8>),
    Failed(String),
}

/// A raw peer, connected to one node.
pub struct Raw {
    pub id: PeerId,
    commands: mpsc::UnboundedSender<Command>,
    pub events: mpsc::UnboundedReceiver<RawEvent>,
}

pub fn frame<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let body = postcard::to_allocvec(message).unwrap();
    let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(body);
    frame
}

pub fn status() -> StatusMessage {
    let heads = Heads::default();
    StatusMessage {
        spec_digest: SPEC,
        genesis_id: GENESIS,
        certified_height: heads.certified_height,
        certified_id: heads.certified_id,
        final_height: heads.final_height,
        final_id: heads.final_id,
        pow_final_height: heads.pow_final_height,
        software: Software::try_from("raw").unwrap(),
    }
}

fn swarm() -> Swarm<RawBehaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|key| {
            let settings = gossipsub::ConfigBuilder::default()
                .protocol_id_prefix("/alys/1111111111111111/meshsub")
                .max_transmit_size(64 * 1024 * 1024)
                .build()
                .unwrap();
            let mut gossip = gossipsub::Behaviour::new(
                gossipsub::MessageAuthenticity::Signed(key.clone()),
                settings,
            )
            .unwrap();
            for name in ["proposals", "approvals", "auxpow", "pegout_shares"] {
                gossip.subscribe(&topic(name)).unwrap();
            }
            let exchange = |name| {
                request_response::Behaviour::new(
                    [(StreamProtocol::new(name), ProtocolSupport::Full)],
                    request_response::Config::default(),
                )
            };
            RawBehaviour {
                gossip,
                status: exchange(STATUS),
                sync: exchange(SYNC),
            }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

impl Raw {
    /// Dials `node`; what comes of it is in the events.
    pub fn dial(node: &[Multiaddr]) -> Self {
        let address = node
            .iter()
            .find(|address| address.to_string().contains("/tcp/"))
            .unwrap()
            .clone();
        let mut swarm = swarm();
        let id = *swarm.local_peer_id();
        swarm.dial(address).unwrap();
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::unbounded_channel();
        tokio::spawn(run(swarm, command_receiver, event_sender));
        Self {
            id,
            commands,
            events,
        }
    }

    /// Dials `node` and returns once connected, without any handshake.
    pub async fn connect(node: &[Multiaddr]) -> Self {
        let mut raw = Self::dial(node);
        raw.until(|event| matches!(event, RawEvent::Connected).then_some(()))
            .await;
        raw
    }

    /// Like [`Self::connect`], with a proper handshake, and until the node's topics are known.
    pub async fn connect_properly(node: &[Multiaddr]) -> Self {
        let mut raw = Self::connect(node).await;
        raw.send_status(frame(&Request::Status(status())));
        let (mut answered, mut subscriptions) = (false, 0);
        raw.until(|event| {
            match event {
                RawEvent::Answer(_) => answered = true,
                RawEvent::Subscribed => subscriptions += 1,
                _ => {}
            }
            (answered && subscriptions == 4).then_some(())
        })
        .await;
        raw
    }

    pub fn publish(&self, topic: &'static str, bytes: Vec<u8>) {
        self.commands.send(Command::Publish(topic, bytes)).unwrap();
    }

    pub fn send_status(&self, bytes: Vec<u8>) {
        self.commands.send(Command::Status(bytes)).unwrap();
    }

    pub fn send_sync(&self, bytes: Vec<u8>) {
        self.commands.send(Command::Sync(bytes)).unwrap();
    }

    pub async fn until<T>(&mut self, mut fits: impl FnMut(&RawEvent) -> Option<T>) -> T {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv())
                .await
                .expect("no raw event in time");
            if let Some(found) = fits(&event.expect("the raw peer runs")) {
                return found;
            }
        }
    }

    /// The next answer, decoded.
    pub async fn answer(&mut self) -> Response {
        let bytes = self
            .until(|event| match event {
                RawEvent::Answer(bytes) => Some(bytes.clone()),
                RawEvent::Failed(error) => panic!("request failed: {error}"),
                _ => None,
            })
            .await;
        let (length, body) = bytes.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*length) as usize, body.len());
        postcard::from_bytes(body).unwrap()
    }

    pub async fn until_closed(&mut self) {
        self.until(|event| matches!(event, RawEvent::Closed).then_some(()))
            .await;
    }
}

async fn run(
    mut swarm: Swarm<RawBehaviour>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<RawEvent>,
) {
    let mut node = None;
    loop {
        let report = tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    node = Some(peer_id);
                    Some(RawEvent::Connected)
                }
                SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => {
                    Some(RawEvent::Closed)
                }
                SwarmEvent::Behaviour(RawBehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => {
                    Some(RawEvent::Subscribed)
                }
                SwarmEvent::Behaviour(RawBehaviourEvent::Status(event) | RawBehaviourEvent::Sync(event)) => {
                    match event {
                        request_response::Event::Message { message, .. } => match message {
                            Message::Response { response, .. } => Some(RawEvent::Answer(response)),
                            Message::Request { channel, .. } => {
                                let answer = frame(&Response::Status(status()));
                                let _ = swarm.behaviour_mut().status.send_response(channel, answer);
                                None
                            }
                        },
                        request_response::Event::OutboundFailure { error, .. } => {
                            Some(RawEvent::Failed(error.to_string()))
                        }
                        _ => None,
                    }
                }
                _ => None,
            },
            command = commands.recv() => {
                let Some(command) = command else { return };
                let node = node.expect("connected");
                match command {
                    Command::Publish(name, bytes) => {
                        swarm.behaviour_mut().gossip.publish(topic(name), bytes).unwrap();
                    }
                    Command::Status(bytes) => {
                        swarm.behaviour_mut().status.send_request(&node, bytes);
                    }
                    Command::Sync(bytes) => {
                        swarm.behaviour_mut().sync.send_request(&node, bytes);
                    }
                }
                None
            }
        };
        if let Some(report) = report
            && events.send(report).is_err()
        {
            return;
        }
    }
}
