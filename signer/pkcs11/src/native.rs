//! Native mode: the token itself signs, by vendor-defined mechanisms.
//!
//! PKCS#11 names neither BIP-340 nor BLS12-381, so the mechanisms' numbers and parameters come from the configuration.
//! Whether they do what they are to do is shown by [`SchnorrKey::probe`] and [`BlsKey::probe`]: a signature that
//! verifies by the protocol's own rules. Every later signature is verified before it is returned as well (BIP-340,
//! "Default Signing"), which also keeps a signature that a fault spoilt from telling anything about the key.
//!
//! The probe signs `tagged("alys/token-probe/1", random)`. What members vote on is a tagged hash under other tags, and
//! what moves bitcoin is one under `TapSighash`: a probe that is also one of these is a collision of SHA-256.

use crate::error::TokenError;
use crate::object::{Key, KeyName};
use crate::token::Token;
use alys_protocol::bls::{self, BlsPublicKeyBytes, BlsSignature};
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use bitcoin::secp256k1::{Message, Secp256k1, VerifyOnly, XOnlyPublicKey, schnorr};
use cryptoki::mechanism::vendor_defined::{CKM_VENDOR_DEFINED, VendorDefinedMechanism};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Longest parameter, in words.
const MAX_PARAMETER_WORDS: usize = 4;

/// The two keys of a member, and how its token signs with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeConfig {
    /// The Bitcoin wallet's key, BIP-340.
    pub schnorr: NativeKeyConfig,
    /// The key that votes, BLS12-381 with minimal public keys.
    pub bls: NativeKeyConfig,
    /// Signs the BLS key itself under the ciphersuite's other domain, to prove its possession; only a ceremony needs it.
    #[serde(default)]
    pub bls_possession: Option<VendorMechanism>,
}

/// One key, and how its token signs with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeKeyConfig {
    /// Label of both the private and the public key.
    pub object: String,
    /// Signs 32 bytes.
    pub sign: VendorMechanism,
}

/// A vendor-defined mechanism: a number of the vendor's range, and its parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawMechanism", into = "RawMechanism")]
pub struct VendorMechanism {
    number: MechanismType,
    parameter: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMechanism {
    /// `CKM_VENDOR_DEFINED` (0x80000000) or above.
    mechanism: u32,
    /// The parameter as machine words (`CK_ULONG`), at most four. Pointers cannot be written down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parameter: Vec<u64>,
}

impl TryFrom<RawMechanism> for VendorMechanism {
    type Error = TokenError;

    fn try_from(raw: RawMechanism) -> Result<Self, TokenError> {
        Self::new(raw.mechanism, raw.parameter)
    }
}

impl From<VendorMechanism> for RawMechanism {
    fn from(mechanism: VendorMechanism) -> Self {
        Self {
            // It was one when it was made.
            mechanism: u32::try_from(*mechanism.number).unwrap_or(u32::MAX),
            parameter: mechanism.parameter,
        }
    }
}

impl VendorMechanism {
    /// A mechanism by its number and its parameter's machine words.
    ///
    /// # Errors
    /// - [`TokenError::Mechanism`] where the number is not a vendor's, or the parameter longer than four words.
    pub fn new(mechanism: u32, parameter: Vec<u64>) -> Result<Self, TokenError> {
        let number = MechanismType::new_vendor_defined(mechanism.into()).map_err(|_| {
            TokenError::Mechanism {
                expected: "a number of at least CKM_VENDOR_DEFINED, 0x80000000",
                found: format!("{mechanism:#x}, below {CKM_VENDOR_DEFINED:#x}"),
            }
        })?;
        if parameter.len() > MAX_PARAMETER_WORDS {
            return Err(TokenError::Mechanism {
                expected: "a parameter of at most four words",
                found: parameter.len().to_string(),
            });
        }
        Ok(Self { number, parameter })
    }

    fn mechanism(&self) -> Mechanism<'_> {
        // The bindings take a parameter of a fixed size.
        let vendor = match self.parameter.as_slice() {
            [] => None,
            words => sized::<1>(self.number, words)
                .or_else(|| sized::<2>(self.number, words))
                .or_else(|| sized::<3>(self.number, words))
                .or_else(|| sized::<4>(self.number, words)),
        };
        Mechanism::VendorDefined(
            vendor.unwrap_or_else(|| VendorDefinedMechanism::new::<[u64; 0]>(self.number, None)),
        )
    }
}

fn sized<const WORDS: usize>(
    number: MechanismType,
    words: &[u64],
) -> Option<VendorDefinedMechanism<'_>> {
    <&[u64; WORDS]>::try_from(words)
        .ok()
        .map(|words| VendorDefinedMechanism::new(number, Some(words)))
}

/// A private key in a token, and the public key beside it.
#[derive(Debug)]
struct Pair {
    token: Arc<Token>,
    private: Key,
    public: Key,
}

impl Pair {
    fn open(token: Arc<Token>, label: &str) -> Result<Self, TokenError> {
        let pair = Self {
            token,
            private: Key::new(ObjectClass::PRIVATE_KEY, KeyName::label(label)),
            public: Key::new(ObjectClass::PUBLIC_KEY, KeyName::label(label)),
        };
        pair.token
            .with(|link| pair.private.find(link).map(|_| ()))?;
        Ok(pair)
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

    /// Signs 32 bytes and verifies the signature. The caller answers for what they are.
    ///
    /// # Errors
    /// - [`TokenError::Signature`] where the token returns something else;
    /// - [`TokenError`] otherwise where it fails.
    pub fn sign(&self, message: &[u8; 32]) -> Result<SchnorrSignature, TokenError> {
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
    /// - those of [`SchnorrKey::sign`].
    pub fn probe(&self) -> Result<(), TokenError> {
        self.sign(&probe_message()?).map(|_| ())
    }
}

/// The voting key in a token.
#[derive(Debug)]
pub struct BlsKey {
    pair: Pair,
    sign: VendorMechanism,
    possession: Option<VendorMechanism>,
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
            sign: config.bls.sign.clone(),
            possession: config.bls_possession.clone(),
            public,
        })
    }

    /// Its public key.
    pub fn public_key(&self) -> BlsPublicKeyBytes {
        self.public.to_bytes()
    }

    /// Signs 32 bytes and verifies the signature. The caller answers for what they are.
    ///
    /// # Errors
    /// - [`TokenError::Signature`] where the token returns something else;
    /// - [`TokenError`] otherwise where it fails.
    pub fn sign(&self, message: &[u8; 32]) -> Result<BlsSignature, TokenError> {
        let signature = BlsSignature::new(self.pair.sign::<96>(&self.sign, message)?);
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
        let Some(mechanism) = &self.possession else {
            return Err(TokenError::Mechanism {
                expected: "bls_possession in the configuration",
                found: "none".to_owned(),
            });
        };
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
    /// - those of [`BlsKey::sign`].
    pub fn probe(&self) -> Result<(), TokenError> {
        self.sign(&probe_message()?).map(|_| ())
    }
}
