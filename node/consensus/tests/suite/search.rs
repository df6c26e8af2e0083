//! An exhaustive search over all schedules that hostile nodes can make, small enough for every run: with the three
//! voting rules no two conflicting blocks become final; without any one of them, or with a signer that forgets, they
//! do, and the block tree raises the alarm.
//!
//! n = 4: a Byzantine member that signs anything, and honest signers A, B, C (q = 3). The first block G is an ordinary
//! certified block that all agree on, in slot 0, so that it may be the first of three. Votes that certify nothing, and a
//! third honest vote, only tie signers' hands, so that a block gets exactly two honest votes or, where an uncertified
//! parent is of use, none.

use crate::federation::{Blocks, certified, chain};
use crate::signer::{Removed, Request, Signer};
use alys_consensus::{BlockTree, Evidence};
use std::collections::{BTreeMap, HashSet, VecDeque};

const HONEST: usize = 3;
const PAIRS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];

/// What the schedule may do beside asking for votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Removed(Removed),
    /// One signer forgets all, once.
    Reset,
    /// One signer signs and then forgets that one vote, once.
    ForgetVote,
}

/// A block, named by its chain: four bits for each slot from 0, zero where the chain has no block of that slot, else who
/// voted for it. No two different blocks of one place have the same voters, for signers vote once per slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Block(u32);

const G: Block = Block(0b1000);
/// Voters of a block that nobody voted for.
const NOBODY: u32 = 4;

impl Block {
    fn slot(self) -> u64 {
        u64::from(self.0.ilog2() / 4)
    }

    fn height(self) -> u64 {
        (0..8).filter(|slot| self.voters_at(*slot) != 0).count() as u64 - 1
    }

    fn voters_at(self, slot: u64) -> u32 {
        self.0 >> (4 * slot) & 0b1111
    }

    fn is_certified(self) -> bool {
        self.voters_at(self.slot()) != NOBODY
    }

    fn child(self, slot: u64, voters: u32) -> Self {
        Self(self.0 | voters << (4 * slot))
    }

    fn parent(self) -> Self {
        Self(self.0 & !(0b1111 << (4 * self.slot())))
    }

    fn is_ancestor_of(self, other: Self) -> bool {
        let up_to_slot = u32::MAX >> (28 - 4 * self.slot());
        other.0 & up_to_slot == self.0
    }

    /// If this is the last of three certified blocks in consecutive slots, the second.
    fn finalises(self) -> Option<Self> {
        if self.slot() < 2 {
            return None;
        }
        let (second, first) = (self.parent(), self.parent().parent());
        let consecutive =
            second.slot() + 1 == self.slot() && first.0 != 0 && first.slot() + 2 == self.slot();
        let certified = consecutive && [self, second, first].into_iter().all(Self::is_certified);
        certified.then_some(second)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Ordered, so that the order of birth does not tell states apart.
    blocks: Vec<Block>,
    signers: [Signer; HONEST],
    fault_used: bool,
}

impl State {
    fn with(&self, block: Block) -> Self {
        let mut state = self.clone();
        if let Err(place) = state.blocks.binary_search(&block) {
            state.blocks.insert(place, block);
        }
        state
    }

