//! That a peg-out's burns happened: each rule lets honest evidence pass and refuses changed evidence.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alloy_primitives::{Address, B256, Bytes, Log, LogData, keccak256};
use alys_protocol::body::PowRecord;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, Digest, EvmAddress};
use alys_protocol::peg::Burn;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{BurnEvidence, PegOutRequest, Refusal};
use alys_protocol::spec::{Chain, Target};
use alys_protocol::units::{BurnSequence, Sats, SideHeight, Slot};
use alys_signer_core::pegout::burn::{
    PEG_OUT_REQUESTED, burn_emitter, burn_proof, burn_status, pow_finality,
};
use alys_signer_core::pegout::evidence::finality;
use alys_signer_core::pow::{self, Work};
use fixtures::evidence::{event, receipt};
use fixtures::pegout::{Plan, burn, outpoint};
use fixtures::{Honest, pegout};
use proptest::prelude::*;

const EASY: Target = Target::new([0x7f; 32]);
/// A hash in 16 meets it.
const FLOOR: Target = Target::new([0x0f; 32]);
/// Height of the burns' block, of the newest block that proof of work finalises, and of the block with the record.
const BURNED: u64 = 2;
const END: u64 = 3;
const CARRIER: u64 = 6;

/// Two burns: one called directly, one through another contract, behind logs of strangers.
struct World {
    honest: Honest,
    receipts: Vec<Vec<u8>>,
    request: PegOutRequest,
}

fn plan() -> Plan {
    Plan {
        amounts: vec![2_000_000, 30_000_000],
        inputs: vec![(outpoint(1), 50_000_000)],
        ..Plan::simple(0, 1)
    }
}

fn stranger(seed: u8) -> Log {
    Log {
        address: Address::repeat_byte(seed),
        data: LogData::new_unchecked(vec![B256::repeat_byte(1)], Bytes::from_static(b"transfer")),
    }
}

fn honest_receipts(bridge: EvmAddress) -> Vec<Vec<u8>> {
    let [one, two] = [burn(0, 2_000_000), burn(1, 30_000_000)];
    let strangers = vec![stranger(2), stranger(3), event(bridge, &two)];
    vec![
        receipt(2, true, vec![stranger(1)]),
        receipt(0, true, vec![event(bridge, &one)]),
        receipt(4, true, strangers),
    ]
}

impl World {
    fn new() -> Self {
        Self::with(|bridge| {
            let [one, two] = [burn(0, 2_000_000), burn(1, 30_000_000)];
            vec![
                receipt(2, true, vec![stranger(1)]),
                receipt(0, true, vec![event(bridge, &one)]),
                receipt(4, true, vec![stranger(2), stranger(3), event(bridge, &two)]),
            ]
        })
    }

    /// The same with other receipts in the burns' block.
    fn with(receipts: impl FnOnce(EvmAddress) -> Vec<Vec<u8>>) -> Self {
        Self::at(BURNED, receipts)
    }

    /// The same with the burns at another height.
    fn at(height: u64, receipts: impl FnOnce(EvmAddress) -> Vec<Vec<u8>>) -> Self {
        let mut honest = Honest::of_four();
        let receipts = receipts(honest.chain.spec().execution.bridge);
        honest.grow(height - 1);
        honest.extend_with_receipts(&receipts);
        honest.grow(CARRIER - 1 - height);
        let (record, state) = honest.record(END, FLOOR);
        honest.extend(1, |link| {
            link.header.pow = state;
            link.body.pow = Some(record);
        });
        let mut request = pegout::request(&mut honest, &plan());
        let of = request.finality.headers[1].height.get();
        request.pow = Some(honest.pow_finality(of, CARRIER));
        let mut world = Self {
            honest,
            receipts,
            request,
        };
        let end = END.max(height);
        let burns =
            [(burn(0, 2_000_000), (1, 0)), (burn(1, 30_000_000), (2, 2))].map(|(burn, place)| {
                let receipts = &world.receipts;
                world
                    .honest
                    .burn_evidence((height, end), receipts, place, burn)
            });
        world.request.burns = BoundedVec::new(burns.to_vec()).unwrap();
        world
    }

    fn chain(&self) -> &Chain {
        &self.honest.chain
    }

    fn judge(&self) -> Result<(), Refusal> {
        judge(self.chain(), &FLOOR, &self.request)
    }

    fn refused(&self) -> Rule {
        self.judge().unwrap_err().rule
    }

    /// What becomes of the first burn's evidence, changed.
    fn burn_refused(change: impl FnOnce(&mut BurnEvidence)) -> Option<Rule> {
        let mut world = Self::new();
        let mut burns = world.request.burns.to_vec();
        change(&mut burns[0]);
        world.request.burns = BoundedVec::new(burns).unwrap();
        world.judge().err().map(|refusal| refusal.rule)
    }

