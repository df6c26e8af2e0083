//! Peers that were refused, and until when.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::PeerId;

/// Peers blocked at once. Identities are free, so beyond this the block that ends first is lifted early.
const MAX_BLOCKED: usize = 4096;

/// When each block ends. The block itself is enforced by libp2p's block list.
#[derive(Debug, Default)]
pub(crate) struct BlockList(HashMap<PeerId, Instant>);

impl BlockList {
    /// Records a block; returns the peer whose block had to make room, if any.
    pub(crate) fn block(&mut self, peer: PeerId, until: Instant) -> Option<PeerId> {
        let displaced = if self.0.len() >= MAX_BLOCKED && !self.0.contains_key(&peer) {
            self.0
                .iter()
                .min_by_key(|(_, until)| **until)
                .map(|(peer, _)| *peer)
        } else {
            None
        };
        if let Some(displaced) = displaced {
            self.0.remove(&displaced);
        }
        self.0.insert(peer, until);
        displaced
    }

    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// Ends the blocks that are over and returns their peers.
    pub(crate) fn lift(&mut self, now: Instant) -> Vec<PeerId> {
        let over: Vec<_> = self
            .0
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &over {
            self.0.remove(peer);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn blocks_end_and_are_bounded() {
        let start = Instant::now();
        let mut list = BlockList::default();
        let first = PeerId::random();
        assert_eq!(list.block(first, start + Duration::from_secs(1)), None);
        for _ in 1..MAX_BLOCKED {
            assert_eq!(
                list.block(PeerId::random(), start + Duration::from_secs(2)),
                None
            );
        }
        assert_eq!(
            list.block(PeerId::random(), start + Duration::from_secs(2)),
            Some(first)
        );
        assert!(!list.contains(&first));
        assert!(list.lift(start + Duration::from_secs(1)).is_empty());
        assert_eq!(list.lift(start + Duration::from_secs(2)).len(), MAX_BLOCKED);
    }
}
