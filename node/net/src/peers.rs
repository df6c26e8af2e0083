//! Connected peers and how far their handshake is.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use crate::event::{Direction, PeerInfo};
use crate::message::StatusMessage;

/// Addresses kept of what one peer claims.
pub(crate) const MAX_CLAIMED_ADDRESSES: usize = 8;
/// How long the side that was dialed waits for the dialer's status before it asks itself.
const LET_DIALER_BEGIN: Duration = Duration::from_secs(2);

/// How far the handshake with a peer is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Connected; its status is awaited.
    AwaitingStatus,
    /// On the same chain.
    Ready(StatusMessage),
    /// Refused. It may still read why; at `close_at` it is cut off.
    Refused { close_at: Instant },
}

/// A connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Connections and failed pings in a row.
    connections: HashMap<ConnectionId, u32>,
    address: Multiaddr,
    direction: Direction,
    pub(crate) since: Instant,
    pub(crate) stage: Stage,
    /// Where it says that it listens; used once it is ready.
    pub(crate) claimed: Vec<Multiaddr>,
    /// When to exchange statuses again.
    pub(crate) next_status: Instant,
}

/// All connected peers.
#[derive(Debug, Default)]
pub(crate) struct PeerTable(HashMap<PeerId, Peer>);

impl PeerTable {
    pub(crate) fn connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) {
        let entry = self.0.entry(peer).or_insert_with(|| Peer {
            connections: HashMap::new(),
            address: endpoint.get_remote_address().clone(),
            direction: if endpoint.is_dialer() {
                Direction::Outbound
            } else {
                Direction::Inbound
            },
            since: now,
            stage: Stage::AwaitingStatus,
            claimed: Vec::new(),
            // The dialer begins. If it does not, the other side does.
            next_status: now.checked_add(LET_DIALER_BEGIN).unwrap_or(now),
        });
        entry.connections.insert(connection, 0);
    }

    /// Forgets a connection; returns the peer when it was its last.
    pub(crate) fn disconnected(&mut self, peer: &PeerId, connection: ConnectionId) -> Option<Peer> {
        let entry = self.0.get_mut(peer)?;
        entry.connections.remove(&connection);
        if entry.connections.is_empty() {
            self.0.remove(peer)
        } else {
            None
        }
    }

    /// Counts failed pings in a row; returns how many.
    pub(crate) fn pinged(&mut self, peer: &PeerId, connection: ConnectionId, success: bool) -> u32 {
        match self
            .0
            .get_mut(peer)
            .and_then(|peer| peer.connections.get_mut(&connection))
        {
            Some(failures) => {
                *failures = if success {
                    0
                } else {
                    failures.saturating_add(1)
                };
                *failures
            }
            None => 0,
        }
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Peer> {
        self.0.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Peer> {
        self.0.get_mut(peer)
    }

    pub(crate) fn is_ready(&self, peer: &PeerId) -> bool {
        self.0
            .get(peer)
            .is_some_and(|peer| matches!(peer.stage, Stage::Ready(_)))
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.0
            .values()
            .filter(|peer| matches!(peer.stage, Stage::Ready(_)))
            .count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.0.iter()
    }

    /// What the application sees of the peers that completed the handshake.
    pub(crate) fn infos(&self, now: Instant, score: impl Fn(&PeerId) -> f64) -> Vec<PeerInfo> {
        let info = |(id, peer): (&PeerId, &Peer)| match &peer.stage {
            Stage::Ready(status) => Some(PeerInfo {
                peer: *id,
                status: status.clone(),
                address: peer.address.clone(),
                direction: peer.direction,
                connected_for: now.saturating_duration_since(peer.since),
                score: score(id),
            }),
            Stage::AwaitingStatus | Stage::Refused { .. } => None,
        };
        let mut infos: Vec<_> = self.0.iter().filter_map(info).collect();
        infos.sort_by_key(|info| info.peer);
        infos
    }
}