    /// What becomes of the proof of work, changed.
    fn pow_refused(change: impl FnOnce(&mut alys_protocol::signer::PowFinality)) -> Option<Rule> {
        let mut world = Self::new();
        change(world.request.pow.as_mut().unwrap());
        world.judge().err().map(|refusal| refusal.rule)
    }
}

/// The rules in the order in which a signer asks for them.
fn judge(chain: &Chain, floor: &Target, request: &PegOutRequest) -> Result<(), Refusal> {
    finality(chain, request)?;
    let Some(evidence) = pow_finality(chain, request)? else {
        return Ok(());
    };
    let work = Work::new(chain, &evidence.record, evidence.end.id())?;
    pow::coinbase(&work)?;
    pow::commitment(&work)?;
    pow::chain_slot(&work)?;
    pow::target(
        chain,
        &evidence.carrier_parent,
        evidence.carrier.slot,
        &work,
    )?;
    pow::pow_floor(floor, &work)?;
    request.burns.iter().try_for_each(|burn| {
        let proven = burn_proof(chain, &evidence.end, burn)?;
        burn_emitter(chain, &proven)?;
        burn_status(&proven)
    })
}

#[test]
fn honest_evidence_passes() {
    assert_eq!(World::new().judge(), Ok(()));
}

#[test]
fn the_event_is_named_by_its_signature() {
    assert_eq!(
        PEG_OUT_REQUESTED,
        keccak256("PegOutRequested(uint64,address,bytes,uint64)")
    );
}

#[test]
fn a_batch_without_burns_needs_no_work() {
    let mut honest = Honest::of_four();
    let refresh = Plan {
        amounts: vec![],
        ..Plan::simple(0, 1)
    };
    let request = pegout::request(&mut honest, &refresh);
    assert_eq!(judge(&honest.chain, &FLOOR, &request), Ok(()));
    // And a batch with burns does.
    let mut world = World::new();
    let pow = world.request.pow.take();
    assert_eq!(world.refused(), Rule::Finality);
    world.request.pow = pow;
    world.request.burns = BoundedVec::empty();
    assert_eq!(world.refused(), Rule::Finality);
}

#[test]
fn a_burn_is_exactly_what_was_logged() {
    let changes: [fn(&mut Burn); 6] = [
        |burn| burn.sequence = BurnSequence::new(1),
        |burn| burn.sender = EvmAddress::new([10; 20]),
        |burn| burn.amount = Sats::new(2_000_001),
        |burn| {
            let mut script = burn.script_pubkey.to_vec();
            script[5] ^= 1;
            burn.script_pubkey = BoundedVec::new(script).unwrap();
        },
        |burn| {
            // Zeros that the event's padding has as well.
            let script = [&burn.script_pubkey[..], &[0]].concat();
            burn.script_pubkey = BoundedVec::new(script).unwrap();
        },
        |burn| burn.script_pubkey = BoundedVec::empty(),
    ];
    for change in changes {
        assert_eq!(
            World::burn_refused(|evidence| change(&mut evidence.burn)),
            Some(Rule::BurnProof)
        );
    }
    let places: [fn(&mut Burn); 2] = [
        |burn| burn.height = SideHeight::new(3),
        |burn| burn.block = BlockId::ZERO,
    ];
    for change in places {
        assert_eq!(
            World::burn_refused(|evidence| change(&mut evidence.burn)),
            Some(Rule::BurnProof)
        );
    }
}

#[test]
fn a_burn_is_at_its_place_only() {
    let changes: [fn(&mut BurnEvidence); 8] = [
        |evidence| evidence.log_index = 1,
        |evidence| evidence.log_index = u32::MAX,
        |evidence| evidence.transaction_index = 0,
        |evidence| evidence.transaction_index = u32::MAX,
        |evidence| evidence.receipt = BoundedVec::empty(),
        |evidence| {
            let mut nodes = evidence.receipt.to_vec();
            nodes.pop();
            evidence.receipt = BoundedVec::new(nodes).unwrap();
        },
        |evidence| {
            let mut nodes = evidence.receipt.to_vec();
            nodes.push(nodes[0].clone());
            evidence.receipt = BoundedVec::new(nodes).unwrap();
        },
        |evidence| {
            let mut rlp = evidence.execution_header.to_vec();
            rlp[100] ^= 1;
            evidence.execution_header = BoundedVec::new(rlp).unwrap();
        },
    ];
    for change in changes {
        assert_eq!(World::burn_refused(change), Some(Rule::BurnProof));
    }
    // The other burn's receipt, which is in the same block, under the first one's claim.
    let other = World::new().request.burns[1].clone();
    assert_eq!(
        World::burn_refused(|evidence| {
            evidence.receipt = other.receipt.clone();
            evidence.transaction_index = other.transaction_index;
            evidence.log_index = other.log_index;
        }),
        Some(Rule::BurnProof)
    );
}

