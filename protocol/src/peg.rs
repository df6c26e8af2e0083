//! The two-way peg's records: the Bitcoin cursor, deposits, burns and peg-out batches (design 8 and 9).

use crate::bounded::BoundedVec;
use crate::bytes::{BatchId, BlockId, EvmAddress, from_hex};
use crate::hash::{self, TaggedHasher};
use crate::units::{BtcHeight, BurnSequence, ChainId, Sats, SatsPerKvb, SideHeight};
use alloc::vec::Vec;
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, Script, Transaction};
use core::cmp::Ordering;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of a Bitcoin transaction without its witnesses, at most (a quarter of a block's weight).
pub const MAX_TRANSACTION_BYTES: usize = 1_000_000;
/// Bytes of a scriptPubKey that a burn may name; the longest standard template has 34.
pub const MAX_BURN_SCRIPT_BYTES: usize = 64;

/// [`Cursor::next_tx`] of a Bitcoin block that is consumed to its end.
pub const WHOLE_BLOCK: u32 = u32::MAX;

/// How far the chain has consumed Bitcoin: every transaction before `next_tx` of this block, and all blocks below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Height of the Bitcoin block.
    pub height: BtcHeight,
    /// Its hash.
    #[serde(with = "block_hash")]
    pub hash: BlockHash,
    /// The first transaction not consumed; [`WHOLE_BLOCK`] where none is left.
    pub next_tx: u32,
}

impl Cursor {
    /// Compares two positions of one Bitcoin chain; hashes are not looked at.
    pub fn cmp_position(&self, other: &Self) -> Ordering {
        (self.height, self.next_tx).cmp(&(other.height, other.next_tx))
    }
}

/// Serde of a Bitcoin block hash as its 32 bytes in internal order, or as the usual reversed hex for people.
pub mod block_hash {
    use bitcoin::BlockHash;
    use bitcoin::hashes::Hash as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    /// Writes the hash.
    ///
    /// # Errors
    /// - whatever the serializer reports.
    pub fn serialize<S: Serializer>(hash: &BlockHash, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(hash)
        } else {
            hash.to_byte_array().serialize(serializer)
        }
    }

    /// Reads the hash.
    ///
    /// # Errors
    /// - whatever the deserializer reports, or text that is no block hash.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlockHash, D::Error> {
        if deserializer.is_human_readable() {
            alloc::string::String::deserialize(deserializer)?
                .parse()
                .map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(BlockHash::from_byte_array)
        }
    }
}

/// A Bitcoin transaction that touches the federation's script, as the body that consumes it records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumedTransaction {
    /// Height of its Bitcoin block.
    pub height: BtcHeight,
    /// Hash of its Bitcoin block.
    #[serde(with = "block_hash")]
    pub block: BlockHash,
    /// Its place in that block.
    pub index: u32,
    /// The transaction without witnesses: the bytes that its txid is the hash of.
    pub bytes: BoundedVec<u8, MAX_TRANSACTION_BYTES>,
}

/// Bytes that are no transaction of the form a record needs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// Not the consensus encoding of one transaction.
    #[error("expected the consensus encoding of one transaction, found {length} other bytes")]
    Encoding {
        /// Length found.
        length: usize,
    },
    /// It has witnesses or unlocking scripts where there may be none.
    #[error("expected a transaction without witnesses, found some")]
    Witness,
    /// Too long for a record.
    #[error("expected a transaction of at most {MAX_TRANSACTION_BYTES} bytes, found {length}")]
    TooLong {
        /// Length found.
        length: usize,
    },
}

/// Decodes a transaction that must carry no witness.
///
/// # Errors
/// - [`TransactionError::Encoding`] where the bytes are no transaction, or more than one;
/// - [`TransactionError::Witness`] where an input has a witness.
pub fn decode_stripped(bytes: &[u8]) -> Result<Transaction, TransactionError> {
    let transaction: Transaction =
        bitcoin::consensus::deserialize(bytes).map_err(|_| TransactionError::Encoding {
            length: bytes.len(),
        })?;
    if transaction
        .input
        .iter()
        .any(|input| !input.witness.is_empty())
    {
        return Err(TransactionError::Witness);
    }
    Ok(transaction)
}

