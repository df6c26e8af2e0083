//! Decides one request at a time: judge, persist, sign, release.

use crate::authority::Operation;
use crate::keys::Keys;
use crate::store::{Store, StoreError};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::signer::{
    PROTOCOL_VERSION, ProtocolError, Refusal, Reply, Request, SignerStatus,
};
use alys_protocol::units::Slot;
use alys_signer_client::Role;
use alys_signer_core::Signer;
use alys_signer_core::state::{PegOutState, VoteState};
use std::time::{SystemTime, UNIX_EPOCH};

/// The signer with its keys and state. Shared by connections; redb lets one decision in at a time.
#[derive(Debug)]
pub struct Engine {
    signer: Signer,
    keys: Keys,
    store: Store,
    locked_memory: bool,
}

/// Why a request got no signature.
enum No {
    Refused(Refusal),
    Error(ProtocolError),
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the state failed; nothing was signed");
        Self::Error(ProtocolError::Internal(error.to_string()))
    }
}

impl Engine {
    /// Puts the parts together.
    pub fn new(signer: Signer, keys: Keys, store: Store, locked_memory: bool) -> Self {
        Self {
            signer,
            keys,
            store,
            locked_memory,
        }
    }

    /// Answers a request that its sender may make. Blocks on pairings and on the disk.
    pub fn handle(&self, role: Role, request: &Request) -> Reply {
        let operation = Operation::of(request).name();
        let decided = match request {
            Request::Status => self.status().map(|status| Reply::Status(Box::new(status))),
            Request::SignProposal(header) => now(self).and_then(|now| {
                self.decide(|state| self.signer.sign_proposal(state, now, header))
                    .map(|intent| Reply::Signature(self.keys.sign_bls(intent)))
            }),
            Request::Approve(approve) => now(self).and_then(|now| {
                self.decide(|state| self.signer.approve(state, now, approve))
                    .map(|intent| Reply::Signature(self.keys.sign_bls(intent)))
            }),
            Request::SignPegOut(pegout) => randomness().and_then(|randomness| {
                self.decide(|state| self.signer.sign_peg_out(state, randomness, pegout))
                    .and_then(|intent| {
                        BoundedVec::new(self.keys.sign_schnorr(intent))
                            .map(Reply::Shares)
                            .map_err(|error| internal(error.to_string()))
                    })
            }),
            Request::BitcoinHeaders(_) => Err(No::Error(ProtocolError::Unsupported(
                "this signer keeps no Bitcoin headers yet".to_owned(),
            ))),
        };
        let subject = subject(request);
        match decided {
            Ok(reply) => {
                tracing::info!(%role, operation, subject, decision = "yes");
                reply
            }
            Err(No::Refused(refusal)) => {
                tracing::warn!(%role, operation, subject, decision = "no", rule = %refusal.rule,
                    expected = refusal.expected, found = refusal.found);
                Reply::Refused(refusal)
            }
            Err(No::Error(error)) => {
                tracing::warn!(%role, operation, subject, decision = "error", ?error);
                Reply::Error(error)
            }
        }
    }

    fn decide<S: crate::store::Stored, I>(
        &self,
        decide: impl FnOnce(
            &alys_signer_core::Durable<S>,
        ) -> Result<alys_signer_core::Decision<S, I>, Refusal>,
    ) -> Result<alys_signer_core::Persisted<I>, No> {
        self.store.transact(decide)?.map_err(No::Refused)
    }

    fn status(&self) -> Result<SignerStatus, No> {
        let vote: VoteState = self.store.read()?;
        let pegout: PegOutState = self.store.read()?;
        let chain = self.signer.chain();
        let card = self.keys.card();
        Ok(SignerStatus {
            software: concat!("alys-signer ", env!("CARGO_PKG_VERSION")).to_owned(),
            protocol: PROTOCOL_VERSION,
            chain_id: chain.id(),
            epoch: chain.spec().epoch,
            spec: chain.digest(),
            member: self.signer.member(),
            bls: card.bls,
            schnorr: card.schnorr,
            backend: format!(
                "software keys, sealed with argon2id and XChaCha20-Poly1305, in {} memory",
                if self.locked_memory {
                    "locked"
                } else {
                    "unlocked"
                }
            ),
            last_slot: vote.last_slot,
            lock: vote.lock,
            next_burn: pegout.next_burn,
        })
    }
}

fn internal(reason: String) -> No {
    No::Error(ProtocolError::Internal(reason))
}

/// The slot of the machine's clock.
fn now(engine: &Engine) -> Result<Slot, No> {
    let duration = engine.signer.chain().spec().slots.duration_ms;
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .and_then(|unix_ms| Slot::at(unix_ms, duration))
        .ok_or_else(|| internal("the clock is before 1970".to_owned()))
}

fn randomness() -> Result<[u8; 32], No> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| internal(format!("the operating system gives no entropy: {error}")))?;
    Ok(bytes)
}

/// What a request is about, for the log.
fn subject(request: &Request) -> String {
    let header = |header: &alys_protocol::header::Header| {
        format!(
            "block {} height {} slot {}",
            header.id(),
            header.height,
            header.slot
        )
    };
    match request {
        Request::Status => "status".to_owned(),
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
