//! What a range of 64 blocks costs a node that catches up: signatures one by one, together, and together with one forged.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "helpers of tests, and what criterion's macro makes"
)]

#[path = "../tests/suite/federation.rs"]
mod federation;
#[path = "../tests/suite/signed.rs"]
mod signed;

use alys_consensus::{VerifiedCertificate, VerifiedProposal};
use alys_protocol::block::Proposal;
use alys_protocol::certificate::Certificate;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use federation::{chain, voting_key};
use std::hint::black_box;

const BLOCKS: u64 = 64;

fn ranges(criterion: &mut Criterion) {
    for members in [4, 21] {
        let chain = chain(members);
        let (proposals, certificates): (Vec<Proposal>, Vec<Certificate>) =
            signed::range(&chain, BLOCKS).into_iter().unzip();
        let mut forged = proposals.clone();
        if let Some(one) = forged.get_mut(40) {
            one.signature = voting_key(0).sign(&[0; 32]);
        }
        let mut group = criterion.benchmark_group(format!("{BLOCKS} blocks of {members} members"));
        group
            .sample_size(10)
            .throughput(Throughput::Elements(BLOCKS));
        let held = |verdicts: Vec<Result<VerifiedProposal, _>>| {
            verdicts.iter().filter(|verdict| verdict.is_ok()).count()
        };
        group.bench_function("proposals one by one", |bencher| {
            bencher.iter(|| {
                let verdicts = black_box(&proposals).iter();
                let verdicts = verdicts.map(|it| VerifiedProposal::verify(&chain, it));
                assert_eq!(held(verdicts.collect()), 64);
            });
        });
        group.bench_function("proposals together", |bencher| {
            bencher.iter(|| {
                let verdicts = VerifiedProposal::verify_all(&chain, black_box(&proposals));
                assert_eq!(held(verdicts), 64);
            });
        });
        group.bench_function("proposals together, one forged", |bencher| {
            bencher.iter(|| {
                let verdicts = VerifiedProposal::verify_all(&chain, black_box(&forged));
                assert_eq!(held(verdicts), 63);
            });
        });
        group.bench_function("certificates one by one", |bencher| {
            bencher.iter(|| {
                for certificate in black_box(certificates.clone()) {
                    VerifiedCertificate::verify(&chain, certificate).unwrap();
                }
            });
        });
        group.bench_function("certificates together", |bencher| {
            bencher.iter(|| {
                VerifiedCertificate::verify_all(&chain, black_box(certificates.clone()))
                    .into_iter()
                    .for_each(|verdict| drop(verdict.unwrap()));
            });
        });
        group.finish();
    }
}

criterion_group!(benches, ranges);
criterion_main!(benches);
