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

/// Decodes a whole message. Bytes left over make it none, and so does any other encoding than its own: a number at
/// greater length would be the same message under another gossip id, forwarded once more.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (message, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    let again = postcard::to_allocvec(&message).ok()?;
    (rest.is_empty() && again == bytes).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_encoding() {
        let share = PegOutShare {
            batch: BatchId::new([1; 32]),
            member: MemberId::new(3),
            signatures: BoundedVec::empty(),
        };
        let bytes = postcard::to_allocvec(&share).unwrap();
        assert_eq!(decode(&bytes), Some(share));
        let (batch, rest) = bytes.split_at(32);
        assert_eq!(rest, [3, 0]);
        for other in [&[0x83, 0, 0][..], &[3, 0x80, 0], &[3, 0, 0], &[3]] {
            let other = [batch, other].concat();
            assert_eq!(decode::<PegOutShare>(&other), None);
        }
    }
}
