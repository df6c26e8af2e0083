//! Rules of area `pegout`: each lets an honest request pass and refuses a changed one, through the whole decision.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alys_protocol::bounded::BoundedVec;
use alys_protocol::rules::Rule;
use alys_protocol::signer::PegOutRequest;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, Sats, SatsPerKvb};
use alys_signer_core::clock::WindowTime;
use alys_signer_core::state::PegOutState;
use alys_signer_core::window::Payments;
use alys_signer_core::{Policy, Signer};
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use bitcoin::{Amount, ScriptBuf, Sequence, Transaction, absolute, transaction};
use fixtures::pegout::{Plan, outpoint, request, request_with};
use fixtures::session::{Session, signer_with, three};
use fixtures::{Honest, bls_key, schnorr_key, x_only};

#[test]
fn an_honest_batch_is_signed_and_the_shares_spend() {
    let mut session = Session::new();
    let request = request(&mut session.honest, &three());
    let shares = session.shares(&request).unwrap();
    let wallet = session.honest.chain.wallet();
    let transaction = request.record.decode_transaction().unwrap();
    let sighashes = wallet.sighashes(&transaction, &request.values).unwrap();
    assert_eq!(shares.len(), 2);
    for (share, sighash) in shares.iter().zip(sighashes) {
        let signature = schnorr::Signature::from_slice(share.as_bytes()).unwrap();
        let key = schnorr_key(0).x_only_public_key().0;
        Secp256k1::new()
            .verify_schnorr(&signature, &Message::from_digest(sighash), &key)
            .unwrap();
    }
    assert_eq!(session.state.get().next_burn, BurnSequence::new(3));
}

#[test]
fn a_repeat_gives_the_same_shares_and_other_values_do_not_block_it() {
    let mut session = Session::new();
    let request = request(&mut session.honest, &three());
    // A lying node first: values that add up but are not the coins'. The shares are worthless.
    let mut lying = request.clone();
    lying.values = BoundedVec::new(vec![Sats::new(19_000_000), Sats::new(21_000_000)]).unwrap();
    let worthless = session.shares(&lying).unwrap();
    let shares = session.shares(&request).unwrap();
    assert_ne!(worthless, shares);
    let before = session.state.get().clone();
    assert_eq!(session.shares(&request).unwrap(), shares);
    assert_eq!(session.shares(&lying).unwrap(), worthless);
    assert_eq!(*session.state.get(), before);
    // Known does not mean unjudged: the sum of the values still decides the fee.
    lying.values = BoundedVec::new(vec![Sats::new(20_000_000), Sats::new(21_000_000)]).unwrap();
    assert_eq!(session.shares(&lying), Err(Rule::Change));
}

#[test]
fn n10_shares_use_each_nonce_for_one_message() {
    let mut session = Session::new();
    let request = request(&mut session.honest, &three());
    let shares = session.shares(&request).unwrap();
    // The first half of a BIP-340 signature is its nonce's point.
    assert_ne!(shares[0].as_bytes()[..32], shares[1].as_bytes()[..32]);
}

#[test]
fn batch_recorded() {
    let mut session = Session::new();
    let honest = request(&mut session.honest, &three());
    assert_eq!(session.judge(&honest), Ok(()));
    const RULE: Rule = Rule::BatchRecorded;
    let mut branch = honest.clone();
    branch.body_branch.siblings.swap(0, 1);
    assert_eq!(session.judge(&branch), Err(RULE));
    let mut parent = honest.clone();
    parent.recording_parent.next_burn = BurnSequence::new(1);
    assert_eq!(session.judge(&parent), Err(RULE));
    let mut elsewhere = honest;
    elsewhere.recording.epoch = alys_protocol::units::Epoch::new(9);
    assert_eq!(session.judge(&elsewhere), Err(Rule::Epoch));
    elsewhere.recording.chain_id = alys_protocol::units::ChainId::new(9);
    assert_eq!(session.judge(&elsewhere), Err(Rule::Chain));
}

