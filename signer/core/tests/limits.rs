//! The signer's own limits: rolling windows, hold, destinations, pause, and who may change them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alys_protocol::bytes::Digest;
use alys_protocol::peg::Cursor;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{PegOutRequest, Refusal};
use alys_protocol::spec::{Chain, Target};
use alys_protocol::units::{BtcHeight, ChainId, Sats};
use alys_signer_core::admin::{
    MAX_OFFICERS, OfficerKey, Officers, OfficersError, accept_policy, iteration, policy_digest,
    quorum,
};
use alys_signer_core::clock::{Seconds, WindowTime};
use alys_signer_core::pegout::limits::{
    cap_window, charge, count_window, destination, hold, paused,
};
use alys_signer_core::pegout::transaction::Batch;
use alys_signer_core::policy::{
    Destinations, Iteration, MAX_HOLD_BLOCKS, MAX_WINDOW_SECONDS, MIN_WINDOW_SECONDS, PolicyFile,
    PolicyFormat, ScriptPattern,
};
use alys_signer_core::state::{AcceptedPolicy, AdminState, PegOutState};
use alys_signer_core::window::{MintWindow, Payments, RollingWindow, mint_window};
use alys_signer_core::{Durable, Policy};
use bitcoin::hashes::Hash as _;
use fixtures::Honest;
use fixtures::pegout::{Plan, burn, outpoint, request};
use fixtures::session::{Session, three};

const HOUR: u64 = 3_600;

fn at(seconds: u64) -> WindowTime {
    WindowTime::from_millis(seconds * 1_000)
}

/// A policy whose windows are six hours, and hold two of the largest batches and seven payments.
fn policy(chain: &Chain) -> Policy {
    Policy {
        window_seconds: Seconds::new(6 * HOUR),
        cap_window_sats: Sats::new(70_000_000),
        count_window_payments: Payments::new(7),
        ..Policy::of_chain(chain)
    }
}

/// What the signer does with a batch: judge it by both windows, record it, charge it.
fn sign(
    session: &mut Session,
    policy: &Policy,
    now: WindowTime,
    request: &PegOutRequest,
) -> Result<(), Refusal> {
    let old = session.state.get().clone();
    let chain = session.honest.chain.clone();
    let batch = Batch::new(&chain, request).unwrap();
    cap_window(policy, &old, now, &batch)?;
    count_window(policy, &old, now, &batch)?;
    // The other rules, and the record; the signer itself has no clock yet.
    session.state = Durable::trust_loaded(PegOutState {
        value_window: RollingWindow::empty(),
        count_window: RollingWindow::empty(),
        ..old.clone()
    });
    let _shares = session.sign(request).expect("an honest batch");
    let mut next = PegOutState {
        value_window: old.value_window.clone(),
        count_window: old.count_window.clone(),
        ..session.state.get().clone()
    };
    charge(policy, &old, &mut next, now, &batch);
    session.state = Durable::trust_loaded(next);
    Ok(())
}

#[test]
fn value_windows_roll_and_include_fees() {
    let mut session = Session::new();
    let policy = policy(&session.honest.chain);
    // 33,000,001 sat of burns each time, of which 1 stays as what the shares of the fee are rounded up by: twice fits
    // 70,000,000, three times does not.
    let mut plans = (0..4u8).map(|number| Plan {
        first_burn: u64::from(number) * 3,
        inputs: vec![
            (outpoint(2 * number + 1), 20_000_000),
            (outpoint(2 * number + 2), 20_000_000),
        ],
        ..three()
    });
    let mut next = |session: &mut Session| request(&mut session.honest, &plans.next().unwrap());
    let first = next(&mut session);
    sign(&mut session, &policy, at(0), &first).unwrap();
    let second = next(&mut session);
    sign(&mut session, &policy, at(HOUR), &second).unwrap();
    let third = next(&mut session);
    let refusal = sign(&mut session, &policy, at(2 * HOUR), &third).unwrap_err();
    assert_eq!(refusal.rule, Rule::CapWindow);
    assert_eq!(refusal.found, "33000000 sat after 66000000");
    let refusal = sign(&mut session, &policy, at(6 * HOUR), &third).unwrap_err();
    assert_eq!(refusal.rule, Rule::CapWindow);
    sign(&mut session, &policy, at(6 * HOUR + 1), &third).unwrap();
    // The same batch again takes nothing more.
    let batch_chain = session.honest.chain.clone();
    let again = Batch::new(&batch_chain, &third).unwrap();
    let state = session.state.get();
    assert!(cap_window(&policy, state, at(6 * HOUR + 1), &again).is_ok());
    assert!(count_window(&policy, state, at(6 * HOUR + 1), &again).is_ok());
}

