//! The signer: which rules judge which request, and what the state becomes.

use crate::clock::WindowTime;
use crate::pegout::{evidence, limits, transaction};
use crate::persist::{Decision, Durable, Pending, Persisted};
use crate::policy::{Policy, PolicyError};
use crate::refusal::refusal;
use crate::state::{
    BurnRange, Family, FamilyMember, MAX_FAMILIES, MAX_FAMILY_MEMBERS, PegOutState, Proposed, Vote,
    VoteState,
};
use crate::vote;
use alloc::vec::Vec;
use alys_protocol::bls;
use alys_protocol::bls::{BlsPublicKeyBytes, BlsSignature};
use alys_protocol::bytes::{BlockId, Digest};
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::header::Header;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, PegOutRequest, Refusal, SchnorrSignature};
use alys_protocol::spec::{Chain, SchnorrPublicKeyBytes};
use alys_protocol::units::{MemberId, SideHeight, Slot};
use bitcoin::secp256k1::{Keypair, Message, Secp256k1, Signing};
use serde::Serialize;
use thiserror::Error;

/// What a signer is provisioned with: the chain, its own limits, and whose keys it holds.
#[derive(Debug, Clone)]
pub struct Signer {
    chain: Chain,
    policy: Policy,
    member: MemberId,
}

/// A signer that cannot serve this chain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The policy contradicts the chain spec.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// No member has these keys.
    #[error("the chain spec has no member with BLS key {bls} and Schnorr key {schnorr}")]
    NoMember {
        /// The signer's BLS key.
        bls: BlsPublicKeyBytes,
        /// The signer's Schnorr key.
        schnorr: SchnorrPublicKeyBytes,
    },
}

/// A 32-byte message for the BLS key: a vote or a proposal. Seen only once it is persisted.
#[derive(Debug)]
pub struct BlsIntent([u8; 32]);

/// Signature hashes for the Schnorr key. Seen only once they are persisted.
#[derive(Debug)]
pub struct SchnorrIntent {
    sighashes: Vec<[u8; 32]>,
    randomness: [u8; 32],
}

impl BlsIntent {
    pub(crate) fn message(&self) -> &[u8; 32] {
        &self.0
    }
}

impl SchnorrIntent {
    pub(crate) fn sighashes(&self) -> &[[u8; 32]] {
        &self.sighashes
    }
}

impl Persisted<BlsIntent> {
    /// What the BLS key signs.
    pub fn message(&self) -> &[u8; 32] {
        &self.intent().0
    }

    /// Signs. Deterministic, so that a repeat gives the same signature.
    pub fn sign(self, key: &bls::SecretKey) -> BlsSignature {
        key.sign(self.message())
    }
}

impl Persisted<SchnorrIntent> {
    /// What the Schnorr key signs, one for each input.
    pub fn sighashes(&self) -> &[[u8; 32]] {
        &self.intent().sighashes
    }

    /// Auxiliary randomness of each signature (BIP-340).
    pub fn randomness(&self) -> &[u8; 32] {
        &self.intent().randomness
    }

    /// Signs each input. The persisted randomness makes a repeat give the same signatures.
    pub fn sign<C: Signing>(self, secp: &Secp256k1<C>, key: &Keypair) -> Vec<SchnorrSignature> {
        self.sighashes()
            .iter()
            .map(|sighash| {
                let message = Message::from_digest(*sighash);
                let signature = secp.sign_schnorr_with_aux_rand(&message, key, self.randomness());
                SchnorrSignature::new(signature.serialize())
            })
            .collect()
    }
}

