//! What goes into the state machine and what comes out.

use crate::evidence::Evidence;
use crate::tree::{BlockRef, InsertError};
use crate::verified::{VerifiedApproval, VerifiedCertificate, VerifiedProposal};
use alys_protocol::bytes::BlockId;
use alys_protocol::units::{SideHeight, Slot};

/// Unix time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(u64);

impl UnixMs {
    /// Wraps milliseconds since the Unix epoch.
    pub const fn new(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Where the member's signer stands, as its status says. Only a hint that saves pointless requests: the signer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VotingState {
    /// Slot of its last vote.
    pub last_slot: Slot,
    /// The highest certified height it was shown.
    pub lock: SideHeight,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time passed. Needed at [`Consensus::next_deadline`](crate::Consensus::next_deadline); more often does no harm.
    Tick(UnixMs),
    /// A block arrived: as a proposal, by range or by id, from a peer or from this node's own store.
    Proposal(Box<VerifiedProposal>),
    /// The answer to [`Output::Validate`]: payload and peg rules hold.
    Valid(BlockId),
    /// The answer to [`Output::Validate`]: a rule is broken, whenever one looks.
    Invalid(BlockId),
    /// The answer to [`Output::Validate`]: something cannot be looked up yet. Asked again at a later tick.
    Undecided(BlockId),
    /// A member's approval arrived.
    Approval(VerifiedApproval),
    /// A certificate arrived, or the shell made it from [`Output::Aggregate`].
    Certificate(VerifiedCertificate),
    /// The answer to [`Output::AskSigner`]: the member's own approval.
    SignerApproved(VerifiedApproval),
    /// The answer to [`Output::AskSigner`]: refused, or no answer in time. Not asked again about this block.
    SignerRefused(BlockId),
}

/// Something to do. Outputs are in the order in which they are to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// This member leads the slot: build a block on `parent`, have the signer sign it, send it, and put it in as
    /// [`Input::Proposal`]. At most once per slot.
    Propose {
        /// The slot, which is the current one.
        slot: Slot,
        /// The certified tip to extend; its certificate is [`BlockTree::certificate`](crate::BlockTree::certificate).
        parent: BlockRef,
        /// F(B) of the block to build: the last block that its proof-of-work record may finalise.
        implied_final: BlockRef,
        /// Whether the block needs a proof-of-work record; without one, leave the slot empty.
        needs_pow: bool,
    },
    /// Validate the block fully, then answer. Its parent is valid.
    Validate(BlockId),
    /// Ask the member's signer to approve the block, then answer.
    AskSigner(BlockId),
    /// Send this member's approval to the others.
    Broadcast(VerifiedApproval),
    /// A quorum approved one block: call [`VerifiedCertificate::aggregate`], put the result in as
    /// [`Input::Certificate`].
    Aggregate(Vec<VerifiedApproval>),
    /// The first certificate of a block in the tree: store it.
    Certified(VerifiedCertificate),
    /// The tip of the longest certified and valid chain changed: the execution client's `latest`.
    Head(BlockRef),
    /// These blocks became final, oldest first: the last one is the execution client's `safe`.
    Final(Vec<BlockRef>),
    /// Fetch a block that peers refer to: from this node's own store (one below the tree's root may be meant), else from
    /// a peer; put it in as [`Input::Proposal`]. Repeated once per slot while it is missing. Where `height` is far above
    /// the head, fetch the range between instead.
    Fetch {
        /// Its id.
        id: BlockId,
        /// Its height, where known.
        height: Option<SideHeight>,
    },
    /// A block was not taken in; the sender may be at fault ([`InsertError::is_senders_fault`]).
    Rejected {
        /// The block.
        id: BlockId,
        /// Why.
        reason: InsertError,
    },
    /// Something that should never happen.
    Alarm(Box<Evidence>),
}
