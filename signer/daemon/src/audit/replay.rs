//! Asks the core again: from the states that a log begins with, every decision must come out as it is recorded.

mod officers;

use super::archive::Archive;
use super::entry::{
    BlobKind, Decided, Entry, Event, Sequence, Standing, StateName, UnixMillis, Verdict,
    blob_digest,
};
use super::named::Named as _;
use super::recorder::Audited;
use super::verify::Break;
use crate::authority::Operation;
use crate::circumstances::unix_time;
use crate::engine::{SOFTWARE, subject_digest};
use crate::server;
use crate::store::audited as stored;
use alys_protocol::bytes::Digest;
use alys_protocol::signer::{Refusal, Request};
use alys_protocol::spec::{Chain, ChainSpec};
use alys_protocol::units::{BurnSequence, ChainId};
use alys_signer_core::btc::HeaderChain;
use alys_signer_core::persist::Intent;
use alys_signer_core::signer::Context;
use alys_signer_core::state::{AdminState, PegOutState, VoteState};
use alys_signer_core::{Decision, Durable, Policy, Signer};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// A log that came out the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Decisions that the core took again, with the same result in every part.
    pub identical: u64,
    /// Starts and segments whose policy officers had signed as the log says.
    pub approvals: u64,
    /// Decisions whose evidence is not here.
    pub without_evidence: u64,
    /// Starts and segments whose policy's signatures are not here, or the state that remembers it.
    pub without_approval: u64,
    /// Decisions on a state that is not known: a signature before them is without evidence, or the log's beginning is.
    pub without_state: u64,
    /// Versions that decided, other than this one: where rules changed since, a difference need not be a fault.
    pub other_software: BTreeSet<String>,
}

impl Replayed {
    /// Whether nothing was left out.
    pub const fn is_complete(&self) -> bool {
        self.without_evidence == 0 && self.without_approval == 0 && self.without_state == 0
    }
}

/// Why a log is not what the core decides.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The log itself is broken: see `audit verify`.
    #[error(transparent)]
    Broken(#[from] Break),
    /// A decision comes out otherwise.
    #[error("entry {sequence}, {operation}: {what}: recorded {recorded}, replayed {replayed}")]
    Difference {
        /// The entry.
        sequence: Sequence,
        /// The operation.
        operation: &'static str,
        /// What differs.
        what: &'static str,
        /// What the entry says.
        recorded: String,
        /// What the core says.
        replayed: String,
    },
    /// Spec, policy, state or request cannot be used.
    #[error("entry {sequence}: {what}: {reason}")]
    Unusable {
        /// The entry.
        sequence: Sequence,
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

/// A decision that another policy would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The entry.
    pub entry: Sequence,
    /// What was asked.
    pub operation: &'static str,
    /// What was decided.
    pub decided: Verdict,
    /// What the other policy makes of it, on the same state.
    pub proposed: Verdict,
}

/// Replays a log that [`super::verify::verify`] found whole.
///
/// # Errors
/// - [`ReplayError`] for the first difference, or what cannot be read.
pub fn replay(archive: &Archive) -> Result<Replayed, ReplayError> {
    let mut player = Player::new(archive, None)?;
    player.run()?;
    Ok(player.replayed)
}

/// Replays a log and judges each request under `policy` as well, on the states as they really were.
///
/// # Errors
/// - [`ReplayError`] where the log does not replay by itself, or the policy does not suit its chain.
pub fn simulate(
    archive: &Archive,
    policy: &Policy,
) -> Result<(Replayed, Vec<Change>), ReplayError> {
    let mut player = Player::new(archive, Some(policy))?;
    player.run()?;
    Ok((player.replayed, player.changes))
}

struct Player<'a> {
    archive: &'a Archive,
    chain: ChainId,
    signer: Option<Signer>,
    /// The policy to try.
    policy: Option<&'a Policy>,
    /// The signer that has it.
    other: Option<Signer>,
    changes: Vec<Change>,
    /// States as they are stored.
    states: BTreeMap<StateName, Vec<u8>>,
    /// That of Bitcoin's headers, decoded, and its digest.
    bitcoin: HeaderChain,
    bitcoin_digest: Digest,
    /// What officers agreed to skip, of the admin state.
    skips: Vec<BurnSequence>,
    replayed: Replayed,
}

