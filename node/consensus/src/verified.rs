//! Messages whose signatures were checked. The tree and the state machine accept nothing else.

use alys_protocol::block::Proposal;
use alys_protocol::bls::{BlsError, BlsSignature};
use alys_protocol::body::BodyError;
use alys_protocol::bytes::{BlockId, BodyRoot};
use alys_protocol::certificate::{Approval, Certificate, CertificateError};
use alys_protocol::header::Header;
use alys_protocol::spec::Chain;
use alys_protocol::units::MemberId;
use thiserror::Error;

/// An approval that a roster member really gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedApproval(Approval);

impl VerifiedApproval {
    /// Verifies an approval.
    ///
    /// # Errors
    /// - [`CertificateError`] as [`Approval::verify`] has it.
    pub fn verify(chain: &Chain, approval: Approval) -> Result<Self, CertificateError> {
        approval.verify(chain.id(), chain.roster())?;
        Ok(Self(approval))
    }

    /// Takes an approval at its word: for one that this node verified before and kept itself, and for simulators.
    pub const fn assume_verified(approval: Approval) -> Self {
        Self(approval)
    }

    /// The approved block.
    pub const fn block(&self) -> BlockId {
        self.0.block
    }

    /// Who approves.
    pub const fn member(&self) -> MemberId {
        self.0.member
    }

    /// The approval, to send it.
    pub const fn approval(&self) -> &Approval {
        &self.0
    }
}

/// A certificate that a quorum really gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCertificate(Certificate);

impl VerifiedCertificate {
    /// Verifies a certificate of the block that it names.
    ///
    /// # Errors
    /// - [`CertificateError`] as [`Certificate::verify`] has it.
    pub fn verify(chain: &Chain, certificate: Certificate) -> Result<Self, CertificateError> {
        certificate.verify(chain.id(), chain.roster(), certificate.block)?;
        Ok(Self(certificate))
    }

    /// Adds verified approvals into a certificate, which needs no verification again.
    ///
    /// # Errors
    /// - [`CertificateError`] as [`Certificate::aggregate`] has it: never for what
    ///   [`Output::Aggregate`](crate::Output::Aggregate) asks for.
    pub fn aggregate(
        chain: &Chain,
        approvals: &[VerifiedApproval],
    ) -> Result<Self, CertificateError> {
        let approvals: Vec<_> = approvals.iter().map(|approval| approval.0).collect();
        Certificate::aggregate(chain.roster(), &approvals).map(Self)
    }

    /// Takes a certificate at its word: for one that this node verified before and kept itself, and for simulators.
    pub const fn assume_verified(certificate: Certificate) -> Self {
        Self(certificate)
    }

    /// The certified block.
    pub const fn block(&self) -> BlockId {
        self.0.block
    }

    /// The certificate, to send or store it.
    pub const fn certificate(&self) -> &Certificate {
        &self.0
    }
}

/// A proposal with a wrong signature, or whose body does not fit its header.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposalError {
    /// The body is another one.
    #[error("expected a body with root {expected}, found {found}")]
    BodyRoot {
        /// Root in the header.
        expected: BodyRoot,
        /// Root of the body.
        found: BodyRoot,
    },
    /// The body cannot be hashed.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Every body carries its parent's certificate, but for height 1.
    #[error("expected the certificate of parent {parent} in the body, found none")]
    NoParentCertificate {
        /// The parent.
        parent: BlockId,
    },
    /// Genesis has no certificate.
    #[error("expected no certificate in the body of a child of genesis, found one of {found}")]
    GenesisCertificate {
        /// The block that it names.
        found: BlockId,
    },
    /// The parent's certificate does not hold.
    #[error("certificate of the parent: {0}")]
    ParentCertificate(#[from] CertificateError),
    /// The slot's leader did not sign it.
    #[error("signature of member {leader}, the leader: {error}")]
    Leader {
        /// The leader of the header's slot.
        leader: MemberId,
        /// What is wrong.
        error: BlsError,
    },
}

/// A header that its slot's leader signed, with the verified certificate of its parent.
///
/// Says nothing yet about the header's place in the chain ([`BlockTree::insert`](crate::BlockTree::insert)) nor about
/// the execution payload and the peg rules (the shell's validation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedProposal {
    id: BlockId,
    header: Header,
    signature: BlsSignature,
    parent_certificate: Option<VerifiedCertificate>,
}

impl VerifiedProposal {
    /// Verifies, cheapest first, that the body belongs to the header, that it carries the parent's certificate (none
    /// if and only if the parent is genesis), that the leader signed, and that the certificate holds.
    ///
    /// # Errors
    /// - one [`ProposalError`] for each of these that fails.
    pub fn verify(chain: &Chain, proposal: &Proposal) -> Result<Self, ProposalError> {
        let header = &proposal.block.header;
        let body = &proposal.block.body;
        let found = body.root(chain.id())?;
        if found != header.body_root {
            return Err(ProposalError::BodyRoot {
                expected: header.body_root,
                found,
            });
        }
        let certificate = match (
            &body.parent_certificate,
            header.parent == chain.genesis_id(),
        ) {
            (None, true) => None,
            (Some(certificate), false) => Some(certificate),
            (None, false) => {
                return Err(ProposalError::NoParentCertificate {
                    parent: header.parent,
                });
            }
            (Some(certificate), true) => {
                return Err(ProposalError::GenesisCertificate {
                    found: certificate.block,
                });
            }
        };
        let leader = chain.roster().leader(header.slot);
        let bad_leader = |error| ProposalError::Leader { leader, error };
        chain
            .roster()
            .member(leader)
            .ok_or(bad_leader(BlsError::Empty))?
            .bls
            .verify(&header.proposal_message(), &proposal.signature)
            .map_err(bad_leader)?;
        let parent_certificate = match certificate {
            None => None,
            Some(certificate) => {
                certificate.verify(chain.id(), chain.roster(), header.parent)?;
                Some(VerifiedCertificate(certificate.clone()))
            }
        };
        Ok(Self {
            id: header.id(),
            header: header.clone(),
            signature: proposal.signature,
            parent_certificate,
        })
    }

    /// Takes a proposal at its word: for one that this node verified before and kept itself, and for simulators.
    pub fn assume_verified(
        header: Header,
        signature: BlsSignature,
        parent_certificate: Option<VerifiedCertificate>,
    ) -> Self {
        Self {
            id: header.id(),
            header,
            signature,
            parent_certificate,
        }
    }

    /// The block's id.
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The leader's signature.
    pub const fn signature(&self) -> &BlsSignature {
        &self.signature
    }

    /// The parent's certificate; none where the parent is genesis.
    pub const fn parent_certificate(&self) -> Option<&VerifiedCertificate> {
        self.parent_certificate.as_ref()
    }
}
