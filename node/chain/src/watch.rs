//! Whether the peg stands still: what follows from one more look at our own Bitcoin node (design 8 and 9).

use crate::ledger::{Halt, PegState};
use alys_protocol::peg::Cursor;
use alys_protocol::units::{BtcHeight, Slot};
use bitcoin::BlockHash;
use thiserror::Error;

/// What the best chain of our Bitcoin node has at the height of a ledger's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorPlace {
    /// The cursor's block.
    OnBestChain,
    /// Another block.
    Reorganised(DeepReorganisation),
    /// Nothing yet: a node that starts or catches up has fewer blocks. It says nothing about the cursor's block.
    Above {
        /// The cursor's height.
        cursor: BtcHeight,
        /// The tip's height.
        tip: BtcHeight,
    },
}

/// A block whose transactions the chain has consumed is no longer part of Bitcoin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "Bitcoin was reorganised deeper than the peg's cursor: expected block {expected} at height {height}, found {found}"
)]
pub struct DeepReorganisation {
    /// The cursor's height.
    pub height: BtcHeight,
    /// The cursor's block.
    pub expected: BlockHash,
    /// The best chain's block at that height.
    pub found: BlockHash,
}

/// Compares a cursor with the best chain: its block at the cursor's height, if it has one, and its tip.
pub fn cursor_place(cursor: &Cursor, at_height: Option<BlockHash>, tip: BtcHeight) -> CursorPlace {
    match at_height {
        Some(found) if found == cursor.hash => CursorPlace::OnBestChain,
        Some(found) => CursorPlace::Reorganised(DeepReorganisation {
            height: cursor.height,
            expected: cursor.hash,
            found,
        }),
        None => CursorPlace::Above {
            cursor: cursor.height,
            tip,
        },
    }
}

/// Why this node takes no part in peg-outs, and mints nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PegHalt {
    /// In the ledger, and so on every node.
    #[error("PEG HALTED: {0}")]
    UnrecordedSpend(Halt),
    /// On our Bitcoin node's best chain.
    #[error("PEG HALTED: {0}")]
    Reorganised(DeepReorganisation),
}

/// Slots for which an answer of the Bitcoin node counts: a node that is silent for longer may be on another branch by now.
pub const FOOTING_SLOTS: u64 = 15;

/// What this node knows of the peg's footing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Footing {
    /// The Bitcoin node did not answer since the start or for [`FOOTING_SLOTS`], or has too few blocks to tell: no peg-out
    /// is signed meanwhile.
    #[default]
    Unknown,
    /// The cursor's block is on the best chain.
    Firm {
        /// The slot in which the Bitcoin node said so last.
        seen: Slot,
    },
    /// The peg stands still.
    Halted(PegHalt),
}

/// What a node does with a block that records a batch, before it asks its signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchVote {
    /// Ask the signer.
    Ask,
    /// Ask when the Bitcoin node has answered: a refusal would be final for the block.
    Wait,
    /// Refuse.
    Refuse(PegHalt),
}

impl Footing {
    /// What follows in `slot` from the ledger at the head, and from what the Bitcoin node says of its cursor: `None` where
    /// it was not asked anew, or could not be.
    ///
    /// "A reorg deeper than the cursor halts the peg loudly and mints nothing." "A federation UTXO spent by an
    /// unrecorded transaction halts the peg." The first ends only when the best chain has the cursor's block again: not
    /// while the Bitcoin node does not answer, or is short of blocks.
    #[must_use]
    pub fn after(self, ledger: &PegState, seen: Option<CursorPlace>, slot: Slot) -> Self {
        if let Some(halt) = ledger.halt() {
            return Self::Halted(PegHalt::UnrecordedSpend(*halt));
        }
        match seen {
            Some(CursorPlace::OnBestChain) => Self::Firm { seen: slot },
            Some(CursorPlace::Reorganised(deep)) => Self::Halted(PegHalt::Reorganised(deep)),
            Some(CursorPlace::Above { .. }) => match self {
                Self::Unknown | Self::Firm { .. } => Self::Unknown,
                Self::Halted(_) => self,
            },
            None => match self {
                Self::Firm { seen } if slot > seen.saturating_add(FOOTING_SLOTS) => Self::Unknown,
                Self::Unknown | Self::Firm { .. } | Self::Halted(_) => self,
            },
        }
    }

    /// Why the peg stands still, if it does.
    pub const fn halt(&self) -> Option<&PegHalt> {
        match self {
            Self::Halted(halt) => Some(halt),
            Self::Unknown | Self::Firm { .. } => None,
        }
    }

    /// Whether this node may sign, pass on and broadcast peg-outs.
    pub const fn is_firm(&self) -> bool {
        matches!(self, Self::Firm { .. })
    }

    /// Whether the signer is asked about a block that records a batch.
    pub const fn batch_vote(&self) -> BatchVote {
        match self {
            Self::Firm { .. } => BatchVote::Ask,
            Self::Unknown => BatchVote::Wait,
            Self::Halted(halt) => BatchVote::Refuse(*halt),
        }
    }
}
