//! Consuming Bitcoin: deposits, the scanner, the leader's plan, and the halt.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{
    BitcoinFacts, ConsumeError, Consumed, MAX_BITCOIN_BLOCKS, NoBatch, Origin, PegState, PlanError,
    ScanError, Scanner, consume, max_deposits, next_batch, plan_advance,
};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::peg::{
    ConsumedTransaction, Cursor, TransactionError, Unattributable, WHOLE_BLOCK,
};
use alys_protocol::units::{BtcHeight, Sats, SatsPerKvb, SideHeight, Slot};
use bitcoin::{BlockHash, OutPoint, Transaction};
use kit::bitcoin_chain::Bitcoin;
use kit::{START, chain, deposit, federation, foreign, payee, recipient_script, transaction};

const ALICE: EvmAddress = EvmAddress::new([0xaa; 20]);

fn genesis() -> PegState {
    PegState::genesis(chain())
}

/// A Bitcoin with these transactions in its first block, and so many confirmations.
fn mined(transactions: Vec<Transaction>, confirmations: u32) -> Bitcoin {
    let mut bitcoin = Bitcoin::new();
    bitcoin.mine(transactions);
    bitcoin.mine_empty(confirmations - 1);
    bitcoin
}

fn range(bitcoin: &Bitcoin, last: u32) -> (Cursor, Vec<ConsumedTransaction>) {
    let last = BtcHeight::new(last);
    let scanned = bitcoin.scan(&genesis(), last).unwrap();
    let cursor = Cursor {
        height: last,
        hash: scanned.last().unwrap().hash,
        next_tx: WHOLE_BLOCK,
    };
    let facts = BitcoinFacts::from_scan(bitcoin.tip(), &scanned, &cursor).unwrap();
    (cursor, facts.consumed)
}

fn read(transactions: Vec<Transaction>) -> Consumed {
    let (cursor, consumed) = range(&mined(transactions, 1), START + 1);
    consume(chain(), &genesis(), &cursor, &consumed).unwrap()
}

#[test]
fn a_deposit_is_one_mint_of_all_its_outputs_that_count() {
    let payment = transaction(
        vec![foreign(1)],
        vec![
            (federation(), 50_000),
            (payee(1), 70_000),
            (federation(), 9_999),
            (recipient_script(ALICE), 0),
            (federation(), 10_000),
        ],
    );
    let consumed = read(vec![payment.clone()]);
    let [mint] = consumed.mints[..] else {
        panic!("{:?}", consumed.mints);
    };
    assert_eq!((mint.recipient, mint.amount), (ALICE, Sats::new(60_000)));
    assert_eq!(
        (mint.height, mint.index, mint.txid),
        (BtcHeight::new(START + 1), 1, payment.compute_txid())
    );
    // All three outputs are held; the one below the minimum is listed.
    assert_eq!(consumed.state.held(), Some(Sats::new(69_999)));
    assert_eq!(consumed.state.totals().minted, Sats::new(60_000));
    assert_eq!(consumed.state.totals().unattributable, Sats::new(9_999));
    let [(outpoint, listed)] = consumed.unattributable[..] else {
        panic!("{:?}", consumed.unattributable);
    };
    assert_eq!(outpoint.vout, 2);
    assert_eq!(
        listed.origin,
        Origin::Unattributable(Unattributable::BelowMinimum)
    );
}

#[test]
fn a_payment_without_a_recipient_is_kept_listed_and_not_minted() {
    let payment = transaction(vec![foreign(1)], vec![(federation(), 50_000)]);
    let consumed = read(vec![payment]);
    assert_eq!(consumed.mints, []);
    assert_eq!(consumed.unattributable.len(), 1);
    assert_eq!(consumed.state.held(), Some(Sats::new(50_000)));
}

#[test]
fn a_coinbase_never_deposits_and_is_never_selected() {
    let mut bitcoin = Bitcoin::new();
    bitcoin.mine(Vec::new());
    let mut block = bitcoin.blocks.pop().unwrap();
    block.txdata[0].output.extend(
        transaction(
            Vec::new(),
            vec![(federation(), 5_000_000_000), (recipient_script(ALICE), 0)],
        )
        .output,
    );
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    bitcoin.blocks.push(block);
    let (cursor, consumed) = range(&bitcoin, START + 1);
    let consumed = consume(chain(), &genesis(), &cursor, &consumed).unwrap();
    assert_eq!(consumed.mints, []);
    let (_, utxo) = consumed.unattributable[0];
    assert_eq!(
        utxo.origin,
        Origin::Unattributable(Unattributable::Coinbase)
    );
    assert!(!utxo.is_selectable());
    assert_eq!(consumed.state.held(), Some(Sats::new(5_000_000_000)));
}

