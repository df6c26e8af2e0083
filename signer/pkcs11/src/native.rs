//! Native mode: the token itself signs, by vendor-defined mechanisms.
//!
//! PKCS#11 names neither BIP-340 nor BLS12-381, so the mechanisms' numbers and parameters come from the configuration.
//! Whether they do what they are to do is shown by [`SchnorrKey::probe`] and [`BlsKey::probe`]: a signature that
//! verifies by the protocol's own rules. Every later signature is verified before it is returned as well (BIP-340,
//! "Default Signing"), which also keeps a signature that a fault spoilt from telling anything about the key.
//!
//! What is signed is never the caller's bytes: a decision that the durable state records ([`Persisted`]), a member's card,
//! a proof of possession, or a probe.
//!
//! The probe signs `tagged("alys/token-probe/1", random)`. What members vote on is a tagged hash under other tags, and
//! what moves bitcoin is one under `TapSighash`: a probe that is also one of these is a collision of SHA-256.

mod config;

pub use config::{NativeConfig, NativeKeyConfig, VendorMechanism};

use crate::error::TokenError;
use crate::object::{Key, KeyName};
use crate::token::Token;
use alys_protocol::bls::{self, BlsPublicKeyBytes, BlsSignature};
use alys_protocol::ceremony::Card;
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_signer_core::Persisted;
use alys_signer_core::signer::{BlsIntent, SchnorrIntent};
use bitcoin::secp256k1::{Message, Secp256k1, VerifyOnly, XOnlyPublicKey, schnorr};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use std::sync::Arc;

/// A private key in a token, and the public key beside it.
#[derive(Debug)]
struct Pair {
    token: Arc<Token>,
    private: Key,
    public: Key,
}

impl Pair {
    fn named(token: Arc<Token>, label: &str) -> Self {
        Self {
            token,
            private: Key::new(ObjectClass::PRIVATE_KEY, KeyName::label(label)),
            public: Key::new(ObjectClass::PUBLIC_KEY, KeyName::label(label)),
        }
    }

    fn open(token: Arc<Token>, label: &str) -> Result<Self, TokenError> {
        let pair = Self::named(token, label);
        pair.token
            .with(|link| pair.private.find(link).map(|_| ()))?;
        Ok(pair)
    }

    /// That no key has the name.
    fn check_free(&self) -> Result<(), TokenError> {
        self.token.with(|link| {
            for key in [&self.private, &self.public] {
                if key.count(link)? > 0 {
                    return Err(TokenError::KeyExists {
                        token: link.token(),
                        key: key.describe(),
                    });
                }
            }
            Ok(())
        })
    }

    /// Makes both keys inside the token; the private one can neither be shown nor wrapped.
    fn generate(&self, label: &str, mechanism: &VendorMechanism) -> Result<(), TokenError> {
        let name = KeyName::label(label);
        let mut public = name.attributes();
        public.extend([
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
        ]);
        let mut private = name.attributes();
        private.extend([
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ]);
        self.check_free()?;
        self.token.with(|link| {
            let mechanism = mechanism.mechanism();
            let made = link
                .session
                .generate_key_pair(&mechanism, &public, &private);
            link.check(made).map(|_handles| ())
        })
    }

    fn generated_inside(&self) -> Result<bool, TokenError> {
        self.token.with(|link| self.private.generated_inside(link))
    }

    /// `CKA_EC_POINT`, bare or, as the standard has it, in a DER octet string.
    fn point(&self) -> Result<Vec<u8>, TokenError> {
        self.token.with(
            |link| match self.public.attribute(link, AttributeType::EcPoint)? {
                Some(Attribute::EcPoint(point)) => Ok(point),
                _other => Err(TokenError::KeyUnsuitable {
                    token: link.token(),
                    key: self.public.describe(),
                    expected: "CKA_EC_POINT",
                    found: "no such attribute".to_owned(),
                }),
            },
        )
    }

    fn unsuitable(&self, expected: &'static str, point: &[u8]) -> TokenError {
        TokenError::KeyUnsuitable {
            token: self.token.uri().to_string(),
            key: self.public.describe(),
            expected,
            found: format!("{} bytes", point.len()),
        }
    }

    fn sign<const LENGTH: usize>(
        &self,
        mechanism: &VendorMechanism,
        message: &[u8],
    ) -> Result<[u8; LENGTH], TokenError> {
        let signature = self.token.with(|link| {
            let key = self.private.find(link)?;
            link.check(link.session.sign(&mechanism.mechanism(), key, message))
        })?;
        let found = signature.len();
        signature
            .try_into()
            .map_err(|_| self.refuted(format!("{found} bytes instead of {LENGTH}")))
    }

    fn refuted(&self, found: String) -> TokenError {
        TokenError::Signature {
            token: self.token.uri().to_string(),
            key: self.private.describe(),
            found,
        }
    }
}

