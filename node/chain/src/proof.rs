//! Proofs that transactions are in a Bitcoin block, for signers, which have only its header (design 8, SPV).

use crate::consume::{ConsumeError, consume};
use crate::ledger::PegState;
use alys_protocol::bounded::{BoundedVec, TooLong};
use alys_protocol::bytes::Digest;
use alys_protocol::peg::{ConsumedTransaction, Cursor, TransactionError, encode_stripped};
use alys_protocol::signer::DepositProof;
use alys_protocol::spec::Chain;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{Block, BlockHash, Transaction, TxMerkleNode};
use thiserror::Error;

/// The Merkle tree over a block's txids, all rows kept, so that each branch costs its length only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleTree {
    /// Txids first, the root last. A row of odd length stands for one in which its last node comes twice.
    rows: Vec<Vec<[u8; 32]>>,
}

impl MerkleTree {
    /// The tree over txids, in the block's order.
    pub fn new(txids: Vec<[u8; 32]>) -> Self {
        let mut rows = vec![txids];
        while let Some(row) = rows.last().filter(|row| row.len() > 1) {
            let above = row.chunks(2).filter_map(parent).collect();
            rows.push(above);
        }
        Self { rows }
    }

    /// The root; `None` where there are no txids.
    pub fn root(&self) -> Option<[u8; 32]> {
        self.rows.last()?.first().copied()
    }

    /// The branch of the txid at `index`, lowest first; `None` where there is no such txid.
    ///
    /// All branches of a tree have the same length. The last node of an odd row has itself beside it.
    pub fn branch(&self, index: u32) -> Option<Vec<[u8; 32]>> {
        let mut place = usize::try_from(index).ok()?;
        self.rows.first()?.get(place)?;
        let (_root, below) = self.rows.split_last()?;
        below
            .iter()
            .map(|row| {
                let beside = row.get(place ^ 1).or_else(|| row.get(place)).copied();
                place >>= 1;
                beside
            })
            .collect()
    }
}

fn parent(pair: &[[u8; 32]]) -> Option<[u8; 32]> {
    let (left, right) = (pair.first()?, pair.last()?);
    Some(sha256d::Hash::hash([*left, *right].as_flattened()).to_byte_array())
}

/// Hashes in each branch of a tree over so many txids.
fn depth(transactions: usize) -> u32 {
    transactions
        .checked_next_power_of_two()
        .map_or(usize::BITS, usize::trailing_zeros)
}

/// Bytes of proofs that one side block's consumed transactions may need: with these, a request to a signer is far from
/// [`MAX_FRAME_BYTES`](alys_protocol::signer::MAX_FRAME_BYTES). Each proof repeats its block's coinbase, which the
/// Bitcoin miner makes as long as it likes.
pub const MAX_PROOF_BYTES: usize = 4 << 20;

/// Whether one side block may consume so many transactions whose proofs have so many bytes, all counted.
///
/// A single one always fits: a coinbase is at most as long as any transaction.
pub const fn proofs_fit(transactions: usize, bytes: usize) -> bool {
    transactions <= 1 || bytes <= MAX_PROOF_BYTES
}

/// Bytes of one [`DepositProof`] in a block, at most.
pub(crate) fn proof_bytes(block: &Block) -> usize {
    const FIELDS: usize = 32;
    let coinbase = block.txdata.first().map_or(0, Transaction::base_size);
    let branches = usize::try_from(depth(block.txdata.len()))
        .unwrap_or(usize::MAX)
        .saturating_mul(2 * 32);
    coinbase.saturating_add(branches).saturating_add(FIELDS)
}

/// A transaction that cannot be proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DepositProofError {
    /// The block's transactions are not those of its header.
    #[error(
        "Bitcoin block {block}: expected transactions with Merkle root {expected}, found {found:?}"
    )]
    MerkleRoot {
        /// The block.
        block: BlockHash,
        /// The header's root.
        expected: TxMerkleNode,
        /// The root of the transactions, if there are any.
        found: Option<TxMerkleNode>,
    },
    /// There is no such transaction.
    #[error("Bitcoin block {block}: expected a place below {transactions}, found {index}")]
    NoTransaction {
        /// The block.
        block: BlockHash,
        /// Transactions in it.
        transactions: usize,
        /// The place asked for.
        index: u32,
    },
    /// The coinbase is too long for a proof.
    #[error("the coinbase of Bitcoin block {block}: {error}")]
    Coinbase {
        /// The block.
        block: BlockHash,
        /// What is wrong.
        error: TransactionError,
    },
    /// A branch is too long for a proof.
    #[error("a Merkle branch: {0}")]
    Branch(#[from] TooLong),
}

