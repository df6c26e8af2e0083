//! Proof-of-work records: when a block needs one, and which (design 6).

use crate::check::Parent;
use crate::error::BlockRuleError;
use alys_protocol::asert;
use alys_protocol::auxpow::{AuxPow, AuxPowError};
use alys_protocol::body::{Body, PowRecord};
use alys_protocol::bytes::BlockId;
use alys_protocol::header::{Header, PowState, bundle_hash};
use alys_protocol::spec::Chain;
use alys_protocol::units::{SideHeight, Slot};

/// The range that the record finalises, and its work; the record where there is one.
pub(crate) fn check_pow<'a>(
    chain: &Chain,
    parent: &Parent<'_>,
    header: &Header,
    body: &'a Body,
    ancestor: &dyn Fn(SideHeight) -> Option<BlockId>,
) -> Result<Option<&'a PowRecord>, BlockRuleError> {
    let before = parent.header.pow;
    let Some(record) = &body.pow else {
        check_distance(chain, &before, parent.implied_final)?;
        if header.pow != before {
            return Err(BlockRuleError::PowState {
                expected: before,
                found: header.pow,
            });
        }
        return Ok(None);
    };
    // "Bundle = the child of parent.pow.id up to T, with T <= F(B)."
    let end = header.pow.height;
    if end <= before.height || end > parent.implied_final {
        return Err(BlockRuleError::PowEnd {
            above: before.height,
            at_most: parent.implied_final,
            found: end,
        });
    }
    let id_at = |height| ancestor(height).ok_or(BlockRuleError::AncestorUnknown { height });
    let start = id_at(before.height.saturating_add(1))?;
    if record.start != start {
        return Err(BlockRuleError::PowStart {
            expected: start,
            found: record.start,
        });
    }
    let expected = PowState {
        count: before.count.saturating_add(1),
        height: end,
        id: id_at(end)?,
    };
    if header.pow != expected {
        return Err(BlockRuleError::PowState {
            expected,
            found: header.pow,
        });
    }
    check_work(chain, parent.header, header.slot, record, expected.id)?;
    Ok(Some(record))
}

/// "B needs a record if and only if F(B) - parent.pow.height > max_blocks_without_pow."
///
/// # Errors
/// - [`BlockRuleError::PowMissing`] where a child of a block with `parent_pow` needs a record.
pub fn check_distance(
    chain: &Chain,
    parent_pow: &PowState,
    implied_final: SideHeight,
) -> Result<(), BlockRuleError> {
    let distance = implied_final.get().saturating_sub(parent_pow.height.get());
    let maximum = chain.spec().mining.max_blocks_without_pow;
    if distance > maximum {
        return Err(BlockRuleError::PowMissing { distance, maximum });
    }
    Ok(())
}

/// Whether a share over the range from `record.start` to `end` is good enough for a child of `parent` in `slot`.
///
/// # Errors
/// - [`AuxPowError`], one variant for each thing that can be wrong with it.
pub fn check_work(
    chain: &Chain,
    parent: &Header,
    slot: Slot,
    record: &PowRecord,
    end: BlockId,
) -> Result<(), AuxPowError> {
    let bundle = bundle_hash(chain.id(), record.start, end, record.fee_recipient);
    let mining = &chain.spec().mining;
    let target = asert::target(mining, chain.genesis().slot, parent.pow.count, slot);
    AuxPow::decode(&record.auxpow)?.verify(mining.aux_chain_id, &bundle, &target)
}
