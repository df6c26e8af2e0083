//! What becomes `Verified…`, with real BLS signatures.

use crate::federation::{chain, child_header, voting_key};
use crate::signed::{approve, propose};
use alys_consensus::{ProposalError, VerifiedApproval, VerifiedCertificate, VerifiedProposal};
use alys_protocol::block::Proposal;
use alys_protocol::bls::BlsSignature;
use alys_protocol::body::Body;
use alys_protocol::bytes::BlockId;
use alys_protocol::certificate::CertificateError;
use alys_protocol::history::Peaks;
use alys_protocol::units::{MemberId, Slot};

#[test]
fn quorums_certify() {
    let chain = chain(4);
    let block = BlockId::new([5; 32]);
    let approvals: Vec<_> = [3, 0, 2]
        .into_iter()
        .map(|member| VerifiedApproval::verify(&chain, approve(&chain, member, block)).unwrap())
        .collect();
    let certificate = VerifiedCertificate::aggregate(&chain, &approvals).unwrap();
    let again = VerifiedCertificate::verify(&chain, certificate.certificate().clone());
    assert_eq!(again, Ok(certificate));
    assert_eq!(
        VerifiedCertificate::aggregate(&chain, &approvals[..2]),
        Err(CertificateError::Quorum {
            quorum: 3,
            found: 2
        })
    );
    let mut forged = approve(&chain, 1, block);
    forged.member = MemberId::new(2);
    assert!(VerifiedApproval::verify(&chain, forged).is_err());
    forged.member = MemberId::new(4);
    assert_eq!(
        VerifiedApproval::verify(&chain, forged),
        Err(CertificateError::Approvals)
    );
}

#[test]
fn proposals_need_their_body_their_leader_and_their_parents_certificate() {
    let chain = chain(4);
    let genesis = chain.genesis();
    let empty = Peaks::empty();
    let first = child_header(&chain, genesis, &empty, Slot::new(1001), 0);
    let first = propose(&chain, first, Body::default());
    let verified = VerifiedProposal::verify(&chain, &first).unwrap();
    assert_eq!(verified.id(), first.block.id());

    let approvals: Vec<_> = (0..3)
        .map(|member| approve(&chain, member, first.block.id()))
        .map(|approval| VerifiedApproval::verify(&chain, approval).unwrap())
        .collect();
    let certificate = VerifiedCertificate::aggregate(&chain, &approvals).unwrap();
    let history = empty.append(chain.id(), chain.genesis_id()).unwrap();
    let second = child_header(&chain, &first.block.header, &history, Slot::new(1002), 0);
    let with = |parent_certificate| Body {
        parent_certificate,
        ..Body::default()
    };
    let good = propose(
        &chain,
        second.clone(),
        with(Some(certificate.certificate().clone())),
    );
    let verified = VerifiedProposal::verify(&chain, &good).unwrap();
    assert_eq!(verified.parent_certificate(), Some(&certificate));

    let refused = |proposal: &Proposal| VerifiedProposal::verify(&chain, proposal).unwrap_err();
    let mut other_body = good.clone();
    other_body.block.body = with(None);
    assert!(matches!(
        refused(&other_body),
        ProposalError::BodyRoot { .. }
    ));
    let without = propose(&chain, second.clone(), with(None));
    let parent = first.block.id();
    assert_eq!(
        refused(&without),
        ProposalError::NoParentCertificate { parent }
    );
    let genesis_child = first.block.header.clone();
    let surplus = propose(
        &chain,
        genesis_child,
        with(Some(certificate.certificate().clone())),
    );
    assert!(matches!(
        refused(&surplus),
        ProposalError::GenesisCertificate { .. }
    ));
    let mut bad = certificate.certificate().clone();
    bad.signature = BlsSignature::ZERO;
    let bad = propose(&chain, second.clone(), with(Some(bad)));
    assert!(matches!(refused(&bad), ProposalError::ParentCertificate(_)));
    let mut other = certificate.certificate().clone();
    other.block = chain.genesis_id();
    let other = propose(&chain, second, with(Some(other)));
    assert!(matches!(
        refused(&other),
        ProposalError::ParentCertificate(_)
    ));
    // Signed by the member whose slot it is not.
    let mut stranger = good;
    stranger.signature = voting_key(0).sign(&stranger.block.header.proposal_message());
    assert!(matches!(refused(&stranger), ProposalError::Leader { .. }));
}
