//! Gossip messages that wait for the application's verdict: bounded in number, bytes and time.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::gossipsub::MessageId;

use crate::event::GossipId;
use crate::topic::Topic;

/// Most messages waiting.
const MAX_MESSAGES: usize = 1024;
/// Most bytes waiting.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// One payer may use up a quarter of both.
const SHARE: usize = 4;

/// A message waiting for its verdict.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) message: MessageId,
    pub(crate) forwarder: PeerId,
    /// Whose share it takes: the author's on topics of members, or else the forwarder's.
    pub(crate) payer: PeerId,
    pub(crate) topic: Topic,
    pub(crate) bytes: usize,
    pub(crate) deadline: Instant,
}

#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    messages: usize,
    bytes: usize,
}

impl Usage {
    fn with(self, bytes: usize) -> Self {
        Self {
            messages: self.messages.saturating_add(1),
            bytes: self.bytes.saturating_add(bytes),
        }
    }

    fn without(self, bytes: usize) -> Self {
        Self {
            messages: self.messages.saturating_sub(1),
            bytes: self.bytes.saturating_sub(bytes),
        }
    }

    const fn fits(self, share: usize) -> bool {
        self.messages <= MAX_MESSAGES / share && self.bytes <= MAX_BYTES / share
    }
}

/// All waiting messages. Ids grow and the time allowed is the same for all, so the order of ids is that of deadlines.
#[derive(Debug, Default)]
pub(crate) struct WaitingRoom {
    next: u64,
    waiting: BTreeMap<GossipId, Waiting>,
    total: Usage,
    by_payer: HashMap<PeerId, Usage>,
}

impl WaitingRoom {
    /// Lets a message wait; `None` if there is no room for it.
    pub(crate) fn enter(&mut self, waiting: Waiting) -> Option<GossipId> {
        let total = self.total.with(waiting.bytes);
        let own = self
            .by_payer
            .get(&waiting.payer)
            .copied()
            .unwrap_or_default()
            .with(waiting.bytes);
        if !total.fits(1) || !own.fits(SHARE) {
            return None;
        }
        self.total = total;
        self.by_payer.insert(waiting.payer, own);
        let id = GossipId(self.next);
        self.next = self.next.wrapping_add(1);
        self.waiting.insert(id, waiting);
        Some(id)
    }

    /// Takes a message out, if it still waits.
    pub(crate) fn leave(&mut self, id: GossipId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.total = self.total.without(waiting.bytes);
        if let Some(own) = self.by_payer.get_mut(&waiting.payer) {
            *own = own.without(waiting.bytes);
            if own.messages == 0 {
                self.by_payer.remove(&waiting.payer);
            }
        }
        Some(waiting)
    }

    /// Takes out a message whose time is over.
    pub(crate) fn leave_expired(&mut self, now: Instant) -> Option<Waiting> {
        let (id, waiting) = self.waiting.first_key_value()?;
        if waiting.deadline > now {
            return None;
        }
        self.leave(*id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn waiting(forwarder: PeerId, bytes: usize, deadline: Instant) -> Waiting {
        Waiting {
            message: MessageId::from("m"),
            forwarder,
            payer: forwarder,
            topic: Topic::Approvals,
            bytes,
            deadline,
        }
    }

    #[test]
    fn messages_leave_once_or_expire() {
        let start = Instant::now();
        let mut room = WaitingRoom::default();
        let peer = PeerId::random();
        let first = room
            .enter(waiting(peer, 10, start + Duration::from_secs(1)))
            .unwrap();
        let second = room
            .enter(waiting(peer, 20, start + Duration::from_secs(2)))
            .unwrap();
        assert_eq!(room.leave(second).unwrap().bytes, 20);
        assert!(room.leave(second).is_none());
        assert!(room.leave_expired(start).is_none());
        assert_eq!(
            room.leave_expired(start + Duration::from_secs(1))
                .unwrap()
                .bytes,
            10
        );
        assert!(room.leave(first).is_none());
        assert!(room.by_payer.is_empty());
        assert_eq!((room.total.messages, room.total.bytes), (0, 0));
    }

    #[test]
    fn one_forwarder_cannot_fill_the_room() {
        let now = Instant::now();
        let mut room = WaitingRoom::default();
        let (flooder, other) = (PeerId::random(), PeerId::random());
        let taken = (0..MAX_MESSAGES)
            .filter(|_| room.enter(waiting(flooder, 1, now)).is_some())
            .count();
        assert_eq!(taken, MAX_MESSAGES / SHARE);
        assert!(room.enter(waiting(other, 1, now)).is_some());
        // A member's message has its author's share, even where it comes by way of the flooder.
        let vote = Waiting {
            payer: other,
            ..waiting(flooder, 1, now)
        };
        let vote = room.enter(vote).unwrap();
        assert_eq!(room.leave(vote).unwrap().forwarder, flooder);
        assert_eq!(room.by_payer[&other].messages, 1);
    }

    #[test]
    fn bytes_are_bounded_for_one_and_for_all() {
        let now = Instant::now();
        let mut room = WaitingRoom::default();
        let large = 4 * 1024 * 1024;
        let mut taken = 0;
        for _ in 0..10 {
            let peer = PeerId::random();
            taken += (0..10)
                .filter(|_| room.enter(waiting(peer, large, now)).is_some())
                .count();
            assert!(room.by_payer[&peer].bytes <= MAX_BYTES / SHARE || taken == 16);
            if taken == MAX_BYTES / large {
                break;
            }
        }
        assert_eq!(taken, MAX_BYTES / large);
        assert!(room.enter(waiting(PeerId::random(), large, now)).is_none());
    }
}
