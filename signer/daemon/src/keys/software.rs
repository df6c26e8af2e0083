//! Keys in this process's memory.

use super::{Backend, EntropyError, KeyError, MemberCard, Pool, SECRET_BYTES};
use alys_protocol::bls::{self, BlsSignature};
use alys_protocol::ceremony::{Card, CeremonyId};
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_signer_core::Persisted;
use alys_signer_core::signer::{BlsIntent, SchnorrIntent};
use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1, SecretKey};
use zeroize::Zeroizing;

/// A member's secret keys in this process. Not `Clone`, never printed, wiped when dropped.
///
/// They sign only what the core has persisted.
pub struct SoftwareKeys {
    bls: bls::SecretKey,
    schnorr: Keypair,
    secp: Secp256k1<All>,
    backend: Backend,
}

impl core::fmt::Debug for SoftwareKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SoftwareKeys(..)")
    }
}

impl Drop for SoftwareKeys {
    fn drop(&mut self) {
        // The BLS key wipes itself; secp256k1 leaves it to its holder, and promises no more than its best effort.
        self.schnorr.non_secure_erase();
    }
}

impl SoftwareKeys {
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

    pub(super) fn new(
        bls: bls::SecretKey,
        mut schnorr: SecretKey,
    ) -> Result<Self, getrandom::Error> {
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

    /// Reads what [`SoftwareKeys::to_secret_bytes`] wrote.
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

    pub(super) fn sign_bls(&self, intent: Persisted<BlsIntent>) -> BlsSignature {
        intent.sign(&self.bls)
    }

    pub(super) fn sign_card(&self, card: &Card) -> Result<SchnorrSignature, getrandom::Error> {
        let mut randomness = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *randomness)?;
        let message = Message::from_digest(card.digest().to_bytes());
        let signature = self
            .secp
            .sign_schnorr_with_aux_rand(&message, &self.schnorr, &randomness);
        Ok(SchnorrSignature::new(signature.serialize()))
    }

    pub(super) fn sign_schnorr(&self, intent: Persisted<SchnorrIntent>) -> Vec<SchnorrSignature> {
        intent.sign(&self.secp, &self.schnorr)
    }
}
