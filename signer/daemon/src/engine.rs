//! Decides one request at a time: judge, persist, sign, release.

use crate::audit::entry::Randomness;
use crate::audit::recorder::{Audited, Recorded, TurnedAwayFor};
use crate::audit::{AuditError, Question, Recorder, UnixMillis};
use crate::authority::Operation;
use crate::circumstances::{self, Circumstances, LeaseError, unix_time};
use crate::keys::{Keys, SignError};
use crate::limits::Fingerprint;
use crate::metrics::{Decisions, Standing};
use crate::policy_file::TrustedOfficers;
use crate::statement;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::Digest;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{
    Challenge, PROTOCOL_VERSION, ProtocolError, Refusal, Reply, Request, SignedStatement,
    SignerStatus,
};
use alys_protocol::units::Slot;
use alys_signer_client::Role;
use alys_signer_core::admin::statement::Act;
use alys_signer_core::persist::Intent;
use alys_signer_core::state::{AdminState, PegOutState, VoteState};
use alys_signer_core::{Decision, Durable, Persisted, Signer};
use bitcoin::hashes::Hash as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Program and version.
pub(crate) const SOFTWARE: &str = concat!("alys-signer ", env!("CARGO_PKG_VERSION"));

/// The signer with its keys, its state and its log. Shared by connections; redb lets one decision in at a time.
#[derive(Debug)]
pub struct Engine {
    signer: Signer,
    keys: Keys,
    recorder: Recorder,
    circumstances: Mutex<Circumstances>,
    officers: TrustedOfficers,
    locked_memory: bool,
    decisions: Decisions,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// Role of the certificate.
    pub role: Role,
    /// The certificate.
    pub certificate: Fingerprint,
}

/// Why a request got no signature.
enum No {
    Refused(Refusal),
    Error(ProtocolError),
}

impl From<AuditError> for No {
    fn from(error: AuditError) -> Self {
        tracing::error!(%error, "the state failed; nothing was signed");
        Self::Error(ProtocolError::Internal(error.to_string()))
    }
}

impl From<SignError> for No {
    fn from(error: SignError) -> Self {
        tracing::error!(%error, "recorded, but not signed; nothing was released");
        Self::Error(ProtocolError::Internal(format!(
            "{error}; nothing was released, and the same request, byte for byte, may ask again"
        )))
    }
}

impl Engine {
    /// Puts the parts together.
    pub fn new(
        signer: Signer,
        keys: Keys,
        recorder: Recorder,
        circumstances: Circumstances,
        officers: TrustedOfficers,
        locked_memory: bool,
    ) -> Self {
        Self {
            signer,
            keys,
            recorder,
            circumstances: Mutex::new(circumstances),
            officers,
            locked_memory,
            decisions: Decisions::default(),
        }
    }

    /// Answers a request that its sender may make; `body` is what it was read from. Blocks on pairings and on the disk.
    pub fn handle(&self, asker: Asker, body: &[u8], request: &Request) -> Reply {
        let operation = Operation::of(request).name();
        let role = asker.role;
        let subject = subject(request);
        match self.answer(asker, body, request) {
            Ok(reply) => {
                self.decisions.count(operation, "yes");
                tracing::info!(%role, operation, subject, decision = "yes");
                reply
            }
            Err(No::Refused(refusal)) => {
                self.decisions.count(operation, refusal.rule.id());
                tracing::warn!(%role, operation, subject, decision = "no", rule = %refusal.rule,
                    expected = refusal.expected, found = refusal.found);
                Reply::Refused(refusal)
            }
            Err(No::Error(error)) => {
                self.decisions.count(operation, "error");
                tracing::warn!(%role, operation, subject, decision = "error", ?error);
                Reply::Error(error)
            }
        }
    }

