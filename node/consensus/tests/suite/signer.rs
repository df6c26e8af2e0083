//! A small model of the signer's voting rules, written from design 5 alone: nodes never link the signer's core. Rules
//! can be taken away, to show what each is for.

use alys_protocol::bytes::BlockId;
use std::collections::BTreeSet;

/// A rule that a test takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Removed {
    /// Slots need only be distinct, not increasing.
    IncreasingSlots,
    /// The parent's certificate is not asked for.
    ParentCertified,
    /// The lock: parent.height >= the highest certified height seen.
    Lock,
}

/// Why the model refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Slot,
    ParentSlot,
    ParentCertified,
    Lock,
}

/// What a vote is asked for, in numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) slot: u64,
    pub(crate) parent_slot: u64,
    pub(crate) parent_height: u64,
    pub(crate) parent_certified: bool,
}

/// One signer's durable state.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Signer {
    pub(crate) last_slot: u64,
    pub(crate) lock: u64,
    /// Kept only where slots need only be distinct.
    voted: BTreeSet<u64>,
}

impl Signer {
    /// Whether the rules allow the vote; if so, it is recorded.
    pub(crate) fn vote(
        &mut self,
        request: Request,
        removed: Option<Removed>,
    ) -> Result<(), Refused> {
        let fresh = if removed == Some(Removed::IncreasingSlots) {
            !self.voted.contains(&request.slot)
        } else {
            request.slot > self.last_slot
        };
        if !fresh {
            return Err(Refused::Slot);
        }
        if request.slot <= request.parent_slot {
            return Err(Refused::ParentSlot);
        }
        if !request.parent_certified && removed != Some(Removed::ParentCertified) {
            return Err(Refused::ParentCertified);
        }
        if request.parent_height < self.lock && removed != Some(Removed::Lock) {
            return Err(Refused::Lock);
        }
        if removed == Some(Removed::IncreasingSlots) {
            self.voted.insert(request.slot);
        } else {
            self.last_slot = request.slot;
        }
        if request.parent_certified {
            self.lock = self.lock.max(request.parent_height);
        }
        Ok(())
    }
}

/// A signer that answers a node: a repeated request gets the recorded signature again.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordingSigner {
    pub(crate) signer: Signer,
    last: Option<BlockId>,
}

impl RecordingSigner {
    pub(crate) fn approve(&mut self, id: BlockId, request: Request) -> Result<(), Refused> {
        if self.last == Some(id) {
            return Ok(());
        }
        self.signer.vote(request, None)?;
        self.last = Some(id);
        Ok(())
    }
}

#[test]
fn the_model_has_the_rules() {
    let mut signer = Signer::default();
    let request = |slot, parent_slot, parent_height, parent_certified| Request {
        slot,
        parent_slot,
        parent_height,
        parent_certified,
    };
    assert_eq!(signer.vote(request(5, 4, 3, true), None), Ok(()));
    assert_eq!(
        signer.vote(request(5, 4, 3, true), None),
        Err(Refused::Slot)
    );
    assert_eq!(
        signer.vote(request(6, 6, 3, true), None),
        Err(Refused::ParentSlot)
    );
    let uncertified = request(6, 5, 4, false);
    assert_eq!(
        signer.vote(uncertified, None),
        Err(Refused::ParentCertified)
    );
    assert_eq!(
        signer.vote(request(6, 2, 2, true), None),
        Err(Refused::Lock)
    );
    assert_eq!(
        signer.vote(request(6, 2, 2, true), Some(Removed::Lock)),
        Ok(())
    );
    assert_eq!((signer.last_slot, signer.lock), (6, 3));
}
