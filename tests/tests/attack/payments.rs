//! Claim C3, the transaction: what a federation of attackers records instead of paying the burns, and signs final.

use crate::burns::three;
use crate::federation::{Federation, edit};
use crate::support::fixtures::Honest;
use crate::support::fixtures::pegout::{self, Plan, outpoint, request_with};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::rules::Rule;
use alys_protocol::signer::PegOutRequest;
use alys_protocol::units::Sats;
use bitcoin::{Amount, ScriptBuf, Sequence, Transaction, TxOut, Witness, absolute, transaction};

/// The request for a batch whose transaction was changed, on a chain of its own.
pub(crate) fn changed(
    federation: &Federation,
    plan: &Plan,
    change: impl FnOnce(&mut Transaction),
) -> PegOutRequest {
    let mut honest = Honest::new(federation.honest.chain.clone());
    let mut transaction = pegout::transaction(&honest.chain, plan);
    change(&mut transaction);
    request_with(&mut honest, plan, &transaction)
}

type Change<'a> = &'a dyn Fn(&mut Transaction);

fn refuses_changes(federation: &mut Federation, plan: &Plan, changes: &[(Rule, &str, Change<'_>)]) {
    for (rule, what, change) in changes {
        let request = changed(federation, plan, change);
        federation.refuses_payment(*rule, what, &request);
    }
}

fn script(byte: u8) -> ScriptBuf {
    ScriptBuf::from_bytes(vec![byte; 22])
}

fn sat(output: &mut TxOut, change: i64) {
    let value = output.value.to_sat().checked_add_signed(change).unwrap();
    output.value = Amount::from_sat(value);
}

/// Siphoning: from payments to the fee or the change, from the change to the fee, to scripts of the attacker's.
pub(crate) fn outputs_siphoned_redirected_skipped_and_reordered() {
    let mut federation = Federation::new();
    let plan = three(0);
    const EXACT: Rule = Rule::OutputsExact;
    refuses_changes(
        &mut federation,
        &plan,
        &[
            (EXACT, "a satoshi of a payment to the fee", &|tx| {
                sat(&mut tx.output[1], -1)
            }),
            (EXACT, "a payment to the fee", &|tx| {
                tx.output[1].value = Amount::ZERO
            }),
            (EXACT, "a satoshi of a payment to the change", &|tx| {
                sat(&mut tx.output[0], -1);
                sat(&mut tx.output[3], 1);
            }),
            (EXACT, "a satoshi of the change to a payment", &|tx| {
                sat(&mut tx.output[0], 1);
                sat(&mut tx.output[3], -1);
            }),
            (EXACT, "a satoshi from one payment to another", &|tx| {
                sat(&mut tx.output[0], 1);
                sat(&mut tx.output[1], -1);
            }),
            (EXACT, "a payment to a thief", &|tx| {
                tx.output[1].script_pubkey = script(7)
            }),
            (EXACT, "a payment to the federation", &|tx| {
                tx.output[1].script_pubkey = tx.output[3].script_pubkey.clone();
            }),
            (EXACT, "payments in another order", &|tx| {
                tx.output.swap(0, 1)
            }),
            (EXACT, "the change first", &|tx| tx.output.rotate_right(1)),
            (EXACT, "a payment skipped, a thief instead", &|tx| {
                tx.output.remove(1);
                tx.output.insert(
                    2,
                    TxOut {
                        value: Amount::from_sat(1_000),
                        script_pubkey: script(7),
                    },
                );
            }),
            (Rule::Change, "the change to a thief", &|tx| {
                tx.output[3].script_pubkey = script(7)
            }),
            (Rule::Change, "the change to a like script", &|tx| {
                let mut bytes = tx.output[3].script_pubkey.to_bytes();
                bytes[33] ^= 1;
                tx.output[3].script_pubkey = bytes.into();
            }),
            (Rule::Change, "a satoshi of the change to the fee", &|tx| {
                sat(&mut tx.output[3], -1)
            }),
            (Rule::Change, "half of the change to the fee", &|tx| {
                tx.output[3].value /= 2;
            }),
            (Rule::Inputs, "more than the inputs have", &|tx| {
                sat(&mut tx.output[3], 10_000_000)
            }),
            (Rule::TxShape, "the change in two", &|tx| {
                tx.output[3].value /= 2;
                tx.output.push(tx.output[3].clone());
            }),
            (Rule::TxShape, "an output to a thief at the end", &|tx| {
                sat(&mut tx.output[3], -1_000);
                tx.output.push(TxOut {
                    value: Amount::from_sat(1_000),
                    script_pubkey: script(7),
                });
            }),
            (Rule::TxShape, "a payment skipped", &|tx| {
                tx.output.truncate(2)
            }),
            (Rule::TxShape, "outputs that overflow", &|tx| {
                tx.output[0].value = Amount::from_sat(u64::MAX);
            }),
        ],
    );
    // The change given away to the fee, with the burns' shares as they are without a change output.
    let wallet = federation.honest.chain.wallet().clone();
    let without = |tx: &mut Transaction| {
        tx.output.truncate(3);
        let scripts = tx
            .output
            .iter()
            .map(|output| output.script_pubkey.as_bytes());
        let vsize = wallet.batch_vsize(2, scripts);
        let fee = alys_protocol::peg::fee(alys_protocol::units::SatsPerKvb::new(5_000), vsize);
        let share = alys_protocol::peg::fee_share(fee.unwrap(), 3).get();
        for (output, amount) in tx.output.iter_mut().zip([2_000_000, 30_000_000, 1_000_001]) {
            output.value = Amount::from_sat(amount - share);
        }
    };
    refuses_changes(
        &mut federation,
        &plan,
        &[(Rule::Change, "all change to the fee", &without)],
    );
    let honest = changed(&federation, &plan, |_| ());
    federation.pays(&honest);
    federation.serves();
}

/// Hash types and other ways to make the signatures mean something else. The shares are 64 bytes each, which is
/// SIGHASH_DEFAULT, and [`Federation::pays`] verifies them over exactly the recorded transaction.
pub(crate) fn n10_shapes_and_hash_types() {
    let mut federation = Federation::new();
    let plan = three(0);
    const SHAPE: Rule = Rule::TxShape;
    refuses_changes(
        &mut federation,
        &plan,
        &[
            (SHAPE, "version 1", &|tx| {
                tx.version = transaction::Version::ONE
            }),
            (SHAPE, "version 3", &|tx| {
                tx.version = transaction::Version(3)
            }),
            (SHAPE, "a height lock", &|tx| {
                tx.lock_time = absolute::LockTime::from_consensus(1)
            }),
            (SHAPE, "a time lock", &|tx| {
                tx.lock_time = absolute::LockTime::from_consensus(u32::MAX)
            }),
            (SHAPE, "no replacement", &|tx| {
                tx.input[1].sequence = Sequence::MAX
            }),
            (SHAPE, "a relative lock", &|tx| {
                tx.input[0].sequence = Sequence::from_height(10)
            }),
            (SHAPE, "the recovery path's sequence", &|tx| {
                tx.input[0].sequence = Sequence(4_320)
            }),
            (SHAPE, "an unlocking script", &|tx| {
                tx.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51])
            }),
            (SHAPE, "a witness with a hash type", &|tx| {
                // SIGHASH_ALL | SIGHASH_ANYONECANPAY as 65th byte.
                tx.input[0].witness = Witness::from_slice(&[[&[1; 64][..], &[0x81]].concat()]);
            }),
            (SHAPE, "an annex", &|tx| {
                tx.input[0].witness = Witness::from_slice(&[vec![0x50]])
            }),
            (SHAPE, "no output", &|tx| tx.output.clear()),
        ],
    );
    let honest = changed(&federation, &plan, |_| ());
    federation.refuses_payments_and_repeats(
        &honest,
        &[
            (SHAPE, "no transaction", &|r| {
                edit(&mut r.record.transaction, Vec::clear)
            }),
            (SHAPE, "a byte less", &|r| {
                edit(&mut r.record.transaction, |b| b.truncate(b.len() - 1))
            }),
            (SHAPE, "a byte more", &|r| {
                edit(&mut r.record.transaction, |b| b.push(0))
            }),
        ],
    );
    let shares = federation.pays(&honest);
    assert_eq!(shares.len(), 2);
    assert_ne!(
        shares[0].as_bytes()[..32],
        shares[1].as_bytes()[..32],
        "a nonce each (N10)"
    );
    federation.serves();
}

