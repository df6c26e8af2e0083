//! Many verified together get the verdicts that each gets alone, and the tree that one after the other makes.

use crate::federation::{GENESIS_SLOT, SLOT_MS, chain, voting_key};
use crate::signed::{propose, range};
use alys_consensus::{
    BlockTree, Consensus, Input, MAX_BATCH, UnixMs, VerifiedCertificate, VerifiedProposal,
    VotingState,
};
use alys_protocol::block::Proposal;
use alys_protocol::bls::{BlsSignature, aggregate};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::BlockId;
use alys_protocol::certificate::Certificate;
use alys_protocol::spec::Chain;
use alys_protocol::units::MemberId;
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::sync::{Arc, LazyLock};

/// More than one batch.
const BLOCKS: usize = MAX_BATCH + 5;

static HONEST: LazyLock<Vec<(Proposal, Certificate)>> =
    LazyLock::new(|| range(&chain(4), BLOCKS as u64));

/// What somebody did to a block, or to it and the next of the range.
#[derive(Debug, Clone, Copy)]
enum Forgery {
    Honest,
    LeaderIsAnother,
    LeaderIsNoPoint,
    LeadersSwapped,
    /// Each leader's signature is wrong, and their sum is not.
    LeadersCancel,
    /// The same of the leader's signature and the certificate's of one block.
    LeaderAndCertificateCancel,
    /// The same of two certificates.
    CertificatesCancel,
    BodyIsAnother,
    CertificateLeftOut,
    CertificateOfAnother,
    CertificateTooSmall,
    CertificateNamesAnother,
    CertificateIsNoPoint,
}

use Forgery::*;

const ALL: [Forgery; 13] = [
    Honest,
    LeaderIsAnother,
    LeaderIsNoPoint,
    LeadersSwapped,
    LeadersCancel,
    LeaderAndCertificateCancel,
    CertificatesCancel,
    BodyIsAnother,
    CertificateLeftOut,
    CertificateOfAnother,
    CertificateTooSmall,
    CertificateNamesAnother,
    CertificateIsNoPoint,
];

fn plus(signature: BlsSignature) -> BlsSignature {
    let delta = voting_key(9).sign(&[9; 32]);
    aggregate(&[signature, delta]).unwrap()
}

fn minus(signature: BlsSignature) -> BlsSignature {
    let mut delta = voting_key(9).sign(&[9; 32]).to_bytes();
    // The compressed point's bit for the sign of y.
    delta[0] ^= 0x20;
    aggregate(&[signature, BlsSignature::new(delta)]).unwrap()
}

/// Changes the parent's certificate, and has the leader sign the block again: it may lie about all but others' signatures.
fn with_certificate(
    chain: &Chain,
    proposal: &mut Proposal,
    change: impl FnOnce(&mut Option<Certificate>),
) {
    let mut block = proposal.block.clone();
    change(&mut block.body.parent_certificate);
    *proposal = propose(chain, block.header, block.body);
}

/// The bitfield that names these members.
fn naming(members: u8) -> BoundedVec<u8, 8> {
    BoundedVec::new(vec![members]).unwrap()
}

