//! What consensus asks of an execution client, whichever it is.

use crate::engine::{EngineClient, EngineError, ForkChoice, PayloadAttributes, Verdict};
use crate::header::execution_block_hash;
use alys_protocol::bytes::{BlockId, Digest, EvmAddress, ExecutionHash};
use alys_protocol::execution::{ExecutionPayload, Withdrawal};
use alys_protocol::units::SideHeight;
use thiserror::Error;

/// EIP-2718 type of blob transactions (EIP-4844), which this chain does not have.
pub(crate) const BLOB_TRANSACTION_TYPE: u8 = 3;

/// A block to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadRequest {
    /// The execution block of the side chain's parent.
    pub parent: ExecutionHash,
    /// Height of the block to build: the parent's plus one.
    pub height: SideHeight,
    /// Unix seconds: `slot * duration / 1000`.
    pub timestamp: u64,
    /// `tagged("alys/randao/1", ..)`.
    pub prev_randao: Digest,
    /// The vault.
    pub fee_recipient: EvmAddress,
    /// Mints, in order.
    pub withdrawals: Vec<Withdrawal>,
    /// Id of the side chain's parent.
    pub parent_beacon_block_root: BlockId,
}

/// The three blocks that users see as `latest`, `safe` and `finalized` (design 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// The certified head.
    pub latest: ExecutionHash,
    /// The newest final block.
    pub safe: ExecutionHash,
    /// The newest proof-of-work final block.
    pub finalized: ExecutionHash,
}

/// Whether a payload may be voted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadStatus {
    /// Executed, and right.
    Valid,
    /// It never will be right.
    Invalid {
        /// What is wrong.
        reason: String,
        /// Its nearest valid ancestor, where known.
        latest_valid: Option<ExecutionHash>,
    },
    /// The client lacks an ancestor: give it that first, then ask again.
    Syncing,
    /// Stored, not executed: give the client its ancestors, then ask again.
    Accepted,
}

/// A request that the execution client did not fulfil.
#[derive(Debug, Error)]
pub enum ExecutionError {
    /// The Engine API call failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The head is not known, or its ancestors are missing: give the client the payloads up to it first.
    #[error(
        "the execution client cannot follow head {head} yet: it lacks the block or an ancestor"
    )]
    NotReady {
        /// The head asked for.
        head: ExecutionHash,
    },
    /// The client holds the head for invalid.
    #[error("the execution client holds head {head} for invalid: {reason}")]
    HeadInvalid {
        /// The head asked for.
        head: ExecutionHash,
        /// The client's words.
        reason: String,
    },
    /// The client took the fork choice and began no build.
    #[error(
        "the execution client began no build on {parent}: it may hold it for an ancestor of the finalized block"
    )]
    NoBuild {
        /// The parent asked for.
        parent: ExecutionHash,
    },
    /// The client built something else than it was told to.
    #[error("built payload: expected {field} {expected}, found {found}")]
    Mismatch {
        /// The field that differs.
        field: &'static str,
        /// What was asked for.
        expected: String,
        /// What was built.
        found: String,
    },
}

/// An execution client behind the Engine API: Geth, Reth or the embedded one.
#[derive(Debug)]
pub struct ExecutionClient {
    engine: EngineClient,
}

impl ExecutionClient {
    /// Wraps an Engine API.
    pub const fn new(engine: EngineClient) -> Self {
        Self { engine }
    }

    /// The Engine API underneath.
    pub const fn engine(&self) -> &EngineClient {
        &self.engine
    }

    /// Builds a block on `request.parent`, which has to be certified: building makes it the client's `latest`.
    ///
    /// `safe` and `finalized` go with it, since an Engine API build is a fork choice with attributes.
    ///
    /// # Errors
    /// - [`ExecutionError::Engine`] where a call fails;
    /// - [`ExecutionError::NotReady`] or [`ExecutionError::HeadInvalid`] where the client does not have the parent;
    /// - [`ExecutionError::NoBuild`] where it does not build on it;
    /// - [`ExecutionError::Mismatch`] where the block differs from the request, has blobs or requests, or its hash
    ///   is not that of its header.
    pub async fn build_payload(
        &self,
        request: &PayloadRequest,
        safe: ExecutionHash,
        finalized: ExecutionHash,
    ) -> Result<ExecutionPayload, ExecutionError> {
        let attributes = PayloadAttributes {
            timestamp: request.timestamp,
            prev_randao: request.prev_randao,
            fee_recipient: request.fee_recipient,
            withdrawals: request.withdrawals.clone(),
            parent_beacon_block_root: request.parent_beacon_block_root,
        };
        let choice = ForkChoice {
            head: request.parent,
            safe,
            finalized,
        };
        let answer = self
            .engine
            .forkchoice_updated(choice, Some(&attributes))
            .await?;
        followed(request.parent, answer.verdict)?;
        let id = answer.payload_id.ok_or(ExecutionError::NoBuild {
            parent: request.parent,
        })?;
        let built = self.engine.get_payload(id).await?;
        check_built(request, &built.payload, built.requests)?;
        Ok(built.payload)
    }

