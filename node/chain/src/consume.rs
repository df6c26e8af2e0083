//! Consuming Bitcoin: what the transactions between two cursors do to the ledger (design 8 and 9).

use crate::ledger::{Halt, PegState, Utxo};
use crate::reader::Reader;
use alys_protocol::body::MAX_CONSUMED;
use alys_protocol::bytes::{BatchId, EvmAddress};
use alys_protocol::peg::{ConsumedTransaction, Cursor, TransactionError, WHOLE_BLOCK};
use alys_protocol::signer::MAX_DEPOSIT_PROOFS;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, BurnSequence, Sats};
use bitcoin::{BlockHash, OutPoint, Txid};
use thiserror::Error;

/// Bitcoin blocks that the cursor may advance over in one side block.
pub const MAX_BITCOIN_BLOCKS: u32 = 32;
/// Bytes of consumed transactions in one body: one of the largest size fits.
pub const MAX_CONSUMED_BYTES: usize = alys_protocol::peg::MAX_TRANSACTION_BYTES;
/// Deposits in one side block at most: the withdrawals that are not reserved for fees.
pub fn max_deposits(chain: &Chain) -> usize {
    usize::try_from(chain.spec().deposits.max_withdrawals)
        .unwrap_or(usize::MAX)
        .saturating_sub(chain.roster().len().saturating_add(1))
        .min(MAX_DEPOSIT_PROOFS)
}

/// One deposit to credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mint {
    /// Whom to credit.
    pub recipient: EvmAddress,
    /// How much.
    pub amount: Sats,
    /// The deposit.
    pub txid: Txid,
    /// Height of its Bitcoin block.
    pub height: BtcHeight,
    /// Its place there.
    pub index: u32,
}

/// A family of batches that Bitcoin has settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The family, by its first batch's id.
    pub family: BatchId,
    /// The batch that confirmed.
    pub batch: BatchId,
    /// Its transaction.
    pub txid: Txid,
    /// Height of its Bitcoin block.
    pub height: BtcHeight,
    /// First burn of its range.
    pub first_burn: BurnSequence,
    /// One past the last burn of its range.
    pub next_burn: BurnSequence,
    /// Burns of the range that it left unpaid.
    pub skipped: Vec<BurnSequence>,
    /// The fee that it paid.
    pub fee: Sats,
}

/// What a range of Bitcoin does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// The ledger with the new cursor.
    pub state: PegState,
    /// Deposits, in Bitcoin's order.
    pub mints: Vec<Mint>,
    /// Batches that confirmed.
    pub settled: Vec<Settlement>,
    /// New outputs that credit nobody, for the operators.
    pub unattributable: Vec<(OutPoint, Utxo)>,
}

