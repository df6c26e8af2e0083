//! The state machine, one rule at a time.

use crate::federation::{
    Blocks, GENESIS_SLOT, MAX_WITHOUT_POW, SLOT_MS, approval, certified, chain, height,
};
use alys_consensus::{
    BlockTree, Consensus, Evidence, Input, InsertError, Output, UnixMs, VerifiedProposal,
    VotingState,
};
use alys_protocol::bytes::BlockId;
use alys_protocol::units::{MemberId, Slot};

/// A member of four, `slot` slots after genesis. Member `m` leads the slots that are `m` modulo 4, and so does slot
/// `m` after genesis.
struct Test {
    blocks: Blocks,
    node: Consensus,
}

fn at(slot: u64, part_ms: u64) -> UnixMs {
    UnixMs::new((GENESIS_SLOT + slot) * SLOT_MS + part_ms)
}

impl Test {
    fn new(member: Option<u16>) -> Self {
        Self::restarted(member, VotingState::default())
    }

    fn restarted(member: Option<u16>, voting: VotingState) -> Self {
        let chain = chain(4);
        let tree = BlockTree::new(chain.clone());
        let mut test = Self {
            blocks: Blocks::new(&chain),
            node: Consensus::new(tree, member.map(MemberId::new), voting, at(0, 0)),
        };
        assert_eq!(test.tick(0, 1), []);
        test
    }

    fn tick(&mut self, slot: u64, part_ms: u64) -> Vec<Output> {
        self.node.step(Input::Tick(at(slot, part_ms)))
    }

    fn genesis(&self) -> BlockId {
        self.blocks.chain.genesis_id()
    }

    fn make(&mut self, parent: BlockId, slot: u64) -> VerifiedProposal {
        self.blocks.child(parent, slot, 0)
    }

    fn put(&mut self, proposal: &VerifiedProposal) -> Vec<Output> {
        self.node.step(Input::Proposal(Box::new(proposal.clone())))
    }

    fn certify(&mut self, id: BlockId) -> Vec<Output> {
        let certificate = certified(&self.blocks.chain, id);
        self.node.step(Input::Certificate(certificate))
    }

    /// A valid certified block.
    fn grow(&mut self, parent: BlockId, slot: u64) -> BlockId {
        let proposal = self.make(parent, slot);
        self.put(&proposal);
        self.certify(proposal.id());
        self.node.step(Input::Valid(proposal.id()));
        proposal.id()
    }
}

fn rejected(outputs: &[Output]) -> Option<&InsertError> {
    outputs.iter().find_map(|output| match output {
        Output::Rejected { reason, .. } => Some(reason),
        _ => None,
    })
}

#[test]
fn a_block_is_validated_voted_for_certified_and_becomes_the_head() {
    let mut test = Test::new(Some(0));
    test.tick(1, 0);
    let block = test.make(test.genesis(), 1);
    let id = block.id();
    assert_eq!(test.put(&block), [Output::Validate(id)]);
    assert_eq!(test.node.step(Input::Valid(id)), [Output::AskSigner(id)]);
    let own = approval(0, id);
    assert_eq!(
        test.node.step(Input::SignerApproved(own)),
        [Output::Broadcast(own)]
    );
    assert_eq!(test.node.step(Input::Approval(approval(2, id))), []);
    assert_eq!(test.node.step(Input::Approval(approval(2, id))), []);
    let quorum = vec![own, approval(1, id), approval(2, id)];
    assert_eq!(
        test.node.step(Input::Approval(approval(1, id))),
        [Output::Aggregate(quorum)]
    );
    let head = test.blocks.block_ref(id);
    let certificate = certified(&test.blocks.chain, id);
    assert_eq!(
        test.certify(id),
        [Output::Certified(certificate), Output::Head(head)]
    );
    assert_eq!(test.certify(id), []);
}

#[test]
fn an_observer_follows_without_a_vote() {
    let mut test = Test::new(None);
    test.tick(1, 0);
    let block = test.make(test.genesis(), 1);
    assert_eq!(test.put(&block), [Output::Validate(block.id())]);
    assert_eq!(test.node.step(Input::Valid(block.id())), []);
    test.certify(block.id());
    assert_eq!(test.node.tree().head().id, block.id());
    for slot in 2..9 {
        assert_eq!(test.tick(slot, 0), []);
    }
}

