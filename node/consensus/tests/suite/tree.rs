//! The block tree: structural rules, fork choice, finality, restoring, pruning, evidence.

use crate::federation::{Blocks, GENESIS_SLOT, MAX_WITHOUT_POW, certified, chain, height};
use alys_consensus::{
    Anchor, BlockTree, Changes, Evidence, InsertError, RestoreError, UnknownBlock, Validity,
    VerifiedProposal,
};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bytes::{BlockId, HistoryRoot};
use alys_protocol::history::Peaks;
use alys_protocol::units::{ChainId, Epoch, Slot};

struct Test {
    blocks: Blocks,
    tree: BlockTree,
}

impl Test {
    fn new() -> Self {
        let chain = chain(4);
        Self {
            blocks: Blocks::new(&chain),
            tree: BlockTree::new(chain),
        }
    }

    fn genesis(&self) -> BlockId {
        self.blocks.chain.genesis_id()
    }

    /// Inserts a valid block, not certified.
    fn add(&mut self, parent: BlockId, slot: u64) -> BlockId {
        let proposal = self.blocks.child(parent, slot, slot);
        let _ = self.tree.insert(&proposal).unwrap();
        let _ = self.tree.set_valid(proposal.id());
        proposal.id()
    }

    fn certify(&mut self, id: BlockId) -> Changes {
        let certificate = certified(&self.blocks.chain, id);
        self.tree.certify(&certificate).unwrap()
    }

    /// Inserts valid certified blocks in these slots, one on the other.
    fn grow(&mut self, mut parent: BlockId, slots: impl IntoIterator<Item = u64>) -> Vec<BlockId> {
        let mut made = Vec::new();
        for slot in slots {
            parent = self.add(parent, slot);
            let _ = self.certify(parent);
            made.push(parent);
        }
        made
    }
}

#[test]
fn each_structural_rule_has_its_error() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let first = test.grow(genesis, [1])[0];
    let mut refuse = |proposal: &VerifiedProposal, expected: InsertError| {
        assert_eq!(test.tree.insert(proposal), Err(expected));
        assert!(!test.tree.contains(proposal.id()));
    };
    let blocks = &mut test.blocks;

    let version = blocks.child_with(first, 2, 0, |header| header.version = 2);
    refuse(
        &version,
        InsertError::Version {
            expected: 1,
            found: 2,
        },
    );
    let other = ChainId::new(1);
    let chain_id = blocks.child_with(first, 2, 0, |header| header.chain_id = other);
    let expected = blocks.chain.id();
    refuse(
        &chain_id,
        InsertError::ChainId {
            expected,
            found: other,
        },
    );
    let epoch = blocks.child_with(first, 2, 0, |header| header.epoch = Epoch::new(1));
    let (expected, found) = (Epoch::new(0), Epoch::new(1));
    refuse(&epoch, InsertError::Epoch { expected, found });
    let too_high = blocks.child_with(first, 2, 0, |header| header.height = height(3));
    let (expected, found) = (height(2), height(3));
    refuse(&too_high, InsertError::Height { expected, found });
    let parent = Slot::new(GENESIS_SLOT + 1);
    let same_slot = blocks.child(first, 1, 0);
    refuse(
        &same_slot,
        InsertError::Slot {
            parent,
            found: parent,
        },
    );
    let no_history = blocks.child_with(first, 2, 0, |header| {
        header.history_root = HistoryRoot::ZERO
    });
    let expected = blocks.child(first, 2, 0).header().history_root;
    let found = HistoryRoot::ZERO;
    refuse(&no_history, InsertError::HistoryRoot { expected, found });
    let good = blocks.child(first, 2, 0);
    let bare = VerifiedProposal::assume_verified(good.header().clone(), BlsSignature::ZERO, None);
    refuse(
        &bare,
        InsertError::ParentCertificate {
            parent: first,
            found: None,
        },
    );
    let other = Some(certified(&blocks.chain, good.id()));
    let wrong = VerifiedProposal::assume_verified(good.header().clone(), BlsSignature::ZERO, other);
    let found = Some(good.id());
    refuse(
        &wrong,
        InsertError::ParentCertificate {
            parent: first,
            found,
        },
    );
    let grandchild = blocks.child(good.id(), 3, 0);
    refuse(
        &grandchild,
        InsertError::UnknownParent { parent: good.id() },
    );

    let _ = test.tree.insert(&good).unwrap();
    assert_eq!(test.tree.insert(&good), Err(InsertError::Duplicate));
}

