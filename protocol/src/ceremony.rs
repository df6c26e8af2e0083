//! What a ceremony's tools and a member's signer have to agree on byte by byte: the ceremony's id, and what a member's
//! card says and proves (ADR 0014).

use crate::bls::{self, BlsError, BlsPublicKeyBytes, BlsSignature};
use crate::bytes::byte_string;
use crate::hash::{self, TaggedHasher};
use crate::signer::SchnorrSignature;
use crate::spec::SchnorrPublicKeyBytes;
use alloc::collections::BTreeMap;
use alloc::string::String;
use bitcoin::secp256k1::{self, Message, Secp256k1, XOnlyPublicKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

byte_string!(
    /// Names a ceremony: a digest of what was agreed on and of a nonce that no other ceremony has.
    CeremonyId[32]
);
byte_string!(
    /// 32 random bytes.
    Nonce[32]
);
byte_string!(
    /// SHA-256 of a certificate's DER, or of a file.
    Fingerprint[32]
);
byte_string!(
    /// Digest of a card: what the member's Schnorr key signs.
    CardDigest[32]
);

/// Bytes of an attestation, at most.
pub const MAX_ATTESTATION_BYTES: usize = 64 << 10;

/// Form of a ceremony's first file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CeremonyFormat {
    /// The first one.
    #[serde(rename = "alys-ceremony/1")]
    V1,
}

/// What members agree on before any key is made. A file of it begins a ceremony; its id binds all that follows to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceremony {
    /// Its form.
    pub format: CeremonyFormat,
    /// What makes it another one than all before, whatever the parameters.
    pub nonce: Nonce,
    /// The federation's parameters: the bytes of their file (TOML).
    pub parameters: String,
    /// By member: the public key (minisign) of the officer who will confirm the result for it.
    pub officers: BTreeMap<String, String>,
}

impl Ceremony {
    /// The id: other parameters, officers or nonce make another one.
    pub fn id(&self) -> CeremonyId {
        let start = TaggedHasher::without_chain(hash::CEREMONY)
            .fixed(self.nonce.as_bytes())
            .variable(self.parameters.as_bytes());
        let hash = self.officers.iter().fold(start, |hash, (member, key)| {
            hash.variable(member.as_bytes()).variable(key.as_bytes())
        });
        CeremonyId::new(hash.finish())
    }
}

/// Form of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CardFormat {
    /// The first one that is bound to a ceremony.
    #[serde(rename = "alys-member-card/2")]
    V2,
}

/// Where a member's signing keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardBackend {
    /// In a file that a passphrase opens.
    Software,
    /// In a file that a token's key opens.
    Pkcs11Sealed,
    /// In a token, where they sign.
    Pkcs11Native,
}

impl CardBackend {
    /// As files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Pkcs11Sealed => "pkcs11-sealed",
            Self::Pkcs11Native => "pkcs11-native",
        }
    }
}

/// What an officer threw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Throws {
    /// A die with six sides.
    Dice,
    /// A coin.
    Coin,
}

impl Throws {
    /// As files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dice => "dice",
            Self::Coin => "coin",
        }
    }
}

/// How much an officer's throws are worth. Never the throws themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficerEntropy {
    /// Of what.
    pub kind: Throws,
    /// How many.
    pub throws: u32,
    /// Bits, rounded down, if each side is as likely as any other.
    pub bits: u32,
}

/// Which sources the keys were mixed from. A member's word: no card proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntropyReport {
    /// Bits from the host's operating system.
    pub host_bits: u32,
    /// Bits from the token's generator; 0 where there is no token.
    pub token_bits: u32,
    /// An officer's throws; none where it was said to go without.
    pub officer: Option<OfficerEntropy>,
}

/// What a device says of itself, where it can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Whose form the evidence has. None is verified yet.
    pub kind: String,
    /// The evidence, in hex.
    pub evidence: String,
}

/// What a member's signer says of itself. Public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Its form.
    pub format: CardFormat,
    /// The ceremony that it is for.
    pub ceremony: CeremonyId,
    /// The member's name in the parameters.
    pub member: String,
    /// BLS key that votes.
    pub bls: BlsPublicKeyBytes,
    /// Proof that the BLS key's secret is known.
    pub bls_possession: BlsSignature,
    /// Schnorr key of the Bitcoin wallet.
    pub schnorr: SchnorrPublicKeyBytes,
    /// The authority of the member's signer.
    pub signer_ca: Fingerprint,
    /// The authority of the signer's clients.
    pub client_ca: Fingerprint,
    /// Where the keys are.
    pub backend: CardBackend,
    /// What they were made from.
    pub entropy: EntropyReport,
    /// The device's word, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
}

impl Card {
    /// What the Schnorr key signs: everything that the card says.
    pub fn digest(&self) -> CardDigest {
        let mut hash = TaggedHasher::without_chain(hash::MEMBER_CARD)
            .fixed(self.ceremony.as_bytes())
            .variable(self.member.as_bytes())
            .fixed(self.bls.as_bytes())
            .fixed(self.bls_possession.as_bytes())
            .fixed(self.schnorr.as_bytes())
            .fixed(self.signer_ca.as_bytes())
            .fixed(self.client_ca.as_bytes())
            .variable(self.backend.name().as_bytes())
            .fixed(&self.entropy.host_bits.to_le_bytes())
            .fixed(&self.entropy.token_bits.to_le_bytes());
        // What may be missing comes with a count of zero or one before it.
        hash = match &self.entropy.officer {
            None => hash.fixed(&[0]),
            Some(officer) => hash
                .fixed(&[1])
                .variable(officer.kind.name().as_bytes())
                .fixed(&officer.throws.to_le_bytes())
                .fixed(&officer.bits.to_le_bytes()),
        };
        hash = match &self.attestation {
            None => hash.fixed(&[0]),
            Some(attestation) => hash
                .fixed(&[1])
                .variable(attestation.kind.as_bytes())
                .variable(attestation.evidence.as_bytes()),
        };
        CardDigest::new(hash.finish())
    }
}

