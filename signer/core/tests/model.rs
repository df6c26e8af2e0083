//! A model checker on the signer's own voting rules (claim C1): every schedule that the owner of all nodes can make, in a
//! federation small enough to search. `docs/model.md` says what is modelled and what it found.
//!
//! n = 4: a Byzantine member that signs anything, and honest signers A, B, C (q = 3). An honest signer's step is the core's:
//! the rules [`slot_monotonic`] and [`longest_chain`], and the state after a vote ([`VoteState::after_vote`]), as
//! `Signer::approve` asks them. That a parent is certified is known here, since the model counts votes, so that no pairing
//! is computed. The first block G is an ordinary certified block that all agree on, in slot 0, so that it may be the first
//! of three. Votes that certify nothing, and a third honest vote, only tie signers' hands, so that a block gets exactly two
//! honest votes or, where an uncertified parent is of use, none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs
)]

use alys_protocol::bytes::BlockId;
use alys_protocol::units::{SideHeight, Slot};
use alys_signer_core::state::{Vote, VoteState};
use alys_signer_core::vote::{longest_chain, slot_monotonic};
use stateright::{Checker, Model, Path, Property};
use std::collections::BTreeSet;

const HONEST: usize = 3;
const PAIRS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];
const SAFE: &str = "no two conflicting blocks are final";
const LIVE: &str = "a block becomes final";

/// What the schedule may do beside asking for votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Slots need only be distinct, not increasing.
    SlotsOnlyDistinct,
    /// The parent's certificate is not asked for.
    NoParentCertificate,
    /// The lock is not asked for.
    NoLock,
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

/// What an honest signer remembers, as far as its votes depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Memory {
    last_slot: u64,
    lock: u64,
    /// Kept only where slots need only be distinct.
    voted: BTreeSet<u64>,
}