#[test]
fn the_head_is_the_longest_certified_and_valid_chain() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let late = test.grow(genesis, [5])[0];
    assert_eq!(test.tree.head().id, late);
    // As long, of a lower slot.
    let early = test.grow(genesis, [3])[0];
    assert_eq!(test.tree.head().id, early);
    // Longer, but not certified.
    let next = test.add(late, 6);
    assert_eq!(test.tree.head().id, early);
    let changes = test.certify(next);
    assert_eq!(changes.head.unwrap().id, next);
    // Longer and certified, but not valid.
    let proposal = test.blocks.child(next, 7, 0);
    let _ = test.tree.insert(&proposal).unwrap();
    let _ = test.certify(proposal.id());
    assert_eq!(test.tree.head().id, next);
    assert_eq!(test.tree.longest_certified(), height(3));
    let changes = test.tree.set_valid(proposal.id());
    assert_eq!(changes.head.unwrap().id, proposal.id());
}

#[test]
fn the_second_of_three_in_consecutive_slots_is_final() {
    let mut test = Test::new();
    let genesis = test.genesis();
    // Genesis is never one of the three, though it is of the slot before.
    let made = test.grow(genesis, [1, 2]);
    assert_eq!(test.tree.final_block().id, genesis);
    let third = test.add(made[1], 3);
    assert_eq!(test.tree.final_block().id, genesis);
    let changes = test.certify(third);
    let second = test.blocks.block_ref(made[1]);
    let expected = vec![test.blocks.block_ref(made[0]), second];
    assert_eq!(changes.finalised, expected);
    assert_eq!(test.tree.final_block(), second);
    // A gap of one slot: the run starts again.
    let made = test.grow(third, [5, 6]);
    assert_eq!(test.tree.final_block(), second);
    let last = test.grow(made[1], [7])[0];
    assert_eq!(test.tree.final_block().id, made[1]);
    // F lags by the block's own certificate.
    assert_eq!(test.tree.implied_final(last), Some(second));
    let child = test.tree.implied_final_of_child(last).unwrap();
    assert_eq!(child.id, made[1]);
}

#[test]
fn work_is_needed_when_the_implied_final_block_is_too_far_above_the_last_record() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let made = test.grow(genesis, 1..=MAX_WITHOUT_POW + 2);
    // The child of block h has F = h - 1.
    let needs = |test: &Test, id: BlockId| test.tree.needs_pow(id).unwrap();
    assert!(!needs(&test, genesis));
    let [.., before, last] = made[..] else {
        panic!()
    };
    assert!(!needs(&test, before), "F - pow = max");
    assert!(needs(&test, last), "F - pow = max + 1");
    // The record moves the PoW-final height up to F.
    let next = test.blocks.child_with(last, 500, 0, |header| {
        header.pow.height = height(MAX_WITHOUT_POW + 1);
    });
    let _ = test.tree.insert(&next).unwrap();
    assert!(!needs(&test, next.id()));
    // Growth that is not final never asks for work.
    let mut test = Test::new();
    let genesis = test.genesis();
    let gaps = test.grow(genesis, (1..=3 * MAX_WITHOUT_POW).map(|slot| 2 * slot));
    assert!(gaps.iter().all(|id| !needs(&test, *id)));
}

