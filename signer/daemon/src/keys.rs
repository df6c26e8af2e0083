//! The member's keys in memory.

mod backend;
mod generate;

pub use backend::Backend;
pub use generate::{EntropyError, MAX_THROWS_BYTES, OfficerInput, Pool, ThrowsError};

use alys_protocol::bls::{self, BlsPublicKeyBytes, BlsSignature};
use alys_protocol::ceremony::{Card, CeremonyId};
use alys_protocol::hash::{Tag, TaggedHasher};
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_signer_core::Persisted;
use alys_signer_core::signer::{BlsIntent, SchnorrIntent};
use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1, SecretKey};
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

/// The member's secret keys. Not `Clone`, never printed, wiped when dropped.
///
/// They sign only what the core has persisted.
pub struct Keys {
    bls: bls::SecretKey,
    schnorr: Keypair,
    secp: Secp256k1<All>,
    backend: Backend,
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // The BLS key wipes itself; secp256k1 leaves it to its holder, and promises no more than its best effort.
        self.schnorr.non_secure_erase();
    }
}

impl Keys {
    /// Makes keys from the operating system's entropy.
    ///
    /// # Errors
    /// - [`getrandom::Error`] where there is no entropy.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let pool = Pool::gather(CeremonyId::ZERO, None, None).map_err(|error| match error {
            EntropyError::Host(error) => error,
            // Not asked for.
            EntropyError::Token(_) => getrandom::Error::UNSUPPORTED,
        })?;
        pool.keys()
    }

    fn new(bls: bls::SecretKey, mut schnorr: SecretKey) -> Result<Self, getrandom::Error> {
        let mut secp = Secp256k1::new();
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *seed)?;
        // Blinds the multiplication against side channels.
        secp.seeded_randomize(&seed);
        let keypair = Keypair::from_secret_key(&secp, &schnorr);
        schnorr.non_secure_erase();
        Ok(Self {
            bls,
            schnorr: keypair,
            secp,
            backend: Backend::Passphrase,
        })
    }

    /// Reads what [`Keys::to_secret_bytes`] wrote.
    ///
    /// # Errors
    /// - [`KeyError`] where the bytes are no two scalars, or no entropy is there to blind them.
    pub fn from_secret_bytes(bytes: &[u8; SECRET_BYTES]) -> Result<Self, KeyError> {
        let (bls, schnorr) = bytes.split_first_chunk::<32>().ok_or(KeyError)?;
        let bls = bls::SecretKey::from_bytes(bls).map_err(|_| KeyError)?;
        let schnorr = SecretKey::from_slice(schnorr).map_err(|_| KeyError)?;
        Self::new(bls, schnorr).map_err(|_| KeyError)
    }

    /// The secret scalars, to be sealed.
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; SECRET_BYTES]> {
        let mut bytes = Zeroizing::new([0u8; SECRET_BYTES]);
        let (bls, schnorr) = bytes.split_at_mut(32);
        bls.copy_from_slice(&*self.bls.to_bytes());
        let secret = Zeroizing::new(self.schnorr.secret_bytes());
        schnorr.copy_from_slice(&*secret);
        bytes
    }

    /// Says what keeps them; software keys under a passphrase unless said otherwise.
    #[must_use]
    pub fn held_by(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// What keeps them.
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The public side.
    pub fn card(&self) -> MemberCard {
        let (schnorr, _parity) = self.schnorr.x_only_public_key();
        MemberCard {
            bls: self.bls.public_key().to_bytes(),
            bls_possession: self.bls.prove_possession(),
            schnorr: SchnorrPublicKeyBytes::new(schnorr.serialize()),
        }
    }

    /// A secret that follows from the secret keys, another one for each tag: what is sealed under it opens whenever they do.
    pub fn derive(&self, tag: Tag) -> Zeroizing<[u8; 32]> {
        let secret = self.to_secret_bytes();
        Zeroizing::new(TaggedHasher::without_chain(tag).fixed(&*secret).finish())
    }

    /// Signs a persisted vote or proposal.
    pub fn sign_bls(&self, intent: Persisted<BlsIntent>) -> BlsSignature {
        intent.sign(&self.bls)
    }

    /// Signs the member's card in a ceremony: a digest under a tag of its own, so never a vote and never a transaction.
    ///
    /// # Errors
    /// - [`getrandom::Error`] where there is no auxiliary randomness (BIP-340).
    pub fn sign_card(&self, card: &Card) -> Result<SchnorrSignature, getrandom::Error> {
        let mut randomness = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *randomness)?;
        let message = Message::from_digest(card.digest().to_bytes());
        let signature = self
            .secp
            .sign_schnorr_with_aux_rand(&message, &self.schnorr, &randomness);
        Ok(SchnorrSignature::new(signature.serialize()))
    }

    /// Signs a persisted peg-out.
    pub fn sign_schnorr(&self, intent: Persisted<SchnorrIntent>) -> Vec<SchnorrSignature> {
        intent.sign(&self.secp, &self.schnorr)
    }
}
