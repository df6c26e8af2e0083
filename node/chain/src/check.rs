//! The block rules: what follows from the parent and the body, compared with what the block says.
//!
//! The header's consensus fields (version, chain, epoch, slot, history, leader, certificates) are `alys-consensus`'s;
//! execution is the execution client's. Everything else of a block is decided here.

use crate::batch::{next_batch, replacement};
use crate::burns::BurnError;
use crate::consume::{Consumed, Mint, Settlement, consume};
use crate::error::BlockRuleError;
use crate::ledger::{PegState, Utxo};
use crate::payload::check_payload;
use crate::pow::check_pow;
use crate::proof::{MAX_PROOF_BYTES, proofs_fit};
use crate::scan::{BitcoinFacts, is_deep};
use crate::withdrawals::{FeePayment, expected_withdrawals, fee_distribution};
use alys_protocol::block::Block;
use alys_protocol::body::{Body, PowRecord};
use alys_protocol::bytes::{BatchId, BlockId};
use alys_protocol::execution::{ExecutionPayload, Withdrawal};
use alys_protocol::header::Header;
use alys_protocol::peg::{BatchRecord, Burn, ConsumedTransaction};
use alys_protocol::spec::Chain;
use alys_protocol::units::{SideHeight, Wei};
use bitcoin::OutPoint;
use thiserror::Error;

/// The parent of the block in question.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// Its id.
    pub id: BlockId,
    /// Its header.
    pub header: &'a Header,
    /// The ledger after it.
    pub peg: &'a PegState,
    /// F(B): the newest final height that the block's chain implies, up to the parent and with the parent's certificate in
    /// the block's body (design 5).
    pub implied_final: SideHeight,
}

/// What the shell has looked up for a block; `None` where it cannot yet.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Our own Bitcoin node's view of the range that the block consumes. Not looked at where the cursor stays.
    pub bitcoin: Option<&'a BitcoinFacts>,
    /// The vault's balance after the parent. Not looked at without a proof-of-work record.
    pub vault_balance: Option<Wei>,
    /// The id at a height of this block's chain. Not called without a proof-of-work record.
    pub ancestor: &'a (dyn Fn(SideHeight) -> Option<BlockId> + Sync),
}

/// A block that keeps every rule here; its execution is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Deposits that it credits.
    pub mints: Vec<Mint>,
    /// Batches that Bitcoin confirmed in the range it consumes.
    pub settled: Vec<Settlement>,
    /// New outputs that credit nobody, for the operators.
    pub unattributable: Vec<(OutPoint, Utxo)>,
    /// The batch that it records.
    pub batch: Option<BatchId>,
    /// The fees that it pays out.
    pub fees: Option<FeePayment>,
    peg: PegState,
}

impl Checked {
    /// The ledger before the block's own burns.
    pub fn peg(&self) -> &PegState {
        &self.peg
    }

    /// The ledger after the block: with its burns, from [`burns_of_block`](crate::burns_of_block), and the base fee that it
    /// burned.
    ///
    /// # Errors
    /// - [`BurnError::Sequence`] where the burns do not continue the queue;
    /// - [`BurnError::Overflow`] where the totals do not fit.
    pub fn finish(
        self,
        payload: &ExecutionPayload,
        burns: Vec<Burn>,
    ) -> Result<PegState, BurnError> {
        let mut peg = self.peg;
        finish(&mut peg, payload, burns)?;
        Ok(peg)
    }
}

fn finish(
    peg: &mut PegState,
    payload: &ExecutionPayload,
    burns: Vec<Burn>,
) -> Result<(), BurnError> {
    let base_fees = payload
        .base_fee_per_gas
        .get()
        .checked_mul(u128::from(payload.gas_used))
        .ok_or(BurnError::Overflow)?;
    peg.totals.base_fees = peg
        .totals
        .base_fees
        .checked_add(base_fees)
        .ok_or(BurnError::Overflow)?;
    peg.add_burns(burns)
}

