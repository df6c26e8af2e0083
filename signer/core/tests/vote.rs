//! Rules of area `vote`: each lets an honest request pass and refuses a changed one, through the whole decision.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alloy_primitives::{Address, B64, B256, U256};
use alloy_rlp::Decodable as _;
use alys_protocol::body::PowRecord;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, EvmAddress, HistoryRoot};
use alys_protocol::execution::Withdrawal;
use alys_protocol::history::Peaks;
use alys_protocol::peg::BatchRecord;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, Refusal};
use alys_protocol::spec::Chain;
use alys_protocol::units::{
    BtcHeight, BurnSequence, ChainId, Epoch, Gwei, PowCount, SatsPerKvb, SideHeight, Slot, Wei,
};
use alys_signer_core::signer::BlsIntent;
use alys_signer_core::state::{Proposed, VoteState};
use alys_signer_core::vote::{self, ExecutionHeader, counters, final_of_three};
use alys_signer_core::{Decision, Durable, Persisted, Policy, Signer};
use fixtures::{Honest, Link, bls_key, context, schnorr_key, seal, x_only};
use proptest::prelude::*;
use std::sync::LazyLock;

fn signer(chain: &Chain) -> Signer {
    Signer::new(
        chain.clone(),
        Policy::of_chain(chain),
        &bls_key(0).public_key().to_bytes(),
        &x_only(&schnorr_key(0)),
    )
    .unwrap()
}

/// A clock that is as far as any block of these tests.
const NOW: Slot = Slot::new(fixtures::GENESIS_SLOT + 1000);

fn durable(state: VoteState) -> Durable<VoteState> {
    Durable::trust_loaded(state)
}

fn fresh() -> Durable<VoteState> {
    durable(VoteState::default())
}

fn persist(
    decision: Decision<VoteState, BlsIntent>,
) -> (Option<Durable<VoteState>>, Persisted<BlsIntent>) {
    decision
        .persist(|_state| Ok::<(), core::convert::Infallible>(()))
        .unwrap()
}

fn vote(honest: &Honest, state: &Durable<VoteState>, link: &Link) -> Result<VoteState, Refusal> {
    let request = honest.approve(link);
    let decision = signer(&honest.chain).approve(state, &context(NOW), &request)?;
    let (state, _) = persist(decision);
    Ok(state.expect("a new vote").get().clone())
}

fn refused(honest: &Honest, request: &ApproveRequest) -> Rule {
    signer(&honest.chain)
        .approve(&fresh(), &context(NOW), request)
        .expect_err("must be refused")
        .rule
}

/// The rule that refuses a block of height 4 on an honest chain, changed before its hashes are made.
fn refused_with(change: impl FnOnce(&mut Link)) -> Option<Rule> {
    let mut honest = Honest::of_four();
    honest.grow(3);
    let link = honest.child_of(3, 1, change);
    signer(&honest.chain)
        .approve(&fresh(), &context(NOW), &honest.approve(&link))
        .err()
        .map(|refusal| refusal.rule)
}

#[test]
fn an_honest_chain_is_voted_for_and_the_signature_verifies() {
    let mut honest = Honest::of_four();
    let signer = signer(&honest.chain);
    let mut state = fresh();
    for height in 1..=5u64 {
        let link = honest.extend(1, |_| ()).clone();
        let decision = signer
            .approve(&state, &context(NOW), &honest.approve(&link))
            .unwrap();
        assert!(decision.is_new());
        let (next, intent) = persist(decision);
        state = next.unwrap();
        assert_eq!(state.get().last_slot, link.header.slot);
        assert_eq!(state.get().lock, SideHeight::new(height - 1));
        let signature = intent.sign(&bls_key(0));
        let message = link.header.approval_message();
        assert_eq!(bls_key(0).public_key().verify(&message, &signature), Ok(()));
    }
    // Blocks 1 to 5 are in consecutive slots; of 2, 3, 4, certified for the child 5, the second is final.
    assert_eq!(
        state.get().voted.as_ref().unwrap().final_height,
        SideHeight::new(3)
    );
}