/// A card with its member's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCard {
    /// What it says.
    pub card: Card,
    /// BIP-340 signature of [`Card::digest`] by the card's Schnorr key.
    pub proof: SchnorrSignature,
}

/// A card that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CardError {
    /// The BLS key is none, or its proof does not hold.
    #[error("bls and bls_possession: {0}")]
    Bls(#[from] BlsError),
    /// The Schnorr key is none.
    #[error("schnorr: expected an x-only public key (BIP-340), found {0}")]
    Schnorr(SchnorrPublicKeyBytes),
    /// Something in the card is not what its Schnorr key signed.
    #[error(
        "proof: expected a signature of this card by its schnorr key; the card was changed, or its keys are not its maker's"
    )]
    Proof,
    /// More than anybody reads.
    #[error("attestation: expected at most {MAX_ATTESTATION_BYTES} bytes, found {0}")]
    Attestation(usize),
}

impl SignedCard {
    /// Verifies both keys' proofs, and with them every field.
    ///
    /// # Errors
    /// - [`CardError`] for the first proof that does not hold.
    pub fn verify(&self) -> Result<(), CardError> {
        let evidence = self.card.attestation.as_ref();
        let length = evidence.map_or(0, |attestation| attestation.evidence.len() / 2);
        if length > MAX_ATTESTATION_BYTES {
            return Err(CardError::Attestation(length));
        }
        bls::PublicKey::from_bytes(&self.card.bls)?.verify_possession(&self.card.bls_possession)?;
        let key = XOnlyPublicKey::from_slice(self.card.schnorr.as_bytes())
            .map_err(|_| CardError::Schnorr(self.card.schnorr))?;
        let proof = secp256k1::schnorr::Signature::from_slice(self.proof.as_bytes())
            .map_err(|_| CardError::Proof)?;
        let message = Message::from_digest(self.card.digest().to_bytes());
        Secp256k1::verification_only()
            .verify_schnorr(&proof, &message, &key)
            .map_err(|_| CardError::Proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use bitcoin::secp256k1::Keypair;

    fn ceremony() -> Ceremony {
        Ceremony {
            format: CeremonyFormat::V1,
            nonce: Nonce::new([7; 32]),
            parameters: "name = 'x'".to_string(),
            officers: BTreeMap::from([("alice".to_string(), "key".to_string())]),
        }
    }

    fn signed() -> SignedCard {
        let bls = bls::SecretKey::from_seed(&[9; 32]).unwrap();
        let secp = Secp256k1::new();
        let pair = Keypair::from_seckey_slice(&secp, &[9; 32]).unwrap();
        let card = Card {
            format: CardFormat::V2,
            ceremony: ceremony().id(),
            member: "alice".to_string(),
            bls: bls.public_key().to_bytes(),
            bls_possession: bls.prove_possession(),
            schnorr: SchnorrPublicKeyBytes::new(pair.x_only_public_key().0.serialize()),
            signer_ca: Fingerprint::new([1; 32]),
            client_ca: Fingerprint::new([2; 32]),
            backend: CardBackend::Software,
            entropy: EntropyReport {
                host_bits: 512,
                token_bits: 0,
                officer: None,
            },
            attestation: None,
        };
        let message = Message::from_digest(card.digest().to_bytes());
        let proof = secp.sign_schnorr_no_aux_rand(&message, &pair);
        SignedCard {
            card,
            proof: SchnorrSignature::new(proof.serialize()),
        }
    }

    #[test]
    fn an_id_covers_parameters_officers_and_nonce() {
        let id = ceremony().id();
        let changed = |change: fn(&mut Ceremony)| {
            let mut other = ceremony();
            change(&mut other);
            assert_ne!(other.id(), id);
        };
        changed(|other| other.nonce = Nonce::new([8; 32]));
        changed(|other| other.parameters.push(' '));
        changed(|other| {
            other
                .officers
                .insert("alice".to_string(), "yek".to_string());
        });
        changed(|other| {
            other.officers.insert("bob".to_string(), "key".to_string());
        });
    }

    #[test]
    fn every_field_of_a_card_is_proved() {
        signed().verify().unwrap();
        let changed = |change: fn(&mut Card)| {
            let mut other = signed();
            change(&mut other.card);
            assert!(other.verify().is_err(), "{:?}", other.card);
        };
        changed(|card| card.ceremony = CeremonyId::ZERO);
        changed(|card| card.member.push('a'));
        changed(|card| {
            let other = bls::SecretKey::from_seed(&[10; 32]).unwrap();
            card.bls = other.public_key().to_bytes();
            card.bls_possession = other.prove_possession();
        });
        changed(|card| card.schnorr = SchnorrPublicKeyBytes::ZERO);
        changed(|card| core::mem::swap(&mut card.signer_ca, &mut card.client_ca));
        changed(|card| card.client_ca = Fingerprint::ZERO);
        changed(|card| card.backend = CardBackend::Pkcs11Native);
        changed(|card| card.entropy.host_bits = 0);
        changed(|card| card.entropy.token_bits = 512);
        changed(|card| {
            card.entropy.officer = Some(OfficerEntropy {
                kind: Throws::Dice,
                throws: 50,
                bits: 129,
            });
        });
        changed(|card| {
            card.attestation = Some(Attestation {
                kind: "none".to_string(),
                evidence: String::new(),
            });
        });
    }
}
