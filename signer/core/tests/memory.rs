//! The core's memory: what judging one request allocates at most beyond the request itself. The ceilings are what the device
//! has to have; a change that needs more must say so here.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bitcoin_kit;
mod fixtures;

use alys_protocol::signer::{ApproveRequest, MAX_BITCOIN_HEADERS, PegOutRequest};
use alys_protocol::units::Slot;
use alys_signer_core::btc::UnixTime;
use alys_signer_core::state::{PegOutState, VoteState};
use alys_signer_core::{Durable, Signer};
use bitcoin_kit::Miner;
use fixtures::pegout::{Plan, outpoint, request};
use fixtures::session::signer_with;
use fixtures::{GENESIS_SLOT, Honest, context};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const KIB: usize = 1 << 10;

/// The most bytes that `judge` holds at once.
fn peak(judge: impl FnOnce()) -> usize {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    judge();
    HEAP.peak_usage() - before
}

fn size<T: serde::Serialize>(request: &T) -> usize {
    postcard::to_allocvec(request).unwrap().len()
}

fn vote() -> (Signer, ApproveRequest) {
    let mut honest = Honest::of_four();
    honest.grow(100);
    let request = honest.approve(&honest.child_of(100, 1, |_| ()));
    (signer_with(&honest.chain, |_| ()), request)
}

fn batch(burns: usize) -> (Signer, PegOutRequest) {
    let mut honest = Honest::of_four();
    let plan = Plan {
        amounts: vec![2_000_000; burns],
        inputs: vec![(outpoint(1), 200_000_000)],
        ..Plan::simple(0, 1)
    };
    let request = request(&mut honest, &plan);
    (signer_with(&honest.chain, |_| ()), request)
}

/// One test alone in its process: there is one heap to measure.
#[test]
fn judging_fits_its_ceilings() {
    let mut rows = Vec::new();
    let (signer, approve) = vote();
    let state = Durable::trust_loaded(VoteState::default());
    let now = context(Slot::new(GENESIS_SLOT + 1_000));
    let found = peak(|| drop(signer.approve(&state, &now, &approve).unwrap()));
    rows.push(("approve".to_owned(), size(&approve), found, 64 * KIB));
    for (burns, ceiling) in [(1, 64 * KIB), (10, 128 * KIB), (50, 512 * KIB)] {
        let (signer, request) = batch(burns);
        let state = Durable::trust_loaded(PegOutState::default());
        let found = peak(|| {
            drop(
                signer
                    .sign_peg_out(&state, &now, [7; 32], &request)
                    .unwrap(),
            )
        });
        let name = format!("peg-out of {burns} burns");
        rows.push((name, size(&request), found, ceiling));
    }
    // Headers on a ring that is full.
    let most = u32::try_from(MAX_BITCOIN_HEADERS).unwrap();
    let miner = Miner::regtest(4_200 + most);
    let client = miner.client(1, 144);
    let mut chain = alys_signer_core::btc::HeaderChain::default();
    let last = miner.height();
    let clock = Some(UnixTime::new(u64::from(miner.tip().time)));
    let mut from = 0;
    while from + most <= last - 1_000 {
        let headers = miner.bytes(from, from + most - 1);
        let update = client.judge(&chain, &headers, clock).unwrap();
        chain.apply(&update.expect("new headers")).unwrap();
        from += most;
    }
    let headers = miner.bytes(from, last.min(from + most - 1));
    let found = peak(|| {
        let mut next = chain.clone();
        let update = client.judge(&chain, &headers, clock).unwrap();
        next.apply(&update.expect("new headers")).unwrap();
    });
    let name = format!("{} Bitcoin headers", headers.len());
    rows.push((name, size(&headers), found, 1024 * KIB));
    for (name, request, bytes, ceiling) in rows {
        println!("{name}: request of {request} bytes, {bytes} bytes at most");
        assert!(
            bytes <= ceiling,
            "{name}: {bytes} bytes, expected at most {ceiling}"
        );
    }
}
