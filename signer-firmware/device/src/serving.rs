//! A provisioned device: judge, persist, advance the counter, sign.

use crate::circumstances::{Circumstances, tag};
use crate::command::SignedPolicy;
use crate::headers::FlashHeaders;
use crate::journal::JournalError;
use crate::keys::Keys;
use crate::minisign::TrustedOfficers;
use crate::state::{Head, Store};
use crate::{LEASE_SLOTS, MAX_HEADERS};
use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alys_firmware_platform::{Entropy, Fault, Parts, Platform, Timer as _};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::Digest;
use alys_protocol::header::Header;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{
    ApproveRequest, BitcoinHeaderBytes, Challenge, PROTOCOL_VERSION, PegOutRequest, ProtocolError,
    Refusal, Reply, Request, SignedStatement, SignerStatus,
};
use alys_signer_core::admin::statement::{Act, Governed, Moment, Statement, obey};
use alys_signer_core::btc::HeaderChain;
use alys_signer_core::freshness::Lease;
use alys_signer_core::signer::{BlsIntent, Context};
use alys_signer_core::state::VoteState;
use alys_signer_core::{Decision, Durable, Persisted, Signer};
use embedded_storage::nor_flash::NorFlash;

/// What a device needs to serve.
#[derive(Debug)]
pub(crate) struct Serving<'a, F> {
    pub(crate) signer: Signer,
    pub(crate) officers: TrustedOfficers,
    pub(crate) policy: Digest,
    pub(crate) head: Head,
    pub(crate) store: Store<'a, F>,
    pub(crate) headers: FlashHeaders<'a, F>,
    pub(crate) now: Circumstances,
}

/// Why a request got no signature.
pub(crate) enum No {
    /// A rule.
    Refused(Refusal),
    /// The request or the hardware; nothing was written.
    Error(ProtocolError),
    /// The flash: what is in it is not known until the next start.
    Broken(JournalError),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for No {
    fn from(fault: Fault) -> Self {
        Self::Error(ProtocolError::Internal(fault.to_string()))
    }
}

impl From<JournalError> for No {
    fn from(error: JournalError) -> Self {
        Self::Broken(error)
    }
}

impl<F: NorFlash> Serving<'_, F> {
    pub(crate) fn answer<P: Platform<Flash = F>>(
        &mut self,
        keys: &mut Keys,
        parts: &mut Parts<P>,
        request: &Request,
    ) -> Result<Reply, No> {
        if self.now.silent().is_err() {
            self.now.look(&mut parts.counter);
        }
        let millis = parts.timer.millis();
        match request {
            Request::Status => Ok(Reply::Status(Box::new(self.status::<P>(keys, millis)?))),
            Request::SignProposal(header) => self.propose(keys, parts, millis, header),
            Request::Approve(approve) => self.approve(keys, parts, millis, approve),
            Request::SignPegOut(pegout) => self.peg_out(keys, parts, millis, pegout),
            Request::BitcoinHeaders(headers) => self.bitcoin(millis, headers),
            Request::Challenge => self.challenge(&mut parts.entropy, millis),
            Request::Statement(signed) => self.obey(parts, millis, signed),
        }
    }

    /// The lease that a vote in `slot` needs beyond the one in force.
    fn lease_for(
        &self,
        slot: alys_protocol::units::Slot,
        entropy: &mut impl Entropy,
    ) -> Result<Option<Lease>, No> {
        let lease = &self.now.freshness.lease;
        if lease.covers(slot) {
            return Ok(None);
        }
        Ok(lease.next(slot, LEASE_SLOTS, tag(entropy)?))
    }

    fn propose<P: Platform<Flash = F>>(
        &mut self,
        keys: &Keys,
        parts: &mut Parts<P>,
        millis: u64,
        header: &Header,
    ) -> Result<Reply, No> {
        let lease = self.lease_for(header.slot, &mut parts.entropy)?;
        let state = Durable::trust_loaded(self.head.vote.clone());
        let window = self.now.window(&self.headers, millis);
        let decision = {
            let context = self.context(window, millis);
            self.signer.sign_proposal(&state, &context, header)?
        };
        let intent = self.release(decision, lease, parts)?;
        Ok(Reply::Signature(keys.sign_bls(intent)))
    }

    fn approve<P: Platform<Flash = F>>(
        &mut self,
        keys: &Keys,
        parts: &mut Parts<P>,
        millis: u64,
        request: &ApproveRequest,
    ) -> Result<Reply, No> {
        let lease = self.lease_for(request.header.slot, &mut parts.entropy)?;
        let state = Durable::trust_loaded(self.head.vote.clone());
        let window = self.now.window(&self.headers, millis);
        let decision = {
            let context = self.context(window, millis);
            self.signer.approve(&state, &context, request)?
        };
        let intent = self.release(decision, lease, parts)?;
        Ok(Reply::Signature(keys.sign_bls(intent)))
    }