#[test]
fn a11_gossiped_work_that_no_final_block_records_is_not_signed() {
    let mut session = Session::new();
    let honest = request(&mut session.honest, &three());
    let mut other_rate = honest.clone();
    other_rate.record.fee_rate = SatsPerKvb::new(4_999);
    assert_eq!(session.judge(&other_rate), Err(Rule::BatchRecorded));
    // A transaction that pays somebody else, under the same numbers.
    let mut thief = honest.clone();
    let mut transaction = honest.record.decode_transaction().unwrap();
    transaction.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
    let bytes = bitcoin::consensus::serialize(&transaction);
    thief.record.transaction = BoundedVec::new(bytes).unwrap();
    assert_eq!(session.judge(&thief), Err(Rule::BatchRecorded));
    // Recorded as it is, but the burns in the evidence are others: the outputs are derived anew from them.
    let mut burns = honest.burns.clone().into_inner();
    burns[0].burn.amount = Sats::new(1_999_999);
    let mut other_burns = honest.clone();
    other_burns.burns = BoundedVec::new(burns).unwrap();
    assert_eq!(session.judge(&other_burns), Err(Rule::OutputsExact));
    // Recorded in a block that a quorum certified but that is not final.
    let mut not_final = honest;
    let tip = session.honest.tip().header.id();
    not_final.finality.headers.swap(1, 2);
    not_final.finality.certificate = session.honest.certificate(tip);
    assert_eq!(session.judge(&not_final), Err(Rule::Finality));
}

#[test]
fn batch_recorded_spans_the_recording_blocks_burns() {
    // A block that records burns 0 to 2 but says that next_burn is 5.
    let mut session = Session::new();
    session.honest.grow(1);
    let plan = three();
    let transaction = fixtures::pegout::transaction(&session.honest.chain, &plan);
    let mut forged = request_with(&mut session.honest, &plan, &transaction);
    forged.recording.next_burn = BurnSequence::new(5);
    assert_eq!(session.judge(&forged), Err(Rule::BatchRecorded));
}

#[test]
fn finality() {
    const RULE: Rule = Rule::Finality;
    let mut session = Session::new();
    let honest = request(&mut session.honest, &three());
    let refused = |change: &dyn Fn(&mut PegOutRequest)| {
        let mut request = honest.clone();
        change(&mut request);
        session.judge(&request)
    };
    assert_eq!(refused(&|_| ()), Ok(()));
    assert_eq!(
        refused(&|request| request.recording_history = None),
        Err(RULE)
    );
    // Blocks 2 (recording), 3, 4. The certificate of another block.
    let second = session.honest.links[3].header.id();
    let certificate = session.honest.certificate(second);
    assert_eq!(
        refused(&|request| request.finality.certificate = certificate.clone()),
        Err(RULE)
    );
    // Three headers that do not follow each other.
    let first = session.honest.links[1].header.clone();
    assert_eq!(
        refused(&|request| request.finality.headers[0] = first.clone()),
        Err(RULE)
    );
    let proof = session.honest.history_proof(3, 1);
    assert_eq!(
        refused(&|request| request.recording_history = Some(proof.clone())),
        Err(RULE)
    );
}

#[test]
fn finality_needs_consecutive_slots_above_genesis() {
    let mut session = Session::new();
    let plan = three();
    let mut request = request(&mut session.honest, &plan);
    // Honest blocks, certified, but with a gap between their slots: 4, 5, 6 with 6 two slots after 5.
    session.honest.extend(1, |_| ());
    session.honest.extend(2, |_| ());
    let headers = [4, 5, 6].map(|place: usize| session.honest.links[place].header.clone());
    request.finality.certificate = session.honest.certificate(headers[2].id());
    request.finality.headers = headers;
    request.recording_history = Some(session.honest.history_proof(5, 2));
    assert_eq!(session.judge(&request), Err(Rule::Finality));
    // Genesis, 1, 2: certified and in consecutive slots, but genesis is none of the three.
    let headers = [0, 1, 2].map(|place: usize| session.honest.links[place].header.clone());
    request.finality.certificate = session.honest.certificate(headers[2].id());
    request.finality.headers = headers;
    assert_eq!(session.judge(&request), Err(Rule::Finality));
}

