//! Claim C5 and clock games: old snapshots, copies, restarts.

use crate::federation::{Federation, Setup};
use crate::harness::count_refused;
use crate::process::SignerProcess;
use crate::support::fixtures::evidence::reseal;
use crate::support::fixtures::pegout::{self, Plan, outpoint};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, PegOutRequest, Reply, Request};
use alys_protocol::units::Sats;

/// Blocks in the slots of the clock, quicker than the clock.
fn setup() -> Setup {
    Setup {
        policy: |policy| policy.slot_horizon_slots = 1_000,
        ..Setup::default()
    }
}

/// A block after the tip and what asks for a vote on it.
fn vote_for_next(federation: &Federation) -> ApproveRequest {
    federation.honest.approve(&federation.child(|_| ()))
}

fn silent(federation: &mut Federation) -> Option<Rule> {
    let Reply::Status(status) = federation.signer.ask(Request::Status) else {
        panic!("no status");
    };
    status.silent.map(|refusal| refusal.rule)
}

/// A state from a backup, put back after the signer went on from it: it may have voted, proposed and paid since.
pub(crate) fn n1_an_old_snapshot_is_put_back() {
    let mut federation = Federation::with(&setup());
    federation.skip_to_now();
    let link = federation.child(|_| ());
    let last = federation.honest.approve(&link);
    federation.votes(link, &last);
    federation.signer.stop();
    federation.signer.snapshot("old.redb");
    federation.signer.start().unwrap();
    federation.serves();
    let paid = federation.batch(&Plan::simple(0, 1));
    federation.pays(&paid);
    federation.signer.stop();
    federation.signer.snapshot("new.redb");
    federation.signer.restore("old.redb");
    federation.signer.start().unwrap();
    assert_eq!(silent(&mut federation), Some(Rule::Fresh));
    federation.skip_to_now();
    federation.refuses_vote(Rule::Fresh, "the last vote that the copy knows", &last);
    let vote = vote_for_next(&federation);
    federation.refuses_vote(Rule::Fresh, "a vote", &vote);
    let other = Plan {
        inputs: vec![(outpoint(9), 5_000_000)],
        ..Plan::simple(0, 1)
    };
    let twice = federation.on_a_fork(|honest| {
        honest.links.truncate(1);
        pegout::request(honest, &other)
    });
    federation.refuses_payment(Rule::Fresh, "a payment made before", &twice);
    let slot = federation.last_slot() + 10;
    let led = slot / 4 * 4 - federation.honest.chain.genesis().slot.get();
    let proposal = federation.honest.child_of(0, led, |_| ()).header;
    federation.refuses(
        Rule::Fresh,
        "a proposal",
        Request::SignProposal(Box::new(proposal)),
    );
    // Another start on the same copy changes nothing, orderly or not.
    federation.signer.stop();
    federation.signer.start().unwrap();
    federation.refuses_vote(Rule::Fresh, "a vote after another start", &vote);
    federation.signer.kill();
    federation.signer.start().unwrap();
    federation.refuses_vote(Rule::Fresh, "a vote after a kill", &vote);
    // The newest state serves without anybody's help.
    federation.signer.stop();
    federation.signer.restore("new.redb");
    federation.signer.start().unwrap();
    assert_eq!(silent(&mut federation), None);
    federation.serves();
    federation.pays(&paid);
    federation.refuses_payment(Rule::BurnSequence, "a payment made before", &twice);
}

/// A copy that is killed in the middle of its lease, without an orderly stop: the floor holds.
pub(crate) fn n1_a_snapshot_of_a_signer_that_was_killed() {
    let mut federation = Federation::with(&setup());
    federation.skip_to_now();
    federation.serves();
    federation.signer.kill();
    federation.signer.snapshot("old.redb");
    federation.signer.start().unwrap();
    federation.serves();
    federation.serves();
    federation.signer.kill();
    federation.signer.restore("old.redb");
    federation.signer.start().unwrap();
    let vote = vote_for_next(&federation);
    federation.refuses_vote(Rule::Fresh, "a vote", &vote);
    assert_eq!(silent(&mut federation), Some(Rule::Fresh));
    // This signer is lost without its newest state. That the machinery itself serves is what another one shows.
    Federation::new().serves();
}

/// The counter is taken away, set back, or replaced by another one.
pub(crate) fn n1_the_counter_is_removed_or_set_back() {
    let mut federation = Federation::with(&setup());
    federation.skip_to_now();
    let path = federation.signer.rig.path("counter");
    let first = std::fs::read(&path).unwrap();
    federation.serves();
    federation.serves();
    federation.signer.stop();
    let last = std::fs::read(&path).unwrap();
    assert_ne!(first, last);
    let text = String::from_utf8(last.clone()).unwrap();
    let (value, tag) = text.trim_end().split_once(' ').unwrap();
    let value: u64 = value.parse().unwrap();
    let zeros = format!("0x{}", "0".repeat(tag.len() - 2));
    for (what, counter) in [
        ("none", None),
        ("set back", Some(first)),
        (
            "one ahead",
            Some(format!("{} {tag}\n", value + 1).into_bytes()),
        ),
        (
            "one below, under this state's tag",
            Some(format!("{} {tag}\n", value - 1).into_bytes()),
        ),
        ("another's", Some(format!("{value} {zeros}\n").into_bytes())),
        ("no number", Some(b"many\n".to_vec())),
        ("empty", Some(vec![])),
    ] {
        std::fs::remove_file(&path).unwrap();
        if let Some(bytes) = &counter {
            crate::support::write(&path, std::str::from_utf8(bytes).unwrap());
        }
        if federation.signer.start().is_ok() {
            let vote = vote_for_next(&federation);
            federation.refuses_vote(Rule::Fresh, what, &vote);
            federation.signer.stop();
        }
        crate::support::write(&path, &text);
        count_refused();
    }
    federation.signer.start().unwrap();
    federation.serves();
}