#[test]
fn a_burn_above_the_work_is_refused() {
    // The newest block that the record finalises is allowed; the one above it is not, though it is final as well.
    assert_eq!(World::at(END, honest_receipts).judge(), Ok(()));
    let above = World::at(END + 1, honest_receipts);
    let refusal = above.judge().unwrap_err();
    assert_eq!(refusal.rule, Rule::BurnProof);
    assert!(refusal.expected.starts_with("a history proof"), "{refusal}");
    // Its place in the history of blocks above the end does not help.
    for of in [END + 2, CARRIER, CARRIER + 2] {
        let mut world = World::at(END + 1, honest_receipts);
        let proof = world.honest.history_proof(of, END + 1);
        let mut burns = world.request.burns.to_vec();
        for burn in &mut burns {
            burn.history = Some(proof.clone());
        }
        world.request.burns = BoundedVec::new(burns).unwrap();
        let refusal = world.judge().unwrap_err();
        assert_eq!(refusal.rule, Rule::BurnProof);
        assert!(refusal.expected.contains("in the history"), "{refusal}");
    }
    let proof = World::new().honest.history_proof(CARRIER, BURNED);
    for history in [None, Some(proof)] {
        assert_eq!(
            World::burn_refused(|evidence| evidence.history = history),
            Some(Rule::BurnProof)
        );
    }
}

#[test]
fn a3_events_of_other_contracts_are_refused() {
    // The same event, byte for byte, by a contract that is not the bridge, to the transaction's `to` or not.
    let world = World::with(|_bridge| {
        let forger = EvmAddress::new([0xbd; 20]);
        let [one, two] = [burn(0, 2_000_000), burn(1, 30_000_000)];
        vec![
            receipt(2, true, vec![]),
            receipt(2, true, vec![event(forger, &one)]),
            receipt(2, true, vec![stranger(1), stranger(2), event(forger, &two)]),
        ]
    });
    let refusal = world.judge().unwrap_err();
    assert_eq!(refusal.rule, Rule::BurnEmitter);
    assert!(refusal.found.contains("bdbdbd"), "{refusal}");
    // Another event of the bridge, and one with a topic more or less.
    let changes: [fn(&mut Vec<B256>); 3] = [
        |topics| topics[0] = keccak256("PegOutRequested(uint64,address,bytes,uint256)"),
        |topics| topics.push(B256::ZERO),
        |topics| {
            topics.pop();
        },
    ];
    for change in changes {
        let world = World::with(|bridge| {
            let mut log = event(bridge, &burn(0, 2_000_000));
            let mut topics = log.data.topics().to_vec();
            change(&mut topics);
            log.data = LogData::new_unchecked(topics, log.data.data.clone());
            let two = event(bridge, &burn(1, 30_000_000));
            vec![
                receipt(2, true, vec![]),
                receipt(2, true, vec![log]),
                receipt(2, true, vec![stranger(1), stranger(2), two]),
            ]
        });
        assert_eq!(world.refused(), Rule::BurnProof);
    }
}

#[test]
fn failed_transactions_burn_nothing() {
    let world = World::with(|bridge| {
        let [one, two] = [burn(0, 2_000_000), burn(1, 30_000_000)];
        vec![
            receipt(2, true, vec![]),
            receipt(2, true, vec![event(bridge, &one)]),
            receipt(
                2,
                false,
                vec![stranger(1), stranger(2), event(bridge, &two)],
            ),
        ]
    });
    assert_eq!(world.refused(), Rule::BurnStatus);
}

#[test]
fn the_record_must_be_in_a_final_block() {
    let other = World::new().honest;
    let not_final = other.links.last().unwrap().header.clone();
    let changes: [&dyn Fn(&mut alys_protocol::signer::PowFinality); 9] = [
        &|pow| pow.carrier_history = None,
        &|pow| pow.carrier_history = Some(pow.end_history.clone()),
        &|pow| pow.carrier = not_final.clone(),
        &|pow| pow.carrier_parent = pow.end.clone(),
        &|pow| pow.body_branch.siblings[1] = Digest::ZERO,
        &|pow| pow.record.fee_recipient = EvmAddress::ZERO,
        &|pow| pow.end = pow.carrier_parent.clone(),
        &|pow| pow.end.height = SideHeight::new(END + 1),
        &|pow| pow.end_history = pow.carrier_history.clone().unwrap(),
    ];
    for change in changes {
        assert_eq!(World::pow_refused(change), Some(Rule::Finality));
    }
}

