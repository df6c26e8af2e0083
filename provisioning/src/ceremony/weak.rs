//! Keys that are not one member's alone: shared ones, and ones whose secret anybody can write down.

use super::CeremonyError;
use crate::card::MemberCard;
use alys_protocol::bls::{self, BlsPublicKeyBytes};
use alys_protocol::ceremony::SignedCard;
use alys_protocol::federation::BIP341_H;
use alys_protocol::spec::{Chain, SchnorrPublicKeyBytes};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{Keypair, Secp256k1};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Secrets of these forms are looked for: small numbers, and one byte 32 times, which is how tests write keys.
fn guessable() -> impl Iterator<Item = [u8; 32]> {
    (1..=u8::MAX).flat_map(|byte| {
        let mut small = [0; 32];
        small[31] = byte;
        [small, [byte; 32]]
    })
}

struct Known {
    schnorr: BTreeSet<SchnorrPublicKeyBytes>,
    bls: BTreeSet<BlsPublicKeyBytes>,
}

/// Public keys of [`guessable`] secrets; for BLS also of seeds.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let secp = Secp256k1::new();
    let schnorr = guessable()
        .filter_map(|secret| Keypair::from_seckey_slice(&secp, &secret).ok())
        .map(|pair| SchnorrPublicKeyBytes::new(pair.x_only_public_key().0.serialize()))
        .collect();
    let bls = guessable()
        .flat_map(|secret| {
            [
                bls::SecretKey::from_bytes(&secret),
                bls::SecretKey::from_seed(&secret),
            ]
        })
        .flatten()
        .map(|secret| secret.public_key().to_bytes())
        .collect();
    Known { schnorr, bls }
});

fn schnorr(whose: &str, key: &SchnorrPublicKeyBytes) -> Result<(), CeremonyError> {
    let why = if KNOWN.schnorr.contains(key) {
        "follows from a number that anybody can guess"
    } else if *key.as_bytes() == BIP341_H {
        "nobody can have (BIP-341's H)"
    } else {
        return Ok(());
    };
    Err(CeremonyError::Weak {
        whose: whose.to_owned(),
        what: "Schnorr",
        why,
    })
}

/// No key and no authority twice, and none that anybody can guess.
pub(super) fn check(cards: &BTreeMap<String, SignedCard>) -> Result<(), CeremonyError> {
    let mut seen = BTreeMap::<(&str, Vec<u8>), &str>::new();
    for (member, signed) in cards {
        let card = &signed.card;
        let authority = "authority";
        let values = [
            ("BLS key", card.bls.as_bytes().to_vec()),
            ("Schnorr key", card.schnorr.as_bytes().to_vec()),
            (authority, card.signer_ca.as_bytes().to_vec()),
            (authority, card.client_ca.as_bytes().to_vec()),
        ];
        for (what, value) in values {
            if let Some(first) = seen.insert((what, value), member) {
                return Err(CeremonyError::Shared {
                    what,
                    first: first.to_owned(),
                    second: member.clone(),
                });
            }
        }
        let whose = format!("card of {member:?}");
        schnorr(&whose, &card.schnorr)?;
        if KNOWN.bls.contains(&card.bls) {
            return Err(CeremonyError::Weak {
                whose,
                what: "BLS",
                why: "follows from a number that anybody can guess",
            });
        }
    }
    Ok(())
}

/// Recovery keys are not guessable, and no key is the wallet's unspendable one. That none is a member's, the chain spec's own
/// rules say.
pub(super) fn check_recovery(
    chain: &Chain,
    cards: &BTreeMap<String, SignedCard>,
) -> Result<(), CeremonyError> {
    let internal = chain.wallet().internal_key().serialize();
    let recovery = &chain.spec().bitcoin.recovery_keys;
    for (place, key) in (1usize..).zip(recovery) {
        schnorr(&format!("recovery key {place}"), key)?;
    }
    let mut all = cards
        .values()
        .map(|signed| &signed.card.schnorr)
        .chain(recovery);
    if all.any(|key| *key.as_bytes() == internal) {
        return Err(CeremonyError::Weak {
            whose: "members and recovery keys".to_owned(),
            what: "Schnorr",
            why: "nobody can have (the wallet's internal key)",
        });
    }
    Ok(())
}

/// Cards that only show whether the parameters make a chain; their keys are public.
pub(super) fn placeholder_cards<'a>(
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, MemberCard>, CeremonyError> {
    let secp = Secp256k1::new();
    let weak = |_| CeremonyError::Weak {
        whose: "placeholder".to_owned(),
        what: "placeholder",
        why: "is none",
    };
    names
        .map(|name| {
            let seed = sha256::Hash::hash(format!("placeholder {name}").as_bytes()).to_byte_array();
            let pair = Keypair::from_seckey_slice(&secp, &seed).map_err(|_| weak(()))?;
            let bls = bls::SecretKey::from_seed(&seed).map_err(|_| weak(()))?;
            let card = MemberCard {
                bls: bls.public_key().to_bytes(),
                bls_possession: bls.prove_possession(),
                schnorr: SchnorrPublicKeyBytes::new(pair.x_only_public_key().0.serialize()),
            };
            Ok((name.to_owned(), card))
        })
        .collect()
}