/// Encodes a transaction without its witnesses.
///
/// # Errors
/// - [`TransactionError::TooLong`] above [`MAX_TRANSACTION_BYTES`].
pub fn encode_stripped(
    transaction: &Transaction,
) -> Result<BoundedVec<u8, MAX_TRANSACTION_BYTES>, TransactionError> {
    let mut stripped = transaction.clone();
    for input in &mut stripped.input {
        input.witness.clear();
    }
    let bytes = bitcoin::consensus::serialize(&stripped);
    BoundedVec::new(bytes).map_err(|error| TransactionError::TooLong {
        length: error.found,
    })
}

/// What a transaction's outputs to the federation mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribution {
    /// No output to the federation.
    Unrelated,
    /// One mint.
    Deposit {
        /// Whom to credit.
        recipient: EvmAddress,
        /// Sum of the outputs that count.
        amount: Sats,
    },
    /// Outputs that stay in the wallet and are listed for the operators.
    Unattributable(Unattributable),
}

/// Why outputs to the federation credit nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unattributable {
    /// It is the block's coinbase.
    Coinbase,
    /// No output reaches the minimum.
    BelowMinimum,
    /// No OP_RETURN output.
    NoRecipient,
    /// More than one OP_RETURN output.
    ManyRecipients,
    /// The OP_RETURN is none of the three exact forms.
    MalformedRecipient,
    /// The amounts do not add up in 64 bits.
    Overflow,
}

/// Reads a deposit (design 8): one OP_RETURN of an exact form, and outputs that each reach the minimum.
///
/// `index` is the transaction's place in its block.
pub fn attribute(
    transaction: &Transaction,
    index: u32,
    federation: &Script,
    min_deposit: Sats,
) -> Attribution {
    let ours = || {
        transaction
            .output
            .iter()
            .filter(|output| output.script_pubkey.as_script() == federation)
    };
    if ours().next().is_none() {
        return Attribution::Unrelated;
    }
    if index == 0 {
        return Attribution::Unattributable(Unattributable::Coinbase);
    }
    let counted = ours()
        .map(|output| Sats::new(output.value.to_sat()))
        .filter(|amount| *amount >= min_deposit);
    let Some(amount) = Sats::checked_sum(counted) else {
        return Attribution::Unattributable(Unattributable::Overflow);
    };
    if amount == Sats::ZERO {
        return Attribution::Unattributable(Unattributable::BelowMinimum);
    }
    let mut returns = transaction
        .output
        .iter()
        .filter(|output| output.script_pubkey.is_op_return());
    match (returns.next(), returns.next()) {
        (None, _) => Attribution::Unattributable(Unattributable::NoRecipient),
        (Some(_), Some(_)) => Attribution::Unattributable(Unattributable::ManyRecipients),
        (Some(output), None) => match recipient(output.script_pubkey.as_bytes()) {
            Some(recipient) => Attribution::Deposit { recipient, amount },
            None => Attribution::Unattributable(Unattributable::MalformedRecipient),
        },
    }
}

/// The address in `6a14`+20 bytes, `6a28`+40 hex digits or `6a2a`+`0x`+40 hex digits.
fn recipient(script: &[u8]) -> Option<EvmAddress> {
    match script {
        [0x6a, 0x14, raw @ ..] => raw.try_into().ok().map(EvmAddress::new),
        [0x6a, 0x28, digits @ ..] if digits.len() == 40 && !digits.starts_with(b"0x") => {
            from_hex(core::str::from_utf8(digits).ok()?)
                .ok()
                .map(EvmAddress::new)
        }
        [0x6a, 0x2a, b'0', b'x', digits @ ..]
            if digits.len() == 40 && !digits.starts_with(b"0x") =>
        {
            from_hex(core::str::from_utf8(digits).ok()?)
                .ok()
                .map(EvmAddress::new)
        }
        _other => None,
    }
}

/// One burn on the side chain, which Bitcoin owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burn {
    /// Gap-free number, from the contract's event.
    pub sequence: BurnSequence,
    /// Who burned.
    pub sender: EvmAddress,
    /// Where to pay.
    pub script_pubkey: BoundedVec<u8, MAX_BURN_SCRIPT_BYTES>,
    /// How much was burned, and is paid less its share of the fee.
    pub amount: Sats,
    /// Height of the side block that holds the burn.
    pub height: SideHeight,
    /// Id of that block.
    pub block: BlockId,
}

