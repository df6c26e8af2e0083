//! Announcements of peers coming and going, which must not be lost when the event queue is full.

use std::collections::VecDeque;

use libp2p::PeerId;

use crate::event::NetworkEvent;
use crate::message::StatusMessage;

/// Announcements not yet delivered. At most two per peer: one that it went and one that it came back, so the
/// number of connected peers bounds the memory however long the application sleeps.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<NetworkEvent>);

impl Outbox {
    pub(crate) fn connected(&mut self, peer: PeerId, status: StatusMessage) {
        self.0
            .push_back(NetworkEvent::PeerConnected { peer, status });
    }

    /// If the peer's coming has not been announced yet, neither needs its going.
    pub(crate) fn disconnected(&mut self, peer: PeerId) {
        let unannounced = self.0.iter().position(
            |event| matches!(event, NetworkEvent::PeerConnected { peer: p, .. } if *p == peer),
        );
        match unannounced {
            Some(index) => {
                self.0.remove(index);
            }
            None => self.0.push_back(NetworkEvent::PeerDisconnected { peer }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<NetworkEvent> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Heads, Software};

    fn status() -> StatusMessage {
        let heads = Heads::default();
        StatusMessage {
            spec_digest: [0; 32],
            genesis_id: [0; 32],
            certified_height: heads.certified_height,
            certified_id: heads.certified_id,
            final_height: heads.final_height,
            final_id: heads.final_id,
            pow_final_height: heads.pow_final_height,
            software: Software::try_from("test").unwrap(),
        }
    }

    #[test]
    fn unannounced_visits_leave_no_trace() {
        let mut outbox = Outbox::default();
        let peer = PeerId::random();
        for _ in 0..100 {
            outbox.connected(peer, status());
            outbox.disconnected(peer);
        }
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_flapping_peer_takes_two_places() {
        let mut outbox = Outbox::default();
        let peer = PeerId::random();
        outbox.connected(peer, status());
        assert!(matches!(
            outbox.pop(),
            Some(NetworkEvent::PeerConnected { .. })
        ));
        for _ in 0..100 {
            outbox.disconnected(peer);
            outbox.connected(peer, status());
        }
        assert_eq!(outbox.0.len(), 2);
        assert!(matches!(
            outbox.pop(),
            Some(NetworkEvent::PeerDisconnected { .. })
        ));
        assert!(matches!(
            outbox.pop(),
            Some(NetworkEvent::PeerConnected { .. })
        ));
    }
}
