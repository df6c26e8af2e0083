//! Requests and responses, with the limits that hold while they are decoded.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Largest encoded request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024;
/// Largest encoded response, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;
/// Most blocks that one request may ask for and one response may carry.
pub const MAX_BLOCKS_PER_RESPONSE: u32 = 128;
/// Longest software description, in bytes.
const MAX_SOFTWARE_BYTES: usize = 64;
/// Encoded size of everything in a [`Response::Blocks`] but the blocks: variant and count.
const BLOCKS_OVERHEAD: usize = 16;
/// Longest postcard length prefix of one block.
const LENGTH_PREFIX: usize = 5;

/// What one node asks another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Exchange of status: here is mine, what is yours? Answered by this crate, never seen in an event.
    Status(StatusMessage),
    /// The certified blocks at `start_height`, `start_height + 1`, ..., at most `count` of them.
    BlocksByRange {
        /// Height of the first block.
        start_height: u64,
        /// How many, from 1 to [`MAX_BLOCKS_PER_RESPONSE`].
        count: u32,
    },
    /// The block with this id.
    BlockById([u8; 32]),
}

impl Request {
    /// Most blocks that an honest answer holds.
    pub(crate) const fn max_blocks(&self) -> u32 {
        match self {
            Self::Status(_) => 0,
            Self::BlocksByRange { count, .. } => *count,
            Self::BlockById(_) => 1,
        }
    }

    /// Whether the fields are within bounds.
    pub(crate) const fn is_valid(&self) -> bool {
        match self {
            Self::BlocksByRange { count, .. } => *count >= 1 && *count <= MAX_BLOCKS_PER_RESPONSE,
            Self::Status(_) | Self::BlockById(_) => true,
        }
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The answering node's status.
    Status(StatusMessage),
    /// Encoded blocks, in ascending order of height. Fewer than asked for, or none, is an honest answer: the
    /// node has no more, or the rest did not fit into [`MAX_RESPONSE_BYTES`].
    Blocks(#[serde(with = "bounded_blocks")] Vec<Vec<u8>>),
    /// No answer, and why.
    Error(ErrorReply),
}

impl Response {
    /// As many of `blocks`, from the first on, as fit into one response.
    #[must_use]
    pub fn blocks_within_limits(blocks: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut room = MAX_RESPONSE_BYTES.saturating_sub(BLOCKS_OVERHEAD);
        let mut taken = Vec::new();
        for block in blocks.into_iter().take(MAX_BLOCKS_PER_RESPONSE as usize) {
            match room.checked_sub(block.len().saturating_add(LENGTH_PREFIX)) {
                Some(left) => room = left,
                None => break,
            }
            taken.push(block);
        }
        Self::Blocks(taken)
    }

    /// Whether the response may be sent: at most [`MAX_BLOCKS_PER_RESPONSE`] blocks, at most [`MAX_RESPONSE_BYTES`].
    pub(crate) fn is_within_limits(&self) -> bool {
        match self {
            Self::Status(_) | Self::Error(_) => true,
            Self::Blocks(blocks) => {
                blocks.len() <= MAX_BLOCKS_PER_RESPONSE as usize
                    && self.payload_bytes() <= MAX_RESPONSE_BYTES
            }
        }
    }

    /// An upper bound of the encoded size, in bytes.
    pub(crate) fn payload_bytes(&self) -> usize {
        match self {
            Self::Status(_) | Self::Error(_) => MAX_REQUEST_BYTES,
            Self::Blocks(blocks) => blocks.iter().fold(BLOCKS_OVERHEAD, |sum, block| {
                sum.saturating_add(block.len())
                    .saturating_add(LENGTH_PREFIX)
            }),
        }
    }
}

/// Why a node did not answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum ErrorReply {
    /// The requester used up its allowance.
    #[error("rate limit exceeded, retry in {retry_after_ms} ms")]
    RateLimited {
        /// When the same request would be answered, in milliseconds from now.
        retry_after_ms: u32,
    },
    /// The node has too much to do; ask another peer or retry later.
    #[error("the peer is busy")]
    Busy,
    /// The request is out of bounds or on the wrong protocol.
    #[error("the peer calls the request invalid")]
    Invalid,
    /// The node failed to look the answer up.
    #[error("the peer failed to answer")]
    Internal,
}

/// Where a node's chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heads {
    /// Height of the certified head.
    pub certified_height: u64,
    /// Id of the certified head.
    pub certified_id: [u8; 32],
    /// Height of the newest final block.
    pub final_height: u64,
    /// Id of the newest final block.
    pub final_id: [u8; 32],
    /// Height of the newest block finalised by proof of work.
    pub pow_final_height: u64,
}

