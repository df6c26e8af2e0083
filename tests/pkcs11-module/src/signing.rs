//! The two schemes.

use crate::folder::Attributes;
use alys_protocol::bls::SecretKey;
use bitcoin::secp256k1::{Keypair, Message, Secp256k1};
use cryptoki_sys as ck;

/// A mechanism and its parameter, as far as this module knows them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Schnorr,
    Bls,
    BlsPossession,
}

impl Scheme {
    pub(crate) fn parse(mechanism: u64, parameter: &[u8]) -> Result<Self, ck::CK_RV> {
        let word = <[u8; 8]>::try_from(parameter).map(u64::from_ne_bytes);
        if mechanism == u64::from(crate::SIGN_SCHNORR) {
            return match parameter {
                [] => Ok(Self::Schnorr),
                _other => Err(ck::CKR_MECHANISM_PARAM_INVALID),
            };
        }
        if mechanism != u64::from(crate::SIGN_BLS) {
            return Err(ck::CKR_MECHANISM_INVALID);
        }
        match word {
            Ok(crate::BLS_SIGNATURE) => Ok(Self::Bls),
            Ok(crate::BLS_POSSESSION) => Ok(Self::BlsPossession),
            Ok(_) | Err(_) => Err(ck::CKR_MECHANISM_PARAM_INVALID),
        }
    }

    pub(crate) fn key_type(self) -> u32 {
        match self {
            Self::Schnorr => crate::KEY_SCHNORR,
            Self::Bls | Self::BlsPossession => crate::KEY_BLS,
        }
    }

    pub(crate) fn signature_bytes(self) -> usize {
        match self {
            Self::Schnorr => 64,
            Self::Bls | Self::BlsPossession => 96,
        }
    }

    pub(crate) fn sign(self, scalar: &[u8; 32], message: &[u8]) -> Result<Vec<u8>, ck::CK_RV> {
        let digest = || <[u8; 32]>::try_from(message).map_err(|_| ck::CKR_DATA_LEN_RANGE);
        match self {
            Self::Schnorr => {
                let digest = digest()?;
                let secp = Secp256k1::new();
                let pair =
                    Keypair::from_seckey_slice(&secp, scalar).map_err(|_| ck::CKR_GENERAL_ERROR)?;
                let mut random = [0u8; 32];
                getrandom::fill(&mut random).map_err(|_| ck::CKR_GENERAL_ERROR)?;
                let message = Message::from_digest(digest);
                let signature = secp.sign_schnorr_with_aux_rand(&message, &pair, &random);
                Ok(signature.serialize().to_vec())
            }
            Self::Bls => Ok(bls(scalar)?.sign(&digest()?).as_bytes().to_vec()),
            Self::BlsPossession => {
                let key = bls(scalar)?;
                if key.public_key().to_bytes().as_bytes() != message {
                    return Err(ck::CKR_DATA_INVALID);
                }
                Ok(key.prove_possession().as_bytes().to_vec())
            }
        }
    }
}

fn bls(scalar: &[u8; 32]) -> Result<SecretKey, ck::CK_RV> {
    SecretKey::from_bytes(scalar).map_err(|_| ck::CKR_GENERAL_ERROR)
}

/// A new scalar and its public point: of secp256k1 as SEC 1 has it in a DER octet string, as PKCS#11 has it for curves
/// that it knows; of BLS12-381 compressed and bare.
pub(crate) fn generate(mechanism: u64) -> Result<(u32, [u8; 32], Vec<u8>), ck::CK_RV> {
    let mut seed = [0u8; 32];
    loop {
        getrandom::fill(&mut seed).map_err(|_| ck::CKR_GENERAL_ERROR)?;
        if mechanism == u64::from(crate::GENERATE_SCHNORR) {
            // Fails for one seed of 2^128.
            if let Ok(pair) = Keypair::from_seckey_slice(&Secp256k1::new(), &seed) {
                let mut point = vec![0x04, 65];
                point.extend_from_slice(&pair.public_key().serialize_uncompressed());
                return Ok((crate::KEY_SCHNORR, seed, point));
            }
        } else if mechanism == u64::from(crate::GENERATE_BLS) {
            let key = SecretKey::from_seed(&seed).map_err(|_| ck::CKR_GENERAL_ERROR)?;
            let point = key.public_key().to_bytes().as_bytes().to_vec();
            return Ok((crate::KEY_BLS, *key.to_bytes(), point));
        } else {
            return Err(ck::CKR_MECHANISM_INVALID);
        }
    }
}

/// Adds what a new key has beside its template.
pub(crate) fn complete(attributes: &mut Attributes, class: u64, key_type: u64, secret: bool) {
    attributes.insert(ck::CKA_CLASS, class.to_ne_bytes().to_vec());
    attributes.insert(ck::CKA_KEY_TYPE, key_type.to_ne_bytes().to_vec());
    attributes.insert(ck::CKA_LOCAL, vec![1]);
    attributes
        .entry(ck::CKA_PRIVATE)
        .or_insert(vec![u8::from(secret)]);
    attributes.entry(ck::CKA_TOKEN).or_insert(vec![0]);
    if secret {
        let sensitive = attributes
            .entry(ck::CKA_SENSITIVE)
            .or_insert(vec![1])
            .clone();
        let extractable = attributes
            .entry(ck::CKA_EXTRACTABLE)
            .or_insert(vec![0])
            .clone();
        attributes.insert(ck::CKA_ALWAYS_SENSITIVE, sensitive);
        let never = u8::from(extractable == [0]);
        attributes.insert(ck::CKA_NEVER_EXTRACTABLE, vec![never]);
    }
}
