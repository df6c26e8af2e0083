//! Connections coming, failing and going; finding more peers.

use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, identify, kad, ping};

use super::Service;
use crate::address;
use crate::event::{NetworkEvent, RefusalReason};
use crate::peers::{MAX_CLAIMED_ADDRESSES, Stage};
use crate::telemetry;

/// Pings in a row that may fail before the connection counts as dead.
const MAX_FAILED_PINGS: u32 = 2;

impl Service {
    pub(super) fn on_connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) {
        self.peers.connected(peer, connection, endpoint, now);
        tracing::debug!(%peer, address = %endpoint.get_remote_address(), dialer = endpoint.is_dialer(), "connected");
        if endpoint.is_dialer() {
            self.send_status(peer, None, now);
        }
    }

    pub(super) fn on_disconnected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        cause: Option<&ConnectionError>,
        now: Instant,
    ) {
        let Some(gone) = self.peers.disconnected(&peer, connection) else {
            return;
        };
        tracing::debug!(%peer, ?cause, "disconnected");
        self.dialer.failed(&peer, now);
        match gone.stage {
            Stage::Ready(_) => {
                self.outbox.disconnected(peer);
                telemetry::peers(self.peers.ready_count());
            }
            // It left while it was being told why it is refused.
            Stage::Refused { .. } => self.cut_off(peer, now),
            Stage::AwaitingStatus => {}
        }
    }

    pub(super) fn on_dial_failed(&mut self, peer: PeerId, error: &DialError, now: Instant) {
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            return;
        }
        telemetry::dial_failed();
        tracing::debug!(%peer, %error, "dial failed");
        if let DialError::WrongPeerId { obtained, address } = error
            && self.dialer.is_permanent(&peer)
        {
            let reason = RefusalReason::WrongIdentity {
                address: address.clone(),
                found: *obtained,
            };
            tracing::warn!(%peer, %reason, "a configured address belongs to someone else");
            telemetry::refused(&reason);
            self.try_emit("peer_refused", NetworkEvent::PeerRefused { peer, reason });
        }
        if !self.swarm.is_connected(&peer) {
            self.dialer.failed(&peer, now);
        }
    }

    /// Dials whoever is due.
    pub(super) fn dial(&mut self, now: Instant) {
        let want_more = self.peers.ready_count()
            < usize::try_from(self.limits.target_peers).unwrap_or(usize::MAX);
        let due = self.dialer.due(now, want_more, |peer| {
            self.peers.get(peer).is_some() || self.blocked.contains(peer)
        });
        for (peer, addresses) in due {
            let options = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses)
                .extend_addresses_through_behaviour()
                .build();
            if let Err(error) = self.swarm.dial(options) {
                self.on_dial_failed(peer, &error, now);
            }
        }
    }

    pub(super) fn on_ping_event(&mut self, event: &ping::Event) {
        let failures = self
            .peers
            .pinged(&event.peer, event.connection, event.result.is_ok());
        if failures >= MAX_FAILED_PINGS {
            tracing::debug!(peer = %event.peer, "no answer to pings, closing the connection");
            self.swarm.close_connection(event.connection);
        }
    }

    pub(super) fn on_identify_event(&mut self, event: identify::Event) {
        let identify::Event::Received {
            peer_id: peer,
            info,
            ..
        } = event
        else {
            return;
        };
        let kademlia = &self.swarm.behaviour().kademlia;
        if !info
            .protocols
            .iter()
            .any(|protocol| kademlia.protocol_names().contains(protocol))
        {
            return;
        }
        let claimed: Vec<_> = info
            .listen_addrs
            .into_iter()
            .map(|address| without_peer(address, peer))
            .filter(|address| address::is_believable(address, self.believe_loopback))
            .take(MAX_CLAIMED_ADDRESSES)
            .collect();
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        entry.claimed = claimed;
        if matches!(entry.stage, Stage::Ready(_)) {
            self.make_findable(peer);
        }
    }

    /// Puts a peer that completed the handshake into the routing table, from where others hear of it.
    pub(super) fn make_findable(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get(&peer) else {
            return;
        };
        for address in &entry.claimed {
            self.swarm
                .behaviour_mut()
                .kademlia
                .add_address(&peer, address.clone());
        }
    }

    pub(super) fn on_kademlia_event(&mut self, event: kad::Event, now: Instant) {
        if let kad::Event::RoutingUpdated {
            peer,
            is_new_peer: true,
            ..
        } = event
            && peer != *self.swarm.local_peer_id()
        {
            self.dialer.add_discovered(peer, now);
        }
    }
}

/// Drops a final `/p2p/<peer>`.
fn without_peer(mut address: Multiaddr, peer: PeerId) -> Multiaddr {
    use libp2p::multiaddr::Protocol;
    if matches!(address.iter().last(), Some(Protocol::P2p(last)) if last == peer) {
        address.pop();
    }
    address
}
