//! The follower against a simulated node whose best chain changes between any two questions.

use super::*;
use bitcoin::block::Version;
use bitcoin::hashes::Hash as _;
use bitcoin::{CompactTarget, TxMerkleNode};
use proptest::prelude::*;
use std::collections::HashMap;

/// A node: a block tree and the best chain in it, genesis first.
struct Node {
    blocks: HashMap<BlockHash, Block>,
    best: Vec<BlockHash>,
    nonce: u32,
}

impl Node {
    fn new() -> Self {
        let mut node = Self {
            blocks: HashMap::new(),
            best: Vec::new(),
            nonce: 0,
        };
        node.extend(1);
        node
    }

    fn extend(&mut self, blocks: usize) {
        for _ in 0..blocks {
            self.nonce += 1;
            let block = Block {
                header: Header {
                    version: Version::TWO,
                    prev_blockhash: self.best.last().copied().unwrap_or(BlockHash::all_zeros()),
                    merkle_root: TxMerkleNode::all_zeros(),
                    time: 0,
                    bits: CompactTarget::from_consensus(0x207f_ffff),
                    nonce: self.nonce,
                },
                txdata: vec![],
            };
            self.best.push(block.block_hash());
            self.blocks.insert(block.block_hash(), block);
        }
    }

    /// Drops up to `depth` blocks, never genesis, and puts `added` others there.
    fn reorganise(&mut self, depth: usize, added: usize) {
        let keep = self.best.len().saturating_sub(depth).max(1);
        self.best.truncate(keep);
        self.extend(added);
    }

    fn position(&self, height: usize) -> BlockPosition {
        BlockPosition {
            height: BtcHeight::new(height as u32),
            hash: self.best[height],
        }
    }

    fn answer(&self, query: Query) -> Answer {
        match query {
            Query::HashAt(height) => Answer::HashAt(self.best.get(height.get() as usize).copied()),
            Query::Tip => Answer::Tip(self.position(self.best.len() - 1)),
            Query::Parent(hash) => Answer::Parent(
                self.blocks
                    .get(&hash)
                    .map(|block| block.header.prev_blockhash),
            ),
            Query::Block(hash) => Answer::Block(self.blocks.get(&hash).cloned()),
            Query::WaitFor(_) => Answer::Woken,
        }
    }
}

/// A consumer that believes the events, and checks each.
struct Consumer(Vec<BlockHash>);

impl Consumer {
    fn take(&mut self, event: BlockEvent) {
        match event {
            BlockEvent::Connected(connected) => {
                assert_eq!(connected.position.height.get() as usize, self.0.len());
                assert_eq!(Some(&connected.header().prev_blockhash), self.0.last());
                assert_eq!(connected.position.hash, connected.block.block_hash());
                self.0.push(connected.position.hash);
            }
            BlockEvent::Disconnected(left) => {
                assert_eq!(left.height.get() as usize, self.0.len() - 1);
                assert_eq!(self.0.pop(), Some(left.hash));
            }
        }
    }
}

/// Asks and answers until the follower waits.
fn settle(follower: &mut Follower, node: &Node, consumer: &mut Consumer) {
    // A wait from before is over.
    follower.answer(Answer::Woken).unwrap();
    while !matches!(follower.query(), Query::WaitFor(_)) {
        if let Some(event) = follower.answer(node.answer(follower.query())).unwrap() {
            consumer.take(event);
        }
    }
}

fn following(node: &Node, height: usize) -> (Follower, Consumer) {
    let follower = Follower::new(node.position(height));
    (follower, Consumer(node.best[..=height].to_vec()))
}

#[test]
fn a12_reorganisations_of_any_depth_skip_nothing() {
    for depth in [1, 2, 10, REMEMBERED - 1, REMEMBERED, REMEMBERED + 500] {
        let mut node = Node::new();
        let (mut follower, mut consumer) = following(&node, 0);
        node.extend(depth + 600);
        settle(&mut follower, &node, &mut consumer);
        assert_eq!(consumer.0, node.best);
        node.reorganise(depth, depth + 1);
        settle(&mut follower, &node, &mut consumer);
        assert_eq!(consumer.0, node.best, "depth {depth}");
    }
}

#[test]
fn a12_a_start_that_was_reorganised_away_is_disconnected_first() {
    let mut node = Node::new();
    node.extend(10);
    let (mut follower, mut consumer) = following(&node, 10);
    node.reorganise(4, 6);
    settle(&mut follower, &node, &mut consumer);
    assert_eq!(consumer.0, node.best);
}