#[test]
fn the_second_header_itself_may_record_the_batch() {
    let mut session = Session::new();
    session.honest.grow(2);
    let mut request = request(&mut session.honest, &three());
    let place = usize::try_from(request.recording.height.get()).unwrap();
    let headers = [place - 1, place, place + 1].map(|at| session.honest.links[at].header.clone());
    let (second, carrier) = (place as u64, place as u64 - 1);
    request.pow = Some(session.honest.pow_finality(second, carrier));
    assert_eq!(headers[1].id(), request.recording.id());
    request.finality.certificate = session.honest.certificate(headers[2].id());
    request.finality.headers = headers;
    request.recording_history = None;
    assert_eq!(session.judge(&request), Ok(()));
}

#[test]
fn burn_sequence() {
    const RULE: Rule = Rule::BurnSequence;
    let mut session = Session::new();
    let honest = request(&mut session.honest, &three());
    let mut skipping = honest.clone();
    let mut burns = skipping.burns.clone().into_inner();
    burns[1].burn.sequence = BurnSequence::new(7);
    skipping.burns = BoundedVec::new(burns.clone()).unwrap();
    assert_eq!(session.judge(&skipping), Err(RULE));
    burns.truncate(1);
    skipping.burns = BoundedVec::new(burns).unwrap();
    assert_eq!(session.judge(&skipping), Err(RULE));
    assert!(session.sign(&honest).is_ok());
    // The same burns again, from other coins, recorded by a chain that should not have.
    let mut again = three();
    again.inputs = vec![(outpoint(8), 40_000_000)];
    let transaction = fixtures::pegout::transaction(&session.honest.chain, &again);
    session.honest.links.truncate(1);
    let twice = request_with(&mut session.honest, &again, &transaction);
    assert_eq!(session.judge(&twice), Err(RULE));
}

#[test]
fn a_signer_that_missed_batches_goes_on_and_may_catch_up() {
    let mut session = Session::new();
    let batches: Vec<_> = (0..4u8)
        .map(|burn| {
            request(
                &mut session.honest,
                &Plan::simple(u64::from(burn), burn + 1),
            )
        })
        .collect();
    assert!(session.sign(&batches[2]).is_ok());
    assert!(session.sign(&batches[0]).is_ok());
    assert!(session.sign(&batches[3]).is_ok());
    assert_eq!(session.state.get().gaps.len(), 1);
    assert!(session.sign(&batches[1]).is_ok());
    assert_eq!(session.state.get().gaps, vec![]);
    assert_eq!(session.state.get().next_burn, BurnSequence::new(4));
    for batch in &batches {
        assert!(session.judge(batch).is_ok(), "each is a repeat now");
    }
}

#[test]
fn outputs_exact() {
    const RULE: Rule = Rule::OutputsExact;
    let plan = three();
    assert_eq!(Session::changed(&plan, |_| ()), Ok(()));
    let siphon = |from: usize, to: usize| {
        move |transaction: &mut Transaction| {
            transaction.output[from].value -= Amount::from_sat(1);
            transaction.output[to].value += Amount::from_sat(1);
        }
    };
    assert_eq!(Session::changed(&plan, siphon(0, 3)), Err(RULE));
    assert_eq!(Session::changed(&plan, siphon(3, 0)), Err(RULE));
    assert_eq!(
        Session::changed(&plan, |tx| tx.output.swap(0, 1)),
        Err(RULE)
    );
    let redirect = |tx: &mut Transaction| {
        tx.output[1].script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
    };
    assert_eq!(Session::changed(&plan, redirect), Err(RULE));
}