#[test]
fn a_repeat_gives_the_recorded_vote_and_does_not_change_the_state() {
    let mut honest = Honest::of_four();
    let link = honest.extend(1, |_| ()).clone();
    let signer = signer(&honest.chain);
    let request = honest.approve(&link);
    let (state, first) = persist(signer.approve(&fresh(), &context(NOW), &request).unwrap());
    let again = signer
        .approve(&state.unwrap(), &context(NOW), &request)
        .unwrap();
    assert!(!again.is_new());
    let (state, second) = persist(again);
    assert!(state.is_none());
    assert_eq!(first.sign(&bls_key(0)), second.sign(&bls_key(0)));
}

#[test]
fn a10_no_second_block_of_a_slot_gets_a_vote() {
    let mut honest = Honest::of_four();
    honest.grow(2);
    let one = honest.child_of(2, 1, |_| ());
    let other = honest.child_of(2, 1, |link| {
        link.header.bitcoin.height = BtcHeight::new(101)
    });
    assert_ne!(one.header.id(), other.header.id());
    let state = vote(&honest, &fresh(), &one).unwrap();
    let refusal = vote(&honest, &durable(state), &other).unwrap_err();
    assert_eq!(refusal.rule, Rule::SlotMonotonic);
}

#[test]
fn a10_votes_and_proposals_are_different_messages_on_every_chain() {
    let mut honest = Honest::of_four();
    let header = honest.extend(1, |_| ()).header.clone();
    let mut elsewhere = header.clone();
    elsewhere.chain_id = ChainId::new(1);
    assert_ne!(header.approval_message(), header.proposal_message());
    assert_ne!(header.approval_message(), elsewhere.approval_message());
}

#[test]
fn a_failed_write_releases_nothing() {
    let mut honest = Honest::of_four();
    let link = honest.extend(1, |_| ()).clone();
    let decision = signer(&honest.chain)
        .approve(&fresh(), &context(NOW), &honest.approve(&link))
        .unwrap();
    // There is no intent in the error: nothing to sign with.
    let error = decision.persist(|_state| Err("disk full")).unwrap_err();
    assert_eq!(error, "disk full");
}

#[test]
fn chain() {
    assert_eq!(refused_with(|_| ()), None);
    let change = |link: &mut Link| link.header.chain_id = ChainId::new(1);
    assert_eq!(refused_with(change), Some(Rule::Chain));
    let change = |link: &mut Link| link.header.version = 2;
    assert_eq!(refused_with(change), Some(Rule::Chain));
}

#[test]
fn epoch() {
    let change = |link: &mut Link| link.header.epoch = Epoch::new(1);
    assert_eq!(refused_with(change), Some(Rule::Epoch));
}

#[test]
fn leader() {
    let mut honest = Honest::of_four();
    let signer = signer(&honest.chain);
    // Genesis is in slot 1000 and 1001 mod 4 = 1, so member 0 leads slot 1004.
    let own = honest.child_of(0, 4, |_| ()).header;
    let other = honest.extend(1, |_| ()).header.clone();
    let decision = signer.sign_proposal(&fresh(), &context(NOW), &own).unwrap();
    let (state, intent) = persist(decision);
    let state = state.unwrap();
    assert_eq!(
        bls_key(0)
            .public_key()
            .verify(&own.proposal_message(), &intent.sign(&bls_key(0))),
        Ok(())
    );
    assert_eq!(
        signer
            .sign_proposal(&fresh(), &context(NOW), &other)
            .unwrap_err()
            .rule,
        Rule::Leader
    );
    // A repeat is answered, another block of the slot is not.
    assert!(
        !signer
            .sign_proposal(&state, &context(NOW), &own)
            .unwrap()
            .is_new()
    );
    let rival = honest.child_of(0, 4, |link| {
        link.header.bitcoin.height = BtcHeight::new(101);
    });
    assert_eq!(
        signer
            .sign_proposal(&state, &context(NOW), &rival.header)
            .unwrap_err()
            .rule,
        Rule::SlotMonotonic
    );
    let recorded = state.get().proposed.clone();
    let expected = Proposed {
        slot: own.slot,
        block: own.id(),
    };
    assert_eq!(recorded, Some(expected));
}

