//! What should never happen, with what shows that it did.

use crate::tree::BlockRef;
use alys_protocol::bls::BlsSignature;
use alys_protocol::certificate::{Approval, Certificate};
use alys_protocol::header::Header;
use alys_protocol::units::{MemberId, Slot};
use core::fmt;

/// Evidence of a fault, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// A leader signed two headers of one slot.
    DoubleProposal {
        /// The first header seen, with its signature.
        first: (Box<Header>, BlsSignature),
        /// Another one.
        second: (Box<Header>, BlsSignature),
    },
    /// A member approved two blocks of one slot.
    DoubleVote {
        /// The slot of both blocks.
        slot: Slot,
        /// The first approval seen.
        first: Approval,
        /// Another one.
        second: Approval,
    },
    /// Quorums certified two blocks of one slot: more members are Byzantine than tolerated.
    ConflictingCertificates {
        /// The slot of both blocks.
        slot: Slot,
        /// The first certificate seen.
        first: Certificate,
        /// Another one.
        second: Certificate,
    },
    /// A block is certified at the height of a final one, which Streamlet rules out for the second of three
    /// consecutive blocks: more members are Byzantine, or rolled back, than tolerated.
    CertifiedAgainstFinal {
        /// The certified block.
        certified: BlockRef,
        /// The final one.
        final_block: BlockRef,
    },
    /// Two final blocks, neither an ancestor of the other: more members are Byzantine, or rolled back, than tolerated.
    ConflictingFinality {
        /// The one that was final first.
        first: BlockRef,
        /// The other one.
        second: BlockRef,
    },
    /// A quorum certified a block that this node holds to be invalid: the epoch ends (design 5), or this node is wrong.
    CertifiedInvalid(BlockRef),
}

impl Evidence {
    /// Whether the protocol's assumption is broken, so that this node must neither vote nor propose any more.
    pub const fn breaks_safety(&self) -> bool {
        match self {
            Self::DoubleProposal { .. } | Self::DoubleVote { .. } => false,
            Self::ConflictingCertificates { .. }
            | Self::CertifiedAgainstFinal { .. }
            | Self::ConflictingFinality { .. }
            | Self::CertifiedInvalid(_) => true,
        }
    }

    /// The member at fault, where the evidence is against one alone.
    pub const fn member(&self) -> Option<MemberId> {
        match self {
            Self::DoubleVote { first, .. } => Some(first.member),
            Self::DoubleProposal { .. }
            | Self::ConflictingCertificates { .. }
            | Self::CertifiedAgainstFinal { .. }
            | Self::ConflictingFinality { .. }
            | Self::CertifiedInvalid(_) => None,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoubleProposal { first, second } => write!(
                f,
                "the leader of slot {} proposed both {} and {}",
                first.0.slot,
                first.0.id(),
                second.0.id()
            ),
            Self::DoubleVote {
                slot,
                first,
                second,
            } => write!(
                f,
                "member {} approved both {} and {} of slot {slot}",
                first.member, first.block, second.block
            ),
            Self::ConflictingCertificates {
                slot,
                first,
                second,
            } => write!(
                f,
                "SAFETY: quorums certified both {} and {} of slot {slot}",
                first.block, second.block
            ),
            Self::CertifiedAgainstFinal {
                certified,
                final_block,
            } => write!(
                f,
                "SAFETY: {certified} is certified at the height of {final_block}, which is final"
            ),
            Self::ConflictingFinality { first, second } => write!(
                f,
                "SAFETY: {first} and {second} are both final and conflict"
            ),
            Self::CertifiedInvalid(block) => {
                write!(f, "SAFETY: {block} is certified, but invalid for this node")
            }
        }
    }
}
