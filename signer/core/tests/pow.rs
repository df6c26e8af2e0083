//! Rules of area `pow` for approvals: the range, the proof of merged mining, the target.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alys_protocol::asert;
use alys_protocol::auxpow::{AuxPow, MAGIC, MerkleBranch, chain_slot};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, EvmAddress};
use alys_protocol::header::bundle_hash;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, Refusal};
use alys_protocol::spec::{Chain, Target};
use alys_protocol::units::{PowCount, SideHeight, Slot};
use alys_signer_core::pow::{self, Work};
use bitcoin::ScriptBuf;
use fixtures::Honest;
use fixtures::evidence::link_coinbase;
use proptest::prelude::*;

const EASY: Target = Target::new([0x3f; 32]);

/// The rules in the order in which a signer asks for them.
fn judge(chain: &Chain, request: &ApproveRequest) -> Result<(), Refusal> {
    let (header, parent) = (&request.header, &request.parent);
    let record = pow::bundle(
        chain,
        header,
        parent,
        &request.ancestors,
        request.body.pow.as_ref(),
        request.pow.as_ref(),
    )?;
    let Some(record) = record else {
        return Ok(());
    };
    let work = Work::new(chain, record, header.pow.id)?;
    pow::coinbase(&work)?;
    pow::commitment(&work)?;
    pow::chain_slot(&work)?;
    pow::target(chain, parent, header.slot, &work)
}

/// A request for block 9, whose record finalises blocks 1 to `end`.
fn request(end: u64) -> (Honest, ApproveRequest) {
    let mut honest = Honest::of_four();
    honest.grow(8);
    let request = on_top(&honest, end, |_| ());
    (honest, request)
}

fn on_top(honest: &Honest, end: u64, change: impl FnOnce(&mut AuxPow)) -> ApproveRequest {
    let (mut record, state) = honest.record(end, EASY);
    let mut proof = AuxPow::decode(&record.auxpow).unwrap();
    change(&mut proof);
    record.auxpow = BoundedVec::new(proof.encode()).unwrap();
    let link = honest.child_of(honest.tip().header.height.get(), 1, |link| {
        link.header.pow = state;
        link.body.pow = Some(record);
    });
    let mut request = honest.approve(&link);
    request.pow = Some(honest.pow_evidence(&link));
    request
}

fn refused(change: impl FnOnce(&mut ApproveRequest)) -> Option<Rule> {
    let (honest, mut request) = request(5);
    change(&mut request);
    judge(&honest.chain, &request)
        .err()
        .map(|refusal| refusal.rule)
}

/// The rule that refuses a block whose miner did otherwise.
fn mined(change: impl FnOnce(&mut AuxPow)) -> Option<Rule> {
    let mut honest = Honest::of_four();
    honest.grow(8);
    let request = on_top(&honest, 5, |proof| {
        change(proof);
        // Ground again, so that only the change itself can be the reason.
        proof.parent.nonce = 0;
        while proof.work_hash() > EASY {
            proof.parent.nonce += 1;
        }
    });
    judge(&honest.chain, &request)
        .err()
        .map(|refusal| refusal.rule)
}

#[test]
fn honest_records_pass_up_to_the_newest_final_block() {
    for end in 1..=7 {
        let (honest, request) = request(end);
        assert_eq!(judge(&honest.chain, &request), Ok(()), "end {end}");
    }
    assert_eq!(mined(|_| ()), None);
}

#[test]
fn the_next_range_starts_above_the_last() {
    let mut honest = Honest::of_four();
    honest.grow(8);
    let (record, state) = honest.record(5, EASY);
    honest.extend(1, |link| {
        link.header.pow = state;
        link.body.pow = Some(record);
    });
    honest.grow(3);
    let good = on_top(&honest, 8, |_| ());
    assert_eq!(
        good.body.pow.as_ref().unwrap().start,
        honest.links[6].header.id()
    );
    assert_eq!(judge(&honest.chain, &good), Ok(()));
    // A start below, proven as an ancestor: the range would pay for blocks twice.
    for start in [1, 5, 7] {
        let mut request = good.clone();
        request.body.pow.as_mut().unwrap().start = honest.links[start].header.id();
        let evidence = request.pow.as_mut().unwrap();
        evidence.start_history = honest.history_proof(13, start as u64);
        assert_eq!(
            judge(&honest.chain, &request).unwrap_err().rule,
            Rule::Bundle
        );
    }
}

