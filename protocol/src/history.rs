//! The history of all ancestors: a Merkle mountain range over header ids (design 4 and 10, rule `history`).
//!
//! Leaf `i` is the id at height `i`. Leaves and inner nodes are hashed under different tags; the root bags the peaks
//! from right to left together with their count; the root over no leaf (genesis's) is all zeros.

use crate::bounded::BoundedVec;
use crate::bytes::{BlockId, Digest, HistoryRoot};
use crate::hash::{self, TaggedHasher};
use crate::units::{ChainId, SideHeight};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Peaks that a history of fewer than 2^64 leaves can have.
pub const MAX_PEAKS: usize = 64;

/// The peaks of a history, tallest first: all that is needed to append and to compute the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peaks {
    leaves: u64,
    peaks: BoundedVec<Digest, MAX_PEAKS>,
}

/// A history or a proof that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// Not one peak for each set bit of the number of leaves.
    #[error("a history of {leaves} leaves has {expected} peaks, found {found}")]
    Peaks {
        /// Leaves claimed.
        leaves: u64,
        /// Peaks that so many leaves make.
        expected: u32,
        /// Peaks found.
        found: usize,
    },
    /// The peaks bag to another root.
    #[error("expected history root {expected}, found {found}")]
    Root {
        /// Root that the header has.
        expected: HistoryRoot,
        /// Root that the evidence gives.
        found: HistoryRoot,
    },
    /// The proof has the wrong number of siblings for its place.
    #[error("a proof of leaf {leaf} among {leaves} has {expected} siblings, found {found}")]
    Siblings {
        /// The leaf to prove.
        leaf: u64,
        /// Leaves of the history.
        leaves: u64,
        /// Siblings expected.
        expected: usize,
        /// Siblings found.
        found: usize,
    },
    /// There is no such leaf.
    #[error("the history has {leaves} leaves, so none at height {leaf}")]
    NoLeaf {
        /// The leaf asked for.
        leaf: u64,
        /// Leaves of the history.
        leaves: u64,
    },
    /// 2^64 leaves.
    #[error("the history is full")]
    Full,
}

fn leaf_hash(chain_id: ChainId, height: u64, id: BlockId) -> Digest {
    Digest::new(
        TaggedHasher::new(hash::HISTORY_LEAF, chain_id)
            .fixed(&height.to_le_bytes())
            .fixed(id.as_bytes())
            .finish(),
    )
}

fn node_hash(chain_id: ChainId, left: &Digest, right: &Digest) -> Digest {
    Digest::new(
        TaggedHasher::new(hash::HISTORY_NODE, chain_id)
            .fixed(left.as_bytes())
            .fixed(right.as_bytes())
            .finish(),
    )
}

fn bag(chain_id: ChainId, leaves: u64, peaks: &[Digest]) -> HistoryRoot {
    let Some((last, taller)) = peaks.split_last() else {
        return HistoryRoot::ZERO;
    };
    let bagged = taller
        .iter()
        .rev()
        .fold(*last, |right, left| node_hash(chain_id, left, &right));
    HistoryRoot::new(
        TaggedHasher::new(hash::HISTORY_ROOT, chain_id)
            .fixed(&leaves.to_le_bytes())
            .fixed(bagged.as_bytes())
            .finish(),
    )
}

impl Peaks {
    /// The history before genesis.
    pub const fn empty() -> Self {
        Self {
            leaves: 0,
            peaks: BoundedVec::empty(),
        }
    }

    /// Wraps peaks, tallest first.
    ///
    /// # Errors
    /// - [`HistoryError::Peaks`] where so many leaves make another number of peaks.
    pub fn new(leaves: u64, peaks: Vec<Digest>) -> Result<Self, HistoryError> {
        let error = HistoryError::Peaks {
            leaves,
            expected: leaves.count_ones(),
            found: peaks.len(),
        };
        let peaks = BoundedVec::new(peaks).map_err(|_| error)?;
        let history = Self { leaves, peaks };
        history.check_shape().map(|()| history)
    }

    /// Checks what decoding cannot: one peak for each set bit of the number of leaves.
    ///
    /// # Errors
    /// - [`HistoryError::Peaks`] where it is otherwise.
    pub fn check_shape(&self) -> Result<(), HistoryError> {
        if usize::try_from(self.leaves.count_ones()) != Ok(self.peaks.len()) {
            return Err(HistoryError::Peaks {
                leaves: self.leaves,
                expected: self.leaves.count_ones(),
                found: self.peaks.len(),
            });
        }
        Ok(())
    }

    /// Number of leaves: the height of the header whose history this is.
    pub const fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The peaks, tallest first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// The root that a header of height `leaves` carries.
    pub fn root(&self, chain_id: ChainId) -> HistoryRoot {
        bag(chain_id, self.leaves, &self.peaks)
    }

