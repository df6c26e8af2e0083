//! Patience with the peg: signers may refuse to mint, or what a batch pays, for a while, and a leader whose blocks all try
//! to would stop the chain in its slots.
//!
//! A signer refuses deposits while its Bitcoin headers look withheld (`header-pace`), when its window is full
//! (`mint-window`), or under a policy of its own; and batches that pay where its policy denies (`destination`), or skip
//! burns that its officers did not agree to skip (`skip`). A leader cannot ask the others' signers, but sees what becomes
//! of its blocks: after two of a kind that were not certified it proposes blocks that are not of that kind, for twice as
//! long each time. Cursor and batch are two kinds, so that a payment that nobody makes holds up no deposit.

use alys_protocol::bytes::BlockId;
use alys_protocol::units::Slot;

/// Doublings at most: with four members and slots of 2 s, an hour.
const MAX_DOUBLINGS: u32 = 9;

/// What became of this node's blocks of one kind.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// The last one, while it is not known whether it was certified.
    tried: Option<BlockId>,
    /// How many in a row were not.
    failures: u32,
    /// No block of the kind is proposed before this slot.
    until: Slot,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has a certificate, or is final.
    Certified,
    /// It has none.
    Uncertified,
}

impl Patience {
    /// This node proposed a block of the kind.
    pub(crate) fn tried(&mut self, block: BlockId) {
        self.tried = Some(block);
    }

    /// Whether a block in this node's `slot` should not be of the kind. `fate` says what became of a block;
    /// `members` is the number of slots from one of this node's turns to the next.
    pub(crate) fn holds(
        &mut self,
        slot: Slot,
        members: usize,
        fate: impl FnOnce(BlockId) -> Fate,
    ) -> bool {
        match self.tried.take().map(fate) {
            None => {}
            Some(Fate::Certified) => self.failures = 0,
            Some(Fate::Uncertified) => {
                self.failures = self.failures.saturating_add(1);
                // One may be lost on the way.
                if let Some(doublings @ 1..) = self.failures.checked_sub(1) {
                    let turns = 1u64 << doublings.min(MAX_DOUBLINGS);
                    let slots = turns.saturating_mul(members as u64);
                    self.until = slot.saturating_add(slots);
                }
            }
        }
        slot < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: BlockId = BlockId::ZERO;

    /// Slots of this node's turns, one in four, in which the cursor was moved.
    fn moved(turns: u64, fate: impl Fn(u64) -> Fate) -> Vec<u64> {
        let mut patience = Patience::default();
        let mut moved: Vec<u64> = Vec::new();
        for turn in 0..turns {
            let slot = Slot::new(100 + 4 * turn);
            let last = moved.last().copied();
            if !patience.holds(slot, 4, |_| fate(last.unwrap())) {
                patience.tried(BLOCK);
                moved.push(turn);
            }
        }
        moved
    }

    #[test]
    fn blocks_that_are_certified_move_the_cursor_in_every_turn() {
        assert_eq!(moved(20, |_| Fate::Certified).len(), 20);
        // One that was lost changes nothing.
        let lost = |turn| match turn {
            7 => Fate::Uncertified,
            _other => Fate::Certified,
        };
        assert_eq!(moved(20, lost).len(), 20);
    }

    #[test]
    fn refusals_make_room_for_blocks_without_mints_and_the_end_of_them_is_noticed() {
        let refused = moved(100, |_| Fate::Uncertified);
        assert_eq!(refused, [0, 1, 4, 9, 18, 35, 68]);
        let until_30 = moved(60, |turn| match turn {
            0..30 => Fate::Uncertified,
            _later => Fate::Certified,
        });
        assert_eq!(until_30[..6], [0, 1, 4, 9, 18, 35]);
        assert_eq!(until_30[6..], (36..60).collect::<Vec<_>>());
        let ever = moved(1 << 14, |_| Fate::Uncertified);
        let longest = ever.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert_eq!(longest, Some(513), "it tries again for ever");
    }
}
