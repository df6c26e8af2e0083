//! Finds the first place where a log was changed.

use super::archive::{Archive, ArchiveError};
use super::checkpoint::AuditPublicKey;
use super::entry::{
    Changed, Decided, Entry, Event, Sequence, Standing, StateName, Stated, Verdict, entry_hash,
};
use super::named::Named as _;
use alys_protocol::bytes::Digest;
use alys_protocol::units::ChainId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// What an auditor knows already.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// The signer's audit key. Without it, the key that the log itself names is taken.
    pub key: Option<AuditPublicKey>,
    /// An earlier head: after so many entries the hash was this one.
    pub includes: Option<(Sequence, Digest)>,
}

/// A log without a break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Number of the first entry.
    pub first: Sequence,
    /// One past the last.
    pub end: Sequence,
    /// Hash of the last entry: keep it with `end`, and ask the next log whether it includes them.
    pub head: Digest,
    /// Entries up to the last checkpoint are signed.
    pub signed_up_to: Sequence,
    /// Checkpoints.
    pub checkpoints: usize,
    /// Whose signature the last checkpoint has; compare it with what `audit key` printed at the signer.
    pub key: Option<String>,
    /// Decisions to sign something new.
    pub signed: u64,
    /// Decisions to give a recorded signature again.
    pub repeated: u64,
    /// Refusals.
    pub refused: u64,
    /// Statements of officers that were accepted.
    pub statements: u64,
    /// Decisions whose evidence is not here: it was removed by age, or never stored because the disk was nearly full.
    pub without_evidence: u64,
}

/// The first break.
#[derive(Debug, Error)]
pub enum Break {
    /// The files.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No entries.
    #[error("there are no entries")]
    Empty,
    /// An entry is not there.
    #[error("entry {0} is missing")]
    Missing(Sequence),
    /// An entry names another one before it.
    #[error("entry {sequence}: expected the hash {expected} of entry {before} before it, found {found}: one of the two was changed", before = sequence.get().saturating_sub(1))]
    Chain {
        /// The entry.
        sequence: Sequence,
        /// Hash of the one before.
        expected: Digest,
        /// What it names.
        found: Digest,
    },
    /// A checkpoint does not fit.
    #[error("checkpoint over the first {count} entries: expected {expected}, found {found}")]
    Checkpoint {
        /// How many entries it covers.
        count: Sequence,
        /// What fits.
        expected: String,
        /// What it has.
        found: String,
    },
    /// An entry contradicts one before it.
    #[error("entry {sequence}: expected {what} {expected}, found {found}")]
    Contradiction {
        /// The entry.
        sequence: Sequence,
        /// What.
        what: String,
        /// What follows from the entries before.
        expected: String,
        /// What it says.
        found: String,
    },
    /// A blob that no entry refers to.
    #[error(
        "evidence {stray} belongs to no entry; entry {sequence} refers to {expected}, which is not here: it was replaced"
    )]
    Evidence {
        /// The first entry without what it refers to.
        sequence: Sequence,
        /// What it refers to.
        expected: Digest,
        /// What is there instead.
        stray: Digest,
    },
    /// The head that the auditor knows is not in the log.
    #[error(
        "the log does not include the known head of {count} entries: expected hash {expected}, found {found}"
    )]
    NotIncluded {
        /// How many entries there were.
        count: Sequence,
        /// The hash then.
        expected: Digest,
        /// What the log has there.
        found: String,
    },
}

