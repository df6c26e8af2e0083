//! What members compare: everything that follows from the cards.

use super::{CeremonyError, fingerprint, json};
use crate::check::Report;
use alys_protocol::ceremony::{CardDigest, CeremonyId, Fingerprint, SignedCard};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a ceremony gave. Each member derives it on its own machine; the SHA-256 of the file is what officers sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// What was agreed on.
    pub ceremony: CeremonyId,
    /// The chain's name.
    pub name: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The Bitcoin network.
    pub network: bitcoin::Network,
    /// Digest of the chain spec.
    pub chain: String,
    /// Id of the genesis header.
    pub genesis_id: String,
    /// Hash of the execution genesis.
    pub genesis_hash: String,
    /// Members' signatures that a spend needs.
    pub threshold: u16,
    /// Where deposits go.
    pub deposit_address: String,
    /// The wallet, for a watch-only import (BIP-380).
    pub descriptor: String,
    /// The members, in the order of their ids.
    pub members: Vec<String>,
    /// Digests of their cards, which cover keys, authorities, backends and entropy.
    pub cards: BTreeMap<String, CardDigest>,
}

impl Transcript {
    pub(super) fn new(
        ceremony: CeremonyId,
        cards: &BTreeMap<String, SignedCard>,
        report: &Report,
    ) -> Self {
        Self {
            ceremony,
            name: report.name.clone(),
            chain_id: report.chain_id.get(),
            network: report.network,
            chain: report.digest.to_string(),
            genesis_id: report.genesis_id.to_string(),
            genesis_hash: report.genesis_hash.to_string(),
            threshold: report.threshold,
            deposit_address: report.deposit_address.clone(),
            descriptor: report.descriptor.clone(),
            members: report.members.clone(),
            cards: cards
                .iter()
                .map(|(name, signed)| (name.clone(), signed.card.digest()))
                .collect(),
        }
    }

    /// The file's bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, CeremonyError> {
        json(self)
    }

    /// SHA-256 of the file.
    ///
    /// # Errors
    /// - [`CeremonyError::Encode`] never for a transcript that was made here.
    pub fn hash(&self) -> Result<Fingerprint, CeremonyError> {
        Ok(fingerprint(&self.bytes()?))
    }

    /// Each field in which `other` differs, with both values.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |field: &str, ours: String, theirs: String| {
            if ours != theirs {
                found.push(format!("{field}: {ours} here, {theirs} there"));
            }
        };
        compare(
            "ceremony",
            self.ceremony.to_string(),
            other.ceremony.to_string(),
        );
        compare("name", self.name.clone(), other.name.clone());
        compare(
            "chain_id",
            self.chain_id.to_string(),
            other.chain_id.to_string(),
        );
        compare(
            "network",
            self.network.to_string(),
            other.network.to_string(),
        );
        compare("chain", self.chain.clone(), other.chain.clone());
        compare(
            "genesis_id",
            self.genesis_id.clone(),
            other.genesis_id.clone(),
        );
        compare(
            "genesis_hash",
            self.genesis_hash.clone(),
            other.genesis_hash.clone(),
        );
        compare(
            "threshold",
            self.threshold.to_string(),
            other.threshold.to_string(),
        );
        compare(
            "deposit_address",
            self.deposit_address.clone(),
            other.deposit_address.clone(),
        );
        compare(
            "descriptor",
            self.descriptor.clone(),
            other.descriptor.clone(),
        );
        compare("members", self.members.join(", "), other.members.join(", "));
        let names: std::collections::BTreeSet<_> =
            self.cards.keys().chain(other.cards.keys()).collect();
        for name in names {
            let of = |cards: &BTreeMap<String, CardDigest>| {
                cards
                    .get(name)
                    .map_or_else(|| "none".to_owned(), CardDigest::to_string)
            };
            compare(
                &format!("card of {name}"),
                of(&self.cards),
                of(&other.cards),
            );
        }
        found
    }
}
