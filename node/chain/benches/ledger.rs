//! The ledger with 10,000 coins: a block that consumes deposits, a batch, a quiet block, and the encoding for storage.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented functions, and benches may unwrap"
)]

#[path = "../tests/kit/mod.rs"]
mod kit;

use alys_chain::{PegState, apply, consume, next_batch};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::{SatsPerKvb, SideHeight, Slot};
use criterion::{Criterion, criterion_group, criterion_main};
use kit::bitcoin_chain::Bitcoin;
use kit::side_chain::{BurnRequest, Side, Step};
use kit::{chain, federation, payee};
use std::hint::black_box;

/// A ledger of 10,000 coins and 300 burns, on a Bitcoin with one more deposit to consume.
fn world() -> (Bitcoin, Side) {
    let mut bitcoin = Bitcoin::new();
    for number in 0..5 {
        let mut deposit = kit::deposit(number, 50_000, EvmAddress::new([1; 20]));
        for output in 0..1_999 {
            let more = kit::transaction(Vec::new(), vec![(federation(), 50_000 + output)]);
            deposit.output.extend(more.output);
        }
        bitcoin.mine(vec![deposit]);
    }
    bitcoin.mine_empty(2);
    let mut side = Side::new();
    for _block in 0..2 {
        side.step(&bitcoin, &Step::default());
    }
    let burns = (0..300).map(|number| BurnRequest {
        script: payee(number),
        sats: 40_000,
    });
    let step = Step {
        burns: burns.collect(),
        ..Step::default()
    };
    side.step(&bitcoin, &step);
    bitcoin.mine(vec![kit::deposit(99, 70_000, EvmAddress::new([2; 20]))]);
    bitcoin.mine_empty(2);
    assert_eq!(side.peg().utxos().len(), 10_000);
    (bitcoin, side)
}

fn ledger(criterion: &mut Criterion) {
    let (bitcoin, side) = world();
    let peg = side.peg();
    let with_deposit = side.propose(&bitcoin, &Step::default());
    criterion.bench_function("consume a deposit, 10k coins", |bencher| {
        bencher.iter(|| {
            let header = &with_deposit.header;
            consume(chain(), peg, &header.bitcoin, &with_deposit.body.consumed).unwrap()
        });
    });
    let mut quiet = bitcoin.clone();
    quiet.disconnect(3);
    let quiet = side.propose(&quiet, &Step::default());
    criterion.bench_function("apply a quiet block, 10k coins", |bencher| {
        bencher.iter(|| {
            let parent = &side.tip().header;
            apply(chain(), parent, black_box(peg), &quiet, Vec::new()).unwrap()
        });
    });
    criterion.bench_function("next_batch, 10k coins", |bencher| {
        let rate = SatsPerKvb::new(2_000);
        let slot = Slot::new(1 << 40);
        bencher.iter(|| next_batch(chain(), peg, SideHeight::MAX, slot, rate, &[]).unwrap());
    });
    criterion.bench_function("encode, 10k coins", |bencher| {
        bencher.iter(|| black_box(peg).encode().unwrap());
    });
    let bytes = peg.encode().unwrap();
    criterion.bench_function("decode, 10k coins", |bencher| {
        bencher.iter(|| PegState::decode(black_box(&bytes)).unwrap());
    });
}

criterion_group!(benches, ledger);
criterion_main!(benches);
