//! What each proof verifier costs beside the hashes that it cannot do without, over the same bytes in the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/bitcoin_kit/mod.rs"]
mod bitcoin_kit;
#[path = "../tests/fixtures/mod.rs"]
mod fixtures;

use ::bitcoin::hashes::{Hash as _, sha256d};
use alloy_primitives::{U256, keccak256};
use alys_protocol::bls;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::Digest;
use alys_protocol::peg::{Burn, ConsumedTransaction, encode_stripped};
use alys_protocol::signer::{BurnEvidence, DepositProof};
use alys_protocol::spec::Target;
use alys_protocol::units::{BtcHeight, Gwei, Sats};
use alys_signer_core::mint::deposit::deposit_proof;
use alys_signer_core::mint::supply::withdrawals_exact;
use alys_signer_core::pegout::burn::{burn_emitter, burn_proof, burn_status};
use alys_signer_core::pow::{self, Work};
use alys_signer_core::proof::account;
use bitcoin_kit::{LATE, Miner};
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

/// Certificates of a run of blocks, as a node that catches up verifies them.
fn certificates(criterion: &mut Criterion) {
    let mut honest = Honest::of_four();
    honest.grow(64);
    let (id, roster) = (honest.chain.id(), honest.chain.roster());
    let certificates: Vec<_> = honest.links[1..]
        .iter()
        .map(|link| honest.certificate(link.header.id()))
        .collect();
    let mut group = criterion.benchmark_group("64 certificates");
    group.bench_function("one by one", |bencher| {
        bencher.iter(|| {
            for certificate in black_box(&certificates) {
                certificate.verify(id, roster, certificate.block).unwrap();
            }
        });
    });
    group.bench_function("in one multi-pairing", |bencher| {
        bencher.iter(|| {
            let claims: Vec<_> = black_box(&certificates)
                .iter()
                .map(|certificate| certificate.claim(id, roster).unwrap())
                .collect();
            bls::verify_all(&claims).unwrap();
        });
    });
    group.finish();
}

/// Headers of two weeks, one more day of them, and a deposit among 4,096 transactions.
fn bitcoin(criterion: &mut Criterion) {
    let mut miner = Miner::regtest(150);
    let transaction = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            previous_output: bitcoin::OutPoint::null(),
            script_sig: bitcoin::ScriptBuf::from_bytes(vec![2, 1, 0]),
            ..bitcoin::TxIn::default()
        }],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::from_sat(50),
            script_pubkey: bitcoin::ScriptBuf::from_bytes(vec![0x51; 22]),
        }],
    };
    let leaf = transaction.compute_txid().to_byte_array();
    // Places 0 and 1 differ in their siblings at the lowest level only.
    let pair = |left: [u8; 32], right: [u8; 32]| {
        sha256d::Hash::hash([left, right].as_flattened()).to_byte_array()
    };
    let mut other = transaction.clone();
    other.input[0].previous_output.vout = 7;
    let other_leaf = other.compute_txid().to_byte_array();
    let above: Vec<[u8; 32]> = (1..12u8).map(|level| [level; 32]).collect();
    let root = above
        .iter()
        .fold(pair(leaf, other_leaf), |node, sibling| pair(node, *sibling));
    let block = miner.child(miner.tip().time + 600, |header| {
        header.merkle_root = bitcoin::TxMerkleNode::from_byte_array(root);
    });
    miner.headers.push(block);
    miner.grow(2_016, 0);
    let (client, chain) = miner.fed(150, 10);
    let branch = |lowest: [u8; 32]| {
        let hashes = core::iter::once(lowest).chain(above.iter().copied());
        BoundedVec::new(hashes.map(Digest::new).collect()).unwrap()
    };
    let consumed = ConsumedTransaction {
        height: BtcHeight::new(151),
        block: block.block_hash(),
        index: 1,
        bytes: encode_stripped(&other).unwrap(),
    };
    let proof = DepositProof {
        consumed: 0,
        branch: branch(leaf),
        coinbase: encode_stripped(&transaction).unwrap(),
        coinbase_branch: branch(other_leaf),
    };
    let mut group = criterion.benchmark_group("deposit among 4,096 transactions");
    group.bench_function("proof", |bencher| {
        bencher.iter(|| deposit_proof(&chain, black_box(&consumed), &proof).unwrap());
    });
    group.bench_function("floor: sha256d of its bytes", |bencher| {
        bencher.iter(|| {
            for hash in proof.branch.iter().chain(&*proof.coinbase_branch) {
                black_box(sha256d::Hash::hash([hash.to_bytes(), leaf].as_flattened()));
            }
            black_box(sha256d::Hash::hash(&proof.coinbase));
            black_box(sha256d::Hash::hash(&consumed.bytes));
        });
    });
    group.finish();
    let start = miner.fork(2_023);
    let (_, behind) = start.fed(150, 10);
    let day = miner.bytes(2_024, 2_167);
    let mut group = criterion.benchmark_group("144 Bitcoin headers");
    group.bench_function("judged", |bencher| {
        bencher.iter(|| client.judge(&behind, black_box(&day), Some(LATE)).unwrap());
    });
    group.bench_function("floor: sha256d of each", |bencher| {
        bencher.iter(|| {
            for header in &day {
                black_box(sha256d::Hash::hash(header.as_bytes()));
            }
        });
    });
    group.finish();
    let stored = chain.stored().unwrap();
    criterion.bench_function("a ring of 2,168 headers read back", |bencher| {
        bencher.iter(|| client.load(None, black_box(&stored)).unwrap());
    });
}

criterion_group!(
    benches,
    burns,
    accounts,
    work,
    withdrawals,
    certificates,
    bitcoin
);
criterion_main!(benches);
