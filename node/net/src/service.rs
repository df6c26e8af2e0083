//! The network task: one loop over libp2p's events, the application's commands and a timer. It never waits for the
//! application.

mod connections;
mod gossip;
mod handshake;
mod sync;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::behaviour::{self, Behaviour, BehaviourEvent};
use crate::blocklist::BlockList;
use crate::config::{Limits, NetworkConfig};
use crate::dialer::Dialer;
use crate::error::Error;
use crate::event::NetworkEvent;
use crate::gossip::WaitingRoom;
use crate::handle::Command;
use crate::message::StatusMessage;
use crate::outbox::Outbox;
use crate::peers::PeerTable;
use crate::rate::RateLimiter;
use crate::telemetry;
use crate::topic::{Topic, Topics};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(200);
/// Ticks between clean-ups.
const CLEAN_UP: u32 = 300;
/// How long goodbyes may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long the system may take to open the listening sockets.
const LISTEN: Duration = Duration::from_secs(10);

/// State of the network task.
pub(crate) struct Service {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetworkEvent>,
    outbox: Outbox,
    /// What this node tells about itself.
    status: StatusMessage,
    topics: Topics,
    allowed_publishers: BTreeMap<Topic, BTreeSet<PeerId>>,
    limits: Limits,
    believe_loopback: bool,
    peers: PeerTable,
    dialer: Dialer,
    blocked: BlockList,
    waiting: WaitingRoom,
    status_requests: HashMap<libp2p::request_response::OutboundRequestId, handshake::StatusRequest>,
    outbound: HashMap<libp2p::request_response::OutboundRequestId, sync::Outbound>,
    inbound: HashMap<libp2p::request_response::InboundRequestId, sync::Inbound>,
    gossip_rate: RateLimiter,
    /// Of members, as far as they are known.
    newest: HashMap<PeerId, gossip::Newest>,
    block_rate: RateLimiter,
    refusal_rate: RateLimiter,
    status_rate: RateLimiter,
    ticks: u32,
}

impl Service {
    /// Builds the swarm and opens the listening sockets.
    pub(crate) async fn start(
        config: &NetworkConfig,
        key: &Keypair,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<NetworkEvent>,
    ) -> Result<Self, Error> {
        let mut swarm = behaviour::swarm(config, key)?;
        listen(&mut swarm, &config.listen).await?;
        for address in &config.external {
            swarm.add_external_address(address.clone());
        }
        let limits = config.limits.clone();
        let mut dialer = Dialer::new(limits.redial_min, limits.redial_max);
        let now = Instant::now();
        for (peer, addresses) in config.permanent_peers() {
            if peer != *swarm.local_peer_id() {
                dialer.add_permanent(peer, addresses, now);
            }
        }
        let heads = config.heads;
        Ok(Self {
            swarm,
            commands,
            events,
            outbox: Outbox::default(),
            status: StatusMessage {
                spec_digest: config.spec_digest,
                genesis_id: config.genesis_id,
                certified_height: heads.certified_height,
                certified_id: heads.certified_id,
                final_height: heads.final_height,
                final_id: heads.final_id,
                pow_final_height: heads.pow_final_height,
                software: config.software.clone(),
            },
            topics: Topics::new(&config.spec_digest),
            allowed_publishers: config.allowed_publishers.clone(),
            believe_loopback: config.believes_loopback(),
            peers: PeerTable::default(),
            dialer,
            blocked: BlockList::default(),
            waiting: WaitingRoom::default(),
            status_requests: HashMap::new(),
            outbound: HashMap::new(),
            inbound: HashMap::new(),
            newest: HashMap::new(),
            gossip_rate: RateLimiter::new(limits.gossip_rate),
            block_rate: RateLimiter::new(limits.block_rate),
            refusal_rate: RateLimiter::new(limits.refusal_rate),
            status_rate: RateLimiter::new(limits.status_rate),
            limits,
            ticks: 0,
        })
    }