/// Burns of a batch at most; the spec may allow fewer.
pub const MAX_BATCH_BURNS: usize = 256;
/// Inputs of a batch at most; the spec may allow fewer.
pub const MAX_BATCH_INPUTS: usize = 256;
/// Virtual bytes of a signed batch at most: no node relays a transaction above 400,000 weight units (Bitcoin Core,
/// `MAX_STANDARD_TX_WEIGHT` in `policy/policy.h`).
pub const MAX_BATCH_VSIZE: u64 = 100_000;
/// Bytes of a batch's unsigned transaction at most.
pub const MAX_BATCH_BYTES: usize = 64 * 1024;

/// A peg-out batch, as the body of the block that decides it records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// First burn of its range.
    pub first_burn: BurnSequence,
    /// One past the last burn of its range; equal to `first_burn` for a refresh or consolidation.
    pub next_burn: BurnSequence,
    /// Fee rate that the transaction was built for.
    pub fee_rate: SatsPerKvb,
    /// The batch of the same family that this one replaces at a higher fee, with exactly its inputs.
    pub replaces: Option<BatchId>,
    /// Burns of the range that are not paid, rising: officers of enough members agreed to skip them (rule `skip`). What
    /// was burned stays locked.
    pub skipped: BoundedVec<BurnSequence, MAX_BATCH_BURNS>,
    /// The transaction to sign: consensus encoding, no witnesses.
    pub transaction: BoundedVec<u8, MAX_BATCH_BYTES>,
}

impl BatchRecord {
    /// The batch's id: a hash over every field.
    pub fn id(&self, chain_id: ChainId) -> BatchId {
        let replaces = self.replaces.unwrap_or(BatchId::ZERO);
        let skipped = self.skipped.iter();
        let skipped: Vec<u8> = skipped.flat_map(|burn| burn.get().to_le_bytes()).collect();
        BatchId::new(
            TaggedHasher::new(hash::BATCH, chain_id)
                .fixed(&self.first_burn.get().to_le_bytes())
                .fixed(&self.next_burn.get().to_le_bytes())
                .fixed(&self.fee_rate.get().to_le_bytes())
                .fixed(replaces.as_bytes())
                .variable(&skipped)
                .variable(&self.transaction)
                .finish(),
        )
    }

    /// The transaction to sign.
    ///
    /// # Errors
    /// - [`TransactionError`] where the bytes are no unsigned transaction.
    pub fn decode_transaction(&self) -> Result<Transaction, TransactionError> {
        let transaction = decode_stripped(&self.transaction)?;
        if transaction
            .input
            .iter()
            .any(|input| !input.script_sig.is_empty())
        {
            return Err(TransactionError::Witness);
        }
        Ok(transaction)
    }

    /// Number of burns in its range.
    pub fn burns(&self) -> u64 {
        self.next_burn.get().saturating_sub(self.first_burn.get())
    }

    /// Number of burns that it pays.
    pub fn payments(&self) -> u64 {
        self.burns().saturating_sub(self.skipped.len() as u64)
    }

    /// Whether it leaves a burn unpaid.
    pub fn skips(&self, burn: BurnSequence) -> bool {
        self.skipped.contains(&burn)
    }
}

/// The fee of a transaction: `ceil(rate * vsize)` with the rate per 1000 virtual bytes; `None` where it does not fit.
pub fn fee(rate: SatsPerKvb, vsize: u64) -> Option<Sats> {
    rate.get()
        .checked_mul(vsize)
        .map(|millis| Sats::new(millis.div_ceil(1000)))
}

/// What each of `burns` burns pays of a fee: `ceil(fee / burns)`; zero where a batch has none.
pub fn fee_share(fee: Sats, burns: u64) -> Sats {
    match burns {
        0 => Sats::ZERO,
        _some => Sats::new(fee.get().div_ceil(burns)),
    }
}

/// The Merkle root over txids, and whether the list is free of duplicated pairs (CVE-2012-2459, regression N7).
pub fn merkle_root(txids: &[[u8; 32]]) -> Option<([u8; 32], bool)> {
    use bitcoin::hashes::sha256d;
    let mut row = txids.to_vec();
    let mut clean = true;
    while row.len() > 1 {
        let mut above = Vec::with_capacity(row.len().div_ceil(2));
        for pair in row.chunks(2) {
            let left = pair.first()?;
            let right = pair.last()?;
            clean &= pair.len() == 1 || left != right;
            above.push(sha256d::Hash::hash(&[left.as_slice(), right].concat()).to_byte_array());
        }
        row = above;
    }
    row.first().map(|root| (*root, clean))
}

#[cfg(test)]
mod tests;
