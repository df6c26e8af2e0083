//! Confirmations: each member's officer signs what that member derived on its own machine.

use super::{
    CLOSED_FILE, CONFIRMATIONS, CeremonyError, Derived, Folder, Transcript, fingerprint, json, read,
};
use crate::files;
use crate::officer::{Officer, OfficerError};
use alys_protocol::ceremony::{Ceremony, Fingerprint};
use minisign::{PublicKey, PublicKeyBox, SignatureBox};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// What an officer signs. Neither a policy nor a statement to signers: both refuse its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// Always `confirm-ceremony`.
    act: Act,
    /// For whom.
    pub member: String,
    /// SHA-256 of `transcript.json`.
    pub transcript_sha256: Fingerprint,
    /// What is in it.
    pub transcript: Transcript,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Act {
    ConfirmCeremony,
}

/// All members derived the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// SHA-256 of `transcript.json`.
    pub transcript: Fingerprint,
    /// SHA-256 of each member's confirmation.
    pub confirmations: BTreeMap<String, Fingerprint>,
}

/// Reads an officer's public key; gives it as one line of base64.
pub(super) fn officer_key(file: &Path) -> Result<String, CeremonyError> {
    let text = files::read(file)?;
    let key = PublicKeyBox::from_string(&text)
        .and_then(PublicKeyBox::into_public_key)
        .map_err(|error| OfficerError::Key {
            path: file.to_owned(),
            error,
        })?;
    Ok(key.to_base64())
}

fn key_of(ceremony: &Ceremony, member: &str) -> Result<PublicKey, CeremonyError> {
    let key = ceremony
        .officers
        .get(member)
        .ok_or_else(|| CeremonyError::NoMember(member.to_owned()))?;
    PublicKey::from_base64(key).map_err(|error| CeremonyError::OfficerKey {
        member: member.to_owned(),
        reason: error.to_string(),
    })
}

/// Every officer's key is one, and each member has its own.
pub(super) fn check_officers(ceremony: &Ceremony) -> Result<(), CeremonyError> {
    let mut seen = BTreeMap::new();
    for member in ceremony.officers.keys() {
        let key = key_of(ceremony, member)?;
        // What follows algorithm and key number.
        let bytes = key.to_bytes().iter().skip(10).copied().collect::<Vec<_>>();
        if let Some(first) = seen.insert(bytes, member) {
            return Err(CeremonyError::OneOfficer {
                first: first.clone(),
                second: member.clone(),
            });
        }
    }
    Ok(())
}

fn signature_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".minisig");
    path.with_file_name(name)
}

impl Folder {
    fn confirmation_path(&self, member: &str) -> PathBuf {
        self.path.join(CONFIRMATIONS).join(format!("{member}.toml"))
    }

    /// Derives everything again, and has the member's officer sign it.
    ///
    /// # Errors
    /// - [`CeremonyError`] where the folder's files do not follow from the cards, or the officer is another one.
    pub fn confirm(&self, member: &str, officer: &Officer) -> Result<Fingerprint, CeremonyError> {
        let derived = self.assembled()?;
        if officer.public_key() != key_of(&self.ceremony, member)?.to_base64() {
            return Err(CeremonyError::OtherOfficer(member.to_owned()));
        }
        let hash = derived.transcript.hash()?;
        let confirmation = Confirmation {
            act: Act::ConfirmCeremony,
            member: member.to_owned(),
            transcript_sha256: hash,
            transcript: derived.transcript,
        };
        let text = toml::to_string(&confirmation).map_err(crate::config::ConfigError::from)?;
        let path = self.confirmation_path(member);
        let signature = signature_of(&path);
        if path.exists() && signature.exists() {
            let found = self.confirmation(member)?;
            return match found {
                Some(found) if found == confirmation => Ok(hash),
                Some(_) | None => Err(CeremonyError::Differs { path }),
            };
        }
        self.write(&format!("{CONFIRMATIONS}/{member}.toml"), text.as_bytes())?;
        let comment = format!(
            "confirmation of ceremony {} for {member}",
            self.ceremony.id()
        );
        officer.sign_bytes(text.as_bytes(), &comment, &signature)?;
        Ok(hash)
    }