    /// Runs until told to stop, or until the application has dropped its ends.
    pub(crate) async fn run(mut self) {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = self.events.clone();
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown) | None => break,
                    Some(command) => self.on_command(command),
                },
                _ = timer.tick() => self.on_tick(Instant::now()),
                permit = events.reserve(), if !self.outbox.is_empty() => match permit {
                    Ok(permit) => if let Some(event) = self.outbox.pop() {
                        permit.send(event);
                    },
                    Err(_) => break,
                },
                () = events.closed() => break,
            }
        }
        self.say_goodbye().await;
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event, now),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.on_connected(peer_id, connection_id, &endpoint, now);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => {
                self.on_disconnected(peer_id, connection_id, cause.as_ref(), now);
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                self.on_dial_failed(peer, &error, now);
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error,
                ..
            } => {
                tracing::debug!(address = %send_back_addr, %error, "inbound connection failed");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "listener failed once")
            }
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                tracing::error!(?addresses, ?reason, "no longer listening");
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Gossip(event) => self.on_gossip_event(event, now),
            BehaviourEvent::Status(event) => self.on_status_event(event, now),
            BehaviourEvent::Sync(event) => self.on_sync_event(event, now),
            BehaviourEvent::Identify(event) => self.on_identify_event(event),
            BehaviourEvent::Kademlia(event) => self.on_kademlia_event(event, now),
            BehaviourEvent::Ping(event) => self.on_ping_event(&event),
            BehaviourEvent::Blocked(never) | BehaviourEvent::Guard(never) => match never {},
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        // A reply that nobody waits for any more may be dropped.
        match command {
            Command::Publish {
                topic,
                bytes,
                reply,
            } => {
                let _ = reply.send(self.publish(topic, bytes));
            }
            Command::Report { id, verdict } => self.report(id, verdict),
            Command::Request {
                peer,
                request,
                reply,
            } => self.request(peer, request, reply, now),
            Command::Respond {
                id,
                response,
                reply,
            } => {
                let _ = reply.send(self.respond(id, response));
            }
            Command::SetHeads(heads) => self.status.set_heads(heads),
            Command::Peers(reply) => {
                let gossip = &self.swarm.behaviour().gossip;
                let _ = reply.send(
                    self.peers
                        .infos(now, |peer| gossip.peer_score(peer).unwrap_or_default()),
                );
            }
            Command::ListenAddresses(reply) => {
                let local = *self.swarm.local_peer_id();
                let addresses = self
                    .swarm
                    .listeners()
                    .filter_map(|address| address.clone().with_p2p(local).ok());
                let _ = reply.send(addresses.collect());
            }
            Command::Shutdown => {}
        }
    }

    fn on_tick(&mut self, now: Instant) {
        self.expire_gossip(now);
        for peer in self.blocked.lift(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        self.advance_handshakes(now);
        self.dial(now);
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(CLEAN_UP) {
            for limiter in [
                &mut self.gossip_rate,
                &mut self.block_rate,
                &mut self.refusal_rate,
                &mut self.status_rate,
            ] {
                limiter.forget_full(now);
            }
        }
    }

    /// Queues an event that may be lost; says whether it fitted.
    fn try_emit(&mut self, kind: &'static str, event: NetworkEvent) -> bool {
        // Announcements that wait go first.
        while !self.outbox.is_empty() {
            let Ok(permit) = self.events.try_reserve() else {
                break;
            };
            if let Some(announcement) = self.outbox.pop() {
                permit.send(announcement);
            }
        }
        let sent = self.outbox.is_empty() && self.events.try_send(event).is_ok();
        if !sent {
            telemetry::event_dropped(kind);
            tracing::warn!(kind, "the application does not keep up, event dropped");
        }
        sent
    }

    /// Closes all connections in order, so that peers notice at once and the sockets are free.
    async fn say_goodbye(&mut self) {
        let connected: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            // Fails only if the connection has just ended.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(GOODBYE, closed).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        telemetry::peers(0);
    }
}

/// Listens on all addresses and waits until the system has confirmed each.
async fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[Multiaddr]) -> Result<(), Error> {
    let mut open = HashMap::new();
    for address in addresses {
        let failed = |reason: String| Error::Listen {
            address: address.clone(),
            reason,
        };
        let listener = swarm
            .listen_on(address.clone())
            .map_err(|error| failed(error.to_string()))?;
        open.insert(listener, address);
    }
    let confirmed = async {
        while !open.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr {
                    listener_id,
                    address,
                } => {
                    open.remove(&listener_id);
                    tracing::info!(%address, "listening");
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason,
                    ..
                } => {
                    if let Some(address) = open.remove(&listener_id) {
                        let reason = format!("listener closed: {reason:?}");
                        return Err(Error::Listen {
                            address: address.clone(),
                            reason,
                        });
                    }
                }
                // Nothing was dialed; connections that come in this early are told to come again.
                SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                    swarm.close_connection(connection_id);
                }
                _ => {}
            }
        }
        Ok(())
    };
    match tokio::time::timeout(LISTEN, confirmed).await {
        Ok(result) => result,
        Err(_) => match open.into_values().next() {
            Some(address) => {
                let reason = format!("no confirmation within {LISTEN:?}");
                Err(Error::Listen {
                    address: address.clone(),
                    reason,
                })
            }
            None => Ok(()),
        },
    }
}