/// One coin twice, coins without values, values that are not enough, more coins than allowed.
pub(crate) fn inputs_duplicated_and_misvalued() {
    let mut federation = Federation::new();
    const RULE: Rule = Rule::Inputs;
    let mut twice = three(0);
    twice.inputs[1].0 = twice.inputs[0].0;
    let request = changed(&federation, &twice, |_| ());
    federation.refuses_payment(RULE, "one coin twice", &request);
    let coins = |count: u8| Plan {
        inputs: (1..=count)
            .map(|coin| (outpoint(coin), 2_000_000))
            .collect(),
        ..Plan::simple(0, 1)
    };
    let request = changed(&federation, &coins(21), |_| ());
    federation.refuses_payment(Rule::TxShape, "21 coins", &request);
    let request = changed(
        &federation,
        &Plan {
            inputs: vec![],
            ..three(0)
        },
        |tx| {
            tx.output
                .iter_mut()
                .for_each(|output| output.value = Amount::ZERO);
        },
    );
    federation.refuses_payment(Rule::TxShape, "no coin", &request);
    let honest = changed(&federation, &three(0), |_| ());
    let values = |values: &'static [u64]| {
        move |r: &mut PegOutRequest| {
            r.values = BoundedVec::new(values.iter().copied().map(Sats::new).collect()).unwrap();
        }
    };
    federation.refuses_payments_and_repeats(
        &honest,
        &[
            (RULE, "no values", &values(&[])),
            (RULE, "a value short", &values(&[40_000_000])),
            (RULE, "a value more", &values(&[20_000_000, 20_000_000, 1])),
            (
                RULE,
                "values that overflow",
                &values(&[u64::MAX, 20_000_000]),
            ),
            (RULE, "values that are not enough", &values(&[1, 1])),
            (
                Rule::Change,
                "coins worth more: the rest would be fee",
                &values(&[90_000_000, 20_000_000]),
            ),
            (
                Rule::Change,
                "coins worth less",
                &values(&[19_999_999, 20_000_000]),
            ),
        ],
    );
    // Values that add up and are not the coins': the shares are over other hashes, and spend nothing.
    let mut lying = honest.clone();
    lying.values = BoundedVec::new(vec![Sats::new(19_000_000), Sats::new(21_000_000)]).unwrap();
    let worthless = federation.pays(&lying);
    assert_ne!(federation.pays(&honest), worthless);
    federation.serves();
}