#[test]
fn the_floor_is_the_policys_whatever_asert_says() {
    let world = World::new();
    let work = world.request.pow.as_ref().unwrap();
    let found = alys_protocol::auxpow::AuxPow::decode(&work.record.auxpow)
        .unwrap()
        .work_hash();
    assert_eq!(judge(world.chain(), &found, &world.request), Ok(()));
    let mut below = found.to_bytes();
    let place = below.iter().rposition(|byte| *byte != 0).unwrap();
    below[place] -= 1;
    below[place + 1..].fill(0xff);
    let refusal = judge(world.chain(), &Target::new(below), &world.request).unwrap_err();
    assert_eq!(refusal.rule, Rule::PowFloor);
    assert_eq!(refusal.found, found.to_string());
}

#[test]
fn a5_a_record_that_a_quorum_let_pass_is_judged_again() {
    // Final blocks may carry anything where nodes are hostile: the work is checked here as for a vote.
    let judged = |change: &dyn Fn(&mut alys_protocol::auxpow::AuxPow)| {
        let mut honest = Honest::of_four();
        let receipts = World::new().receipts;
        honest.grow(1);
        honest.extend_with_receipts(&receipts);
        honest.grow(CARRIER - 1 - BURNED);
        let (mut record, state) = honest.record(END, FLOOR);
        let mut proof = alys_protocol::auxpow::AuxPow::decode(&record.auxpow).unwrap();
        change(&mut proof);
        record.auxpow = BoundedVec::new(proof.encode()).unwrap();
        let recorded: PowRecord = record;
        honest.extend(1, |link| {
            link.header.pow = state;
            link.body.pow = Some(recorded);
        });
        let mut request = pegout::request(&mut honest, &plan());
        let of = request.finality.headers[1].height.get();
        request.pow = Some(honest.pow_finality(of, CARRIER));
        let any = Target::new([0xff; 32]);
        judge(&honest.chain, &any, &request).unwrap_err().rule
    };
    assert_eq!(
        judged(&|proof| proof.coinbase_branch.index = 1),
        Rule::Coinbase
    );
    assert_eq!(
        judged(&|proof| proof.coinbase.input[0].previous_output.vout = 0),
        Rule::Coinbase
    );
    assert_eq!(
        judged(&|proof| proof.chain_branch.index = 1),
        Rule::ChainSlot
    );
}

#[test]
fn the_asert_target_holds_for_peg_outs_too() {
    let world = World::new();
    let pow = world.request.pow.as_ref().unwrap();
    let work = Work::new(world.chain(), &pow.record, pow.end.id()).unwrap();
    let slot = pow.carrier.slot;
    assert_eq!(
        pow::target(world.chain(), &pow.carrier_parent, slot, &work),
        Ok(())
    );
    let mut late = pow.carrier_parent.clone();
    late.pow.count = alys_protocol::units::PowCount::new(1_000_000);
    assert_eq!(
        pow::target(world.chain(), &late, Slot::new(1), &work)
            .unwrap_err()
            .rule,
        Rule::Target
    );
    assert!(EASY > FLOOR);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any burn's event is proven, and no other burn's claim is.
    #[test]
    fn only_the_burn_itself_fits_its_event(
        sequence in any::<u64>(), sender in any::<[u8; 20]>(), amount in any::<u64>(),
        script in proptest::collection::vec(any::<u8>(), 0..=64), other in any::<u64>(), cut in 0usize..64
    ) {
        let burn = Burn {
            sequence: BurnSequence::new(sequence),
            sender: EvmAddress::new(sender),
            script_pubkey: BoundedVec::new(script.clone()).unwrap(),
            amount: Sats::new(amount),
            ..pegout::burn(0, 1)
        };
        let mut honest = Honest::of_four();
        let receipts = vec![receipt(2, true, vec![event(honest.chain.spec().execution.bridge, &burn)])];
        honest.extend_with_receipts(&receipts);
        let end = honest.tip().header.clone();
        let judge = |burn: &Burn| {
            let evidence = honest.burn_evidence((1, 1), &receipts, (0, 0), burn.clone());
            burn_proof(&honest.chain, &end, &evidence).map(|_| ())
        };
        prop_assert_eq!(judge(&burn), Ok(()));
        let mut claims = vec![];
        if other != sequence {
            claims.push(Burn { sequence: BurnSequence::new(other), ..burn.clone() });
        }
        if other != amount {
            claims.push(Burn { amount: Sats::new(other), ..burn.clone() });
        }
        if cut < script.len() {
            claims.push(Burn { script_pubkey: BoundedVec::new(script[..cut].to_vec()).unwrap(), ..burn.clone() });
        }
        for claim in claims {
            prop_assert_eq!(judge(&claim).unwrap_err().rule, Rule::BurnProof);
        }
    }
}
