//! The body of a side block: what consensus adds to the execution payload, in four sections under one root.

use crate::bounded::BoundedVec;
use crate::bytes::{BlockId, BodyRoot, Digest, EvmAddress};
use crate::certificate::Certificate;
use crate::hash::{self, TaggedHasher};
use crate::peg::{BatchRecord, ConsumedTransaction};
use crate::units::ChainId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Consumed Bitcoin transactions in one body at most.
pub const MAX_CONSUMED: usize = 4096;
/// Bytes of an AuxPoW at most: a large coinbase and two branches of 30 hashes fit easily.
pub const MAX_AUXPOW_BYTES: usize = 128 * 1024;

/// A proof-of-work record: a share that finalises the range from the child of the parent's PoW-final block up to
/// `header.pow` of the block that carries it (design 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowRecord {
    /// First block of the range: the child of `parent.pow.id`.
    pub start: BlockId,
    /// Who gets the miner's share of the fees; the work binds it.
    pub fee_recipient: EvmAddress,
    /// Namecoin's serialisation of the AuxPoW.
    pub auxpow: BoundedVec<u8, MAX_AUXPOW_BYTES>,
}

/// What a block decides beside its execution payload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Body {
    /// Certificate of the parent; none where the parent is genesis.
    pub parent_certificate: Option<Certificate>,
    /// Every Bitcoin transaction from the parent's cursor to this header's that pays or spends the federation's
    /// script, in Bitcoin's order.
    pub consumed: BoundedVec<ConsumedTransaction, MAX_CONSUMED>,
    /// The proof-of-work record, if any.
    pub pow: Option<PowRecord>,
    /// The peg-out batch decided here, if any.
    pub batch: Option<BatchRecord>,
}

/// A section of a body: its leaf in the tree under [`BodyRoot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Section {
    /// [`Body::parent_certificate`].
    ParentCertificate,
    /// [`Body::consumed`].
    Consumed,
    /// [`Body::pow`].
    Pow,
    /// [`Body::batch`].
    Batch,
}

impl Section {
    const fn index(self) -> u8 {
        match self {
            Self::ParentCertificate => 0,
            Self::Consumed => 1,
            Self::Pow => 2,
            Self::Batch => 3,
        }
    }
}

/// A body that cannot be hashed or a branch that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The section cannot be encoded.
    #[error("a body section cannot be encoded")]
    Encode,
    /// The branch leads to another root.
    #[error("expected body root {expected}, found {found}")]
    Root {
        /// Root in the header.
        expected: BodyRoot,
        /// Root that the section and the branch give.
        found: BodyRoot,
    },
}

/// Proof that a section belongs to a body: the section beside it and the pair beside those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyBranch {
    /// The two sibling hashes, lowest first.
    pub siblings: [Digest; 2],
}

fn leaf<T: Serialize>(chain_id: ChainId, section: Section, value: &T) -> Result<Digest, BodyError> {
    let bytes = postcard::to_allocvec(value).map_err(|_| BodyError::Encode)?;
    Ok(Digest::new(
        TaggedHasher::new(hash::BODY_LEAF, chain_id)
            .fixed(&[section.index()])
            .variable(&bytes)
            .finish(),
    ))
}

fn node(chain_id: ChainId, left: &Digest, right: &Digest) -> Digest {
    Digest::new(
        TaggedHasher::new(hash::BODY_NODE, chain_id)
            .fixed(left.as_bytes())
            .fixed(right.as_bytes())
            .finish(),
    )
}

impl Body {
    fn leaves(&self, chain_id: ChainId) -> Result<[Digest; 4], BodyError> {
        Ok([
            leaf(
                chain_id,
                Section::ParentCertificate,
                &self.parent_certificate,
            )?,
            leaf(chain_id, Section::Consumed, &self.consumed)?,
            leaf(chain_id, Section::Pow, &self.pow)?,
            leaf(chain_id, Section::Batch, &self.batch)?,
        ])
    }

    /// The root that the block's header carries.
    ///
    /// # Errors
    /// - [`BodyError::Encode`] never for a body that fits in memory.
    pub fn root(&self, chain_id: ChainId) -> Result<BodyRoot, BodyError> {
        let [a, b, c, d] = self.leaves(chain_id)?;
        let (left, right) = (node(chain_id, &a, &b), node(chain_id, &c, &d));
        Ok(BodyRoot::new(node(chain_id, &left, &right).to_bytes()))
    }

    /// The branch from one section to the root.
    ///
    /// # Errors
    /// - [`BodyError::Encode`] never for a body that fits in memory.
    pub fn branch(&self, chain_id: ChainId, section: Section) -> Result<BodyBranch, BodyError> {
        let [a, b, c, d] = self.leaves(chain_id)?;
        let (left, right) = (node(chain_id, &a, &b), node(chain_id, &c, &d));
        let siblings = match section {
            Section::ParentCertificate => [b, right],
            Section::Consumed => [a, right],
            Section::Pow => [d, left],
            Section::Batch => [c, left],
        };
        Ok(BodyBranch { siblings })
    }
}

impl BodyBranch {
    /// Verifies that a body under `root` has `value` as its `section`.
    ///
    /// # Errors
    /// - [`BodyError::Root`] where it has not;
    /// - [`BodyError::Encode`] never for a value that fits in memory.
    pub fn verify<T: Serialize>(
        &self,
        chain_id: ChainId,
        root: BodyRoot,
        section: Section,
        value: &T,
    ) -> Result<(), BodyError> {
        let mut hash = leaf(chain_id, section, value)?;
        for (level, sibling) in self.siblings.iter().enumerate() {
            hash = if section.index() & (1u8 << (level as u8 & 1)) == 0 {
                node(chain_id, &hash, sibling)
            } else {
                node(chain_id, sibling, &hash)
            };
        }
        let found = BodyRoot::new(hash.to_bytes());
        if found != root {
            return Err(BodyError::Root {
                expected: root,
                found,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_section_is_proven_in_its_own_place_only() {
        let chain = ChainId::new(3);
        let body = Body {
            pow: Some(PowRecord {
                start: BlockId::new([1; 32]),
                fee_recipient: EvmAddress::ZERO,
                auxpow: BoundedVec::empty(),
            }),
            ..Body::default()
        };
        let root = body.root(chain).unwrap();
        let branch = body.branch(chain, Section::Pow).unwrap();
        assert_eq!(branch.verify(chain, root, Section::Pow, &body.pow), Ok(()));
        // `None` of two sections encodes alike: the place must tell them apart.
        assert!(
            branch
                .verify(chain, root, Section::Batch, &body.pow)
                .is_err()
        );
        let none = body.branch(chain, Section::Batch).unwrap();
        assert_eq!(
            none.verify(chain, root, Section::Batch, &body.batch),
            Ok(())
        );
        assert!(
            none.verify(chain, root, Section::ParentCertificate, &body.batch)
                .is_err()
        );
        assert!(
            none.verify(ChainId::new(4), root, Section::Batch, &body.batch)
                .is_err()
        );
    }
}
