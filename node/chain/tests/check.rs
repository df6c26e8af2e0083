//! The block rules, each with a block that keeps it and one that breaks it.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{
    BlockRuleError, Class, ConsumeError, Facts, FeeError, NoBatch, WithdrawalError, check_block,
    expected_withdrawals, fee_distribution,
};
use alys_protocol::auxpow::AuxPowError;
use alys_protocol::block::Block;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, BodyRoot, Digest, EvmAddress, ExecutionHash};
use alys_protocol::execution::Withdrawal;
use alys_protocol::units::{
    BtcHeight, BurnSequence, Gwei, PowCount, SatsPerKvb, SideHeight, Slot, Wei,
};
use bitcoin::hashes::Hash as _;
use kit::bitcoin_chain::Bitcoin;
use kit::side_chain::{BurnRequest, Side, Step};
use kit::{MINER, START, chain, deposit, payee, share};
use std::sync::LazyLock;

const ALICE: EvmAddress = EvmAddress::new([0xaa; 20]);

/// A chain whose next block has deposits, a record with fees, and a batch.
struct Scene {
    bitcoin: Bitcoin,
    side: Side,
    block: Block,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let mut bitcoin = Bitcoin::new();
    bitcoin.mine(vec![deposit(1, 90_000_000, ALICE)]);
    bitcoin.mine_empty(2);
    let mut side = Side::new();
    side.step(&bitcoin, &Step::default());
    let burns = [30_000, 40_000].map(|sats| BurnRequest {
        script: payee(sats),
        sats,
    });
    side.step(
        &bitcoin,
        &Step {
            burns: burns.to_vec(),
            tips: 123_456_789_012_345,
            gas_used: 21_000,
            ..Step::default()
        },
    );
    side.step(&bitcoin, &Step::default());
    let record = Step {
        pow: true,
        tips: 1_000_000,
        ..Step::default()
    };
    side.step(&bitcoin, &record);
    bitcoin.mine(vec![deposit(2, 20_000, ALICE), deposit(3, 30_000, ALICE)]);
    bitcoin.mine_empty(2);
    let everything = Step {
        pow: true,
        fee_rate: Some(SatsPerKvb::new(3_000)),
        ..Step::default()
    };
    let block = side.propose(&bitcoin, &everything);
    assert_eq!(block.body.consumed.len(), 2);
    assert!(block.body.pow.is_some() && block.body.batch.is_some());
    Scene {
        bitcoin,
        side,
        block,
    }
});

/// What the validator says of the block after a change. The body's root follows the body.
fn broken(change: impl FnOnce(&mut Block)) -> BlockRuleError {
    let mut block = SCENE.block.clone();
    change(&mut block);
    block.header.body_root = block.body.root(chain().id()).unwrap();
    SCENE.side.check(&SCENE.bitcoin, &block).unwrap_err()
}

fn withdrawals(block: &mut Block, change: impl FnOnce(&mut Vec<Withdrawal>)) {
    let mut withdrawals = block.payload.withdrawals.to_vec();
    change(&mut withdrawals);
    block.payload.withdrawals = BoundedVec::new(withdrawals).unwrap();
}

/// Everything that names a rule which refuses a block for good.
macro_rules! refused {
    ($found:expr, $rule:pat) => {{
        let found = $found;
        assert!(matches!(found, $rule), "{found:?}");
        assert_eq!(found.class(), Class::Invalid, "{found}");
    }};
}

#[test]
fn a_block_that_keeps_every_rule_passes() {
    let checked = SCENE.side.check(&SCENE.bitcoin, &SCENE.block).unwrap();
    assert_eq!(checked.mints.len(), 2);
    let fees = checked.fees.unwrap();
    assert_eq!(fees.miner, MINER);
    assert_eq!(
        checked.batch,
        SCENE
            .block
            .body
            .batch
            .as_ref()
            .map(|batch| batch.id(chain().id()))
    );
    // Deposits first, then the miner, then each member with the same share.
    let found: Vec<_> = SCENE
        .block
        .payload
        .withdrawals
        .iter()
        .map(|withdrawal| (withdrawal.address, withdrawal.amount))
        .collect();
    let mut expected = vec![(ALICE, Gwei::new(200_000)), (ALICE, Gwei::new(300_000))];
    expected.extend((fees.shares.miner > Gwei::ZERO).then_some((MINER, fees.shares.miner)));
    if fees.shares.member > Gwei::ZERO {
        expected.extend((1..=4).map(|member| (EvmAddress::new([member; 20]), fees.shares.member)));
    }
    assert_eq!(found, expected);
    let first = SCENE.block.header.height.get() << 16;
    assert_eq!(SCENE.block.payload.withdrawals[1].index, first + 1);
}