fn forge(chain: &Chain, proposals: &mut [Proposal], at: usize, forgery: Forgery) {
    let (before, rest) = proposals.split_at_mut(at);
    let Some((it, after)) = rest.split_first_mut() else {
        return;
    };
    let next = after.first_mut().or(before.first_mut());
    let changed = |it: &mut Proposal, change: &dyn Fn(&mut Certificate)| {
        with_certificate(chain, it, |certificate| {
            certificate.iter_mut().for_each(change);
        });
    };
    match (forgery, next) {
        (Honest, _) => {}
        (LeaderIsAnother, _) => {
            it.signature = voting_key(9).sign(&it.block.header.proposal_message());
        }
        (LeaderIsNoPoint, _) => it.signature = BlsSignature::new([0xff; 96]),
        (LeadersSwapped, Some(next)) => {
            (it.signature, next.signature) = (next.signature, it.signature);
        }
        (LeadersCancel, Some(next)) => {
            it.signature = plus(it.signature);
            next.signature = minus(next.signature);
        }
        (CertificatesCancel, Some(next)) => {
            changed(it, &|it| it.signature = plus(it.signature));
            changed(next, &|it| it.signature = minus(it.signature));
        }
        (LeadersSwapped | LeadersCancel | CertificatesCancel, None) => {}
        (LeaderAndCertificateCancel, _) => {
            changed(it, &|it| it.signature = plus(it.signature));
            it.signature = minus(it.signature);
        }
        (BodyIsAnother, _) => it.block.body.parent_certificate = None,
        (CertificateLeftOut, _) => with_certificate(chain, it, |it| *it = None),
        (CertificateOfAnother, _) => changed(it, &|it| it.block = BlockId::new([1; 32])),
        (CertificateTooSmall, _) => changed(it, &|it| it.signers = naming(0b1100)),
        (CertificateNamesAnother, _) => changed(it, &|it| it.signers = naming(0b1101)),
        (CertificateIsNoPoint, _) => changed(it, &|it| it.signature = BlsSignature::ZERO),
    }
}

fn forgeries(most: usize) -> impl Strategy<Value = Vec<(usize, Forgery)>> {
    let forgery = prop::sample::select(ALL.to_vec());
    prop::collection::vec((0..BLOCKS, forgery), 0..=most)
}

#[test]
fn each_forgery_is_found_and_nothing_else_is_refused() {
    let chain = chain(4);
    let honest: Vec<_> = HONEST
        .iter()
        .map(|(proposal, _)| proposal.clone())
        .collect();
    assert!(VerifiedProposal::verify_all(&chain, []).is_empty());
    for forgery in ALL {
        // In the first batch, at its end (with the first of the second one), and in the last one.
        for at in [3, MAX_BATCH - 1, BLOCKS - 2] {
            let mut proposals = honest.clone();
            forge(&chain, &mut proposals, at, forgery);
            let verdicts = VerifiedProposal::verify_all(&chain, &proposals);
            assert_eq!(verdicts.len(), BLOCKS);
            for (number, verdict) in verdicts.iter().enumerate() {
                let touched = proposals[number] != honest[number];
                assert_eq!(verdict.is_err(), touched, "{forgery:?} at {at}: {number}");
            }
            assert_eq!(proposals == honest, matches!(forgery, Honest));
        }
    }
}

