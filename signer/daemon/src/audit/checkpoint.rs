//! Checkpoints: how many entries there are and the hash of the last, signed by a key that signs nothing else.

use super::entry::{Sequence, UnixMillis};
use crate::keys::Keys;
use alys_protocol::bls::BlsPublicKeyBytes;
use alys_protocol::bytes::{self, Digest};
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::units::ChainId;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// The public side of an audit key (Ed25519, RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuditPublicKey(#[serde(with = "bytes")] [u8; 32]);

impl core::fmt::Display for AuditPublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        bytes::write_hex(f, &self.0)
    }
}

impl core::fmt::Debug for AuditPublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "AuditPublicKey({self})")
    }
}

impl core::str::FromStr for AuditPublicKey {
    type Err = bytes::HexError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        bytes::from_hex(text).map(Self)
    }
}

/// The key that signs checkpoints. Never printed, wiped when dropped.
pub struct AuditKey(SigningKey);

impl core::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AuditKey(..)")
    }
}

/// An audit key as the state holds it: XChaCha20-Poly1305 under a key that follows from what opening the member's keys gives
/// ([`Keys::derive`]), so that whatever opens those opens this. It is made for one member and cannot be moved to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedAuditKey {
    /// The public side, authenticated with the rest.
    pub public: AuditPublicKey,
    #[serde(with = "bytes")]
    nonce: [u8; 24],
    #[serde(with = "bytes")]
    ciphertext: [u8; 48],
}

/// An audit key that cannot be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuditKeyError {
    /// No entropy.
    #[error("audit key: the operating system gives no entropy: {0}")]
    Entropy(getrandom::Error),
    /// Sealed under other keys, or changed.
    #[error("audit key: the member's keys do not open it, or the state was changed")]
    Open,
}

impl AuditKey {
    /// Makes a key from the operating system's entropy.
    ///
    /// # Errors
    /// - [`AuditKeyError::Entropy`] where there is none.
    pub fn generate() -> Result<Self, AuditKeyError> {
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *seed).map_err(AuditKeyError::Entropy)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The public side.
    pub fn public(&self) -> AuditPublicKey {
        AuditPublicKey(self.0.verifying_key().to_bytes())
    }

    /// Seals it for the holder of `keys`.
    ///
    /// # Errors
    /// - [`AuditKeyError::Entropy`] where there is none.
    pub fn seal(&self, keys: &Keys) -> Result<SealedAuditKey, AuditKeyError> {
        let mut nonce = [0u8; 24];
        getrandom::fill(&mut nonce).map_err(AuditKeyError::Entropy)?;
        let public = self.public();
        let aad = associated_data(&keys.card().bls, &public);
        let payload = Payload {
            msg: self.0.as_bytes(),
            aad: &aad,
        };
        let ciphertext = cipher(keys)
            .encrypt(XNonce::from_slice(&nonce), payload)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(AuditKeyError::Open)?;
        Ok(SealedAuditKey {
            public,
            nonce,
            ciphertext,
        })
    }

    /// Opens it with the keys that it was sealed for.
    ///
    /// # Errors
    /// - [`AuditKeyError::Open`] where they are others, or it was changed.
    pub fn open(sealed: &SealedAuditKey, keys: &Keys) -> Result<Self, AuditKeyError> {
        let aad = associated_data(&keys.card().bls, &sealed.public);
        let payload = Payload {
            msg: &sealed.ciphertext,
            aad: &aad,
        };
        let seed = cipher(keys)
            .decrypt(XNonce::from_slice(&sealed.nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| AuditKeyError::Open)?;
        let seed: &[u8; 32] = seed
            .as_slice()
            .try_into()
            .map_err(|_| AuditKeyError::Open)?;
        let key = Self(SigningKey::from_bytes(seed));
        if key.public() != sealed.public {
            return Err(AuditKeyError::Open);
        }
        Ok(key)
    }

    /// Signs that the log's first `count` entries end with the hash `head`.
    pub fn checkpoint(
        &self,
        chain: ChainId,
        count: Sequence,
        head: Digest,
        time: UnixMillis,
    ) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            count,
            head,
            time,
            key: self.public(),
            signature: [0; 64],
        };
        checkpoint.signature = self.0.sign(&checkpoint.message(chain)).to_bytes();
        checkpoint
    }
}

fn cipher(keys: &Keys) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(Key::from_slice(&*keys.derive(hash::AUDIT_SEAL)))
}

fn associated_data(bls: &BlsPublicKeyBytes, public: &AuditPublicKey) -> Vec<u8> {
    [b"alys-audit-key/1".as_slice(), bls.as_bytes(), &public.0].concat()
}

/// A signed statement about the log's beginning up to some entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How many entries it covers: all below this number.
    pub count: Sequence,
    /// Hash of the last of them.
    pub head: Digest,
    /// When it was signed.
    pub time: UnixMillis,
    /// Whose signature it is.
    pub key: AuditPublicKey,
    /// Ed25519.
    #[serde(with = "bytes")]
    pub signature: [u8; 64],
}

impl Checkpoint {
    fn message(&self, chain: ChainId) -> [u8; 32] {
        TaggedHasher::new(hash::AUDIT_CHECKPOINT, chain)
            .fixed(&self.count.get().to_le_bytes())
            .fixed(self.head.as_bytes())
            .fixed(&self.time.get().to_le_bytes())
            .finish()
    }

    /// Whether `key` signed it.
    pub fn verifies(&self, chain: ChainId, key: &AuditPublicKey) -> bool {
        let signature = Signature::from_bytes(&self.signature);
        self.key == *key
            && VerifyingKey::from_bytes(&key.0)
                .is_ok_and(|key| key.verify_strict(&self.message(chain), &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SoftwareKeys;

    #[test]
    fn it_opens_for_its_own_member_only() {
        let keys = || Keys::from(SoftwareKeys::generate().unwrap());
        let (own, other) = (keys(), keys());
        let key = AuditKey::generate().unwrap();
        let sealed = key.seal(&own).unwrap();
        assert_eq!(
            AuditKey::open(&sealed, &own).unwrap().public(),
            key.public()
        );
        assert_eq!(
            AuditKey::open(&sealed, &other).unwrap_err(),
            AuditKeyError::Open
        );
        let mut changed = sealed.clone();
        changed.public = AuditKey::generate().unwrap().public();
        assert_eq!(
            AuditKey::open(&changed, &own).unwrap_err(),
            AuditKeyError::Open
        );
        let seed = key.0.to_bytes();
        let bytes = postcard::to_allocvec(&sealed).unwrap();
        assert!(!bytes.windows(32).any(|window| window == seed));
        assert_eq!(format!("{key:?}"), "AuditKey(..)");
    }

    #[test]
    fn a_signature_covers_every_field() {
        let chain = ChainId::new(1);
        let key = AuditKey::generate().unwrap();
        let good = key.checkpoint(
            chain,
            Sequence::new(5),
            Digest::new([1; 32]),
            UnixMillis::new(9),
        );
        assert!(good.verifies(chain, &key.public()));
        assert!(!good.verifies(ChainId::new(2), &key.public()));
        assert!(!good.verifies(chain, &AuditKey::generate().unwrap().public()));
        let changes: [fn(&mut Checkpoint); 4] = [
            |it| it.count = Sequence::new(6),
            |it| it.head = Digest::ZERO,
            |it| it.time = UnixMillis::new(10),
            |it| it.signature[0] ^= 1,
        ];
        for change in changes {
            let mut changed = good.clone();
            change(&mut changed);
            assert!(!changed.verifies(chain, &key.public()), "{changed:?}");
        }
    }
}
