//! Sequences of requests to one signer, beside a plain, slow oracle that was written from design 5, 9 and 10 alone: lists
//! of everything that was ever signed, searched from the beginning each time.
#![no_main]

use alys_fuzz::fixtures::pegout::{Plan, outpoint, request};
use alys_fuzz::fixtures::session::signer_with;
use alys_fuzz::fixtures::{GENESIS_SLOT, Honest, context};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BatchId, BlockId};
use alys_protocol::signer::{ApproveRequest, PegOutRequest};
use alys_protocol::units::{Sats, Slot};
use alys_signer_core::state::{PegOutState, VoteState};
use alys_signer_core::{Durable, Signer};
use bitcoin::OutPoint;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::LazyLock;

/// What may leave in a window: some of the batches, not all.
const CAP: u64 = 600_000_000;

struct Universe {
    signer: Signer,
    /// Blocks of several chains, each honest by itself.
    votes: Vec<ApproveRequest>,
    /// Batches of several chains, each honest by itself.
    batches: Vec<PegOutRequest>,
}

static UNIVERSE: LazyLock<Universe> = LazyLock::new(|| {
    let mut votes: Vec<ApproveRequest> = Vec::new();
    for steps in [
        [1, 1, 1, 1, 1],
        [1, 2, 1, 1, 1],
        [1, 1, 3, 1, 2],
        [2, 1, 1, 2, 1],
        [4, 1, 1, 1, 1],
    ] {
        let mut honest = Honest::of_four();
        honest.grow(1);
        for slots in steps {
            let link = honest.extend(slots, |_| ()).clone();
            votes.push(honest.approve(&link));
        }
    }
    let plan = |first, coin, amounts: &[u64]| Plan {
        amounts: amounts.to_vec(),
        inputs: vec![(outpoint(coin), amounts.iter().sum::<u64>() + 3_000_000)],
        ..Plan::simple(first, coin)
    };
    let large = 90_000_000;
    let mut batches = Vec::new();
    // One chain that pays burns 0 to 5 in order, and replaces the first batch.
    let mut honest = Honest::of_four();
    let first = plan(0, 1, &[large]);
    batches.push(request(&mut honest, &first));
    let replaced = batches[0].record.id(honest.chain.id());
    batches.push(request(&mut honest, &plan(1, 2, &[large, large])));
    batches.push(request(&mut honest, &plan(3, 3, &[2_000_000, large])));
    let again = Plan {
        rate: 9_000,
        replaces: Some(replaced),
        ..first
    };
    batches.push(request(&mut honest, &again));
    // Others that pay the same burns or spend the same coins otherwise.
    for (first, coin, amounts) in [
        (0, 4, &[large][..]),
        (0, 1, &[large, large]),
        (1, 1, &[large]),
        (2, 5, &[large, large, large]),
        (5, 6, &[large, large]),
        (7, 7, &[large]),
    ] {
        let mut rival = Honest::of_four();
        rival.grow(2);
        rival.extend(1, |link| {
            link.header.next_burn = alys_protocol::units::BurnSequence::new(first);
            // A batch that another signer signed.
            link.body.batch = (first > 0).then(|| {
                let before = plan(0, 9, &vec![2_000_000; usize::try_from(first).unwrap()]);
                let transaction = alys_fuzz::fixtures::pegout::transaction(&honest.chain, &before);
                alys_fuzz::fixtures::pegout::record_of(&before, &transaction)
            });
        });
        batches.push(request(&mut rival, &plan(first, coin, amounts)));
    }
    let signer = signer_with(&honest.chain, |policy| {
        policy.cap_window_sats = Sats::new(CAP)
    });
    Universe {
        signer,
        votes,
        batches,
    }
});

/// Everything that was signed.
#[derive(Default)]
struct Oracle {
    /// Slot, height of the parent, block.
    votes: Vec<(u64, u64, BlockId)>,
    families: Vec<Family>,
}

struct Family {
    burns: BTreeSet<u64>,
    inputs: Vec<OutPoint>,
    /// Batch, fee, and what leaves the wallet.
    members: Vec<(BatchId, u64, u64)>,
}

impl Oracle {
    fn expects_vote(&self, request: &ApproveRequest) -> bool {
        let (slot, parent) = (request.header.slot.get(), request.parent.height.get());
        let last = self.votes.last();
        if last.is_some_and(|(_, _, block)| *block == request.header.id()) {
            return true;
        }
        self.votes
            .iter()
            .all(|(voted, locked, _)| slot > *voted && parent >= *locked)
    }

    fn family_of(&self, batch: BatchId) -> Option<&Family> {
        let mut families = self.families.iter();
        families.find(|family| family.members.iter().any(|(id, ..)| *id == batch))
    }