#[test]
fn change() {
    const RULE: Rule = Rule::Change;
    let plan = three();
    let redirect = |tx: &mut Transaction| {
        tx.output[3].script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
    };
    assert_eq!(Session::changed(&plan, redirect), Err(RULE));
    let less = |tx: &mut Transaction| tx.output[3].value -= Amount::from_sat(1);
    assert_eq!(Session::changed(&plan, less), Err(RULE));
    // Change given to the miner: the burns' shares are those without a change output.
    let mut session = Session::new();
    let mut without = fixtures::pegout::transaction(&session.honest.chain, &plan);
    let wallet = session.honest.chain.wallet();
    without.output.truncate(3);
    let scripts = without
        .output
        .iter()
        .map(|output| output.script_pubkey.as_bytes());
    let vsize = wallet.batch_vsize(2, scripts);
    let fee = alys_protocol::peg::fee(SatsPerKvb::new(plan.rate), vsize).unwrap();
    let share = alys_protocol::peg::fee_share(fee, 3).get();
    for (output, amount) in without.output.iter_mut().zip(&plan.amounts) {
        output.value = Amount::from_sat(amount - share);
    }
    let request = request_with(&mut session.honest, &plan, &without);
    assert_eq!(session.judge(&request), Err(RULE));
}

#[test]
fn dust_change_goes_to_the_fee() {
    let mut plan = Plan::simple(0, 1);
    // One burn pays the whole fee, so what is above the burn's amount is change.
    for (above, outputs) in [(0, 1), (329, 1), (330, 2), (5_000, 2)] {
        plan.inputs[0].1 = 2_000_000 + above;
        let mut session = Session::new();
        let request = request(&mut session.honest, &plan);
        let transaction = request.record.decode_transaction().unwrap();
        assert_eq!(transaction.output.len(), outputs, "{above}");
        assert_eq!(session.judge(&request), Ok(()), "{above}");
    }
    // A change output that is dust.
    plan.inputs[0].1 = 2_000_330;
    let dust = |tx: &mut Transaction| tx.output[1].value -= Amount::from_sat(1);
    assert_eq!(Session::changed(&plan, dust), Err(Rule::Change));
}

#[test]
fn fee_rate() {
    let mut plan = three();
    plan.rate = 200_000;
    assert_eq!(Session::changed(&plan, |_| ()), Ok(()));
    plan.rate = 200_001;
    assert_eq!(Session::changed(&plan, |_| ()), Err(Rule::FeeRate));
    // The signer's own limit, below the spec's.
    let mut session = Session::new();
    session.signer = signer_with(&session.honest.chain, |policy| {
        policy.max_fee_rate_sats_per_kvb = SatsPerKvb::new(4_999);
    });
    let request = request(&mut session.honest, &three());
    assert_eq!(session.judge(&request), Err(Rule::FeeRate));
}

#[test]
fn fee_absolute() {
    let mut session = Session::new();
    let request = request(&mut session.honest, &three());
    let transaction = request.record.decode_transaction().unwrap();
    let paid: u64 = transaction
        .output
        .iter()
        .map(|out| out.value.to_sat())
        .sum();
    let fee = 40_000_000 - paid;
    for (limit, expected) in [(fee, Ok(())), (fee - 1, Err(Rule::FeeAbsolute))] {
        session.signer = signer_with(&session.honest.chain, |policy| {
            policy.max_fee_sats = Sats::new(limit);
        });
        assert_eq!(session.judge(&request), expected);
    }
}

#[test]
fn tx_shape() {
    const RULE: Rule = Rule::TxShape;
    let plan = three();
    let version = |tx: &mut Transaction| tx.version = transaction::Version::ONE;
    assert_eq!(Session::changed(&plan, version), Err(RULE));
    let lock = |tx: &mut Transaction| tx.lock_time = absolute::LockTime::from_consensus(1);
    assert_eq!(Session::changed(&plan, lock), Err(RULE));
    let sequence = |tx: &mut Transaction| tx.input[1].sequence = Sequence::MAX;
    assert_eq!(Session::changed(&plan, sequence), Err(RULE));
    let unlocked = |tx: &mut Transaction| tx.input[0].script_sig = ScriptBuf::from_bytes(vec![0]);
    assert_eq!(Session::changed(&plan, unlocked), Err(RULE));
    let extra = |tx: &mut Transaction| {
        let half = Amount::from_sat(tx.output[3].value.to_sat() / 2);
        tx.output[3].value = half;
        tx.output.push(tx.output[3].clone());
    };
    assert_eq!(Session::changed(&plan, extra), Err(RULE));
    let missing = |tx: &mut Transaction| tx.output.truncate(2);
    assert_eq!(Session::changed(&plan, missing), Err(RULE));
    // More inputs than the spec allows: 20.
    let many = |count: u8| Plan {
        inputs: (1..=count)
            .map(|coin| (outpoint(coin), 2_000_000))
            .collect(),
        ..Plan::simple(0, 1)
    };
    assert_eq!(Session::changed(&many(20), |_| ()), Ok(()));
    assert_eq!(Session::changed(&many(21), |_| ()), Err(RULE));
    // Bytes that are no transaction.
    let mut session = Session::new();
    let mut request = request(&mut session.honest, &plan);
    request.record.transaction = BoundedVec::new(vec![1, 2, 3]).unwrap();
    assert_eq!(session.judge(&request), Err(RULE));
}

