//! Rules of area `pow` and of fees: work that was not done, or for something else, and fees that were not earned.

use crate::auxpow::{each_forgery, reworked};
use crate::federation::{Federation, edit};
use crate::support::fixtures::Link;
use crate::support::fixtures::evidence::auxpow;
use alloy_primitives::U256;
use alys_protocol::asert;
use alys_protocol::body::PowRecord;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, EvmAddress};
use alys_protocol::header::{PowState, bundle_hash};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, TrieProof};
use alys_protocol::spec::Target;
use alys_protocol::units::{SideHeight, Slot};

/// The target of a record in a slot, on top of the federation's tip.
pub(crate) fn target_at(federation: &Federation, slot: Slot) -> Target {
    let (chain, tip) = (&federation.honest.chain, &federation.honest.tip().header);
    asert::target(
        &chain.spec().mining,
        chain.genesis().slot,
        tip.pow.count,
        slot,
    )
}

/// A federation whose tip has a vault of this many wei, and blocks that may be final below it.
pub(crate) fn with_vault(wei: Option<u128>) -> (Federation, TrieProof) {
    let mut federation = Federation::new();
    federation.honest.grow(5);
    let account = federation.honest.extend_with_vault(wei.map(U256::from));
    (federation, account)
}

/// A block `slots` after the tip that carries a record up to block `end`, and the request to approve it.
fn carrying(
    federation: &Federation,
    account: &TrieProof,
    (end, slots): (u64, u64),
    change: impl FnOnce(&mut PowRecord, &mut PowState),
) -> (Link, ApproveRequest) {
    let honest = &federation.honest;
    let slot = honest.tip().header.slot.saturating_add(slots);
    let (mut record, mut state) = honest.record(end, target_at(federation, slot));
    change(&mut record, &mut state);
    let link = honest.child_of(federation.height(), slots, |link| {
        link.header.pow = state;
        link.body.pow = Some(record);
    });
    let mut request = honest.approve(&link);
    request.pow = Some(honest.pow_evidence(&link));
    request.fees = Some(honest.fees_proof(account.clone()));
    (link, request)
}

/// Regression A5 and its like: AuxPoW that is none, or for another chain, bundle or payout.
pub(crate) fn a5_auxpow_forged() {
    let (mut federation, account) = with_vault(None);
    let target = target_at(
        &federation,
        federation.honest.tip().header.slot.saturating_add(1),
    );
    let met = |hash: &Target| *hash <= target;
    let aux_chain_id = federation.honest.chain.spec().mining.aux_chain_id;
    each_forgery(aux_chain_id, |rule, what, forge| {
        let (_, request) = carrying(&federation, &account, (4, 1), |record, _| {
            reworked(record, forge, met);
        });
        federation.refuses_vote(rule, what, &request);
    });
    type Swap = fn(&mut PowRecord);
    let swaps: [(Rule, &str, Swap); 5] = [
        (Rule::Commitment, "a payout to a thief", |record| {
            record.fee_recipient = EvmAddress::new([0xbd; 20])
        }),
        (Rule::Commitment, "no bytes", |record| {
            edit(&mut record.auxpow, Vec::clear)
        }),
        (Rule::Commitment, "a byte less", |record| {
            edit(&mut record.auxpow, |b| b.truncate(b.len() - 1))
        }),
        (Rule::Commitment, "a byte more", |record| {
            edit(&mut record.auxpow, |b| b.push(0))
        }),
        (Rule::Bundle, "another start", |record| {
            record.start = BlockId::new([3; 32])
        }),
    ];
    for (rule, what, change) in swaps {
        let (_, request) = carrying(&federation, &account, (4, 1), |record, _| change(record));
        federation.refuses_vote(rule, what, &request);
    }
    let (link, request) = carrying(&federation, &account, (4, 1), |_, _| ());
    federation.votes(link, &request);
    federation.serves();
}

/// A share that only a later slot's target admits is refused now, and good in that slot: the target eases with the slot
/// and with nothing else that nodes choose.
pub(crate) fn an_eased_target() {
    let (mut federation, account) = with_vault(None);
    let slot = federation.honest.tip().header.slot;
    let (now, later) = (
        target_at(&federation, slot.saturating_add(1)),
        target_at(&federation, slot.saturating_add(200)),
    );
    assert!(now < later);
    let weak =
        |record: &mut PowRecord| reworked(record, |_| (), |hash| *hash > now && *hash <= later);
    let (_, request) = carrying(&federation, &account, (4, 1), |record, _| weak(record));
    federation.refuses_vote(Rule::Target, "a weak share", &request);
    let none = |record: &mut PowRecord| reworked(record, |_| (), |hash| *hash > later);
    let (_, request) = carrying(&federation, &account, (4, 200), |record, _| none(record));
    federation.refuses_vote(
        Rule::Target,
        "one that is too weak for the later slot, too",
        &request,
    );
    // A count that was lowered would ease the target as well.
    let (_, request) = carrying(&federation, &account, (4, 1), |_, state| {
        state.count = alys_protocol::units::PowCount::new(0);
    });
    federation.refuses_vote(Rule::Counters, "a count that stays", &request);
    let (link, request) = carrying(&federation, &account, (4, 200), |record, _| weak(record));
    federation.votes(link, &request);
    federation.serves();
}