impl Signer {
    /// Provisions a signer: finds the member that has its keys, and checks the policy against the chain.
    ///
    /// # Errors
    /// - [`SetupError::NoMember`] where the roster has no such member;
    /// - [`SetupError::Policy`] where the policy contradicts the spec.
    pub fn new(
        chain: Chain,
        policy: Policy,
        bls: &BlsPublicKeyBytes,
        schnorr: &SchnorrPublicKeyBytes,
    ) -> Result<Self, SetupError> {
        policy.check(&chain)?;
        let member = chain
            .roster()
            .members()
            .iter()
            .find(|member| {
                member.bls.to_bytes() == *bls && member.schnorr.serialize() == *schnorr.as_bytes()
            })
            .map(|member| member.id)
            .ok_or(SetupError::NoMember {
                bls: *bls,
                schnorr: *schnorr,
            })?;
        Ok(Self {
            chain,
            policy,
            member,
        })
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The limits.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The member whose keys it holds.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// Judges a proposal of the member's own. `now` is the slot of the signer's clock.
    ///
    /// # Errors
    /// - the first rule's refusal.
    pub fn sign_proposal(
        &self,
        state: &Durable<VoteState>,
        now: Slot,
        header: &Header,
    ) -> Result<Decision<VoteState, BlsIntent>, Refusal> {
        let intent = BlsIntent(header.proposal_message());
        let block = header.id();
        let proposed = state.get().proposed.as_ref();
        if proposed.is_some_and(|proposed| proposed.block == block) {
            return Ok(Decision::Repeat(Persisted::recorded(state, intent)));
        }
        vote::chain(&self.chain, header)?;
        vote::epoch(&self.chain, header)?;
        vote::leader(&self.chain, self.member, header.slot)?;
        vote::slot_horizon(now, self.policy.slot_horizon_slots, header.slot)?;
        let last = proposed.map_or(self.chain.genesis().slot, |proposed| proposed.slot);
        vote::slot_monotonic(last, self.chain.genesis().slot, header.slot)?;
        let mut next = state.get().clone();
        next.proposed = Some(Proposed {
            slot: header.slot,
            block,
        });
        Ok(Decision::New(Pending::new(next, intent)))
    }

    /// Judges a vote. `now` is the slot of the signer's clock.
    ///
    /// A repeat for the block voted last is answered whatever its evidence: the vote is out already.
    ///
    /// # Errors
    /// - the first rule's refusal.
    pub fn approve(
        &self,
        state: &Durable<VoteState>,
        now: Slot,
        request: &ApproveRequest,
    ) -> Result<Decision<VoteState, BlsIntent>, Refusal> {
        let (header, parent, body) = (&request.header, &request.parent, &request.body);
        let block = header.id();
        let intent = BlsIntent(header.approval_message());
        let old = state.get();
        if old.voted.as_ref().is_some_and(|vote| vote.block == block) {
            return Ok(Decision::Repeat(Persisted::recorded(state, intent)));
        }
        let parent_id = parent.id();
        vote::chain(&self.chain, header)?;
        vote::epoch(&self.chain, header)?;
        vote::slot_monotonic(old.last_slot, parent.slot, header.slot)?;
        vote::slot_horizon(now, self.policy.slot_horizon_slots, header.slot)?;
        vote::height(parent.height, header.height)?;
        vote::longest_chain(old.lock, parent.height)?;
        vote::history(
            &self.chain,
            header,
            parent,
            parent_id,
            &request.parent_history,
        )?;
        vote::counters(&self.chain, header, parent, body)?;
        vote::execution_header(
            &self.chain,
            header,
            parent,
            parent_id,
            &request.execution_header,
            &request.withdrawals,
        )?;
        // The pairing comes last: it costs more than all the other rules.
        vote::parent_certified(&self.chain, header, parent_id, body)?;
        let final_height = known_final(old.voted.as_ref(), request, parent_id);
        vote::pow_distance(&self.chain, final_height, parent, body)?;
        let mut next = old.clone();
        next.last_slot = header.slot;
        next.lock = old.lock.max(parent.height);
        next.voted = Some(Vote {
            block,
            final_height,
        });
        Ok(Decision::New(Pending::new(next, intent)))
    }

    /// Judges a peg-out. `randomness` is 32 fresh random bytes.
    ///
    /// A batch that was signed before is judged again unless the request is the same, byte for byte: other input values
    /// make other signatures, and only the true values make valid ones.
    ///
    /// # Errors
    /// - the first rule's refusal.
    pub fn sign_peg_out(
        &self,
        state: &Durable<PegOutState>,
        randomness: [u8; 32],
        request: &PegOutRequest,
    ) -> Result<Decision<PegOutState, SchnorrIntent>, Refusal> {
        let chain = &self.chain;
        let old = state.get();
        let batch = request.record.id(chain.id());
        let digest = self.request_digest(request)?;
        let transaction = transaction::Batch::new(chain, request)?;
        let known = old.family_of(batch).map(|(_family, member)| member);
        let sighashes = chain
            .wallet()
            .sighashes(transaction.transaction(), &request.values)
            .map_err(|error| refusal(Rule::Inputs, "inputs with a value each", error))?;
        let intent = SchnorrIntent {
            sighashes,
            randomness: known.map_or(randomness, |member| member.randomness),
        };
        if known.is_some_and(|member| member.request == digest) {
            return Ok(Decision::Repeat(Persisted::recorded(state, intent)));
        }
        limits::paused(old)?;
        vote::chain(chain, &request.recording)?;
        vote::epoch(chain, &request.recording)?;
        evidence::batch_recorded(chain, request)?;
        if known.is_none() {
            evidence::burn_sequence(old, &request.record, &request.burns)?;
        } else {
            // Known burns: only that the evidence has exactly them, which a state without memory says.
            evidence::burn_sequence(&PegOutState::default(), &request.record, &request.burns)?;
        }
        self.judge_transaction(old, &transaction)?;
        evidence::finality(chain, request)?;
        if known.is_some() {
            return Ok(Decision::Repeat(Persisted::recorded(state, intent)));
        }
        let member = FamilyMember {
            batch,
            request: digest,
            fee: transaction.fee(),
            randomness: intent.randomness,
        };
        let next = record(old, request, &transaction, member);
        Ok(Decision::New(Pending::new(next, intent)))
    }

    fn judge_transaction(
        &self,
        state: &PegOutState,
        batch: &transaction::Batch<'_>,
    ) -> Result<(), Refusal> {
        transaction::tx_shape(batch)?;
        transaction::inputs(state, batch)?;
        transaction::outputs_exact(batch)?;
        transaction::change(batch)?;
        transaction::fee_rate(&self.policy, batch)?;
        limits::fee_absolute(&self.policy, batch)?;
        transaction::replacement(state, batch)?;
        limits::destination(&self.policy, batch)?;
        limits::cap_single(&self.policy, batch)?;
        // Nothing is charged before the clock has Bitcoin's headers: until then each batch is judged by itself.
        limits::cap_window(&self.policy, state, WindowTime::ZERO, batch)?;
        limits::count_window(&self.policy, state, WindowTime::ZERO, batch)
    }

    fn request_digest<T: Serialize>(&self, request: &T) -> Result<Digest, Refusal> {
        let bytes = postcard::to_allocvec(request)
            .map_err(|_| refusal(Rule::TxShape, "a request that can be encoded", "another"))?;
        Ok(Digest::new(
            TaggedHasher::new(hash::REQUEST, self.chain.id())
                .variable(&bytes)
                .finish(),
        ))
    }
}

/// F(block) as far as this signer can tell: what the parent and its ancestors show, and what it saw when it voted for
/// one of them.
fn known_final(voted: Option<&Vote>, request: &ApproveRequest, parent_id: BlockId) -> SideHeight {
    let shown = vote::final_of_three(&request.parent, &request.ancestors).unwrap_or_default();
    // Linked by hash to the certified parent, so these are this block's own ancestors.
    let ours = |id: BlockId| {
        let mut next = Some(parent_id);
        let mut headers = core::iter::once(&request.parent).chain(&request.ancestors);
        core::iter::from_fn(|| {
            let current = next?;
            next = headers
                .next()
                .filter(|header| header.id() == current)
                .map(|header| header.parent);
            Some(current)
        })
        .any(|ancestor| ancestor == id)
    };
    match voted {
        Some(vote) if ours(vote.block) => vote.final_height.max(shown),
        Some(_) | None => shown,
    }
}

/// The state that records a batch.
fn record(
    old: &PegOutState,
    request: &PegOutRequest,
    batch: &transaction::Batch<'_>,
    member: FamilyMember,
) -> PegOutState {
    let mut next = old.clone();
    let burns = BurnRange {
        first: request.record.first_burn,
        next: request.record.next_burn,
    };
    let inputs = batch.inputs();
    let family = next
        .families
        .iter_mut()
        .find(|family| family.burns == burns && family.inputs == inputs);
    if let (Some(_replaced), Some(family)) = (request.record.replaces, family) {
        family.charged = family.charged.max(batch.leaving());
        family.members.push(member);
        if family.members.len() > MAX_FAMILY_MEMBERS {
            family.members.remove(0);
        }
        return next;
    }
    next.pay(burns);
    next.families.push(Family {
        burns,
        inputs,
        charged: batch.leaving(),
        members: alloc::vec![member],
    });
    if next.families.len() > MAX_FAMILIES {
        next.families.remove(0);
    }
    next
}
