//! The member's keys, in this process's memory or in a token.

mod backend;
mod generate;
mod native;
mod software;

pub use backend::Backend;
pub use generate::{EntropyError, MAX_THROWS_BYTES, OfficerInput, Pool, ThrowsError};
pub(crate) use native::LOCAL_SECRET_BYTES;
pub use native::NativeKeys;
pub use software::SoftwareKeys;

use alys_protocol::bls::{BlsPublicKeyBytes, BlsSignature};
use alys_protocol::ceremony::Card;
use alys_protocol::hash::{Tag, TaggedHasher};
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_signer_core::Persisted;
use alys_signer_core::signer::{BlsIntent, SchnorrIntent};
use alys_signer_pkcs11::TokenError;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of the two secret keys together.
pub const SECRET_BYTES: usize = 64;

/// What a member shows to be put into the chain spec. Public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberCard {
    /// BLS key that votes.
    pub bls: BlsPublicKeyBytes,
    /// Proof that the BLS key's secret is known.
    pub bls_possession: BlsSignature,
    /// Schnorr key of the Bitcoin wallet.
    pub schnorr: SchnorrPublicKeyBytes,
}

/// Bytes that are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected two secret scalars of 32 bytes each")]
pub struct KeyError;

/// Keys that did not sign. Nothing is released; the state still says that it was, so that the same request, byte for byte,
/// may ask again.
#[derive(Debug, Error)]
pub enum SignError {
    /// The token that holds them.
    #[error("the token that holds the keys did not sign: {0}")]
    Token(#[from] TokenError),
    /// No auxiliary randomness (BIP-340).
    #[error("the operating system gives no entropy: {0}")]
    Entropy(#[from] getrandom::Error),
}

/// A member's keys. They sign only what the core has persisted, and a card.
#[derive(Debug)]
pub enum Keys {
    /// Here.
    Software(Box<SoftwareKeys>),
    /// In a token, which signs itself.
    Native(Box<NativeKeys>),
}

impl From<SoftwareKeys> for Keys {
    fn from(keys: SoftwareKeys) -> Self {
        Self::Software(Box::new(keys))
    }
}

impl From<NativeKeys> for Keys {
    fn from(keys: NativeKeys) -> Self {
        Self::Native(Box::new(keys))
    }
}

impl Keys {
    /// What keeps them.
    pub const fn backend(&self) -> &Backend {
        match self {
            Self::Software(keys) => keys.backend(),
            Self::Native(keys) => keys.backend(),
        }
    }

    /// The public side.
    pub fn card(&self) -> MemberCard {
        match self {
            Self::Software(keys) => keys.card(),
            Self::Native(keys) => keys.card().clone(),
        }
    }

    /// A secret that whoever opens the keys has, another one for each tag: what is sealed under it opens whenever they do.
    pub fn derive(&self, tag: Tag) -> Zeroizing<[u8; 32]> {
        let hasher = TaggedHasher::without_chain(tag);
        Zeroizing::new(match self {
            Self::Software(keys) => hasher.fixed(&*keys.to_secret_bytes()).finish(),
            Self::Native(keys) => hasher.fixed(keys.local_secret()).finish(),
        })
    }

    /// Signs a persisted vote or proposal.
    ///
    /// # Errors
    /// - [`SignError::Token`] where a token fails.
    pub fn sign_bls(&self, intent: Persisted<BlsIntent>) -> Result<BlsSignature, SignError> {
        Ok(match self {
            Self::Software(keys) => keys.sign_bls(intent),
            Self::Native(keys) => keys.bls().sign_vote(intent)?,
        })
    }

    /// Signs a persisted peg-out: all inputs or none.
    ///
    /// # Errors
    /// - [`SignError::Token`] where a token fails.
    pub fn sign_schnorr(
        &self,
        intent: Persisted<SchnorrIntent>,
    ) -> Result<Vec<SchnorrSignature>, SignError> {
        Ok(match self {
            Self::Software(keys) => keys.sign_schnorr(intent),
            Self::Native(keys) => keys.schnorr().sign_peg_out(intent)?,
        })
    }

    /// Signs the member's card in a ceremony: a digest under a tag of its own, so never a vote and never a transaction.
    ///
    /// # Errors
    /// - [`SignError`] as its variants say.
    pub fn sign_card(&self, card: &Card) -> Result<SchnorrSignature, SignError> {
        Ok(match self {
            Self::Software(keys) => keys.sign_card(card)?,
            Self::Native(keys) => keys.schnorr().sign_card(card)?,
        })
    }
}
