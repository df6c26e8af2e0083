//! From Bitcoin blocks to consumed transactions: which ones touch the federation, and how far a leader may go.

use crate::consume::{ConsumeError, Consumed, MAX_BITCOIN_BLOCKS};
use crate::ledger::PegState;
use crate::proof::{proof_bytes, proofs_fit};
use crate::reader::Reader;
use alys_protocol::peg::{
    ConsumedTransaction, Cursor, TransactionError, WHOLE_BLOCK, encode_stripped,
};
use alys_protocol::spec::Chain;
use alys_protocol::units::BtcHeight;
use bitcoin::{Block, BlockHash, OutPoint, Transaction};
use std::collections::BTreeSet;
use thiserror::Error;

/// A Bitcoin block's transactions that touch the federation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedBlock {
    /// The block's height.
    pub height: BtcHeight,
    /// Its hash.
    pub hash: BlockHash,
    /// The transactions at or behind the ledger's cursor, in order.
    pub transactions: Vec<ConsumedTransaction>,
    /// Bytes of the proof of one of them, at most.
    pub proof_bytes: usize,
}

/// A block that does not continue the scan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScanError {
    /// A block is left out or comes again (regression A12).
    #[error("expected Bitcoin block {expected}, found {found}")]
    Height {
        /// The next height.
        expected: BtcHeight,
        /// The height found.
        found: BtcHeight,
    },
    /// The block is on another branch than the one before it or than the cursor: a reorganisation.
    #[error("expected Bitcoin block {height} to be {expected} or its child, found {found}")]
    Reorganised {
        /// Height of the block.
        height: BtcHeight,
        /// Hash of the block before it, or its own where the cursor stands in it.
        expected: BlockHash,
        /// The hash found in that place.
        found: BlockHash,
    },
    /// The block's transactions are not those of its header.
    #[error("Bitcoin block {hash} does not have the transactions that its header commits to")]
    MerkleRoot {
        /// The block.
        hash: BlockHash,
    },
    /// A transaction that no record can hold.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// More transactions than 32 bits can count.
    #[error("Bitcoin block {hash} has too many transactions")]
    TooMany {
        /// The block.
        hash: BlockHash,
    },
}

/// Reads Bitcoin blocks from a ledger's cursor on, one after the other.
#[derive(Debug)]
pub struct Scanner<'a> {
    chain: &'a Chain,
    state: &'a PegState,
    /// Where the scan stands; starts as the ledger's cursor.
    cursor: Cursor,
    /// Outputs to the federation that the scanned blocks create: a later transaction may spend them.
    created: BTreeSet<OutPoint>,
}

impl<'a> Scanner<'a> {
    /// A scan that starts at the ledger's cursor.
    pub fn new(chain: &'a Chain, state: &'a PegState) -> Self {
        Self {
            chain,
            state,
            cursor: *state.cursor(),
            created: BTreeSet::new(),
        }
    }

    /// Height of the block to scan next: the cursor's own where it stands inside a block.
    pub fn next_height(&self) -> BtcHeight {
        if self.cursor.next_tx == WHOLE_BLOCK {
            self.cursor.height.saturating_add(1)
        } else {
            self.cursor.height
        }
    }

    /// Scans the block at [`Scanner::next_height`].
    ///
    /// # Errors
    /// - [`ScanError::Height`] where it is another one;
    /// - [`ScanError::Reorganised`] where it is on another branch;
    /// - [`ScanError::MerkleRoot`], [`ScanError::Transaction`], [`ScanError::TooMany`] where it is no valid block.
    pub fn block(&mut self, block: &Block, height: BtcHeight) -> Result<ScannedBlock, ScanError> {
        if height != self.next_height() {
            return Err(ScanError::Height {
                expected: self.next_height(),
                found: height,
            });
        }
        let hash = block.block_hash();
        let (link, first) = if self.cursor.next_tx == WHOLE_BLOCK {
            (block.header.prev_blockhash, 0)
        } else {
            (hash, self.cursor.next_tx)
        };
        if link != self.cursor.hash {
            return Err(ScanError::Reorganised {
                height,
                expected: self.cursor.hash,
                found: link,
            });
        }
        if !block.check_merkle_root() {
            return Err(ScanError::MerkleRoot { hash });
        }
        let mut transactions = Vec::new();
        for (place, transaction) in block.txdata.iter().enumerate() {
            let index = u32::try_from(place).map_err(|_| ScanError::TooMany { hash })?;
            if index < first || !self.touches(transaction) {
                continue;
            }
            transactions.push(ConsumedTransaction {
                height,
                block: hash,
                index,
                bytes: encode_stripped(transaction)?,
            });
        }
        self.cursor = Cursor {
            height,
            hash,
            next_tx: WHOLE_BLOCK,
        };
        Ok(ScannedBlock {
            height,
            hash,
            transactions,
            proof_bytes: proof_bytes(block),
        })
    }

