//! Following the best chain, sans-IO: which question to ask the node next, and which events its answers mean.
//!
//! The node's best chain may change between any two questions, so nothing is concluded from two answers together
//! except what a block's own header proves. A block is connected only onto its parent, hence none can be skipped
//! (regression A12); a block is disconnected only when the node has another one at its height or below.
//!
//! A node whose best chain is a beginning of ours is behind, not reorganised (it was restored, reindexes, or an operator
//! invalidated a block): the follower waits for it. Bitcoin's own reorganisations bring more work, so they always
//! show another block at a height that we know.
//!
//! | state | question | answer | next |
//! |---|---|---|---|
//! | check | hash at our height | ours | extend |
//! | | | another | disconnect, check (or parent, where we do not know it) |
//! | | | none | compare |
//! | compare | tip | not below our height | check |
//! | | | another block than ours at its height | disconnect, check (or parent) |
//! | | | ours, or so deep that we do not know | wait for our height |
//! | parent | parent of our block | found | disconnect, check |
//! | | | none | error |
//! | extend | hash at our height + 1 | some | fetch |
//! | | | none | confirm |
//! | confirm | tip | ours | wait for our height + 1 |
//! | | | another | check |
//! | fetch | that block | its parent is ours | connect, extend |
//! | | | its parent is another | check |
//! | wait | tell us when the chain is that high | woken | check |

use crate::chain::BlockPosition;
use alys_protocol::units::BtcHeight;
use bitcoin::block::Header;
use bitcoin::{Block, BlockHash};
use std::collections::VecDeque;
use std::sync::Arc;
use thiserror::Error;

/// Blocks below our own that we remember: enough to go back without asking, and to know a node that is behind.
const REMEMBERED: usize = 2016;

/// A change of the best chain. Events come in exact order: each one changes the tip that the ones before it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockEvent {
    /// A block on top of the tip.
    Connected(ConnectedBlock),
    /// The tip left the best chain; its parent is the tip now.
    Disconnected(BlockPosition),
}

/// A block that became the tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedBlock {
    /// Height and hash.
    pub position: BlockPosition,
    /// The whole block.
    pub block: Arc<Block>,
}

impl ConnectedBlock {
    /// The block's header.
    pub fn header(&self) -> &Header {
        &self.block.header
    }
}

/// A question to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Which block has the best chain at this height?
    HashAt(BtcHeight),
    /// Which is the best block?
    Tip,
    /// Which is the parent of this block, in the best chain or not?
    Parent(BlockHash),
    /// The whole block.
    Block(BlockHash),
    /// Wait until the best chain may be this high. Waking up early costs a question and harms nothing.
    WaitFor(BtcHeight),
}

/// The node's answer to the [`Query`] of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `None` above the tip.
    HashAt(Option<BlockHash>),
    /// The best block.
    Tip(BlockPosition),
    /// `None` where the node does not know the block.
    Parent(Option<BlockHash>),
    /// `None` where the node does not know the block.
    Block(Option<Block>),
    /// The wait is over.
    Woken,
}

/// Why the chain cannot be followed. The follower stays where it is and asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FollowError {
    /// Our block is not in the best chain, and the node cannot tell what is below it: the node's data was replaced, or
    /// the position is another network's.
    #[error("the Bitcoin node does not know block {hash} at height {height}, from which we follow")]
    UnknownPosition {
        /// Our height.
        height: BtcHeight,
        /// Our block.
        hash: BlockHash,
    },
    /// A block of the best chain is not there.
    #[error("the Bitcoin node names block {hash} in its best chain and does not have it")]
    MissingBlock {
        /// The block.
        hash: BlockHash,
    },
    /// The node sent another block than asked for.
    #[error("expected block {expected}, found {found}")]
    WrongBlock {
        /// Asked for.
        expected: BlockHash,
        /// Sent.
        found: BlockHash,
    },
    /// Bitcoin's heights end here.
    #[error("height {0} is the last that can be numbered")]
    HeightOverflow(BtcHeight),
}

#[derive(Debug, Clone, Copy)]
enum State {
    Check,
    Compare,
    Parent,
    Extend,
    Confirm,
    Fetch(BlockHash),
    Wait(BtcHeight),
}

/// See the module's table.
#[derive(Debug)]
pub struct Follower {
    tip: BlockPosition,
    /// Hashes of the blocks below the tip, its parent last; as many as we remember.
    ancestors: VecDeque<BlockHash>,
    state: State,
}

impl Follower {
    /// Follows from a block on: its first event is a child of `start`, or `start` itself leaving the best chain.
    pub fn new(start: BlockPosition) -> Self {
        Self {
            tip: start,
            ancestors: VecDeque::new(),
            state: State::Check,
        }
    }

    /// The tip that the events so far have led to.
    pub fn position(&self) -> BlockPosition {
        self.tip
    }