    /// A member's confirmation, its signature verified; none where it is not there yet.
    ///
    /// # Errors
    /// - [`CeremonyError::Confirmation`] where it is not its officer's, or something else.
    pub fn confirmation(&self, member: &str) -> Result<Option<Confirmation>, CeremonyError> {
        let path = self.confirmation_path(member);
        let signature = signature_of(&path);
        if !path.exists() || !signature.exists() {
            return Ok(None);
        }
        let wrong = |reason: String| CeremonyError::Confirmation {
            member: member.to_owned(),
            reason,
        };
        let text = files::read(&path)?;
        let signature = SignatureBox::from_string(&files::read(&signature)?)
            .map_err(|error| wrong(format!("expected a signature (minisign): {error}")))?;
        let key = key_of(&self.ceremony, member)?;
        minisign::verify(
            &key,
            &signature,
            Cursor::new(text.as_bytes()),
            true,
            false,
            false,
        )
        .map_err(|error| wrong(format!("expected its officer's signature: {error}")))?;
        let confirmation: Confirmation = toml::from_str(&text)
            .map_err(|error| wrong(format!("expected a confirmation: {error}")))?;
        if confirmation.member != member {
            return Err(wrong(format!(
                "expected one for this member, found one for {:?}",
                confirmation.member
            )));
        }
        if confirmation.transcript.hash()? != confirmation.transcript_sha256 {
            return Err(wrong(
                "expected the hash of the transcript in it".to_owned(),
            ));
        }
        Ok(Some(confirmation))
    }

    /// Members whose confirmation is not there yet.
    pub(super) fn unconfirmed(&self) -> Result<Vec<String>, CeremonyError> {
        let mut missing = Vec::new();
        for member in self.ceremony.officers.keys() {
            if self.confirmation(member)?.is_none() {
                missing.push(member.clone());
            }
        }
        Ok(missing)
    }

    /// Demands equal confirmations of all, and says so in a file.
    ///
    /// # Errors
    /// - [`CeremonyError::MissingConfirmations`] naming the members; [`CeremonyError::Disagreement`] naming who differs in
    ///   what.
    pub fn close(&self) -> Result<Closed, CeremonyError> {
        let (_derived, closed) = self.agreement()?;
        self.write(CLOSED_FILE, &json(&closed)?)?;
        Ok(closed)
    }

    fn agreement(&self) -> Result<(Derived, Closed), CeremonyError> {
        let derived = self.assembled()?;
        let missing = self.unconfirmed()?;
        if !missing.is_empty() {
            return Err(CeremonyError::MissingConfirmations(missing.join(", ")));
        }
        let mut confirmations = BTreeMap::new();
        let mut differences = Vec::new();
        for member in self.ceremony.officers.keys() {
            let Some(confirmation) = self.confirmation(member)? else {
                continue;
            };
            for difference in derived.transcript.differences(&confirmation.transcript) {
                differences.push(format!("{member}: {difference}"));
            }
            let text = files::read(&self.confirmation_path(member))?;
            confirmations.insert(member.clone(), fingerprint(text.as_bytes()));
        }
        if !differences.is_empty() {
            return Err(CeremonyError::Disagreement(differences.join("\n")));
        }
        let transcript = derived.transcript.hash()?;
        let closed = Closed {
            transcript,
            confirmations,
        };
        Ok((derived, closed))
    }

    /// Verifies everything up to the close. Gives the SHA-256 of its file.
    ///
    /// # Errors
    /// - [`CeremonyError::NotClosed`] where it is not; [`CeremonyError`] where something does not hold any more.
    pub fn closed(&self) -> Result<(Derived, Fingerprint), CeremonyError> {
        let path = self.path.join(CLOSED_FILE);
        if !path.exists() {
            return Err(CeremonyError::NotClosed);
        }
        let (derived, closed) = self.agreement()?;
        if read::<Closed>(&path)? != closed {
            return Err(CeremonyError::Differs { path });
        }
        let hash = fingerprint(files::read(&path)?.as_bytes());
        Ok((derived, hash))
    }
}
