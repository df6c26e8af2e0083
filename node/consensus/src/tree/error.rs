//! Why a header is not taken in.

use crate::tree::BlockRef;
use alys_protocol::bytes::{BlockId, HistoryRoot};
use alys_protocol::history::HistoryError;
use alys_protocol::units::{ChainId, Epoch, SideHeight, Slot};
use thiserror::Error;

/// A header that does not fit the tree: one variant per rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InsertError {
    /// Already in the tree.
    #[error("the block is known already")]
    Duplicate,
    /// Its parent is not in the tree.
    #[error("parent {parent} is not known")]
    UnknownParent {
        /// The parent.
        parent: BlockId,
    },
    /// Its place was decided long ago.
    #[error("expected a height above {root}, which is final and buried, found {found}")]
    BelowRoot {
        /// Height of the tree's root.
        root: SideHeight,
        /// Height found.
        found: SideHeight,
    },
    /// An encoding version that this code does not know.
    #[error("expected header version {expected}, found {found}")]
    Version {
        /// The known version.
        expected: u8,
        /// Version found.
        found: u8,
    },
    /// Another chain's header.
    #[error("expected chain id {expected}, found {found}")]
    ChainId {
        /// This chain.
        expected: ChainId,
        /// Chain id found.
        found: ChainId,
    },
    /// Another epoch's header.
    #[error("expected epoch {expected}, found {found}")]
    Epoch {
        /// This epoch.
        expected: Epoch,
        /// Epoch found.
        found: Epoch,
    },
    /// The height is not the parent's plus one.
    #[error("expected height {expected}, found {found}")]
    Height {
        /// The parent's plus one.
        expected: SideHeight,
        /// Height found.
        found: SideHeight,
    },
    /// The slot is not above the parent's.
    #[error("expected a slot above the parent's {parent}, found {found}")]
    Slot {
        /// The parent's slot.
        parent: Slot,
        /// Slot found.
        found: Slot,
    },
    /// The history is not the parent's with the parent's id.
    #[error("expected history root {expected}, found {found}")]
    HistoryRoot {
        /// Root over all ancestors.
        expected: HistoryRoot,
        /// Root found.
        found: HistoryRoot,
    },
    /// The history cannot grow.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The body's certificate is of another block than the parent.
    #[error("expected a certificate of parent {parent}, found {found:?}")]
    ParentCertificate {
        /// The parent.
        parent: BlockId,
        /// The block that the certificate names, if there is one.
        found: Option<BlockId>,
    },
    /// The slot is too far ahead of this node's clock.
    #[error("expected a slot of at most {at_most}, found {found}")]
    SlotHorizon {
        /// The last acceptable slot.
        at_most: Slot,
        /// Slot found.
        found: Slot,
    },
    /// The slot's leader signed too many headers already; this one is taken once it is certified.
    #[error("expected at most {at_most} headers of slot {slot}")]
    SlotFull {
        /// The slot.
        slot: Slot,
        /// Headers taken.
        at_most: usize,
    },
}

impl InsertError {
    /// Whether the leader who signed the block broke a rule. Not so where the block is merely known, early, or late.
    pub const fn is_senders_fault(&self) -> bool {
        match self {
            Self::Duplicate
            | Self::UnknownParent { .. }
            | Self::BelowRoot { .. }
            | Self::SlotHorizon { .. } => false,
            Self::Version { .. }
            | Self::ChainId { .. }
            | Self::Epoch { .. }
            | Self::Height { .. }
            | Self::Slot { .. }
            | Self::HistoryRoot { .. }
            | Self::History(_)
            | Self::ParentCertificate { .. }
            | Self::SlotFull { .. } => true,
        }
    }
}

/// The tree does not hold this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("block {0} is not known")]
pub struct UnknownBlock(pub BlockId);

/// An anchor that no tree can start from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// The anchor is of another chain or epoch.
    #[error(
        "expected an anchor of chain {expected_chain}, epoch {expected_epoch}, found chain {chain}, epoch {epoch}"
    )]
    Chain {
        /// This chain.
        expected_chain: ChainId,
        /// This epoch.
        expected_epoch: Epoch,
        /// Chain id found.
        chain: ChainId,
        /// Epoch found.
        epoch: Epoch,
    },
    /// The peaks are not those of the header's history.
    #[error("the anchor's history does not fit its header at height {0}")]
    History(SideHeight),
    /// The implied final block is not below the anchor.
    #[error("the anchor {anchor} implies a final block that is not below it, {implied_final}")]
    ImpliedFinal {
        /// The anchor.
        anchor: BlockRef,
        /// What it claims.
        implied_final: BlockRef,
    },
    /// Genesis needs none, every other block its own.
    #[error("expected the certificate of {anchor} (none for genesis), found one of {found:?}")]
    Certificate {
        /// The anchor.
        anchor: BlockRef,
        /// The block that the certificate names, if there is one.
        found: Option<BlockId>,
    },
}