    fn answer(&self, asker: Asker, body: &[u8], request: &Request) -> Result<Reply, No> {
        let time = unix_now();
        // Held until the answer is recorded: what the log says of a decision's circumstances is in the log's order.
        let mut now = self.now();
        let slot = self.slot(time)?;
        let mut question = Question {
            role: asker.role,
            certificate: asker.certificate,
            operation: Operation::of(request),
            request: subject_digest(request).unwrap_or(Digest::ZERO),
            body,
            inputs: now.inputs(slot),
            lease: None,
            time,
        };
        match request {
            Request::Status => self
                .status(&now)
                .map(|status| Reply::Status(Box::new(status))),
            Request::SignProposal(header) => {
                question.lease = now.lease_for(header.slot)?;
                let context = now.context(&question.inputs, time);
                let recorded = self.decide(&question, |state| {
                    self.signer.sign_proposal(state, &context, header)
                })?;
                let intent = released(&mut now, &question, recorded)?;
                let signature = self.keys.sign_bls(intent)?;
                Ok(Reply::Signature(signature))
            }
            Request::Approve(approve) => {
                question.lease = now.lease_for(approve.header.slot)?;
                let context = now.context(&question.inputs, time);
                let recorded = self.decide(&question, |state| {
                    self.signer.approve(state, &context, approve)
                })?;
                let intent = released(&mut now, &question, recorded)?;
                let signature = self.keys.sign_bls(intent)?;
                Ok(Reply::Signature(signature))
            }
            Request::SignPegOut(pegout) => {
                let randomness = randomness()?;
                question.inputs.randomness = Some(Randomness(randomness));
                question.lease = now.lease_for_peg_out(slot)?;
                let context = now.context(&question.inputs, time);
                let recorded = self.decide(&question, |state| {
                    self.signer
                        .sign_peg_out(state, &context, randomness, pegout)
                })?;
                let intent = released(&mut now, &question, recorded)?;
                BoundedVec::new(self.keys.sign_schnorr(intent)?)
                    .map(Reply::Shares)
                    .map_err(|error| internal(error.to_string()))
            }
            Request::BitcoinHeaders(headers) => {
                let recorded = self.decide(&question, |state| {
                    let clock = Some(unix_time(time));
                    self.signer.bitcoin_headers(state, clock, headers)
                })?;
                if recorded.new {
                    now.take_over_bitcoin(&self.recorder)?;
                }
                let standing = self.signer.bitcoin_standing(now.bitcoin());
                Ok(Reply::Bitcoin(standing))
            }
            Request::Challenge => {
                let admin: AdminState = self.recorder.read()?;
                Ok(Reply::Challenge(Box::new(Challenge {
                    chain_id: self.signer.chain().id(),
                    member: self.signer.member(),
                    nonce: now.challenge()?,
                    slot,
                    horizon_slots: self.signer.policy().slot_horizon_slots,
                    last_statement: admin.statement,
                })))
            }
            Request::Statement(signed) => self.obey(&mut now, &question, signed),
        }
    }

    /// What officers say.
    fn obey(
        &self,
        now: &mut Circumstances,
        question: &Question<'_>,
        signed: &SignedStatement,
    ) -> Result<Reply, No> {
        let said = statement::parse(&signed.text).map_err(No::Error)?;
        let vouches = matches!(said.act, Act::Fresh(_));
        if vouches && now.counter_is_lost() {
            return Err(internal(format!(
                "the outside counter cannot be read: {}",
                now.counter_description()
            )));
        }
        let challenge = now.open_challenge();
        let moment = statement::moment(&self.signer, &question.inputs, challenge);
        let lease = (&question.inputs.freshness, circumstances::tag()?);
        let lease = self.recorder.obey(question, challenge, |states| {
            statement::judge(states, &moment, &self.officers, &said, signed, lease)
        })?;
        let lease = lease.map_err(No::Refused)?;
        now.take_over(&self.recorder)?;
        if let Some(lease) = lease {
            now.vouched(lease)?;
        }
        tracing::warn!(act = ?said.act, number = %said.number, "officers' statement is in force");
        Ok(Reply::Stated(said.number))
    }

    fn now(&self) -> MutexGuard<'_, Circumstances> {
        // Whoever panicked left nothing half done: each change is one assignment after its record.
        self.circumstances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn decide<S: Audited, I: Intent>(
        &self,
        question: &Question<'_>,
        judge: impl FnOnce(&Durable<S>) -> Result<Decision<S, I>, Refusal>,
    ) -> Result<Recorded<I>, No> {
        self.recorder.decide(question, judge)?.map_err(No::Refused)
    }

    /// Counts a request that was turned away unjudged.
    pub fn turned_away(&self, asker: Asker, reason: TurnedAwayFor) {
        let outcome = match reason {
            TurnedAwayFor::TooMany => Rule::Rate.id(),
            TurnedAwayFor::Forbidden => "forbidden",
            TurnedAwayFor::Malformed => "malformed",
        };
        self.decisions.count("any", outcome);
        self.recorder
            .turned_away(asker.role, asker.certificate, reason);
    }

    /// How it stands, for a monitor. Waits for a decision under way.
    pub fn standing(&self) -> Standing {
        let now = self.now();
        let freshness = now.freshness();
        Standing {
            backend: self.keys.backend().kind(),
            silent: now.silent().is_err(),
            counter: freshness.outside,
            lease: freshness.lease,
        }
    }

    /// What it decided since its start.
    pub const fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// What the log needs about once a second. Blocks on the disk.
    pub fn tick(&self) {
        if let Err(error) = self.now().tick(&self.recorder) {
            tracing::error!(%error, "the window clock cannot be kept");
        }
        if let Err(error) = self.recorder.tick(unix_now()) {
            tracing::error!(%error, "the audit log cannot be kept");
        }
    }

