//! Claim C2: nothing is minted that is not locked. The nodes choose deposits, withdrawals and everything around them.

use crate::deposits::{Mint, coinbase, output, payment, recipient};
use crate::federation::{Federation, Setup};
use alys_protocol::execution::Withdrawal;
use alys_protocol::peg::{WHOLE_BLOCK, encode_stripped};
use alys_protocol::rules::Rule;
use alys_protocol::units::{Gwei, Sats};
use bitcoin::{Amount, ScriptBuf, Transaction};

/// Gives each withdrawal the index of its place, as if it belonged there.
fn renumber(mint: &mut Mint) {
    let first = mint.withdrawals.iter().map(|each| each.index).min();
    for (index, withdrawal) in (first.unwrap_or_default()..).zip(&mut mint.withdrawals) {
        withdrawal.index = index;
    }
}

fn withdrawal(like: &Withdrawal, amount: u64) -> Withdrawal {
    Withdrawal {
        address: recipient(0xbc),
        amount: Gwei::new(amount),
        ..*like
    }
}

/// Regression A1: withdrawals beyond the proven ones, before, between and after them, and any other change to the list.
pub(crate) fn a1_withdrawals_extra_missing_duplicated_and_reordered() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let block = federation.deposited(&[1_000_000, 2_000_000, 3_000_000]);
    let mint = federation.mint(&block, &[1, 2, 3]);
    const RULE: Rule = Rule::WithdrawalsExact;
    let extra = |place: usize, amount: u64| {
        move |mint: &mut Mint| {
            let thief = withdrawal(&mint.withdrawals[0], amount);
            mint.withdrawals.insert(place, thief);
            renumber(mint);
        }
    };
    federation.refuses_mints(
        &mint,
        &[
            (RULE, "an extra one first", &extra(0, 1)),
            (RULE, "an extra one between", &extra(2, 1)),
            (RULE, "an extra one last", &extra(3, 21_000_000_000_000_000)),
            (RULE, "an extra one of nothing", &extra(3, 0)),
            (RULE, "one twice", &|m| {
                m.withdrawals.push(m.withdrawals[2]);
                renumber(m);
            }),
            (RULE, "one twice under one index", &|m| {
                m.withdrawals.push(m.withdrawals[2])
            }),
            (RULE, "two swapped", &|m| {
                m.withdrawals.swap(0, 1);
                renumber(m);
            }),
            (RULE, "two swapped with their indices", &|m| {
                m.withdrawals.swap(0, 1)
            }),
            (RULE, "one missing", &|m| m.withdrawals.truncate(2)),
            (RULE, "the first missing", &|m| {
                m.withdrawals.remove(0);
                renumber(m);
            }),
            (RULE, "none", &|m| m.withdrawals.clear()),
            (RULE, "two in one", &|m| {
                let second = m.withdrawals.remove(1).amount.get();
                m.withdrawals[0].amount = Gwei::new(m.withdrawals[0].amount.get() + second);
                renumber(m);
            }),
            (RULE, "a gwei more", &|m| {
                m.withdrawals[1].amount = Gwei::new(20_000_001)
            }),
            (RULE, "a gwei less", &|m| {
                m.withdrawals[1].amount = Gwei::new(19_999_999)
            }),
            (RULE, "a satoshi from one to another", &|m| {
                m.withdrawals[0].amount = Gwei::new(10_000_010);
                m.withdrawals[1].amount = Gwei::new(19_999_990);
            }),
            (RULE, "the thief's address", &|m| {
                m.withdrawals[2].address = recipient(0xbc)
            }),
            (RULE, "a validator", &|m| {
                m.withdrawals[0].validator_index = 1
            }),
            (RULE, "another index", &|m| m.withdrawals[2].index += 1),
            (RULE, "all indices of another block", &|m| {
                m.withdrawals
                    .iter_mut()
                    .for_each(|each| each.index += 1 << 16);
            }),
            (RULE, "withdrawals without a deposit", &|m| {
                m.consumed.clear();
                m.proofs.clear();
            }),
            (RULE, "a deposit without its proof", &|m| {
                m.proofs.truncate(2)
            }),
        ],
    );
    federation.mints(&mint);
    federation.serves();
}

/// Regressions A1, A2: withdrawals of a block that consumes nothing.
pub(crate) fn a1_withdrawals_from_nowhere() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let like = Withdrawal {
        index: 3 << 16,
        validator_index: 0,
        address: recipient(1),
        amount: Gwei::new(1),
    };
    for amount in [0, 1, 10, u64::MAX] {
        let link = federation.child(|link| link.withdrawals = vec![withdrawal(&like, amount)]);
        let request = federation.honest.approve(&link);
        federation.refuses_vote(Rule::WithdrawalsExact, "from nowhere", &request);
        // Withdrawals that the request leaves out are in the execution header all the same.
        let mut hidden = request.clone();
        hidden.withdrawals = Default::default();
        federation.refuses_vote(Rule::ExecutionHeader, "hidden", &hidden);
    }
    federation.serves();
}