#[test]
fn a12_a_shorter_chain_that_differs_is_a_reorganisation() {
    let mut node = Node::new();
    let (mut follower, mut consumer) = following(&node, 0);
    node.extend(10);
    settle(&mut follower, &node, &mut consumer);
    node.reorganise(5, 2);
    settle(&mut follower, &node, &mut consumer);
    assert_eq!(consumer.0, node.best);
}

#[test]
fn a_node_that_is_behind_is_waited_for() {
    let mut node = Node::new();
    let (mut follower, mut consumer) = following(&node, 0);
    node.extend(10);
    settle(&mut follower, &node, &mut consumer);
    let full = node.best.clone();
    node.best.truncate(4);
    settle(&mut follower, &node, &mut consumer);
    assert_eq!(consumer.0, full);
    assert_eq!(follower.query(), Query::WaitFor(BtcHeight::new(10)));
    node.best = full;
    node.extend(3);
    settle(&mut follower, &node, &mut consumer);
    assert_eq!(consumer.0, node.best);
}

#[test]
fn a_position_that_the_node_never_saw_is_an_error() {
    let mut other = Node::new();
    let mut node = Node::new();
    other.reorganise(0, 5);
    node.nonce = 1000;
    node.extend(5);
    let mut follower = Follower::new(other.position(3));
    let expected = FollowError::UnknownPosition {
        height: BtcHeight::new(3),
        hash: other.best[3],
    };
    for _ in 0..2 {
        let error = loop {
            if let Err(error) = follower.answer(node.answer(follower.query())) {
                break error;
            }
        };
        assert_eq!(error, expected);
        assert_eq!(follower.query(), Query::HashAt(BtcHeight::new(3)));
    }
    // Another genesis block, too, is no reorganisation.
    let mut follower = Follower::new(BlockPosition {
        height: BtcHeight::ZERO,
        hash: other.best[3],
    });
    assert!(follower.answer(node.answer(follower.query())).is_err());
}

#[test]
fn wrong_and_missing_blocks_are_errors_and_change_nothing() {
    let mut node = Node::new();
    node.extend(2);
    let (mut follower, _) = following(&node, 0);
    let ask_for_block = |follower: &mut Follower| loop {
        match follower.query() {
            Query::Block(hash) => break hash,
            query => assert_eq!(follower.answer(node.answer(query)), Ok(None)),
        }
    };
    let hash = ask_for_block(&mut follower);
    let error = follower.answer(Answer::Block(None));
    assert_eq!(error, Err(FollowError::MissingBlock { hash }));
    ask_for_block(&mut follower);
    let wrong = node.blocks[&node.best[2]].clone();
    let error = follower.answer(Answer::Block(Some(wrong)));
    assert!(matches!(error, Err(FollowError::WrongBlock { .. })));
    assert_eq!(follower.position(), node.position(0));
    // An answer out of turn is ignored.
    let query = follower.query();
    assert_eq!(follower.answer(Answer::Woken), Ok(None));
    assert_eq!(follower.query(), query);
}

#[derive(Debug, Clone)]
enum Change {
    Answer,
    Extend(usize),
    Reorganise(usize, usize),
    Truncate(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        12 => Just(Change::Answer),
        2 => (1usize..4).prop_map(Change::Extend),
        1 => (1usize..20, 0usize..25).prop_map(|(depth, added)| Change::Reorganise(depth, added)),
        1 => (1usize..6).prop_map(Change::Truncate),
    ];
    prop::collection::vec(change, 0..400)
}

proptest! {
    /// Regression A12: however the best chain changes between questions, every event extends or shortens the
    /// consumer's chain by exactly its tip, and once the node rests the consumer has its chain.
    #[test]
    fn a12_no_interleaving_skips_a_block(start in 0usize..8, changes in changes()) {
        let mut node = Node::new();
        node.extend(8);
        let (mut follower, mut consumer) = following(&node, start);
        for change in changes {
            match change {
                Change::Extend(blocks) => node.extend(blocks),
                Change::Reorganise(depth, added) => node.reorganise(depth, added),
                Change::Truncate(depth) => node.reorganise(depth, 0),
                Change::Answer => {
                    if let Some(event) = follower.answer(node.answer(follower.query())).unwrap() {
                        consumer.take(event);
                    }
                    prop_assert_eq!(follower.position().hash, *consumer.0.last().unwrap());
                }
            }
        }
        settle(&mut follower, &node, &mut consumer);
        // A chain that ended below our start may differ there without our knowing, until it grows.
        let unknown = node.best.len() <= start && node.best.len() < consumer.0.len();
        prop_assert!(unknown || consumer.0.starts_with(&node.best));
        node.extend(200);
        settle(&mut follower, &node, &mut consumer);
        prop_assert_eq!(&consumer.0, &node.best);
    }
}