impl<'a> Player<'a> {
    fn new(archive: &'a Archive, policy: Option<&'a Policy>) -> Result<Self, ReplayError> {
        Ok(Self {
            archive,
            chain: archive.chain().ok_or(Break::Empty)?,
            signer: None,
            policy,
            other: None,
            changes: Vec::new(),
            states: BTreeMap::new(),
            bitcoin: HeaderChain::default(),
            bitcoin_digest: Digest::ZERO,
            skips: Vec::new(),
            replayed: Replayed::default(),
        })
    }

    fn run(&mut self) -> Result<(), ReplayError> {
        let (mut sequence, end) = self.archive.range();
        while sequence < end {
            let bytes = self.archive.entry(sequence).map_err(Break::from)?;
            let bytes = bytes.ok_or(Break::Missing(sequence))?;
            let entry =
                Entry::decode(&bytes).map_err(|error| unusable(sequence, "entry", error))?;
            match &entry.event {
                Event::Standing(standing) => self.standing(sequence, standing)?,
                Event::Decided(decided) => self.decided((sequence, entry.time), decided)?,
                Event::Stated(stated) => self.stated(sequence, stated)?,
                Event::Approved(approved) => self.approved(sequence, approved)?,
                Event::Raised(raised) => self.raised(sequence, raised)?,
                Event::Counted(_) => {}
            }
            sequence = sequence.next();
        }
        Ok(())
    }

    /// Provisions the signer as it was, and takes the states that are not known otherwise.
    fn standing(&mut self, sequence: Sequence, standing: &Standing) -> Result<(), ReplayError> {
        if standing.software != SOFTWARE {
            let other = standing.software.clone();
            self.replayed.other_software.insert(other);
        }
        for state in &standing.states {
            let kind = BlobKind::State(state.name);
            let known = self.states.get(&state.name);
            let known = known.map(|bytes| blob_digest(self.chain, kind, bytes));
            match known {
                Some(known) if known == state.digest => {}
                Some(known) => {
                    return Err(ReplayError::Difference {
                        sequence,
                        operation: "standing",
                        what: state.name.name(),
                        recorded: state.digest.to_string(),
                        replayed: known.to_string(),
                    });
                }
                None => {
                    if let Some(bytes) = self.blob(sequence, kind, state.digest)? {
                        self.states.insert(state.name, bytes);
                    }
                }
            }
        }
        self.read_bitcoin(sequence)?;
        self.read_skips(sequence)?;
        let spec = self.blob(sequence, BlobKind::Spec, standing.spec_text)?;
        let policy = self.blob(sequence, BlobKind::Policy, standing.policy)?;
        let (Some(spec), Some(policy)) = (spec, policy) else {
            // Removed with the segment's evidence.
            self.signer = None;
            return Ok(());
        };
        let spec: ChainSpec = parse(sequence, "chain spec", &spec)?;
        let chain = Chain::new(spec).map_err(|error| unusable(sequence, "chain spec", error))?;
        same(
            sequence,
            "chain spec",
            "digest",
            &standing.spec,
            &chain.digest(),
        )?;
        let provisioned = |policy| {
            Signer::new(chain.clone(), policy, &standing.bls, &standing.schnorr)
                .map_err(|error| unusable(sequence, "signer", error))
        };
        let signer = provisioned(parse(sequence, "policy", &policy)?)?;
        self.other = self.policy.cloned().map(&provisioned).transpose()?;
        same(
            sequence,
            "signer",
            "member",
            &standing.member,
            &signer.member(),
        )?;
        self.signer = Some(signer);
        Ok(())
    }

