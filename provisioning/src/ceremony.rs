//! The ceremony: from agreed parameters to a deposit address that may be published (docs/ceremony.md, ADR 0014).
//!
//! One folder holds a ceremony. Each step reads what the steps before it wrote, verifies all of it again, and adds files;
//! none is ever replaced. A step that is repeated with the same input finds its files there and changes nothing.
//!
//! | file | step | made from |
//! |---|---|---|
//! | `ceremony.json` | begin | the parameters, and an officer of each member |
//! | `cards/NAME.json` | card | what each member's signer printed |
//! | `chain.toml`, `transcript.json` | assemble | all of the above; each member does it on its own machine |
//! | `confirmations/NAME.toml`, `.minisig` | confirm | the transcript, signed by the member's officer |
//! | `closed.json` | close | equal confirmations of all |
//! | `spend-test.json` | spend-test | a deposit and the peg-out that spends it |
//! | `live.json` | live | all of it: now the address may be published |

mod confirm;
mod error;
mod record;
pub mod rehearse;
pub mod spend;
mod status;
mod transcript;
mod weak;

pub use confirm::{Closed, Confirmation};
pub use error::CeremonyError;
pub use record::html;
pub use spend::{SpendError, SpendReport};
pub use status::{Status, Step};
pub use transcript::Transcript;

use crate::assemble::assemble;
use crate::card::MemberCard;
use crate::check::check;
use crate::config;
use crate::files::{self, Readers};
use crate::parameters::{Parameters, ParametersError};
use alys_protocol::ceremony::{Ceremony, CeremonyFormat, Fingerprint, Nonce, SignedCard};
use alys_protocol::spec::Chain;
use bitcoin::Transaction;
use bitcoin::hashes::{Hash as _, sha256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const CEREMONY_FILE: &str = "ceremony.json";
const CARDS: &str = "cards";
const TRANSCRIPT_FILE: &str = "transcript.json";
const CONFIRMATIONS: &str = "confirmations";
const CLOSED_FILE: &str = "closed.json";
const SPEND_FILE: &str = "spend-test.json";
const LIVE_FILE: &str = "live.json";

/// SHA-256, as `sha256sum` prints it of a file.
pub fn fingerprint(bytes: &[u8]) -> Fingerprint {
    Fingerprint::new(sha256::Hash::hash(bytes).to_byte_array())
}

/// A ceremony's folder whose first file was read and checked.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    ceremony: Ceremony,
    parameters: Parameters,
}

/// What all cards give: the chain, and what members compare.
#[derive(Debug, Clone)]
pub struct Derived {
    /// The chain.
    pub chain: Chain,
    /// What members compare.
    pub transcript: Transcript,
}

/// Evidence that the federation can spend from its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendTest {
    /// SHA-256 of `closed.json`.
    pub closed: Fingerprint,
    /// The deposit (hex).
    pub deposit: String,
    /// What spends it (hex).
    pub spend: String,
    /// What they show.
    pub report: SpendReport,
}

/// The end: the address may be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// SHA-256 of `spend-test.json`.
    pub spend_test: Fingerprint,
    /// SHA-256 of `transcript.json`.
    pub transcript: Fingerprint,
    /// Where deposits go.
    pub deposit_address: String,
}

impl Folder {
    /// Begins a ceremony: writes its first file, with a nonce from the operating system. `officers` are members' names and
    /// the files of their officers' public keys.
    ///
    /// # Errors
    /// - [`CeremonyError`] where parameters could make no chain, a member has no officer or a file exists.
    pub fn begin(
        path: &Path,
        parameters: &Path,
        officers: &BTreeMap<String, PathBuf>,
        nonce: Nonce,
    ) -> Result<Self, CeremonyError> {
        let text = files::read(parameters)?;
        let mut keys = BTreeMap::new();
        for (member, file) in officers {
            keys.insert(member.clone(), confirm::officer_key(file)?);
        }
        let ceremony = Ceremony {
            format: CeremonyFormat::V1,
            nonce,
            parameters: text,
            officers: keys,
        };
        let folder = Self::check(path, ceremony)?;
        folder.write(CEREMONY_FILE, &json(&folder.ceremony)?)?;
        Ok(folder)
    }

    /// Opens a ceremony's folder.
    ///
    /// # Errors
    /// - [`CeremonyError`] where there is none, or one that no chain can come of.
    pub fn open(path: &Path) -> Result<Self, CeremonyError> {
        Self::check(path, read(&path.join(CEREMONY_FILE))?)
    }