    /// Has a payload executed. What can be seen without executing it is checked here first.
    ///
    /// # Errors
    /// - [`ExecutionError::Engine`] where the call fails; that says nothing about the payload.
    pub async fn validate(
        &self,
        payload: &ExecutionPayload,
        parent_beacon_block_root: BlockId,
    ) -> Result<PayloadStatus, ExecutionError> {
        if let Some(reason) = plain_fault(payload, parent_beacon_block_root) {
            return Ok(PayloadStatus::Invalid {
                reason,
                latest_valid: None,
            });
        }
        Ok(
            match self
                .engine
                .new_payload(payload, parent_beacon_block_root)
                .await?
            {
                Verdict::Valid => PayloadStatus::Valid,
                Verdict::Invalid {
                    reason,
                    latest_valid,
                } => PayloadStatus::Invalid {
                    reason,
                    latest_valid,
                },
                Verdict::Syncing => PayloadStatus::Syncing,
                Verdict::Accepted => PayloadStatus::Accepted,
            },
        )
    }

    /// Makes blocks that were validated before the client's `latest`, `safe` and `finalized`. Repeating it is harmless.
    ///
    /// # Errors
    /// - [`ExecutionError::Engine`] where the call fails;
    /// - [`ExecutionError::NotReady`] where the client lacks the head or its state;
    /// - [`ExecutionError::HeadInvalid`] where it holds it for invalid.
    pub async fn set_heads(&self, heads: Heads) -> Result<(), ExecutionError> {
        let choice = ForkChoice {
            head: heads.latest,
            safe: heads.safe,
            finalized: heads.finalized,
        };
        let answer = self.engine.forkchoice_updated(choice, None).await?;
        followed(heads.latest, answer.verdict)
    }
}

fn followed(head: ExecutionHash, verdict: Verdict) -> Result<(), ExecutionError> {
    match verdict {
        Verdict::Valid => Ok(()),
        Verdict::Syncing | Verdict::Accepted => Err(ExecutionError::NotReady { head }),
        Verdict::Invalid { reason, .. } => Err(ExecutionError::HeadInvalid { head, reason }),
    }
}

/// What makes a payload invalid on this chain before any execution: blobs, or a hash that is not its header's.
fn plain_fault(payload: &ExecutionPayload, parent_beacon_block_root: BlockId) -> Option<String> {
    if payload.blob_gas_used != 0 || payload.excess_blob_gas != 0 {
        return Some(format!(
            "expected no blobs, found {} blob gas used and {} in excess",
            payload.blob_gas_used, payload.excess_blob_gas
        ));
    }
    let blob = payload
        .transactions
        .iter()
        .position(|bytes| bytes.first() == Some(&BLOB_TRANSACTION_TYPE));
    if let Some(place) = blob {
        return Some(format!(
            "expected no blobs, found a blob transaction at place {place}"
        ));
    }
    let hash = execution_block_hash(payload, parent_beacon_block_root);
    (hash != payload.block_hash)
        .then(|| format!("expected block hash {hash}, found {}", payload.block_hash))
}

/// A client is trusted with the order of transactions only: everything that we prescribed is compared.
fn check_built(
    request: &PayloadRequest,
    payload: &ExecutionPayload,
    requests: usize,
) -> Result<(), ExecutionError> {
    fn same<T: PartialEq + std::fmt::Debug>(
        field: &'static str,
        expected: T,
        found: T,
    ) -> Result<(), ExecutionError> {
        if expected == found {
            return Ok(());
        }
        Err(ExecutionError::Mismatch {
            field,
            expected: format!("{expected:?}"),
            found: format!("{found:?}"),
        })
    }
    same("parent", request.parent, payload.parent_hash)?;
    same("height", request.height, payload.block_number)?;
    same("timestamp", request.timestamp, payload.timestamp)?;
    same("prevRandao", request.prev_randao, payload.prev_randao)?;
    same(
        "fee recipient",
        request.fee_recipient,
        payload.fee_recipient,
    )?;
    same(
        "withdrawals",
        request.withdrawals.as_slice(),
        &payload.withdrawals,
    )?;
    same("execution requests", 0, requests)?;
    match plain_fault(payload, request.parent_beacon_block_root) {
        None => Ok(()),
        Some(found) => Err(ExecutionError::Mismatch {
            field: "content",
            expected: "a sound block".to_owned(),
            found,
        }),
    }
}