#[test]
fn slot_monotonic() {
    let mut honest = Honest::of_four();
    honest.grow(2);
    let link = honest.child_of(2, 3, |_| ());
    let at = |slot| {
        durable(VoteState {
            last_slot: Slot::new(slot),
            ..VoteState::default()
        })
    };
    let slot = link.header.slot.get();
    assert!(vote(&honest, &at(slot - 1), &link).is_ok());
    for last in [slot, slot + 1] {
        let refusal = vote(&honest, &at(last), &link).unwrap_err();
        assert_eq!(refusal.rule, Rule::SlotMonotonic);
    }
    let parent_slot = honest.tip().header.slot;
    for slot in [parent_slot, parent_slot.saturating_sub(1)] {
        let link = honest.child_of(2, 1, |link| link.header.slot = slot);
        let refusal = vote(&honest, &fresh(), &link).unwrap_err();
        assert_eq!(refusal.rule, Rule::SlotMonotonic);
    }
}

#[test]
fn slot_horizon() {
    let mut honest = Honest::of_four();
    let link = honest.extend(10, |_| ()).clone();
    let signer = signer(&honest.chain);
    let at = |back| {
        let now = link.header.slot.saturating_sub(back);
        signer
            .approve(&fresh(), &context(now), &honest.approve(&link))
            .map(|_| ())
            .map_err(|refusal| refusal.rule)
    };
    assert_eq!(at(0), Ok(()));
    assert_eq!(at(2), Ok(()));
    assert_eq!(at(3), Err(Rule::SlotHorizon));
    let own = honest.child_of(0, 4, |_| ()).header;
    let refusal = signer.sign_proposal(&fresh(), &context(own.slot.saturating_sub(3)), &own);
    assert_eq!(refusal.unwrap_err().rule, Rule::SlotHorizon);
}

#[test]
fn parent_certified() {
    const RULE: Rule = Rule::ParentCertified;
    let drop = |link: &mut Link| link.body.parent_certificate = None;
    assert_eq!(refused_with(drop), Some(RULE));
    let mut honest = Honest::of_four();
    honest.grow(3);
    let grandparent = honest.links[2].header.id();
    let wrong_block = honest.certificate(grandparent);
    assert_eq!(
        refused_with(|link| link.body.parent_certificate = Some(wrong_block)),
        Some(RULE)
    );
    let mut forged = honest.certificate(honest.tip().header.id());
    forged.signature = honest.certificate(grandparent).signature;
    assert_eq!(
        refused_with(|link| link.body.parent_certificate = Some(forged)),
        Some(RULE)
    );
    let mut too_few = honest.certificate(honest.tip().header.id());
    too_few.signers = BoundedVec::new(vec![0b0110]).unwrap();
    assert_eq!(
        refused_with(|link| link.body.parent_certificate = Some(too_few)),
        Some(RULE)
    );
    // Another header in the parent's place.
    let mut swapped = honest.approve(&honest.child_of(3, 1, |_| ()));
    swapped.parent.body_root = alys_protocol::bytes::BodyRoot::ZERO;
    let refusal = vote::parent_certified(
        &honest.chain,
        &swapped.header,
        swapped.parent.id(),
        &swapped.body,
    );
    assert_eq!(refusal.unwrap_err().rule, RULE);
    // The whole decision refuses it, too, by whichever rule comes first.
    refused(&honest, &swapped);
}

#[test]
fn a6_genesis_is_a_parent_by_its_id_not_by_its_height() {
    let honest = Honest::of_four();
    let link = honest.child_of(0, 1, |_| ());
    assert!(vote(&honest, &fresh(), &link).is_ok());
    // A certificate of genesis is refused.
    let genesis = honest.chain.genesis_id();
    let certificate = honest.certificate(genesis);
    let link = honest.child_of(0, 1, |link| {
        link.body.parent_certificate = Some(certificate);
    });
    let refusal = vote(&honest, &fresh(), &link).unwrap_err();
    assert_eq!(refusal.rule, Rule::ParentCertified);
    // A stranger's block at height 0 is no genesis.
    let mut other = Honest::of_four();
    other.links[0].header.slot = Slot::new(fixtures::GENESIS_SLOT - 1);
    let link = other.child_of(0, 1, |link| link.body.parent_certificate = None);
    let refusal = vote(&other, &fresh(), &link).unwrap_err();
    assert_eq!(refusal.rule, Rule::ParentCertified);
}

#[test]
fn longest_chain() {
    let mut honest = Honest::of_four();
    honest.grow(4);
    let locked = |height| {
        durable(VoteState {
            lock: SideHeight::new(height),
            ..VoteState::default()
        })
    };
    let link = honest.child_of(3, 9, |_| ());
    assert!(vote(&honest, &locked(3), &link).is_ok());
    let refusal = vote(&honest, &locked(4), &link).unwrap_err();
    assert_eq!(refusal.rule, Rule::LongestChain);
    // The lock never goes down.
    let state = vote(&honest, &locked(2), &link).unwrap();
    assert_eq!(state.lock, SideHeight::new(3));
}

