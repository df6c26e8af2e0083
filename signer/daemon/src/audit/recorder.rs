//! Decides and records in one transaction.
//!
//! [`Recorder::decide`] is for what is signed, [`Recorder::obey`] for what officers say.
//!
//! A yes is committed with fsync together with its entry, its evidence and the new state: one fsync, and no signature
//! without an entry. A no is committed without fsync: entries are lost from the end only, together with nothing that left
//! the signer, and the chain of what is left verifies. [`Recorder::tick`] makes them durable within a second.

mod stated;

use super::approval::Approval;
use super::checkpoint::{AuditKey, AuditPublicKey};
use super::entry::{
    Approved, Blob, BlobKind, Cause, Decided, Event, Inputs, NamedState, Sequence, Standing,
    StateName, UnixMillis, Verdict, blob_digest,
};
use super::folder::{Folder, mib};
use super::journal::{self, Class, Journal, Reader};
use super::memory::Memory;
use super::named::Named as _;
use super::{AuditError, AuditLimits};
use crate::authority::Operation;
use crate::engine::SOFTWARE;
use crate::keys::Keys;
use crate::limits::Fingerprint;
use crate::store::audited as stored;
use crate::store::{Store, Stored};
use alys_protocol::bytes::{Digest, SpecDigest};
use alys_protocol::signer::Refusal;
use alys_protocol::units::ChainId;
use alys_signer_client::Role;
use alys_signer_core::btc::HeaderChain;
use alys_signer_core::clock::ClockState;
use alys_signer_core::freshness::Lease;
use alys_signer_core::persist::Intent;
use alys_signer_core::state::{AdminState, PegOutState, VoteState};
use alys_signer_core::{Decision, Durable, Persisted, Signer};
use redb::{Durability, WriteTransaction};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A state that decisions read and write. Its name is its key in the store.
pub trait Audited: Stored {
    /// Which.
    const NAME: StateName;
}

impl Audited for VoteState {
    const NAME: StateName = StateName::Vote;
}

impl Audited for HeaderChain {
    const NAME: StateName = StateName::Bitcoin;
}

impl Audited for PegOutState {
    const NAME: StateName = StateName::PegOut;
}

impl Audited for AdminState {
    const NAME: StateName = StateName::Admin;
}

/// A request that is to be decided.
#[derive(Debug)]
pub struct Question<'a> {
    /// Role of the asker's certificate.
    pub role: Role,
    /// The asker's certificate.
    pub certificate: Fingerprint,
    /// What is asked.
    pub operation: Operation,
    /// What it is about: the block's id, or the batch's.
    pub request: Digest,
    /// The body of the request's frame.
    pub body: &'a [u8],
    /// What decides beside request and state.
    pub inputs: Inputs,
    /// The lease to write together with a new yes. Nothing may be released before the outside counter has advanced to it.
    pub lease: Option<Lease>,
    /// When.
    pub time: UnixMillis,
}

/// A yes that is recorded.
#[must_use = "the state says that this was signed"]
#[derive(Debug)]
pub struct Recorded<I> {
    /// What may be released.
    pub intent: Persisted<I>,
    /// Whether the state changed, and with it the lease.
    pub new: bool,
}

/// Why the transport turned a request away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAwayFor {
    /// Rule `rate`.
    TooMany,
    /// The role.
    Forbidden,
    /// No request.
    Malformed,
}

/// The state with its log.
#[derive(Debug)]
pub struct Recorder {
    store: Store,
    chain: ChainId,
    spec: SpecDigest,
    policy: Digest,
    standing: Standing,
    /// Text of spec and policy, who the officers are, and what they signed.
    provisioning: [(Digest, Blob); 4],
    key: AuditKey,
    folder: Folder,
    limits: AuditLimits,
    memory: Mutex<Memory>,
}