/// A batch without burns moves the wallet's coins to the wallet, and nowhere else.
pub(crate) fn batches_without_burns_that_pay_somebody() {
    let mut federation = Federation::new();
    let refresh = Plan {
        amounts: vec![],
        ..three(0)
    };
    refuses_changes(
        &mut federation,
        &refresh,
        &[
            (Rule::Change, "to a thief", &|tx| {
                tx.output[0].script_pubkey = script(7)
            }),
            (Rule::Change, "half to the fee", &|tx| {
                tx.output[0].value /= 2
            }),
            (Rule::TxShape, "a thief, too", &|tx| {
                sat(&mut tx.output[0], -1_000);
                tx.output.push(TxOut {
                    value: Amount::from_sat(1_000),
                    script_pubkey: script(7),
                });
            }),
            (Rule::TxShape, "to nobody", &|tx| tx.output.clear()),
        ],
    );
    let honest = changed(&federation, &refresh, |_| ());
    let mut with_work = honest.clone();
    with_work.pow = changed(&federation, &three(0), |_| ()).pow;
    federation.refuses_payment(Rule::Finality, "with work over nothing", &with_work);
    let mut with_burns = honest.clone();
    with_burns.burns = changed(&federation, &three(0), |_| ()).burns;
    federation.refuses_payment(
        Rule::BurnSequence,
        "with burns that it does not record",
        &with_burns,
    );
    federation.pays(&honest);
    federation.serves();
}
