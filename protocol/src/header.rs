//! The side block header: fixed width, little-endian, hashed under one tag (design 4).

use crate::bytes::{BlockId, BodyRoot, EvmAddress, ExecutionHash, HistoryRoot};
use crate::hash::{self, TaggedHasher};
use crate::peg::Cursor;
use crate::units::{BtcHeight, BurnSequence, ChainId, Epoch, PowCount, SideHeight, Slot, Wei};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The newest block that proof of work has finalised, as a header records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowState {
    /// Records on the chain so far, this block's included.
    pub count: PowCount,
    /// Height of the newest PoW-final block.
    pub height: SideHeight,
    /// Its id.
    pub id: BlockId,
}

/// A side block header. Its [`id`](Header::id) names the block everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Encoding version: [`Header::VERSION`].
    pub version: u8,
    /// The chain.
    pub chain_id: ChainId,
    /// The federation's term.
    pub epoch: Epoch,
    /// Height; genesis is 0.
    pub height: SideHeight,
    /// Slot in which the block was proposed; greater than its parent's.
    pub slot: Slot,
    /// The parent's id; zero for genesis.
    pub parent: BlockId,
    /// Root over the ids of all ancestors, the parent's included.
    pub history_root: HistoryRoot,
    /// Hash of the execution block.
    pub execution_hash: ExecutionHash,
    /// Every Bitcoin transaction before this position is consumed.
    pub bitcoin: Cursor,
    /// The first burn that is in no batch yet.
    pub next_burn: BurnSequence,
    /// What proof of work has finalised.
    pub pow: PowState,
    /// Priority fees paid out so far, in wei.
    pub fees_distributed: Wei,
    /// Root over the body's sections.
    pub body_root: BodyRoot,
}

/// Bytes that are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderDecodeError {
    /// The wrong number of bytes.
    #[error("a header has {expected} bytes, found {found}", expected = Header::ENCODED_LENGTH)]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// A version that this code does not know.
    #[error("expected header version {expected}, found {found}", expected = Header::VERSION)]
    Version {
        /// Version found.
        found: u8,
    },
}

impl Header {
    /// The only encoding version so far.
    pub const VERSION: u8 = 1;
    /// Length of [`Header::encode`] in bytes.
    pub const ENCODED_LENGTH: usize = 265;

    /// The fixed-width little-endian encoding of design 4.
    pub fn encode(&self) -> [u8; Self::ENCODED_LENGTH] {
        let mut bytes = [0u8; Self::ENCODED_LENGTH];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let taken = core::mem::take(&mut rest);
            if let Some((place, after)) = taken.split_at_mut_checked(field.len()) {
                place.copy_from_slice(field);
                rest = after;
            }
        };
        put(&[self.version]);
        put(&self.chain_id.get().to_le_bytes());
        put(&self.epoch.get().to_le_bytes());
        put(&self.height.get().to_le_bytes());
        put(&self.slot.get().to_le_bytes());
        put(self.parent.as_bytes());
        put(self.history_root.as_bytes());
        put(self.execution_hash.as_bytes());
        put(&self.bitcoin.height.get().to_le_bytes());
        put(bitcoin::hashes::Hash::as_byte_array(&self.bitcoin.hash));
        put(&self.bitcoin.next_tx.to_le_bytes());
        put(&self.next_burn.get().to_le_bytes());
        put(&self.pow.count.get().to_le_bytes());
        put(&self.pow.height.get().to_le_bytes());
        put(self.pow.id.as_bytes());
        put(&self.fees_distributed.get().to_le_bytes());
        put(self.body_root.as_bytes());
        bytes
    }

    /// The reverse of [`Header::encode`].
    ///
    /// # Errors
    /// - [`HeaderDecodeError::Length`] where there are not exactly [`Header::ENCODED_LENGTH`] bytes;
    /// - [`HeaderDecodeError::Version`] where the version is unknown.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderDecodeError> {
        let length = HeaderDecodeError::Length { found: bytes.len() };
        if bytes.len() != Self::ENCODED_LENGTH {
            return Err(length);
        }
        let mut fields = Fields(bytes);
        let [version] = fields.take().ok_or(length)?;
        if version != Self::VERSION {
            return Err(HeaderDecodeError::Version { found: version });
        }
        Self::decode_fields(version, &mut fields).ok_or(length)
    }

    fn decode_fields(version: u8, fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            version,
            chain_id: ChainId::new(u64::from_le_bytes(fields.take()?)),
            epoch: Epoch::new(u32::from_le_bytes(fields.take()?)),
            height: SideHeight::new(u64::from_le_bytes(fields.take()?)),
            slot: Slot::new(u64::from_le_bytes(fields.take()?)),
            parent: BlockId::new(fields.take()?),
            history_root: HistoryRoot::new(fields.take()?),
            execution_hash: ExecutionHash::new(fields.take()?),
            bitcoin: Cursor {
                height: BtcHeight::new(u32::from_le_bytes(fields.take()?)),
                hash: bitcoin::hashes::Hash::from_byte_array(fields.take()?),
                next_tx: u32::from_le_bytes(fields.take()?),
            },
            next_burn: BurnSequence::new(u64::from_le_bytes(fields.take()?)),
            pow: PowState {
                count: PowCount::new(u32::from_le_bytes(fields.take()?)),
                height: SideHeight::new(u64::from_le_bytes(fields.take()?)),
                id: BlockId::new(fields.take()?),
            },
            fees_distributed: Wei::new(u128::from_le_bytes(fields.take()?)),
            body_root: BodyRoot::new(fields.take()?),
        })
    }

    /// The block's id: `tagged("alys/header/1", encode())`.
    pub fn id(&self) -> BlockId {
        BlockId::new(
            TaggedHasher::without_chain(hash::HEADER)
                .fixed(&self.encode())
                .finish(),
        )
    }

    /// The 32 bytes that the slot's leader signs.
    pub fn proposal_message(&self) -> [u8; 32] {
        TaggedHasher::new(hash::PROPOSAL, self.chain_id)
            .fixed(self.id().as_bytes())
            .finish()
    }

    /// The 32 bytes that a member signs to approve the block.
    pub fn approval_message(&self) -> [u8; 32] {
        approval_message(self.chain_id, self.id())
    }
}