#[test]
fn what_is_above_an_invalid_block_is_invalid() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let first = test.blocks.child(genesis, 1, 0);
    let second = test.blocks.child(first.id(), 2, 0);
    let third = test.blocks.child(second.id(), 3, 0);
    let _ = test.tree.insert(&first).unwrap();
    let _ = test.tree.insert(&second).unwrap();
    let changes = test.tree.set_invalid(first.id());
    // The second's body certified it.
    let evidence = Evidence::CertifiedInvalid(test.blocks.block_ref(first.id()));
    assert_eq!(changes.evidence, [evidence]);
    assert_eq!(test.tree.validity(second.id()), Some(Validity::Invalid));
    let changes = test.tree.insert(&third).unwrap();
    let evidence = Evidence::CertifiedInvalid(test.blocks.block_ref(second.id()));
    assert_eq!(changes.evidence, [evidence]);
    assert_eq!(test.tree.validity(third.id()), Some(Validity::Invalid));
    // A verdict is for good, and validity starts from below.
    let _ = test.tree.set_valid(first.id());
    assert_eq!(test.tree.validity(first.id()), Some(Validity::Invalid));
    assert_eq!(test.tree.head().id, genesis);
}

#[test]
fn a_child_of_a_block_that_is_not_valid_yet_is_not_valid() {
    let mut test = Test::new();
    let first = test.blocks.child(test.genesis(), 1, 0);
    let second = test.blocks.child(first.id(), 2, 0);
    let _ = test.tree.insert(&first).unwrap();
    let _ = test.tree.insert(&second).unwrap();
    let _ = test.tree.set_valid(second.id());
    assert_eq!(test.tree.validity(second.id()), Some(Validity::Unknown));
}

#[test]
fn conflicts_are_evidence() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let a = test.grow(genesis, [1, 2, 3]);
    // Two certified blocks of one slot.
    let twin = test.blocks.child(a[0], 2, 77);
    let _ = test.tree.insert(&twin).unwrap();
    let _ = test.tree.set_valid(twin.id());
    let changes = test.certify(twin.id());
    assert!(matches!(
        changes.evidence[..],
        [
            Evidence::ConflictingCertificates { .. },
            Evidence::CertifiedAgainstFinal { .. }
        ]
    ));
    assert!(changes.evidence.iter().all(Evidence::breaks_safety));
    // Another final chain from below the final block.
    let b = test.grow(a[0], [11, 12]);
    let last = test.add(b[1], 13);
    let changes = test.certify(last);
    let conflict = Evidence::ConflictingFinality {
        first: test.blocks.block_ref(a[1]),
        second: test.blocks.block_ref(b[1]),
    };
    assert_eq!(changes.evidence, [conflict]);
    // What was final stays final, and the head stays above it, though the other chain is longer.
    assert_eq!(test.tree.final_block().id, a[1]);
    assert_eq!(test.tree.head().id, a[2]);
}

#[test]
fn conflicts_are_seen_before_validation() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let a = test.grow(genesis, [1, 2, 3]);
    let mut parent = genesis;
    let mut evidence = Vec::new();
    for slot in 11..=13 {
        let proposal = test.blocks.child(parent, slot, 0);
        let _ = test.tree.insert(&proposal).unwrap();
        parent = proposal.id();
        evidence.extend(test.certify(parent).evidence);
    }
    assert!(evidence.iter().any(|evidence| matches!(
        evidence,
        Evidence::ConflictingFinality { first, .. } if first.id == a[1]
    )));
}

#[test]
fn old_final_blocks_are_pruned_with_their_forks() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let first = test.grow(genesis, [1])[0];
    let fork = test.grow(first, [2])[0];
    let fork_child = test.add(fork, 3);
    let chain = test.grow(first, 4..=200);
    let top = test.tree.final_block();
    assert_eq!(top.id, chain[chain.len() - 2]);
    assert_eq!(test.tree.root().height.get(), top.height.get() - 64);
    for gone in [genesis, first, fork, fork_child] {
        assert!(!test.tree.contains(gone));
    }
    let late = test.blocks.child(first, 4, 9);
    assert!(matches!(
        test.tree.insert(&late),
        Err(InsertError::BelowRoot { .. })
    ));
    assert_eq!(
        test.tree.certify(&certified(&test.blocks.chain, fork)),
        Err(UnknownBlock(fork))
    );
}