/// Ranges that are not the next ones, not final, or shown with other evidence; and a record a second time.
pub(crate) fn bundles_forged_swapped_and_replayed() {
    let (mut federation, account) = with_vault(None);
    let tip = federation.honest.tip().header.clone();
    let (_, request) = carrying(&federation, &account, (5, 1), |_, state| {
        state.height = tip.height;
        state.id = tip.id();
    });
    federation.refuses_vote(Rule::Bundle, "an end that is not final", &request);
    let (link, request) = carrying(&federation, &account, (4, 1), |_, _| ());
    let below = federation.honest.links[3].header.clone();
    let other = federation
        .honest
        .history_proof(7.min(federation.height()), 3);
    federation.refuses_votes(
        &request,
        &[
            (Rule::Bundle, "no evidence", &|r| r.pow = None),
            (Rule::Bundle, "another end", &|r| {
                r.pow.as_mut().unwrap().end = below.clone()
            }),
            (Rule::Bundle, "another end's history", &|r| {
                r.pow.as_mut().unwrap().end_history = other.clone()
            }),
            (Rule::Bundle, "another start's history", &|r| {
                r.pow.as_mut().unwrap().start_history = other.clone()
            }),
            (Rule::Bundle, "histories swapped", &|r| {
                let pow = r.pow.as_mut().unwrap();
                std::mem::swap(&mut pow.end_history, &mut pow.start_history);
            }),
            (Rule::Bundle, "a history without siblings", &|r| {
                edit(
                    &mut r.pow.as_mut().unwrap().start_history.siblings,
                    Vec::clear,
                );
            }),
        ],
    );
    let plain = federation.child(|_| ());
    let mut without = federation.honest.approve(&plain);
    without.pow = request.pow.clone();
    federation.refuses_vote(Rule::Bundle, "evidence without a record", &without);
    let record = link.body.pow.clone().unwrap();
    federation.votes(link, &request);
    // The next blocks: the same record again, for the same blocks and for the next ones.
    federation.honest.grow(3);
    let account = federation.honest.extend_with_vault(None);
    let (_, request) = carrying(&federation, &account, (8, 1), |next, _| {
        *next = record.clone()
    });
    federation.refuses_vote(Rule::Bundle, "the old record", &request);
    let (_, request) = carrying(&federation, &account, (8, 1), |next, _| {
        next.auxpow = record.auxpow.clone()
    });
    federation.refuses_vote(Rule::Commitment, "the old work", &request);
    let (_, request) = carrying(&federation, &account, (8, 1), |_, state| {
        state.height = SideHeight::new(4);
    });
    federation.refuses_vote(Rule::Counters, "the old end", &request);
    let (link, request) = carrying(&federation, &account, (8, 1), |_, _| ());
    federation.votes(link, &request);
    federation.serves();
}

/// Work that was done for one chain's blocks says nothing about another's.
pub(crate) fn work_of_another_chain() {
    let (mut federation, account) = with_vault(None);
    let target = target_at(
        &federation,
        federation.honest.tip().header.slot.saturating_add(1),
    );
    let chain = federation.honest.chain.clone();
    let mut spec = chain.spec().clone();
    spec.chain_id = alys_protocol::units::ChainId::new(chain.id().get() + 1);
    let other = alys_protocol::spec::Chain::new(spec).unwrap();
    let end = federation.honest.links[4].header.id();
    let (_, request) = carrying(&federation, &account, (4, 1), |record, _| {
        assert_ne!(
            bundle_hash(chain.id(), record.start, end, record.fee_recipient),
            bundle_hash(other.id(), record.start, end, record.fee_recipient)
        );
        let proof = auxpow(&other, record, end, target);
        record.auxpow = BoundedVec::new(proof.encode()).unwrap();
    });
    federation.refuses_vote(
        Rule::Commitment,
        "the bundle under another chain id",
        &request,
    );
    let (link, request) = carrying(&federation, &account, (4, 1), |_, _| ());
    federation.votes(link, &request);
    federation.serves();
}