/// Proves transactions of one Bitcoin block.
#[derive(Debug, Clone)]
pub struct DepositProver {
    block: BlockHash,
    tree: MerkleTree,
    /// A proof of the coinbase itself, which each proof repeats.
    coinbase: DepositProof,
    bytes: usize,
}

impl DepositProver {
    /// Reads a block.
    ///
    /// # Errors
    /// - [`DepositProofError::MerkleRoot`] where it does not have its header's transactions;
    /// - [`DepositProofError::Coinbase`], [`DepositProofError::Branch`] where no proof can hold it.
    pub fn new(block: &Block) -> Result<Self, DepositProofError> {
        let hash = block.block_hash();
        let txids = block.txdata.iter();
        let tree = MerkleTree::new(
            txids
                .map(|transaction| transaction.compute_txid().to_byte_array())
                .collect(),
        );
        let found = tree.root().map(TxMerkleNode::from_byte_array);
        let wrong = DepositProofError::MerkleRoot {
            block: hash,
            expected: block.header.merkle_root,
            found,
        };
        let (Some(coinbase), true) = (
            block.txdata.first(),
            found == Some(block.header.merkle_root),
        ) else {
            return Err(wrong);
        };
        let branch = branch(&tree, 0)?.ok_or(wrong)?;
        let coinbase = DepositProof {
            consumed: 0,
            branch: BoundedVec::empty(),
            coinbase: encode_stripped(coinbase)
                .map_err(|error| DepositProofError::Coinbase { block: hash, error })?,
            coinbase_branch: branch,
        };
        Ok(Self {
            block: hash,
            tree,
            coinbase,
            bytes: proof_bytes(block),
        })
    }

    /// The block.
    pub fn block(&self) -> BlockHash {
        self.block
    }

    /// Bytes of each of its proofs, at most.
    pub const fn proof_bytes(&self) -> usize {
        self.bytes
    }

    /// Proves the transaction at `index` of the block, which is number `consumed` of a body's consumed ones.
    ///
    /// # Errors
    /// - [`DepositProofError::NoTransaction`] where the block has fewer;
    /// - [`DepositProofError::Branch`] never for a real block.
    pub fn prove(&self, consumed: u32, index: u32) -> Result<DepositProof, DepositProofError> {
        let branch = branch(&self.tree, index)?.ok_or(DepositProofError::NoTransaction {
            block: self.block,
            transactions: self.tree.rows.first().map_or(0, Vec::len),
            index,
        })?;
        Ok(DepositProof {
            consumed,
            branch,
            ..self.coinbase.clone()
        })
    }
}

fn branch<const MAX: usize>(
    tree: &MerkleTree,
    index: u32,
) -> Result<Option<BoundedVec<Digest, MAX>>, TooLong> {
    tree.branch(index)
        .map(|hashes| BoundedVec::new(hashes.into_iter().map(Digest::new).collect()))
        .transpose()
}

/// Which of the consumed transactions of a child of `state` are deposits, by their numbers: those to prove.
///
/// # Errors
/// - [`ConsumeError`] where they cannot be consumed.
pub fn deposits(
    chain: &Chain,
    state: &PegState,
    cursor: &Cursor,
    consumed: &[ConsumedTransaction],
) -> Result<Vec<u32>, ConsumeError> {
    let mints = consume(chain, state, cursor, consumed)?.mints;
    let mut mints = mints.iter().peekable();
    // Both are in Bitcoin's order.
    let mut is_mint = |transaction: &ConsumedTransaction| {
        let position = (transaction.height, transaction.index);
        mints
            .next_if(|mint| (mint.height, mint.index) == position)
            .is_some()
    };
    Ok(consumed
        .iter()
        .zip(0u32..)
        .filter_map(|(transaction, number)| is_mint(transaction).then_some(number))
        .collect())
}