/// Verifies a log from its first entry to its last.
///
/// # Errors
/// - the first [`Break`].
pub fn verify(archive: &Archive, expected: &Expectations) -> Result<Report, Break> {
    let chain = archive.chain().ok_or(Break::Empty)?;
    let (first, end) = archive.range();
    if first == end {
        return Err(Break::Empty);
    }
    let mut walk = Walk::new(chain, expected, first);
    let mut sequence = first;
    while sequence < end {
        let bytes = archive.entry(sequence)?.ok_or(Break::Missing(sequence))?;
        walk.entry(archive, sequence, &bytes)?;
        sequence = sequence.next();
    }
    // A checkpoint that covers more was signed when there were more.
    if let Some((count, _)) = archive.checkpoints().range(end.next()..).next() {
        return Err(Break::Checkpoint {
            count: *count,
            expected: format!("at most {end} entries"),
            found: "a checkpoint over more: the end was cut off".to_owned(),
        });
    }
    let mut stray = archive.blob_digests();
    if let Some(stray) = stray.find(|digest| !walk.referred.contains(digest)) {
        let (sequence, expected) = walk.missing.unwrap_or((end, Digest::ZERO));
        return Err(Break::Evidence {
            sequence,
            expected,
            stray,
        });
    }
    if let Some((count, hash)) = expected.includes
        && !walk.included
    {
        return Err(Break::NotIncluded {
            count,
            expected: hash,
            found: format!("entries {first} to before {end}"),
        });
    }
    walk.report.end = end;
    Ok(walk.report)
}

struct Walk<'a> {
    chain: ChainId,
    expected: &'a Expectations,
    /// Hash of the entry before; none before the first that is here.
    previous: Option<Digest>,
    standing: Option<Standing>,
    states: BTreeMap<StateName, Digest>,
    /// Blobs that entries refer to.
    referred: BTreeSet<Digest>,
    /// The first entry that refers to a blob that is not here, and the blob.
    missing: Option<(Sequence, Digest)>,
    included: bool,
    report: Report,
}

impl<'a> Walk<'a> {
    fn new(chain: ChainId, expected: &'a Expectations, first: Sequence) -> Self {
        Self {
            chain,
            expected,
            previous: (first == Sequence::default()).then_some(Digest::ZERO),
            standing: None,
            states: BTreeMap::new(),
            referred: BTreeSet::new(),
            missing: None,
            included: false,
            report: Report {
                first,
                end: first,
                head: Digest::ZERO,
                signed_up_to: first,
                checkpoints: 0,
                key: None,
                signed: 0,
                repeated: 0,
                refused: 0,
                statements: 0,
                without_evidence: 0,
            },
        }
    }

    fn entry(&mut self, archive: &Archive, sequence: Sequence, bytes: &[u8]) -> Result<(), Break> {
        let entry = Entry::decode(bytes).map_err(ArchiveError::from)?;
        if let Some(expected) = self.previous
            && expected != entry.previous
        {
            return Err(Break::Chain {
                sequence,
                expected,
                found: entry.previous,
            });
        }
        for digest in entry.blobs() {
            if !archive.has_blob(digest) {
                self.missing.get_or_insert((sequence, digest));
            }
            self.referred.insert(digest);
        }
        match &entry.event {
            Event::Standing(standing) => self.standing(sequence, standing)?,
            Event::Decided(decided) => self.decided(archive, sequence, decided)?,
            Event::Stated(stated) => self.stated(archive, sequence, stated)?,
            Event::Raised(raised) => {
                for state in &raised.states {
                    self.changed(sequence, state)?;
                }
            }
            Event::Approved(approved) => {
                let change = Changed {
                    name: StateName::Admin,
                    before: approved.before,
                    after: approved.after,
                };
                self.changed(sequence, &change)?;
            }
            Event::Counted(counted) => {
                if let Some(repeats) = counted.repeats.iter().find(|row| row.entry >= sequence) {
                    return Err(contradiction(
                        sequence,
                        "repeats of an entry below",
                        sequence,
                        repeats.entry,
                    ));
                }
            }
        }
        let hash = entry_hash(self.chain, bytes);
        self.previous = Some(hash);
        self.report.head = hash;
        self.head(archive, sequence.next(), hash)
    }

    fn standing(&mut self, sequence: Sequence, standing: &Standing) -> Result<(), Break> {
        for state in &standing.states {
            self.state(sequence, state.name, state.digest)?;
        }
        if let Some(before) = &self.standing {
            same(sequence, "BLS key", before.bls, standing.bls)?;
            same(sequence, "Schnorr key", before.schnorr, standing.schnorr)?;
            same(sequence, "chain spec", before.spec, standing.spec)?;
            same(sequence, "audit key", before.audit_key, standing.audit_key)?;
        }
        if let Some(key) = self.expected.key {
            same(sequence, "audit key", key, standing.audit_key)?;
        }
        self.standing = Some(standing.clone());
        Ok(())
    }