impl Recorder {
    /// Opens the log and records the start, and the policy that `signer` has as the one in force, if officers may have it so:
    /// an older one is refused from then on. A state from before there was a log gets one, with a new audit key.
    ///
    /// # Errors
    /// - [`AuditError::Policy`] where the officers' approval does not count;
    /// - [`AuditError`] where the log cannot be read or written, or its key is not for `keys`.
    pub fn start(
        store: Store,
        signer: &Signer,
        keys: &Keys,
        approval: &Approval,
        limits: AuditLimits,
        now: UnixMillis,
    ) -> Result<Self, AuditError> {
        let transaction = store.begin()?;
        let key = match journal::key(&transaction)? {
            Some(sealed) => AuditKey::open(&sealed, keys)?,
            None => {
                let key = AuditKey::generate()?;
                journal::create(&transaction, &key.seal(keys)?)?;
                key
            }
        };
        let chain = signer.chain().id();
        let blob = |kind, text: Result<String, toml::ser::Error>| {
            let bytes = text
                .map_err(|error| AuditError::Provisioning(error.to_string()))?
                .into_bytes();
            let blob = Blob { kind, bytes };
            Ok::<_, AuditError>((blob.digest(chain), blob))
        };
        let provisioning = [
            blob(BlobKind::Spec, toml::to_string(signer.chain().spec()))?,
            blob(BlobKind::Policy, toml::to_string(signer.policy()))?,
            blob(BlobKind::Officers, toml::to_string(&approval.config))?,
            signed_policy(chain, approval)?,
        ];
        let [(spec_text, _), (policy, _), ..] = provisioning;
        let spec = signer.chain().digest();
        let card = keys.card();
        let standing = Standing {
            cause: Cause::Started,
            software: SOFTWARE.to_owned(),
            member: signer.member(),
            bls: card.bls,
            schnorr: card.schnorr,
            audit_key: key.public(),
            spec,
            spec_text,
            policy,
            states: Vec::new(),
        };
        let recorder = Self {
            folder: Folder::of_state(store.path()),
            memory: Mutex::new(Memory::new(now)),
            store,
            chain,
            spec,
            policy,
            standing,
            provisioning,
            key,
            limits,
        };
        let mut journal = Journal::open(&transaction, chain)?;
        recorder.stand(&mut journal, &transaction, Cause::Started, now)?;
        recorder.approve(&mut journal, &transaction, Some(approval), now)?;
        journal.close()?;
        transaction.commit()?;
        Ok(recorder)
    }

    /// The key that signs checkpoints.
    pub fn public_key(&self) -> AuditPublicKey {
        self.key.public()
    }

    /// Reads a state.
    ///
    /// # Errors
    /// - [`AuditError::Store`] where it cannot be read.
    pub fn read<S: Stored>(&self) -> Result<S, AuditError> {
        Ok(self.store.read()?)
    }

    /// The digest by which the log refers to a state.
    ///
    /// # Errors
    /// - [`AuditError::Store`] where it cannot be encoded.
    pub fn state_digest<S: Audited>(&self, state: &S) -> Result<Digest, AuditError> {
        let bytes = stored::encode(state)?;
        Ok(blob_digest(self.chain, BlobKind::State(S::NAME), &bytes))
    }

    /// Writes the lease of an orderly stop.
    ///
    /// # Errors
    /// - [`AuditError::Store`] where it cannot be written.
    pub fn keep_lease(&self, lease: &Lease) -> Result<(), AuditError> {
        Ok(self.store.keep(lease)?)
    }

    /// Writes the clock's state. It decides nothing by itself: an older one only makes windows last longer.
    ///
    /// # Errors
    /// - [`AuditError::Store`] where it cannot be written.
    pub fn keep_clock(&self, clock: &ClockState) -> Result<(), AuditError> {
        Ok(self.store.keep(clock)?)
    }

    /// Judges and records in one exclusive transaction: `judge` sees the state as it is on disk, and what it decides is
    /// written with its entry before this returns.
    ///
    /// # Errors
    /// - [`AuditError`] where state or log cannot be read or written; nothing may be signed then. The inner result is
    ///   `judge`'s.
    pub fn decide<S: Audited, I: Intent>(
        &self,
        question: &Question<'_>,
        judge: impl FnOnce(&Durable<S>) -> Result<Decision<S, I>, Refusal>,
    ) -> Result<Result<Recorded<I>, Refusal>, AuditError> {
        let evidence = blob_digest(self.chain, BlobKind::Request, question.body);
        let transaction = self.store.begin()?;
        let (bytes, state) = stored::load::<S>(&transaction)?;
        let state_digest = |bytes: &[u8]| blob_digest(self.chain, BlobKind::State(S::NAME), bytes);
        let before = state_digest(&bytes);
        let mut draft = Draft {
            question,
            evidence,
            state: S::NAME,
            before,
            after: before,
        };
        let decision = match judge(&Durable::trust_loaded(state)) {
            Ok(decision) => decision,
            Err(refusal) => {
                let verdict = Verdict::from(refusal.clone());
                self.refused(transaction, question, verdict, |transaction, verdict| {
                    self.append(transaction, &draft, verdict)
                })?;
                return Ok(Err(refusal));
            }
        };
        let intent = decision.intent_digest();
        let Some(next) = decision.next() else {
            let verdict = Verdict::Repeated { intent };
            if self.memory().counts(question, evidence, &verdict) {
                transaction.abort()?;
            } else {
                // The same intent in other bytes, or one that this process has not seen: durable before it is signed again.
                let sequence = self.append(&transaction, &draft, &verdict)?;
                transaction.commit()?;
                self.memory()
                    .remember(question, evidence, sequence, verdict);
            }
            let (_, persisted) = decision.persist(|_| Ok::<(), AuditError>(()))?;
            return Ok(Ok(Recorded {
                intent: persisted,
                new: false,
            }));
        };
        let next = stored::encode(next)?;
        draft.after = state_digest(&next);
        let verdict = Verdict::Signed { intent };
        let sequence = self.append(&transaction, &draft, &verdict)?;
        let (_, persisted) = decision.persist(|_next| {
            stored::write_bytes(&transaction, S::KEY, &next)?;
            if let Some(lease) = &question.lease {
                stored::write_bytes(&transaction, Lease::KEY, &stored::encode(lease)?)?;
            }
            transaction.commit().map_err(AuditError::from)
        })?;
        self.memory()
            .remember(question, evidence, sequence, verdict);
        Ok(Ok(Recorded {
            intent: persisted,
            new: true,
        }))
    }

