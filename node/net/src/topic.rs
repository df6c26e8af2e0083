//! The four gossip topics, their names on the wire and their size limits.

use std::fmt;

use libp2p::gossipsub::{IdentTopic, TopicHash};

/// Bytes of the chain spec's digest that go into topic names and protocol ids. Enough to keep honest networks
/// apart; the whole digest is compared in the status exchange.
const DIGEST_PREFIX: usize = 8;

/// What a gossip message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Block proposals of slot leaders.
    Proposals,
    /// Approvals (votes) of members.
    Approvals,
    /// AuxPoW submissions of miners.
    AuxPow,
    /// Schnorr signature shares for peg-out batches.
    PegOutShares,
}

impl Topic {
    /// Every topic, in a fixed order.
    pub const ALL: [Self; 4] = [
        Self::Proposals,
        Self::Approvals,
        Self::AuxPow,
        Self::PegOutShares,
    ];

    /// Those on which only members have something to say. What is said there has a member's signature, which the
    /// application checks; [`NetworkConfig::allowed_publishers`](crate::NetworkConfig::allowed_publishers) keeps
    /// strangers from having it checked.
    pub const OF_MEMBERS: [Self; 3] = [Self::Proposals, Self::Approvals, Self::PegOutShares];

    /// Largest payload accepted on this topic, in bytes. Larger ones are refused when published, and on arrival
    /// count as invalid against the peer that forwarded them.
    #[must_use]
    pub const fn max_bytes(self) -> usize {
        match self {
            // A full EVM block with its peg evidence.
            Self::Proposals => 4 * 1024 * 1024,
            // One BLS signature and ids; a certificate with its bitfield fits as well.
            Self::Approvals => 4 * 1024,
            // A Bitcoin coinbase transaction and two Merkle branches of at most 30 steps.
            Self::AuxPow => 256 * 1024,
            // One 64-byte signature for each input of a batch.
            Self::PegOutShares => 128 * 1024,
        }
    }

    /// What a message of so many bytes costs of [`Limits::gossip_rate`](crate::Limits::gossip_rate).
    pub(crate) fn gossip_cost(self, bytes: usize) -> u32 {
        const UNIT: usize = 16 * 1024;
        u32::try_from(bytes.min(self.max_bytes()) / UNIT)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    /// Name used in topic strings and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposals => "proposals",
            Self::Approvals => "approvals",
            Self::AuxPow => "auxpow",
            Self::PegOutShares => "pegout_shares",
        }
    }

    /// The gossipsub topic for the chain with this spec digest.
    pub(crate) fn ident(self, spec_digest: &[u8; 32]) -> IdentTopic {
        IdentTopic::new(format!("{}/{}/1", chain_prefix(spec_digest), self.name()))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// `/alys/<digest>`: start of every protocol id and topic name that belongs to one chain.
pub(crate) fn chain_prefix(spec_digest: &[u8; 32]) -> String {
    use hex::DisplayHex;
    let (prefix, _) = spec_digest.split_at(DIGEST_PREFIX);
    format!("/alys/{}", prefix.as_hex())
}

/// The topics of one chain and their hashes.
#[derive(Debug, Clone)]
pub(crate) struct Topics([(Topic, TopicHash); 4]);

impl Topics {
    pub(crate) fn new(spec_digest: &[u8; 32]) -> Self {
        Self(Topic::ALL.map(|topic| (topic, topic.ident(spec_digest).hash())))
    }

    pub(crate) fn topic(&self, hash: &TopicHash) -> Option<Topic> {
        self.0
            .iter()
            .find(|(_, known)| known == hash)
            .map(|(topic, _)| *topic)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Topic, TopicHash)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_chain() {
        let digest = [0xab; 32];
        assert_eq!(
            Topic::AuxPow.ident(&digest).hash().as_str(),
            "/alys/abababababababab/auxpow/1"
        );
        assert_ne!(
            Topic::AuxPow.ident(&digest).hash(),
            Topic::AuxPow.ident(&[0xac; 32]).hash()
        );
    }

    #[test]
    fn hashes_map_back() {
        let topics = Topics::new(&[7; 32]);
        for topic in Topic::ALL {
            assert_eq!(topics.topic(&topic.ident(&[7; 32]).hash()), Some(topic));
            assert_eq!(topics.topic(&topic.ident(&[8; 32]).hash()), None);
        }
    }
}
