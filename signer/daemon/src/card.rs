//! The member's card in a ceremony (ADR 0014): what it says, signed by the member's Schnorr key.

use crate::files::{Existing, write_durably};
use crate::keys::{Keys, SignError, ThrowsError};
use crate::passphrase::PassphraseError;
use alys_protocol::ceremony::{
    Card, CardFormat, Ceremony, CeremonyId, EntropyReport, Fingerprint, SignedCard,
};
use alys_signer_client::certificate::{self, Holder};
use alys_signer_client::{ClientError, Serial};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest file that is read; a ceremony's has its parameters in it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// No card.
#[derive(Debug, Error)]
pub enum CardError {
    /// A file cannot be read or written.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// A file is something else.
    #[error("{path}: expected {expected}: {error}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// Why it is not.
        error: serde_json::Error,
    },
    /// The ceremony is without that member.
    #[error("expected a member of the ceremony ({members}), found {found:?}")]
    Member {
        /// Its members.
        members: String,
        /// What was found.
        found: String,
    },
    /// The keys are of another ceremony.
    #[error("expected keys made for ceremony {expected}, found keys of {found}")]
    OtherCeremony {
        /// What the card is for.
        expected: CeremonyId,
        /// What the keys were made for.
        found: CeremonyId,
    },
    /// A certificate that cannot be read.
    #[error(transparent)]
    Certificate(#[from] ClientError),
    /// A certificate of something else.
    #[error("{path}: expected an authority's certificate, found that of a {found}", path = path.display())]
    NoAuthority {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: &'static str,
    },
    /// Two authorities are to be two.
    #[error("expected two authorities, found one certificate (number {0}) for signer and clients")]
    OneAuthority(Serial),
    /// An officer's throws.
    #[error("the officer's throws: {0}")]
    Throws(#[from] ThrowsError),
    /// They cannot be read.
    #[error("the officer's throws: {0}")]
    ReadThrows(#[source] PassphraseError),
    /// Throws for keys that nothing can be mixed into.
    #[error(
        "token.mode = \"native\": the token makes its keys from its own generator, and nothing can be mixed in: \
         expected no throws, and in a ceremony --without-officer-entropy, which the card then says"
    )]
    NothingMixed,
    /// It is not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// What a card says that the keys do not know.
#[derive(Debug, Clone)]
pub struct Particulars {
    /// The ceremony.
    pub ceremony: CeremonyId,
    /// The member's name in it.
    pub member: String,
    signer_ca: Fingerprint,
    client_ca: Fingerprint,
}

impl Particulars {
    /// Reads a ceremony's file and the two authorities' certificates.
    ///
    /// # Errors
    /// - [`CardError`] where one cannot be read, or the ceremony has no such member.
    pub fn read(
        ceremony: &Path,
        member: &str,
        signer_ca: &Path,
        client_ca: &Path,
    ) -> Result<Self, CardError> {
        let ceremony: Ceremony = read(ceremony, "a ceremony's file")?;
        if !ceremony.officers.contains_key(member) {
            let members: Vec<_> = ceremony.officers.keys().map(String::as_str).collect();
            return Err(CardError::Member {
                members: members.join(", "),
                found: member.to_owned(),
            });
        }
        let (signer, client) = (authority(signer_ca)?, authority(client_ca)?);
        if signer.fingerprint == client.fingerprint {
            return Err(CardError::OneAuthority(signer.serial));
        }
        Ok(Self {
            ceremony: ceremony.id(),
            member: member.to_owned(),
            signer_ca: Fingerprint::new(signer.fingerprint),
            client_ca: Fingerprint::new(client.fingerprint),
        })
    }

    /// The signed card.
    ///
    /// # Errors
    /// - [`CardError::Sign`] as named.
    pub fn sign(&self, keys: &Keys, entropy: EntropyReport) -> Result<SignedCard, CardError> {
        let public = keys.card();
        let card = Card {
            format: CardFormat::V2,
            ceremony: self.ceremony,
            member: self.member.clone(),
            bls: public.bls,
            bls_possession: public.bls_possession,
            schnorr: public.schnorr,
            signer_ca: self.signer_ca,
            client_ca: self.client_ca,
            backend: keys.backend().kind(),
            entropy,
            attestation: None,
        };
        let proof = keys.sign_card(&card)?;
        Ok(SignedCard { card, proof })
    }
}

fn authority(path: &Path) -> Result<alys_signer_client::Certificate, CardError> {
    let certificate = certificate::inspect(path)?;
    match certificate.holder {
        Holder::Authority => Ok(certificate),
        Holder::Signer | Holder::Client(_) => Err(CardError::NoAuthority {
            path: path.to_owned(),
            found: certificate.holder.name(),
        }),
    }
}

fn read<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T, CardError> {
    let failed = |error| CardError::Io {
        path: path.to_owned(),
        error,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| CardError::Json {
        path: path.to_owned(),
        expected,
        error,
    })
}

/// How the keys were made, beside them: the card can be made again where it was lost. Not secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// For which ceremony.
    pub ceremony: CeremonyId,
    /// From what.
    pub entropy: EntropyReport,
}

impl Origin {
    fn path(keys: &Path) -> PathBuf {
        let mut name = keys.file_name().unwrap_or_default().to_owned();
        name.push(".origin.json");
        keys.with_file_name(name)
    }

    /// Written before the keys are, so that there are no keys without it; one of keys that were never written is replaced.
    ///
    /// # Errors
    /// - [`CardError::Io`] where it cannot be written.
    pub fn write(&self, keys: &Path) -> Result<(), CardError> {
        let path = Self::path(keys);
        let written = serde_json::to_vec_pretty(self)
            .map_err(io::Error::other)
            .and_then(|text| write_durably(&path, &text, Existing::Replace));
        written.map_err(|error| CardError::Io { path, error })
    }

    /// What is beside a key file.
    ///
    /// # Errors
    /// - [`CardError`] where there is none, or it is of another ceremony than `expected`.
    pub fn read(keys: &Path, expected: CeremonyId) -> Result<Self, CardError> {
        let origin: Self = read(&Self::path(keys), "what init wrote beside the keys")?;
        if origin.ceremony == expected {
            Ok(origin)
        } else {
            Err(CardError::OtherCeremony {
                expected,
                found: origin.ceremony,
            })
        }
    }
}
