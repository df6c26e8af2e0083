//! Messages whose signatures were checked. The tree and the state machine accept nothing else.

mod batch;

use alys_protocol::block::Proposal;
use alys_protocol::bls::{self, BlsError, BlsSignature, Claim};
use alys_protocol::body::BodyError;
use alys_protocol::bytes::{BlockId, BodyRoot};
use alys_protocol::certificate::{Approval, Certificate, CertificateError};
use alys_protocol::header::Header;
use alys_protocol::spec::Chain;
use alys_protocol::units::MemberId;
use batch::Unverified;
use thiserror::Error;

pub use batch::MAX_BATCH;

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

    /// Verifies many, [`MAX_BATCH`] at a time in one multi-pairing; where that fails, each alone.
    ///
    /// Gives for each, in order, what [`VerifiedCertificate::verify`] would.
    pub fn verify_all(
        chain: &Chain,
        certificates: impl IntoIterator<Item = Certificate>,
    ) -> Vec<Result<Self, CertificateError>> {
        batch::verify_all(chain, certificates)
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

impl Unverified for Certificate {
    type Verified = VerifiedCertificate;
    type Error = CertificateError;

    fn claims(&self, chain: &Chain) -> Result<Vec<Claim>, CertificateError> {
        Ok(vec![self.claim(chain.id(), chain.roster())?])
    }

    fn verify_alone(self, chain: &Chain) -> Result<VerifiedCertificate, CertificateError> {
        VerifiedCertificate::verify(chain, self)
    }

    fn hold(self) -> VerifiedCertificate {
        VerifiedCertificate(self)
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
    /// Verifies, cheapest first, that the body belongs to the header, that it carries a certificate of the parent (none
    /// if and only if the parent is genesis), that the leader signed, and that the certificate holds.
    ///
    /// # Errors
    /// - one [`ProposalError`] for each of these that fails.
    pub fn verify(chain: &Chain, proposal: &Proposal) -> Result<Self, ProposalError> {
        let certificate = parent_certificate(chain, proposal)?;
        let (leader, claim) = leader_claim(chain, proposal);
        bls::verify_aggregate(&claim.keys, &claim.message, &claim.signature)
            .map_err(|error| ProposalError::Leader { leader, error })?;
        if let Some(certificate) = certificate {
            certificate.verify(chain.id(), chain.roster(), proposal.block.header.parent)?;
        }
        Ok(proposal.hold())
    }

    /// Verifies many, [`MAX_BATCH`] at a time with all their signatures and certificates in one multi-pairing; where
    /// that fails, each alone.
    ///
    /// Gives for each, in order, what [`VerifiedProposal::verify`] would.
    pub fn verify_all<'a>(
        chain: &Chain,
        proposals: impl IntoIterator<Item = &'a Proposal>,
    ) -> Vec<Result<Self, ProposalError>> {
        batch::verify_all(chain, proposals)
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

impl Unverified for &Proposal {
    type Verified = VerifiedProposal;
    type Error = ProposalError;

    fn claims(&self, chain: &Chain) -> Result<Vec<Claim>, ProposalError> {
        let certificate = parent_certificate(chain, self)?;
        let mut claims = vec![leader_claim(chain, self).1];
        if let Some(certificate) = certificate {
            claims.push(certificate.claim(chain.id(), chain.roster())?);
        }
        Ok(claims)
    }

    fn verify_alone(self, chain: &Chain) -> Result<VerifiedProposal, ProposalError> {
        VerifiedProposal::verify(chain, self)
    }

    fn hold(self) -> VerifiedProposal {
        let certificate = self.block.body.parent_certificate.clone();
        VerifiedProposal::assume_verified(
            self.block.header.clone(),
            self.signature,
            certificate.map(VerifiedCertificate),
        )
    }
}

/// The certificate in the body, once body and header belong together and it is the parent's; none where the parent is
/// genesis.
fn parent_certificate<'a>(
    chain: &Chain,
    proposal: &'a Proposal,
) -> Result<Option<&'a Certificate>, ProposalError> {
    let header = &proposal.block.header;
    let body = &proposal.block.body;
    let found = body.root(chain.id())?;
    if found != header.body_root {
        return Err(ProposalError::BodyRoot {
            expected: header.body_root,
            found,
        });
    }
    let genesis = header.parent == chain.genesis_id();
    match &body.parent_certificate {
        None if genesis => Ok(None),
        None => Err(ProposalError::NoParentCertificate {
            parent: header.parent,
        }),
        Some(certificate) if genesis => Err(ProposalError::GenesisCertificate {
            found: certificate.block,
        }),
        Some(certificate) if certificate.block != header.parent => {
            Err(ProposalError::ParentCertificate(CertificateError::Block {
                expected: header.parent,
                found: certificate.block,
            }))
        }
        Some(certificate) => Ok(Some(certificate)),
    }
}

/// The leader of a proposal's slot, and what its signature claims.
fn leader_claim(chain: &Chain, proposal: &Proposal) -> (MemberId, Claim) {
    let header = &proposal.block.header;
    let leader = chain.roster().leader(header.slot);
    let claim = Claim {
        // A leader is a member: without a key, none would be accepted.
        keys: chain
            .roster()
            .member(leader)
            .map(|member| member.bls)
            .into_iter()
            .collect(),
        message: header.proposal_message(),
        signature: proposal.signature,
    };
    (leader, claim)
}