    fn check(path: &Path, ceremony: Ceremony) -> Result<Self, CeremonyError> {
        let parameters: Parameters =
            toml::from_str(&ceremony.parameters).map_err(|error| ParametersError::Invalid {
                path: path.join(CEREMONY_FILE),
                error: Box::new(error),
            })?;
        let names = || parameters.members.iter().map(|member| member.name.as_str());
        if let Some(name) = names().find(|name| !plain(name)) {
            return Err(CeremonyError::Name(name.to_owned()));
        }
        let officers = ceremony.officers.keys().map(String::as_str);
        let (mut wanted, found): (Vec<_>, Vec<_>) = (names().collect(), officers.collect());
        wanted.sort_unstable();
        if wanted != found {
            return Err(CeremonyError::Officers {
                members: wanted.join(", "),
                found: found.join(", "),
            });
        }
        confirm::check_officers(&ceremony)?;
        // Members learn here what is wrong with the parameters, not once their keys are made.
        assemble(parameters.clone(), &weak::placeholder_cards(names())?)?;
        Ok(Self {
            path: path.to_owned(),
            ceremony,
            parameters,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was agreed on.
    pub const fn ceremony(&self) -> &Ceremony {
        &self.ceremony
    }

    /// Takes a member's card into the folder.
    ///
    /// # Errors
    /// - [`CeremonyError`] where it proves nothing, is of another ceremony, or another card of the member is there.
    pub fn add_card(&self, file: &Path) -> Result<SignedCard, CeremonyError> {
        let signed: SignedCard = read(file)?;
        self.check_card(&signed, None)?;
        let mut cards = self.cards()?;
        let name = signed.card.member.clone();
        cards.entry(name.clone()).or_insert_with(|| signed.clone());
        weak::check(&cards)?;
        self.write(&format!("{CARDS}/{name}.json"), &json(&signed)?)?;
        Ok(signed)
    }

    fn check_card(&self, signed: &SignedCard, expected: Option<&str>) -> Result<(), CeremonyError> {
        let card = &signed.card;
        let id = self.ceremony.id();
        if card.ceremony != id {
            return Err(CeremonyError::OtherCeremony {
                member: card.member.clone(),
                expected: id,
                found: card.ceremony,
            });
        }
        let known = self.ceremony.officers.contains_key(&card.member);
        if !known || expected.is_some_and(|expected| expected != card.member) {
            return Err(CeremonyError::Stranger(card.member.clone()));
        }
        signed.verify().map_err(|error| CeremonyError::Card {
            member: card.member.clone(),
            error,
        })
    }

    /// The cards that are there, each verified.
    ///
    /// # Errors
    /// - [`CeremonyError`] for the first that is not what it should be.
    pub fn cards(&self) -> Result<BTreeMap<String, SignedCard>, CeremonyError> {
        let mut cards = BTreeMap::new();
        for member in self.ceremony.officers.keys() {
            let path = self.path.join(CARDS).join(format!("{member}.json"));
            if !path.exists() {
                continue;
            }
            let signed: SignedCard = read(&path)?;
            self.check_card(&signed, Some(member))?;
            cards.insert(member.clone(), signed);
        }
        weak::check(&cards)?;
        Ok(cards)
    }

    /// Derives chain, address and transcript from the cards; writes nothing.
    ///
    /// # Errors
    /// - [`CeremonyError`] where a card is missing or wrong, or they make no chain.
    pub fn derive(&self) -> Result<Derived, CeremonyError> {
        let cards = self.cards()?;
        let missing: Vec<_> = self
            .ceremony
            .officers
            .keys()
            .filter(|member| !cards.contains_key(*member))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(CeremonyError::MissingCards(missing.join(", ")));
        }
        let bare = cards
            .iter()
            .map(|(name, signed)| {
                let card = MemberCard {
                    bls: signed.card.bls,
                    bls_possession: signed.card.bls_possession,
                    schnorr: signed.card.schnorr,
                };
                (name.clone(), card)
            })
            .collect();
        let chain = Chain::new(assemble(self.parameters.clone(), &bare)?)?;
        weak::check_recovery(&chain, &cards)?;
        let report = check(&chain)?;
        let transcript = Transcript::new(self.ceremony.id(), &cards, &report);
        Ok(Derived { chain, transcript })
    }

    /// Writes the chain spec and the transcript.
    ///
    /// # Errors
    /// - [`CeremonyError`] as [`Folder::derive`], or where other files are there already.
    pub fn assemble(&self) -> Result<Derived, CeremonyError> {
        let derived = self.derive()?;
        self.write(config::CHAIN_FILE, derived.chain_text()?.as_bytes())?;
        self.write(TRANSCRIPT_FILE, &derived.transcript.bytes()?)?;
        Ok(derived)
    }

    /// Derives all again and compares it with the files of [`Folder::assemble`].
    ///
    /// # Errors
    /// - [`CeremonyError`] as [`Folder::derive`]; [`CeremonyError::Differs`] where a file is another one.
    pub fn assembled(&self) -> Result<Derived, CeremonyError> {
        let derived = self.derive()?;
        self.compare(config::CHAIN_FILE, derived.chain_text()?.as_bytes())?;
        self.compare(TRANSCRIPT_FILE, &derived.transcript.bytes()?)?;
        Ok(derived)
    }

    /// Checks the evidence of a spend and keeps it.
    ///
    /// # Errors
    /// - [`CeremonyError`] where the ceremony is not closed or the transactions do not show it.
    pub fn spend_test(
        &self,
        deposit: &Transaction,
        spend: &Transaction,
    ) -> Result<SpendReport, CeremonyError> {
        let (derived, closed) = self.closed()?;
        let test = SpendTest {
            closed,
            deposit: bitcoin::consensus::encode::serialize_hex(deposit),
            spend: bitcoin::consensus::encode::serialize_hex(spend),
            report: spend::verify(&derived.chain, deposit, spend)?,
        };
        self.write(SPEND_FILE, &json(&test)?)?;
        Ok(test.report)
    }

    /// Verifies everything up to the spend test. Gives its report and the SHA-256 of its file.
    ///
    /// # Errors
    /// - [`CeremonyError::NoSpendTest`] where there is none; [`CeremonyError`] where something does not hold any more.
    pub fn tested(&self) -> Result<(Derived, SpendReport, Fingerprint), CeremonyError> {
        let (derived, closed) = self.closed()?;
        let path = self.path.join(SPEND_FILE);
        if !path.exists() {
            return Err(CeremonyError::NoSpendTest);
        }
        let test: SpendTest = read(&path)?;
        let decode = |text: &str| -> Result<Transaction, CeremonyError> {
            spend::parse(text).map_err(CeremonyError::from)
        };
        let (deposit, spend) = (decode(&test.deposit)?, decode(&test.spend)?);
        let report = spend::verify(&derived.chain, &deposit, &spend)?;
        if test.closed != closed || test.report != report {
            return Err(CeremonyError::Differs { path });
        }
        let digest = fingerprint(files::read(&path)?.as_bytes());
        Ok((derived, report, digest))
    }

    /// Declares the address live.
    ///
    /// # Errors
    /// - [`CeremonyError`] as [`Folder::tested`].
    pub fn live(&self) -> Result<Live, CeremonyError> {
        let live = self.expected_live()?;
        self.write(LIVE_FILE, &json(&live)?)?;
        Ok(live)
    }

    fn expected_live(&self) -> Result<Live, CeremonyError> {
        let (derived, _report, spend_test) = self.tested()?;
        Ok(Live {
            spend_test,
            transcript: derived.transcript.hash()?,
            deposit_address: derived.transcript.deposit_address,
        })
    }

    /// Writes a file; one with the same bytes may be there, another one may not.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CeremonyError> {
        if self.path.join(name).exists() {
            return self.compare(name, bytes);
        }
        Ok(files::write_new(
            &self.path.join(name),
            bytes,
            Readers::All,
        )?)
    }

    fn compare(&self, name: &str, bytes: &[u8]) -> Result<(), CeremonyError> {
        let path = self.path.join(name);
        if files::read(&path)?.as_bytes() == bytes {
            Ok(())
        } else {
            Err(CeremonyError::Differs { path })
        }
    }
}

impl Derived {
    fn chain_text(&self) -> Result<String, CeremonyError> {
        let text = toml::to_string_pretty(self.chain.spec()).map_err(config::ConfigError::from)?;
        let digest = self.chain.digest();
        Ok(format!(
            "# Chain spec of a ceremony. Every node and signer of the chain has this file.\n# Digest: {digest}\n{text}"
        ))
    }
}

/// Part of a file's name, and nothing else: members' names are.
fn plain(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    !name.is_empty() && name.len() <= 64 && name.chars().all(letter)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, CeremonyError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(CeremonyError::Encode)?;
    text.push(b'\n');
    Ok(text)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CeremonyError> {
    serde_json::from_str(&files::read(path)?).map_err(|error| CeremonyError::Json {
        path: path.to_owned(),
        error,
    })
}
