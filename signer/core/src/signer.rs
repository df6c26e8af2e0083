//! The signer: which rules judge which request, and what the state becomes.
//!
//! - [`Signer::sign_proposal`] and [`Signer::approve`] are the votes;
//! - [`Signer::sign_peg_out`] is the only way to the wallet's key;
//! - [`Signer::bitcoin_headers`] keeps the signer's own chain of Bitcoin headers, on which both rest.

mod headers;
mod peg_out;
mod vote;

pub use headers::TipIntent;

use crate::btc::{self, Checkpoint, LightClient, NetworkRules, UnixTime};
use crate::clock::WindowTime;
use crate::freshness::Freshness;
use crate::persist::Persisted;
use crate::policy::{Policy, PolicyError};
use alloc::vec::Vec;
use alys_protocol::bls;
use alys_protocol::bls::{BlsPublicKeyBytes, BlsSignature};
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::spec::{Chain, SchnorrPublicKeyBytes};
use alys_protocol::units::{BurnSequence, MemberId, Slot};
use bitcoin::secp256k1::{Keypair, Message, Secp256k1, Signing};
use thiserror::Error;

/// What a signer is provisioned with: the chain, its own limits, and whose keys it holds.
#[derive(Debug, Clone)]
pub struct Signer {
    chain: Chain,
    policy: Policy,
    member: MemberId,
    bitcoin: LightClient,
}

/// What a decision rests on beside the request and the state that it changes. The shell reads it in the moment of the
/// decision, and the audit log keeps it, so that the decision can be made again.
#[derive(Debug)]
pub struct Context<'a, H> {
    /// Slot of the signer's clock.
    pub slot: Slot,
    /// Time of the signer's clock.
    pub time: UnixTime,
    /// Time of the rolling windows.
    pub window: WindowTime,
    /// The signer's own chain of Bitcoin headers.
    pub bitcoin: &'a H,
    /// Whether the state is the newest there is.
    pub freshness: Freshness,
    /// Burns that officers agreed to skip, rising.
    pub skips: &'a [BurnSequence],
}

/// A signer that cannot serve this chain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The policy contradicts the chain spec.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy's limits on Bitcoin headers are not what the ring is made for.
    #[error(transparent)]
    Bitcoin(#[from] btc::SetupError),
    /// No member has these keys.
    #[error("the chain spec has no member with BLS key {bls} and Schnorr key {schnorr}")]
    NoMember {
        /// The signer's BLS key.
        bls: BlsPublicKeyBytes,
        /// The signer's Schnorr key.
        schnorr: SchnorrPublicKeyBytes,
    },
}

/// A 32-byte message for the BLS key: a vote or a proposal. Seen only once it is persisted.
#[derive(Debug)]
pub struct BlsIntent([u8; 32]);

/// Signature hashes for the Schnorr key. Seen only once they are persisted.
#[derive(Debug)]
pub struct SchnorrIntent {
    sighashes: Vec<[u8; 32]>,
    randomness: [u8; 32],
}

impl BlsIntent {
    pub(crate) fn message(&self) -> &[u8; 32] {
        &self.0
    }
}

impl SchnorrIntent {
    pub(crate) fn sighashes(&self) -> &[[u8; 32]] {
        &self.sighashes
    }
}

impl Persisted<BlsIntent> {
    /// What the BLS key signs.
    pub fn message(&self) -> &[u8; 32] {
        &self.intent().0
    }

    /// Signs. Deterministic, so that a repeat gives the same signature.
    pub fn sign(self, key: &bls::SecretKey) -> BlsSignature {
        key.sign(self.message())
    }
}

impl Persisted<SchnorrIntent> {
    /// What the Schnorr key signs, one for each input.
    pub fn sighashes(&self) -> &[[u8; 32]] {
        &self.intent().sighashes
    }

    /// Auxiliary randomness of each signature (BIP-340).
    pub fn randomness(&self) -> &[u8; 32] {
        &self.intent().randomness
    }

    /// Signs each input. The persisted randomness makes a repeat give the same signatures.
    pub fn sign<C: Signing>(self, secp: &Secp256k1<C>, key: &Keypair) -> Vec<SchnorrSignature> {
        self.sighashes()
            .iter()
            .map(|sighash| {
                let message = Message::from_digest(*sighash);
                let signature = secp.sign_schnorr_with_aux_rand(&message, key, self.randomness());
                SchnorrSignature::new(signature.serialize())
            })
            .collect()
    }
}

impl Signer {
    /// Provisions a signer: finds the member that has its keys, and checks the policy against the chain.
    ///
    /// # Errors
    /// - [`SetupError::NoMember`] where the roster has no such member;
    /// - [`SetupError::Policy`], [`SetupError::Bitcoin`] where the policy contradicts the spec or goes beyond what a
    ///   signer can keep.
    pub fn new(
        chain: Chain,
        policy: Policy,
        bls: &BlsPublicKeyBytes,
        schnorr: &SchnorrPublicKeyBytes,
    ) -> Result<Self, SetupError> {
        policy.check(&chain)?;
        let bitcoin = LightClient::new(
            NetworkRules::new(chain.spec().bitcoin.network),
            Checkpoint::of_chain(&chain),
            policy.max_reorg_blocks,
        )?
        .with_floor(bitcoin::Target::from_be_bytes(
            policy.header_floor_target.to_bytes(),
        ));
        let member = chain
            .roster()
            .members()
            .iter()
            .find(|member| {
                member.bls.to_bytes() == *bls && member.schnorr.serialize() == *schnorr.as_bytes()
            })
            .map(|member| member.id)
            .ok_or(SetupError::NoMember {
                bls: *bls,
                schnorr: *schnorr,
            })?;
        Ok(Self {
            chain,
            policy,
            member,
            bitcoin,
        })
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The limits.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The member whose keys it holds.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The rules of its chain of Bitcoin headers.
    pub fn bitcoin(&self) -> &LightClient {
        &self.bitcoin
    }
}
