//! The follower's shell: asks a real node, waits without polling tightly, and survives the node's absence.

use crate::backoff::Backoff;
use crate::chain::BlockPosition;
use crate::client::{BitcoinClient, random};
use crate::error::RpcError;
use crate::follower::{Answer, BlockEvent, FollowError, Follower, Query};
use std::time::Duration;
use thiserror::Error;

/// Pauses while the node is unreachable; the client's own retries and circuit breaker come before it.
const PAUSE: Backoff = Backoff {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(10),
};

/// Why there is no next event. The stream stays where it is; asking again continues there.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The node answers, and its answer does not help: a wrong node, pruned blocks.
    #[error(transparent)]
    Rpc(RpcError),
    /// The node's chain cannot be followed from here.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

/// The best chain's events from a given block on, in exact order, across reorganisations and restarts of the node.
#[derive(Debug)]
pub struct BlockStream {
    client: BitcoinClient,
    follower: Follower,
    longest_wait: Duration,
    failures: u32,
}

impl BlockStream {
    /// Follows from a block on: the first event is a child of `start`, or `start` leaving the best chain.
    ///
    /// New blocks are noticed at once, since the node holds our question until there is one (long polling).
    /// `longest_wait` is the fallback: at the latest then, the chain is looked at again, which notices a tip that was
    /// replaced without a higher one (rare outside tests). It is cut to 30 s.
    pub fn new(client: BitcoinClient, start: BlockPosition, longest_wait: Duration) -> Self {
        Self {
            client,
            follower: Follower::new(start),
            longest_wait,
            failures: 0,
        }
    }

    /// The tip that the events so far have led to.
    pub fn position(&self) -> BlockPosition {
        self.follower.position()
    }

    /// Waits for the next event, however long, also while the node is unreachable.
    ///
    /// Safe to cancel: an event is either returned or still to come.
    ///
    /// # Errors
    /// - [`StreamError`] where waiting does not help.
    pub async fn next(&mut self) -> Result<BlockEvent, StreamError> {
        loop {
            if let Some(event) = self.step().await? {
                return Ok(event);
            }
        }
    }

    /// The next event, or `None` as soon as the node has no more. Waits only while the node is unreachable.
    ///
    /// Safe to cancel, like [`Self::next`].
    ///
    /// # Errors
    /// - [`StreamError`] where waiting does not help.
    pub async fn next_available(&mut self) -> Result<Option<BlockEvent>, StreamError> {
        // A wait from before is over.
        self.follower.answer(Answer::Woken)?;
        while !matches!(self.follower.query(), Query::WaitFor(_)) {
            if let Some(event) = self.step().await? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    async fn step(&mut self) -> Result<Option<BlockEvent>, StreamError> {
        match self.ask(self.follower.query()).await {
            Ok(answer) => {
                if self.failures > 0 {
                    tracing::info!(position = %self.position(), "Bitcoin node answers again");
                    self.failures = 0;
                }
                Ok(self.follower.answer(answer)?)
            }
            Err(error) if error.is_unreachable() => {
                self.pause(&error).await;
                Ok(None)
            }
            Err(error) => Err(StreamError::Rpc(error)),
        }
    }

    async fn pause(&mut self, error: &RpcError) {
        if self.failures == 0 {
            tracing::warn!(%error, position = %self.position(), "Bitcoin blocks cannot be followed for now");
        }
        self.failures = self.failures.saturating_add(1);
        let wait = match error {
            RpcError::CircuitOpen { retry_in, .. } => (*retry_in).max(PAUSE.first),
            _ => PAUSE.wait(self.failures, random()),
        };
        // A node that comes back may have lost blocks: then look at our own height before waiting for a higher one.
        // Noted before the pause, in which we may be cancelled.
        let _ = self.follower.answer(Answer::Woken);
        tokio::time::sleep(wait).await;
    }

    async fn ask(&self, query: Query) -> Result<Answer, RpcError> {
        let client = &self.client;
        Ok(match query {
            Query::HashAt(height) => Answer::HashAt(client.block_hash(height).await?),
            Query::Tip => Answer::Tip(client.tip().await?),
            Query::Parent(hash) => {
                let info = client.header(hash).await?;
                Answer::Parent(info.map(|info| info.header.prev_blockhash))
            }
            Query::Block(hash) => Answer::Block(client.block(hash).await?),
            Query::WaitFor(height) => {
                match client.wait_for_height(height, self.longest_wait).await {
                    // A node that stops answers waiting calls with whatever it has.
                    Ok(_) | Err(RpcError::Refused { .. } | RpcError::Malformed { .. }) => {}
                    Err(error) => return Err(error),
                }
                Answer::Woken
            }
        })
    }
}
