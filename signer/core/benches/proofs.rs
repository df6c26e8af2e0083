//! What each proof verifier costs beside the hashes that it cannot do without, over the same bytes in the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/fixtures/mod.rs"]
mod fixtures;

use alloy_primitives::{U256, keccak256};
use alys_protocol::peg::Burn;
use alys_protocol::signer::BurnEvidence;
use alys_protocol::spec::Target;
use alys_protocol::units::{Gwei, Sats};
use alys_signer_core::mint::supply::withdrawals_exact;
use alys_signer_core::pegout::burn::{burn_emitter, burn_proof, burn_status};
use alys_signer_core::pow::{self, Work};
use alys_signer_core::proof::account;
use criterion::{Criterion, criterion_group, criterion_main};
use fixtures::evidence::{event, receipt, state};
use fixtures::{Honest, pegout};
use std::hint::black_box;

/// A burn in a block of `transactions`, each with `logs` logs.
fn burn(transactions: u64, logs: u64) -> (Honest, BurnEvidence) {
    let mut honest = Honest::of_four();
    let bridge = honest.chain.spec().execution.bridge;
    let number =
        |transaction: u64, log: u64| -> Burn { pegout::burn(transaction * logs + log, 2_000_000) };
    let receipts: Vec<Vec<u8>> = (0..transactions)
        .map(|transaction| {
            let logs = (0..logs).map(|log| event(bridge, &number(transaction, log)));
            receipt(2, true, logs.collect())
        })
        .collect();
    honest.extend_with_receipts(&receipts);
    honest.grow(100);
    let place = (usize::try_from(transactions / 2).unwrap(), 0);
    let burn = number(transactions / 2, 0);
    let evidence = honest.burn_evidence((1, 100), &receipts, place, burn);
    (honest, evidence)
}

fn burns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("burn");
    for (transactions, logs) in [(1, 1), (300, 3), (2_000, 3), (100, 500)] {
        let (honest, evidence) = burn(transactions, logs);
        let end = honest.links[100].header.clone();
        let name = format!("{transactions} transactions of {logs} logs");
        group.bench_function(format!("proof, emitter and status; {name}"), |bencher| {
            bencher.iter(|| {
                let proven = burn_proof(&honest.chain, &end, black_box(&evidence)).unwrap();
                burn_emitter(&honest.chain, &proven).unwrap();
                burn_status(&proven).unwrap();
            });
        });
        group.bench_function(format!("floor: keccak of its bytes; {name}"), |bencher| {
            bencher.iter(|| {
                for node in &evidence.receipt {
                    black_box(keccak256(&**node));
                }
                black_box(keccak256(&*evidence.execution_header));
            });
        });
    }
    group.finish();
}

fn accounts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("account");
    let vault = Honest::of_four().chain.spec().execution.vault;
    let (root, proof) = state(vault, Some(U256::from(5)));
    group.bench_function("proof among 201", |bencher| {
        bencher.iter(|| black_box(account(root, vault, &proof).unwrap()));
    });
    group.bench_function("floor: keccak of its bytes", |bencher| {
        bencher.iter(|| {
            for node in &proof {
                black_box(keccak256(&**node));
            }
            black_box(keccak256(vault.to_bytes()));
        });
    });
    group.finish();
}

fn work(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("proof of work");
    let mut honest = Honest::of_four();
    honest.grow(8);
    let (record, state) = honest.record(5, Target::new([0x7f; 32]));
    group.bench_function("AuxPoW, all rules", |bencher| {
        bencher.iter(|| {
            let work = Work::new(&honest.chain, black_box(&record), state.id).unwrap();
            pow::coinbase(&work).unwrap();
            pow::commitment(&work).unwrap();
            pow::chain_slot(&work).unwrap();
            pow::pow_floor(&Target::new([0x7f; 32]), &work).unwrap();
        });
    });
    // Coinbase, two levels of its branch, the block header; the bundle's tagged hash.
    group.bench_function("floor: sha256d of its bytes", |bencher| {
        use bitcoin::hashes::{Hash as _, sha256d};
        bencher.iter(|| {
            for length in [120, 64, 64, 80] {
                let bytes = record.auxpow.get(..length).unwrap();
                black_box(sha256d::Hash::hash(black_box(bytes)));
            }
        });
    });
    group.finish();
}

fn withdrawals(criterion: &mut Criterion) {
    let honest = Honest::of_four();
    let header = honest.child_of(0, 1, |_| ()).header;
    let deposits: Vec<_> = (0..59u8)
        .map(|number| {
            (
                alys_protocol::bytes::EvmAddress::new([number; 20]),
                Sats::new(7),
            )
        })
        .collect();
    let all: Vec<_> = (65_536..)
        .zip(&deposits)
        .map(
            |(index, (address, _))| alys_protocol::execution::Withdrawal {
                index,
                validator_index: 0,
                address: *address,
                amount: Gwei::new(70),
            },
        )
        .collect();
    criterion.bench_function("withdrawals: 59 compared", |bencher| {
        bencher.iter(|| {
            withdrawals_exact(&honest.chain, &header, &deposits, None, black_box(&all)).unwrap();
        });
    });
}

criterion_group!(benches, burns, accounts, work, withdrawals);
criterion_main!(benches);
