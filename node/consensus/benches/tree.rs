//! What a node pays per block: taking a header in, and adding up a quorum of real signatures.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "helpers of tests, and what criterion's macro makes"
)]

#[path = "../tests/suite/federation.rs"]
mod federation;

use alys_consensus::{BlockTree, VerifiedApproval, VerifiedCertificate};
use alys_protocol::bytes::BlockId;
use alys_protocol::certificate::Approval;
use alys_protocol::header::approval_message;
use alys_protocol::units::MemberId;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use federation::{Blocks, certified, chain, voting_key};
use std::hint::black_box;

/// A chain of certified, valid blocks in consecutive slots, which finalises and prunes as it grows.
fn grow(criterion: &mut Criterion) {
    let chain = chain(4);
    let mut blocks = Blocks::new(&chain);
    let mut parent = chain.genesis_id();
    let proposals: Vec<_> = (1..=1000)
        .map(|slot| {
            let proposal = blocks.child(parent, slot, 0);
            parent = proposal.id();
            (certified(&chain, parent), proposal)
        })
        .collect();
    criterion.bench_function("insert, validate and certify 1000 blocks", |bencher| {
        bencher.iter_batched(
            || BlockTree::new(chain.clone()),
            |mut tree| {
                for (certificate, proposal) in &proposals {
                    let _ = tree.insert(proposal);
                    let _ = tree.set_valid(proposal.id());
                    let _ = tree.certify(certificate);
                }
                assert_eq!(tree.final_block().height.get(), 999);
                tree
            },
            BatchSize::LargeInput,
        );
    });
}

fn certificates(criterion: &mut Criterion) {
    for members in [4, 21] {
        let chain = chain(members);
        let block = BlockId::new([7; 32]);
        let approvals: Vec<_> = (0..chain.roster().quorum())
            .map(|member| {
                let approval = Approval {
                    block,
                    member: MemberId::new(u16::try_from(member).unwrap_or_default()),
                    signature: voting_key(member).sign(&approval_message(chain.id(), block)),
                };
                VerifiedApproval::assume_verified(approval)
            })
            .collect();
        let name = format!("of {} of {members} members", approvals.len());
        criterion.bench_function(&format!("aggregate a certificate {name}"), |bencher| {
            bencher.iter(|| VerifiedCertificate::aggregate(&chain, black_box(&approvals)));
        });
        let certificate = VerifiedCertificate::aggregate(&chain, &approvals);
        let certificate = certificate.map(|made| made.certificate().clone());
        if let Ok(certificate) = certificate {
            criterion.bench_function(&format!("verify a certificate {name}"), |bencher| {
                bencher
                    .iter(|| VerifiedCertificate::verify(&chain, black_box(certificate.clone())));
            });
        }
    }
}

criterion_group!(benches, grow, certificates);
criterion_main!(benches);
