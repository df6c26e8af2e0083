//! Where a ceremony stands.

use super::{
    CLOSED_FILE, CeremonyError, Folder, LIVE_FILE, Live, SPEND_FILE, SpendReport, TRANSCRIPT_FILE,
    Transcript, json,
};
use crate::files;
use alys_protocol::ceremony::{CeremonyId, Fingerprint, SignedCard};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Members' signers make keys, and their cards are added.
    Card,
    /// Chain and transcript are derived.
    Assemble,
    /// Officers confirm.
    Confirm,
    /// All confirmations are compared.
    Close,
    /// A deposit is pegged out.
    SpendTest,
    /// The address is declared live.
    Live,
    /// Nothing: publish the address.
    Done,
}

impl Step {
    /// What that is, in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Card => {
                "each missing member runs `alys-signer init --ceremony`, and its card is added (`ceremony card`)"
            }
            Self::Assemble => "derive chain, address and transcript (`ceremony assemble`)",
            Self::Confirm => "each missing member's officer confirms (`ceremony confirm`)",
            Self::Close => "compare all confirmations (`ceremony close`)",
            Self::SpendTest => {
                "start the chain, peg in a small amount, peg it out, and show both transactions (`ceremony spend-test`); the \
                 address must not be published before"
            }
            Self::Live => "declare the address live (`ceremony live`)",
            Self::Done => "nothing: the deposit address may be published",
        }
    }
}

/// Where a ceremony stands. Everything in it was verified just now.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Which one.
    pub ceremony: CeremonyId,
    /// What is next.
    pub next: Step,
    /// That in words.
    pub next_in_words: &'static str,
    /// The members that it waits for.
    pub missing: Vec<String>,
    /// Officers by member.
    pub officers: BTreeMap<String, String>,
    /// The cards that are there.
    pub cards: BTreeMap<String, SignedCard>,
    /// What follows from them.
    pub transcript: Option<Transcript>,
    /// SHA-256 of `transcript.json`.
    pub transcript_sha256: Option<Fingerprint>,
    /// Members whose confirmation is there and equal.
    pub confirmed: Vec<String>,
    /// The spend test.
    pub spend_test: Option<SpendReport>,
}

impl Folder {
    /// Verifies all that is there, and says what comes next.
    ///
    /// # Errors
    /// - [`CeremonyError`] where something that is there does not hold.
    pub fn status(&self) -> Result<Status, CeremonyError> {
        let cards = self.cards()?;
        let members = self.ceremony.officers.keys();
        let no_card = members
            .filter(|member| !cards.contains_key(*member))
            .cloned();
        let missing: Vec<_> = no_card.collect();
        let mut status = Status {
            ceremony: self.ceremony.id(),
            next: Step::Card,
            next_in_words: "",
            missing,
            officers: self.ceremony.officers.clone(),
            cards,
            transcript: None,
            transcript_sha256: None,
            confirmed: Vec::new(),
            spend_test: None,
        };
        if status.missing.is_empty() {
            self.later_steps(&mut status)?;
        }
        status.next_in_words = status.next.describe();
        Ok(status)
    }

    fn later_steps(&self, status: &mut Status) -> Result<(), CeremonyError> {
        let there = |name: &str| self.path.join(name).exists();
        status.next = Step::Assemble;
        if !there(TRANSCRIPT_FILE) || !there(crate::config::CHAIN_FILE) {
            return Ok(());
        }
        let derived = self.assembled()?;
        status.transcript_sha256 = Some(derived.transcript.hash()?);
        status.transcript = Some(derived.transcript.clone());
        status.missing = self.unconfirmed()?;
        for member in self.ceremony.officers.keys() {
            let confirmation = self.confirmation(member)?;
            if confirmation.is_some_and(|found| found.transcript == derived.transcript) {
                status.confirmed.push(member.clone());
            }
        }
        status.next = if !status.missing.is_empty() {
            Step::Confirm
        } else if !there(CLOSED_FILE) {
            Step::Close
        } else if !there(SPEND_FILE) {
            self.closed()?;
            Step::SpendTest
        } else {
            status.spend_test = Some(self.tested()?.1);
            if there(LIVE_FILE) {
                let live: Live = self.expected_live()?;
                self.compare(LIVE_FILE, &json(&live)?)?;
                Step::Done
            } else {
                Step::Live
            }
        };
        Ok(())
    }

    /// Writes the record for people. A newer one replaces an older one: it follows from the other files.
    ///
    /// # Errors
    /// - [`CeremonyError`] as [`Folder::status`], or where it cannot be written.
    pub fn record(&self, output: &std::path::Path) -> Result<Status, CeremonyError> {
        let status = self.status()?;
        let text = super::html(&status, &self.ceremony.parameters);
        files::write(output, text.as_bytes(), files::Readers::All)?;
        Ok(status)
    }
}
