//! Whatever the order in which blocks, verdicts and certificates arrive, the outcome is the same, and it is what the
//! definitions of design 5 say of the whole set.

use crate::federation::{Blocks, GENESIS_SLOT, SLOT_MS, certified, chain};
use crate::signer::{Request, Signer};
use alys_consensus::{
    BlockRef, BlockTree, Consensus, Input, Output, UnixMs, VerifiedProposal, VotingState,
};
use alys_protocol::bytes::BlockId;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Blocks of one slot at most, so that none is refused as one too many.
const MAX_OF_A_SLOT: usize = 4;

/// A block to make.
#[derive(Debug, Clone)]
struct Plan {
    /// On which of the certified blocks so far; none for the newest.
    base: Option<prop::sample::Index>,
    /// How many slots above its parent.
    gap: u64,
    /// Who of the three honest members does not vote for it, while the Byzantine one does; none where nobody does.
    left_out: Option<u8>,
}

struct Made {
    proposal: VerifiedProposal,
    certified: bool,
}

/// Plays a plan against model signers; votes that they refuse leave the block uncertified, so that the result is one
/// that the rules allow. Slots end below the limit, so that nothing is rejected as early.
fn play(blocks: &mut Blocks, plan: &[Plan]) -> Vec<Made> {
    let mut signers = [Signer::default(), Signer::default(), Signer::default()];
    let mut bases = vec![(blocks.chain.genesis_id(), 0)];
    let mut made: Vec<Made> = Vec::new();
    let mut of_slot: BTreeMap<u64, usize> = BTreeMap::new();
    for (number, plan) in (0..).zip(plan) {
        let base = plan
            .base
            .map_or(bases.len() - 1, |base| base.index(bases.len()));
        let (parent, parent_slot) = bases[base];
        let slot = parent_slot + plan.gap;
        let of_slot = of_slot.entry(slot).or_default();
        if *of_slot == MAX_OF_A_SLOT {
            continue;
        }
        *of_slot += 1;
        let request = Request {
            slot,
            parent_slot,
            parent_height: blocks.header(parent).height.get(),
            parent_certified: true,
        };
        let certified = plan.left_out.is_some_and(|left_out| {
            let voters = (0..3u8).filter(|voter| *voter != left_out);
            // Both are asked, whatever the first one says.
            let agree = voters.filter(|voter| {
                let signer = &mut signers[usize::from(*voter)];
                signer.vote(request, None).is_ok()
            });
            agree.count() == 2
        });
        let proposal = blocks.child(parent, slot, number);
        if certified {
            bases.push((proposal.id(), slot));
        }
        made.push(Made {
            proposal,
            certified,
        });
    }
    made
}

/// The outcome by the definitions, over the whole set.
#[derive(Debug, PartialEq)]
struct Outcome {
    head: BlockRef,
    final_block: BlockRef,
    implied: BTreeMap<BlockId, BlockRef>,
}

fn by_definition(blocks: &Blocks, made: &[Made]) -> Outcome {
    let genesis = blocks.block_ref(blocks.chain.genesis_id());
    let certified: Vec<BlockId> = made
        .iter()
        .filter(|made| made.certified)
        .map(|made| made.proposal.id())
        .collect();
    let parent = |id: BlockId| blocks.header(id).parent;
    // The middle of three with parent links in consecutive slots that ends at `id`; genesis is none of them.
    let middle = |id: BlockId| {
        let (second, first) = (
            parent(id),
            if parent(id) == genesis.id {
                genesis.id
            } else {
                parent(parent(id))
            },
        );
        let slot = |id: BlockId| blocks.header(id).slot.get();
        let real = second != genesis.id && first != genesis.id;
        (real && slot(first) + 1 == slot(second) && slot(second) + 1 == slot(id)).then_some(second)
    };
    // Highest middle on the chain that ends at `tip`, all of it certified.
    let newest = |tip: BlockId| {
        let mut newest = genesis;
        let mut id = tip;
        while id != genesis.id {
            if let Some(middle) = middle(id) {
                newest = newest.max(blocks.block_ref(middle));
            }
            id = parent(id);
        }
        newest
    };
    let head = certified
        .iter()
        .map(|id| blocks.block_ref(*id))
        .chain([genesis])
        .max_by_key(|block| {
            let slot = blocks.header(block.id).slot;
            (block.height, std::cmp::Reverse((slot, block.id)))
        })
        .unwrap();
    Outcome {
        head,
        final_block: certified
            .iter()
            .map(|id| newest(*id))
            .max()
            .unwrap_or(genesis),
        implied: made
            .iter()
            .map(|made| (made.proposal.id(), newest(made.proposal.header().parent)))
            .collect(),
    }
}

/// Puts all in, in the order of `keys`, answering what the node asks.
fn by_node(blocks: &Blocks, made: &[Made], keys: &[u64]) -> Consensus {
    let now = UnixMs::new((GENESIS_SLOT + 500) * SLOT_MS);
    let tree = BlockTree::new(blocks.chain.clone());
    let mut node = Consensus::new(tree, None, VotingState::default(), now);
    let mut inputs: Vec<Input> = Vec::new();
    for made in made {
        inputs.push(Input::Proposal(Box::new(made.proposal.clone())));
        if made.certified {
            inputs.push(Input::Certificate(certified(
                &blocks.chain,
                made.proposal.id(),
            )));
        }
    }
    let mut order: Vec<_> = keys.iter().cycle().zip(inputs).collect();
    order.sort_by_key(|(key, _)| **key);
    for (_, input) in order {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in node.step(input) {
                match output {
                    Output::Validate(id) => inputs.push(Input::Valid(id)),
                    Output::Rejected { id, reason } => panic!("{id}: {reason}"),
                    Output::Alarm(evidence) if evidence.breaks_safety() => panic!("{evidence}"),
                    _ => {}
                }
            }
        }
    }
    node
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    // Mostly the next slot on the newest block, so that chains get long enough to be final.
    let base = prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    let gap = prop_oneof![4 => Just(1u64), 1 => 2u64..5];
    let left_out = prop_oneof![6 => (0u8..3).prop_map(Some), 1 => Just(None)];
    let plan = (base, gap, left_out).prop_map(|(base, gap, left_out)| Plan {
        base,
        gap,
        left_out,
    });
    prop::collection::vec(plan, 1..40)
}

proptest! {
    #[test]
    fn the_outcome_does_not_depend_on_the_order(
        plan in plans(),
        keys in prop::collection::vec(any::<u64>(), 1..80),
    ) {
        let chain = chain(4);
        let mut blocks = Blocks::new(&chain);
        let made = play(&mut blocks, &plan);
        let expected = by_definition(&blocks, &made);
        let node = by_node(&blocks, &made, &keys);
        let tree = node.tree();
        prop_assert_eq!(tree.head(), expected.head);
        prop_assert_eq!(tree.final_block(), expected.final_block);
        for (id, implied) in expected.implied {
            prop_assert_eq!(tree.implied_final(id), Some(implied));
        }
    }
}