#[test]
fn what_cancels_would_pass_a_plain_sum() {
    let (first, second) = (&HONEST[3].0.signature, &HONEST[4].0.signature);
    let forged = [plus(*first), minus(*second)];
    assert_ne!(forged, [*first, *second]);
    assert_eq!(aggregate(&forged), aggregate(&[*first, *second]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn proposals_together_get_the_verdicts_of_each_alone(
        chosen in subsequence((0..BLOCKS).collect::<Vec<_>>(), 0..=BLOCKS),
        forgeries in forgeries(3),
    ) {
        let chain = chain(4);
        let mut proposals: Vec<_> = chosen.iter().map(|at| HONEST[*at].0.clone()).collect();
        for (at, forgery) in forgeries {
            forge(&chain, &mut proposals, at.min(chosen.len()), forgery);
        }
        let alone: Vec<_> = proposals.iter().map(|it| VerifiedProposal::verify(&chain, it)).collect();
        prop_assert_eq!(VerifiedProposal::verify_all(&chain, &proposals), alone);
    }

    #[test]
    fn certificates_together_get_the_verdicts_of_each_alone(
        chosen in subsequence((0..BLOCKS).collect::<Vec<_>>(), 0..=BLOCKS),
        forgeries in prop::collection::vec((0..BLOCKS, 0..5), 0..4),
    ) {
        let chain = chain(4);
        let mut certificates: Vec<_> = chosen.iter().map(|at| HONEST[*at].1.clone()).collect();
        for (at, forgery) in forgeries {
            let Some([first, second]) = certificates.get_mut(at..at.saturating_add(2)) else {
                continue;
            };
            match forgery {
                0 => first.block = second.block,
                1 => first.signers = naming(0b0110),
                2 => first.signers = naming(0b0111),
                3 => second.signature = BlsSignature::new([7; 96]),
                _ => {
                    first.signature = plus(first.signature);
                    second.signature = minus(second.signature);
                }
            }
        }
        let alone: Vec<_> =
            certificates.iter().map(|it| VerifiedCertificate::verify(&chain, it.clone())).collect();
        prop_assert_eq!(VerifiedCertificate::verify_all(&chain, certificates), alone);
    }

    /// A peer's range, where the node takes no certificate that it has from a child already, against one where it verifies
    /// and takes each.
    #[test]
    fn the_tree_is_that_of_one_after_the_other(
        known in 0..BLOCKS,
        given in prop::collection::vec(any::<bool>(), BLOCKS),
        bad_blocks in forgeries(2),
        bad_certificates in prop::collection::vec(0..BLOCKS, 0..3),
    ) {
        let chain = chain(4);
        let (mut proposals, mut certificates): (Vec<_>, Vec<_>) = HONEST.iter().cloned().unzip();
        for (at, forgery) in bad_blocks {
            forge(&chain, &mut proposals, at, forgery);
        }
        for at in bad_certificates {
            certificates[at].signature = plus(certificates[at].signature);
        }
        let sent: Vec<_> = (0..BLOCKS)
            .map(|at| (proposals[at].clone(), given[at].then(|| certificates[at].clone())))
            .collect();
        let (mut plain, mut quick) = (node(&chain, known), node(&chain, known));
        for (proposal, certificate) in &sent {
            if let Ok(proposal) = VerifiedProposal::verify(&chain, proposal) {
                plain.step(Input::Proposal(Box::new(proposal)));
            }
            let certificate = certificate.clone();
            if let Some(Ok(it)) = certificate.map(|it| VerifiedCertificate::verify(&chain, it)) {
                plain.step(Input::Certificate(it));
            }
        }
        for proposal in VerifiedProposal::verify_all(&chain, sent.iter().map(|(it, _)| it)).into_iter().flatten() {
            quick.step(Input::Proposal(Box::new(proposal)));
        }
        let lacking = sent.iter().filter_map(|(proposal, certificate)| {
            let certificate = certificate.clone()?;
            quick
                .lacks_certificate(certificate.block, proposal.block.header.height)
                .then_some(certificate)
        });
        let lacking: Vec<_> = lacking.collect();
        for certificate in VerifiedCertificate::verify_all(&chain, lacking).into_iter().flatten() {
            quick.step(Input::Certificate(certificate));
        }
        for (proposal, _) in &sent {
            let id = proposal.block.id();
            prop_assert_eq!(plain.holds(id), quick.holds(id));
            prop_assert_eq!(plain.tree().is_certified(id), quick.tree().is_certified(id));
            plain.step(Input::Valid(id));
            quick.step(Input::Valid(id));
        }
        prop_assert_eq!(plain.tree().head(), quick.tree().head());
        prop_assert_eq!(plain.tree().final_block(), quick.tree().final_block());
        prop_assert_eq!(plain.tree().longest_certified(), quick.tree().longest_certified());
    }
}

/// A node that has the first `known` blocks, in whose last slot it is.
fn node(chain: &Arc<Chain>, known: usize) -> Consensus {
    let now = UnixMs::new((GENESIS_SLOT + BLOCKS as u64) * SLOT_MS + 1);
    let tree = BlockTree::new(chain.clone());
    let member = Some(MemberId::new(0));
    let mut node = Consensus::new(tree, member, VotingState::default(), now);
    for (proposal, _) in HONEST.iter().take(known) {
        let certificate = proposal.block.body.parent_certificate.clone();
        let certificate = certificate.map(VerifiedCertificate::assume_verified);
        let header = proposal.block.header.clone();
        let id = header.id();
        let proposal = VerifiedProposal::assume_verified(header, proposal.signature, certificate);
        node.step(Input::Proposal(Box::new(proposal)));
        node.step(Input::Valid(id));
    }
    node
}