#[test]
fn height() {
    let mut honest = Honest::of_four();
    honest.grow(3);
    for height in [3, 5, u64::MAX] {
        let mut request = honest.approve(&honest.child_of(3, 1, |_| ()));
        request.header.height = SideHeight::new(height);
        assert_eq!(refused(&honest, &request), Rule::Height, "{height}");
    }
    assert!(vote::height(SideHeight::MAX, SideHeight::ZERO).is_err());
}

#[test]
fn history() {
    let change = |link: &mut Link| link.header.history_root = HistoryRoot::ZERO;
    assert_eq!(refused_with(change), Some(Rule::History));
    let mut honest = Honest::of_four();
    honest.grow(5);
    let link = honest.child_of(5, 1, |_| ());
    let mut request = honest.approve(&link);
    assert!(vote(&honest, &fresh(), &link).is_ok());
    request.parent_history = honest.links[4].history.clone();
    assert_eq!(refused(&honest, &request), Rule::History);
    request.parent_history = Peaks::new(5, vec![alys_protocol::bytes::Digest::ZERO; 2]).unwrap();
    assert_eq!(refused(&honest, &request), Rule::History);
    // Peaks that do not fit their number, as only a decoder can make them.
    let encoded = postcard::to_allocvec(&(5u64, Vec::<[u8; 32]>::new())).unwrap();
    request.parent_history = postcard::from_bytes(&encoded).unwrap();
    assert_eq!(refused(&honest, &request), Rule::History);
}

fn batch(first: u64, next: u64, replaces: Option<[u8; 32]>) -> Option<BatchRecord> {
    Some(BatchRecord {
        first_burn: BurnSequence::new(first),
        next_burn: BurnSequence::new(next),
        fee_rate: SatsPerKvb::new(1000),
        replaces: replaces.map(alys_protocol::bytes::BatchId::new),
        skipped: BoundedVec::empty(),
        transaction: BoundedVec::new(moves_nothing()).unwrap(),
    })
}

/// A transaction of one input and no output, without signatures.
fn moves_nothing() -> Vec<u8> {
    bitcoin::consensus::serialize(&bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn::default()],
        output: Vec::new(),
    })
}

fn pow_record() -> Option<PowRecord> {
    Some(PowRecord {
        start: BlockId::ZERO,
        fee_recipient: EvmAddress::ZERO,
        auxpow: BoundedVec::empty(),
    })
}

#[test]
fn counters_of_the_cursor() {
    let to = |height, tx, hash: Option<[u8; 32]>| {
        move |link: &mut Link| {
            link.header.bitcoin.height = BtcHeight::new(height);
            link.header.bitcoin.next_tx = tx;
            if let Some(hash) = hash {
                link.header.bitcoin.hash = bitcoin::hashes::Hash::from_byte_array(hash);
            }
        }
    };
    // It passes this rule, and is refused because the signer has no Bitcoin headers.
    let ahead = refused_with(to(101, 7, Some([9; 32])));
    assert_eq!(ahead, Some(Rule::DepositOrder));
    assert_eq!(refused_with(to(99, u32::MAX, None)), Some(Rule::Counters));
    assert_eq!(refused_with(to(100, 5, None)), Some(Rule::Counters));
    let other_block = to(100, u32::MAX, Some([9; 32]));
    assert_eq!(refused_with(other_block), Some(Rule::Counters));
    let consumed = alys_protocol::peg::ConsumedTransaction {
        height: BtcHeight::new(101),
        block: bitcoin::hashes::Hash::from_byte_array([9; 32]),
        index: 1,
        bytes: BoundedVec::empty(),
    };
    // Consumed transactions without a cursor that passes them.
    assert_eq!(
        refused_with(|link| link.body.consumed = BoundedVec::new(vec![consumed]).unwrap()),
        Some(Rule::Counters)
    );
}