    /// Writes a refusal's entry, unless it is counted as a repeat or the disk is nearly full. Durable with the next tick.
    fn refused(
        &self,
        mut transaction: WriteTransaction,
        question: &Question<'_>,
        verdict: Verdict,
        append: impl FnOnce(&WriteTransaction, &Verdict) -> Result<Sequence, AuditError>,
    ) -> Result<(), AuditError> {
        let evidence = blob_digest(self.chain, BlobKind::Request, question.body);
        if self.memory().counts(question, evidence, &verdict) {
            return Ok(transaction.abort()?);
        }
        if self.is_nearly_full() {
            self.memory().leave_out();
            return Ok(transaction.abort()?);
        }
        let sequence = append(&transaction, &verdict)?;
        transaction.set_durability(Durability::None)?;
        transaction.commit()?;
        let mut memory = self.memory();
        memory.remember(question, evidence, sequence, verdict);
        memory.must_flush();
        Ok(())
    }

    /// Counts a request that was turned away unjudged.
    pub fn turned_away(&self, role: Role, certificate: Fingerprint, reason: TurnedAwayFor) {
        self.memory().turned_away(role, certificate, reason);
    }

    /// What is to be done from time to time, about once a second: makes refusals durable, writes counts and checkpoints,
    /// moves complete segments to files, removes old evidence. Holds up decisions for one commit at most.
    ///
    /// # Errors
    /// - [`AuditError`] where state, log or folder cannot be read or written.
    pub fn tick(&self, now: UnixMillis) -> Result<(), AuditError> {
        // Each for itself: where files cannot be written, old ones must go all the more.
        let written = self.write_what_is_due(now, false);
        let pruned = self.folder.prune(&self.limits);
        written.and(pruned).and(self.move_segments())
    }

    /// The orderly end: everything is durable and under a checkpoint.
    ///
    /// # Errors
    /// - [`AuditError`] where the log cannot be written.
    pub fn close(&self, now: UnixMillis) -> Result<(), AuditError> {
        self.write_what_is_due(now, true)
    }