    /// The history with one more leaf: `id` at height [`Peaks::leaves`].
    ///
    /// # Errors
    /// - [`HistoryError::Full`] after 2^64 - 1 leaves;
    /// - [`HistoryError::Peaks`] where the peaks do not fit the number of leaves.
    pub fn append(&self, chain_id: ChainId, id: BlockId) -> Result<Self, HistoryError> {
        self.check_shape()?;
        let leaves = self.leaves.checked_add(1).ok_or(HistoryError::Full)?;
        let mut peaks = self.peaks.to_vec();
        let mut node = leaf_hash(chain_id, self.leaves, id);
        // Each trailing set bit of the old count is a peak of the same size as the new node.
        for _merge in 0..self.leaves.trailing_ones() {
            let left = peaks.pop().ok_or(HistoryError::Full)?;
            node = node_hash(chain_id, &left, &node);
        }
        peaks.push(node);
        Self::new(leaves, peaks)
    }
}

/// Proof that a header's history has `id` at a height: siblings up to the leaf's peak, then the other peaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryProof {
    /// Siblings from the leaf up to its peak, lowest first.
    pub siblings: BoundedVec<Digest, MAX_PEAKS>,
    /// All peaks but the leaf's, tallest first.
    pub other_peaks: BoundedVec<Digest, MAX_PEAKS>,
}

/// Where a leaf lies: the number of the peak above it and that peak's height.
fn mountain(leaf: u64, leaves: u64) -> Option<(usize, u32)> {
    if leaf >= leaves {
        return None;
    }
    // The highest bit in which leaf and leaves differ is the peak's: leaves has it and leaf has not.
    let height = (leaf ^ leaves).checked_ilog2()?;
    let taller = leaves.checked_shr(height.checked_add(1)?).unwrap_or(0);
    Some((usize::try_from(taller.count_ones()).ok()?, height))
}

impl HistoryProof {
    /// Verifies that the history under `root`, of `leaves` leaves, has `id` at `height`.
    ///
    /// # Errors
    /// - [`HistoryError::NoLeaf`] where it has no leaf there;
    /// - [`HistoryError::Siblings`] and [`HistoryError::Peaks`] where the proof has the wrong shape;
    /// - [`HistoryError::Root`] where it proves another root.
    pub fn verify(
        &self,
        chain_id: ChainId,
        root: HistoryRoot,
        leaves: SideHeight,
        height: SideHeight,
        id: BlockId,
    ) -> Result<(), HistoryError> {
        let (leaf, leaves) = (height.get(), leaves.get());
        let (place, peak_height) =
            mountain(leaf, leaves).ok_or(HistoryError::NoLeaf { leaf, leaves })?;
        let expected = usize::try_from(peak_height).unwrap_or(usize::MAX);
        if self.siblings.len() != expected {
            return Err(HistoryError::Siblings {
                leaf,
                leaves,
                expected,
                found: self.siblings.len(),
            });
        }
        let peak = self.siblings.iter().zip(0u32..).fold(
            leaf_hash(chain_id, leaf, id),
            |node, (sibling, level)| {
                if leaf.checked_shr(level).unwrap_or(0) & 1 == 1 {
                    node_hash(chain_id, sibling, &node)
                } else {
                    node_hash(chain_id, &node, sibling)
                }
            },
        );
        let mut peaks = self.other_peaks.to_vec();
        if place > peaks.len() {
            return Err(HistoryError::Peaks {
                leaves,
                expected: leaves.count_ones(),
                found: peaks.len().saturating_add(1),
            });
        }
        peaks.insert(place, peak);
        let found = Peaks::new(leaves, peaks)?.root(chain_id);
        if found != root {
            return Err(HistoryError::Root {
                expected: root,
                found,
            });
        }
        Ok(())
    }

    /// Builds the proof of the leaf at `height` in the history of the first `leaves` ids.
    ///
    /// `id_at` gives the id at a height below `leaves`. Time is linear in `leaves`: nodes that prove often keep the
    /// inner nodes instead and call [`HistoryProof::build_with`].
    ///
    /// # Errors
    /// - [`HistoryError::NoLeaf`] where `height` is not below `leaves`, or `id_at` does not know a height.
    pub fn build(
        chain_id: ChainId,
        leaves: SideHeight,
        height: SideHeight,
        id_at: impl Fn(u64) -> Option<BlockId>,
    ) -> Result<Self, HistoryError> {
        fn subtree(
            chain_id: ChainId,
            first: u64,
            level: u32,
            id_at: &impl Fn(u64) -> Option<BlockId>,
        ) -> Option<Digest> {
            let Some(below) = level.checked_sub(1) else {
                return id_at(first).map(|id| leaf_hash(chain_id, first, id));
            };
            let middle = first.checked_add(1u64.checked_shl(below)?)?;
            Some(node_hash(
                chain_id,
                &subtree(chain_id, first, below, id_at)?,
                &subtree(chain_id, middle, below, id_at)?,
            ))
        }
        Self::build_with(leaves, height, |first, level| {
            subtree(chain_id, first, level, &id_at)
        })
    }

