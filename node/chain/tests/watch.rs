//! When the peg stands still, and when it goes on.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{
    BatchVote, CursorPlace, FOOTING_SLOTS, Footing, PegHalt, PegState, cursor_place, plan_advance,
};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::{BtcHeight, Slot};
use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use kit::bitcoin_chain::Bitcoin;
use kit::{START, chain, deposit, payee, transaction};

const TIP: BtcHeight = BtcHeight::new(START + 10);
const NOW: Slot = Slot::new(1000);
const FIRM: Footing = Footing::Firm { seen: NOW };

fn genesis() -> PegState {
    PegState::genesis(chain())
}

fn other() -> BlockHash {
    BlockHash::from_byte_array([0xcc; 32])
}

/// The three things that a Bitcoin node can say.
fn places(peg: &PegState) -> [CursorPlace; 3] {
    [Some(peg.cursor().hash), Some(other()), None]
        .map(|at_height| cursor_place(peg.cursor(), at_height, TIP))
}

/// The ledger after somebody spent a coin of ours that no batch spends.
fn robbed() -> PegState {
    let mut bitcoin = Bitcoin::new();
    let payment = deposit(1, 20_000, EvmAddress::new([0xaa; 20]));
    let coin = bitcoin::OutPoint::new(payment.compute_txid(), 0);
    bitcoin.mine(vec![payment]);
    bitcoin.mine(vec![transaction(vec![coin], vec![(payee(1), 19_000)])]);
    bitcoin.mine_empty(2);
    let scanned = bitcoin.scan(&genesis(), bitcoin.tip()).unwrap();
    plan_advance(chain(), &genesis(), bitcoin.tip(), &scanned)
        .unwrap()
        .consumed
        .state
}

#[test]
fn a_reorganisation_deeper_than_the_cursor_halts_until_the_cursors_block_is_back() {
    let peg = genesis();
    let [here, gone, above] = places(&peg);
    let halted = Footing::Unknown.after(&peg, Some(gone), NOW);
    for before in [Footing::Unknown, FIRM, halted] {
        // Another block halts, whatever was before; the cursor's block ends it; silence changes nothing, and no more
        // does a short chain, but that firm ground is known no longer.
        assert_eq!(before.after(&peg, Some(gone), NOW), halted);
        assert_eq!(before.after(&peg, Some(here), NOW), FIRM);
        assert_eq!(before.after(&peg, None, NOW), before);
        let after = before.after(&peg, Some(above), NOW);
        assert_eq!(after.halt(), before.halt());
        assert!(!after.is_firm());
    }
    let text = halted.halt().unwrap().to_string();
    let (expected, found) = (peg.cursor().hash.to_string(), other().to_string());
    for part in ["PEG HALTED", &START.to_string(), &expected, &found] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(FIRM.is_firm() && !halted.is_firm() && !Footing::Unknown.is_firm());
    assert_eq!(FIRM.halt(), None);
}

#[test]
fn an_unrecorded_spend_halts_whatever_the_bitcoin_node_says() {
    let peg = robbed();
    let expected = Footing::Halted(PegHalt::UnrecordedSpend(*peg.halt().unwrap()));
    for before in [Footing::Unknown, FIRM, expected] {
        for seen in places(&peg).map(Some).into_iter().chain([None]) {
            assert_eq!(before.after(&peg, seen, NOW), expected);
        }
    }
    let text = expected.halt().unwrap().to_string();
    assert!(text.contains("PEG HALTED"), "{text}");
}

#[test]
fn a_short_chain_says_where_it_ends() {
    let peg = genesis();
    assert_eq!(
        cursor_place(peg.cursor(), None, BtcHeight::new(7)),
        CursorPlace::Above {
            cursor: BtcHeight::new(START),
            tip: BtcHeight::new(7)
        }
    );
}

#[test]
fn firm_ground_is_known_for_as_long_as_the_bitcoin_node_answers() {
    let peg = genesis();
    let [here, ..] = places(&peg);
    let later = |slots| NOW.saturating_add(slots);
    assert_eq!(FIRM.after(&peg, None, later(FOOTING_SLOTS)), FIRM);
    let silent = FIRM.after(&peg, None, later(FOOTING_SLOTS + 1));
    assert_eq!(silent, Footing::Unknown);
    let seen = later(FOOTING_SLOTS);
    let again = FIRM.after(&peg, Some(here), seen);
    assert_eq!(again, Footing::Firm { seen });
    assert!(again.after(&peg, None, later(FOOTING_SLOTS + 1)).is_firm());
}

#[test]
fn a_block_with_a_batch_waits_for_the_bitcoin_nodes_answer() {
    let peg = genesis();
    let [here, gone, _] = places(&peg);
    assert_eq!(Footing::Unknown.batch_vote(), BatchVote::Wait);
    let firm = Footing::Unknown.after(&peg, Some(here), NOW);
    assert_eq!(firm.batch_vote(), BatchVote::Ask);
    let halted = Footing::Unknown.after(&peg, Some(gone), NOW);
    assert_eq!(
        halted.batch_vote(),
        BatchVote::Refuse(*halted.halt().unwrap())
    );
}
