//! A federation whose first member is a device, and its officers. Shared by the tests on the host and on the emulator.
#![allow(dead_code, reason = "each program uses a part")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

#[path = "../../../../signer/core/tests/bitcoin_kit/mod.rs"]
pub mod bitcoin_kit;
#[path = "../../../../signer/core/tests/fixtures/mod.rs"]
pub mod fixtures;

use alys_firmware_device::command::{
    Answer, Command, DeviceCard, Generate, OfficerThrows, Provision, SignedPolicy,
};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::ceremony::{CeremonyId, Throws};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{Reply, SignedStatement};
use alys_protocol::spec::{Chain, ChainSpec};
use alys_signer_core::Policy;
use alys_signer_core::policy::{Iteration, PolicyFile, PolicyFormat};
use fixtures::{Card, spec};
use minisign::KeyPair;
use std::io::Cursor;

pub struct Officers(pub Vec<KeyPair>);

impl Officers {
    pub fn three() -> Self {
        let pair = |_| KeyPair::generate_unencrypted_keypair().unwrap();
        Self((0..3).map(pair).collect())
    }

    pub fn keys(&self) -> Vec<String> {
        self.0.iter().map(|pair| pair.pk.to_base64()).collect()
    }

    /// Signatures of two of them.
    pub fn sign(&self, text: &str) -> Vec<Vec<u8>> {
        self.0[..2]
            .iter()
            .map(|pair| {
                let text = Cursor::new(text);
                let signature =
                    minisign::sign(Some(&pair.pk), &pair.sk, text, Some("trusted"), None);
                signature.unwrap().into_string().into_bytes()
            })
            .collect()
    }

    pub fn policy(&self, chain: &Chain, iteration: u64) -> SignedPolicy {
        let file = PolicyFile {
            format: PolicyFormat::V1,
            chain_id: chain.id(),
            iteration: Iteration::new(iteration),
            policy: Policy::of_chain(chain),
        };
        self.signed(&toml::to_string(&file).unwrap())
    }

    pub fn signed(&self, text: &str) -> SignedPolicy {
        let signatures = self.sign(text).into_iter();
        SignedPolicy {
            text: BoundedVec::new(text.as_bytes().to_vec()).unwrap(),
            signatures: BoundedVec::new(
                signatures
                    .map(|one| BoundedVec::new(one).unwrap())
                    .collect(),
            )
            .unwrap(),
        }
    }

    pub fn statement(&self, text: &str) -> SignedStatement {
        let signed = self.signed(text);
        SignedStatement {
            text: BoundedVec::new(signed.text.to_vec()).unwrap(),
            signatures: signed.signatures,
        }
    }

    pub fn provision(&self, spec: &ChainSpec) -> Provision {
        let chain = Chain::new(spec.clone()).unwrap();
        Provision {
            spec: BoundedVec::new(postcard::to_allocvec(spec).unwrap()).unwrap(),
            threshold: 2,
            officers: BoundedVec::new(self.keys()).unwrap(),
            policy: self.policy(&chain, 1),
        }
    }
}

pub fn generate() -> Command {
    Command::Generate(Box::new(Generate {
        ceremony: CeremonyId::new([3; 32]),
        host: BoundedVec::new(vec![7; 64]).unwrap(),
        officer: Some(OfficerThrows {
            kind: Throws::Dice,
            signs: BoundedVec::new(b"1625341625".repeat(6)).unwrap(),
        }),
    }))
}

pub fn card(answer: Answer) -> DeviceCard {
    match answer {
        Answer::Card(card) => *card,
        other => panic!("{other:?}"),
    }
}

/// A federation whose first member is the device.
pub fn spec_with(card: &DeviceCard) -> ChainSpec {
    spec(Some(&Card {
        bls: card.bls,
        bls_possession: card.bls_possession,
        schnorr: card.schnorr,
    }))
}

pub fn refused(reply: &Reply) -> Rule {
    match reply {
        Reply::Refused(refusal) => refusal.rule,
        other => panic!("{other:?}"),
    }
}
