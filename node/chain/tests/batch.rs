//! Peg-out batches.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{
    BlockRuleError, BurnError, NoBatch, Origin, PegState, batch_to_record, next_batch,
    plan_advance, replacement, replacement_rate,
};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::federation::BATCH_SEQUENCE;
use alys_protocol::peg::{BatchRecord, fee};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, Sats, SatsPerKvb, SideHeight, Slot};
use bitcoin::{OutPoint, Transaction};
use kit::bitcoin_chain::Bitcoin;
use kit::side_chain::{BurnRequest, Side, Step};
use kit::{chain, deposit, federation, payee, transaction};
use std::collections::BTreeSet;

const RATE: SatsPerKvb = SatsPerKvb::new(5_000);
const LATE: Slot = Slot::new(1 << 40);
const ALL: SideHeight = SideHeight::MAX;

/// A side chain that holds these deposits and owes these burns, no batch recorded.
fn world(deposits: &[u64], burns: &[u64]) -> (Bitcoin, Side) {
    let mut bitcoin = Bitcoin::new();
    let mut side = Side::new();
    for (number, sats) in (0..).zip(deposits) {
        bitcoin.mine(vec![deposit(number, *sats, EvmAddress::new([1; 20]))]);
    }
    bitcoin.mine_empty(2);
    while side.peg().cursor().height.get() + 2 < bitcoin.tip().get() {
        side.step(&bitcoin, &Step::default());
    }
    side.step(
        &bitcoin,
        &Step {
            burns: requests(burns),
            ..Step::default()
        },
    );
    (bitcoin, side)
}

fn requests(burns: &[u64]) -> Vec<BurnRequest> {
    (0..)
        .zip(burns)
        .map(|(number, sats)| BurnRequest {
            script: payee(number),
            sats: *sats,
        })
        .collect()
}

fn batch(peg: &PegState) -> Result<BatchRecord, NoBatch> {
    next_batch(chain(), peg, ALL, LATE, RATE, &[])
}

fn inputs(peg: &PegState, transaction: &Transaction) -> Vec<u64> {
    transaction
        .input
        .iter()
        .map(|input| peg.utxos()[&input.previous_output].value.get())
        .collect()
}

fn outputs(transaction: &Transaction) -> Vec<u64> {
    transaction
        .output
        .iter()
        .map(|output| output.value.to_sat())
        .collect()
}

#[test]
fn a_batch_pays_burns_in_order_and_shares_its_fee() {
    let (_, side) = world(&[500_000, 900_000], &[100_000, 300_000]);
    let record = batch(side.peg()).unwrap();
    assert_eq!((record.first_burn.get(), record.next_burn.get()), (0, 2));
    let transaction = record.decode_transaction().unwrap();
    assert_eq!(transaction.version.0, 2);
    assert_eq!(transaction.lock_time.to_consensus_u32(), 0);
    assert_eq!(transaction.input[0].sequence, BATCH_SEQUENCE);
    // The largest coin suffices.
    assert_eq!(inputs(side.peg(), &transaction), [900_000]);
    // By hand: 3-of-4 multi_a, one input, two P2WPKH outputs and the change are 240 vB; at 5 sat/vB the fee is 1200.
    let vsize = chain().wallet().batch_vsize(
        1,
        transaction
            .output
            .iter()
            .map(|output| output.script_pubkey.as_bytes()),
    );
    let fee = fee(RATE, vsize).unwrap().get();
    let share = fee.div_ceil(2);
    assert_eq!(
        outputs(&transaction),
        [
            100_000 - share,
            300_000 - share,
            900_000 - 400_000 + 2 * share - fee
        ]
    );
    assert_eq!(transaction.output[0].script_pubkey, payee(0));
    assert_eq!(transaction.output[1].script_pubkey, payee(1));
    assert_eq!(transaction.output[2].script_pubkey, federation());
}