/// Consumes two deposits in one block, after a change.
fn refused(
    change: impl FnOnce(&mut Cursor, &mut Vec<ConsumedTransaction>),
) -> Result<Consumed, ConsumeError> {
    let bitcoin = mined(
        vec![deposit(1, 20_000, ALICE), deposit(2, 30_000, ALICE)],
        2,
    );
    let (mut cursor, mut consumed) = range(&bitcoin, START + 1);
    assert_eq!(consumed.len(), 2);
    change(&mut cursor, &mut consumed);
    consume(chain(), &genesis(), &cursor, &consumed)
}

#[test]
fn the_unchanged_range_is_consumed() {
    assert_eq!(refused(|_, _| {}).unwrap().mints.len(), 2);
}

#[test]
fn a2_the_same_deposit_twice_is_refused() {
    let twice = refused(|_, consumed| consumed.push(consumed[1].clone()));
    assert!(
        matches!(twice, Err(ConsumeError::Order { .. })),
        "{twice:?}"
    );
    // Nor under another position, where the order would be right.
    let moved = refused(|_, consumed| {
        let mut copy = consumed[1].clone();
        copy.index = 9;
        consumed.push(copy);
    });
    assert!(
        matches!(moved, Err(ConsumeError::Duplicate { .. })),
        "{moved:?}"
    );
    // Nor in a later block: the cursor is past it.
    let (cursor, consumed) = range(&mined(vec![deposit(1, 20_000, ALICE)], 1), START + 1);
    let after = consume(chain(), &genesis(), &cursor, &consumed).unwrap();
    let next = Cursor {
        height: BtcHeight::new(START + 2),
        ..cursor
    };
    let again = consume(chain(), &after.state, &next, &consumed);
    assert!(
        matches!(again, Err(ConsumeError::Range { .. })),
        "{again:?}"
    );
    let stays = consume(chain(), &after.state, &cursor, &consumed);
    assert!(
        matches!(stays, Err(ConsumeError::Range { .. })),
        "{stays:?}"
    );
}

#[test]
fn positions_strictly_increase_between_the_cursors() {
    let swapped = refused(|_, consumed| consumed.swap(0, 1));
    assert!(matches!(swapped, Err(ConsumeError::Order { .. })));
    let before = refused(|_, consumed| consumed[0].height = BtcHeight::new(START));
    assert!(matches!(before, Err(ConsumeError::Range { .. })));
    let behind = refused(|_, consumed| consumed[1].height = BtcHeight::new(START + 2));
    assert!(matches!(behind, Err(ConsumeError::Range { .. })));
    let elsewhere = refused(|_, consumed| {
        consumed[1].block = BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros())
    });
    assert!(matches!(elsewhere, Err(ConsumeError::Hash { .. })));
}

#[test]
fn the_cursor_never_goes_back_or_too_far_or_stops_elsewhere() {
    let back = refused(|cursor, _| cursor.height = BtcHeight::new(START - 1));
    assert!(matches!(back, Err(ConsumeError::Backwards { .. })));
    let same_height = refused(|cursor, _| cursor.height = BtcHeight::new(START));
    assert!(matches!(same_height, Err(ConsumeError::Hash { .. })));
    let far = refused(|cursor, _| cursor.height = BtcHeight::new(START + MAX_BITCOIN_BLOCKS + 1));
    assert_eq!(
        far,
        Err(ConsumeError::TooFar {
            found: MAX_BITCOIN_BLOCKS + 1
        })
    );
    for next_tx in [0, 1, 2, 4] {
        let stop = refused(|cursor, _| cursor.next_tx = next_tx);
        assert_eq!(
            stop,
            Err(ConsumeError::Stop {
                expected: Some(3),
                found: next_tx
            })
        );
    }
    assert!(refused(|cursor, _| cursor.next_tx = 3).is_ok());
}

#[test]
fn bytes_must_be_one_transaction_that_touches_the_federation() {
    let garbage = refused(|_, consumed| consumed[0].bytes = BoundedVec::new(vec![1, 2]).unwrap());
    assert_eq!(
        garbage,
        Err(ConsumeError::Transaction(TransactionError::Encoding {
            length: 2
        }))
    );
    let unrelated = refused(|_, consumed| {
        let other = transaction(vec![foreign(5)], vec![(payee(5), 1)]);
        consumed[0].bytes = alys_protocol::peg::encode_stripped(&other).unwrap();
    });
    assert!(matches!(unrelated, Err(ConsumeError::Unrelated { .. })));
}