#[test]
fn the_range_is_of_this_chain() {
    assert_eq!(refused(|request| request.pow = None), Some(Rule::Bundle));
    assert_eq!(
        refused(|request| request.body.pow = None),
        Some(Rule::Bundle)
    );
    assert_eq!(
        refused(|request| {
            request.body.pow = None;
            request.pow = None;
        }),
        None
    );
    let changes: [&dyn Fn(&mut ApproveRequest); 8] = [
        &|request| request.header.pow.id = BlockId::new([9; 32]),
        &|request| request.header.pow.height = SideHeight::new(4),
        &|request| request.header.pow.height = SideHeight::ZERO,
        &|request| request.body.pow.as_mut().unwrap().start = BlockId::new([9; 32]),
        &|request| request.pow.as_mut().unwrap().end = request.parent.clone(),
        &|request| {
            let pow = request.pow.as_mut().unwrap();
            pow.end_history = pow.start_history.clone();
        },
        &|request| {
            let pow = request.pow.as_mut().unwrap();
            pow.start_history = pow.end_history.clone();
        },
        &|request| request.parent.pow.height = SideHeight::new(2),
    ];
    for change in changes {
        assert_eq!(refused(change), Some(Rule::Bundle));
    }
}

#[test]
fn a_range_that_is_final_already_is_not_paid_again() {
    // The parent's record ends at 5; one that ends there again is empty, one below goes back.
    let mut honest = Honest::of_four();
    honest.grow(8);
    let (record, state) = honest.record(5, EASY);
    honest.extend(1, |link| {
        link.header.pow = state;
        link.body.pow = Some(record);
    });
    for end in [4, 5] {
        let request = on_top(&honest, end, |_| ());
        let refusal = judge(&honest.chain, &request).unwrap_err();
        assert_eq!(refusal.rule, Rule::Bundle);
        assert!(refusal.expected.contains("above height 5"), "{refusal}");
    }
    assert_eq!(judge(&honest.chain, &on_top(&honest, 6, |_| ())), Ok(()));
}

#[test]
fn what_cannot_be_final_is_not_finalised_by_work() {
    // Of three blocks up to the parent the second: the parent itself never is final for its child.
    for end in [8, 9] {
        let (_, good) = request(5);
        assert_eq!(
            refused(|request| request.header.pow.height = SideHeight::new(end)),
            Some(Rule::Bundle)
        );
        assert_eq!(good.header.height, SideHeight::new(9));
    }
    // A gap in the slots below the parent: block 7 is not final for block 9, block 6 may be.
    let mut honest = Honest::of_four();
    honest.grow(7);
    honest.extend(2, |_| ());
    let not_final = on_top(&honest, 7, |_| ());
    assert_eq!(
        judge(&honest.chain, &not_final).unwrap_err().rule,
        Rule::Bundle
    );
    assert_eq!(judge(&honest.chain, &on_top(&honest, 6, |_| ())), Ok(()));
    // A node that hides the ancestors gains nothing.
    let mut hidden = on_top(&honest, 6, |_| ());
    hidden.ancestors = BoundedVec::empty();
    assert_eq!(judge(&honest.chain, &hidden), Ok(()));
    hidden.header.pow.height = SideHeight::new(7);
    assert_eq!(
        judge(&honest.chain, &hidden).unwrap_err().rule,
        Rule::Bundle
    );
}

#[test]
fn the_work_binds_payout_and_range() {
    let thief = EvmAddress::new([0xbd; 20]);
    assert_eq!(
        refused(|request| request.body.pow.as_mut().unwrap().fee_recipient = thief),
        Some(Rule::Commitment)
    );
    // A share for another range: the work of blocks 1 to 4 in a block that claims 1 to 5.
    let (honest, other) = request(4);
    assert_eq!(
        refused(|request| {
            let auxpow = other.body.pow.as_ref().unwrap().auxpow.clone();
            request.body.pow.as_mut().unwrap().auxpow = auxpow;
        }),
        Some(Rule::Commitment)
    );
    // And a share of another chain.
    let record = other.body.pow.unwrap();
    let here = bundle_hash(
        honest.chain.id(),
        record.start,
        other.header.pow.id,
        record.fee_recipient,
    );
    let there = bundle_hash(
        alys_protocol::units::ChainId::new(1),
        record.start,
        other.header.pow.id,
        record.fee_recipient,
    );
    assert_ne!(here, there);
}

#[test]
fn a5_only_a_real_coinbase_counts() {
    let changes: [fn(&mut AuxPow); 5] = [
        |proof| proof.coinbase_branch.index = 1,
        |proof| {
            proof.coinbase.input[0].previous_output.vout = 0;
            link_coinbase(proof);
        },
        |proof| {
            let input = proof.coinbase.input[0].clone();
            proof.coinbase.input.push(input);
            link_coinbase(proof);
        },
        |proof| proof.coinbase_branch.hashes[0] = [9; 32],
        |proof| {
            let mut script = proof.coinbase.input[0].script_sig.to_bytes();
            script.resize(101, 0);
            proof.coinbase.input[0].script_sig = ScriptBuf::from_bytes(script);
            link_coinbase(proof);
        },
    ];
    for change in changes {
        assert_eq!(mined(change), Some(Rule::Coinbase));
    }
}