#[test]
fn the_prefix_ends_at_the_first_limit() {
    let paid = |deposits: &[u64], burns: &[u64]| {
        batch(world(deposits, burns).1.peg()).map(|record| record.burns())
    };
    let small = 50_000;
    let coin = [400_000_000];
    // max_burns = 3
    assert_eq!(paid(&coin, &[small; 5]), Ok(3));
    // max_batch_value = 150,000,000
    assert_eq!(paid(&coin, &[90_000_000, 60_000_000, small]), Ok(2));
    assert_eq!(paid(&coin, &[90_000_000, 60_000_001, small]), Ok(1));
    // max_inputs = 4: a fifth coin does not help.
    assert_eq!(paid(&[100_000; 5], &[small; 3]), Ok(3));
    assert_eq!(paid(&[100_000; 5], &[200_000, 200_000]), Ok(2));
    assert_eq!(paid(&[100_000; 5], &[200_000, 200_001]), Ok(1));
    // In order: a smaller burn never overtakes.
    assert_eq!(paid(&[100_000], &[60_000, 60_000, 20_000]), Ok(1));
}

#[test]
fn burns_wait_for_proof_of_work() {
    let (_, side) = world(&[1_000_000], &[50_000]);
    let burn = side.peg().queue().next().unwrap().height;
    let at = |height| next_batch(chain(), side.peg(), height, LATE, RATE, &[]);
    assert_eq!(at(burn.saturating_sub(1)), Err(NoBatch::NoBurns));
    assert!(at(burn).is_ok());
}

#[test]
fn fee_rates_outside_the_limits_wait() {
    let (_, side) = world(&[1_000_000], &[50_000]);
    for rate in [0, 999, 20_001, u64::MAX] {
        let rate = SatsPerKvb::new(rate);
        assert_eq!(
            next_batch(chain(), side.peg(), ALL, LATE, rate, &[]),
            Err(NoBatch::FeeRate {
                maximum: SatsPerKvb::new(20_000),
                found: rate
            })
        );
    }
    for rate in [1_000, 20_000] {
        assert!(next_batch(chain(), side.peg(), ALL, LATE, SatsPerKvb::new(rate), &[]).is_ok());
    }
}

/// Records a batch, with everything PoW-final.
fn record(bitcoin: &Bitcoin, side: &mut Side) {
    side.step(bitcoin, &Step::default());
    let step = Step {
        pow: true,
        ..Step::default()
    };
    side.step(bitcoin, &step);
    let step = Step {
        fee_rate: Some(RATE),
        slots: 5,
        ..Step::default()
    };
    assert!(side.step(bitcoin, &step).batch.is_some());
}

#[test]
fn one_batch_per_interval_and_reserved_coins_are_left_alone() {
    let (bitcoin, mut side) = world(&[900_000, 500_000], &[100_000, 200_000, 100_000, 150_000]);
    record(&bitcoin, &mut side);
    let last = side.tip().header.slot;
    let at = |side: &Side, slots| {
        let slot = last.saturating_add(slots);
        next_batch(chain(), side.peg(), ALL, slot, RATE, &[])
    };
    assert_eq!(
        at(&side, 1),
        Err(NoBatch::Interval {
            earliest: last.saturating_add(2),
            found: last.saturating_add(1)
        })
    );
    let second = at(&side, 2).unwrap();
    assert_eq!(second.first_burn.get(), 3);
    let transaction = second.decode_transaction().unwrap();
    assert_eq!(inputs(side.peg(), &transaction), [500_000]);
}

#[test]
fn change_is_selectable_only_when_confirmed_through_the_cursor() {
    let (mut bitcoin, mut side) = world(&[900_000], &[100_000, 200_000, 100_000, 150_000]);
    record(&bitcoin, &mut side);
    let funds = |side: &Side| batch(side.peg());
    let waits = Err(NoBatch::Funds {
        needed: Sats::new(150_000),
        available: Sats::ZERO,
    });
    assert_eq!(funds(&side), waits);
    let block = side.tip().block.clone().unwrap();
    let transaction = block.body.batch.unwrap().decode_transaction().unwrap();
    bitcoin.mine(vec![transaction.clone()]);
    bitcoin.mine_empty(1);
    side.step(&bitcoin, &Step::default());
    // On Bitcoin, but not deep enough.
    assert_eq!(funds(&side), waits);
    bitcoin.mine_empty(1);
    let settled = side.step(&bitcoin, &Step::default()).settled;
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].txid, transaction.compute_txid());
    assert!(side.peg().families().is_empty());
    let change = OutPoint::new(transaction.compute_txid(), 3);
    assert_eq!(side.peg().utxos()[&change].origin, Origin::Change);
    assert_eq!(
        inputs(
            side.peg(),
            &funds(&side).unwrap().decode_transaction().unwrap()
        ),
        [transaction.output[3].value.to_sat()]
    );
}