impl Memory {
    /// The core's decision on a vote for a block of `slot` on `parent`.
    fn vote(&self, fault: Fault, parent: Block, slot: u64) -> Option<Self> {
        if !parent.is_certified() && fault != Fault::NoParentCertificate {
            return None;
        }
        let state = VoteState {
            last_slot: Slot::new(self.last_slot),
            lock: SideHeight::new(self.lock),
            ..VoteState::default()
        };
        let (at, parent_slot) = (Slot::new(slot), Slot::new(parent.slot()));
        let parent_height = SideHeight::new(parent.height());
        let mut voted = self.voted.clone();
        if fault == Fault::SlotsOnlyDistinct {
            if !voted.insert(slot) {
                return None;
            }
            slot_monotonic(Slot::new(0), parent_slot, at).ok()?;
        } else {
            slot_monotonic(state.last_slot, parent_slot, at).ok()?;
        }
        if fault != Fault::NoLock {
            longest_chain(state.lock, parent_height).ok()?;
        }
        let vote = Vote {
            block: BlockId::ZERO,
            final_height: SideHeight::ZERO,
        };
        let after = state.after_vote(at, parent_height, vote);
        Some(Self {
            last_slot: after.last_slot.get(),
            lock: after.lock.get(),
            voted,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Ordered, so that the order of birth does not tell states apart.
    blocks: Vec<Block>,
    signers: [Memory; HONEST],
    fault_used: bool,
}

impl State {
    fn insert(&mut self, block: Block) {
        if let Err(place) = self.blocks.binary_search(&block) {
            self.blocks.insert(place, block);
        }
    }

    fn finals(&self) -> Vec<Block> {
        let last_of_three = self.blocks.iter();
        last_of_three
            .filter_map(|block| block.finalises())
            .collect()
    }

    fn is_safe(&self) -> bool {
        let finals = self.finals();
        let agree = |a: &Block, b: &Block| a.is_ancestor_of(*b) || b.is_ancestor_of(*a);
        finals.iter().all(|a| finals.iter().all(|b| agree(a, b)))
    }
}

/// What the attacker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Has two honest signers vote for a block, which the Byzantine member's vote certifies; perhaps one forgets it.
    Certify {
        parent: Block,
        slot: u64,
        pair: usize,
        forgets: Option<usize>,
    },
    /// Makes a block that nobody votes for.
    Make { parent: Block, slot: u64 },
    /// Puts one signer back to its beginning.
    Reset(usize),
}

/// A federation, and what the attacker may do up to a slot.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    fault: Fault,
    last_slot: u64,
}

impl Model for Schedule {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            blocks: vec![G],
            signers: Default::default(),
            fault_used: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let once = |fault| self.fault == fault && !state.fault_used;
        if once(Fault::Reset) {
            actions.extend((0..HONEST).map(Action::Reset));
        }
        // More than one uncertified block is of no use to the shortest violation.
        let make = self.fault == Fault::NoParentCertificate
            && state.blocks.iter().all(|block| block.is_certified());
        for parent in state.blocks.iter().copied() {
            for slot in parent.slot() + 1..=self.last_slot {
                if make {
                    actions.push(Action::Make { parent, slot });
                }
                for (pair, voters) in PAIRS.into_iter().enumerate() {
                    let certify = |forgets| Action::Certify {
                        parent,
                        slot,
                        pair,
                        forgets,
                    };
                    actions.push(certify(None));
                    if once(Fault::ForgetVote) {
                        actions.extend(voters.map(|voter| certify(Some(voter))));
                    }
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Reset(signer) => {
                next.signers[signer] = Memory::default();
                next.fault_used = true;
            }
            Action::Make { parent, slot } => next.insert(parent.child(slot, NOBODY)),
            Action::Certify {
                parent,
                slot,
                pair,
                forgets,
            } => {
                for voter in PAIRS[pair] {
                    next.signers[voter] = last.signers[voter].vote(self.fault, parent, slot)?;
                }
                if let Some(voter) = forgets {
                    next.signers[voter] = last.signers[voter].clone();
                    next.fault_used = true;
                }
                next.insert(parent.child(slot, pair as u32 + 1));
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, state: &State| state.is_safe()),
            Property::sometimes(LIVE, |_, state: &State| !state.finals().is_empty()),
        ]
    }
}

/// The violation found breadth first, or the number of states that have none.
fn search(fault: Fault, last_slot: u64) -> Result<usize, Path<State, Action>> {
    let checker = Schedule { fault, last_slot }.checker().spawn_bfs().join();
    assert!(
        last_slot < 2 || checker.discovery(LIVE).is_some() || checker.discovery(SAFE).is_some(),
        "a search in which nothing becomes final shows nothing"
    );
    match checker.discovery(SAFE) {
        Some(path) => Err(path),
        None => Ok(checker.unique_state_count()),
    }
}

/// Two conflicting blocks become final within `last_slot` slots, and not within one less.
fn assert_violated(fault: Fault, last_slot: u64) {
    let states = search(fault, last_slot - 1).expect("fewer slots are not enough");
    let path = search(fault, last_slot).expect_err("two conflicting final blocks");
    let end = path.last_state();
    println!(
        "{fault:?}: none among {states} states of {} slots; then {:x?} final after {} actions",
        last_slot - 1,
        end.finals(),
        path.into_actions().len()
    );
}

#[test]
fn the_voting_rules_are_safe_in_every_schedule() {
    for last_slot in 2..=6 {
        let states = search(Fault::None, last_slot);
        let states = states.unwrap_or_else(|path| panic!("{:?}", path.into_actions()));
        println!("{last_slot} slots: {states} states");
        assert!(last_slot < 6 || states > 1000);
    }
}

#[test]
fn distinct_slots_are_not_enough() {
    assert_violated(Fault::SlotsOnlyDistinct, 5);
}

#[test]
fn the_parents_certificate_is_needed() {
    assert_violated(Fault::NoParentCertificate, 5);
}

#[test]
fn the_lock_is_needed() {
    assert_violated(Fault::NoLock, 5);
}

#[test]
fn a_signer_that_forgets_all_beside_a_byzantine_one_breaks_safety() {
    assert_violated(Fault::Reset, 2);
}

#[test]
fn a_signer_that_forgets_one_vote_beside_a_byzantine_one_breaks_safety() {
    assert_violated(Fault::ForgetVote, 4);
}