    fn is_violated(&self) -> bool {
        let finals: Vec<Block> = self
            .blocks
            .iter()
            .filter_map(|block| block.finalises())
            .collect();
        finals.iter().any(|a| {
            finals
                .iter()
                .any(|b| !a.is_ancestor_of(*b) && !b.is_ancestor_of(*a))
        })
    }
}

/// All that can happen next: a block, or none where a signer is reset.
fn successors(state: &State, fault: Fault, last_slot: u64) -> Vec<(Option<Block>, State)> {
    let removed = match fault {
        Fault::Removed(rule) => Some(rule),
        Fault::None | Fault::Reset | Fault::ForgetVote => None,
    };
    let mut next = Vec::new();
    if fault == Fault::Reset && !state.fault_used {
        for signer in 0..HONEST {
            let mut state = state.clone();
            state.signers[signer] = Signer::default();
            state.fault_used = true;
            next.push((None, state));
        }
    }
    // More than one uncertified block is of no use to the shortest violation.
    let uncertified = removed == Some(Removed::ParentCertified)
        && state.blocks.iter().all(|block| block.is_certified());
    for parent in &state.blocks {
        for slot in parent.slot() + 1..=last_slot {
            if uncertified {
                let block = parent.child(slot, NOBODY);
                next.push((Some(block), state.with(block)));
            }
            for (pair, voters) in (1..).zip(PAIRS) {
                let block = parent.child(slot, pair);
                let request = Request {
                    slot,
                    parent_slot: parent.slot(),
                    parent_height: parent.height(),
                    parent_certified: parent.is_certified(),
                };
                let mut signers = state.signers.clone();
                let agree = voters.map(|voter| signers[voter].vote(request, removed).is_ok());
                if agree != [true, true] {
                    continue;
                }
                let mut voted = state.with(block);
                voted.signers = signers;
                if fault == Fault::ForgetVote && !state.fault_used {
                    for voter in voters {
                        let mut forgot = voted.clone();
                        forgot.signers[voter] = state.signers[voter].clone();
                        forgot.fault_used = true;
                        next.push((Some(block), forgot));
                    }
                }
                next.push((Some(block), voted));
            }
        }
    }
    next
}

/// Breadth first: the blocks of a shortest violation, or the number of states where there is none.
fn search(fault: Fault, last_slot: u64) -> Result<usize, Vec<Block>> {
    let start = State {
        blocks: vec![G],
        signers: Default::default(),
        fault_used: false,
    };
    let mut seen = HashSet::from([start.clone()]);
    // Each state's blocks in order of birth are found by going back.
    let mut births: Vec<(Option<Block>, usize)> = vec![(None, 0)];
    let mut queue = VecDeque::from([(start, 0usize)]);
    while let Some((state, place)) = queue.pop_front() {
        for (born, next) in successors(&state, fault, last_slot) {
            if seen.contains(&next) {
                continue;
            }
            births.push((born, place));
            if next.is_violated() {
                return Err(back(&births));
            }
            queue.push_back((next.clone(), births.len() - 1));
            seen.insert(next);
        }
    }
    Ok(births.len())
}

fn back(births: &[(Option<Block>, usize)]) -> Vec<Block> {
    let mut born = Vec::new();
    let mut place = births.len() - 1;
    while place != 0 {
        born.extend(births[place].0);
        place = births[place].1;
    }
    born.reverse();
    born
}

/// Plays a schedule into a block tree and returns the alarms that break safety.
fn alarms(schedule: &[Block]) -> Vec<Evidence> {
    let chain = chain(4);
    let mut blocks = Blocks::new(&chain);
    let mut tree = BlockTree::new(chain.clone());
    let base = 100;
    let g = blocks.child(chain.genesis_id(), base, 0);
    let mut evidence = tree.insert(&g).unwrap().evidence;
    let mut ids = BTreeMap::from([(G, g.id())]);
    for block in schedule {
        let salt = u64::from(block.0);
        let proposal = blocks.child(ids[&block.parent()], base + block.slot(), salt);
        ids.insert(*block, proposal.id());
        evidence.extend(tree.insert(&proposal).unwrap().evidence);
    }
    for (_, id) in ids.iter().filter(|(block, _)| block.is_certified()) {
        evidence.extend(tree.certify(&certified(&chain, *id)).unwrap().evidence);
    }
    evidence.retain(Evidence::breaks_safety);
    evidence
}

/// Two conflicting blocks become final within `last_slot` slots, not within one less, and the tree raises the alarm.
fn assert_violated(fault: Fault, last_slot: u64) {
    assert!(
        search(fault, last_slot - 1).is_ok(),
        "fewer slots are enough"
    );
    let schedule = search(fault, last_slot).expect_err("two conflicting final blocks");
    let conflict = alarms(&schedule).into_iter().any(|evidence| {
        matches!(
            evidence,
            Evidence::ConflictingFinality { .. } | Evidence::CertifiedAgainstFinal { .. }
        )
    });
    assert!(conflict, "no alarm for {schedule:x?}");
}

#[test]
fn the_voting_rules_are_safe_in_every_schedule_of_six_slots() {
    let states = search(Fault::None, 6).unwrap_or_else(|schedule| panic!("{schedule:x?}"));
    assert!(states > 1000, "a search of {states} states shows nothing");
}

#[test]
fn distinct_slots_are_not_enough() {
    assert_violated(Fault::Removed(Removed::IncreasingSlots), 5);
}

#[test]
fn the_parents_certificate_is_needed() {
    assert_violated(Fault::Removed(Removed::ParentCertified), 5);
}

#[test]
fn the_lock_is_needed() {
    assert_violated(Fault::Removed(Removed::Lock), 5);
}

#[test]
fn a_signer_that_forgets_all_beside_a_byzantine_one_breaks_safety() {
    assert_violated(Fault::Reset, 2);
}

#[test]
fn a_signer_that_forgets_one_vote_beside_a_byzantine_one_breaks_safety() {
    assert_violated(Fault::ForgetVote, 4);
}
