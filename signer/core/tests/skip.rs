//! Rule `skip`: a burn is left unpaid only where officers said so; and rule `destination` before a batch is recorded.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alys_protocol::bounded::BoundedVec;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, MAX_SKIPS, PegOutRequest};
use alys_protocol::units::{BurnSequence, Sats, Slot};
use alys_signer_core::pegout::limits::skip;
use alys_signer_core::state::{AdminState, VoteState};
use alys_signer_core::{Durable, Policy, Signer};
use fixtures::pegout::{Plan, outpoint, record_of, request, request_with, transaction};
use fixtures::session::{Session, signer_with, three};
use fixtures::{GENESIS_SLOT, context};

fn burns(numbers: &[u64]) -> Vec<BurnSequence> {
    numbers.iter().copied().map(BurnSequence::new).collect()
}

/// Three burns, the second and largest of which is skipped.
fn skipping() -> Plan {
    Plan {
        skipped: vec![1],
        ..three()
    }
}

fn judge(session: &Session, skips: &[BurnSequence], request: &PegOutRequest) -> Result<(), Rule> {
    let mut context = context(Slot::new(0));
    context.skips = skips;
    session
        .signer
        .sign_peg_out(&session.state, &context, [7; 32], request)
        .map(drop)
        .map_err(|refusal| refusal.rule)
}

#[test]
fn skipped_burns_are_in_the_range_rising_and_agreed_to() {
    let session = Session::new();
    let record = |skipped: &[u64]| {
        let plan = Plan {
            first_burn: 5,
            ..three()
        };
        let mut record = record_of(&plan, &transaction(&session.honest.chain, &plan));
        record.skipped = BoundedVec::new(burns(skipped)).unwrap();
        record
    };
    let all = burns(&[4, 5, 6, 7, 8]);
    for skipped in [&[][..], &[5], &[7], &[5, 6, 7]] {
        assert_eq!(skip(&all, &record(skipped)), Ok(()), "{skipped:?}");
    }
    for skipped in [&[4][..], &[8], &[6, 6], &[7, 5], &[5, 6, 7, 8]] {
        let refusal = skip(&all, &record(skipped)).unwrap_err();
        assert_eq!(refusal.rule, Rule::Skip, "{skipped:?}");
    }
    for (allowed, skipped) in [(&[][..], &[5][..]), (&[5, 7], &[5, 6])] {
        let refusal = skip(&burns(allowed), &record(skipped)).unwrap_err();
        assert_eq!(refusal.rule, Rule::Skip, "{skipped:?}");
    }
}

#[test]
fn a_batch_pays_all_but_what_is_skipped() {
    let mut session = Session::new();
    let honest = request(&mut session.honest, &skipping());
    let (all, agreed) = (burns(&[0, 1, 2]), burns(&[1]));
    assert_eq!(judge(&session, &[], &honest), Err(Rule::Skip));
    assert_eq!(judge(&session, &burns(&[0, 2]), &honest), Err(Rule::Skip));
    assert_eq!(judge(&session, &agreed, &honest), Ok(()));
    // The permission alone skips nothing: the record says what does.
    let paid = honest.record.decode_transaction().unwrap();
    assert_eq!(paid.output.len(), 3, "two payments and change");
    let mut whole = Session::new();
    let everything = request(&mut whole.honest, &three());
    assert_eq!(judge(&whole, &all, &everything), Ok(()));
    // Transactions that do not do what the record says.
    let both = |plan: &Plan, transaction_of: &Plan| {
        let mut session = Session::new();
        let transaction = transaction(&session.honest.chain, transaction_of);
        let request = request_with(&mut session.honest, plan, &transaction);
        judge(&session, &all, &request).unwrap_err()
    };
    assert_eq!(both(&skipping(), &three()), Rule::TxShape);
    assert_eq!(both(&three(), &skipping()), Rule::OutputsExact);
    let other = Plan {
        skipped: vec![0],
        ..three()
    };
    assert_eq!(both(&skipping(), &other), Rule::OutputsExact);
}