#[test]
fn one_block_consumes_a_bounded_number_of_bytes_and_deposits() {
    let large = |number| {
        let mut payment = deposit(number, 20_000, ALICE);
        payment.input[0].script_sig = bitcoin::ScriptBuf::from_bytes(vec![0; 600_000]);
        payment
    };
    let bitcoin = mined(vec![large(1), large(2)], 3);
    let (cursor, consumed) = range(&bitcoin, START + 1);
    assert_eq!(
        consume(chain(), &genesis(), &cursor, &consumed),
        Err(ConsumeError::TooLarge)
    );
    let scanned = bitcoin.scan(&genesis(), bitcoin.tip()).unwrap();
    let plan = plan_advance(chain(), &genesis(), bitcoin.tip(), &scanned).unwrap();
    assert_eq!((plan.transactions.len(), plan.cursor.next_tx), (1, 2));

    let many = (1..=5).map(|number| deposit(number, 20_000, ALICE));
    let (cursor, consumed) = range(&mined(many.collect(), 1), START + 1);
    assert_eq!(max_deposits(chain()), 4);
    assert_eq!(
        consume(chain(), &genesis(), &cursor, &consumed),
        Err(ConsumeError::TooManyDeposits { maximum: 4 })
    );
}

#[test]
fn the_plan_waits_for_confirmations() {
    let mut bitcoin = mined(vec![deposit(1, 20_000, ALICE)], 2);
    let plan = |bitcoin: &Bitcoin| {
        let scanned = bitcoin.scan(&genesis(), bitcoin.tip()).unwrap();
        plan_advance(chain(), &genesis(), bitcoin.tip(), &scanned).unwrap()
    };
    let early = plan(&bitcoin);
    assert_eq!(early.cursor, *genesis().cursor());
    assert_eq!(early.consumed.state, genesis());
    bitcoin.mine_empty(1);
    let now = plan(&bitcoin);
    assert_eq!(now.cursor.height, BtcHeight::new(START + 1));
    assert_eq!(now.cursor.next_tx, WHOLE_BLOCK);
    assert_eq!(now.consumed.mints.len(), 1);
}

#[test]
fn the_plan_stops_inside_a_block_at_the_cap_and_goes_on_there() {
    let many = (1..=9).map(|number| deposit(number, 20_000, ALICE));
    let bitcoin = mined(many.collect(), 3);
    let mut state = genesis();
    let mut minted = Vec::new();
    let mut stops = Vec::new();
    for _block in 0..3 {
        let scanned = bitcoin.scan(&state, bitcoin.tip()).unwrap();
        let plan = plan_advance(chain(), &state, bitcoin.tip(), &scanned).unwrap();
        // What the leader plans, everybody accepts.
        let consumed = consume(chain(), &state, &plan.cursor, &plan.transactions).unwrap();
        assert_eq!(consumed, plan.consumed);
        minted.extend(consumed.mints.iter().map(|mint| mint.index));
        stops.push(plan.cursor.next_tx);
        state = consumed.state;
    }
    assert_eq!(minted, (1..=9).collect::<Vec<u32>>());
    assert_eq!(stops, [5, 9, WHOLE_BLOCK]);
}

#[test]
fn the_plan_advances_a_bounded_number_of_blocks() {
    let mut bitcoin = Bitcoin::new();
    bitcoin.mine_empty(MAX_BITCOIN_BLOCKS + 20);
    let scanned = bitcoin.scan(&genesis(), bitcoin.tip()).unwrap();
    let plan = plan_advance(chain(), &genesis(), bitcoin.tip(), &scanned).unwrap();
    assert_eq!(
        plan.cursor.height,
        BtcHeight::new(START + MAX_BITCOIN_BLOCKS)
    );
    assert!(consume(chain(), &genesis(), &plan.cursor, &plan.transactions).is_ok());
}

#[test]
fn a12_a_skipped_or_reorganised_bitcoin_block_is_an_error() {
    let mut bitcoin = mined(vec![deposit(1, 20_000, ALICE)], 5);
    let state = genesis();
    let heights = |height| BtcHeight::new(START + height);
    let mut scanner = Scanner::new(chain(), &state);
    scanner.block(&bitcoin.blocks[0], heights(1)).unwrap();
    // The stream skips a block, or gives one again.
    for (place, height) in [(2, 3), (0, 1)] {
        assert_eq!(
            scanner.block(&bitcoin.blocks[place], heights(height)),
            Err(ScanError::Height {
                expected: heights(2),
                found: heights(height)
            })
        );
    }
    // It claims that another block is the next one.
    assert!(matches!(
        scanner.block(&bitcoin.blocks[2], heights(2)),
        Err(ScanError::Reorganised { .. })
    ));
    // A block with a transaction taken away.
    let mut cut = bitcoin.blocks[1].clone();
    cut.txdata[0].output.clear();
    assert!(matches!(
        scanner.block(&cut, heights(2)),
        Err(ScanError::MerkleRoot { .. })
    ));
    // The plan has the same guard.
    let mut scanned = bitcoin.scan(&state, bitcoin.tip()).unwrap();
    scanned.remove(0);
    assert_eq!(
        plan_advance(chain(), &state, bitcoin.tip(), &scanned),
        Err(PlanError::Gap {
            expected: heights(1),
            found: heights(2)
        })
    );
    // A reorganisation below the cursor.
    let (cursor, consumed) = range(&bitcoin, START + 2);
    let after = consume(chain(), &state, &cursor, &consumed).unwrap().state;
    bitcoin.disconnect(4);
    bitcoin.mine_empty(6);
    let error = bitcoin.scan(&after, bitcoin.tip()).unwrap_err();
    assert!(matches!(error, ScanError::Reorganised { .. }), "{error}");
}