    /// Builds a proof from inner nodes: `node(first, level)` is the node over the `2^level` leaves from `first`.
    ///
    /// # Errors
    /// - [`HistoryError::NoLeaf`] where `height` is not below `leaves`, or a node is not known.
    pub fn build_with(
        leaves: SideHeight,
        height: SideHeight,
        node: impl Fn(u64, u32) -> Option<Digest>,
    ) -> Result<Self, HistoryError> {
        let (leaf, leaves) = (height.get(), leaves.get());
        let missing = HistoryError::NoLeaf { leaf, leaves };
        let (place, peak_height) = mountain(leaf, leaves).ok_or(missing)?;
        let siblings = (0..peak_height)
            .map(|level| {
                // The sibling's first leaf: clear the bits below `level`, flip the bit at it.
                let aligned = leaf.checked_shr(level)?.checked_shl(level)?;
                node(aligned ^ 1u64.checked_shl(level)?, level)
            })
            .collect::<Option<Vec<_>>>()
            .ok_or(missing)?;
        let mut other_peaks = Vec::new();
        let mut first = 0u64;
        for level in (0..u64::BITS).rev() {
            let size = 1u64.checked_shl(level).ok_or(missing)?;
            if leaves & size == 0 {
                continue;
            }
            other_peaks.push(node(first, level).ok_or(missing)?);
            first = first.checked_add(size).ok_or(missing)?;
        }
        if place < other_peaks.len() {
            other_peaks.remove(place);
        }
        Ok(Self {
            siblings: BoundedVec::new(siblings).map_err(|_| missing)?,
            other_peaks: BoundedVec::new(other_peaks).map_err(|_| missing)?,
        })
    }
}

/// The leaf of the history at `height`, for a node that keeps inner nodes.
pub fn history_leaf(chain_id: ChainId, height: SideHeight, id: BlockId) -> Digest {
    leaf_hash(chain_id, height.get(), id)
}

/// The parent of two neighbouring nodes, for a node that keeps inner nodes.
pub fn history_node(chain_id: ChainId, left: &Digest, right: &Digest) -> Digest {
    node_hash(chain_id, left, right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    const CHAIN: ChainId = ChainId::new(7);

    fn id(height: u64) -> BlockId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&height.to_le_bytes());
        BlockId::new(bytes)
    }

    fn history(leaves: u64) -> Peaks {
        (0..leaves).fold(Peaks::empty(), |peaks, height| {
            peaks.append(CHAIN, id(height)).unwrap()
        })
    }

    #[test]
    fn golden_roots() {
        // Computed apart from this code, from the definition in design 10.
        assert_eq!(history(0).root(CHAIN), HistoryRoot::ZERO);
        assert_eq!(
            history(11).root(CHAIN).to_string(),
            "0xce4cedb6ac32b8aaed498cd07b4643b13b232e8451c232f23721adb53968e7b9"
        );
    }

    #[test]
    fn every_leaf_of_every_small_history_is_proven_and_nothing_else() {
        for leaves in 1..=33 {
            let root = history(leaves).root(CHAIN);
            for leaf in 0..leaves {
                let (total, height) = (SideHeight::new(leaves), SideHeight::new(leaf));
                let proof = HistoryProof::build(CHAIN, total, height, |h| Some(id(h))).unwrap();
                assert_eq!(proof.verify(CHAIN, root, total, height, id(leaf)), Ok(()));
                assert!(
                    proof
                        .verify(CHAIN, root, total, height, id(leaf + 1))
                        .is_err()
                );
                for other in (0..leaves).filter(|other| *other != leaf) {
                    let other = SideHeight::new(other);
                    assert!(proof.verify(CHAIN, root, total, other, id(leaf)).is_err());
                }
                for other in (1..40).filter(|other| *other != leaves) {
                    let other = SideHeight::new(other);
                    assert!(proof.verify(CHAIN, root, other, height, id(leaf)).is_err());
                }
            }
        }
    }

    #[test]
    fn missing_leaves_are_refused() {
        let proof = HistoryProof {
            siblings: BoundedVec::empty(),
            other_peaks: BoundedVec::empty(),
        };
        let ten = SideHeight::new(10);
        assert_eq!(
            proof.verify(CHAIN, HistoryRoot::ZERO, ten, ten, id(0)),
            Err(HistoryError::NoLeaf {
                leaf: 10,
                leaves: 10
            })
        );
    }

    proptest! {
        #[test]
        fn peaks_of_the_wrong_number_never_append(leaves in any::<u64>(), count in 0usize..=64) {
            let peaks = alloc::vec![Digest::ZERO; count];
            let made = Peaks::new(leaves, peaks);
            prop_assert_eq!(made.is_ok(), leaves.count_ones() as usize == count);
            if let Ok(made) = made {
                prop_assert_eq!(made.append(CHAIN, id(0)).is_ok(), leaves != u64::MAX);
            }
        }
    }
}