    fn context(
        &self,
        window: alys_signer_core::clock::WindowTime,
        millis: u64,
    ) -> Context<'_, FlashHeaders<'_, F>> {
        Context {
            slot: self.now.slot(&self.signer, millis),
            time: self.now.time(millis),
            window,
            bitcoin: &self.headers,
            freshness: self.now.freshness,
            skips: &self.head.admin.skips,
        }
    }

    /// Writes a vote, in one write with its lease where it takes one; then the counter advances; then it may be signed.
    fn release<P: Platform<Flash = F>>(
        &mut self,
        decision: Decision<VoteState, BlsIntent>,
        lease: Option<Lease>,
        parts: &mut Parts<P>,
    ) -> Result<Persisted<BlsIntent>, No> {
        let new = decision.is_new();
        let (head, store, clock) = (&mut self.head, &self.store, self.now.kept());
        let (_state, intent) = decision.persist(|next| match lease {
            Some(lease) => {
                let mut changed = head.clone();
                changed.lease = lease;
                changed.clock = clock;
                changed.vote = next.clone();
                store.write_head(&mut changed)?;
                *head = changed;
                Ok(())
            }
            None => store.write_vote(head, next),
        })?;
        if let (true, Some(lease)) = (new, lease) {
            self.now.take(lease, &mut parts.counter)?;
        }
        Ok(intent)
    }

    fn peg_out<P: Platform<Flash = F>>(
        &mut self,
        keys: &mut Keys,
        parts: &mut Parts<P>,
        millis: u64,
        request: &PegOutRequest,
    ) -> Result<Reply, No> {
        let mut randomness = [0u8; 32];
        parts.entropy.fill(&mut randomness)?;
        // Each peg-out takes a lease: no state older than the one that records it counts as fresh. Its slots are the
        // last vote's, so that votes forgo none at the next start.
        let slot = self.head.vote.last_slot;
        let lease = self
            .now
            .freshness
            .lease
            .next(slot, 1, tag(&mut parts.entropy)?);
        let state = Durable::trust_loaded(self.store.pegout(&self.head)?);
        let window = self.now.window(&self.headers, millis);
        let decision = {
            let context = self.context(window, millis);
            self.signer
                .sign_peg_out(&state, &context, randomness, request)?
        };
        drop(state);
        let new = decision.is_new();
        let lease = lease.ok_or_else(counter_ended)?;
        let (head, store, clock) = (&mut self.head, &self.store, self.now.kept());
        let (_state, intent) = decision.persist(|next| {
            let pegout = store.write_pegout(head, next)?;
            let mut changed = head.clone();
            changed.pegout = pegout;
            changed.lease = lease;
            changed.clock = clock;
            store.write_head(&mut changed)?;
            *head = changed;
            Ok::<(), JournalError>(())
        })?;
        if new {
            self.now.take(lease, &mut parts.counter)?;
        }
        let shares = keys.sign_schnorr(intent, &mut parts.entropy)?;
        BoundedVec::new(shares)
            .map(Reply::Shares)
            .map_err(|error| No::Error(ProtocolError::Internal(error.to_string())))
    }

    fn bitcoin(&mut self, millis: u64, headers: &[BitcoinHeaderBytes]) -> Result<Reply, No> {
        if headers.len() > MAX_HEADERS {
            return Err(No::Error(ProtocolError::Unsupported(alloc::format!(
                "expected at most {MAX_HEADERS} Bitcoin headers in one request to a device, found {}",
                headers.len()
            ))));
        }
        // The clock is the headers' own: a device has none that could say a header is from the future.
        let update = self.signer.bitcoin().judge(&self.headers, headers, None)?;
        if let Some(update) = update {
            let map = self.headers.append(&update)?;
            let mut changed = self.head.clone();
            changed.headers = map.clone();
            changed.clock = self.now.kept();
            self.store.write_head(&mut changed)?;
            self.head = changed;
            self.headers.take(map);
            self.now.headers_changed(&self.headers, millis);
        }
        Ok(Reply::Bitcoin(
            self.signer.bitcoin().standing(&self.headers),
        ))
    }

    fn challenge(&mut self, entropy: &mut impl Entropy, millis: u64) -> Result<Reply, No> {
        let nonce = match self.now.challenge {
            Some(open) => open,
            None => {
                let mut bytes = [0u8; Digest::LENGTH];
                entropy.fill(&mut bytes)?;
                *self.now.challenge.insert(Digest::new(bytes))
            }
        };
        Ok(Reply::Challenge(Box::new(Challenge {
            chain_id: self.signer.chain().id(),
            member: self.signer.member(),
            nonce,
            slot: self.now.slot(&self.signer, millis),
            horizon_slots: self.signer.policy().slot_horizon_slots,
            last_statement: self.head.admin.statement,
        })))
    }