/// Within a block the cursor goes on in that block and in no other of its height.
#[test]
fn counters_of_a_cursor_within_a_block() {
    let mut honest = Honest::of_four();
    honest.grow(3);
    let at = |height, tx, hash: [u8; 32]| {
        move |link: &mut Link| {
            link.header.bitcoin.height = BtcHeight::new(height);
            link.header.bitcoin.hash = bitcoin::hashes::Hash::from_byte_array(hash);
            link.header.bitcoin.next_tx = tx;
        }
    };
    honest.extend(1, at(101, 3, [9; 32]));
    let judged = |change: &dyn Fn(&mut Link)| {
        let link = honest.child_of(4, 1, change);
        let parent = &honest.links[4].header;
        counters(&honest.chain, &link.header, parent, &link.body).map_err(|refusal| refusal.rule)
    };
    assert_eq!(judged(&at(101, 4, [9; 32])), Ok(()));
    assert_eq!(judged(&at(102, 0, [8; 32])), Ok(()));
    assert_eq!(judged(&at(101, 4, [8; 32])), Err(Rule::Counters));
    assert_eq!(judged(&at(101, 3, [8; 32])), Err(Rule::Counters));
    assert_eq!(judged(&at(101, 2, [9; 32])), Err(Rule::Counters));
}

#[test]
fn counters_of_burns() {
    let next = |burn, record: Option<BatchRecord>| {
        move |link: &mut Link| {
            link.header.next_burn = BurnSequence::new(burn);
            link.body.batch = record;
        }
    };
    assert_eq!(refused_with(next(2, batch(0, 2, None))), None);
    assert_eq!(refused_with(next(0, batch(0, 0, None))), None);
    for (burn, record) in [
        (1, None),
        (2, batch(0, 1, None)),
        (2, batch(1, 2, None)),
        (0, batch(0, 2, None)),
        (0, batch(1, 0, None)),
        // A replacement of burns that are in no batch, or one that moves next_burn.
        (0, batch(0, 1, Some([1; 32]))),
        (1, batch(0, 1, Some([1; 32]))),
    ] {
        let found = refused_with(next(burn, record.clone()));
        assert_eq!(found, Some(Rule::Counters), "{burn} {record:?}");
    }
    // A replacement leaves next_burn as it is.
    let mut honest = Honest::of_four();
    honest.extend(1, |link| {
        link.header.next_burn = BurnSequence::new(2);
        link.body.batch = batch(0, 2, None);
    });
    let link = honest.child_of(1, 1, |link| link.body.batch = batch(0, 2, Some([1; 32])));
    assert!(vote(&honest, &fresh(), &link).is_ok());
}

#[test]
fn counters_of_work_and_fees() {
    let pow = |record, count, height, fees| {
        move |link: &mut Link| {
            link.body.pow = record;
            link.header.pow.count = PowCount::new(count);
            link.header.pow.height = SideHeight::new(height);
            link.header.fees_distributed = Wei::new(fees);
        }
    };
    // It passes this rule, and is refused because nothing shows the range.
    let without = refused_with(pow(pow_record(), 1, 2, 5));
    assert_eq!(without, Some(Rule::Bundle));
    for change in [
        pow(None, 1, 0, 0),
        pow(None, 0, 2, 0),
        pow(None, 0, 0, 5),
        pow(pow_record(), 0, 2, 0),
        pow(pow_record(), 2, 2, 0),
        pow(pow_record(), 1, 0, 0),
        // The block itself cannot be in its own range.
        pow(pow_record(), 1, 4, 0),
    ] {
        assert_eq!(refused_with(change), Some(Rule::Counters));
    }
    let mut honest = Honest::of_four();
    honest.grow(3);
    honest.extend(1, pow(pow_record(), 1, 2, 5));
    let link = honest.child_of(4, 1, pow(pow_record(), 2, 3, 4));
    let refusal = vote(&honest, &fresh(), &link).unwrap_err();
    assert_eq!(refusal.rule, Rule::Counters);
}

#[test]
fn counters_hold_for_the_body_that_the_header_names() {
    let mut honest = Honest::of_four();
    honest.grow(3);
    let mut request = honest.approve(&honest.child_of(3, 1, |_| ()));
    request.body.pow = pow_record();
    assert_eq!(refused(&honest, &request), Rule::Counters);
}