#[test]
fn at_most_one_vote_per_slot_and_slots_only_grow() {
    let mut test = Test::new(Some(3));
    test.tick(2, 0);
    let genesis = test.genesis();
    let (first, twin) = (test.make(genesis, 2), test.blocks.child(genesis, 2, 1));
    let before = test.make(genesis, 1);
    for block in [&first, &twin, &before] {
        test.put(block);
    }
    assert_eq!(
        test.node.step(Input::Valid(first.id())),
        [Output::AskSigner(first.id())]
    );
    // Neither another of the slot nor, now, one of the slot before.
    assert_eq!(test.node.step(Input::Valid(twin.id())), []);
    assert_eq!(test.node.step(Input::Valid(before.id())), []);
    // The signer refuses that one: the other of the slot is asked for, the refused one not again.
    let outputs = test.node.step(Input::SignerRefused(first.id()));
    assert_eq!(
        outputs,
        [Output::AskSigner(before.id()), Output::AskSigner(twin.id())]
    );
    assert_eq!(test.node.step(Input::SignerRefused(twin.id())), []);
    assert_eq!(test.tick(2, 900), []);
}

#[test]
fn votes_are_for_this_slot_and_the_one_before() {
    let mut test = Test::new(Some(0));
    test.tick(3, 0);
    let genesis = test.genesis();
    let (old, late, early) = (
        test.make(genesis, 1),
        test.make(genesis, 2),
        test.make(genesis, 5),
    );
    assert_eq!(
        test.put(&old),
        [],
        "too old to be voted for, so not validated"
    );
    assert_eq!(test.put(&late), [Output::Validate(late.id())]);
    assert_eq!(test.put(&early), []);
    assert_eq!(
        test.node.step(Input::Valid(late.id())),
        [Output::AskSigner(late.id())]
    );
    // The early one waits for its slot, lest it take the votes of the slots before.
    assert_eq!(test.tick(5, 0), [Output::Validate(early.id())]);
    // Certified after all: validated, to follow the chain.
    assert!(test.certify(old.id()).contains(&Output::Validate(old.id())));
    let too_early = test.make(genesis, 8);
    assert_eq!(
        rejected(&test.put(&too_early)),
        Some(&InsertError::SlotHorizon {
            at_most: Slot::new(GENESIS_SLOT + 7),
            found: Slot::new(GENESIS_SLOT + 8),
        })
    );
}

#[test]
fn no_vote_below_the_longest_certified_chain_nor_below_the_lock() {
    let mut test = Test::new(Some(0));
    let genesis = test.genesis();
    test.tick(1, 0);
    let first = test.grow(genesis, 1);
    test.tick(2, 0);
    let fork = test.make(genesis, 2);
    test.put(&fork);
    assert_eq!(test.node.step(Input::Valid(fork.id())), []);
    let next = test.make(first, 2);
    test.put(&next);
    assert_eq!(
        test.node.step(Input::Valid(next.id())),
        [Output::AskSigner(next.id())]
    );

    let lock = VotingState {
        last_slot: Slot::new(GENESIS_SLOT + 1),
        lock: height(1),
    };
    let mut test = Test::restarted(Some(0), lock);
    test.tick(2, 0);
    let block = test.make(genesis, 2);
    test.put(&block);
    assert_eq!(test.node.step(Input::Valid(block.id())), []);
}

#[test]
fn undecided_blocks_are_asked_about_again() {
    let mut test = Test::new(Some(0));
    test.tick(1, 0);
    let block = test.make(test.genesis(), 1);
    test.put(&block);
    assert_eq!(test.node.step(Input::Undecided(block.id())), []);
    assert_eq!(test.tick(1, 600), [Output::Validate(block.id())]);
    assert_eq!(
        test.node.step(Input::Valid(block.id())),
        [Output::AskSigner(block.id())]
    );
    assert_eq!(test.tick(1, 700), []);
}

#[test]
fn a_leader_proposes_once_on_the_certified_tip() {
    let mut test = Test::new(Some(2));
    let genesis = test.genesis();
    test.tick(1, 0);
    let tip = test.grow(genesis, 1);
    let propose = |test: &Test, slot, parent| Output::Propose {
        slot: Slot::new(GENESIS_SLOT + slot),
        parent: test.blocks.block_ref(parent),
        implied_final: test.blocks.block_ref(genesis),
        needs_pow: false,
    };
    assert_eq!(test.node.next_deadline(), at(1, SLOT_MS / 4));
    let expected = propose(&test, 2, tip);
    assert_eq!(test.tick(2, 0), [expected]);
    assert_eq!(test.tick(2, 1000), []);
    assert_eq!(test.node.next_deadline(), at(3, 0));
    assert_eq!(test.tick(3, 0), []);
    assert_eq!(test.tick(6, 0), [propose(&test, 6, tip)]);
}