#[test]
fn the_scanner_sees_spends_of_outputs_created_in_the_same_range() {
    let payment = deposit(1, 50_000, ALICE);
    let theft = transaction(
        vec![OutPoint::new(payment.compute_txid(), 0)],
        vec![(payee(9), 49_000)],
    );
    let mut bitcoin = mined(vec![payment, theft.clone()], 1);
    bitcoin.mine_empty(2);
    let scanned = bitcoin.scan(&genesis(), bitcoin.tip()).unwrap();
    assert_eq!(scanned[0].transactions.len(), 2);
    // And where it comes a block later.
    let mut bitcoin = mined(vec![deposit(1, 50_000, ALICE)], 1);
    bitcoin.mine(vec![theft]);
    let scanned = bitcoin.scan(&genesis(), bitcoin.tip()).unwrap();
    assert_eq!(scanned[1].transactions.len(), 1);
}

#[test]
fn an_unrecorded_spend_halts_the_peg() {
    let payment = deposit(1, 50_000, ALICE);
    let stolen = OutPoint::new(payment.compute_txid(), 0);
    let theft = transaction(
        vec![stolen],
        vec![
            (payee(9), 29_000),
            (federation(), 20_000),
            (recipient_script(ALICE), 0),
        ],
    );
    let mut bitcoin = mined(vec![payment], 1);
    bitcoin.mine(vec![theft.clone(), deposit(2, 70_000, ALICE)]);
    bitcoin.mine_empty(4);
    let scanned = bitcoin.scan(&genesis(), bitcoin.tip()).unwrap();
    let plan = plan_advance(chain(), &genesis(), bitcoin.tip(), &scanned).unwrap();
    // The plan stops right behind the theft; what came before it is minted, and the theft's own output is not.
    assert_eq!(plan.cursor.height, BtcHeight::new(START + 2));
    assert_eq!(plan.cursor.next_tx, 2);
    let consumed = consume(chain(), &genesis(), &plan.cursor, &plan.transactions).unwrap();
    assert_eq!(consumed, plan.consumed);
    assert_eq!(consumed.mints.len(), 1);
    let state = consumed.state;
    let halt = *state.halt().unwrap();
    assert_eq!((halt.txid, halt.outpoint), (theft.compute_txid(), stolen));
    assert_eq!(state.totals().lost, Sats::new(50_000));
    assert_eq!(state.held(), Some(Sats::new(20_000)));
    // Nothing goes on.
    let scanned = bitcoin.scan(&state, bitcoin.tip()).unwrap();
    let plan = plan_advance(chain(), &state, bitcoin.tip(), &scanned).unwrap();
    assert_eq!(plan.cursor, *state.cursor());
    let further = Cursor {
        next_tx: WHOLE_BLOCK,
        ..*state.cursor()
    };
    assert_eq!(
        consume(chain(), &state, &further, &scanned[0].transactions),
        Err(ConsumeError::Halted(halt))
    );
    assert_eq!(
        consume(chain(), &state, &further, &[]),
        Err(ConsumeError::Halted(halt))
    );
    let rate = SatsPerKvb::new(1000);
    assert_eq!(
        next_batch(chain(), &state, SideHeight::ZERO, Slot::new(1), rate, &[]),
        Err(NoBatch::Halted)
    );
    // Nor within the same block: what comes behind the theft is refused.
    let scanned = bitcoin.scan(&genesis(), BtcHeight::new(START + 2)).unwrap();
    let end = Cursor {
        height: BtcHeight::new(START + 2),
        hash: scanned[1].hash,
        next_tx: WHOLE_BLOCK,
    };
    let all = BitcoinFacts::from_scan(bitcoin.tip(), &scanned, &end).unwrap();
    assert_eq!(
        consume(chain(), &genesis(), &end, &all.consumed),
        Err(ConsumeError::Halted(halt))
    );
}