#[test]
fn execution_header() {
    let mut honest = Honest::of_four();
    honest.grow(3);
    let refused_when = |change: &dyn Fn(&mut ExecutionHeader)| {
        let mut link = honest.child_of(3, 1, |_| ());
        let mut execution = ExecutionHeader::decode(&mut &link.execution_header[..]).unwrap();
        change(&mut execution);
        seal(&honest.chain, &mut link, &execution);
        vote(&honest, &fresh(), &link)
            .err()
            .map(|refusal| refusal.rule)
    };
    assert_eq!(refused_when(&|_| ()), None);
    // What only the execution client can judge is free.
    assert_eq!(
        refused_when(&|execution| execution.state_root = B256::repeat_byte(9)),
        None
    );
    let changes: [&dyn Fn(&mut ExecutionHeader); 12] = [
        &|execution| execution.parent_hash = B256::ZERO,
        &|execution| execution.ommers_hash = B256::ZERO,
        &|execution| execution.beneficiary = Address::ZERO,
        &|execution| execution.difficulty = U256::from(1),
        &|execution| execution.number += 1,
        &|execution| execution.timestamp += 1,
        &|execution| execution.prev_randao = B256::ZERO,
        &|execution| execution.nonce = B64::repeat_byte(1),
        &|execution| execution.withdrawals_root = B256::ZERO,
        &|execution| execution.blob_gas_used = 1,
        &|execution| execution.excess_blob_gas = 1,
        &|execution| execution.parent_beacon_block_root = B256::ZERO,
    ];
    for (place, change) in changes.into_iter().enumerate() {
        assert_eq!(refused_when(change), Some(Rule::ExecutionHeader), "{place}");
    }
    assert_eq!(
        refused_when(&|execution| execution.requests_hash = B256::ZERO),
        Some(Rule::ExecutionHeader)
    );
}

#[test]
fn execution_header_bytes_must_be_exactly_one_header() {
    let mut honest = Honest::of_four();
    honest.grow(3);
    let bytes_refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut link = honest.child_of(3, 1, |_| ());
        change(&mut link.execution_header);
        link.header.execution_hash = alys_protocol::bytes::ExecutionHash::new(
            alloy_primitives::keccak256(&link.execution_header).0,
        );
        let refusal = vote(&honest, &fresh(), &link).unwrap_err();
        assert_eq!(refusal.rule, Rule::ExecutionHeader);
    };
    bytes_refused(&|bytes| bytes.push(0));
    bytes_refused(&|bytes| bytes.truncate(bytes.len() - 1));
    bytes_refused(&Vec::clear);
    // Other bytes than the hash names.
    let mut request = honest.approve(&honest.child_of(3, 1, |_| ()));
    request.execution_header = BoundedVec::new(vec![0xc0]).unwrap();
    assert_eq!(refused(&honest, &request), Rule::ExecutionHeader);
}

#[test]
fn a1_a_withdrawal_that_the_evidence_does_not_show_is_refused() {
    let mut honest = Honest::of_four();
    honest.grow(3);
    let withdrawal = Withdrawal {
        index: 4 << 16,
        validator_index: 0,
        address: EvmAddress::new([1; 20]),
        amount: Gwei::new(1),
    };
    let link = honest.child_of(3, 1, |link| link.withdrawals = vec![withdrawal; 2]);
    let mut request = honest.approve(&link);
    assert_eq!(refused(&honest, &request), Rule::WithdrawalsExact);
    request.withdrawals = BoundedVec::new(vec![withdrawal]).unwrap();
    assert_eq!(refused(&honest, &request), Rule::ExecutionHeader);
}

#[test]
fn pow_distance() {
    let mut spec = fixtures::spec(None);
    spec.mining.max_blocks_without_pow = 2;
    let mut honest = Honest::new(Chain::new(spec).unwrap());
    honest.grow(3);
    let account = honest.extend_with_vault(None);
    // 2, 3, 4 certified: 3 is final for a child of 4, and 3 - 0 > 2.
    let without = honest.child_of(4, 1, |_| ());
    let refusal = vote(&honest, &fresh(), &without).unwrap_err();
    assert_eq!(refusal.rule, Rule::PowDistance);
    let (_, with) = honest.child_with_record(3, account);
    let decision = signer(&honest.chain).approve(&fresh(), &context(NOW), &with);
    assert!(decision.is_ok());
    // What is final cannot be hidden, nor replaced.
    let honest_request = honest.approve(&without);
    let mut hidden = honest_request.clone();
    let [second, first] = &*honest_request.ancestors else {
        panic!("two ancestors");
    };
    let changed = [
        vec![],
        vec![second.clone()],
        vec![first.clone(), second.clone()],
    ];
    for ancestors in changed {
        hidden.ancestors = BoundedVec::new(ancestors).unwrap();
        assert_eq!(refused(&honest, &hidden), Rule::PowDistance);
    }
    // One block earlier 2 is final, and 2 - 0 is not above 2.
    let earlier = honest.child_of(3, 1, |_| ());
    assert!(vote(&honest, &fresh(), &earlier).is_ok());
}