#[test]
fn a_leader_waits_a_little_for_the_slot_before() {
    let mut test = Test::new(Some(2));
    let genesis = test.genesis();
    test.tick(1, 0);
    let block = test.make(genesis, 1);
    test.put(&block);
    test.node.step(Input::Valid(block.id()));
    assert_eq!(test.tick(2, 0), []);
    assert_eq!(test.node.next_deadline(), at(2, SLOT_MS / 4));
    // The certificate comes: at once.
    let mut certified = test.node.clone();
    let certificate = crate::federation::certified(&test.blocks.chain, block.id());
    let outputs = certified.step(Input::Certificate(certificate));
    assert!(
        matches!(outputs.last(), Some(Output::Propose { parent, .. }) if parent.id == block.id())
    );
    // It does not: on the older tip.
    let outputs = test.tick(2, SLOT_MS / 4);
    assert!(matches!(outputs[..], [Output::Propose { parent, .. }] if parent.id == genesis));
}

#[test]
fn no_proposal_below_a_longer_chain_that_is_not_valid_yet() {
    let mut test = Test::new(Some(2));
    test.tick(1, 0);
    let block = test.make(test.genesis(), 1);
    test.put(&block);
    test.certify(block.id());
    assert_eq!(test.tick(2, 1000), []);
    let outputs = test.node.step(Input::Valid(block.id()));
    assert!(
        matches!(outputs.last(), Some(Output::Propose { parent, .. }) if parent.id == block.id())
    );
}

#[test]
fn a_restarted_leader_leaves_its_slot_empty() {
    let chain = chain(4);
    let tree = BlockTree::new(chain);
    let member = Some(MemberId::new(2));
    let mut node = Consensus::new(tree, member, VotingState::default(), at(2, 0));
    assert_eq!(node.step(Input::Tick(at(2, 600))), []);
    assert!(matches!(
        node.step(Input::Tick(at(6, 600)))[..],
        [Output::Propose { .. }]
    ));
}

#[test]
fn proposals_say_what_work_must_finalise() {
    let mut test = Test::new(Some(0));
    let mut parent = test.genesis();
    let mut made = Vec::new();
    for slot in 1..=MAX_WITHOUT_POW + 3 {
        test.tick(slot, 0);
        parent = test.grow(parent, slot);
        made.push(parent);
    }
    let outputs = test.tick(16, 0);
    let second_last = test.blocks.block_ref(made[made.len() - 2]);
    assert_eq!(
        outputs,
        [Output::Propose {
            slot: Slot::new(GENESIS_SLOT + 16),
            parent: test.blocks.block_ref(parent),
            implied_final: second_last,
            needs_pow: true,
        }]
    );
    assert_eq!(test.node.tree().final_block(), second_last);
}

#[test]
fn equivocation_is_reported_and_bounded() {
    let mut test = Test::new(Some(0));
    test.tick(1, 0);
    let genesis = test.genesis();
    let twins: Vec<_> = (0..10)
        .map(|salt| test.blocks.child(genesis, 1, salt))
        .collect();
    let mut alarms = 0;
    for (place, twin) in twins.iter().enumerate() {
        let outputs = test.put(twin);
        alarms += outputs
            .iter()
            .filter(|output| matches!(output, Output::Alarm(_)))
            .count();
        let full = matches!(rejected(&outputs), Some(InsertError::SlotFull { .. }));
        assert_eq!(full, place >= 4, "{place}");
    }
    assert_eq!(alarms, 1);
    // The one that a quorum certified is fetched and taken all the same.
    let last = &twins[9];
    assert_eq!(
        test.certify(last.id()),
        [Output::Fetch {
            id: last.id(),
            height: None
        }]
    );
    assert_eq!(rejected(&test.put(last)), None);
    assert!(test.node.tree().is_certified(last.id()));
    // Two votes of one member.
    test.node.step(Input::Approval(approval(1, twins[0].id())));
    let outputs = test.node.step(Input::Approval(approval(1, twins[1].id())));
    let [Output::Alarm(evidence)] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(evidence.member(), Some(MemberId::new(1)));
    assert!(!test.node.is_halted());
}

#[test]
fn what_is_missing_is_fetched_until_it_comes() {
    let mut test = Test::new(None);
    test.tick(3, 0);
    let genesis = test.genesis();
    let first = test.make(genesis, 1);
    let second = test.make(first.id(), 2);
    let third = test.make(second.id(), 3);
    let fetch = |proposal: &VerifiedProposal, height: Option<u64>| Output::Fetch {
        id: proposal.id(),
        height: height.map(crate::federation::height),
    };
    assert_eq!(test.put(&third), [fetch(&second, Some(2))]);
    assert_eq!(test.put(&second), [fetch(&first, Some(1))]);
    // Only what no orphan here is.
    assert_eq!(test.tick(4, 600), [fetch(&first, Some(1))]);
    let outputs = test.put(&first);
    assert!(outputs.contains(&Output::Validate(first.id())));
    assert!(test.node.tree().contains(third.id()));
    let mut outputs = test.node.step(Input::Valid(first.id()));
    outputs.extend(test.node.step(Input::Valid(second.id())));
    assert!(outputs.contains(&Output::Head(test.blocks.block_ref(second.id()))));
    assert_eq!(test.tick(5, 0), []);
    // One honest member approved it, at least.
    let fourth = test.make(third.id(), 5);
    assert_eq!(
        test.node.step(Input::Approval(approval(1, fourth.id()))),
        []
    );
    let outputs = test.node.step(Input::Approval(approval(2, fourth.id())));
    assert_eq!(outputs, [fetch(&fourth, None)]);
    test.put(&fourth);
    let outputs = test.node.step(Input::Approval(approval(3, fourth.id())));
    assert!(
        matches!(outputs[..], [Output::Aggregate(_)]),
        "those kept count"
    );
}

