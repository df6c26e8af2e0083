//! Tagged hashing (BIP-340): the list of every tag, and one way to hash under them.

use crate::units::ChainId;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};

/// A hashing domain. The private field keeps the list below complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(&'static str);

impl Tag {
    /// The tag's text, which is what is hashed.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Id of a header.
pub const HEADER: Tag = Tag("alys/header/1");
/// What a leader signs.
pub const PROPOSAL: Tag = Tag("alys/proposal/1");
/// What a member signs to approve a block.
pub const APPROVAL: Tag = Tag("alys/approval/1");
/// A section of a body.
pub const BODY_LEAF: Tag = Tag("alys/body-leaf/1");
/// An inner node over sections of a body.
pub const BODY_NODE: Tag = Tag("alys/body-node/1");
/// A header id as a leaf of the history.
pub const HISTORY_LEAF: Tag = Tag("alys/history-leaf/1");
/// An inner node of the history.
pub const HISTORY_NODE: Tag = Tag("alys/history-node/1");
/// The history's peaks bagged with their count.
pub const HISTORY_ROOT: Tag = Tag("alys/history-root/1");
/// A range of blocks that merged mining finalises.
pub const BUNDLE: Tag = Tag("alys/bundle/1");
/// `prevRandao` of an execution payload: documented as not random.
pub const RANDAO: Tag = Tag("alys/randao/1");
/// Id of a peg-out batch.
pub const BATCH: Tag = Tag("alys/batch/1");
/// Digest of a chain spec.
pub const SPEC: Tag = Tag("alys/spec/1");
/// Tweak of BIP-341's H that makes a federation's unspendable internal key.
pub const NUMS: Tag = Tag("alys/nums/1");
/// A request to a signer, as the signer remembers it.
pub const REQUEST: Tag = Tag("alys/request/1");

/// All tags, for the test that no two are the same.
pub const ALL: [Tag; 14] = [
    HEADER,
    PROPOSAL,
    APPROVAL,
    BODY_LEAF,
    BODY_NODE,
    HISTORY_LEAF,
    HISTORY_NODE,
    HISTORY_ROOT,
    BUNDLE,
    RANDAO,
    BATCH,
    SPEC,
    NUMS,
    REQUEST,
];

/// `tagged(t, b) = SHA256(SHA256(t) || SHA256(t) || b)` over fields added one by one.
///
/// Every hash starts with the chain id; fields of variable length carry their length, so that no two different
/// sequences of fields hash the same bytes (regression N4).
#[derive(Clone)]
pub struct TaggedHasher(sha256::HashEngine);

impl TaggedHasher {
    /// Starts a hash in `tag`'s domain on one chain.
    pub fn new(tag: Tag, chain_id: ChainId) -> Self {
        Self::without_chain(tag).fixed(&chain_id.get().to_le_bytes())
    }

    /// Starts a hash whose bytes carry the chain id themselves (a header, a chain spec).
    pub fn without_chain(tag: Tag) -> Self {
        let tag = sha256::Hash::hash(tag.0.as_bytes()).to_byte_array();
        let mut engine = sha256::Hash::engine();
        engine.input(&tag);
        engine.input(&tag);
        Self(engine)
    }

    /// Adds a field whose length the tag fixes.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.input(bytes);
        self
    }

    /// Adds a field of variable length: its length as u64, little-endian, then its bytes.
    #[must_use]
    pub fn variable(mut self, bytes: &[u8]) -> Self {
        self.0.input(&(bytes.len() as u64).to_le_bytes());
        self.0.input(bytes);
        self
    }

    /// The hash.
    pub fn finish(self) -> [u8; 32] {
        sha256::Hash::from_engine(self.0).to_byte_array()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_differ() {
        for (place, tag) in ALL.iter().enumerate() {
            assert!(!ALL[..place].contains(tag), "{tag:?} twice");
        }
    }

    #[test]
    fn the_construction_is_bip340s() {
        // BIP-340: SHA256(SHA256(tag) || SHA256(tag) || msg).
        let tag = sha256::Hash::hash(b"alys/header/1").to_byte_array();
        let bytes = [&tag[..], &tag[..], b"abc"].concat();
        assert_eq!(
            TaggedHasher::without_chain(HEADER).fixed(b"abc").finish(),
            sha256::Hash::hash(&bytes).to_byte_array()
        );
    }

    #[test]
    fn n4_field_boundaries_are_hashed() {
        let split = |a: &[u8], b: &[u8]| {
            TaggedHasher::new(BATCH, ChainId::new(1))
                .variable(a)
                .variable(b)
                .finish()
        };
        assert_ne!(split(b"ab", b"c"), split(b"a", b"bc"));
    }
}