/// What a node says about itself and its chain. Claims of a peer, nothing in it is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusMessage {
    /// Digest of the chain spec.
    pub spec_digest: [u8; 32],
    /// Id of the genesis block.
    pub genesis_id: [u8; 32],
    /// Height of the certified head.
    pub certified_height: u64,
    /// Id of the certified head.
    pub certified_id: [u8; 32],
    /// Height of the newest final block.
    pub final_height: u64,
    /// Id of the newest final block.
    pub final_id: [u8; 32],
    /// Height of the newest block finalised by proof of work.
    pub pow_final_height: u64,
    /// Name and version of the software.
    pub software: Software,
}

impl StatusMessage {
    /// The chain part of the status.
    #[must_use]
    pub const fn heads(&self) -> Heads {
        Heads {
            certified_height: self.certified_height,
            certified_id: self.certified_id,
            final_height: self.final_height,
            final_id: self.final_id,
            pow_final_height: self.pow_final_height,
        }
    }

    /// Replaces the chain part.
    pub(crate) const fn set_heads(&mut self, heads: Heads) {
        self.certified_height = heads.certified_height;
        self.certified_id = heads.certified_id;
        self.final_height = heads.final_height;
        self.final_id = heads.final_id;
        self.pow_final_height = heads.pow_final_height;
    }
}

/// Name and version of a node's software: 1 to 64 printable ASCII characters, so that it is safe to log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Software(String);

/// A software description that is too long or not printable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("software description: expected 1 to 64 printable ASCII characters, found {found}")]
pub struct SoftwareError {
    /// What is wrong with it.
    found: String,
}

impl Software {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Software {
    type Error = SoftwareError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        if text.is_empty() || text.len() > MAX_SOFTWARE_BYTES {
            return Err(SoftwareError {
                found: format!("{} bytes", text.len()),
            });
        }
        if let Some(odd) = text
            .chars()
            .find(|character| !matches!(character, ' '..='~'))
        {
            return Err(SoftwareError {
                found: format!("the character {odd:?}"),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Software {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Software {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(<&str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Encodes blocks as byte strings and stops decoding at the first block too many: a list of empty blocks takes a
/// byte each on the wire and 24 in memory, so a bound on the frame alone would not bound the memory.
mod bounded_blocks {
    use super::*;

    struct Bytes(Vec<u8>);
    struct BytesVisitor;
    struct BlocksVisitor;
    struct Borrowed<'a>(&'a [u8]);

    impl Serialize for Borrowed<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    impl Visitor<'_> for BytesVisitor {
        type Value = Bytes;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an encoded block")
        }

        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes(bytes.to_vec()))
        }
    }

    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_bytes(BytesVisitor)
        }
    }

    impl<'de> Visitor<'de> for BlocksVisitor {
        type Value = Vec<Vec<u8>>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(
                formatter,
                "at most {MAX_BLOCKS_PER_RESPONSE} encoded blocks"
            )
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut blocks = Vec::new();
            while let Some(Bytes(block)) = sequence.next_element()? {
                if blocks.len() >= MAX_BLOCKS_PER_RESPONSE as usize {
                    return Err(A::Error::invalid_length(
                        blocks.len().saturating_add(1),
                        &self,
                    ));
                }
                blocks.push(block);
            }
            Ok(blocks)
        }
    }

    pub(super) fn serialize<S: Serializer>(
        blocks: &[Vec<u8>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(blocks.len()))?;
        for block in blocks {
            sequence.serialize_element(&Borrowed(block))?;
        }
        sequence.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        deserializer.deserialize_seq(BlocksVisitor)
    }
}

#[cfg(test)]
mod tests;