    /// The orderly end, after the last request. Blocks on the disk.
    pub fn close(&self) {
        match self.recorder.read::<VoteState>() {
            Ok(vote) => {
                // A proposal's slot may be above the last vote's.
                let proposed = vote.proposed.map(|proposed| proposed.slot);
                let last = vote.last_slot.max(proposed.unwrap_or_default());
                self.now().close(&self.recorder, last);
            }
            Err(error) => tracing::error!(%error, "the state cannot be read"),
        }
        if let Err(error) = self.recorder.close(unix_now()) {
            tracing::error!(%error, "the audit log ends without a checkpoint");
        }
    }

    /// The slot of the machine's clock.
    fn slot(&self, now: UnixMillis) -> Result<Slot, No> {
        let duration = self.signer.chain().spec().slots.duration_ms;
        Slot::at(now.get(), duration).ok_or_else(|| internal("the clock shows no slot".to_owned()))
    }

    fn status(&self, now: &Circumstances) -> Result<SignerStatus, No> {
        let vote: VoteState = self.recorder.read()?;
        let pegout: PegOutState = self.recorder.read()?;
        let admin: AdminState = self.recorder.read()?;
        let chain = self.signer.chain();
        let card = self.keys.card();
        Ok(SignerStatus {
            software: SOFTWARE.to_owned(),
            protocol: PROTOCOL_VERSION,
            chain_id: chain.id(),
            epoch: chain.spec().epoch,
            spec: chain.digest(),
            member: self.signer.member(),
            bls: card.bls,
            schnorr: card.schnorr,
            backend: self.keys.backend().describe(self.locked_memory),
            last_slot: vote.last_slot,
            lock: vote.lock,
            next_burn: pegout.next_burn,
            bitcoin: self.signer.bitcoin_standing(now.bitcoin()),
            counter: now.counter_description(),
            silent: now.silent().err(),
            paused: pegout.paused,
            last_statement: admin.statement,
            skips: BoundedVec::new(now.skips().to_vec())
                .map_err(|error| internal(error.to_string()))?,
        })
    }
}

/// What a recorded yes releases, once the outside counter has advanced to its lease.
fn released<I>(
    now: &mut Circumstances,
    question: &Question<'_>,
    recorded: Recorded<I>,
) -> Result<Persisted<I>, No> {
    if let (true, Some(lease)) = (recorded.new, question.lease) {
        now.take(lease)?;
    }
    Ok(recorded.intent)
}

impl From<LeaseError> for No {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Refused(refusal) => Self::Refused(refusal),
            LeaseError::Entropy(_) => internal(error.to_string()),
        }
    }
}

fn internal(reason: String) -> No {
    No::Error(ProtocolError::Internal(reason))
}

/// The machine's clock; before 1970 it shows 0.
pub(crate) fn unix_now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn randomness() -> Result<[u8; 32], No> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| internal(format!("the operating system gives no entropy: {error}")))?;
    Ok(bytes)
}

/// Names what a request is about: the block, the batch, or the last header's hash in Bitcoin's byte order; none where no decision is made about it.
pub(crate) fn subject_digest(request: &Request) -> Option<Digest> {
    let bytes = match request {
        Request::SignProposal(header) => header.id().to_bytes(),
        Request::Approve(approve) => approve.header.id().to_bytes(),
        Request::SignPegOut(pegout) => {
            let chain = pegout.recording.chain_id;
            pegout.record.id(chain).to_bytes()
        }
        Request::BitcoinHeaders(headers) => {
            let last = headers.last()?;
            bitcoin::hashes::sha256d::Hash::hash(last.as_bytes()).to_byte_array()
        }
        Request::Status | Request::Challenge | Request::Statement(_) => return None,
    };
    Some(Digest::new(bytes))
}

/// What a request is about, in words.
pub(crate) fn subject(request: &Request) -> String {
    let header = |header: &alys_protocol::header::Header| {
        format!(
            "block {} height {} slot {}",
            header.id(),
            header.height,
            header.slot
        )
    };
    match request {
        Request::Status | Request::Challenge => Operation::of(request).name().to_owned(),
        // The log must not print what a stranger wrote.
        Request::Statement(signed) => format!("{} bytes", signed.text.len()),
        Request::SignProposal(proposal) => header(proposal),
        Request::Approve(approve) => header(&approve.header),
        Request::SignPegOut(pegout) => format!(
            "batch {} of burns {} to before {}",
            pegout.record.id(pegout.recording.chain_id),
            pegout.record.first_burn,
            pegout.record.next_burn
        ),
        Request::BitcoinHeaders(headers) => format!("{} headers", headers.len()),
    }
}