#[test]
fn a_fetched_block_that_is_no_use_is_not_fetched_again() {
    let mut test = Test::new(Some(0));
    test.tick(1, 0);
    let genesis = test.genesis();
    let bad = test
        .blocks
        .child_with(genesis, 1, 0, |header| header.height = height(7));
    assert!(matches!(test.certify(bad.id())[..], [Output::Fetch { .. }]));
    assert!(rejected(&test.put(&bad)).is_some_and(InsertError::is_senders_fault));
    assert_eq!(test.tick(2, 0), []);
}

#[test]
fn broken_safety_halts_the_node() {
    let mut test = Test::new(Some(0));
    test.tick(1, 0);
    let genesis = test.genesis();
    let (block, twin) = (test.make(genesis, 1), test.blocks.child(genesis, 1, 1));
    test.put(&block);
    test.put(&twin);
    test.certify(block.id());
    test.node.step(Input::Valid(block.id()));
    let outputs = test.certify(twin.id());
    assert!(outputs.iter().any(|output| matches!(
        output,
        Output::Alarm(evidence) if matches!(**evidence, Evidence::ConflictingCertificates { .. })
    )));
    assert!(test.node.is_halted());
    assert_eq!(test.tick(4, 600), [], "its own slot");
    let next = test.make(block.id(), 4);
    test.put(&next);
    assert_eq!(test.node.step(Input::Valid(next.id())), []);
}

#[test]
fn a_certified_block_that_is_invalid_here_is_an_alarm() {
    let mut test = Test::new(Some(0));
    test.tick(1, 0);
    let block = test.make(test.genesis(), 1);
    test.put(&block);
    assert_eq!(test.node.step(Input::Invalid(block.id())), []);
    let evidence = Evidence::CertifiedInvalid(test.blocks.block_ref(block.id()));
    let outputs = test.certify(block.id());
    assert!(outputs.contains(&Output::Alarm(Box::new(evidence))));
    assert!(test.node.is_halted());
}

/// Two hours without a quorum: each leader's block is a sibling that nobody certifies.
#[test]
fn an_outage_of_any_length_leaves_room_for_what_comes_after() {
    const OUTAGE: u64 = 5_000;
    let mut test = Test::new(None);
    let first = test.grow(test.genesis(), 1);
    let mut siblings = Vec::new();
    for slot in 2..OUTAGE {
        test.tick(slot, 1);
        let sibling = test.make(first, slot);
        assert!(rejected(&test.put(&sibling)).is_none());
        siblings.push(sibling.id());
    }
    test.tick(OUTAGE, 1);
    // Those of the last 512 slots are held, and no other.
    for (slot, id) in (2..OUTAGE).zip(&siblings) {
        assert_eq!(test.node.holds(*id), slot >= OUTAGE - 512, "of slot {slot}");
    }
    // What is held no more is taken again where it is certified after all.
    let late = test.make(first, 2);
    assert_eq!(late.id(), siblings[0]);
    assert!(!test.node.holds(late.id()));
    test.certify(late.id());
    test.put(&late);
    assert!(test.node.holds(late.id()));
    let next = test.grow(first, OUTAGE);
    assert!(test.node.holds(next) && test.node.tree().is_certified(next));
}

#[test]
fn an_orphan_that_made_place_for_others_is_taken_again() {
    let mut test = Test::new(None);
    test.tick(200, 1);
    let parent = test.make(test.genesis(), 1);
    let orphans: Vec<_> = (2..132).map(|slot| test.make(parent.id(), slot)).collect();
    for orphan in &orphans {
        test.put(orphan);
    }
    let held = |test: &Test| -> Vec<bool> {
        let held = orphans.iter().map(|orphan| test.node.holds(orphan.id()));
        held.collect()
    };
    let mut expected = vec![true; orphans.len()];
    expected[..2].fill(false);
    assert_eq!(held(&test), expected);
    test.put(&parent);
    assert_eq!(held(&test), expected);
    assert!(rejected(&test.put(&orphans[0])).is_none());
    expected[0] = true;
    assert_eq!(held(&test), expected);
}