impl NativeConfig {
    /// Makes those keys in the token whose configuration says how; both or none, as far as can be known before. Keys
    /// that are there stay.
    ///
    /// # Errors
    /// - [`TokenError::Mechanism`] where the possession of a new voting key could not be proven;
    /// - [`TokenError::KeyExists`] where a key has one of the names;
    /// - [`TokenError`] otherwise where the token fails. A key that was made before it did is there.
    pub fn generate(&self, token: &Arc<Token>) -> Result<(), TokenError> {
        self.possession()?;
        let wanted: Vec<_> = [&self.schnorr, &self.bls]
            .into_iter()
            .filter_map(|key| {
                let pair = Pair::named(Arc::clone(token), &key.object);
                Some((pair, &key.object, key.generate.as_ref()?))
            })
            .collect();
        wanted.iter().try_for_each(|(pair, ..)| pair.check_free())?;
        wanted
            .iter()
            .try_for_each(|(pair, label, mechanism)| pair.generate(label, mechanism))
    }

    fn possession(&self) -> Result<&VendorMechanism, TokenError> {
        self.bls_possession
            .as_ref()
            .ok_or_else(|| TokenError::Mechanism {
                expected: "bls_possession in the configuration",
                found: "none".to_owned(),
            })
    }
}

/// What [`SchnorrKey::probe`] and [`BlsKey::probe`] sign: nothing that anybody else ever signs (see the module).
fn probe_message() -> Result<[u8; 32], TokenError> {
    let mut random = [0u8; 32];
    // Fresh, so that a signature made long ago does not pass.
    getrandom::fill(&mut random)?;
    Ok(TaggedHasher::without_chain(hash::TOKEN_PROBE)
        .fixed(&random)
        .finish())
}

/// The bare point of one of `lengths` bytes, out of its DER octet string if it is in one.
fn bare(point: &[u8], lengths: &[usize]) -> Option<Vec<u8>> {
    let inner = match point {
        [0x04, length, inner @ ..] if usize::from(*length) == inner.len() => inner,
        bare => bare,
    };
    lengths.contains(&inner.len()).then(|| inner.to_vec())
}

/// The Bitcoin wallet's key in a token.
#[derive(Debug)]
pub struct SchnorrKey {
    pair: Pair,
    sign: VendorMechanism,
    public: XOnlyPublicKey,
    secp: Secp256k1<VerifyOnly>,
}

impl SchnorrKey {
    /// The key that is there, with its public key as the token has it. Call [`SchnorrKey::probe`] before it is relied upon.
    ///
    /// # Errors
    /// - [`TokenError::KeyMissing`], [`TokenError::KeyAmbiguous`], [`TokenError::KeyExtractable`] as named;
    /// - [`TokenError::KeyUnsuitable`] where the public key is no point of secp256k1.
    pub fn open(token: Arc<Token>, config: &NativeKeyConfig) -> Result<Self, TokenError> {
        let pair = Pair::open(token, &config.object)?;
        let point = pair.point()?;
        let unsuitable = || pair.unsuitable("a point of secp256k1 of 32, 33 or 65 bytes", &point);
        let bytes = bare(&point, &[32, 33, 65]).ok_or_else(unsuitable)?;
        let public = match bytes.len() {
            32 => XOnlyPublicKey::from_slice(&bytes),
            _sec1 => bitcoin::secp256k1::PublicKey::from_slice(&bytes)
                .map(|key| key.x_only_public_key().0),
        }
        .map_err(|_| unsuitable())?;
        Ok(Self {
            pair,
            sign: config.sign.clone(),
            public,
            secp: Secp256k1::verification_only(),
        })
    }

    /// Its public key.
    pub fn public_key(&self) -> SchnorrPublicKeyBytes {
        SchnorrPublicKeyBytes::new(self.public.serialize())
    }

    /// Whether the token made it and never could give it away. False for a key that was brought from outside.
    ///
    /// # Errors
    /// - [`TokenError`] where the token cannot be asked.
    pub fn generated_inside(&self) -> Result<bool, TokenError> {
        self.pair.generated_inside()
    }

    /// Signs a persisted peg-out, each input. The token draws its own auxiliary randomness (BIP-340), so a repeat has other
    /// signatures of the same messages.
    ///
    /// # Errors
    /// - [`TokenError::Signature`] where the token returns something else;
    /// - [`TokenError`] otherwise where it fails; the caller has no signature then, not even of some inputs.
    pub fn sign_peg_out(
        &self,
        intent: Persisted<SchnorrIntent>,
    ) -> Result<Vec<SchnorrSignature>, TokenError> {
        let sighashes = intent.sighashes().iter();
        sighashes.map(|sighash| self.sign(sighash)).collect()
    }