#[test]
fn inputs() {
    const RULE: Rule = Rule::Inputs;
    let mut twice = three();
    twice.inputs[1].0 = twice.inputs[0].0;
    assert_eq!(Session::changed(&twice, |_| ()), Err(RULE));
    // One value short.
    let mut session = Session::new();
    let mut short = request(&mut session.honest, &three());
    short.values = BoundedVec::new(vec![Sats::new(40_000_000)]).unwrap();
    assert_eq!(session.judge(&short), Err(RULE));
    // Values that do not cover the outputs.
    let mut poor = short;
    poor.values = BoundedVec::new(vec![Sats::new(1), Sats::new(1)]).unwrap();
    assert_eq!(session.judge(&poor), Err(RULE));
}

#[test]
fn n8_a_coin_of_another_batch_is_refused() {
    const RULE: Rule = Rule::Inputs;
    let mut session = Session::new();
    let first = request(&mut session.honest, &Plan::simple(0, 1));
    let second = request(&mut session.honest, &Plan::simple(1, 1));
    let third = request(&mut session.honest, &Plan::simple(2, 3));
    assert!(session.sign(&first).is_ok());
    assert_eq!(session.judge(&second), Err(RULE));
    assert_eq!(session.judge(&third), Ok(()));
}

fn replacing(original: &PegOutRequest, rate: u64, chain: &Chain) -> Plan {
    Plan {
        rate,
        replaces: Some(original.record.id(chain.id())),
        ..Plan::simple(0, 1)
    }
}

#[test]
fn replacement() {
    const RULE: Rule = Rule::Replacement;
    let mut session = Session::new();
    let chain = session.honest.chain.clone();
    let original = request(&mut session.honest, &Plan::simple(0, 1));
    let higher = request(&mut session.honest, &replacing(&original, 6_000, &chain));
    let same = request(&mut session.honest, &replacing(&original, 5_000, &chain));
    let highest = request(&mut session.honest, &replacing(&original, 9_000, &chain));
    // A signer that does not know the original cannot tell whether its coins are the same.
    assert_eq!(session.judge(&higher), Err(RULE));
    assert!(session.sign(&original).is_ok());
    assert_eq!(session.judge(&same), Err(RULE));
    assert!(session.sign(&higher).is_ok());
    assert!(session.sign(&highest).is_ok());
    assert!(session.sign(&higher).is_ok(), "a repeat");
    assert_eq!(session.state.get().families.len(), 1);
    assert_eq!(session.state.get().next_burn, BurnSequence::new(1));
    // Other coins would let both transactions confirm (N8's double sweep).
    let other_coin = Plan {
        inputs: vec![(outpoint(9), 5_000_000)],
        ..replacing(&original, 10_000, &chain)
    };
    let other = request(&mut session.honest, &other_coin);
    assert_eq!(session.judge(&other), Err(RULE));
    let more_coins = Plan {
        inputs: vec![(outpoint(1), 5_000_000), (outpoint(9), 5_000_000)],
        ..replacing(&original, 10_000, &chain)
    };
    let more = request(&mut session.honest, &more_coins);
    assert_eq!(session.judge(&more), Err(Rule::Inputs));
}