    /// What officers say.
    fn obey<P: Platform<Flash = F>>(
        &mut self,
        parts: &mut Parts<P>,
        millis: u64,
        signed: &SignedStatement,
    ) -> Result<Reply, No> {
        let malformed = |reason: String| {
            No::Error(ProtocolError::Malformed(alloc::format!(
                "expected an officers' statement: {reason}"
            )))
        };
        let text = core::str::from_utf8(&signed.text).map_err(|e| malformed(e.to_string()))?;
        let said: Statement = toml::from_str(text).map_err(|e| malformed(e.to_string()))?;
        let signatures = signed.signatures.iter().map(|signature| &**signature);
        let signers = self
            .officers
            .signers(&signed.text, signatures)
            .map_err(|found| Refusal {
                rule: Rule::Quorum,
                expected: "signatures of officers under the statement".to_string(),
                found,
            })?;
        let outside = self.now.freshness.outside;
        let vouches = matches!(said.act, Act::Fresh(_));
        if vouches && outside.is_none() {
            return Err(No::Error(ProtocolError::Internal(
                "the monotonic counter cannot be read".to_string(),
            )));
        }
        let moment = Moment {
            chain: self.signer.chain().id(),
            member: self.signer.member(),
            challenge: self.now.challenge,
            slot: self.now.slot(&self.signer, millis),
            window: self.now.window(&self.headers, millis),
            horizon_slots: self.signer.policy().slot_horizon_slots,
            bitcoin_start: self.signer.chain().spec().bitcoin.start_height,
        };
        let states = Governed {
            admin: self.head.admin.clone(),
            vote: self.head.vote.clone(),
            pegout: self.store.pegout(&self.head)?,
            // The device's headers are in flash; only an anchor changes them, and that is taken over below.
            bitcoin: HeaderChain::default(),
        };
        let next = obey(&states, &moment, self.officers.officers(), &said, &signers)?;
        let lease = match (&said.act, outside) {
            (Act::Fresh(vouched), Some(from)) => {
                let tag = tag(&mut parts.entropy)?;
                let lease = self
                    .now
                    .freshness
                    .lease
                    .vouched(from, vouched.slot_floor, tag);
                Some(lease.ok_or_else(counter_ended)?)
            }
            (Act::Fresh(_), None)
            | (Act::Pause | Act::Resume | Act::Skip(_) | Act::Anchor(_), _) => None,
        };
        let mut changed = self.head.clone();
        if next.pegout != states.pegout {
            changed.pegout = self.store.write_pegout(&self.head, &next.pegout)?;
        }
        changed.admin = next.admin;
        changed.vote = next.vote;
        changed.clock = self.now.kept();
        changed.lease = lease.unwrap_or(changed.lease);
        if let Act::Anchor(checkpoint) = &said.act {
            changed.headers = self.headers.map().anchored(*checkpoint);
        }
        self.store.write_head(&mut changed)?;
        self.headers.take(changed.headers.clone());
        self.head = changed;
        if let Some(lease) = lease {
            self.now.vouched(lease, &mut parts.counter)?;
        }
        Ok(Reply::Stated(said.number))
    }

    fn status<P: Platform<Flash = F>>(
        &mut self,
        keys: &Keys,
        millis: u64,
    ) -> Result<SignerStatus, No> {
        let _ = millis;
        let pegout = self.store.pegout(&self.head)?;
        let chain = self.signer.chain();
        let vote = &self.head.vote;
        let skips = BoundedVec::new(self.head.admin.skips.clone());
        Ok(SignerStatus {
            software: crate::device::SOFTWARE.to_string(),
            protocol: PROTOCOL_VERSION,
            chain_id: chain.id(),
            epoch: chain.spec().epoch,
            spec: chain.digest(),
            member: self.signer.member(),
            bls: keys.bls_public(),
            schnorr: keys.schnorr_public(),
            backend: alloc::format!("device: {}", P::NAME),
            last_slot: vote.last_slot,
            lock: vote.lock,
            next_burn: pegout.next_burn,
            bitcoin: self.signer.bitcoin().standing(&self.headers),
            counter: counter_words(self.now.freshness.outside),
            silent: self.now.silent().err(),
            paused: pegout.paused,
            last_statement: self.head.admin.statement,
            skips: skips.map_err(|error| No::Error(ProtocolError::Internal(error.to_string())))?,
        })
    }

    /// Writes a newer policy, and serves by it.
    pub(crate) fn take_policy(
        &mut self,
        signer: Signer,
        digest: Digest,
        admin: alys_signer_core::state::AdminState,
        signed: &SignedPolicy,
    ) -> Result<(), JournalError> {
        let bytes = crate::state::encoded(signed)?;
        let mut changed = self.head.clone();
        changed.policy =
            self.store
                .write_blob(crate::state::Blob::Policy, &self.head.policy, &bytes)?;
        changed.admin = admin;
        self.store.write_head(&mut changed)?;
        self.head = changed;
        self.signer = signer;
        self.policy = digest;
        Ok(())
    }
}

pub(crate) fn counter_words(mark: Option<alys_signer_core::freshness::CounterMark>) -> String {
    mark.map_or_else(|| "not readable".to_string(), |mark| mark.to_string())
}

fn counter_ended() -> No {
    No::Error(ProtocolError::Internal(
        "the monotonic counter is at its end".to_string(),
    ))
}
