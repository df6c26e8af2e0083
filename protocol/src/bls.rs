//! BLS12-381 signatures, minimal public key, Ethereum's proof-of-possession ciphersuite.
//!
//! Source: draft-irtf-cfrg-bls-signature-05, ciphersuite `BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_`. Keys are
//! aggregated only after every proof of possession in a chain spec was verified, which rules out rogue keys.

use crate::bytes::byte_string;
use crate::hash::{self, TaggedHasher};
use alloc::vec::Vec;
use blst::min_pk;
use blst::{BLST_ERROR, blst_scalar};
use thiserror::Error;
use zeroize::Zeroize as _;

const SIGNATURE_DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
const POSSESSION_DST: &[u8] = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

byte_string!(
    /// A compressed public key as it is written; [`PublicKey`] is one that was checked.
    BlsPublicKeyBytes[48]
);
byte_string!(
    /// A compressed signature as it is written; verifying it checks that it is one.
    BlsSignature[96]
);

/// A key or signature that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BlsError {
    /// No point of the right subgroup, or the point at infinity.
    #[error("BLS public key is not a valid point: {0}")]
    PublicKey(&'static str),
    /// No point of the right subgroup.
    #[error("BLS signature is not a valid point: {0}")]
    Signature(&'static str),
    /// A point, but not a signature of this message by this key.
    #[error("BLS signature does not verify")]
    Mismatch,
    /// Nothing to aggregate.
    #[error("no BLS keys or signatures to aggregate")]
    Empty,
    /// Key material that cannot make a secret key.
    #[error("BLS secret key is not a scalar below the group order, or its seed is under 32 bytes")]
    SecretKey,
}

fn reason(error: BLST_ERROR) -> &'static str {
    match error {
        BLST_ERROR::BLST_SUCCESS => "success",
        BLST_ERROR::BLST_BAD_ENCODING => "bad encoding",
        BLST_ERROR::BLST_POINT_NOT_ON_CURVE => "point not on curve",
        BLST_ERROR::BLST_POINT_NOT_IN_GROUP => "point not in group",
        BLST_ERROR::BLST_AGGR_TYPE_MISMATCH => "aggregate type mismatch",
        BLST_ERROR::BLST_VERIFY_FAIL => "verification failed",
        BLST_ERROR::BLST_PK_IS_INFINITY => "point at infinity",
        BLST_ERROR::BLST_BAD_SCALAR => "bad scalar",
    }
}

/// A public key that was checked: on the curve, in the subgroup, not infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(min_pk::PublicKey);

impl core::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.to_bytes())
    }
}

impl PublicKey {
    /// Checks a compressed key.
    ///
    /// # Errors
    /// - [`BlsError::PublicKey`] where it is no valid key.
    pub fn from_bytes(bytes: &BlsPublicKeyBytes) -> Result<Self, BlsError> {
        min_pk::PublicKey::key_validate(bytes.as_bytes())
            .map(Self)
            .map_err(|error| BlsError::PublicKey(reason(error)))
    }

    /// The compressed key.
    pub fn to_bytes(&self) -> BlsPublicKeyBytes {
        BlsPublicKeyBytes::new(self.0.compress())
    }

    /// Verifies a signature over a 32-byte message.
    ///
    /// # Errors
    /// - [`BlsError::Signature`] where the bytes are no signature;
    /// - [`BlsError::Mismatch`] where it is not this key's over this message.
    pub fn verify(&self, message: &[u8; 32], signature: &BlsSignature) -> Result<(), BlsError> {
        verify_aggregate(core::slice::from_ref(self), message, signature)
    }

    /// Verifies that whoever made this key holds its secret (draft-irtf-cfrg-bls-signature, `PopVerify`).
    ///
    /// # Errors
    /// - [`BlsError::Signature`] where the bytes are no signature;
    /// - [`BlsError::Mismatch`] where the proof is for another key.
    pub fn verify_possession(&self, proof: &BlsSignature) -> Result<(), BlsError> {
        let signature = parse(proof)?;
        accept(signature.verify(
            false,
            &self.0.compress(),
            POSSESSION_DST,
            &[],
            &self.0,
            false,
        ))
    }
}

fn accept(outcome: BLST_ERROR) -> Result<(), BlsError> {
    if outcome == BLST_ERROR::BLST_SUCCESS {
        Ok(())
    } else {
        Err(BlsError::Mismatch)
    }
}

fn parse(bytes: &BlsSignature) -> Result<min_pk::Signature, BlsError> {
    min_pk::Signature::sig_validate(bytes.as_bytes(), true)
        .map_err(|error| BlsError::Signature(reason(error)))
}