#[test]
fn a5_the_merged_mining_id_is_the_specs() {
    let depth = 4;
    let in_slot = |index: &dyn Fn(u32) -> u32| {
        let nonce = 7;
        mined(|proof| {
            let bundle = {
                let script = proof.coinbase.input[0].script_sig.to_bytes();
                let mut root: [u8; 32] = script[8..40].try_into().unwrap();
                root.reverse();
                root
            };
            proof.chain_branch = MerkleBranch {
                hashes: vec![[4; 32]; depth as usize],
                index: index(nonce),
            };
            let mut root = proof.chain_branch.root(bundle);
            root.reverse();
            let script = [
                &[3, 1, 2, 3][..],
                &MAGIC,
                &root,
                &(1u32 << depth).to_le_bytes(),
                &nonce.to_le_bytes(),
            ]
            .concat();
            proof.coinbase.input[0].script_sig = ScriptBuf::from_bytes(script);
            link_coinbase(proof);
        })
    };
    let ours = Honest::of_four().chain.spec().mining.aux_chain_id;
    assert_eq!(in_slot(&|nonce| chain_slot(nonce, ours, depth)), None);
    let other = (0..)
        .find(|id| chain_slot(7, *id, depth) != chain_slot(7, ours, depth))
        .unwrap();
    assert_eq!(
        in_slot(&|nonce| chain_slot(nonce, other, depth)),
        Some(Rule::ChainSlot)
    );
}

#[test]
fn the_commitment_is_there_once_and_whole() {
    let changes: [fn(&mut AuxPow); 4] = [
        |proof| {
            proof.coinbase.input[0].script_sig = ScriptBuf::from_bytes(vec![1, 2, 3, 4]);
            link_coinbase(proof);
        },
        |proof| {
            let script = [&[0x6a, 4][..], &MAGIC].concat();
            proof.coinbase.output[0].script_pubkey = ScriptBuf::from_bytes(script);
            link_coinbase(proof);
        },
        |proof| {
            let mut script = proof.coinbase.input[0].script_sig.to_bytes();
            script[40] = 2;
            proof.coinbase.input[0].script_sig = ScriptBuf::from_bytes(script);
            link_coinbase(proof);
        },
        |proof| proof.chain_branch.hashes = vec![[0; 32]; 3],
    ];
    for change in changes {
        assert_eq!(mined(change), Some(Rule::Commitment));
    }
    for bytes in [vec![], vec![0; 300]] {
        assert_eq!(
            refused(|request| {
                request.body.pow.as_mut().unwrap().auxpow = BoundedVec::new(bytes).unwrap();
            }),
            Some(Rule::Commitment)
        );
    }
}

#[test]
fn the_target_follows_from_the_parents_count_and_the_slot() {
    // As hard as the anchor at this slot allows, and one above.
    let (honest, request) = request(5);
    let chain = &honest.chain;
    let target = asert::target(
        &chain.spec().mining,
        chain.genesis().slot,
        PowCount::ZERO,
        request.header.slot,
    );
    assert!(EASY < target);
    let mined = |below: Target, above: Target| {
        on_top(&honest, 5, |proof| {
            proof.parent.nonce = 0;
            while proof.work_hash() > below || proof.work_hash() <= above {
                proof.parent.nonce += 1;
            }
        })
    };
    assert_eq!(judge(chain, &mined(target, EASY)), Ok(()));
    let hard = mined(Target::new([0xff; 32]), target);
    assert_eq!(judge(chain, &hard).unwrap_err().rule, Rule::Target);
    // More records before make it harder; neither the block's own count nor its parent's slot matters.
    let mut later = mined(target, EASY);
    later.parent.pow.count = PowCount::new(1_000);
    assert_eq!(judge(chain, &later).unwrap_err().rule, Rule::Target);
    let mut own = mined(target, EASY);
    own.header.pow.count = PowCount::new(1_000);
    own.parent.slot = Slot::ZERO;
    assert_eq!(judge(chain, &own), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No change of the proof's bytes makes it a proof of something else: refused, or the same bundle still.
    #[test]
    fn a7_changed_proofs_never_panic_nor_pay_another(place in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let (honest, mut request) = request(3);
        let record = request.body.pow.as_mut().unwrap();
        let mut bytes = record.auxpow.to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        record.auxpow = BoundedVec::new(bytes).unwrap();
        let _ = judge(&honest.chain, &request);
        request.body.pow.as_mut().unwrap().fee_recipient = EvmAddress::new([0xbd; 20]);
        prop_assert!(judge(&honest.chain, &request).is_err());
    }

    #[test]
    fn the_floor_is_a_number(floor in any::<[u8; 32]>()) {
        let (honest, request) = request(3);
        let record = request.body.pow.unwrap();
        let work = Work::new(&honest.chain, &record, request.header.pow.id).unwrap();
        let found = AuxPow::decode(&record.auxpow).unwrap().work_hash();
        let floor = Target::new(floor);
        let expected = found.as_bytes().iter().cmp(floor.as_bytes().iter()).is_le();
        prop_assert_eq!(pow::pow_floor(&floor, &work).is_ok(), expected);
    }
}