/// The 32 bytes that a member signs to approve block `id`.
pub fn approval_message(chain_id: ChainId, id: BlockId) -> [u8; 32] {
    TaggedHasher::new(hash::APPROVAL, chain_id)
        .fixed(id.as_bytes())
        .finish()
}

/// `prevRandao` of the payload on top of `parent` (design 7): unique, but known in advance, so not random.
pub fn prev_randao(chain_id: ChainId, parent: BlockId, slot: Slot) -> [u8; 32] {
    TaggedHasher::new(hash::RANDAO, chain_id)
        .fixed(parent.as_bytes())
        .fixed(&slot.get().to_le_bytes())
        .finish()
}

/// What a merged-mining share commits to: the blocks from `start` to `end`, and who is paid (design 6).
pub fn bundle_hash(
    chain_id: ChainId,
    start: BlockId,
    end: BlockId,
    fee_recipient: EvmAddress,
) -> crate::bytes::BundleHash {
    crate::bytes::BundleHash::new(
        TaggedHasher::new(hash::BUNDLE, chain_id)
            .fixed(start.as_bytes())
            .fixed(end.as_bytes())
            .fixed(fee_recipient.as_bytes())
            .finish(),
    )
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use bitcoin::hashes::Hash as _;
    use proptest::prelude::*;

    fn sample() -> Header {
        Header {
            version: 1,
            chain_id: ChainId::new(0x0102_0304_0506_0708),
            epoch: Epoch::new(9),
            height: SideHeight::new(10),
            slot: Slot::new(11),
            parent: BlockId::new([12; 32]),
            history_root: HistoryRoot::new([13; 32]),
            execution_hash: ExecutionHash::new([14; 32]),
            bitcoin: Cursor {
                height: BtcHeight::new(15),
                hash: bitcoin::BlockHash::from_byte_array([16; 32]),
                next_tx: 17,
            },
            next_burn: BurnSequence::new(18),
            pow: PowState {
                count: PowCount::new(19),
                height: SideHeight::new(20),
                id: BlockId::new([21; 32]),
            },
            fees_distributed: Wei::new(22),
            body_root: BodyRoot::new([23; 32]),
        }
    }

    #[test]
    fn golden_id() {
        // Computed apart from this code, from the layout in design 4.
        assert_eq!(
            sample().id().to_string(),
            "0xc7ab68e85c71dc2e32fddb9d7cd51e0f77546f5925afc100342255dc67b7ff24"
        );
    }

    #[test]
    fn every_byte_of_the_encoding_matters() {
        let bytes = sample().encode();
        assert_eq!(Header::decode(&bytes), Ok(sample()));
        for place in 1..bytes.len() {
            let mut other = bytes;
            other[place] ^= 1;
            let other = Header::decode(&other).unwrap();
            assert_ne!(other.id(), sample().id(), "byte {place}");
        }
        assert_eq!(
            Header::decode(&bytes[1..]),
            Err(HeaderDecodeError::Length { found: 264 })
        );
        let mut version = bytes;
        version[0] = 2;
        assert_eq!(
            Header::decode(&version),
            Err(HeaderDecodeError::Version { found: 2 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_themselves(mut bytes in proptest::collection::vec(any::<u8>(), 265)) {
            bytes[0] = 1;
            prop_assert_eq!(Header::decode(&bytes).unwrap().encode().to_vec(), bytes);
        }
    }
}