    /// Whether a batch that is no repeat may be signed.
    fn expects_batch(&self, request: &PegOutRequest, batch: &Family) -> bool {
        let (_, fee, leaving) = batch.members[0];
        let same = |family: &&Family| family.burns == batch.burns && family.inputs == batch.inputs;
        let family = self.families.iter().find(same);
        let charged = |family: &Family| family.members.iter().map(|(.., leaving)| *leaving).max();
        let before: u64 = self.families.iter().filter_map(charged).sum();
        match (request.record.replaces, family) {
            (Some(replaced), Some(family)) => {
                let known = family.members.iter().any(|(id, ..)| *id == replaced);
                let highest = family.members.iter().map(|(_, fee, _)| *fee).max();
                let more = leaving.saturating_sub(charged(family).unwrap_or_default());
                known && Some(fee) > highest && before + more <= CAP
            }
            (None, None) => {
                let fresh = |family: &Family| {
                    family.burns.is_disjoint(&batch.burns)
                        && family
                            .inputs
                            .iter()
                            .all(|input| !batch.inputs.contains(input))
                };
                self.families.iter().all(fresh) && before + leaving <= CAP
            }
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let universe = &*UNIVERSE;
    let now = context(Slot::new(GENESIS_SLOT + 1000));
    let mut votes = Durable::trust_loaded(VoteState::default());
    let mut payments = Durable::trust_loaded(PegOutState::default());
    let mut oracle = Oracle::default();
    for step in bytes.chunks_exact(2).take(32) {
        let (choice, change) = (usize::from(step[0]), step[1]);
        let total = universe.votes.len() + universe.batches.len();
        match choice % total {
            vote if vote < universe.votes.len() => {
                let mut request = universe.votes[vote].clone();
                let changed = change_vote(&mut request, change);
                let expected = oracle.expects_vote(&request);
                let repeat = oracle
                    .votes
                    .last()
                    .is_some_and(|(_, _, block)| *block == request.header.id());
                let decided = universe.signer.approve(&votes, &now, &request);
                let expected = expected && (repeat || !changed);
                assert_eq!(decided.is_ok(), expected, "{:?}", decided.err());
                let Ok(decision) = decided else { continue };
                assert_eq!(decision.is_new(), !repeat);
                let (state, _) = decision.persist(|_| Ok::<(), Infallible>(())).unwrap();
                if let Some(state) = state {
                    votes = state;
                    let header = &request.header;
                    oracle.votes.push((
                        header.slot.get(),
                        request.parent.height.get(),
                        header.id(),
                    ));
                }
            }
            batch => {
                let mut request = universe.batches[batch - universe.votes.len()].clone();
                let changed = change_batch(&mut request, change);
                let id = request.record.id(universe.signer.chain().id());
                let batch = family(&request, id);
                let known = oracle.family_of(id).is_some();
                let expected = !changed && (known || oracle.expects_batch(&request, &batch));
                let decided = universe
                    .signer
                    .sign_peg_out(&payments, &now, [7; 32], &request);
                assert_eq!(decided.is_ok(), expected, "{:?}", decided.err());
                let Ok(decision) = decided else { continue };
                assert_eq!(decision.is_new(), !known);
                let (state, _) = decision.persist(|_| Ok::<(), Infallible>(())).unwrap();
                let Some(state) = state else { continue };
                payments = state;
                let same = |family: &&mut Family| {
                    family.burns == batch.burns && family.inputs == batch.inputs
                };
                match oracle.families.iter_mut().find(same) {
                    Some(family) => family.members.extend(batch.members),
                    None => oracle.families.push(batch),
                }
            }
        }
    }
});

fn family(request: &PegOutRequest, id: BatchId) -> Family {
    let record = &request.record;
    let transaction = record.decode_transaction().unwrap();
    let spent: u64 = request.values.iter().map(|value| value.get()).sum();
    let outputs: u64 = transaction
        .output
        .iter()
        .map(|output| output.value.to_sat())
        .sum();
    let burned = record.next_burn.get() - record.first_burn.get();
    let change = transaction.output.get(usize::try_from(burned).unwrap());
    Family {
        burns: (record.first_burn.get()..record.next_burn.get()).collect(),
        inputs: transaction
            .input
            .iter()
            .map(|input| input.previous_output)
            .collect(),
        members: vec![(
            id,
            spent - outputs,
            spent - change.map_or(0, |change| change.value.to_sat()),
        )],
    }
}

/// Changes a vote's request so that no rule can allow it, unless it repeats the vote given last.
fn change_vote(request: &mut ApproveRequest, change: u8) -> bool {
    match change {
        200..=209 => request.body.parent_certificate = None,
        210..=219 => request.header.slot = request.header.slot.saturating_add(1),
        220..=229 => request.parent.slot = request.parent.slot.saturating_add(1),
        230..=239 => request.execution_header = BoundedVec::empty(),
        240..=249 => request.header.next_burn = alys_protocol::units::BurnSequence::new(9),
        _ => return false,
    }
    true
}

/// Changes a peg-out's request so that no rule can allow it.
fn change_batch(request: &mut PegOutRequest, change: u8) -> bool {
    match change {
        200..=209 => request.burns = BoundedVec::empty(),
        210..=219 => request.pow = None,
        220..=229 => request.finality.headers.swap(0, 1),
        230..=239 => request.recording.slot = request.recording.slot.saturating_add(1),
        240..=249 => request.record.next_burn = alys_protocol::units::BurnSequence::new(99),
        _ => return false,
    }
    true
}
