//! Gossip between nodes: the content of each topic, postcard-encoded.

use alys_protocol::body::MAX_AUXPOW_BYTES;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BatchId, BlockId, EvmAddress};
use alys_protocol::peg::MAX_BATCH_INPUTS;
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::units::MemberId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A share for a range: any leader may put it into its block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuxPowMessage {
    pub(crate) start: BlockId,
    pub(crate) end: BlockId,
    pub(crate) fee_recipient: EvmAddress,
    pub(crate) auxpow: BoundedVec<u8, MAX_AUXPOW_BYTES>,
}

/// A member's signatures for a recorded batch, one per input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PegOutShare {
    pub(crate) batch: BatchId,
    pub(crate) member: MemberId,
    pub(crate) signatures: BoundedVec<SchnorrSignature, MAX_BATCH_INPUTS>,
}

/// Decodes a whole message; bytes left over make it none.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Some(message),
        Ok(_) | Err(_) => None,
    }
}
