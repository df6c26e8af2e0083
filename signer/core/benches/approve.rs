//! What a decision costs beside its cryptographic floor.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/fixtures/mod.rs"]
mod fixtures;

use alys_protocol::header::approval_message;
use alys_protocol::units::{MemberId, Slot};
use alys_signer_core::{Durable, Policy, Signer};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fixtures::pegout::{Plan, outpoint, request};
use fixtures::{Honest, bls_key, context, schnorr_key, x_only};
use std::hint::black_box;

const NOW: Slot = Slot::new(fixtures::GENESIS_SLOT + 100_000);

fn signer(honest: &Honest) -> Signer {
    Signer::new(
        honest.chain.clone(),
        Policy::of_chain(&honest.chain),
        &bls_key(0).public_key().to_bytes(),
        &x_only(&schnorr_key(0)),
    )
    .unwrap()
}

fn approve(criterion: &mut Criterion) {
    let mut honest = Honest::of_four();
    honest.grow(100);
    let link = honest.child_of(100, 1, |_| ());
    let approve = honest.approve(&link);
    let signer = signer(&honest);
    let mut group = criterion.benchmark_group("approve");
    group.bench_function("decision", |bencher| {
        bencher.iter_batched(
            || Durable::trust_loaded(alys_signer_core::state::VoteState::default()),
            |state| black_box(signer.approve(&state, &context(NOW), &approve).unwrap()),
            BatchSize::SmallInput,
        );
    });
    let parent = honest.tip().header.id();
    let certificate = honest.certificate(parent);
    let keys: Vec<_> = honest
        .certifiers
        .iter()
        .map(|member| {
            honest
                .chain
                .roster()
                .member(MemberId::new(*member))
                .unwrap()
                .bls
        })
        .collect();
    let message = approval_message(honest.chain.id(), parent);
    group.bench_function("floor: one pairing check", |bencher| {
        bencher.iter(|| {
            alys_protocol::bls::verify_aggregate(&keys, &message, &certificate.signature).unwrap();
        });
    });
    group.bench_function("floor: one signature", |bencher| {
        bencher.iter(|| black_box(bls_key(0)).sign(&message));
    });
    group.finish();
}

fn peg_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peg-out decision");
    for burns in [1usize, 10, 50] {
        let mut honest = Honest::of_four();
        let plan = Plan {
            amounts: vec![2_000_000; burns],
            inputs: vec![(outpoint(1), 200_000_000)],
            ..Plan::simple(0, 1)
        };
        let request = request(&mut honest, &plan);
        let signer = signer(&honest);
        group.bench_function(format!("{burns} burns"), |bencher| {
            bencher.iter_batched(
                || Durable::trust_loaded(alys_signer_core::state::PegOutState::default()),
                |state| {
                    black_box(
                        signer
                            .sign_peg_out(&state, &context(NOW), [1; 32], &request)
                            .unwrap(),
                    )
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, approve, peg_out);
criterion_main!(benches);