#[test]
fn a1_an_extra_withdrawal_is_refused() {
    refused!(
        broken(|block| withdrawals(block, |list| {
            let index = list.last().unwrap().index + 1;
            list.push(Withdrawal {
                index,
                validator_index: 0,
                address: EvmAddress::new([0x66; 20]),
                amount: Gwei::new(1),
            });
        })),
        BlockRuleError::Withdrawals { expected: None, .. }
    );
}

#[test]
fn a1_a_missing_or_changed_withdrawal_is_refused() {
    refused!(
        broken(|block| withdrawals(block, |list| list.truncate(1))),
        BlockRuleError::Withdrawals { found: None, .. }
    );
    let changes: [fn(&mut Withdrawal); 4] = [
        |withdrawal| withdrawal.amount = Gwei::new(withdrawal.amount.get() + 1),
        |withdrawal| withdrawal.address = EvmAddress::ZERO,
        |withdrawal| withdrawal.index += 1,
        |withdrawal| withdrawal.validator_index = 1,
    ];
    for change in changes {
        refused!(
            broken(|block| withdrawals(block, |list| change(&mut list[0]))),
            BlockRuleError::Withdrawals { place: 0, .. }
        );
    }
    // Two mints to one address are two withdrawals.
    refused!(
        broken(|block| withdrawals(block, |list| {
            let second = list.remove(1);
            list[0].amount = Gwei::new(list[0].amount.get() + second.amount.get());
        })),
        BlockRuleError::Withdrawals { .. }
    );
}

#[test]
fn a2_a_deposit_listed_twice_is_refused() {
    refused!(
        broken(|block| {
            let mut consumed = block.body.consumed.to_vec();
            consumed.push(consumed[1].clone());
            block.body.consumed = BoundedVec::new(consumed).unwrap();
            withdrawals(block, |list| {
                let copy = list[1];
                list.insert(2, copy);
            });
        }),
        BlockRuleError::Consume(ConsumeError::Order { .. })
    );
}

#[test]
fn a6_no_height_is_exempt() {
    // The same forgery at every height from the first child of genesis on.
    let bitcoin = Bitcoin::new();
    let mut side = Side::new();
    for _height in 0..40 {
        let step = Step {
            pow: true,
            ..Step::default()
        };
        let mut block = side.propose(&bitcoin, &step);
        withdrawals(&mut block, |list| {
            list.push(Withdrawal {
                index: 0,
                validator_index: 0,
                address: ALICE,
                amount: Gwei::new(1),
            });
        });
        refused!(
            side.check(&bitcoin, &block).unwrap_err(),
            BlockRuleError::Withdrawals { .. }
        );
        side.step(&bitcoin, &step);
    }
}

#[test]
fn a7_bytes_that_are_no_auxpow_or_transaction_are_refused() {
    for bytes in [vec![], vec![0xff; 40], vec![0; 1000]] {
        refused!(
            broken(|block| {
                block.body.pow.as_mut().unwrap().auxpow = BoundedVec::new(bytes).unwrap();
            }),
            BlockRuleError::AuxPow(_)
        );
    }
    refused!(
        broken(|block| {
            let mut consumed = block.body.consumed.to_vec();
            consumed[0].bytes = BoundedVec::new(vec![0xff; 30]).unwrap();
            block.body.consumed = BoundedVec::new(consumed).unwrap();
        }),
        BlockRuleError::Consume(ConsumeError::Transaction(_))
    );
}