/// Regression A2: one deposit twice, in one block and in two.
pub(crate) fn a2_deposits_minted_twice() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let block = federation.deposited(&[1_000_000, 2_000_000]);
    let mint = federation.mint(&block, &[1, 2]);
    federation.refuses_mints(
        &mint,
        &[
            (Rule::DepositOrder, "one listed twice", &|m| {
                m.consumed.push(m.consumed[1].clone());
                let mut proof = m.proofs[1].clone();
                proof.consumed = 2;
                m.proofs.push(proof);
                m.withdrawals.push(m.withdrawals[1]);
                renumber(m);
            }),
            (Rule::DepositOrder, "one proven twice", &|m| {
                m.proofs.push(m.proofs[1].clone());
                m.withdrawals.push(m.withdrawals[1]);
                renumber(m);
            }),
            (Rule::WithdrawalsExact, "one withdrawn twice", &|m| {
                m.withdrawals.push(m.withdrawals[1]);
                renumber(m);
            }),
            (Rule::DepositOrder, "out of Bitcoin's order", &|m| {
                m.consumed.swap(0, 1)
            }),
            (Rule::DepositOrder, "proofs out of order", &|m| {
                m.proofs.swap(0, 1)
            }),
            (Rule::DepositOrder, "a proof of nothing", &|m| {
                m.proofs[1].consumed = 7
            }),
            (Rule::DepositOrder, "beyond the cursor", &|m| {
                m.cursor.next_tx = 2
            }),
        ],
    );
    // A cursor inside the block consumes the first deposit only; the second is minted by the next block.
    let first = Mint {
        cursor: block.cursor(2),
        ..federation.mint(&block, &[1])
    };
    federation.mints(&first);
    let second = federation.mint(&block, &[2]);
    federation.refuses_mints(
        &second,
        &[
            (Rule::DepositOrder, "the first again", &|m| {
                m.consumed = first.consumed.clone();
                m.proofs = first.proofs.clone();
                m.withdrawals[0].amount = first.withdrawals[0].amount;
                m.withdrawals[0].address = first.withdrawals[0].address;
            }),
            (Rule::Counters, "with a cursor that stays", &|m| {
                m.cursor.next_tx = 2
            }),
            (Rule::Counters, "with a cursor that goes back", &|m| {
                m.cursor.next_tx = 1
            }),
        ],
    );
    federation.mints(&second);
    let both = federation.mint(&block, &[1, 2]);
    let (_, request) = federation.minting(&both);
    federation.refuses_vote(Rule::Counters, "the whole block again", &request);
    // The next Bitcoin block's cursor, and the old deposits.
    let next = federation.deposited(&[]);
    let again = Mint {
        cursor: next.cursor(WHOLE_BLOCK),
        ..both
    };
    let (_, request) = federation.minting(&again);
    federation.refuses_vote(Rule::DepositOrder, "under a later cursor", &request);
    federation.serves();
}

/// A deposit that is not buried, one in a block that the signer was not shown, and one in a block that nobody mined.
pub(crate) fn deposits_that_are_not_buried() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let deposit = federation.deposit(1, 5_000_000);
    let block = federation.mine(vec![coinbase(), deposit]);
    let mint = federation.mint(&block, &[1]);
    let depth = federation.honest.chain.spec().deposits.confirmations;
    for confirmations in 1..=depth {
        let (_, request) = federation.minting(&mint);
        federation.refuses_vote(Rule::DepositDepth, "with its header withheld", &request);
        federation.feed();
        if confirmations < depth {
            federation.refuses_vote(Rule::DepositDepth, "not buried", &request);
            federation.bury(1);
        }
    }
    let elsewhere =
        bitcoin::BlockHash::from_raw_hash(bitcoin::hashes::Hash::from_byte_array([7; 32]));
    federation.refuses_mints(
        &mint,
        &[
            (Rule::DepositDepth, "in a block that nobody mined", &|m| {
                m.consumed[0].block = elsewhere
            }),
            (
                Rule::DepositDepth,
                "under a cursor that nobody mined",
                &|m| m.cursor.hash = elsewhere,
            ),
            (
                Rule::DepositDepth,
                "under a cursor that is not buried",
                &|m| {
                    m.cursor.height = m.cursor.height.saturating_add(1);
                },
            ),
            (Rule::DepositDepth, "under a cursor above the tip", &|m| {
                m.cursor.height = m.cursor.height.saturating_add(1_000);
            }),
        ],
    );
    federation.mints(&mint);
    federation.serves();
}

