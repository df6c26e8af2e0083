//! Merged-mining proofs in Namecoin's serialisation, verified strictly (design 6, regression A5).
//!
//! Source: Namecoin `CAuxPow` and the Bitcoin wiki's "Merged mining specification". Stricter than both: the coinbase
//! must be one, the magic must be there exactly once, and our chain id comes from the spec, never from the proof.

use crate::bytes::BundleHash;
use crate::spec::Target;
use alloc::vec::Vec;
use bitcoin::block::Header as BitcoinHeader;
use bitcoin::consensus::encode::Decodable as _;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{BlockHash, Transaction};
use thiserror::Error;

/// Marks the commitment in a coinbase.
pub const MAGIC: [u8; 4] = [0xfa, 0xbe, 0x6d, 0x6d];
/// Hashes in a branch at most.
pub const MAX_BRANCH: usize = 30;

/// A Merkle branch: the hashes beside the path, lowest first, and the leaf's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleBranch {
    /// Siblings, lowest first.
    pub hashes: Vec<[u8; 32]>,
    /// Place of the leaf; bit `i` tells the side at level `i`.
    pub index: u32,
}

impl MerkleBranch {
    /// The root over `leaf`.
    pub fn root(&self, leaf: [u8; 32]) -> [u8; 32] {
        self.hashes
            .iter()
            .zip(0u32..)
            .fold(leaf, |node, (sibling, level)| {
                let right = self.index.checked_shr(level).unwrap_or(0) & 1 == 1;
                let pair = if right {
                    [*sibling, node]
                } else {
                    [node, *sibling]
                };
                sha256d::Hash::hash(pair.as_flattened()).to_byte_array()
            })
    }
}

/// A proof that the work in a Bitcoin block header was done for one bundle of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuxPow {
    /// The Bitcoin block's coinbase.
    pub coinbase: Transaction,
    /// Hash of the Bitcoin block as Namecoin's encoding repeats it; carries no weight.
    pub block_hash: BlockHash,
    /// From the coinbase to the Bitcoin block's Merkle root.
    pub coinbase_branch: MerkleBranch,
    /// From our bundle to the root that the coinbase commits to.
    pub chain_branch: MerkleBranch,
    /// The Bitcoin block's header, which has the work.
    pub parent: BitcoinHeader,
}

