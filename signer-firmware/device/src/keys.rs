//! The member's keys: made here, kept here.

use crate::command::{DeviceCard, Generate};
use crate::layout::{SECTOR, WORD};
use alloc::vec::Vec;
use alys_firmware_platform::{Entropy, Fault};
use alys_protocol::bls::{self, BlsPublicKeyBytes, BlsSignature};
use alys_protocol::ceremony::{EntropyReport, OfficerEntropy, Throws};
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_signer_core::Persisted;
use alys_signer_core::signer::{BlsIntent, SchnorrIntent};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{All, Keypair, Secp256k1, SecretKey};
use core::ops::Range;
use embedded_storage::nor_flash::{NorFlash, NorFlashError as _};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

const MAGIC: [u8; 16] = *b"alys-device-key1";
/// Magic, two scalars, a report of 16 bytes, and the hash of all of it.
const RECORD: usize = 16 + 64 + 16 + 32;
const _: () = assert!(RECORD.is_multiple_of(WORD));
/// Bytes of the device's own generator in the pool.
const OWN_BYTES: usize = 64;

/// Keys that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum KeyError {
    #[error("flash failed: {0:?}")]
    Flash(embedded_storage::nor_flash::NorFlashErrorKind),
    #[error("the keys in flash are damaged")]
    Damaged,
    #[error(transparent)]
    Entropy(#[from] Fault),
}

/// The secret keys. Not `Clone`, never printed, wiped when dropped.
pub(crate) struct Keys {
    bls: bls::SecretKey,
    schnorr: Keypair,
    secp: Secp256k1<All>,
    entropy: EntropyReport,
    bls_public: BlsPublicKeyBytes,
    possession: Option<BlsSignature>,
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.schnorr.non_secure_erase();
    }
}

impl Keys {
    /// Makes keys from the device's generator, the host's bytes and an officer's throws, mixed as a daemon mixes its own
    /// (docs/ceremony.md): the device's generator is in the token's place.
    pub(crate) fn generate(entropy: &mut impl Entropy, from: &Generate) -> Result<Self, KeyError> {
        let mut own = Zeroizing::new([0u8; OWN_BYTES]);
        entropy.fill(&mut *own)?;
        let (kind, signs) = from
            .officer
            .as_ref()
            .map_or(("", &[][..]), |throws| (throws.kind.name(), &*throws.signs));
        let mixed = Zeroizing::new(
            TaggedHasher::without_chain(hash::KEY_POOL)
                .fixed(from.ceremony.as_bytes())
                .variable(&from.host)
                .variable(&*own)
                .variable(kind.as_bytes())
                .variable(signs)
                .finish(),
        );
        let bits = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).saturating_mul(8);
        let report = EntropyReport {
            host_bits: bits(from.host.len()),
            token_bits: bits(own.len()),
            officer: from.officer.as_ref().map(|officer| {
                let throws = u32::try_from(officer.signs.len()).unwrap_or(u32::MAX);
                OfficerEntropy {
                    kind: officer.kind,
                    throws,
                    bits: worth(officer.kind, throws),
                }
            }),
        };
        let mut attempt = 0u32;
        loop {
            let seed = |key: &str| {
                Zeroizing::new(
                    TaggedHasher::without_chain(hash::KEY_SEED)
                        .fixed(&*mixed)
                        .variable(key.as_bytes())
                        .fixed(&attempt.to_le_bytes())
                        .finish(),
                )
            };
            let bls = bls::SecretKey::from_seed(&*seed("bls"));
            let schnorr = SecretKey::from_slice(&*seed("schnorr"));
            // The zero scalar and such, with a probability of 2^-128.
            if let (Ok(bls), Ok(schnorr)) = (bls, schnorr) {
                return Self::new(bls, schnorr, report, entropy);
            }
            attempt = attempt.wrapping_add(1);
        }
    }

    fn new(
        bls: bls::SecretKey,
        mut schnorr: SecretKey,
        report: EntropyReport,
        entropy: &mut impl Entropy,
    ) -> Result<Self, KeyError> {
        let mut secp = Secp256k1::new();
        blind(&mut secp, entropy)?;
        let keypair = Keypair::from_secret_key(&secp, &schnorr);
        schnorr.non_secure_erase();
        Ok(Self {
            bls_public: bls.public_key().to_bytes(),
            bls,
            schnorr: keypair,
            secp,
            entropy: report,
            possession: None,
        })
    }

    /// Reads the keys; none where there are none.
    pub(crate) fn load<F: NorFlash>(
        flash: &mut F,
        region: &Range<u32>,
        entropy: &mut impl Entropy,
    ) -> Result<Option<Self>, KeyError> {
        let mut record = Zeroizing::new([0u8; RECORD]);
        flash
            .read(region.start, &mut *record)
            .map_err(|error| KeyError::Flash(error.kind()))?;
        let Some((body, digest)) = record.split_last_chunk::<32>() else {
            return Err(KeyError::Damaged);
        };
        // A loss of power while they were written leaves none: nobody has seen the public keys then.
        if sha256::Hash::hash(body).to_byte_array() != *digest {
            return Ok(None);
        }
        let part = |range: Range<usize>| body.get(range).ok_or(KeyError::Damaged);
        if part(0..16)? != MAGIC.as_slice() {
            return Err(KeyError::Damaged);
        }
        let mut scalar = Zeroizing::new([0u8; 32]);
        scalar.copy_from_slice(part(16..48)?);
        let bls = bls::SecretKey::from_bytes(&scalar).map_err(|_| KeyError::Damaged)?;
        let schnorr = SecretKey::from_slice(part(48..80)?).map_err(|_| KeyError::Damaged)?;
        let report = report_from(part(80..96)?).ok_or(KeyError::Damaged)?;
        Self::new(bls, schnorr, report, entropy).map(Some)
    }

    /// Writes them into an erased region.
    pub(crate) fn store<F: NorFlash>(
        &self,
        flash: &mut F,
        region: &Range<u32>,
    ) -> Result<(), KeyError> {
        let mut record = Zeroizing::new(Vec::with_capacity(RECORD));
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(&*self.bls.to_bytes());
        let secret = Zeroizing::new(self.schnorr.secret_bytes());
        record.extend_from_slice(&*secret);
        record.extend_from_slice(&report_bytes(&self.entropy));
        let digest = sha256::Hash::hash(&record).to_byte_array();
        record.extend_from_slice(&digest);
        let failed = |error: F::Error| KeyError::Flash(error.kind());
        flash
            .erase(region.start, region.start.saturating_add(SECTOR))
            .map_err(failed)?;
        flash.write(region.start, &record).map_err(failed)
    }

    /// Erases them: the case was opened.
    pub(crate) fn erase<F: NorFlash>(flash: &mut F, region: &Range<u32>) -> Result<(), KeyError> {
        flash
            .erase(region.start, region.end)
            .map_err(|error| KeyError::Flash(error.kind()))
    }

    pub(crate) fn bls_public(&self) -> BlsPublicKeyBytes {
        self.bls_public
    }

    pub(crate) fn schnorr_public(&self) -> SchnorrPublicKeyBytes {
        let (key, _parity) = self.schnorr.x_only_public_key();
        SchnorrPublicKeyBytes::new(key.serialize())
    }

    /// The public side.
    pub(crate) fn card(&mut self) -> DeviceCard {
        let possession = *self
            .possession
            .get_or_insert_with(|| self.bls.prove_possession());
        DeviceCard {
            bls: self.bls_public,
            bls_possession: possession,
            schnorr: self.schnorr_public(),
            entropy: self.entropy,
        }
    }

    /// Signs a persisted vote or proposal.
    pub(crate) fn sign_bls(&self, intent: Persisted<BlsIntent>) -> BlsSignature {
        intent.sign(&self.bls)
    }

    /// Signs a persisted peg-out, in a context that is blinded anew.
    pub(crate) fn sign_schnorr(
        &mut self,
        intent: Persisted<SchnorrIntent>,
        entropy: &mut impl Entropy,
    ) -> Result<Vec<SchnorrSignature>, Fault> {
        blind(&mut self.secp, entropy)?;
        Ok(intent.sign(&self.secp, &self.schnorr))
    }
}