#[test]
fn cap_single() {
    let mut session = Session::new();
    let mut plan = Plan::simple(0, 1);
    plan.amounts = vec![100_000_000];
    plan.inputs[0].1 = 200_000_000;
    let honest = request(&mut session.honest, &plan);
    assert_eq!(session.judge(&honest), Ok(()));
    plan.amounts = vec![100_000_001];
    let mut session = Session::new();
    let above = request(&mut session.honest, &plan);
    assert_eq!(session.judge(&above), Err(Rule::CapSingle));
}

#[test]
fn cap_window() {
    let plan = |amounts: Vec<u64>| Plan {
        amounts,
        inputs: vec![(outpoint(1), 900_000_000)],
        ..Plan::simple(0, 1)
    };
    assert_eq!(
        Session::changed(&plan(vec![100_000_000; 5]), |_| ()),
        Ok(())
    );
    let mut above = vec![100_000_000; 5];
    above.push(1_000_000);
    assert_eq!(Session::changed(&plan(above), |_| ()), Err(Rule::CapWindow));
}

#[test]
fn count_window() {
    // A policy below the spec is refused at load, so the rule is asked directly.
    let mut session = Session::new();
    let request = request(&mut session.honest, &three());
    let batch =
        alys_signer_core::pegout::transaction::Batch::new(&session.honest.chain, &request).unwrap();
    let mut policy = Policy::of_chain(&session.honest.chain);
    let (count, state) = (
        alys_signer_core::pegout::limits::count_window,
        PegOutState::default(),
    );
    assert!(count(&policy, &state, WindowTime::ZERO, &batch).is_ok());
    policy.count_window_payments = Payments::new(2);
    let refusal = count(&policy, &state, WindowTime::ZERO, &batch).unwrap_err();
    assert_eq!(refusal.rule, Rule::CountWindow);
}

#[test]
fn a_batch_without_burns_is_signed_and_moves_nothing_forward() {
    let mut session = Session::new();
    let plan = Plan {
        amounts: vec![],
        ..three()
    };
    let refresh = request(&mut session.honest, &plan);
    assert!(session.sign(&refresh).is_ok());
    assert_eq!(session.state.get().next_burn, BurnSequence::ZERO);
    let steal = |tx: &mut Transaction| {
        tx.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
    };
    assert_eq!(Session::changed(&plan, steal), Err(Rule::Change));
}

#[test]
fn n8_limits_are_the_signers_own_and_must_fit_the_chain() {
    let chain = Honest::of_four().chain;
    let rejected = |change: &dyn Fn(&mut Policy)| {
        let mut policy = Policy::of_chain(&chain);
        change(&mut policy);
        policy.check(&chain).map_err(|error| error.field)
    };
    assert_eq!(rejected(&|_| ()), Ok(()));
    assert_eq!(
        rejected(&|policy| policy.cap_single_sats = Sats::new(99_999_999)),
        Err("cap_single_sats")
    );
    assert_eq!(
        rejected(&|policy| policy.cap_window_sats = Sats::new(500_000_000)),
        Err("cap_window_sats")
    );
    assert_eq!(
        rejected(&|policy| policy.slot_horizon_slots = 0),
        Err("slot_horizon_slots")
    );
    assert_eq!(
        rejected(&|policy| policy.slot_horizon_slots = 1_000_000),
        Err("slot_horizon_slots")
    );
    assert_eq!(
        rejected(&|policy| policy.count_window_payments = Payments::new(1)),
        Err("count_window_payments")
    );
}

#[test]
fn a8_keys_of_a_stranger_make_no_signer() {
    let chain = Honest::of_four().chain;
    let policy = Policy::of_chain(&chain);
    let bls = bls_key(0).public_key().to_bytes();
    assert!(
        Signer::new(
            chain.clone(),
            policy.clone(),
            &bls,
            &x_only(&schnorr_key(0))
        )
        .is_ok()
    );
    // Both keys must be the same member's.
    assert!(Signer::new(chain, policy, &bls, &x_only(&schnorr_key(1))).is_err());
}