#[test]
fn count_windows_roll() {
    let mut session = Session::new();
    let policy = Policy {
        cap_window_sats: Sats::new(u64::MAX),
        ..policy(&session.honest.chain)
    };
    let many = |first_burn, coin, payments| Plan {
        first_burn,
        amounts: vec![1_000_000; payments],
        inputs: vec![(outpoint(coin), 20_000_000)],
        ..three()
    };
    let five = request(&mut session.honest, &many(0, 1, 5));
    sign(&mut session, &policy, at(0), &five).unwrap();
    let three = request(&mut session.honest, &many(5, 2, 3));
    let refusal = sign(&mut session, &policy, at(1), &three).unwrap_err();
    assert_eq!(refusal.rule, Rule::CountWindow);
    assert_eq!(refusal.found, "3 payments after 5");
    sign(&mut session, &policy, at(6 * HOUR + 1), &three).unwrap();
}

#[test]
fn a_family_is_charged_once_at_its_largest_member() {
    let mut session = Session::new();
    let chain = session.honest.chain.clone();
    let original = Plan {
        amounts: vec![],
        ..three()
    };
    let refresh = request(&mut session.honest, &original);
    let fee = |request: &PegOutRequest| Batch::new(&chain, request).unwrap().leaving();
    let replacement = Plan {
        rate: 50_000,
        replaces: Some(refresh.record.id(chain.id())),
        ..original
    };
    let replaced = request(&mut session.honest, &replacement);
    let (low, high) = (fee(&refresh), fee(&replaced));
    assert!(high > low);
    // The limit is the larger fee: it fits because the smaller one was charged already.
    let policy = Policy {
        cap_window_sats: high,
        ..policy(&chain)
    };
    sign(&mut session, &policy, at(0), &refresh).unwrap();
    sign(&mut session, &policy, at(1), &replaced).unwrap();
    assert_eq!(session.state.get().families[0].charged, high);
    let other = Plan {
        first_burn: 0,
        ..Plan::simple(0, 9)
    };
    let other = request(&mut session.honest, &other);
    let refusal = sign(&mut session, &policy, at(2), &other).unwrap_err();
    assert_eq!(refusal.rule, Rule::CapWindow);
    assert!(refusal.found.ends_with(&format!("after {high}")));
}

#[test]
fn restored_signers_start_with_full_windows() {
    let mut session = Session::new();
    let policy = policy(&session.honest.chain);
    let mut state = PegOutState::default();
    state.fill_windows(at(HOUR));
    session.state = Durable::trust_loaded(state);
    let request = request(&mut session.honest, &three());
    let refusal = sign(&mut session, &policy, at(7 * HOUR), &request).unwrap_err();
    assert_eq!(refusal.rule, Rule::CapWindow);
    sign(&mut session, &policy, at(7 * HOUR + 1), &request).unwrap();
}