    /// Signs a member's card: a digest under a tag of its own, so never a vote and never a transaction.
    ///
    /// # Errors
    /// - those of [`SchnorrKey::sign_peg_out`].
    pub fn sign_card(&self, card: &Card) -> Result<SchnorrSignature, TokenError> {
        self.sign(&card.digest().to_bytes())
    }

    /// Signs 32 bytes and verifies the signature. The caller answers for what they are.
    fn sign(&self, message: &[u8; 32]) -> Result<SchnorrSignature, TokenError> {
        let bytes = self.pair.sign::<64>(&self.sign, message)?;
        schnorr::Signature::from_slice(&bytes)
            .and_then(|signature| {
                let message = Message::from_digest(*message);
                self.secp.verify_schnorr(&signature, &message, &self.public)
            })
            .map_err(|_| {
                self.pair
                    .refuted("64 bytes that are none by BIP-340".to_owned())
            })?;
        Ok(SchnorrSignature::new(bytes))
    }

    /// Signs a test message, to show at start that the mechanism is BIP-340 with this key.
    ///
    /// # Errors
    /// - those of [`SchnorrKey::sign_peg_out`].
    pub fn probe(&self) -> Result<(), TokenError> {
        self.sign(&probe_message()?).map(|_| ())
    }
}

/// The voting key in a token.
#[derive(Debug)]
pub struct BlsKey {
    pair: Pair,
    config: NativeConfig,
    public: bls::PublicKey,
}

impl BlsKey {
    /// The key that is there, with its public key as the token has it. Call [`BlsKey::probe`] before it is relied upon.
    ///
    /// # Errors
    /// - [`TokenError::KeyMissing`], [`TokenError::KeyAmbiguous`], [`TokenError::KeyExtractable`] as named;
    /// - [`TokenError::KeyUnsuitable`] where the public key is no point of BLS12-381's G1.
    pub fn open(token: Arc<Token>, config: &NativeConfig) -> Result<Self, TokenError> {
        let pair = Pair::open(token, &config.bls.object)?;
        let point = pair.point()?;
        let public = bare(&point, &[48])
            .and_then(|bytes| <[u8; 48]>::try_from(bytes).ok())
            .and_then(|bytes| bls::PublicKey::from_bytes(&BlsPublicKeyBytes::new(bytes)).ok())
            .ok_or_else(|| {
                pair.unsuitable("a compressed point of BLS12-381's G1, 48 bytes", &point)
            })?;
        Ok(Self {
            pair,
            config: config.clone(),
            public,
        })
    }

    /// Its public key.
    pub fn public_key(&self) -> BlsPublicKeyBytes {
        self.public.to_bytes()
    }

    /// Whether the token made it and never could give it away. False for a key that was brought from outside.
    ///
    /// # Errors
    /// - [`TokenError`] where the token cannot be asked.
    pub fn generated_inside(&self) -> Result<bool, TokenError> {
        self.pair.generated_inside()
    }

    /// Signs a persisted vote or proposal.
    ///
    /// # Errors
    /// - [`TokenError::Signature`] where the token returns something else;
    /// - [`TokenError`] otherwise where it fails.
    pub fn sign_vote(&self, intent: Persisted<BlsIntent>) -> Result<BlsSignature, TokenError> {
        self.sign(intent.message())
    }

    /// Signs 32 bytes and verifies the signature. The caller answers for what they are.
    fn sign(&self, message: &[u8; 32]) -> Result<BlsSignature, TokenError> {
        let signature = BlsSignature::new(self.pair.sign::<96>(&self.config.bls.sign, message)?);
        self.public
            .verify(message, &signature)
            .map_err(|error| self.pair.refuted(error.to_string()))?;
        Ok(signature)
    }

    /// Proves possession of the key, as [`bls::SecretKey::prove_possession`] does.
    ///
    /// # Errors
    /// - [`TokenError::Mechanism`] where the configuration has no mechanism for it;
    /// - [`TokenError::Signature`] where the token returns something else;
    /// - [`TokenError`] otherwise where it fails.
    pub fn prove_possession(&self) -> Result<BlsSignature, TokenError> {
        let mechanism = self.config.possession()?;
        let key = self.public_key();
        let proof = BlsSignature::new(self.pair.sign::<96>(mechanism, key.as_bytes())?);
        self.public
            .verify_possession(&proof)
            .map_err(|error| self.pair.refuted(error.to_string()))?;
        Ok(proof)
    }

    /// Signs a test message, to show at start that the mechanism is the protocol's BLS with this key.
    ///
    /// # Errors
    /// - those of [`BlsKey::sign_vote`].
    pub fn probe(&self) -> Result<(), TokenError> {
        self.sign(&probe_message()?).map(|_| ())
    }
}