    fn decided(
        &mut self,
        archive: &Archive,
        sequence: Sequence,
        decided: &Decided,
    ) -> Result<(), Break> {
        if let Some(standing) = &self.standing {
            same(sequence, "chain spec", standing.spec, decided.spec)?;
            same(sequence, "policy", standing.policy, decided.policy)?;
        }
        let change = Changed {
            name: decided.state,
            before: decided.before,
            after: decided.after,
        };
        self.judged(sequence, &decided.verdict, &[change])?;
        self.evidence(archive, decided.evidence);
        Ok(())
    }

    fn stated(
        &mut self,
        archive: &Archive,
        sequence: Sequence,
        stated: &Stated,
    ) -> Result<(), Break> {
        self.judged(sequence, &stated.verdict, &stated.states)?;
        self.evidence(archive, stated.evidence);
        Ok(())
    }

    /// Counts a verdict; only a new yes changes states.
    fn judged(
        &mut self,
        sequence: Sequence,
        verdict: &Verdict,
        states: &[Changed],
    ) -> Result<(), Break> {
        let (count, changes) = match verdict {
            Verdict::Signed { .. } => (&mut self.report.signed, true),
            Verdict::Accepted => (&mut self.report.statements, true),
            Verdict::Repeated { .. } => (&mut self.report.repeated, false),
            Verdict::Refused { .. } => (&mut self.report.refused, false),
        };
        *count = count.saturating_add(1);
        for state in states {
            if !changes {
                same(sequence, "an unchanged state", state.before, state.after)?;
            }
            self.changed(sequence, state)?;
        }
        Ok(())
    }

    fn changed(&mut self, sequence: Sequence, state: &Changed) -> Result<(), Break> {
        self.state(sequence, state.name, state.before)?;
        self.states.insert(state.name, state.after);
        Ok(())
    }

    fn evidence(&mut self, archive: &Archive, evidence: Digest) {
        if !archive.has_blob(evidence) {
            self.report.without_evidence = self.report.without_evidence.saturating_add(1);
        }
    }

    /// A state is what the last entry about it left.
    fn state(&mut self, sequence: Sequence, name: StateName, found: Digest) -> Result<(), Break> {
        let expected = *self.states.entry(name).or_insert(found);
        let what = format!("after the entries before the state {:?}", name.name());
        same(sequence, &what, expected, found)
    }

    /// Compares with the checkpoint and the known head at this place, where there are.
    fn head(&mut self, archive: &Archive, count: Sequence, hash: Digest) -> Result<(), Break> {
        if let Some((known, expected)) = self.expected.includes
            && known == count
        {
            if expected != hash {
                return Err(Break::NotIncluded {
                    count,
                    expected,
                    found: hash.to_string(),
                });
            }
            self.included = true;
        }
        let Some(checkpoint) = archive.checkpoints().get(&count) else {
            return Ok(());
        };
        if checkpoint.head != hash {
            return Err(Break::Checkpoint {
                count,
                expected: format!("the hash {hash} of the last of them, which was changed"),
                found: checkpoint.head.to_string(),
            });
        }
        let named = self.standing.as_ref().map(|standing| standing.audit_key);
        let key = self.expected.key.or(named).unwrap_or(checkpoint.key);
        if !checkpoint.verifies(self.chain, &key) {
            return Err(Break::Checkpoint {
                count,
                expected: format!("a signature of key {key}"),
                found: "another one".to_owned(),
            });
        }
        self.report.checkpoints = self.report.checkpoints.saturating_add(1);
        self.report.signed_up_to = count;
        self.report.key = Some(key.to_string());
        Ok(())
    }
}

fn same<T: PartialEq + ToString>(
    sequence: Sequence,
    what: &str,
    expected: T,
    found: T,
) -> Result<(), Break> {
    if expected == found {
        return Ok(());
    }
    Err(contradiction(sequence, what, expected, found))
}

fn contradiction(
    sequence: Sequence,
    what: &str,
    expected: impl ToString,
    found: impl ToString,
) -> Break {
    Break::Contradiction {
        sequence,
        what: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}