#[test]
fn coins_near_their_timelock_go_first_and_alone_where_nothing_is_owed() {
    let old = [40_000, 30_000];
    let (mut bitcoin, mut side) = world(&old, &[]);
    assert_eq!(batch(side.peg()), Err(NoBatch::NoBurns));
    // Timelock 200, margin 20: the first is due when the cursor is 180 blocks above it.
    bitcoin.mine(vec![deposit(9, 5_000_000, EvmAddress::new([2; 20]))]);
    let advance = |side: &mut Side, bitcoin: &mut Bitcoin, to: u32| {
        let missing = (to + 2).saturating_sub(bitcoin.tip().get());
        bitcoin.mine_empty(missing);
        while side.peg().cursor().height.get() < to {
            let step = Step {
                pow: true,
                ..Step::default()
            };
            side.step(bitcoin, &step);
        }
    };
    let first = side.peg().utxos().values().map(|utxo| utxo.height).min();
    let due = first.unwrap().get() + 180;
    advance(&mut side, &mut bitcoin, due - 1);
    assert_eq!(batch(side.peg()), Err(NoBatch::NoBurns));
    advance(&mut side, &mut bitcoin, due);
    let refresh = batch(side.peg()).unwrap();
    assert_eq!(refresh.burns(), 0);
    let transaction = refresh.decode_transaction().unwrap();
    assert_eq!(inputs(side.peg(), &transaction), [40_000]);
    // One output back to the federation, the fee taken from it.
    let vsize = chain().wallet().batch_vsize(1, [federation().as_bytes()]);
    assert_eq!(
        outputs(&transaction),
        [40_000 - fee(RATE, vsize).unwrap().get()]
    );
    // With a burn to pay, the old coin is still the first input.
    side.step(
        &bitcoin,
        &Step {
            burns: requests(&[25_000]),
            ..Step::default()
        },
    );
    advance(&mut side, &mut bitcoin, due + 1);
    let both = batch(side.peg()).unwrap().decode_transaction().unwrap();
    assert_eq!(inputs(side.peg(), &both), [40_000, 30_000]);
}

#[test]
fn payments_too_small_to_be_worth_moving_are_not_refreshed() {
    let (mut bitcoin, mut side) = world(&[9_999], &[]);
    bitcoin.mine_empty(250);
    for _block in 0..12 {
        let step = Step {
            pow: true,
            ..Step::default()
        };
        side.step(&bitcoin, &step);
    }
    assert_eq!(batch(side.peg()), Err(NoBatch::NoBurns));
}

#[test]
fn coins_that_cannot_pay_for_being_moved_do_not_block_batches() {
    let mut spec = kit::spec();
    spec.deposits.min_sats = Sats::new(1_000);
    let chain = Chain::new(spec).unwrap();
    let mut bitcoin = Bitcoin::new();
    bitcoin.mine(vec![deposit(1, 2_000, EvmAddress::new([1; 20]))]);
    bitcoin.mine_empty(250);
    let mut peg = PegState::genesis(&chain);
    while peg.cursor().height.get() < kit::START + 180 {
        let scanned = bitcoin.scan(&peg, bitcoin.tip()).unwrap();
        let advance = plan_advance(&chain, &peg, bitcoin.tip(), &scanned).unwrap();
        peg = advance.consumed.state;
    }
    // One input and one output are 196 vB: 2000 sat pay for that and for a change of 330 sat up to 8.5 sat/vB.
    let at = |rate| next_batch(&chain, &peg, ALL, LATE, SatsPerKvb::new(rate), &[]);
    let refresh = at(8_000).unwrap().decode_transaction().unwrap();
    assert!(refresh.output[0].value.to_sat() >= 330);
    assert_eq!(at(9_000), Err(NoBatch::NoBurns));
}