/// A policy that asks for more confirmations than the chain holds deposits back.
pub(crate) fn deposits_below_the_policys_depth() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| policy.deposit_confirmations = 9,
        ..Setup::default()
    });
    federation.honest.grow(2);
    let block = federation.deposited(&[5_000_000]);
    let mint = federation.mint(&block, &[1]);
    for _missing in 0..3 {
        let (_, request) = federation.minting(&mint);
        federation.refuses_vote(Rule::DepositDepth, "buried for the chain only", &request);
        federation.bury(1);
        federation.feed();
    }
    federation.mints(&mint);
    federation.serves();
}

/// Transactions that are proven and credit nobody.
pub(crate) fn deposits_to_other_scripts_and_of_other_forms() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let ours = federation
        .honest
        .chain
        .wallet()
        .script_pubkey()
        .as_bytes()
        .to_vec();
    let good = federation.deposit(1, 5_000_000);
    let changed = |change: &dyn Fn(&mut Transaction)| {
        let mut transaction = good.clone();
        change(&mut transaction);
        transaction
    };
    let bad = vec![
        payment(1),
        changed(&|tx| {
            tx.output[0].script_pubkey = ScriptBuf::from_bytes([&ours[..33], &[7]].concat())
        }),
        changed(&|tx| tx.output[0].script_pubkey = ScriptBuf::new()),
        changed(&|tx| tx.output[0].value = Amount::from_sat(9_999)),
        changed(&|tx| tx.output.truncate(1)),
        changed(&|tx| tx.output.push(tx.output[1].clone())),
        changed(&|tx| tx.output[1].script_pubkey = ScriptBuf::from_bytes(vec![0x6a, 0x13])),
        changed(&|tx| {
            let longer = [tx.output[1].script_pubkey.as_bytes(), &[0]].concat();
            tx.output[1].script_pubkey = ScriptBuf::from_bytes(longer);
        }),
        changed(&|tx| tx.output.push(output(&ours, u64::MAX))),
    ];
    let transactions = std::iter::once(coinbase())
        .chain(bad.clone())
        .chain([good.clone()]);
    let block = federation.mine(transactions.collect());
    federation.bury(5);
    federation.feed();
    let last = u32::try_from(bad.len() + 1).unwrap();
    let honest = federation.mint(&block, &[last]);
    for place in 0..last {
        let mut mint = honest.clone();
        mint.consumed[0] = block.consumed(place);
        mint.proofs[0] = block.proof(place, 0);
        let (_, request) = federation.minting(&mint);
        federation.refuses_vote(Rule::DepositScript, &format!("place {place}"), &request);
    }
    federation.mints(&honest);
    federation.serves();
}

/// The rolling limit on mints, drained in small steps, under headers that run ahead of the signer's timer.
pub(crate) fn mints_drained_in_small_steps() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| policy.mint_window_sats = Sats::new(500_000_000),
        ..Setup::default()
    });
    federation.honest.grow(2);
    let block = federation.deposited(&[100_000_000; 8]);
    let minted = |federation: &Federation, place: u32| Mint {
        cursor: block.cursor(place + 1),
        ..federation.mint(&block, &[place])
    };
    for place in 1..=5 {
        let mint = minted(&federation, place);
        federation.mints(&mint);
    }
    let mint = minted(&federation, 6);
    let (_, request) = federation.minting(&mint);
    federation.refuses_vote(Rule::MintWindow, "a sixth", &request);
    // Bitcoin's median time is made to run as fast as blocks may: the timer does not follow.
    for _step in 0..20 {
        federation.bury(5);
        federation.feed();
        let mint = minted(&federation, 6);
        let (_, request) = federation.minting(&mint);
        federation.refuses_vote(Rule::MintWindow, "after more headers", &request);
    }
    // Other blocks from the same position on are charged beyond the largest only, and still too much.
    let both = Mint {
        cursor: block.cursor(8),
        ..federation.mint(&block, &[6, 7])
    };
    let (_, request) = federation.minting(&both);
    federation.refuses_vote(Rule::MintWindow, "two at once", &request);
    federation.serves();
    // A deposit whose consumed bytes are another's is not proven by the other's place.
    let mut forged = minted(&federation, 6);
    forged.consumed[0].bytes = encode_stripped(&federation.deposit(6, 1)).unwrap();
    let (_, request) = federation.minting(&forged);
    federation.refuses_vote(Rule::DepositProof, "of one satoshi", &request);
    federation.serves();
}