    fn decided(
        &mut self,
        (sequence, time): (Sequence, UnixMillis),
        decided: &Decided,
    ) -> Result<(), ReplayError> {
        let body = self.blob(sequence, BlobKind::Request, decided.evidence)?;
        let Some(state) = self.states.get(&decided.state).cloned() else {
            self.replayed.without_state = self.replayed.without_state.saturating_add(1);
            return Ok(());
        };
        let (Some(body), Some(signer)) = (body, self.signer.clone()) else {
            self.replayed.without_evidence = self.replayed.without_evidence.saturating_add(1);
            self.forget_if_signed(decided);
            return Ok(());
        };
        let request = server::parse(&body)
            .map_err(|error| unusable(sequence, "request", format!("{error:?}")))?;
        let operation = Operation::of(&request);
        let name = decided.operation.name();
        same(sequence, name, "operation", &name, &operation.name())?;
        let recorded = subject_digest(&request).unwrap_or(Digest::ZERO);
        same(sequence, name, "request", &decided.request, &recorded)?;
        // Where the headers are not in the archive, neither is what they would decide.
        if !self.states.contains_key(&StateName::Bitcoin) {
            self.replayed.without_state = self.replayed.without_state.saturating_add(1);
            self.forget_if_signed(decided);
            return Ok(());
        }
        same(
            sequence,
            name,
            "Bitcoin headers",
            &decided.inputs.bitcoin,
            &self.bitcoin_digest,
        )?;
        let at = (sequence, time);
        let again = self.ask(&signer, at, decided, &request, &state)?;
        if let Some(other) = &self.other {
            let proposed = self.ask(other, at, decided, &request, &state)?.verdict;
            if proposed != decided.verdict {
                self.changes.push(Change {
                    entry: sequence,
                    operation: name,
                    decided: decided.verdict.clone(),
                    proposed,
                });
            }
        }
        same(
            sequence,
            name,
            "state",
            &decided.state.name(),
            &again.name.name(),
        )?;
        let digest = |bytes: &[u8]| blob_digest(self.chain, BlobKind::State(decided.state), bytes);
        same(
            sequence,
            name,
            "state before",
            &decided.before,
            &digest(&state),
        )?;
        let shown = |verdict: &Verdict| format!("{verdict:?}");
        same(
            sequence,
            name,
            "decision",
            &shown(&decided.verdict),
            &shown(&again.verdict),
        )?;
        let changed = again.after.is_some();
        let after = again.after.unwrap_or(state);
        same(
            sequence,
            name,
            "state after",
            &decided.after,
            &digest(&after),
        )?;
        self.states.insert(decided.state, after);
        if changed && decided.state == StateName::Bitcoin {
            self.read_bitcoin(sequence)?;
        }
        self.replayed.identical = self.replayed.identical.saturating_add(1);
        Ok(())
    }

    /// A state that changed in a way that the archive does not show.
    fn forget_if_signed(&mut self, decided: &Decided) {
        if let Verdict::Signed { .. } = decided.verdict {
            self.states.remove(&decided.state);
        }
    }

    fn ask(
        &self,
        signer: &Signer,
        (sequence, time): (Sequence, UnixMillis),
        decided: &Decided,
        request: &Request,
        state: &[u8],
    ) -> Result<Again, ReplayError> {
        let inputs = &decided.inputs;
        let context = Context {
            slot: inputs.slot,
            time: unix_time(time),
            window: inputs.window,
            bitcoin: &self.bitcoin,
            freshness: inputs.freshness,
            skips: &self.skips,
        };
        match request {
            Request::SignProposal(header) => judge::<VoteState, _>(sequence, state, |state| {
                signer.sign_proposal(state, &context, header)
            }),
            Request::Approve(approve) => judge::<VoteState, _>(sequence, state, |state| {
                signer.approve(state, &context, approve)
            }),
            Request::SignPegOut(pegout) => {
                let randomness = inputs
                    .randomness
                    .ok_or_else(|| unusable(sequence, "inputs", "a peg-out without randomness"))?;
                judge::<PegOutState, _>(sequence, state, |state| {
                    signer.sign_peg_out(state, &context, randomness.0, pegout)
                })
            }
            Request::BitcoinHeaders(headers) => judge::<HeaderChain, _>(sequence, state, |state| {
                signer.bitcoin_headers(state, Some(context.time), headers)
            }),
            Request::Status | Request::Challenge | Request::Statement(_) => {
                Err(unusable(sequence, "request", "nothing is signed about it"))
            }
        }
    }