    /// Whether a transaction pays the federation's script or spends one of its outputs.
    fn touches(&mut self, transaction: &Transaction) -> bool {
        let script = self.chain.wallet().script_pubkey();
        let mut pays = false;
        for (output, vout) in transaction.output.iter().zip(0u32..) {
            if output.script_pubkey == *script {
                pays = true;
                let txid = transaction.compute_txid();
                self.created.insert(OutPoint { txid, vout });
            }
        }
        pays || transaction.input.iter().any(|input| {
            let outpoint = &input.previous_output;
            self.state.utxos().contains_key(outpoint) || self.created.contains(outpoint)
        })
    }
}

/// What our own Bitcoin node says about the range that a block claims to consume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitcoinFacts {
    /// Height of its tip.
    pub tip: BtcHeight,
    /// Hash of its block at the height of the block's cursor.
    pub hash: BlockHash,
    /// The transactions that touch the federation, from the parent's cursor to the block's.
    pub consumed: Vec<ConsumedTransaction>,
    /// Bytes of the proofs of all of them, at most.
    pub proof_bytes: usize,
}

impl BitcoinFacts {
    /// Cuts a scan that started at the parent's cursor at `cursor`; `None` where it does not reach that far.
    pub fn from_scan(tip: BtcHeight, blocks: &[ScannedBlock], cursor: &Cursor) -> Option<Self> {
        let last = blocks.iter().find(|block| block.height == cursor.height)?;
        let (mut consumed, mut proof_bytes) = (Vec::new(), 0usize);
        for block in blocks {
            for transaction in &block.transactions {
                if (transaction.height, transaction.index) < (cursor.height, cursor.next_tx) {
                    consumed.push(transaction.clone());
                    proof_bytes = proof_bytes.saturating_add(block.proof_bytes);
                }
            }
        }
        Some(Self {
            tip,
            hash: last.hash,
            consumed,
            proof_bytes,
        })
    }
}

/// How far a block advances the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The new cursor.
    pub cursor: Cursor,
    /// The transactions up to it.
    pub transactions: Vec<ConsumedTransaction>,
    /// What they do.
    pub consumed: Consumed,
}

/// Scanned blocks that make no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The blocks do not follow each other from the ledger's cursor.
    #[error("expected Bitcoin block {expected}, found {found}")]
    Gap {
        /// The next height.
        expected: BtcHeight,
        /// The height found.
        found: BtcHeight,
    },
    /// A scanned transaction cannot be consumed.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
}

/// The leader's choice: as far as blocks have their confirmations below `tip` and the limits of one side block allow,
/// stopping inside a Bitcoin block where a limit is reached, and right behind a transaction that halts the peg.
///
/// `blocks` come from one [`Scanner`] over `state`. Without any that may be consumed the cursor stays.
///
/// # Errors
/// - [`PlanError::Gap`] where the blocks do not follow each other;
/// - [`PlanError::Consume`] where a transaction cannot be consumed at all.
pub fn plan_advance(
    chain: &Chain,
    state: &PegState,
    tip: BtcHeight,
    blocks: &[ScannedBlock],
) -> Result<Advance, PlanError> {
    let mut reader = Reader::new(chain, state);
    let mut cursor = *state.cursor();
    let mut transactions = Vec::new();
    let mut proofs = 0usize;
    let furthest = state.cursor().height.saturating_add(MAX_BITCOIN_BLOCKS);
    let blocks = if state.halt().is_some() { &[] } else { blocks };
    'blocks: for block in blocks {
        let expected = if cursor.next_tx == WHOLE_BLOCK {
            cursor.height.saturating_add(1)
        } else {
            cursor.height
        };
        if block.height != expected {
            return Err(PlanError::Gap {
                expected,
                found: block.height,
            });
        }
        if block.height > furthest || !is_deep(chain, block.height, tip) {
            break;
        }
        let end = Cursor {
            height: block.height,
            hash: block.hash,
            next_tx: WHOLE_BLOCK,
        };
        for transaction in &block.transactions {
            proofs = proofs.saturating_add(block.proof_bytes);
            if !proofs_fit(transactions.len().saturating_add(1), proofs) {
                break 'blocks;
            }
            match reader.read(&end, transaction) {
                Ok(()) => {}
                Err(
                    ConsumeError::TooMany { .. }
                    | ConsumeError::TooLarge
                    | ConsumeError::TooManyDeposits { .. },
                ) => break 'blocks,
                Err(error) => return Err(error.into()),
            }
            transactions.push(transaction.clone());
            cursor = Cursor {
                next_tx: transaction.index.saturating_add(1),
                ..end
            };
            if reader.is_halted() {
                break 'blocks;
            }
        }
        cursor = end;
    }
    Ok(Advance {
        cursor,
        transactions,
        consumed: reader.finish(cursor),
    })
}

/// Whether a block has its confirmations: it is the first of them itself.
pub(crate) fn is_deep(chain: &Chain, height: BtcHeight, tip: BtcHeight) -> bool {
    height
        .saturating_add(chain.spec().deposits.confirmations)
        .get()
        <= tip.get().saturating_add(1)
}