/// Verifies an aggregate of signatures by `keys` over one message (`FastAggregateVerify`).
///
/// The caller must have verified each key's possession proof.
///
/// # Errors
/// - [`BlsError::Empty`] where there are no keys;
/// - [`BlsError::Signature`] where the bytes are no signature;
/// - [`BlsError::Mismatch`] where it is not theirs over this message.
pub fn verify_aggregate(
    keys: &[PublicKey],
    message: &[u8; 32],
    signature: &BlsSignature,
) -> Result<(), BlsError> {
    if keys.is_empty() {
        return Err(BlsError::Empty);
    }
    let signature = parse(signature)?;
    let keys: Vec<&min_pk::PublicKey> = keys.iter().map(|key| &key.0).collect();
    accept(signature.fast_aggregate_verify(false, message, SIGNATURE_DST, &keys))
}

/// What [`verify_all`] verifies: that `keys` together signed `message`.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The signers; each one's possession proof was verified.
    pub keys: Vec<PublicKey>,
    /// What they signed.
    pub message: [u8; 32],
    /// The aggregate of their signatures.
    pub signature: BlsSignature,
}

/// Verifies many aggregates in one multi-pairing: n + 1 Miller loops and one final exponentiation instead of 2n and n.
///
/// Each claim is multiplied by a coefficient of 128 bits, which is a hash of all claims: wrong ones would have to cancel
/// out under coefficients that change with each of their bits (Ferrara, Green, Hohenberger and Pedersen, "Practical Short
/// Signature Batch Verification", CT-RSA 2009, with the random oracle for the verifier's coins). Says only that all hold,
/// or that not all do.
///
/// # Errors
/// - [`BlsError::Empty`] where a claim has no keys;
/// - [`BlsError::Signature`] where bytes are no signature;
/// - [`BlsError::Mismatch`] where not every signature holds.
pub fn verify_all(claims: &[Claim]) -> Result<(), BlsError> {
    if claims.is_empty() {
        return Ok(());
    }
    let mut transcript = TaggedHasher::without_chain(hash::BLS_BATCH);
    let (mut keys, mut signatures) = (Vec::new(), Vec::new());
    for claim in claims {
        let parts: Vec<&min_pk::PublicKey> = claim.keys.iter().map(|key| &key.0).collect();
        let sum = min_pk::AggregatePublicKey::aggregate(&parts, false)
            .map_err(|_| BlsError::Empty)?
            .to_public_key();
        transcript = transcript
            .fixed(&sum.compress())
            .fixed(&claim.message)
            .fixed(claim.signature.as_bytes());
        keys.push(sum);
        signatures.push(parse(&claim.signature)?);
    }
    let seed = transcript.finish();
    let coefficients: Vec<blst_scalar> = (0u64..)
        .zip(claims)
        .map(|(number, _)| coefficient(&seed, number))
        .collect();
    let messages: Vec<&[u8]> = claims.iter().map(|claim| &claim.message[..]).collect();
    let keys: Vec<&min_pk::PublicKey> = keys.iter().collect();
    let signatures: Vec<&min_pk::Signature> = signatures.iter().collect();
    accept(min_pk::Signature::verify_multiple_aggregate_signatures(
        &messages,
        SIGNATURE_DST,
        &keys,
        // Checked when they were made, as was the signatures' subgroup.
        false,
        &signatures,
        false,
        &coefficients,
        COEFFICIENT_BITS,
    ))
}

const COEFFICIENT_BITS: usize = 128;

/// Never zero, which would let any signature pass.
fn coefficient(seed: &[u8; 32], number: u64) -> blst_scalar {
    let bytes = TaggedHasher::without_chain(hash::BLS_BATCH)
        .fixed(seed)
        .fixed(&number.to_le_bytes())
        .finish();
    let mut scalar = blst_scalar::default();
    for (place, byte) in scalar.b.iter_mut().zip(bytes).take(COEFFICIENT_BITS / 8) {
        *place = byte;
    }
    if let Some(lowest) = scalar.b.first_mut() {
        *lowest |= 1;
    }
    scalar
}

/// Adds signatures over one message into one.
///
/// # Errors
/// - [`BlsError::Empty`] where there are none;
/// - [`BlsError::Signature`] where one is no signature.
pub fn aggregate(signatures: &[BlsSignature]) -> Result<BlsSignature, BlsError> {
    let parsed = signatures
        .iter()
        .map(parse)
        .collect::<Result<Vec<_>, _>>()?;
    let references: Vec<&min_pk::Signature> = parsed.iter().collect();
    if references.is_empty() {
        return Err(BlsError::Empty);
    }
    let sum = min_pk::AggregateSignature::aggregate(&references, false)
        .map_err(|error| BlsError::Signature(reason(error)))?;
    Ok(BlsSignature::new(sum.to_signature().compress()))
}

/// A secret key. Only signers and provisioning hold one; it is wiped when dropped and never printed.
pub struct SecretKey(min_pk::SecretKey);

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BlsSecretKey(..)")
    }
}

