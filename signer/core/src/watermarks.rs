//! What must never go down: exported from one state and imported into another, as EIP-3076 does for validators.
//!
//! Raising a mark makes a signer sign less, never more, so an import needs nobody's permission and proves nothing: whether
//! the state may sign at all is for rules `fresh` and `counter`.

use crate::clock::WindowTime;
use crate::state::{PegOutState, Proposed, VoteState};
use alys_protocol::bytes::BlockId;
use alys_protocol::units::{BurnSequence, SideHeight, Slot};
use serde::{Deserialize, Serialize};

/// The marks of a signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// The highest slot of a vote or a proposal: nothing is signed in it or below.
    pub last_slot: Slot,
    /// No block below this height is built on.
    pub lock: SideHeight,
    /// No burn below this number is paid.
    pub next_burn: BurnSequence,
}

impl Watermarks {
    /// The marks of a state.
    pub fn of(vote: &VoteState, pegout: &PegOutState) -> Self {
        let proposed = vote.proposed.as_ref().map(|proposed| proposed.slot);
        Self {
            last_slot: vote.last_slot.max(proposed.unwrap_or_default()),
            lock: vote.lock,
            next_burn: pegout.next_burn,
        }
    }
}

impl VoteState {
    /// After marks were raised: nothing at or below the slot, no block below the lock, and no mints until the window of
    /// mints that nobody remembers has passed.
    ///
    /// No repeats either: what an old copy recorded may never have been released, and another one have signed otherwise.
    #[must_use]
    pub fn raised(&self, marks: &Watermarks, now: WindowTime) -> Self {
        // Proposals go by the last proposal's slot alone.
        let proposed = self.proposed.as_ref().map(|proposed| proposed.slot);
        let mut next = Self {
            last_slot: self.last_slot.max(marks.last_slot),
            lock: self.lock.max(marks.lock),
            voted: None,
            proposed: Some(Proposed {
                slot: proposed.unwrap_or_default().max(marks.last_slot),
                // A hash that no block has, so that none is a repeat.
                block: BlockId::ZERO,
            }),
            mint_window: self.mint_window.clone(),
        };
        next.fill_windows(now);
        next
    }
}

impl PegOutState {
    /// After marks were raised: no burn below `next_burn` is ever paid, not in a new batch, nor by a repeat or
    /// replacement.
    ///
    /// Gaps and families go, since another copy may have signed batches with the same burns and other inputs. A batch
    /// of later burns that spends a forgotten family's inputs conflicts with it on Bitcoin, so nothing is paid twice.
    #[must_use]
    pub fn raised(&self, marks: &Watermarks, now: WindowTime) -> Self {
        let mut next = self.clone();
        next.next_burn = next.next_burn.max(marks.next_burn);
        next.gaps.clear();
        next.families.clear();
        next.fill_windows(now);
        next
    }
}
