//! The execution payload: what to build it with, and what must be in it (design 7).

use crate::check::Parent;
use crate::error::BlockRuleError;
use alys_protocol::block::Block;
use alys_protocol::bytes::{BlockId, Digest, EvmAddress, ExecutionHash};
use alys_protocol::execution::Withdrawal;
use alys_protocol::header::{Header, prev_randao};
use alys_protocol::spec::Chain;
use alys_protocol::units::{SideHeight, Slot};

/// What the execution client builds a payload with (design 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadAttributes {
    /// The execution block to build on.
    pub parent: ExecutionHash,
    /// Height of the payload.
    pub height: SideHeight,
    /// Unix time in seconds.
    pub timestamp: u64,
    /// `tagged("alys/randao/1", chain_id, parent_id, slot)`.
    pub prev_randao: Digest,
    /// The vault.
    pub fee_recipient: EvmAddress,
    /// Mints, exactly.
    pub withdrawals: Vec<Withdrawal>,
    /// Id of the side block's parent.
    pub parent_beacon_block_root: BlockId,
}

/// The attributes of the payload in `slot` on top of a parent; `None` where the slot has no time or the height none above.
pub fn payload_attributes(
    chain: &Chain,
    parent_id: BlockId,
    parent: &Header,
    slot: Slot,
    withdrawals: Vec<Withdrawal>,
) -> Option<PayloadAttributes> {
    Some(PayloadAttributes {
        parent: parent.execution_hash,
        height: parent.height.checked_add(1)?,
        timestamp: chain.timestamp(slot)?,
        prev_randao: Digest::new(prev_randao(chain.id(), parent_id, slot)),
        fee_recipient: chain.spec().execution.vault,
        withdrawals,
        parent_beacon_block_root: parent_id,
    })
}

/// The payload's fields that consensus decides.
pub(crate) fn check_payload(
    chain: &Chain,
    parent: &Parent<'_>,
    block: &Block,
) -> Result<(), BlockRuleError> {
    let (header, payload) = (&block.header, &block.payload);
    let execution = &chain.spec().execution;
    if payload.block_hash != header.execution_hash {
        return Err(BlockRuleError::ExecutionHash {
            expected: header.execution_hash,
            found: payload.block_hash,
        });
    }
    if payload.parent_hash != parent.header.execution_hash {
        return Err(BlockRuleError::PayloadParent {
            expected: parent.header.execution_hash,
            found: payload.parent_hash,
        });
    }
    if payload.block_number != header.height {
        return Err(BlockRuleError::PayloadNumber {
            expected: header.height,
            found: payload.block_number,
        });
    }
    let expected = chain.timestamp(header.slot);
    if expected != Some(payload.timestamp) {
        return Err(BlockRuleError::Timestamp {
            slot: header.slot,
            expected,
            found: payload.timestamp,
        });
    }
    if payload.fee_recipient != execution.vault {
        return Err(BlockRuleError::FeeRecipient {
            expected: execution.vault,
            found: payload.fee_recipient,
        });
    }
    let expected = Digest::new(prev_randao(chain.id(), parent.id, header.slot));
    if payload.prev_randao != expected {
        return Err(BlockRuleError::PrevRandao {
            expected,
            found: payload.prev_randao,
        });
    }
    // "Gas limit of genesis, which builders keep."
    if payload.gas_limit != execution.gas_limit {
        return Err(BlockRuleError::GasLimit {
            expected: execution.gas_limit,
            found: payload.gas_limit,
        });
    }
    if payload.blob_gas_used != 0 || payload.excess_blob_gas != 0 {
        return Err(BlockRuleError::Blobs {
            used: payload.blob_gas_used,
            excess: payload.excess_blob_gas,
        });
    }
    Ok(())
}
