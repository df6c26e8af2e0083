//! When to propose, and on what.

use super::Consensus;
use crate::message::{Output, UnixMs};
use crate::tree::{BlockRef, Validity};

/// A leader that misses the certificate of the slot before waits for it for this part of its slot.
const WAIT_PART: u64 = 4;

impl Consensus {
    pub(super) fn wait_until(&self) -> Option<UnixMs> {
        let part = self.slot_ms().checked_div(WAIT_PART)?;
        let start = self.slot.start_ms(self.slot_ms())?;
        start.checked_add(part).map(UnixMs::new)
    }

    /// Design 5, 1: the leader extends the tip of a longest certified chain it knows.
    pub(super) fn propose(&mut self, out: &mut Vec<Output>) {
        let leads = self.member == Some(self.tree.chain().roster().leader(self.slot));
        if !leads || self.halted || self.slot <= self.proposed {
            return;
        }
        let head = self.tree.head();
        // A longer certified chain that is not validated here yet: a block on this shorter one would find no votes.
        if head.height < self.tree.longest_certified() || self.is_worth_waiting(head) {
            return;
        }
        let slot_before = self.tree.header(head.id).map(|header| header.slot);
        let (Some(implied_final), Some(needs_pow)) = (
            self.tree.implied_final_of_child(head.id),
            self.tree.needs_pow(head.id),
        ) else {
            return;
        };
        if slot_before.is_none_or(|before| before >= self.slot) {
            return;
        }
        self.proposed = self.slot;
        out.push(Output::Propose {
            slot: self.slot,
            parent: head,
            implied_final,
            needs_pow,
        });
    }

    /// The slot before has a block on the head whose certificate is about to come.
    fn is_worth_waiting(&self, head: BlockRef) -> bool {
        let before = self.slot.saturating_sub(1);
        self.wait_until().is_some_and(|wait| self.now < wait)
            && self.tree.at_slot(before).iter().any(|id| {
                *id != head.id
                    && self
                        .tree
                        .header(*id)
                        .is_some_and(|header| header.parent == head.id)
                    && self.tree.validity(*id) != Some(Validity::Invalid)
            })
    }
}