#[test]
fn a11_a_batch_that_the_ledger_does_not_give_is_refused() {
    // Another payee, another amount, an input more, another rate than it was built for.
    let change = |edit: fn(&mut bitcoin::Transaction)| {
        broken(|block| {
            let batch = block.body.batch.as_mut().unwrap();
            let mut transaction = batch.decode_transaction().unwrap();
            edit(&mut transaction);
            let bytes = bitcoin::consensus::serialize(&transaction);
            batch.transaction = BoundedVec::new(bytes).unwrap();
        })
    };
    let edits: [fn(&mut bitcoin::Transaction); 5] = [
        |transaction| transaction.output[0].script_pubkey = payee(666),
        |transaction| transaction.output[0].value += bitcoin::Amount::ONE_SAT,
        |transaction| transaction.output.swap(0, 1),
        |transaction| transaction.input.push(transaction.input[0].clone()),
        |transaction| drop(transaction.output.pop()),
    ];
    for edit in edits {
        refused!(change(edit), BlockRuleError::Batch { .. });
    }
    refused!(
        broken(|block| block.body.batch.as_mut().unwrap().fee_rate = SatsPerKvb::new(2_990)),
        BlockRuleError::Batch { .. }
    );
    // A batch that leaves out a burn, or claims one more.
    for next_burn in [1, 3] {
        refused!(
            broken(|block| {
                let next_burn = BurnSequence::new(next_burn);
                block.body.batch.as_mut().unwrap().next_burn = next_burn;
                block.header.next_burn = next_burn;
            }),
            BlockRuleError::Batch { .. }
        );
    }
    refused!(
        broken(|block| block.body.batch.as_mut().unwrap().fee_rate = SatsPerKvb::new(20_001)),
        BlockRuleError::NoBatch(NoBatch::FeeRate { .. })
    );
}

#[test]
fn a12_a_skipped_deposit_is_refused() {
    // The body leaves out a transaction that our own Bitcoin node has; withdrawals and root agree with the body.
    refused!(
        broken(|block| {
            let mut consumed = block.body.consumed.to_vec();
            consumed.remove(0);
            block.body.consumed = BoundedVec::new(consumed).unwrap();
            withdrawals(block, |list| *list = list.split_off(1));
        }),
        BlockRuleError::Consumed { place: 0, .. }
    );
    // Or it invents one.
    refused!(
        broken(|block| {
            let mut consumed = block.body.consumed.to_vec();
            let forged = deposit(77, 20_000, EvmAddress::ZERO);
            consumed[0].bytes = alys_protocol::peg::encode_stripped(&forged).unwrap();
            block.body.consumed = BoundedVec::new(consumed).unwrap();
        }),
        BlockRuleError::Consumed { place: 0, .. }
    );
}

#[test]
fn a12_a_ledger_that_is_not_the_parents_is_noticed() {
    let side = &SCENE.side;
    let genesis = alys_chain::PegState::genesis(chain());
    let parent = alys_chain::Parent {
        peg: &genesis,
        ..side.parent()
    };
    let facts = Facts {
        bitcoin: None,
        vault_balance: None,
        ancestor: &|_| None,
    };
    let found = check_block(chain(), &parent, &SCENE.block, &facts).unwrap_err();
    assert!(matches!(found, BlockRuleError::Ledger { .. }), "{found}");
    assert_eq!(found.class(), Class::Retry);
}

#[test]
fn links_and_root() {
    refused!(
        broken(|block| block.header.parent = BlockId::ZERO),
        BlockRuleError::Parent { .. }
    );
    refused!(
        broken(|block| block.header.height = SideHeight::new(1)),
        BlockRuleError::Height { .. }
    );
    let mut block = SCENE.block.clone();
    block.header.body_root = BodyRoot::ZERO;
    let found = SCENE.side.check(&SCENE.bitcoin, &block).unwrap_err();
    refused!(found, BlockRuleError::BodyRoot { .. });
}