#[test]
fn mints_have_their_own_window() {
    let chain = Honest::of_four().chain;
    let policy = Policy {
        mint_window_seconds: Seconds::new(6 * HOUR),
        mint_window_sats: Sats::new(1_000),
        ..Policy::of_chain(&chain)
    };
    let from = |height, hash| Cursor {
        height: BtcHeight::new(height),
        hash: bitcoin::BlockHash::from_byte_array([hash; 32]),
        next_tx: 0,
    };
    let mut window = MintWindow::default();
    let mut mint = |now, from: Cursor, sats| {
        let admitted = mint_window(&policy, &window, at(now), &from, Sats::new(sats));
        if admitted.is_ok() {
            window.charge(&policy, at(now), &from, Sats::new(sats));
        }
        admitted.map_err(|refusal| (refusal.rule, refusal.found))
    };
    let full = |found: &str| Err((Rule::MintWindow, found.to_owned()));
    assert_eq!(mint(0, from(1, 1), 600), Ok(()));
    // Another block from the same position: at most one of the two is in any chain.
    assert_eq!(mint(1, from(1, 1), 600), Ok(()));
    assert_eq!(mint(1, from(1, 1), 700), Ok(()));
    assert_eq!(mint(2, from(2, 1), 301), full("301 sat after 700"));
    // The same position on another Bitcoin chain is another one.
    assert_eq!(mint(2, from(1, 2), 301), full("301 sat after 700"));
    assert_eq!(mint(2, from(2, 1), 300), Ok(()));
    assert_eq!(mint(3, from(3, 1), 0), Ok(()), "most blocks mint nothing");
    assert_eq!(mint(3, from(3, 1), 1), full("1 sat after 1000"));
    assert_eq!(mint(6 * HOUR + 3, from(3, 1), 1_000), Ok(()));
    let restored = MintWindow::full(at(9));
    let refusal = mint_window(&policy, &restored, at(9), &from(4, 1), Sats::new(1)).unwrap_err();
    assert_eq!(refusal.rule, Rule::MintWindow);
}

#[test]
fn hold_delays_large_payments() {
    let mut session = Session::new();
    let chain = session.honest.chain.clone();
    let request = request(&mut session.honest, &three());
    let batch = Batch::new(&chain, &request).unwrap();
    let mut policy = Policy::of_chain(&chain);
    let burned = request.burns[0].header.height;
    let end = |later: u64| burned.saturating_add(later);
    assert!(hold(&policy, &batch, burned.saturating_sub(1)).is_err());
    assert!(hold(&policy, &batch, end(0)).is_ok(), "no hold");
    policy.hold_blocks = 100;
    policy.hold_from_sats = Sats::new(30_000_000);
    let refusal = hold(&policy, &batch, end(99)).unwrap_err();
    assert_eq!(refusal.rule, Rule::Hold);
    assert!(refusal.expected.contains("burn 1 of 30000000 sat"));
    assert!(
        hold(&policy, &batch, end(100)).is_ok(),
        "all were in one block"
    );
    policy.hold_from_sats = Sats::new(30_000_001);
    assert!(hold(&policy, &batch, end(0)).is_ok(), "none is that large");
}

#[test]
fn destination_lists_are_templates_and_addresses() {
    let mut session = Session::new();
    let chain = session.honest.chain.clone();
    let request = request(&mut session.honest, &Plan::simple(0, 1));
    let batch = Batch::new(&chain, &request).unwrap();
    let script = bitcoin::ScriptBuf::from_bytes(burn(0, 1).script_pubkey.to_vec());
    let address = bitcoin::Address::from_script(&script, bitcoin::Network::Regtest).unwrap();
    let pattern = |text: &str| text.parse::<ScriptPattern>().unwrap();
    let judge = |allow: Option<&[&str]>, deny: &[&str]| {
        let destinations = Destinations {
            allow: allow.map(|allow| allow.iter().map(|text| pattern(text)).collect()),
            deny: deny.iter().map(|text| pattern(text)).collect(),
        };
        let policy = Policy {
            destinations,
            ..Policy::of_chain(&chain)
        };
        policy.check(&chain).unwrap();
        destination(&policy, &batch).map_err(|refusal| refusal.rule)
    };
    let address = address.to_string();
    let other = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    assert_eq!(judge(None, &[]), Ok(()));
    assert_eq!(judge(Some(&["p2tr", "p2wpkh"]), &[]), Ok(()));
    assert_eq!(judge(Some(&[&address]), &[other, "p2pkh"]), Ok(()));
    const NO: Result<(), Rule> = Err(Rule::Destination);
    assert_eq!(judge(Some(&["p2tr", other]), &[]), NO);
    assert_eq!(judge(None, &[&address]), NO);
    assert_eq!(judge(Some(&[&address]), &["p2wpkh"]), NO, "deny wins");
}

