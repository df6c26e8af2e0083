//! Receipts and logs of execution blocks, proven under the header's receipts root.

use super::rlp::Items;
use super::trie::{TrieError, lookup};
use alloy_primitives::B256;
use alloy_rlp::Error as RlpError;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::signer::TrieProof;
use thiserror::Error;

/// The newest type of transaction as of Prague: EIP-7702's.
pub const NEWEST_TRANSACTION_TYPE: u8 = 4;

/// Topics of a log at most (`LOG4`).
const MAX_TOPICS: usize = 4;
/// Bytes of a topic in RLP: its header and its 32 bytes.
const TOPIC_BYTES: usize = 33;

/// A transaction's receipt. All of it is well-formed; logs are read where they lie.
#[derive(Debug, Clone, Copy)]
pub struct Receipt<'a> {
    transaction_type: u8,
    succeeded: bool,
    logs: Items<'a>,
}

/// An event that a contract wrote.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    /// The contract that wrote it: the only field that says who did (regression A3).
    pub address: EvmAddress,
    topics: &'a [u8],
    /// What is not indexed, ABI-encoded.
    pub data: &'a [u8],
}

/// A receipt or log that is not proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// The proof does not hold.
    #[error(transparent)]
    Trie(#[from] TrieError),
    /// The proof shows that there is no such receipt.
    #[error("expected a receipt, found proof that the block has none at that index")]
    Absent,
    /// A type of transaction that Prague does not have.
    #[error("expected a receipt of type 0 to {NEWEST_TRANSACTION_TYPE}, found first byte {found}")]
    Type {
        /// The byte.
        found: u8,
    },
    /// Neither 0 nor 1: before Byzantium a state root stood there.
    #[error("expected status 0 or 1, found {found} bytes that are neither")]
    Status {
        /// Bytes of the field.
        found: usize,
    },
    /// Not the RLP of status, gas, bloom and logs.
    #[error("not the RLP of a receipt: {0}")]
    Rlp(RlpError),
    /// There is no such log.
    #[error("expected a log at index {index}, found a receipt of {logs} logs")]
    NoLog {
        /// The index asked for.
        index: u32,
        /// Logs in the receipt.
        logs: usize,
    },
}

/// The receipt of the transaction at `index` under `receipts_root`.
///
/// # Errors
/// - one [`ReceiptError`] for each thing that can be wrong with it.
pub fn receipt(
    receipts_root: B256,
    index: u32,
    proof: &TrieProof,
) -> Result<Receipt<'_>, ReceiptError> {
    let key = alloy_rlp::encode(index);
    let nodes = proof.iter().map(|node| &**node);
    let value = lookup(receipts_root, &key, nodes)?.ok_or(ReceiptError::Absent)?;
    Receipt::decode(value)
}

impl<'a> Receipt<'a> {
    /// Decodes the consensus encoding: the type unless 0, then the RLP of status, cumulative gas, bloom and logs
    /// (EIP-2718, EIP-658).
    ///
    /// # Errors
    /// - [`ReceiptError::Type`], [`ReceiptError::Status`], [`ReceiptError::Rlp`] where it is something else.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ReceiptError> {
        let (transaction_type, list) = match bytes.split_first() {
            None => return Err(ReceiptError::Rlp(RlpError::InputTooShort)),
            Some((0xc0.., _)) => (0, bytes),
            Some((transaction_type @ 1..=NEWEST_TRANSACTION_TYPE, rest)) => {
                (*transaction_type, rest)
            }
            Some((found, _)) => return Err(ReceiptError::Type { found: *found }),
        };
        let mut fields = Items::of_list(list).map_err(ReceiptError::Rlp)?;
        let succeeded = match fields.string().map_err(ReceiptError::Rlp)? {
            [] => false,
            [1] => true,
            other => return Err(ReceiptError::Status { found: other.len() }),
        };
        let logs = Self::decode_rest(fields).map_err(ReceiptError::Rlp)?;
        Ok(Self {
            transaction_type,
            succeeded,
            logs,
        })
    }

    fn decode_rest(mut fields: Items<'a>) -> Result<Items<'a>, RlpError> {
        let gas = fields.string()?;
        if gas.len() > 8 {
            return Err(RlpError::Overflow);
        }
        if gas.first() == Some(&0) {
            return Err(RlpError::LeadingZero);
        }
        fields.fixed::<256>()?;
        let logs = fields.list()?;
        fields.finish()?;
        let mut rest = logs;
        while !rest.is_empty() {
            Log::decode(&mut rest)?;
        }
        Ok(logs)
    }

    /// EIP-2718 type; 0 for legacy.
    pub fn transaction_type(&self) -> u8 {
        self.transaction_type
    }

    /// Whether the transaction succeeded.
    pub fn succeeded(&self) -> bool {
        self.succeeded
    }

    /// The logs, in order.
    pub fn logs(&self) -> impl Iterator<Item = Log<'a>> + use<'a> {
        let mut rest = self.logs;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            // Decoded once before: `decode` has refused what this could not read.
            Log::decode(&mut rest).ok()
        })
    }

    /// The log at `index` of this receipt.
    ///
    /// # Errors
    /// - [`ReceiptError::NoLog`] where there are fewer.
    pub fn log(&self, index: u32) -> Result<Log<'a>, ReceiptError> {
        usize::try_from(index)
            .ok()
            .and_then(|place| self.logs().nth(place))
            .ok_or_else(|| ReceiptError::NoLog {
                index,
                logs: self.logs().count(),
            })
    }
}

impl<'a> Log<'a> {
    fn decode(logs: &mut Items<'a>) -> Result<Self, RlpError> {
        let mut fields = logs.list()?;
        let address = EvmAddress::new(*fields.fixed::<20>()?);
        let list = fields.next()?;
        if !list.list {
            return Err(RlpError::UnexpectedString);
        }
        let topics = list.payload;
        if topics.len() > MAX_TOPICS.saturating_mul(TOPIC_BYTES) {
            return Err(RlpError::UnexpectedLength);
        }
        let mut rest = Items::of_list(list.encoded)?;
        while !rest.is_empty() {
            rest.fixed::<32>()?;
        }
        let data = fields.string()?;
        fields.finish()?;
        Ok(Self {
            address,
            topics,
            data,
        })
    }

    /// The indexed words; the first names the event.
    pub fn topics(&self) -> impl Iterator<Item = &'a [u8; 32]> + use<'a> {
        self.topics
            .chunks_exact(TOPIC_BYTES)
            .filter_map(|topic| topic.last_chunk::<32>())
    }
}