#[test]
fn uncertified_blocks_are_forgotten() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let kept = test.grow(genesis, [1])[0];
    let old = test.add(kept, 2);
    let young = test.add(kept, 3);
    let changes = test
        .tree
        .forget_uncertified_before(Slot::new(GENESIS_SLOT + 3));
    assert_eq!(changes.forgotten, [old]);
    assert!(test.tree.contains(kept) && test.tree.contains(young));
    assert_eq!(test.tree.children(kept), [young]);
    assert!(test.tree.at_slot(Slot::new(GENESIS_SLOT + 2)).is_empty());
}

/// From every block of a chain with and without gaps, a restored tree goes on as the old one did.
#[test]
fn a_restored_tree_agrees_with_the_old_one() {
    let slots = [1, 2, 3, 4, 6, 7, 9, 10, 11, 12, 14, 15, 16, 18];
    let mut test = Test::new();
    let genesis = test.genesis();
    let made = test.grow(genesis, slots);
    let old = &test.tree;
    for (place, start) in made.iter().enumerate() {
        let anchor = old.anchor(*start).unwrap();
        let bytes = postcard::to_allocvec(&anchor).unwrap();
        assert_eq!(postcard::from_bytes::<Anchor>(&bytes), Ok(anchor.clone()));
        let certificate = old.certificate(*start).cloned();
        let mut tree = BlockTree::restore(old.chain().clone(), &anchor, certificate).unwrap();
        for id in &made[place + 1..] {
            let header = old.header(*id).unwrap().clone();
            let parent = old.certificate(header.parent).cloned();
            let proposal = VerifiedProposal::assume_verified(header, BlsSignature::ZERO, parent);
            let _ = tree.insert(&proposal).unwrap();
            let _ = tree.set_valid(*id);
            let changes = tree.certify(old.certificate(*id).unwrap()).unwrap();
            assert_eq!(changes.evidence, []);
        }
        for id in &made[place..] {
            assert_eq!(tree.implied_final(*id), old.implied_final(*id));
            assert_eq!(
                tree.implied_final_of_child(*id),
                old.implied_final_of_child(*id)
            );
            assert_eq!(tree.needs_pow(*id), old.needs_pow(*id));
            assert_eq!(tree.history(*id), old.history(*id));
        }
        assert_eq!(tree.head(), old.head());
        let expected = old.final_block().max(test.blocks.block_ref(*start));
        assert_eq!(tree.final_block(), expected);
    }
}

#[test]
fn an_anchor_that_does_not_fit_is_refused() {
    let mut test = Test::new();
    let genesis = test.genesis();
    let made = test.grow(genesis, 1..=4);
    let chain = &test.blocks.chain;
    let anchor = test.tree.anchor(made[2]).unwrap();
    let certificate = test.tree.certificate(made[2]).cloned();
    let restore = |change: &dyn Fn(&mut Anchor)| {
        let mut changed = anchor.clone();
        change(&mut changed);
        BlockTree::restore(chain.clone(), &changed, certificate.clone()).err()
    };
    assert_eq!(restore(&|_| {}), None);
    assert!(matches!(
        restore(&|anchor| anchor.header.epoch = Epoch::new(3)),
        Some(RestoreError::Chain { .. })
    ));
    assert!(matches!(
        restore(&|anchor| anchor.history = Peaks::empty()),
        Some(RestoreError::History(_))
    ));
    assert!(matches!(
        restore(&|anchor| anchor.implied_final.height = height(3)),
        Some(RestoreError::ImpliedFinal { .. })
    ));
    assert!(matches!(
        restore(&|anchor| anchor.header.slot = Slot::new(1)),
        Some(RestoreError::Certificate { .. })
    ));
    let without = BlockTree::restore(chain.clone(), &anchor, None).err();
    assert!(matches!(
        without,
        Some(RestoreError::Certificate { found: None, .. })
    ));
    let genesis = Anchor::genesis(chain);
    assert!(BlockTree::restore(chain.clone(), &genesis, None).is_ok());
}