#[test]
fn counters_change_only_by_their_record() {
    refused!(
        broken(|block| block.body.batch = None),
        BlockRuleError::NextBurn { .. }
    );
    refused!(
        broken(|block| block.header.next_burn = BurnSequence::ZERO),
        BlockRuleError::NextBurn { .. }
    );
    refused!(
        broken(|block| block.body.pow = None),
        BlockRuleError::PowState { .. }
    );
    refused!(
        broken(|block| block.header.pow.count = PowCount::new(9)),
        BlockRuleError::PowState { .. }
    );
    refused!(
        broken(|block| block.header.pow.id = BlockId::ZERO),
        BlockRuleError::PowState { .. }
    );
    refused!(
        broken(|block| {
            let wei = block.header.fees_distributed;
            block.header.fees_distributed = wei.saturating_add(1);
        }),
        BlockRuleError::FeesDistributed { .. }
    );
    refused!(
        broken(|block| block.header.bitcoin = SCENE.side.tip().header.bitcoin),
        BlockRuleError::Consume(ConsumeError::Range { .. })
    );
}

#[test]
fn payload_fields() {
    refused!(
        broken(|block| block.payload.block_hash = ExecutionHash::ZERO),
        BlockRuleError::ExecutionHash { .. }
    );
    refused!(
        broken(|block| block.payload.parent_hash = ExecutionHash::ZERO),
        BlockRuleError::PayloadParent { .. }
    );
    refused!(
        broken(|block| block.payload.block_number = SideHeight::new(1)),
        BlockRuleError::PayloadNumber { .. }
    );
    refused!(
        broken(|block| block.payload.timestamp += 2),
        BlockRuleError::Timestamp { .. }
    );
    refused!(
        broken(|block| block.header.slot = Slot::MAX),
        BlockRuleError::Timestamp { expected: None, .. }
    );
    refused!(
        broken(|block| block.payload.fee_recipient = ALICE),
        BlockRuleError::FeeRecipient { .. }
    );
    refused!(
        broken(|block| block.payload.prev_randao = Digest::ZERO),
        BlockRuleError::PrevRandao { .. }
    );
    refused!(
        broken(|block| block.payload.gas_limit += 1),
        BlockRuleError::GasLimit { .. }
    );
    refused!(
        broken(|block| block.payload.blob_gas_used = 131_072),
        BlockRuleError::Blobs { .. }
    );
    refused!(
        broken(|block| block.payload.excess_blob_gas = 1),
        BlockRuleError::Blobs { .. }
    );
}

#[test]
fn the_record_covers_the_range_from_the_last_one_to_a_final_block() {
    let parent = &SCENE.side.tip().header;
    let last = SCENE.side.implied_final();
    refused!(
        broken(|block| block.header.pow.height = last.saturating_add(1)),
        BlockRuleError::PowEnd { .. }
    );
    refused!(
        broken(|block| block.header.pow.height = parent.pow.height),
        BlockRuleError::PowEnd { .. }
    );
    refused!(
        broken(|block| block.body.pow.as_mut().unwrap().start = BlockId::ZERO),
        BlockRuleError::PowStart { .. }
    );
    // The work binds the payout and the range.
    refused!(
        broken(|block| block.body.pow.as_mut().unwrap().fee_recipient = ALICE),
        BlockRuleError::AuxPow(AuxPowError::Commitment { .. })
    );
    refused!(
        broken(|block| {
            let start = block.body.pow.as_ref().unwrap().start;
            block.body.pow = Some(share(start, BlockId::ZERO, MINER));
        }),
        BlockRuleError::AuxPow(AuxPowError::Commitment { .. })
    );
}

#[test]
fn a_record_is_needed_beyond_the_limit_and_not_before() {
    let bitcoin = Bitcoin::new();
    let mut side = Side::new();
    // The limit is 6 final blocks; all but the tip are final here.
    for _height in 0..8 {
        side.step(&bitcoin, &Step::default());
    }
    let without = side.propose(&bitcoin, &Step::default());
    refused!(
        side.check(&bitcoin, &without).unwrap_err(),
        BlockRuleError::PowMissing {
            distance: 7,
            maximum: 6
        }
    );
    let step = Step {
        pow: true,
        ..Step::default()
    };
    side.step(&bitcoin, &step);
    // Production goes on.
    side.step(&bitcoin, &Step::default());
}