    fn write_what_is_due(&self, now: UnixMillis, all: bool) -> Result<(), AuditError> {
        let transaction = self.store.begin()?;
        let mut journal = Journal::open(&transaction, self.chain)?;
        let mut flush = self.memory().take_flush();
        let seconds = if all { 0 } else { self.limits.count_seconds };
        if let Some(counted) = self.memory().take_counted(now, seconds) {
            journal.append(now, Event::Counted(counted))?;
            flush = true;
        }
        let head = journal.head();
        let entries = head.next.get().saturating_sub(head.segment.get());
        let full = entries >= self.limits.segment_entries
            || head.kept_bytes.max(head.refused_bytes) >= mib(self.limits.segment_mib);
        // Its first entries alone, which repeat what is known, fill no segment.
        let rotate = full && entries > 2;
        let new = head.next.get().saturating_sub(head.checkpointed.get());
        let seconds = self.limits.checkpoint_seconds;
        let due =
            new >= self.limits.checkpoint_entries || self.memory().checkpoint_is_due(now, seconds);
        if new > 0 && (all || due || rotate) {
            let checkpoint = self.key.checkpoint(self.chain, head.next, head.hash, now);
            journal.checkpoint(&transaction, &checkpoint)?;
            self.memory().checkpointed(now);
            flush = true;
        }
        if rotate {
            journal.rotate(&transaction)?;
            self.stand(&mut journal, &transaction, Cause::Continued, now)?;
            self.approve(&mut journal, &transaction, None, now)?;
            flush = true;
        }
        journal.close()?;
        if flush {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(())
    }

    fn move_segments(&self) -> Result<(), AuditError> {
        let reader = Reader::new(self.store.begin_read()?);
        for (first, end) in reader.complete()? {
            self.folder.write(self.chain, &reader, first, end)?;
            let transaction = self.store.begin()?;
            journal::remove(&transaction, first, end)?;
            transaction.commit()?;
            tracing::info!(
                first = first.get(),
                end = end.get(),
                "a segment of the audit log is complete"
            );
        }
        Ok(())
    }

    /// Records the officers' approval of the policy, and takes it over where it is a new one.
    fn approve(
        &self,
        journal: &mut Journal<'_>,
        transaction: &WriteTransaction,
        new: Option<&Approval>,
        now: UnixMillis,
    ) -> Result<(), AuditError> {
        let (before, state) = stored::load::<AdminState>(transaction)?;
        let mut after = before.clone();
        if let Some(approval) = new {
            let decision = approval.judge(self.chain, &Durable::trust_loaded(state));
            if let Some(next) = decision.map_err(AuditError::Policy)?.next() {
                after = stored::encode(next)?;
                stored::write_bytes(transaction, AdminState::KEY, &after)?;
            }
        }
        let digest = |bytes: &[u8]| {
            let kind = BlobKind::State(StateName::Admin);
            blob_digest(self.chain, kind, bytes)
        };
        let [_, _, (officers, _), (policy, _)] = self.provisioning;
        let approved = Approved {
            officers,
            policy,
            before: digest(&before),
            after: digest(&after),
        };
        journal.append(now, Event::Approved(approved))?;
        Ok(())
    }

    /// Records who the signer is and its states.
    fn stand(
        &self,
        journal: &mut Journal<'_>,
        transaction: &WriteTransaction,
        cause: Cause,
        now: UnixMillis,
    ) -> Result<(), AuditError> {
        let mut standing = self.standing.clone();
        standing.cause = cause;
        for (digest, blob) in &self.provisioning {
            journal.store(Class::Kept, *digest, blob.clone())?;
        }
        for name in StateName::ALL.iter().copied() {
            let kind = BlobKind::State(name);
            let bytes = stored::load_bytes(transaction, name.name())?;
            let digest = blob_digest(self.chain, kind, &bytes);
            journal.store(Class::Kept, digest, Blob { kind, bytes })?;
            standing.states.push(NamedState { name, digest });
        }
        journal.append(now, Event::Standing(Box::new(standing)))?;
        Ok(())
    }

    fn append(
        &self,
        transaction: &WriteTransaction,
        draft: &Draft<'_>,
        verdict: &Verdict,
    ) -> Result<Sequence, AuditError> {
        let question = draft.question;
        let mut journal = Journal::open(transaction, self.chain)?;
        let class = Class::of(verdict);
        if self.has_room(&journal, class) {
            let blob = Blob {
                kind: BlobKind::Request,
                bytes: question.body.to_vec(),
            };
            journal.store(class, draft.evidence, blob)?;
        }
        let decided = Decided {
            role: question.role,
            certificate: question.certificate.0,
            operation: question.operation,
            request: question.request,
            evidence: draft.evidence,
            inputs: question.inputs.clone(),
            spec: self.spec,
            policy: self.policy,
            state: draft.state,
            before: draft.before,
            after: draft.after,
            verdict: verdict.clone(),
        };
        let sequence = journal.append(question.time, Event::Decided(Box::new(decided)))?;
        journal.close()?;
        Ok(sequence)
    }

    /// Whether evidence may be stored: what was refused only up to a segment's size, and nothing where the rest of the disk
    /// is for states and entries.
    fn has_room(&self, journal: &Journal<'_>, class: Class) -> bool {
        let within = match class {
            Class::Kept => true,
            Class::Refused => journal.head().refused_bytes < mib(self.limits.segment_mib),
        };
        within && !self.is_nearly_full()
    }

    /// Where the file system does not say, writing will.
    fn is_nearly_full(&self) -> bool {
        self.folder
            .free_bytes()
            .is_ok_and(|free| free < mib(self.limits.reserved_mib))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Consistent after every statement, so a panic elsewhere changes nothing.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed_policy(chain: ChainId, approval: &Approval) -> Result<(Digest, Blob), AuditError> {
    let bytes = postcard::to_allocvec(&approval.signed)
        .map_err(|error| AuditError::Provisioning(error.to_string()))?;
    let kind = BlobKind::SignedPolicy;
    let blob = Blob { kind, bytes };
    Ok((blob.digest(chain), blob))
}

/// An entry without its verdict.
struct Draft<'a> {
    question: &'a Question<'a>,
    evidence: Digest,
    state: StateName,
    before: Digest,
    after: Digest,
}