/// An AuxPoW that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuxPowError {
    /// Not Namecoin's encoding of one.
    #[error("not an AuxPoW in Namecoin's encoding: {0}")]
    Encoding(&'static str),
    /// The coinbase is not at index 0 of its block.
    #[error("expected the coinbase at index 0, found index {found}")]
    CoinbaseIndex {
        /// Index found.
        found: u32,
    },
    /// The transaction is no coinbase.
    #[error("expected a coinbase: {0}")]
    NotCoinbase(&'static str),
    /// A branch is too deep.
    #[error("expected a branch of at most {MAX_BRANCH} hashes, found {found}")]
    BranchDepth {
        /// Hashes found.
        found: usize,
    },
    /// The coinbase is not in the block.
    #[error("the coinbase's branch leads to {found}, the header's Merkle root is {expected}")]
    CoinbaseBranch {
        /// Root in the header.
        expected: sha256d::Hash,
        /// Root of the branch.
        found: sha256d::Hash,
    },
    /// The commitment's marker is not there exactly once.
    #[error("expected the merged-mining magic once in the coinbase, found it {found} times")]
    Magic {
        /// Occurrences found.
        found: usize,
    },
    /// Too few bytes after the magic, or another root there.
    #[error("the coinbase does not commit to the bundle: expected root {expected} after the magic")]
    Commitment {
        /// The root that should be there, in display order.
        expected: sha256d::Hash,
    },
    /// The size of the chain tree does not fit the branch.
    #[error("expected a chain tree of {expected} leaves, found {found}")]
    TreeSize {
        /// `2^depth` of the branch.
        expected: u32,
        /// Size in the coinbase.
        found: u32,
    },
    /// Another chain's slot.
    #[error("expected our commitment in chain slot {expected}, found slot {found}")]
    ChainSlot {
        /// The slot that chain id and nonce give.
        expected: u32,
        /// The slot that the branch proves.
        found: u32,
    },
    /// Not enough work.
    #[error("expected a block hash of at most {target}, found {found}")]
    Work {
        /// The target.
        target: Target,
        /// The header's hash as a big-endian number.
        found: Target,
    },
}

/// The slot of a chain in the chain Merkle tree: Namecoin's `getExpectedIndex`, arithmetic modulo 2^32.
pub fn chain_slot(nonce: u32, aux_chain_id: u32, depth: u32) -> u32 {
    let step = |random: u32| random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
    let random = step(step(nonce).wrapping_add(aux_chain_id));
    let mask = 1u32
        .checked_shl(depth)
        .map_or(u32::MAX, |size| size.wrapping_sub(1));
    random & mask
}

impl AuxPow {
    /// Decodes Namecoin's serialisation; every byte must be used.
    ///
    /// # Errors
    /// - [`AuxPowError::Encoding`] where the bytes are something else;
    /// - [`AuxPowError::BranchDepth`] where a branch has more than [`MAX_BRANCH`] hashes.
    pub fn decode(bytes: &[u8]) -> Result<Self, AuxPowError> {
        let mut rest = bytes;
        let field = AuxPowError::Encoding;
        let proof = Self {
            coinbase: Transaction::consensus_decode(&mut rest).map_err(|_| field("coinbase"))?,
            block_hash: BlockHash::consensus_decode(&mut rest).map_err(|_| field("block hash"))?,
            coinbase_branch: decode_branch(&mut rest)?,
            chain_branch: decode_branch(&mut rest)?,
            parent: BitcoinHeader::consensus_decode(&mut rest)
                .map_err(|_| field("parent header"))?,
        };
        if !rest.is_empty() {
            return Err(field("bytes after the parent header"));
        }
        Ok(proof)
    }

    /// Namecoin's serialisation.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = bitcoin::consensus::serialize(&self.coinbase);
        bytes.extend_from_slice(self.block_hash.as_byte_array());
        for branch in [&self.coinbase_branch, &self.chain_branch] {
            let count = bitcoin::VarInt::from(branch.hashes.len());
            bytes.extend_from_slice(&bitcoin::consensus::serialize(&count));
            bytes.extend_from_slice(branch.hashes.as_flattened());
            bytes.extend_from_slice(&branch.index.to_le_bytes());
        }
        bytes.extend_from_slice(&bitcoin::consensus::serialize(&self.parent));
        bytes
    }

    /// The work in the proof, as the big-endian number that targets are compared to.
    pub fn work_hash(&self) -> Target {
        let mut number = self.parent.block_hash().to_byte_array();
        number.reverse();
        Target::new(number)
    }

    /// Verifies that work of at most `target` was done for `bundle` on the chain with `aux_chain_id`.
    ///
    /// # Errors
    /// - one [`AuxPowError`] for each thing that can be wrong with it.
    pub fn verify(
        &self,
        aux_chain_id: u32,
        bundle: &BundleHash,
        target: &Target,
    ) -> Result<(), AuxPowError> {
        let found = self.work_hash();
        if found > *target {
            return Err(AuxPowError::Work {
                target: *target,
                found,
            });
        }
        self.check_coinbase()?;
        let nonce = self.check_commitment(bundle)?;
        self.check_slot(aux_chain_id, nonce)
    }

    /// "coinbase at index 0 and real (null prevout)"
    fn check_coinbase(&self) -> Result<(), AuxPowError> {
        if self.coinbase_branch.index != 0 {
            return Err(AuxPowError::CoinbaseIndex {
                found: self.coinbase_branch.index,
            });
        }
        let [input] = self.coinbase.input.as_slice() else {
            return Err(AuxPowError::NotCoinbase("it has not exactly one input"));
        };
        if !input.previous_output.is_null() {
            return Err(AuxPowError::NotCoinbase("its input spends an output"));
        }
        if !(2..=100).contains(&input.script_sig.len()) {
            return Err(AuxPowError::NotCoinbase(
                "its script is not 2 to 100 bytes long",
            ));
        }
        // 64 bytes could be an inner node of the tree (CVE-2017-12842, regression N7).
        if self.coinbase.base_size() == 64 {
            return Err(AuxPowError::NotCoinbase("it is 64 bytes long"));
        }
        let found = self
            .coinbase_branch
            .root(self.coinbase.compute_txid().to_byte_array());
        let expected = self.parent.merkle_root.to_byte_array();
        if found != expected {
            return Err(AuxPowError::CoinbaseBranch {
                expected: sha256d::Hash::from_byte_array(expected),
                found: sha256d::Hash::from_byte_array(found),
            });
        }
        Ok(())
    }

    /// "the magic exactly once over scriptSig and all OP_RETURN scripts, then root, size = 2^depth, nonce"
    fn check_commitment(&self, bundle: &BundleHash) -> Result<u32, AuxPowError> {
        let scripts = self
            .coinbase
            .input
            .iter()
            .map(|input| input.script_sig.as_script())
            .chain(
                self.coinbase
                    .output
                    .iter()
                    .map(|output| output.script_pubkey.as_script())
                    .filter(|script| script.is_op_return()),
            );
        let mut after_magic = Vec::new();
        for script in scripts {
            let bytes = script.as_bytes();
            let places = bytes.windows(MAGIC.len()).zip(MAGIC.len()..);
            for (_, end) in places.filter(|(window, _)| *window == MAGIC) {
                after_magic.push(bytes.get(end..).unwrap_or_default());
            }
        }
        let [commitment] = after_magic.as_slice() else {
            return Err(AuxPowError::Magic {
                found: after_magic.len(),
            });
        };
        let mut root = self.chain_branch.root(bundle.to_bytes());
        let expected = AuxPowError::Commitment {
            expected: sha256d::Hash::from_byte_array(root),
        };
        // The coinbase has the root in display order: the reverse of how it is hashed.
        root.reverse();
        let Some(rest) = commitment.strip_prefix(&root) else {
            return Err(expected);
        };
        let Some((size, rest)) = rest.split_first_chunk::<4>() else {
            return Err(expected);
        };
        let Some((nonce, _)) = rest.split_first_chunk::<4>() else {
            return Err(expected);
        };
        let size = u32::from_le_bytes(*size);
        let wanted = 1u32.checked_shl(self.depth()).unwrap_or(0);
        if size != wanted {
            return Err(AuxPowError::TreeSize {
                expected: wanted,
                found: size,
            });
        }
        Ok(u32::from_le_bytes(*nonce))
    }

    /// "chain-merkle slot derived from chain id and nonce, chain id from the spec"
    fn check_slot(&self, aux_chain_id: u32, nonce: u32) -> Result<(), AuxPowError> {
        let expected = chain_slot(nonce, aux_chain_id, self.depth());
        if self.chain_branch.index != expected {
            return Err(AuxPowError::ChainSlot {
                expected,
                found: self.chain_branch.index,
            });
        }
        Ok(())
    }

    fn depth(&self) -> u32 {
        u32::try_from(self.chain_branch.hashes.len()).unwrap_or(u32::MAX)
    }
}