impl SecretKey {
    /// Derives a key from at least 32 bytes of secret entropy (`KeyGen`).
    ///
    /// # Errors
    /// - [`BlsError::SecretKey`] where the seed is too short.
    pub fn from_seed(seed: &[u8]) -> Result<Self, BlsError> {
        min_pk::SecretKey::key_gen(seed, &[])
            .map(Self)
            .map_err(|_| BlsError::SecretKey)
    }

    /// Reads a big-endian scalar.
    ///
    /// # Errors
    /// - [`BlsError::SecretKey`] where it is zero or not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BlsError> {
        min_pk::SecretKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| BlsError::SecretKey)
    }

    /// The big-endian scalar, wiped by its holder's drop.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        let mut bytes = self.0.to_bytes();
        let kept = zeroize::Zeroizing::new(bytes);
        bytes.zeroize();
        kept
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.sk_to_pk())
    }

    /// Signs a 32-byte message. Deterministic.
    pub fn sign(&self, message: &[u8; 32]) -> BlsSignature {
        BlsSignature::new(self.0.sign(message, SIGNATURE_DST, &[]).compress())
    }

    /// Proves possession of this key (`PopProve`).
    pub fn prove_possession(&self) -> BlsSignature {
        let key = self.public_key().0.compress();
        BlsSignature::new(self.0.sign(&key, POSSESSION_DST, &[]).compress())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> SecretKey {
        SecretKey::from_seed(&[number; 32]).unwrap()
    }

    #[test]
    fn aggregates_verify_for_exactly_their_keys() {
        let message = [9; 32];
        let signatures: Vec<_> = (1..=3).map(|n| key(n).sign(&message)).collect();
        let keys: Vec<_> = (1..=3).map(|n| key(n).public_key()).collect();
        let sum = aggregate(&signatures).unwrap();
        assert_eq!(verify_aggregate(&keys, &message, &sum), Ok(()));
        assert_eq!(
            verify_aggregate(&keys[..2], &message, &sum),
            Err(BlsError::Mismatch)
        );
        assert_eq!(
            verify_aggregate(&keys, &[8; 32], &sum),
            Err(BlsError::Mismatch)
        );
        assert_eq!(verify_aggregate(&[], &message, &sum), Err(BlsError::Empty));
    }

    fn claim(number: u8) -> Claim {
        let message = [number; 32];
        let signers = [key(number), key(number + 1)];
        let signatures = signers.each_ref().map(|key| key.sign(&message));
        Claim {
            keys: signers.iter().map(SecretKey::public_key).collect(),
            message,
            signature: aggregate(&signatures).unwrap(),
        }
    }

    #[test]
    fn many_hold_together_only_if_each_holds() {
        let honest: Vec<Claim> = (1..=5).map(claim).collect();
        for count in 0..=5 {
            assert_eq!(verify_all(&honest[..count]), Ok(()));
        }
        for wrong in 0..5 {
            let refused = |change: &dyn Fn(&mut Claim)| {
                let mut claims = honest.clone();
                change(&mut claims[wrong]);
                verify_all(&claims).unwrap_err()
            };
            assert_eq!(refused(&|it| it.message[0] ^= 1), BlsError::Mismatch);
            assert_eq!(refused(&|it| it.keys.truncate(1)), BlsError::Mismatch);
            assert_eq!(refused(&|it| it.keys.clear()), BlsError::Empty);
            let other = claim(7).signature;
            assert_eq!(refused(&|it| it.signature = other), BlsError::Mismatch);
            let none = BlsSignature::new([0; 96]);
            assert!(matches!(
                refused(&|it| it.signature = none),
                BlsError::Signature(_)
            ));
        }
        // Two wrong ones that cancel out where signatures are only added up.
        let mut swapped = honest.clone();
        (swapped[0].signature, swapped[1].signature) = (honest[1].signature, honest[0].signature);
        assert_eq!(verify_all(&swapped), Err(BlsError::Mismatch));
    }

    #[test]
    fn possession_is_bound_to_the_key() {
        let proof = key(1).prove_possession();
        assert_eq!(key(1).public_key().verify_possession(&proof), Ok(()));
        assert_eq!(
            key(2).public_key().verify_possession(&proof),
            Err(BlsError::Mismatch)
        );
        // A possession proof is no signature over the same bytes: the ciphersuites differ.
        assert!(key(1).public_key().verify(&[0; 32], &proof).is_err());
    }

    #[test]
    fn infinity_is_neither_key_nor_signature() {
        let mut infinity = [0u8; 48];
        infinity[0] = 0xc0;
        assert!(PublicKey::from_bytes(&BlsPublicKeyBytes::new(infinity)).is_err());
        let mut infinity = [0u8; 96];
        infinity[0] = 0xc0;
        assert!(
            key(1)
                .public_key()
                .verify(&[0; 32], &BlsSignature::new(infinity))
                .is_err()
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(alloc::format!("{:?}", key(1)), "BlsSecretKey(..)");
    }
}