#[test]
fn a_burn_beyond_the_reach_of_max_inputs_is_paid_after_consolidation() {
    let (mut bitcoin, mut side) = world(&[100_000; 7], &[600_000]);
    let merge = batch(side.peg()).unwrap();
    assert_eq!(merge.burns(), 0);
    assert_eq!(
        inputs(side.peg(), &merge.decode_transaction().unwrap()),
        [100_000; 4]
    );
    record(&bitcoin, &mut side);
    // While that is on its way, the burn waits.
    assert!(matches!(batch(side.peg()), Err(NoBatch::Funds { .. })));
    let block = side.tip().block.clone().unwrap();
    bitcoin.mine(vec![
        block.body.batch.unwrap().decode_transaction().unwrap(),
    ]);
    bitcoin.mine_empty(2);
    side.step(&bitcoin, &Step::default());
    let pays = batch(side.peg()).unwrap();
    assert_eq!(pays.burns(), 1);
    // And without enough in all, nothing is merged for nothing.
    let (_, poor) = world(&[100_000; 7], &[699_000, 600_000]);
    let (_, poorer) = world(&[100_000; 5], &[499_999]);
    assert_eq!(batch(poor.peg()).unwrap().burns(), 0);
    assert_eq!(batch(poorer.peg()).unwrap().burns(), 0);
}

#[test]
fn dust_change_goes_to_the_fee() {
    // Just enough for the burn: what is left over is the rounding, below dust.
    for extra in [0, 100, 329] {
        let (_, side) = world(&[100_000 + extra], &[100_000]);
        let transaction = batch(side.peg()).unwrap().decode_transaction().unwrap();
        assert_eq!(transaction.output.len(), 1, "{extra}");
        let vsize = chain().wallet().batch_vsize(1, [payee(0).as_bytes()]);
        let share = fee(RATE, vsize).unwrap().get();
        assert_eq!(outputs(&transaction), [100_000 - share]);
    }
    // From dust on there is change: 330 sat for P2TR.
    let (_, side) = world(&[100_330], &[100_000]);
    let transaction = batch(side.peg()).unwrap().decode_transaction().unwrap();
    assert_eq!(outputs(&transaction)[1], 330);
}

#[test]
fn every_burn_is_payable_at_the_highest_rate_with_the_most_inputs() {
    // Four of the smallest coins for one of the smallest burns: design 9's bound on min_pegout.
    let (_, side) = world(&[10_000; 4], &[20_000]);
    let highest = SatsPerKvb::new(20_000);
    let transaction = next_batch(chain(), side.peg(), ALL, LATE, highest, &[])
        .unwrap()
        .decode_transaction()
        .unwrap();
    assert!(transaction.output[0].value.to_sat() >= 294);
}

#[test]
fn a_replacement_has_the_same_inputs_and_burns_at_a_higher_fee() {
    let (bitcoin, mut side) = world(&[900_000, 500_000], &[100_000, 300_000]);
    record(&bitcoin, &mut side);
    let (id, family) = side.peg().families().first_key_value().unwrap();
    let id = *id;
    let original = family.members[0];
    let replace = |side: &Side, batch, rate| {
        replacement(chain(), side.peg(), batch, LATE, SatsPerKvb::new(rate))
    };
    // BIP-125: at least 1 sat/vB more than the original.
    let found = replace(&side, id, 5_990);
    let Err(NoBatch::ReplacementFee { at_least, found }) = found else {
        panic!("{found:?}");
    };
    assert!(found < at_least);
    let lowest = replacement_rate(chain(), side.peg(), id).unwrap();
    assert!(replace(&side, id, lowest.get()).is_ok());
    assert!((5_990..=6_000).contains(&lowest.get()), "{lowest}");
    let record = replace(&side, id, 6_000).unwrap();
    assert_eq!(record.replaces, Some(id));
    assert_eq!((record.first_burn.get(), record.next_burn.get()), (0, 2));
    let block = side.tip().block.clone().unwrap();
    let before = block.body.batch.unwrap().decode_transaction().unwrap();
    let after = record.decode_transaction().unwrap();
    assert_eq!(before.input, after.input);
    assert_eq!(before.output.len(), after.output.len());
    let sum = |transaction| outputs(transaction).iter().sum::<u64>();
    let vsize = chain().wallet().batch_vsize(
        1,
        after
            .output
            .iter()
            .map(|output| output.script_pubkey.as_bytes()),
    );
    assert_eq!(sum(&before) - sum(&after), vsize);
    assert_eq!(original.fee.get() + vsize, 900_000 - sum(&after));
    // Recorded, it belongs to the family; only the newest can be replaced, and any member may confirm.
    side.step(
        &bitcoin,
        &Step {
            fee_rate: Some(SatsPerKvb::new(6_000)),
            replaces: Some(id),
            slots: 5,
            ..Step::default()
        },
    );
    assert_eq!(side.peg().families().len(), 1);
    let newest = side.peg().families()[&id].members[1].batch;
    assert_eq!(
        replace(&side, id, 9_000),
        Err(NoBatch::NotReplaceable { found: id })
    );
    assert!(replace(&side, newest, 9_000).is_ok());
    let mut older = bitcoin.clone();
    older.mine(vec![before]);
    older.mine_empty(2);
    let mut newer = bitcoin;
    newer.mine(vec![after]);
    newer.mine_empty(2);
    for bitcoin in [older, newer] {
        let mut side = side.clone();
        assert_eq!(side.step(&bitcoin, &Step::default()).settled.len(), 1);
        assert!(side.peg().families().is_empty());
        assert_eq!(side.supply().unexplained, 0);
        assert_eq!(
            replace(&side, newest, 9_000),
            Err(NoBatch::NotReplaceable { found: newest })
        );
    }
}

