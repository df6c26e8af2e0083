//! A leader's block before it has a payload: body, header fields and the attributes to build the payload with.

use crate::check::{Parent, fee_payment};
use crate::error::BlockRuleError;
use crate::payload::{PayloadAttributes, payload_attributes};
use crate::scan::Advance;
use crate::withdrawals::{FeePayment, expected_withdrawals};
use alys_protocol::block::Block;
use alys_protocol::body::{Body, PowRecord};
use alys_protocol::bounded::{BoundedVec, TooLong};
use alys_protocol::bytes::{BlockId, ExecutionHash, HistoryRoot};
use alys_protocol::certificate::Certificate;
use alys_protocol::execution::ExecutionPayload;
use alys_protocol::header::{Header, PowState};
use alys_protocol::peg::BatchRecord;
use alys_protocol::spec::Chain;
use alys_protocol::units::{SideHeight, Slot, Wei};
use thiserror::Error;

/// A proof-of-work record to put into a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowPlan {
    /// The record.
    pub record: PowRecord,
    /// Height of the last block of its range.
    pub end_height: SideHeight,
    /// Id of that block.
    pub end: BlockId,
    /// The vault's balance after the parent.
    pub vault_balance: Wei,
}

/// What a leader puts into its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// Certificate of the parent; none where the parent is genesis.
    pub parent_certificate: Option<Certificate>,
    /// From [`plan_advance`](crate::plan_advance) over the parent's ledger.
    pub advance: Advance,
    /// From [`next_batch`](crate::next_batch) or [`replacement`](crate::replacement) over `advance.consumed.state`.
    pub batch: Option<BatchRecord>,
    /// A found share, if any.
    pub pow: Option<PowPlan>,
}

/// A block without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The body.
    pub body: Body,
    /// The attributes to build the payload with.
    pub attributes: PayloadAttributes,
    /// The header, but for the execution hash, which is zero.
    header: Header,
}

/// A draft that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DraftError {
    /// A rule that the block would break.
    #[error(transparent)]
    Rule(#[from] BlockRuleError),
    /// Too many transactions for one body.
    #[error("consumed transactions: {0}")]
    TooLong(#[from] TooLong),
    /// The slot or the height is beyond what can be written.
    #[error("slot {slot} on height {height} is beyond what a block can have")]
    Range {
        /// The slot.
        slot: Slot,
        /// The parent's height.
        height: SideHeight,
    },
}

/// Drafts a block in `slot` on top of `parent`. `history_root` is of the parent's history with the parent's id appended.
///
/// # Errors
/// - [`DraftError::Rule`] where amounts do not add up;
/// - [`DraftError::TooLong`], [`DraftError::Range`] where a limit is exceeded.
pub fn draft(
    chain: &Chain,
    parent: &Parent<'_>,
    slot: Slot,
    history_root: HistoryRoot,
    choices: Choices,
) -> Result<Draft, DraftError> {
    let Choices {
        parent_certificate,
        advance,
        batch,
        pow,
    } = choices;
    let range = DraftError::Range {
        slot,
        height: parent.header.height,
    };
    let height = parent.header.height.checked_add(1).ok_or(range.clone())?;
    let fees = match &pow {
        None => None,
        Some(plan) => Some(fee_payment(
            chain,
            parent.header,
            &plan.record,
            Some(plan.vault_balance),
        )?),
    };
    let withdrawals = expected_withdrawals(chain, height, &advance.consumed.mints, fees.as_ref())
        .map_err(BlockRuleError::from)?;
    let attributes =
        payload_attributes(chain, parent.id, parent.header, slot, withdrawals).ok_or(range)?;
    let pow_state = pow.as_ref().map_or(parent.header.pow, |plan| PowState {
        count: parent.header.pow.count.saturating_add(1),
        height: plan.end_height,
        id: plan.end,
    });
    let next_burn = match &batch {
        Some(batch) if batch.replaces.is_none() => batch.next_burn,
        Some(_) | None => parent.header.next_burn,
    };
    let paid = fees.map_or(Wei::ZERO, |fees: FeePayment| fees.shares.paid);
    let body = Body {
        parent_certificate,
        consumed: BoundedVec::new(advance.transactions)?,
        pow: pow.map(|plan| plan.record),
        batch,
    };
    let header = Header {
        version: Header::VERSION,
        chain_id: chain.id(),
        epoch: parent.header.epoch,
        height,
        slot,
        parent: parent.id,
        history_root,
        execution_hash: ExecutionHash::ZERO,
        bitcoin: advance.cursor,
        next_burn,
        pow: pow_state,
        fees_distributed: parent.header.fees_distributed.saturating_add(paid.get()),
        body_root: body.root(chain.id()).map_err(BlockRuleError::from)?,
    };
    Ok(Draft {
        body,
        attributes,
        header,
    })
}

impl Draft {
    /// The block with the payload that the execution client built.
    pub fn into_block(self, payload: ExecutionPayload) -> Block {
        Block {
            header: Header {
                execution_hash: payload.block_hash,
                ..self.header
            },
            body: self.body,
            payload,
        }
    }
}
