//! Limits on connections.
//!
//! libp2p's own `connection-limits` 0.7 counts the connections of exempt peers against the limits of the others, and
//! keeps an entry for every peer that ever connected. This one does neither.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::config::Limits;

/// Inbound connections that may be in their cryptographic handshake at once.
const MAX_PENDING_INBOUND: usize = 64;
/// Those from one address: somebody who lets handshakes hang must not keep members out.
const MAX_PENDING_OF_ADDRESS: usize = 16;

/// A connection above a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("connection limit reached: at most {limit} {kind}")]
pub(crate) struct Full {
    limit: usize,
    kind: &'static str,
}

#[derive(Debug)]
struct Connection {
    peer: PeerId,
    inbound: bool,
}

/// Refuses connections above the limits. Bootnodes and members are exempt from, and not counted against, all but the
/// limit per peer.
#[derive(Debug)]
pub(crate) struct Guard {
    exempt: HashSet<PeerId>,
    max_total: usize,
    max_inbound: usize,
    max_per_peer: usize,
    pending_inbound: HashMap<ConnectionId, Option<IpAddr>>,
    established: HashMap<ConnectionId, Connection>,
}

impl Guard {
    pub(crate) fn new(limits: &Limits, exempt: impl IntoIterator<Item = PeerId>) -> Self {
        let count = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
        let max_total = count(limits.max_peers);
        Self {
            exempt: exempt.into_iter().collect(),
            max_total,
            max_inbound: max_total.saturating_sub(max_total / 4),
            max_per_peer: count(limits.max_connections_per_peer),
            pending_inbound: HashMap::new(),
            established: HashMap::new(),
        }
    }

    fn admit_pending(&mut self, connection: ConnectionId, from: &Multiaddr) -> Result<(), Full> {
        let from = from.ip_addr().map(|ip| ip.to_canonical());
        let own = self.pending_inbound.values().filter(|ip| **ip == from);
        check(
            own.count(),
            MAX_PENDING_OF_ADDRESS,
            "inbound handshakes from one address",
        )?;
        check(
            self.pending_inbound.len(),
            MAX_PENDING_INBOUND,
            "inbound handshakes",
        )?;
        self.pending_inbound.insert(connection, from);
        Ok(())
    }

    fn admit(&self, peer: &PeerId, inbound: bool) -> Result<(), Full> {
        let count = |counts: &dyn Fn(&Connection) -> bool| {
            self.established
                .values()
                .filter(|connection| counts(connection))
                .count()
        };
        let own = count(&|connection| connection.peer == *peer);
        check(own, self.max_per_peer, "connections of one peer")?;
        if self.exempt.contains(peer) {
            return Ok(());
        }
        let counted = |connection: &Connection| !self.exempt.contains(&connection.peer);
        check(count(&counted), self.max_total, "connections")?;
        if inbound {
            let inbound = count(&|connection| connection.inbound && counted(connection));
            check(inbound, self.max_inbound, "inbound connections")?;
        }
        Ok(())
    }
}

fn check(current: usize, limit: usize, kind: &'static str) -> Result<(), Full> {
    if current < limit {
        Ok(())
    } else {
        Err(Full { limit, kind })
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit_pending(connection, from)
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending_inbound.remove(&connection);
        self.admit(&peer, true).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer, false).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let inbound = matches!(event.endpoint, ConnectedPoint::Listener { .. });
                let connection = Connection {
                    peer: event.peer_id,
                    inbound,
                };
                self.established.insert(event.connection_id, connection);
            }
            FromSwarm::ConnectionClosed(event) => {
                self.established.remove(&event.connection_id);
            }
            FromSwarm::ListenFailure(event) => {
                self.pending_inbound.remove(&event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        never: THandlerOutEvent<Self>,
    ) {
        match never {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(guard: &mut Guard, id: usize, peer: PeerId, inbound: bool) -> Result<(), Full> {
        guard.admit(&peer, inbound)?;
        let connection = Connection { peer, inbound };
        let id = ConnectionId::new_unchecked(id);
        guard.established.insert(id, connection);
        Ok(())
    }

    #[test]
    fn members_neither_need_nor_take_places() {
        let limits = Limits {
            max_peers: 4,
            ..Limits::default()
        };
        let member = PeerId::random();
        let mut guard = Guard::new(&limits, [member]);
        connect(&mut guard, 0, member, true).unwrap();
        for id in 1..=3 {
            connect(&mut guard, id, PeerId::random(), true).unwrap();
        }
        let full = connect(&mut guard, 4, PeerId::random(), true).unwrap_err();
        assert_eq!(
            full.to_string(),
            "connection limit reached: at most 3 inbound connections"
        );
        connect(&mut guard, 4, PeerId::random(), false).unwrap();
        let full = connect(&mut guard, 5, PeerId::random(), false).unwrap_err();
        assert_eq!(
            full.to_string(),
            "connection limit reached: at most 4 connections"
        );
        connect(&mut guard, 5, member, true).unwrap();
        let full = connect(&mut guard, 6, member, false).unwrap_err();
        assert_eq!(full.kind, "connections of one peer");
    }

    #[test]
    fn handshakes_are_bounded() {
        let mut guard = Guard::new(&Limits::default(), []);
        let from =
            |host: usize| -> Multiaddr { format!("/ip4/10.0.0.{host}/tcp/1").parse().unwrap() };
        let mut begin = |id, host| {
            let id = ConnectionId::new_unchecked(id);
            guard
                .admit_pending(id, &from(host))
                .map_err(|full| full.kind)
        };
        for id in 0..MAX_PENDING_OF_ADDRESS {
            assert_eq!(begin(id, 0), Ok(()));
        }
        assert_eq!(begin(100, 0), Err("inbound handshakes from one address"));
        for id in MAX_PENDING_OF_ADDRESS..MAX_PENDING_INBOUND {
            assert_eq!(begin(id, 1 + id / MAX_PENDING_OF_ADDRESS), Ok(()));
        }
        assert_eq!(begin(101, 200), Err("inbound handshakes"));
        let first = ConnectionId::new_unchecked(0);
        guard.pending_inbound.remove(&first);
        guard.admit_pending(first, &from(0)).unwrap();
    }
}