fn refused_by_either(second: &mut SignerProcess, request: Request) {
    match second.ask(request) {
        Reply::Refused(refusal) if [Rule::Fresh, Rule::Counter].contains(&refusal.rule) => {
            count_refused()
        }
        other => panic!("expected rule fresh or counter, found {other:?}"),
    }
}

/// Regression N2: two instances with one key. A copy of keys and state, started while the first one runs.
pub(crate) fn n2_two_instances() {
    let mut federation = Federation::with(&setup());
    federation.skip_to_now();
    federation.serves();
    // The same state is locked.
    let same = federation.signer.rig.try_start();
    assert!(same.is_err_and(|said| said.contains("in use")));
    count_refused();
    federation.signer.stop();
    let mut second = federation.signer.second_instance().unwrap();
    federation.signer.start().unwrap();
    // Who signs first wins; the other one finds the counter moved, even though both were fresh at their start.
    let vote = vote_for_next(&federation);
    federation.serves();
    let mut other = federation.child(|_| ());
    reseal(&federation.honest.chain, &mut other, |execution| {
        execution.extra_data = alloy_primitives::Bytes::from_static(b"other");
    });
    let conflicting = federation.honest.approve(&other);
    refused_by_either(&mut second, Request::Approve(Box::new(vote)));
    refused_by_either(&mut second, Request::Approve(Box::new(conflicting)));
    let paid = federation.batch(&Plan::simple(0, 1));
    refused_by_either(&mut second, Request::SignPegOut(Box::new(paid.clone())));
    federation.pays(&paid);
    refused_by_either(&mut second, Request::SignPegOut(Box::new(paid)));
    federation.serves();
}

/// Regression N2 (watermarks that are not on disk): `kill -9` after each signature, then a conflict with it.
pub(crate) fn n2_a_signer_killed_after_each_signature() {
    let mut federation = Federation::with(&setup());
    for round in 0..6u8 {
        federation.skip_to_now();
        let link = federation.child(|_| ());
        let mut conflict = link.clone();
        reseal(&federation.honest.chain, &mut conflict, |execution| {
            execution.state_root = alloy_primitives::B256::repeat_byte(0x40 + round);
        });
        let request = federation.honest.approve(&link);
        let vote = federation.signs(&request);
        federation.signer.kill();
        federation.signer.start().unwrap();
        let conflicting = federation.honest.approve(&conflict);
        federation.refuses_vote(Rule::SlotMonotonic, "the other block", &conflicting);
        assert_eq!(
            federation.signs(&request),
            vote,
            "a repeat is the same signature"
        );
        federation.honest.links.push(link);
    }
    let paid = federation.batch(&Plan::simple(0, 1));
    let shares = federation.pays(&paid);
    federation.signer.kill();
    federation.signer.start().unwrap();
    let other = Plan {
        inputs: vec![(outpoint(9), 5_000_000)],
        ..Plan::simple(0, 1)
    };
    let twice = federation.on_a_fork(|honest| {
        honest.links.truncate(1);
        pegout::request(honest, &other)
    });
    federation.refuses_payment(Rule::BurnSequence, "a payment made before", &twice);
    assert_eq!(federation.pays(&paid), shares);
    federation.skip_to_now();
    federation.serves();
}

/// Restarts, orderly and not, with headers released in between, open no window that is full.
pub(crate) fn restarts_open_no_window() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| {
            policy.slot_horizon_slots = 1_000;
            policy.max_fee_sats = Sats::new(100_000);
            policy.cap_window_sats = Sats::new(500_100_000);
        },
        tip_age: 10 * 24 * 3_600,
        ..Setup::default()
    });
    let batch = |federation: &mut Federation, burn: u8, amounts: &[u64]| -> PegOutRequest {
        federation.batch(&Plan {
            first_burn: u64::from(burn),
            amounts: amounts.to_vec(),
            inputs: vec![(outpoint(burn + 1), 900_000_000)],
            ..Plan::simple(0, 1)
        })
    };
    for burn in 0..5 {
        let request = batch(&mut federation, burn, &[100_000_000]);
        federation.pays(&request);
    }
    let more = batch(&mut federation, 5, &[1_000_000]);
    federation.refuses_payment(Rule::CapWindow, "one more", &more);
    for restart in 0..6 {
        match restart % 2 {
            0 => federation.signer.stop(),
            _ => federation.signer.kill(),
        }
        federation.signer.start().unwrap();
        federation.refuses_payment(Rule::CapWindow, "after a restart", &more);
        for _block in 0..100 {
            let time = federation.miner.tip().time + 600;
            federation.miner.mine(time, 0);
        }
        federation.feed();
        federation.refuses_payment(
            Rule::CapWindow,
            "after a restart and a day of headers",
            &more,
        );
    }
    federation.skip_to_now();
    federation.serves();
}