#[test]
fn what_cannot_be_looked_up_yet_is_asked_again() {
    let side = &SCENE.side;
    let header = &SCENE.block.header;
    let view = SCENE.bitcoin.facts(side.peg(), &header.bitcoin).unwrap();
    let all = Facts {
        bitcoin: Some(&view),
        vault_balance: Some(Wei::new(side.tip().evm.vault)),
        ancestor: &|height| side.ancestor(height),
    };
    let retry = |facts: Facts<'_>| {
        let found = check_block(chain(), &side.parent(), &SCENE.block, &facts).unwrap_err();
        assert_eq!(found.class(), Class::Retry, "{found}");
        found
    };
    assert!(check_block(chain(), &side.parent(), &SCENE.block, &all).is_ok());
    assert!(matches!(
        retry(Facts {
            bitcoin: None,
            ..all
        }),
        BlockRuleError::BitcoinUnknown { .. }
    ));
    let mut shallow = view.clone();
    shallow.tip = BtcHeight::new(START + 5);
    assert!(matches!(
        retry(Facts {
            bitcoin: Some(&shallow),
            ..all
        }),
        BlockRuleError::BitcoinDepth {
            confirmations: 3,
            ..
        }
    ));
    let mut branch = view.clone();
    branch.hash = bitcoin::BlockHash::all_zeros();
    assert!(matches!(
        retry(Facts {
            bitcoin: Some(&branch),
            ..all
        }),
        BlockRuleError::BitcoinBranch { .. }
    ));
    assert!(matches!(
        retry(Facts {
            vault_balance: None,
            ..all
        }),
        BlockRuleError::VaultUnknown
    ));
    assert!(matches!(
        retry(Facts {
            ancestor: &|_| None,
            ..all
        }),
        BlockRuleError::AncestorUnknown { .. }
    ));
    assert!(matches!(
        retry(Facts {
            vault_balance: Some(Wei::ZERO),
            ..all
        }),
        BlockRuleError::Fees(FeeError::Balance { .. })
    ));
}

#[test]
fn fees_are_shared_in_whole_gwei_and_the_rest_stays() {
    // pot = 10^10 + 7 wei: 8/10 are 8 gwei, 2/10 by 4 members 0.5 gwei each.
    let shares = fee_distribution(Wei::new(10_000_000_107), Wei::new(100), 4).unwrap();
    assert_eq!(shares.pot, Wei::new(10_000_000_007));
    assert_eq!((shares.miner, shares.member), (Gwei::new(8), Gwei::ZERO));
    assert_eq!(shares.paid, Wei::new(8_000_000_000));
    let shares = fee_distribution(Wei::new(100_000_000_000), Wei::ZERO, 4).unwrap();
    assert_eq!((shares.miner, shares.member), (Gwei::new(80), Gwei::new(5)));
    assert_eq!(shares.paid, Wei::new(100_000_000_000));
    assert!(matches!(
        fee_distribution(Wei::new(1), Wei::new(2), 4),
        Err(FeeError::Balance { .. })
    ));
    assert!(fee_distribution(Wei::MAX, Wei::ZERO, 4).is_err());
    assert!(fee_distribution(Wei::new(1 << 100), Wei::ZERO, 0).is_err());
}

#[test]
fn withdrawals_are_numbered_by_height_and_capped() {
    let at = |height| expected_withdrawals(chain(), SideHeight::new(height), &[], None);
    assert_eq!(at((1 << 48) - 1), Ok(Vec::new()));
    assert!(matches!(at(1 << 48), Err(WithdrawalError::TooMany { .. })));
    let consumed = SCENE.side.check(&SCENE.bitcoin, &SCENE.block).unwrap();
    let mints = vec![consumed.mints[0]; 10];
    assert!(matches!(
        expected_withdrawals(chain(), SideHeight::new(1), &mints, None),
        Err(WithdrawalError::TooMany {
            found: 10,
            maximum: 9,
            ..
        })
    ));
}