/// A range that a block may not consume.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsumeError {
    /// A halted peg consumes nothing.
    #[error("expected no consumption: {0}")]
    Halted(Halt),
    /// The cursor goes back.
    #[error("expected a cursor at or after {parent:?}, found {found:?}")]
    Backwards {
        /// The parent's cursor.
        parent: Cursor,
        /// The cursor found.
        found: Cursor,
    },
    /// The cursor names another Bitcoin block at the same height.
    #[error("expected Bitcoin block {expected} at height {height}, found {found}")]
    Hash {
        /// Height of the block.
        height: BtcHeight,
        /// The hash that the parent's cursor or the new one has.
        expected: BlockHash,
        /// The hash found.
        found: BlockHash,
    },
    /// The cursor goes too far.
    #[error("expected a cursor at most {MAX_BITCOIN_BLOCKS} Bitcoin blocks ahead, found {found}")]
    TooFar {
        /// Blocks found.
        found: u32,
    },
    /// The cursor stops inside a block elsewhere than behind the last consumed transaction.
    #[error("expected the cursor at the end of a block or at place {expected:?}, found {found}")]
    Stop {
        /// The place behind the block's last consumed transaction, if it has one.
        expected: Option<u32>,
        /// The place found.
        found: u32,
    },
    /// A transaction lies outside the range.
    #[error(
        "expected a transaction between the cursors, found one at height {height}, place {index}"
    )]
    Range {
        /// Height found.
        height: BtcHeight,
        /// Place found.
        index: u32,
    },
    /// Positions do not strictly increase (regression A2).
    #[error("expected a position after {previous:?}, found {found:?}")]
    Order {
        /// Height and place of the transaction before.
        previous: (BtcHeight, u32),
        /// Height and place found.
        found: (BtcHeight, u32),
    },
    /// Too many transactions.
    #[error("expected at most {MAX_CONSUMED} consumed transactions, found {found}")]
    TooMany {
        /// Transactions found.
        found: usize,
    },
    /// Too many bytes.
    #[error("expected at most {MAX_CONSUMED_BYTES} bytes of consumed transactions, found more")]
    TooLarge,
    /// Too many deposits.
    #[error("expected at most {maximum} deposits, found more")]
    TooManyDeposits {
        /// The limit.
        maximum: usize,
    },
    /// Bytes that are no transaction.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// A transaction that has nothing to do with the federation.
    #[error(
        "expected a transaction that pays or spends the federation's script, found {txid}, which does neither"
    )]
    Unrelated {
        /// The transaction.
        txid: Txid,
    },
    /// An output that exists already.
    #[error("expected a new output, found {outpoint} twice")]
    Duplicate {
        /// The output.
        outpoint: OutPoint,
    },
    /// A sum above 64 bits, or a batch that pays more than its inputs.
    #[error("amounts do not add up after {txid}")]
    Amounts {
        /// The transaction.
        txid: Txid,
    },
}

/// Reads the transactions between the ledger's cursor and `cursor`.
///
/// # Errors
/// - [`ConsumeError`], one variant for each rule that the range breaks.
pub fn consume(
    chain: &Chain,
    state: &PegState,
    cursor: &Cursor,
    transactions: &[ConsumedTransaction],
) -> Result<Consumed, ConsumeError> {
    check_cursor(state, cursor, transactions)?;
    let mut reader = Reader::new(chain, state);
    for transaction in transactions {
        reader.read(cursor, transaction)?;
    }
    Ok(reader.finish(*cursor))
}

/// Whether the cursor may stand where it does.
fn check_cursor(
    state: &PegState,
    cursor: &Cursor,
    transactions: &[ConsumedTransaction],
) -> Result<(), ConsumeError> {
    let parent = state.cursor;
    if transactions.len() > MAX_CONSUMED {
        return Err(ConsumeError::TooMany {
            found: transactions.len(),
        });
    }
    if *cursor == parent {
        return match transactions.first() {
            None => Ok(()),
            Some(extra) => Err(ConsumeError::Range {
                height: extra.height,
                index: extra.index,
            }),
        };
    }
    // "A federation UTXO spent by an unrecorded transaction halts the peg."
    if let Some(halt) = state.halt {
        return Err(ConsumeError::Halted(halt));
    }
    if cursor.cmp_position(&parent).is_lt() {
        return Err(ConsumeError::Backwards {
            parent,
            found: *cursor,
        });
    }
    if cursor.height == parent.height && cursor.hash != parent.hash {
        return Err(ConsumeError::Hash {
            height: cursor.height,
            expected: parent.hash,
            found: cursor.hash,
        });
    }
    let ahead = cursor.height.get().saturating_sub(parent.height.get());
    if ahead > MAX_BITCOIN_BLOCKS {
        return Err(ConsumeError::TooFar { found: ahead });
    }
    if cursor.next_tx != WHOLE_BLOCK {
        let expected = transactions
            .last()
            .filter(|last| last.height == cursor.height)
            .map(|last| last.index.saturating_add(1));
        if expected != Some(cursor.next_tx) {
            return Err(ConsumeError::Stop {
                expected,
                found: cursor.next_tx,
            });
        }
    }
    Ok(())
}