/// Checks a block against its parent.
///
/// # Errors
/// - [`BlockRuleError`], one variant for each rule; [`BlockRuleError::class`] says whether to refuse or to ask again.
pub fn check_block(
    chain: &Chain,
    parent: &Parent<'_>,
    block: &Block,
    facts: &Facts<'_>,
) -> Result<Checked, BlockRuleError> {
    let header = &block.header;
    check_links(parent, header)?;
    check_payload(chain, parent, block)?;
    let root = block.body.root(chain.id())?;
    if root != header.body_root {
        return Err(BlockRuleError::BodyRoot {
            expected: header.body_root,
            found: root,
        });
    }
    let Transition { consumed, batch } =
        transition(chain, parent.peg, parent.header, header, &block.body)?;
    let pow = check_pow(chain, parent, header, &block.body, facts.ancestor)?;
    check_bitcoin(chain, parent, header, &block.body.consumed, facts.bitcoin)?;
    let fees = match pow {
        None => None,
        Some(record) => Some(fee_payment(
            chain,
            parent.header,
            record,
            facts.vault_balance,
        )?),
    };
    check_fees(parent.header, header, fees.as_ref())?;
    let expected = expected_withdrawals(chain, header.height, &consumed.mints, fees.as_ref())?;
    check_withdrawals(&expected, &block.payload.withdrawals)?;
    Ok(Checked {
        mints: consumed.mints,
        settled: consumed.settled,
        unattributable: consumed.unattributable,
        batch,
        fees,
        peg: consumed.state,
    })
}

fn check_links(parent: &Parent<'_>, header: &Header) -> Result<(), BlockRuleError> {
    if header.parent != parent.id {
        return Err(BlockRuleError::Parent {
            expected: parent.id,
            found: header.parent,
        });
    }
    if parent.header.height.checked_add(1) != Some(header.height) {
        return Err(BlockRuleError::Height {
            parent: parent.header.height,
            found: header.height,
        });
    }
    let (cursor, next_burn) = (*parent.peg.cursor(), parent.peg.next_burn());
    if cursor != parent.header.bitcoin || next_burn != parent.header.next_burn {
        return Err(BlockRuleError::Ledger {
            expected: parent.header.bitcoin,
            next_burn: parent.header.next_burn,
            found: cursor,
            found_burn: next_burn,
        });
    }
    Ok(())
}

struct Transition {
    consumed: Consumed,
    batch: Option<BatchId>,
}

/// What a body does to the ledger: consumption first, then the batch.
fn transition(
    chain: &Chain,
    peg: &PegState,
    parent: &Header,
    header: &Header,
    body: &Body,
) -> Result<Transition, BlockRuleError> {
    let mut consumed = consume(chain, peg, &header.bitcoin, &body.consumed)?;
    let batch = match &body.batch {
        None => None,
        Some(record) => Some(record_batch(
            chain,
            &mut consumed.state,
            parent,
            header,
            record,
        )?),
    };
    let expected = consumed.state.next_burn();
    if header.next_burn != expected {
        return Err(BlockRuleError::NextBurn {
            expected,
            found: header.next_burn,
        });
    }
    Ok(Transition { consumed, batch })
}

/// "The transaction is a deterministic function of ledger and fee rate, so every node recomputes it."
fn record_batch(
    chain: &Chain,
    state: &mut PegState,
    parent: &Header,
    header: &Header,
    record: &BatchRecord,
) -> Result<BatchId, BlockRuleError> {
    let expected = match record.replaces {
        None => next_batch(
            chain,
            state,
            parent.pow.height,
            header.slot,
            record.fee_rate,
            &record.skipped,
        ),
        Some(replaces) => replacement(chain, state, replaces, header.slot, record.fee_rate),
    }
    .map_err(BlockRuleError::NoBatch)?;
    let id = record.id(chain.id());
    let mismatch = BlockRuleError::Batch {
        expected: expected.id(chain.id()),
        found: id,
    };
    if expected != *record {
        return Err(mismatch);
    }
    state
        .record_batch(chain, record, header.slot, header.height)
        .ok_or(mismatch)?;
    Ok(id)
}