/// Two families: of three burns, and of one.
fn two_families() -> (Bitcoin, Side) {
    let (bitcoin, mut side) = world(&[900_000, 500_000], &[100_000, 200_000, 100_000, 150_000]);
    record(&bitcoin, &mut side);
    let second = Step {
        fee_rate: Some(RATE),
        slots: 5,
        ..Step::default()
    };
    assert!(side.step(&bitcoin, &second).batch.is_some());
    assert_eq!(side.peg().families().len(), 2);
    (bitcoin, side)
}

#[test]
fn every_stuck_family_gets_its_replacement() {
    let (bitcoin, mut side) = two_families();
    let at = side.tip().header.height;
    let stuck = |side: &Side, patience| side.peg().stuck_batches(at, patience);
    let [first, second] = stuck(&side, 0)[..] else {
        panic!("{:?}", side.peg().families());
    };
    assert_eq!(side.peg().families()[&first].burns.len(), 3);
    assert_eq!(stuck(&side, 1), [first]);
    assert_eq!(stuck(&side, 2), []);
    // The first is replaced at a rate that rises no more; the second is still to be replaced.
    side.step(
        &bitcoin,
        &Step {
            fee_rate: Some(SatsPerKvb::new(9_000)),
            replaces: Some(first),
            slots: 5,
            ..Step::default()
        },
    );
    let newest = side.peg().families()[&first].members[1].batch;
    let now = side.tip().header.height;
    assert_eq!(side.peg().stuck_batches(now, 0), [second, newest]);
    let replaced = |stuck: &[_]| {
        batch_to_record(
            chain(),
            side.peg(),
            stuck,
            ALL,
            LATE,
            SatsPerKvb::new(9_000),
            &[],
        )
        .map(|record| record.replaces)
    };
    assert_eq!(replaced(&[newest, second]), Ok(Some(second)));
    assert_eq!(replaced(&[newest]), Err(NoBatch::NoBurns));
}

#[test]
fn a_batch_whose_input_an_unrecorded_transaction_spent_is_no_longer_pending() {
    let (mut bitcoin, mut side) = two_families();
    let families: Vec<_> = side.peg().families().clone().into_iter().collect();
    let [(robbed, family), (other, _)] = &families[..] else {
        panic!("{families:?}");
    };
    let pending = side.peg().pending_batches();
    assert_eq!(pending.len(), 2);
    let theft = transaction(family.inputs.clone(), vec![(payee(9), 400_000)]);
    bitcoin.mine(vec![theft]);
    bitcoin.mine_empty(2);
    side.step(&bitcoin, &Step::default());
    assert!(side.peg().halt().is_some());
    assert!(side.peg().families().contains_key(robbed));
    let left = side.peg().pending_batches();
    assert_eq!(left.keys().collect::<Vec<_>>(), [other]);
    assert_eq!(left[other], pending[other]);
}

#[test]
fn burns_that_do_not_continue_the_queue_are_refused() {
    let (bitcoin, side) = world(&[1_000_000], &[50_000]);
    let block = side.propose(&bitcoin, &Step::default());
    let again = side.tip().burns.clone();
    let checked = side.check(&bitcoin, &block).unwrap();
    assert!(matches!(
        checked.finish(&block.payload, again),
        Err(BurnError::Sequence { .. })
    ));
}