    /// The question that the node should answer next.
    pub fn query(&self) -> Query {
        match self.state {
            State::Check => Query::HashAt(self.tip.height),
            State::Compare | State::Confirm => Query::Tip,
            State::Parent => Query::Parent(self.tip.hash),
            State::Extend => Query::HashAt(self.tip.height.saturating_add(1)),
            State::Fetch(hash) => Query::Block(hash),
            State::Wait(height) => Query::WaitFor(height),
        }
    }

    /// Takes the answer to [`Self::query`]; an answer to another kind of question changes nothing.
    ///
    /// # Errors
    /// - [`FollowError`] where the chain cannot be followed; the next query starts over from the same position.
    pub fn answer(&mut self, answer: Answer) -> Result<Option<BlockEvent>, FollowError> {
        let result = self.step(answer);
        if result.is_err() {
            self.state = State::Check;
        }
        result
    }

    fn step(&mut self, answer: Answer) -> Result<Option<BlockEvent>, FollowError> {
        self.state = match (self.state, answer) {
            (State::Check, Answer::HashAt(Some(hash))) if hash == self.tip.hash => State::Extend,
            (State::Check, Answer::HashAt(Some(_))) => return self.leave(),
            (State::Check, Answer::HashAt(None)) => State::Compare,

            (State::Compare, Answer::Tip(tip)) if tip.height >= self.tip.height => State::Check,
            (State::Compare, Answer::Tip(tip)) => match self.known_at(tip.height) {
                Some(ours) if ours != tip.hash => return self.leave(),
                Some(_) | None => State::Wait(self.tip.height),
            },

            (State::Parent, Answer::Parent(Some(parent))) => {
                self.ancestors.push_back(parent);
                return self.leave();
            }
            (State::Parent, Answer::Parent(None)) => return Err(self.unknown_position()),

            (State::Extend, Answer::HashAt(Some(hash))) => State::Fetch(hash),
            (State::Extend, Answer::HashAt(None)) => State::Confirm,

            // Without this, a chain that was replaced while we extended ours would be waited for.
            (State::Confirm, Answer::Tip(tip)) if tip == self.tip => {
                State::Wait(self.tip.height.saturating_add(1))
            }
            (State::Confirm, Answer::Tip(_)) => State::Check,

            (State::Fetch(hash), Answer::Block(Some(block))) => return self.connect(hash, block),
            (State::Fetch(hash), Answer::Block(None)) => {
                return Err(FollowError::MissingBlock { hash });
            }

            (State::Wait(_), Answer::Woken) => State::Check,
            (state, _) => state,
        };
        Ok(None)
    }

    /// Our block at a height, as far as we remember.
    fn known_at(&self, height: BtcHeight) -> Option<BlockHash> {
        let depth = self.tip.height.get().checked_sub(height.get())? as usize;
        if depth == 0 {
            return Some(self.tip.hash);
        }
        let index = self.ancestors.len().checked_sub(depth)?;
        self.ancestors.get(index).copied()
    }

    /// Disconnects our block, or first asks for its parent.
    fn leave(&mut self) -> Result<Option<BlockEvent>, FollowError> {
        // A chain with another genesis block is no reorganisation.
        let height = self.tip.height.checked_sub(1);
        let height = height.ok_or(self.unknown_position())?;
        let Some(hash) = self.ancestors.pop_back() else {
            self.state = State::Parent;
            return Ok(None);
        };
        self.state = State::Check;
        let left = std::mem::replace(&mut self.tip, BlockPosition { height, hash });
        Ok(Some(BlockEvent::Disconnected(left)))
    }

    fn connect(
        &mut self,
        expected: BlockHash,
        block: Block,
    ) -> Result<Option<BlockEvent>, FollowError> {
        let found = block.block_hash();
        if found != expected {
            return Err(FollowError::WrongBlock { expected, found });
        }
        if block.header.prev_blockhash != self.tip.hash {
            // The best chain changed since we asked for our own height.
            self.state = State::Check;
            return Ok(None);
        }
        let height = self.tip.height.checked_add(1);
        let height = height.ok_or(FollowError::HeightOverflow(self.tip.height))?;
        self.ancestors.push_back(self.tip.hash);
        if self.ancestors.len() > REMEMBERED {
            self.ancestors.pop_front();
        }
        self.tip = BlockPosition {
            height,
            hash: found,
        };
        self.state = State::Extend;
        Ok(Some(BlockEvent::Connected(ConnectedBlock {
            position: self.tip,
            block: Arc::new(block),
        })))
    }

    fn unknown_position(&self) -> FollowError {
        FollowError::UnknownPosition {
            height: self.tip.height,
            hash: self.tip.hash,
        }
    }
}

#[cfg(test)]
mod tests;