/// "Nothing is skipped (nodes check that against their own Bitcoin node)."
fn check_bitcoin(
    chain: &Chain,
    parent: &Parent<'_>,
    header: &Header,
    consumed: &[ConsumedTransaction],
    facts: Option<&BitcoinFacts>,
) -> Result<(), BlockRuleError> {
    let cursor = header.bitcoin;
    if cursor == parent.header.bitcoin {
        return Ok(());
    }
    let height = cursor.height;
    let facts = facts.ok_or(BlockRuleError::BitcoinUnknown { height })?;
    if !is_deep(chain, height, facts.tip) {
        return Err(BlockRuleError::BitcoinDepth {
            height,
            confirmations: chain.spec().deposits.confirmations,
            tip: facts.tip,
        });
    }
    if facts.hash != cursor.hash {
        return Err(BlockRuleError::BitcoinBranch {
            height,
            ours: facts.hash,
            found: cursor.hash,
        });
    }
    match first_difference(&facts.consumed, consumed) {
        // No signer could be asked about such a block.
        None if !proofs_fit(consumed.len(), facts.proof_bytes) => Err(BlockRuleError::ProofBytes {
            maximum: MAX_PROOF_BYTES,
            found: facts.proof_bytes,
        }),
        None => Ok(()),
        Some((place, expected, found)) => {
            let position = |consumed: &ConsumedTransaction| (consumed.height, consumed.index);
            Err(BlockRuleError::Consumed {
                place,
                expected: expected.map(position),
                found: found.map(position),
            })
        }
    }
}

/// The shares of a record in a child of `parent`.
pub(crate) fn fee_payment(
    chain: &Chain,
    parent: &Header,
    record: &PowRecord,
    vault_balance: Option<Wei>,
) -> Result<FeePayment, BlockRuleError> {
    let balance = vault_balance.ok_or(BlockRuleError::VaultUnknown)?;
    Ok(FeePayment {
        miner: record.fee_recipient,
        shares: fee_distribution(balance, parent.fees_distributed, chain.roster().len())?,
    })
}

fn check_fees(
    parent: &Header,
    header: &Header,
    fees: Option<&FeePayment>,
) -> Result<(), BlockRuleError> {
    let paid = fees.map_or(Wei::ZERO, |fees| fees.shares.paid);
    let expected = parent.fees_distributed.saturating_add(paid.get());
    if header.fees_distributed != expected {
        return Err(BlockRuleError::FeesDistributed {
            expected,
            found: header.fees_distributed,
        });
    }
    Ok(())
}

fn check_withdrawals(expected: &[Withdrawal], found: &[Withdrawal]) -> Result<(), BlockRuleError> {
    match first_difference(expected, found) {
        None => Ok(()),
        Some((place, expected, found)) => Err(BlockRuleError::Withdrawals {
            place,
            expected: expected.copied().map(Box::new),
            found: found.copied().map(Box::new),
        }),
    }
}

fn first_difference<'a, T: PartialEq>(
    expected: &'a [T],
    found: &'a [T],
) -> Option<(usize, Option<&'a T>, Option<&'a T>)> {
    (0..expected.len().max(found.len()))
        .map(|place| (place, expected.get(place), found.get(place)))
        .find(|(_, expected, found)| expected != found)
}

/// What a certified block did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The ledger after it.
    pub state: PegState,
    /// Deposits that it credited.
    pub mints: Vec<Mint>,
    /// Batches that Bitcoin confirmed in the range it consumed.
    pub settled: Vec<Settlement>,
    /// New outputs that credit nobody.
    pub unattributable: Vec<(OutPoint, Utxo)>,
}

/// A block that cannot be applied, though it is certified.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// Its body does not follow from the ledger.
    #[error(transparent)]
    Block(#[from] BlockRuleError),
    /// Its burns do not.
    #[error(transparent)]
    Burns(#[from] BurnError),
}

/// The ledger after a certified block, from the ledger after its parent: for rebuilding, where no Bitcoin node is asked.
///
/// # Errors
/// - [`ApplyError`] where body or burns do not follow from the ledger: it is not the parent's, or not our chain.
pub fn apply(
    chain: &Chain,
    parent: &Header,
    peg: &PegState,
    block: &Block,
    burns: Vec<Burn>,
) -> Result<Applied, ApplyError> {
    let Transition { consumed, .. } = transition(chain, peg, parent, &block.header, &block.body)?;
    let mut state = consumed.state;
    finish(&mut state, &block.payload, burns)?;
    Ok(Applied {
        state,
        mints: consumed.mints,
        settled: consumed.settled,
        unattributable: consumed.unattributable,
    })
}