#[test]
fn ties_are_broken_by_outpoint() {
    let (_, side) = world(&[100_000; 6], &[150_000]);
    let transaction = batch(side.peg()).unwrap().decode_transaction().unwrap();
    let spent: Vec<OutPoint> = transaction
        .input
        .iter()
        .map(|input| input.previous_output)
        .collect();
    let lowest: Vec<OutPoint> = side.peg().utxos().keys().copied().take(2).collect();
    assert_eq!(spent, lowest);
    assert_eq!(BTreeSet::from_iter(spent).len(), 2);
}

fn burns(numbers: &[u64]) -> Vec<BurnSequence> {
    numbers.iter().copied().map(BurnSequence::new).collect()
}

#[test]
fn skipped_burns_leave_the_queue_unpaid_and_stay_locked() {
    let (mut bitcoin, mut side) = world(&[900_000], &[100_000, 200_000, 150_000]);
    let skip = |side: &Side, skips: &[u64]| {
        next_batch(chain(), side.peg(), ALL, LATE, RATE, &burns(skips)).unwrap()
    };
    let record = skip(&side, &[1, 77]);
    assert_eq!((record.burns(), record.payments()), (3, 2));
    assert_eq!(record.skipped.to_vec(), burns(&[1]));
    let transaction = record.decode_transaction().unwrap();
    assert_eq!(transaction.output.len(), 3, "two payments and change");
    assert_eq!(transaction.output[1].script_pubkey, payee(2));
    // All of them: coins go back to the federation, less the fee.
    let none = skip(&side, &[0, 1, 2]);
    assert_eq!((none.burns(), none.payments()), (3, 0));
    let back = none.decode_transaction().unwrap();
    assert_eq!(back.output.len(), 1);
    assert_eq!(
        back.output[0].script_pubkey,
        *chain().wallet().script_pubkey()
    );
    // The whole way: recorded, replaced with the same burn left out, settled.
    side.step(&bitcoin, &Step::default());
    let step = Step {
        pow: true,
        ..Step::default()
    };
    side.step(&bitcoin, &step);
    let step = Step {
        fee_rate: Some(RATE),
        slots: 5,
        skips: burns(&[1]),
        ..Step::default()
    };
    let id = side.step(&bitcoin, &step).batch.unwrap();
    let family = &side.peg().families()[&id];
    assert_eq!((family.burns.len(), family.paid().count()), (3, 2));
    assert_eq!(side.peg().queue().len(), 0);
    let higher = SatsPerKvb::new(9_000);
    let replaced = replacement(chain(), side.peg(), id, LATE, higher).unwrap();
    assert_eq!(replaced.skipped.to_vec(), burns(&[1]));
    let block = side.tip().block.clone().unwrap();
    let transaction = block.body.batch.unwrap().decode_transaction().unwrap();
    bitcoin.mine(vec![transaction]);
    bitcoin.mine_empty(2);
    side.step(&bitcoin, &Step::default());
    let totals = side.peg().totals();
    assert_eq!(totals.settled, Sats::new(250_000));
    assert_eq!(totals.skipped, Sats::new(200_000));
    assert!(side.peg().families().is_empty());
}

/// What is skipped is the record's choice, but only of burns that it reaches, each once.
#[test]
fn a_record_skips_only_burns_that_it_reaches() {
    let (bitcoin, mut side) = world(&[900_000], &[100_000, 200_000, 150_000]);
    side.step(&bitcoin, &Step::default());
    let step = Step {
        pow: true,
        ..Step::default()
    };
    side.step(&bitcoin, &step);
    let honest = Step {
        fee_rate: Some(RATE),
        slots: 5,
        skips: burns(&[1]),
        ..Step::default()
    };
    let block = side.propose(&bitcoin, &honest);
    assert!(side.check(&bitcoin, &block).is_ok());
    for skipped in [&[][..], &[0], &[1, 1], &[1, 3], &[2, 1]] {
        let mut changed = block.clone();
        let batch = changed.body.batch.as_mut().unwrap();
        batch.skipped = BoundedVec::new(burns(skipped)).unwrap();
        changed.header.body_root = changed.body.root(chain().id()).unwrap();
        let checked = side.check(&bitcoin, &changed);
        assert!(
            matches!(checked, Err(BlockRuleError::Batch { .. })),
            "{skipped:?}: {checked:?}"
        );
    }
}
