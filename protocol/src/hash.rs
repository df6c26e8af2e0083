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

/// Defines the tags and the list of all of them, so that none is left out of it.
macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Tag = Tag($text);)*

        /// Every tag there is.
        pub const ALL: &[Tag] = &[$($name),*];
    };
}

tags! {
    /// Id of a header.
    HEADER = "alys/header/1";
    /// Coefficients of many BLS signatures that are verified together.
    BLS_BATCH = "alys/bls-batch/1";
    /// What a leader signs.
    PROPOSAL = "alys/proposal/1";
    /// What a member signs to approve a block.
    APPROVAL = "alys/approval/1";
    /// A section of a body.
    BODY_LEAF = "alys/body-leaf/1";
    /// An inner node over sections of a body.
    BODY_NODE = "alys/body-node/1";
    /// A header id as a leaf of the history.
    HISTORY_LEAF = "alys/history-leaf/1";
    /// An inner node of the history.
    HISTORY_NODE = "alys/history-node/1";
    /// The history's peaks bagged with their count.
    HISTORY_ROOT = "alys/history-root/1";
    /// A range of blocks that merged mining finalises.
    BUNDLE = "alys/bundle/1";
    /// `prevRandao` of an execution payload: documented as not random.
    RANDAO = "alys/randao/1";
    /// Id of a peg-out batch.
    BATCH = "alys/batch/1";
    /// Digest of a chain spec.
    SPEC = "alys/spec/1";
    /// Tweak of BIP-341's H that makes a federation's unspendable internal key.
    NUMS = "alys/nums/1";
    /// A request to a signer, as the signer remembers it.
    REQUEST = "alys/request/1";
    /// A signer's officers.
    OFFICERS = "alys/officers/1";
    /// A policy file.
    POLICY = "alys/policy/1";
    /// What a signer's key is asked to sign, as its audit log names it.
    INTENT = "alys/intent/1";
    /// An entry of a signer's audit log.
    AUDIT_ENTRY = "alys/audit-entry/1";
    /// What an audit log's entries refer to by digest: requests, states, policies.
    AUDIT_BLOB = "alys/audit-blob/1";
    /// What a signer's audit key signs.
    AUDIT_CHECKPOINT = "alys/audit-checkpoint/1";
    /// The key under which a signer's audit key is sealed.
    AUDIT_SEAL = "alys/audit-seal/1";
    /// The name that an address without a key is the end of: the fee vault's ([`crate::execution::VAULT`]).
    VAULT = "alys/vault/1";
    /// Prefix of what a gossiped message's id is the SHA-256 of; no signature and no block depends on it.
    GOSSIP_ID = "alys/gossip-id/1";
    /// What a token's key signs at start to show that it can; never a vote and never a transaction's digest.
    TOKEN_PROBE = "alys/token-probe/1";
    /// Checksum of a freshness counter in a token.
    TOKEN_COUNTER = "alys/token-counter/1";
    /// The short name of an end of a device's link.
    LINK_KEY = "alys/link-key/1";
    /// What a device commits to while it is paired.
    LINK_COMMIT = "alys/link-commit/1";
    /// The code that shows that nobody sits between a device and the host it is paired with.
    LINK_CODE = "alys/link-code/1";
    /// A backup of a member's keys, as records name it.
    BACKUP = "alys/backup/1";
    /// What a backup shows of an officer's share, so that a wrong share is known as whose it is.
    BACKUP_SHARE = "alys/backup-share/1";
    /// Id of a ceremony: what its members agreed on, and a nonce.
    CEREMONY = "alys/ceremony/1";
    /// What a member's Schnorr key signs to join a ceremony; never a transaction's digest, whose tag is `TapSighash`.
    MEMBER_CARD = "alys/member-card/1";
    /// What the entropy of a member's keys is mixed into.
    KEY_POOL = "alys/key-pool/1";
    /// The seed of one key out of that pool.
    KEY_SEED = "alys/key-seed/1";
}

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
            let form = tag.as_str().strip_prefix("alys/");
            let (name, version) = form.and_then(|form| form.split_once('/')).unwrap();
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            );
            assert_eq!(version, "1", "{tag:?}");
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