#[test]
fn destination_patterns_are_strict() {
    for text in ["P2TR", "p2a", "", "bcrt1qqqq", "0x0014"] {
        let error = text.parse::<ScriptPattern>().unwrap_err();
        assert!(error.to_string().contains("p2wpkh"), "{error}");
    }
    for text in ["p2sh", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"] {
        assert_eq!(text.parse::<ScriptPattern>().unwrap().to_string(), text);
    }
}

#[test]
fn paused_signers_sign_no_peg_out_and_destinations_hold_through_the_whole_decision() {
    let mut session = Session::new();
    let honest = request(&mut session.honest, &three());
    let mut state = PegOutState {
        paused: true,
        ..PegOutState::default()
    };
    assert_eq!(paused(&state).unwrap_err().rule, Rule::Paused);
    session.state = Durable::trust_loaded(state.clone());
    assert_eq!(session.judge(&honest), Err(Rule::Paused));
    state.paused = false;
    assert!(paused(&state).is_ok());
    session.state = Durable::trust_loaded(state);
    assert_eq!(session.judge(&honest), Ok(()));
    let chain = session.honest.chain.clone();
    session.signer = fixtures::session::signer_with(&chain, |policy| {
        policy.destinations.deny.push("p2wpkh".parse().unwrap());
    });
    assert_eq!(session.judge(&honest), Err(Rule::Destination));
}