fn decode_branch(rest: &mut &[u8]) -> Result<MerkleBranch, AuxPowError> {
    let field = AuxPowError::Encoding;
    let count = bitcoin::VarInt::consensus_decode(rest).map_err(|_| field("branch length"))?;
    let count = usize::try_from(count.0).unwrap_or(usize::MAX);
    if count > MAX_BRANCH {
        return Err(AuxPowError::BranchDepth { found: count });
    }
    let hashes = (0..count)
        .map(|_| <[u8; 32]>::consensus_decode(rest).map_err(|_| field("branch hash")))
        .collect::<Result<_, _>>()?;
    let index = u32::consensus_decode(rest).map_err(|_| field("branch index"))?;
    Ok(MerkleBranch { hashes, index })
}

/// The bytes to put into a coinbase: magic, root, size and nonce of a chain tree with this one leaf.
pub fn commitment(bundle: &BundleHash) -> [u8; 44] {
    let mut bytes = [0u8; 44];
    let mut root = bundle.to_bytes();
    root.reverse();
    let fields = MAGIC
        .iter()
        .chain(&root)
        .chain(&[1, 0, 0, 0])
        .chain(&[0, 0, 0, 0]);
    for (place, byte) in bytes.iter_mut().zip(fields) {
        *place = *byte;
    }
    bytes
}

#[cfg(test)]
mod tests;
