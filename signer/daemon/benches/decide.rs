//! What the audit log adds to a vote: the same votes with and without it, on the same disk, taken in turns.
//!
//! Without: the state alone in one transaction with fsync. With: entry and evidence in the same transaction. Beside both, the
//! fsync that a file system needs for 4 KiB.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/support/log.rs"]
mod log;
#[path = "../tests/support/mod.rs"]
mod support;

use alys_protocol::signer::Request;
use alys_protocol::units::Slot;
use alys_signer::audit::AuditLimits;
use alys_signer::store::Store;
use alys_signer_core::Signer;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};
use support::fixtures::pegout::{self, Plan, outpoint};

const VOTES: u64 = 300;

fn main() {
    let mut session = log::Session::new(AuditLimits {
        segment_entries: VOTES,
        ..AuditLimits::default()
    });
    session.honest.grow(1);
    let requests: Vec<_> = (0..VOTES)
        .map(|vote| {
            let block = session.honest.child_of(1, 10 + vote, |_| ());
            session.honest.approve(&block)
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let (plain, signer) = plain(&session, directory.path());
    let mut file = File::create(directory.path().join("fsync")).unwrap();
    let engine = session.engine();
    let (mut with, mut without, mut judged, mut floor) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let key = support::fixtures::bls_key(0);
    for approve in &requests {
        let request = Request::Approve(Box::new(approve.clone()));
        let body = log::body(&request);
        let start = Instant::now();
        let reply = engine.handle(log::asker(), &body, &request);
        with.push(start.elapsed());
        assert!(matches!(reply, alys_protocol::signer::Reply::Signature(_)));
        let start = Instant::now();
        let intent = plain
            .transact(|state| {
                signer.approve(
                    state,
                    &support::fixtures::context(Slot::new(u64::MAX >> 8)),
                    approve,
                )
            })
            .unwrap()
            .unwrap();
        std::hint::black_box(intent.sign(&key));
        without.push(start.elapsed());
        let state = alys_signer_core::Durable::trust_loaded(Default::default());
        let start = Instant::now();
        let decision = signer.approve(
            &state,
            &support::fixtures::context(Slot::new(u64::MAX >> 8)),
            approve,
        );
        assert!(decision.is_ok());
        judged.push(start.elapsed());
        let start = Instant::now();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        floor.push(start.elapsed());
    }
    print("vote with the log", &mut with);
    print("vote without a log", &mut without);
    print("judging alone", &mut judged);
    print("4 KiB and fdatasync", &mut floor);
    peg_outs(&mut session);
    let mut meanwhile = Vec::new();
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| engine.tick());
        let mut vote = VOTES;
        while !moving.is_finished() {
            let block = session.honest.child_of(1, 10 + vote, |_| ());
            let request = Request::Approve(Box::new(session.honest.approve(&block)));
            let body = log::body(&request);
            let start = Instant::now();
            engine.handle(log::asker(), &body, &request);
            meanwhile.push(start.elapsed());
            vote += 1;
        }
    });
    print("while a segment moves", &mut meanwhile);
    drop(engine);
    let archive = session.archive();
    let entries = log::entries(&archive);
    let bytes: Vec<usize> = entries
        .iter()
        .map(|entry| entry.encode().unwrap().len())
        .collect();
    let body = log::body(&Request::Approve(Box::new(requests[0].clone())));
    println!(
        "entry of a vote: {} bytes, its evidence: {} bytes",
        bytes[2],
        body.len()
    );
    let start = Instant::now();
    alys_signer::audit::verify::verify(&archive, &Default::default()).unwrap();
    let verified = start.elapsed();
    let start = Instant::now();
    alys_signer::audit::replay::replay(&archive).unwrap();
    println!(
        "{} entries: verified in {verified:?}, replayed in {:?}",
        entries.len(),
        start.elapsed()
    );
}

/// New batches with all their evidence, from the frame to the shares; each advances the outside counter.
fn peg_outs(session: &mut log::Session) {
    let engine = session.engine();
    let (mut first_burn, mut coin) = (0, 0);
    for burns in [1u64, 10, 50] {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _batch in 0..15 {
            let amounts = vec![2_000_000; usize::try_from(burns).unwrap()];
            coin += 1;
            let plan = Plan {
                inputs: vec![(outpoint(coin), burns * 2_000_000 + 3_000_000)],
                amounts,
                ..Plan::simple(first_burn, coin)
            };
            first_burn += burns;
            let pegout = pegout::request(&mut session.honest, &plan);
            let request = Request::SignPegOut(Box::new(pegout));
            let body = log::body(&request);
            bytes = body.len();
            let start = Instant::now();
            let reply = engine.handle(log::asker(), &body, &request);
            times.push(start.elapsed());
            assert!(
                matches!(reply, alys_protocol::signer::Reply::Shares(_)),
                "{reply:?}"
            );
        }
        print(&format!("peg-out of {burns}"), &mut times);
        println!("{:22} {bytes} bytes of request", "");
    }
}

fn plain(session: &log::Session, directory: &std::path::Path) -> (Store, Signer) {
    let chain = session.honest.chain.clone();
    let member = &chain.roster().members()[0];
    let (bls, schnorr) = (
        member.bls.to_bytes(),
        alys_protocol::spec::SchnorrPublicKeyBytes::new(member.schnorr.serialize()),
    );
    let path = directory.join("plain.redb");
    Store::create(&path, &bls).unwrap();
    let officers = alys_protocol::bytes::Digest::new([3; 32]);
    let store = Store::open(&path, &bls, chain.digest(), officers).unwrap();
    let policy = alys_signer_core::Policy::of_chain(&chain);
    let signer = Signer::new(chain, policy, &bls, &schnorr).unwrap();
    (store, signer)
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |hundredths: usize| times[(times.len() - 1) * hundredths / 100];
    println!("{what:22} p50 {:9.3?}  p99 {:9.3?}", at(50), at(99));
}