#[test]
fn pow_distance_remembers_what_was_final_on_the_same_chain_only() {
    let mut honest = Honest::of_four();
    honest.grow(5);
    // Blocks 3, 4, 5 make 4 final for block 6; after a gap its child 7 shows nothing final by itself.
    honest.extend(7, |_| ());
    let state = vote(&honest, &fresh(), honest.tip()).unwrap();
    assert_eq!(state.voted.as_ref().unwrap().final_height.get(), 4);
    let child = honest.child_of(6, 1, |_| ());
    let state = vote(&honest, &durable(state), &child).unwrap();
    assert_eq!(state.voted.as_ref().unwrap().final_height.get(), 4);
    // A signer that did not vote for an ancestor knows nothing of it.
    let unknowing = vote(&honest, &fresh(), &child).unwrap();
    assert_eq!(unknowing.voted.as_ref().unwrap().final_height.get(), 0);
}

#[test]
fn three_blocks_need_links_and_consecutive_slots() {
    let mut honest = Honest::of_four();
    honest.grow(3);
    let headers: Vec<_> = honest
        .links
        .iter()
        .map(|link| link.header.clone())
        .collect();
    let three = |newest: usize| {
        let ancestors: Vec<_> = headers[..newest].iter().rev().take(2).cloned().collect();
        final_of_three(&headers[newest], &ancestors)
    };
    assert_eq!(three(3), Some(SideHeight::new(2)));
    // Genesis is never one of the three.
    assert_eq!(three(2), None);
    assert_eq!(three(1), None);
    let stranger = honest.child_of(1, 2, |_| ()).header;
    let unlinked = [stranger, headers[1].clone()];
    assert_eq!(final_of_three(&headers[3], &unlinked), None);
    let mut gap = Honest::of_four();
    gap.grow(2);
    gap.extend(2, |_| ());
    let ancestors = [gap.links[2].header.clone(), gap.links[1].header.clone()];
    assert_eq!(final_of_three(&gap.tip().header, &ancestors), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A7: whatever bytes arrive, no panic; and what passes extends the certified parent.
    #[test]
    fn a7_changed_bytes_never_panic_nor_move_the_parent(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        static HONEST: LazyLock<(Honest, Link, Signer)> = LazyLock::new(|| {
            let mut honest = Honest::of_four();
            honest.grow(3);
            let link = honest.child_of(3, 1, |_| ());
            let signer = signer(&honest.chain);
            (honest, link, signer)
        });
        let (honest, link, signer) = &*HONEST;
        let mut bytes = postcard::to_allocvec(&honest.approve(link)).unwrap();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(changed) = postcard::from_bytes::<ApproveRequest>(&bytes)
            && signer.approve(&fresh(), &context(NOW), &changed).is_ok()
        {
            prop_assert_eq!(&changed.parent, &honest.tip().header);
            prop_assert_eq!(&changed.body, &link.body);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is asked in whatever order, votes' slots strictly increase and the lock never falls.
    #[test]
    fn votes_only_go_up(asked in proptest::collection::vec((0u64..6, 1u64..8), 1..24)) {
        let mut honest = Honest::of_four();
        honest.grow(5);
        let mut state = fresh();
        let mut slots = Vec::new();
        for (parent, after) in asked {
            let link = honest.child_of(parent, after, |_| ());
            let before = state.get().clone();
            let Ok(decision) = signer(&honest.chain).approve(&state, &context(NOW), &honest.approve(&link)) else {
                continue;
            };
            let (Some(next), _intent) = persist(decision) else {
                prop_assert_eq!(before.voted.unwrap().block, link.header.id());
                continue;
            };
            state = next;
            prop_assert!(state.get().lock >= before.lock);
            prop_assert_eq!(state.get().lock, before.lock.max(SideHeight::new(parent)));
            prop_assert!(SideHeight::new(parent) >= before.lock);
            slots.push(link.header.slot);
        }
        prop_assert!(slots.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