#[test]
fn what_is_skipped_counts_in_no_limit_and_is_in_no_later_batch() {
    let mut session = Session::new();
    let chain = session.honest.chain.clone();
    // Only the skipped burn is above the limit, and it alone is held.
    session.signer = signer_with(&chain, |policy| {
        policy.hold_from_sats = Sats::new(30_000_000);
        policy.hold_blocks = 1_000;
    });
    let agreed = burns(&[1]);
    let all = request(&mut session.honest, &three());
    assert_eq!(judge(&session, &agreed, &all), Err(Rule::Hold));
    let mut session = Session {
        honest: fixtures::Honest::of_four(),
        ..session
    };
    let honest = request(&mut session.honest, &skipping());
    let mut context = context(Slot::new(0));
    context.skips = &agreed;
    let decision = session
        .signer
        .sign_peg_out(&session.state, &context, [7; 32], &honest)
        .unwrap();
    let next = decision.next().unwrap().clone();
    assert_eq!(next.next_burn, BurnSequence::new(3));
    assert!(next.gaps.is_empty());
    let transaction = honest.record.decode_transaction().unwrap();
    let change = transaction.output.last().unwrap().value.to_sat();
    assert_eq!(next.families[0].charged, Sats::new(40_000_000 - change));
    session.state = Durable::trust_loaded(next);
    session.honest.links.truncate(1);
    let again = Plan {
        inputs: vec![(outpoint(9), 40_000_000)],
        ..three()
    };
    let again = request(&mut session.honest, &again);
    assert_eq!(judge(&session, &agreed, &again), Err(Rule::BurnSequence));
}

/// A vote for the block that records a batch.
fn vote(signer: &Signer, skips: &[BurnSequence], request: &ApproveRequest) -> Result<(), Rule> {
    let mut context = context(Slot::new(GENESIS_SLOT + 1_000));
    context.skips = skips;
    signer
        .approve(
            &Durable::trust_loaded(VoteState::default()),
            &context,
            request,
        )
        .map(drop)
        .map_err(|refusal| refusal.rule)
}

fn recording(plan: &Plan) -> (fixtures::Honest, ApproveRequest) {
    let honest = fixtures::Honest::of_four();
    let record = record_of(plan, &transaction(&honest.chain, plan));
    let block = honest.child_of(0, 1, |link| {
        link.header.next_burn = record.next_burn;
        link.body.batch = Some(record);
    });
    let request = honest.approve(&block);
    (honest, request)
}

#[test]
fn a_block_that_skips_a_burn_is_approved_only_by_signers_whose_officers_agreed() {
    let (honest, request) = recording(&skipping());
    let signer = signer_with(&honest.chain, |_| ());
    assert_eq!(vote(&signer, &[], &request), Err(Rule::Skip));
    assert_eq!(vote(&signer, &burns(&[0]), &request), Err(Rule::Skip));
    assert_eq!(vote(&signer, &burns(&[1]), &request), Ok(()));
}

#[test]
fn a_block_that_records_a_denied_payment_is_not_approved() {
    let (honest, request) = recording(&three());
    let with = |change: fn(&mut Policy)| vote(&signer_with(&honest.chain, change), &[], &request);
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(
        with(|policy| policy.destinations.deny.push("p2wpkh".parse().unwrap())),
        Err(Rule::Destination)
    );
    // The change goes to the federation, whatever the lists are.
    assert_eq!(
        with(|policy| policy.destinations.allow = Some(vec!["p2wpkh".parse().unwrap()])),
        Ok(())
    );
    let (_, mut request) = recording(&three());
    let mut record = request.body.batch.take().unwrap();
    record.transaction = BoundedVec::new(vec![1, 2, 3]).unwrap();
    let block = honest.child_of(0, 1, |link| {
        link.header.next_burn = record.next_burn;
        link.body.batch = Some(record);
    });
    let signer = signer_with(&honest.chain, |_| ());
    assert_eq!(
        vote(&signer, &[], &honest.approve(&block)),
        Err(Rule::TxShape)
    );
}

#[test]
fn as_many_skips_as_fit_are_remembered_the_lowest_go_first() {
    let mut state = AdminState::default();
    for burn in [7, 3, 7, 5] {
        state = state.with_skip(BurnSequence::new(burn));
    }
    assert_eq!(state.skips, burns(&[3, 5, 7]));
    for burn in 10..10 + MAX_SKIPS as u64 {
        state = state.with_skip(BurnSequence::new(burn));
    }
    assert_eq!(state.skips.len(), MAX_SKIPS);
    assert_eq!(state.skips[0], BurnSequence::new(10));
}