/// Blinds the multiplication with the secret scalar against side channels.
fn blind(secp: &mut Secp256k1<All>, entropy: &mut impl Entropy) -> Result<(), Fault> {
    let mut seed = Zeroizing::new([0u8; 32]);
    entropy.fill(&mut *seed)?;
    secp.seeded_randomize(&seed);
    Ok(())
}

fn worth(kind: Throws, throws: u32) -> u32 {
    match kind {
        // log2(6) is 2.58496.
        Throws::Dice => throws.saturating_mul(2584).saturating_div(1000),
        Throws::Coin => throws,
    }
}

fn report_bytes(report: &EntropyReport) -> [u8; 16] {
    let officer = report.officer.as_ref();
    let kind = match officer.map(|officer| officer.kind) {
        None => 0u32,
        Some(Throws::Dice) => 1,
        Some(Throws::Coin) => 2,
    };
    let throws = officer.map_or(0, |officer| officer.throws);
    let mut bytes = [0u8; 16];
    let fields = [report.host_bits, report.token_bits, kind, throws];
    for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

fn report_from(bytes: &[u8]) -> Option<EntropyReport> {
    let mut fields = [0u32; 4];
    for (field, place) in fields.iter_mut().zip(bytes.chunks_exact(4)) {
        let mut word = [0u8; 4];
        word.copy_from_slice(place);
        *field = u32::from_le_bytes(word);
        word.zeroize();
    }
    let [host_bits, token_bits, kind, throws] = fields;
    let kind = match kind {
        0 => None,
        1 => Some(Throws::Dice),
        2 => Some(Throws::Coin),
        _ => return None,
    };
    Some(EntropyReport {
        host_bits,
        token_bits,
        officer: kind.map(|kind| OfficerEntropy {
            kind,
            throws,
            bits: worth(kind, throws),
        }),
    })
}