#[test]
fn a_policy_that_blocks_for_ever_or_limits_nothing_does_not_load() {
    let chain = Honest::of_four().chain;
    let rejected = |change: &dyn Fn(&mut Policy)| {
        let mut policy = Policy::of_chain(&chain);
        change(&mut policy);
        policy.check(&chain).map_err(|error| error.to_string())
    };
    let says = |change: &dyn Fn(&mut Policy), words: &str| {
        let error = rejected(change).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    assert_eq!(rejected(&|_| ()), Ok(()));
    says(
        &|policy| policy.window_seconds = Seconds::new(MIN_WINDOW_SECONDS - 1),
        "window_seconds: expected at least 21600, found 21599",
    );
    says(
        &|policy| policy.mint_window_seconds = Seconds::new(MAX_WINDOW_SECONDS + 1),
        "mint_window_seconds: expected at most 7776000, found 7776001",
    );
    says(
        &|policy| policy.mint_window_sats = Sats::new(499_999_999),
        "mint_window_sats: expected at least 500000000",
    );
    says(
        &|policy| policy.hold_blocks = MAX_HOLD_BLOCKS + 1,
        "hold_blocks: expected at most",
    );
    says(
        &|policy| policy.pow_floor_target = Target::ZERO,
        "pow_floor_target: expected above",
    );
    says(
        &|policy| policy.destinations.allow = Some(Vec::new()),
        "destinations.allow: expected at least 1",
    );
    let mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    says(
        &|policy| policy.destinations.deny = vec![mainnet.parse().unwrap()],
        "destinations: expected addresses of network regtest, found bc1q",
    );
}

fn key(number: u8) -> OfficerKey {
    OfficerKey::new([number; 32])
}

#[test]
fn quorum_counts_each_officer_once_and_no_stranger() {
    let officers = Officers::new(2, &[key(1), key(2), key(3)]).unwrap();
    assert!(quorum(&officers, &[key(1), key(3)]).is_ok());
    for signed in [
        &[][..],
        &[key(1)],
        &[key(1), key(1)],
        &[key(1), key(9)],
        &[key(8), key(9)],
    ] {
        let refusal = quorum(&officers, signed).unwrap_err();
        assert_eq!(refusal.rule, Rule::Quorum);
        assert_eq!(refusal.expected, "signatures of 2 of 3 officers");
    }
}

#[test]
fn officers_are_distinct_and_decide_by_majority() {
    let keys: Vec<OfficerKey> = (0..=u8::try_from(MAX_OFFICERS).unwrap()).map(key).collect();
    assert!(Officers::new(17, &keys[..32]).is_ok());
    assert_eq!(Officers::new(1, &[]), Err(OfficersError::Count(0)));
    assert_eq!(Officers::new(17, &keys), Err(OfficersError::Count(33)));
    assert_eq!(
        Officers::new(2, &[key(1), key(1)]),
        Err(OfficersError::Twice(key(1)))
    );
    for (threshold, count) in [(0, 1), (2, 1), (1, 2), (2, 4), (4, 3)] {
        let error = Officers::new(threshold, &keys[..count]).unwrap_err();
        assert!(matches!(error, OfficersError::Threshold { .. }), "{error}");
    }
    let digest = |threshold, keys: &[OfficerKey]| Officers::new(threshold, keys).unwrap().digest();
    assert_eq!(digest(2, &[key(1), key(2)]), digest(2, &[key(2), key(1)]));
    assert_ne!(digest(2, &keys[..3]), digest(3, &keys[..3]));
    assert_ne!(digest(2, &keys[..3]), digest(2, &keys[1..4]));
}

#[test]
fn iteration_strictly_increases() {
    let accepted = AcceptedPolicy {
        iteration: Iteration::new(5),
        digest: Digest::new([1; 32]),
    };
    let judge = |number, digest| {
        iteration(
            Some(&accepted),
            Iteration::new(number),
            Digest::new([digest; 32]),
        )
        .map_err(|refusal| refusal.rule)
    };
    assert_eq!(judge(5, 1), Ok(()), "the same file is read at every start");
    assert_eq!(judge(6, 2), Ok(()));
    assert_eq!(judge(5, 2), Err(Rule::Iteration));
    assert_eq!(judge(4, 1), Err(Rule::Iteration));
    assert!(iteration(None, Iteration::new(0), Digest::new([1; 32])).is_ok());
}

#[test]
fn a_policy_is_in_force_once_it_is_remembered() {
    let chain = Honest::of_four().chain;
    let officers = Officers::new(2, &[key(1), key(2), key(3)]).unwrap();
    let signed = [key(1), key(2)];
    let file = |number| PolicyFile {
        format: PolicyFormat::V1,
        chain_id: chain.id(),
        iteration: Iteration::new(number),
        policy: Policy::of_chain(&chain),
    };
    let mut state = Durable::trust_loaded(AdminState::default());
    let accept = |state: &Durable<AdminState>, number, bytes: &[u8], signed: &[OfficerKey]| {
        accept_policy(state, chain.id(), &officers, &file(number), bytes, signed)
            .map_err(|refusal| refusal.rule)
    };
    assert_eq!(
        accept(&state, 3, b"three", &signed[..1]).unwrap_err(),
        Rule::Quorum
    );
    let decision = accept(&state, 3, b"three", &signed).unwrap();
    let mut written = None;
    let (next, intent) = decision
        .persist(|state| {
            written = Some(state.clone());
            Ok::<(), core::convert::Infallible>(())
        })
        .unwrap();
    assert_eq!(*intent.policy(), Policy::of_chain(&chain));
    state = next.unwrap();
    assert_eq!(written.as_ref(), Some(state.get()));
    assert!(!accept(&state, 3, b"three", &signed).unwrap().is_new());
    assert_eq!(
        accept(&state, 3, b"other", &signed).unwrap_err(),
        Rule::Iteration
    );
    assert_eq!(
        accept(&state, 2, b"two", &signed).unwrap_err(),
        Rule::Iteration
    );
    assert!(accept(&state, 4, b"four", &signed).unwrap().is_new());
    let mut foreign = file(4);
    foreign.chain_id = ChainId::new(1);
    let refused = accept_policy(&state, chain.id(), &officers, &foreign, b"four", &signed);
    assert_eq!(refused.unwrap_err().rule, Rule::Chain);
    assert_ne!(
        policy_digest(chain.id(), b"x"),
        policy_digest(ChainId::new(1), b"x")
    );
}