    /// Decodes the chain of Bitcoin headers that the decisions from here on rest on.
    fn read_bitcoin(&mut self, sequence: Sequence) -> Result<(), ReplayError> {
        let Some(bytes) = self.states.get(&StateName::Bitcoin) else {
            return Ok(());
        };
        let kind = BlobKind::State(StateName::Bitcoin);
        self.bitcoin_digest = blob_digest(self.chain, kind, bytes);
        self.bitcoin =
            stored::decode_bytes(bytes).map_err(|error| unusable(sequence, "state", error))?;
        Ok(())
    }

    /// Decodes what officers agreed to skip; a log from before there was such a thing has none.
    fn read_skips(&mut self, sequence: Sequence) -> Result<(), ReplayError> {
        if let Some(bytes) = self.states.get(&StateName::Admin) {
            let admin: AdminState =
                stored::decode_bytes(bytes).map_err(|error| unusable(sequence, "state", error))?;
            self.skips = admin.skips;
        }
        Ok(())
    }

    /// A blob of the kind that belongs there; none where it is not in the archive.
    fn blob(
        &self,
        sequence: Sequence,
        kind: BlobKind,
        digest: Digest,
    ) -> Result<Option<Vec<u8>>, ReplayError> {
        match self.archive.blob(digest).map_err(Break::from)? {
            Some(blob) if blob.kind == kind => Ok(Some(blob.bytes)),
            Some(blob) => Err(unusable(
                sequence,
                kind.name(),
                format!("found a {} under its digest", blob.kind.name()),
            )),
            None => Ok(None),
        }
    }
}

fn judge<S: Audited, I: Intent>(
    sequence: Sequence,
    state: &[u8],
    judge: impl FnOnce(&Durable<S>) -> Result<Decision<S, I>, Refusal>,
) -> Result<Again, ReplayError> {
    let state: S =
        stored::decode_bytes(state).map_err(|error| unusable(sequence, "state", error))?;
    let (verdict, after) = match judge(&Durable::trust_loaded(state)) {
        Err(refusal) => (Verdict::from(refusal), None),
        Ok(decision) => {
            let intent = decision.intent_digest();
            match decision.next() {
                None => (Verdict::Repeated { intent }, None),
                Some(next) => {
                    let bytes =
                        stored::encode(next).map_err(|error| unusable(sequence, "state", error))?;
                    (Verdict::Signed { intent }, Some(bytes))
                }
            }
        }
    };
    Ok(Again {
        name: S::NAME,
        verdict,
        after,
    })
}

/// What the core says this time.
struct Again {
    name: StateName,
    verdict: Verdict,
    /// The new state; none where it stays.
    after: Option<Vec<u8>>,
}

fn parse<T: serde::de::DeserializeOwned>(
    sequence: Sequence,
    what: &'static str,
    bytes: &[u8],
) -> Result<T, ReplayError> {
    let text = std::str::from_utf8(bytes).map_err(|error| unusable(sequence, what, error))?;
    toml::from_str(text).map_err(|error| unusable(sequence, what, error))
}

fn unusable(sequence: Sequence, what: &'static str, reason: impl ToString) -> ReplayError {
    ReplayError::Unusable {
        sequence,
        what,
        reason: reason.to_string(),
    }
}

fn same<T: PartialEq + ToString>(
    sequence: Sequence,
    operation: &'static str,
    what: &'static str,
    recorded: &T,
    replayed: &T,
) -> Result<(), ReplayError> {
    if recorded == replayed {
        return Ok(());
    }
    Err(ReplayError::Difference {
        sequence,
        operation,
        what,
        recorded: recorded.to_string(),
        replayed: replayed.to_string(),
    })
}
