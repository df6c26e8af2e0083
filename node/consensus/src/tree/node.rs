//! One block of the tree.

use crate::tree::anchor::Anchor;
use crate::tree::error::InsertError;
use crate::verified::{VerifiedCertificate, VerifiedProposal};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;
use alys_protocol::history::Peaks;
use alys_protocol::spec::Chain;
use alys_protocol::units::SideHeight;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Blocks in consecutive slots whose certificates make the second one final (Streamlet, section 3).
pub(crate) const FINALISING_RUN: u8 = 3;

/// A block's id with its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// The height.
    pub height: SideHeight,
    /// The id.
    pub id: BlockId,
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} at height {}", self.id, self.height)
    }
}

/// What this node knows of a block's payload and peg rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// Not judged yet.
    Unknown,
    /// All rules hold, for it and for all below it.
    Valid,
    /// It, or a block below it, breaks a rule.
    Invalid,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) header: Header,
    pub(super) signature: Option<BlsSignature>,
    pub(super) history: Peaks,
    /// Blocks with parent links in consecutive slots that end here, genesis not counted, no more than
    /// [`FINALISING_RUN`].
    pub(super) run: u8,
    /// F of this block.
    pub(super) implied_final: BlockRef,
    pub(super) certificate: Option<VerifiedCertificate>,
    pub(super) validity: Validity,
    pub(super) settled: bool,
    pub(super) children: Vec<BlockId>,
    id: BlockId,
}

impl Node {
    pub(super) fn root(anchor: &Anchor, certificate: Option<VerifiedCertificate>) -> Self {
        Self {
            id: anchor.header.id(),
            header: anchor.header.clone(),
            signature: None,
            history: anchor.history.clone(),
            run: anchor.run.min(FINALISING_RUN),
            implied_final: anchor.implied_final,
            certificate,
            validity: Validity::Valid,
            settled: true,
            children: Vec::new(),
        }
    }

    /// The node of a child, if its header follows from this one.
    pub(super) fn child(
        &self,
        chain: &Chain,
        proposal: &VerifiedProposal,
    ) -> Result<Self, InsertError> {
        let header = proposal.header();
        let expected = self.header.height.saturating_add(1);
        if header.height != expected {
            return Err(InsertError::Height {
                expected,
                found: header.height,
            });
        }
        if header.slot <= self.header.slot {
            return Err(InsertError::Slot {
                parent: self.header.slot,
                found: header.slot,
            });
        }
        let found = proposal
            .parent_certificate()
            .map(VerifiedCertificate::block);
        // Design 5: exactly one certificate of the parent sits in a block's body, none at height 1.
        let needed = (self.id != chain.genesis_id()).then_some(self.id);
        if found != needed {
            return Err(InsertError::ParentCertificate {
                parent: self.id,
                found,
            });
        }
        let history = self.history.append(chain.id(), self.id)?;
        let root = history.root(chain.id());
        if header.history_root != root {
            return Err(InsertError::HistoryRoot {
                expected: root,
                found: header.history_root,
            });
        }
        // Genesis is never one of the three.
        let consecutive =
            self.id != chain.genesis_id() && header.slot == self.header.slot.saturating_add(1);
        let run = if consecutive {
            self.run.saturating_add(1).min(FINALISING_RUN)
        } else {
            1
        };
        Ok(Self {
            id: proposal.id(),
            header: header.clone(),
            signature: Some(*proposal.signature()),
            history,
            run,
            implied_final: self.implied_final_of_child(),
            certificate: None,
            validity: Validity::Unknown,
            settled: false,
            children: Vec::new(),
        })
    }

    pub(super) const fn block_ref(&self) -> BlockRef {
        BlockRef {
            height: self.header.height,
            id: self.id,
        }
    }

    pub(super) const fn parent_ref(&self) -> BlockRef {
        BlockRef {
            height: self.header.height.saturating_sub(1),
            id: self.header.parent,
        }
    }

    /// The block that this one's certificate makes final, if it ends a run of three: the second of them.
    pub(super) fn finalises(&self) -> Option<BlockRef> {
        (self.run >= FINALISING_RUN).then(|| self.parent_ref())
    }

    pub(super) fn implied_final_of_child(&self) -> BlockRef {
        self.finalises().unwrap_or(self.implied_final)
    }

    pub(super) fn anchor(&self) -> Anchor {
        Anchor {
            header: self.header.clone(),
            history: self.history.clone(),
            run: self.run,
            implied_final: self.implied_final,
        }
    }
}
