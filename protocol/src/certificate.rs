//! Approvals and the certificates that they make (design 5).

use crate::bls::{self, BlsError, BlsSignature, Claim};
use crate::bounded::BoundedVec;
use crate::bytes::BlockId;
use crate::header::approval_message;
use crate::spec::Roster;
use crate::units::{ChainId, MemberId};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Members that a roster may have.
pub const MAX_MEMBERS: usize = 64;

/// One member's approval of one block, as gossiped. Nothing in it is verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The approved block.
    pub block: BlockId,
    /// Who approves.
    pub member: MemberId,
    /// Signature over [`approval_message`].
    pub signature: BlsSignature,
}

/// A quorum's approval of one block: who, and one aggregated signature.
///
/// Many byte strings certify the same block, so no hash but the body's covers one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The certified block.
    pub block: BlockId,
    /// Bit `i` of byte `i / 8` (lowest bit first) is set where member `i` approved; no longer than the roster needs.
    pub signers: BoundedVec<u8, { MAX_MEMBERS / 8 }>,
    /// Sum of the approvals' signatures.
    pub signature: BlsSignature,
}

/// A certificate that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// It is about another block.
    #[error("expected a certificate of block {expected}, found one of {found}")]
    Block {
        /// The block in question.
        expected: BlockId,
        /// The block it names.
        found: BlockId,
    },
    /// Its bitfield is not as long as the roster asks, or names members that do not exist.
    #[error(
        "expected a bitfield of {expected} bytes for {members} members, found {found} bytes or a bit beyond the roster"
    )]
    Bitfield {
        /// Bytes expected.
        expected: usize,
        /// Members in the roster.
        members: usize,
        /// Bytes found.
        found: usize,
    },
    /// Too few members.
    #[error("expected approvals of at least {quorum} members, found {found}")]
    Quorum {
        /// Members needed.
        quorum: usize,
        /// Members named.
        found: usize,
    },
    /// Approvals of different blocks, or the same member twice, cannot be added up.
    #[error("approvals to aggregate must be of one block and of distinct roster members")]
    Approvals,
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] BlsError),
}

impl Approval {
    /// Verifies that a roster member approved this block.
    ///
    /// # Errors
    /// - [`CertificateError::Approvals`] where the member is not in the roster;
    /// - [`CertificateError::Signature`] where the signature does not hold.
    pub fn verify(&self, chain_id: ChainId, roster: &Roster) -> Result<(), CertificateError> {
        let member = roster
            .member(self.member)
            .ok_or(CertificateError::Approvals)?;
        Ok(member
            .bls
            .verify(&approval_message(chain_id, self.block), &self.signature)?)
    }
}

impl Certificate {
    /// Adds verified approvals of one block into a certificate.
    ///
    /// # Errors
    /// - [`CertificateError::Approvals`] where they are of different blocks, repeat a member or name a stranger;
    /// - [`CertificateError::Quorum`] where they are too few;
    /// - [`CertificateError::Signature`] where a signature is no curve point.
    pub fn aggregate(roster: &Roster, approvals: &[Approval]) -> Result<Self, CertificateError> {
        let block = approvals
            .first()
            .ok_or(CertificateError::Quorum {
                quorum: roster.quorum(),
                found: 0,
            })?
            .block;
        let mut signers = alloc::vec![0u8; bitfield_length(roster)];
        for approval in approvals {
            let bit = 1u8 << (approval.member.get() % 8);
            let byte = signers
                .get_mut(usize::from(approval.member.get() / 8))
                .ok_or(CertificateError::Approvals)?;
            if approval.block != block
                || *byte & bit != 0
                || roster.member(approval.member).is_none()
            {
                return Err(CertificateError::Approvals);
            }
            *byte |= bit;
        }
        if approvals.len() < roster.quorum() {
            return Err(CertificateError::Quorum {
                quorum: roster.quorum(),
                found: approvals.len(),
            });
        }
        let signatures: Vec<_> = approvals
            .iter()
            .map(|approval| approval.signature)
            .collect();
        Ok(Self {
            block,
            signers: BoundedVec::new(signers).map_err(|_| CertificateError::Approvals)?,
            signature: bls::aggregate(&signatures)?,
        })
    }

    /// The members that it names, in order.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        (0..MAX_MEMBERS as u16).filter_map(|member| {
            let byte = self.signers.get(usize::from(member / 8))?;
            (byte & (1u8 << (member % 8)) != 0).then_some(MemberId::new(member))
        })
    }

    /// Verifies that a quorum of the roster approved `block`.
    ///
    /// # Errors
    /// - one [`CertificateError`] for each thing that can be wrong with it.
    pub fn verify(
        &self,
        chain_id: ChainId,
        roster: &Roster,
        block: BlockId,
    ) -> Result<(), CertificateError> {
        if self.block != block {
            return Err(CertificateError::Block {
                expected: block,
                found: self.block,
            });
        }
        let claim = self.claim(chain_id, roster)?;
        Ok(bls::verify_aggregate(
            &claim.keys,
            &claim.message,
            &claim.signature,
        )?)
    }

    /// All that [`Certificate::verify`] checks of the block that it names, but for the signature, and what remains to be
    /// verified: for [`bls::verify_all`].
    ///
    /// # Errors
    /// - [`CertificateError::Bitfield`], [`CertificateError::Quorum`] as named.
    pub fn claim(&self, chain_id: ChainId, roster: &Roster) -> Result<Claim, CertificateError> {
        let bitfield = CertificateError::Bitfield {
            expected: bitfield_length(roster),
            members: roster.len(),
            found: self.signers.len(),
        };
        if self.signers.len() != bitfield_length(roster) {
            return Err(bitfield);
        }
        let keys = self
            .members()
            .map(|member| roster.member(member).map(|member| member.bls))
            .collect::<Option<Vec<_>>>()
            .ok_or(bitfield)?;
        if keys.len() < roster.quorum() {
            return Err(CertificateError::Quorum {
                quorum: roster.quorum(),
                found: keys.len(),
            });
        }
        Ok(Claim {
            keys,
            message: approval_message(chain_id, self.block),
            signature: self.signature,
        })
    }
}

fn bitfield_length(roster: &Roster) -> usize {
    roster.len().div_ceil(8)
}

#[cfg(test)]
mod tests;
