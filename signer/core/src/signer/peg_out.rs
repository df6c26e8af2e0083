//! Peg-outs: what moves the wallet's coins.

use super::{Context, SchnorrIntent, Signer};
use crate::btc::Headers;
use crate::clock::WindowTime;
use crate::freshness;
use crate::pegout::{burn, evidence, limits, transaction};
use crate::persist::{Decision, Durable, Pending, Persisted};
use crate::pow;
use crate::refusal::refusal;
use crate::state::{
    BurnRange, Family, FamilyMember, MAX_FAMILIES, MAX_FAMILY_MEMBERS, PegOutState,
};
use crate::vote;
use alys_protocol::bytes::Digest;
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{PegOutRequest, Refusal};
use alys_protocol::units::ChainId;
use postcard::ser_flavors::Flavor;
use serde::Serialize;

impl Signer {
    /// Judges a peg-out. `randomness` is 32 fresh random bytes.
    ///
    /// A batch that was signed before is judged again unless the request is the same, byte for byte: other input values
    /// make other signatures, and only the true values make valid ones.
    ///
    /// # Errors
    /// - the first rule's refusal.
    pub fn sign_peg_out<H: Headers>(
        &self,
        state: &Durable<PegOutState>,
        context: &Context<'_, H>,
        randomness: [u8; 32],
        request: &PegOutRequest,
    ) -> Result<Decision<PegOutState, SchnorrIntent>, Refusal> {
        freshness::current(&context.freshness)?;
        let chain = &self.chain;
        let old = state.get();
        limits::paused(old)?;
        let batch = request.record.id(chain.id());
        let digest = self.request_digest(request)?;
        limits::skip(context.skips, &request.record)?;
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
        vote::chain(chain, &request.recording)?;
        vote::epoch(chain, &request.recording)?;
        evidence::batch_recorded(chain, request)?;
        if known.is_none() {
            evidence::burn_sequence(old, &request.record, &request.burns)?;
        } else {
            // Known burns: only that the evidence has exactly them, which a state without memory says.
            evidence::burn_sequence(&PegOutState::default(), &request.record, &request.burns)?;
        }
        self.judge_transaction(old, context.window, &transaction)?;
        evidence::finality(chain, request)?;
        self.judge_burns(request, &transaction)?;
        if known.is_some() {
            return Ok(Decision::Repeat(Persisted::recorded(state, intent)));
        }
        let member = FamilyMember {
            batch,
            request: digest,
            fee: transaction.fee(),
            randomness: intent.randomness,
        };
        let mut next = record(old, request, &transaction, member);
        limits::charge(&self.policy, old, &mut next, context.window, &transaction);
        Ok(Decision::New(Pending::new(next, intent)))
    }

    fn judge_transaction(
        &self,
        state: &PegOutState,
        now: WindowTime,
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
        limits::cap_window(&self.policy, state, now, batch)?;
        limits::count_window(&self.policy, state, now, batch)
    }

    /// Each burn happened, in a block that enough work finalises.
    fn judge_burns(
        &self,
        request: &PegOutRequest,
        batch: &transaction::Batch<'_>,
    ) -> Result<(), Refusal> {
        let chain = &self.chain;
        let Some(evidence) = burn::pow_finality(chain, request)? else {
            // A batch without burns: it moves the wallet's coins to the wallet.
            return Ok(());
        };
        let work = pow::Work::new(chain, &evidence.record, evidence.end.id())?;
        pow::coinbase(&work)?;
        pow::commitment(&work)?;
        pow::chain_slot(&work)?;
        let (parent, slot) = (&evidence.carrier_parent, evidence.carrier.slot);
        pow::target(chain, parent, slot, &work)?;
        pow::pow_floor(&self.policy.pow_floor_target, &work)?;
        limits::hold(&self.policy, batch, evidence.end.height)?;
        request.burns.iter().try_for_each(|burn| {
            let log = burn::burn_proof(chain, &evidence.end, burn)?;
            burn::burn_emitter(chain, &log)?;
            burn::burn_status(&log)
        })
    }

    fn request_digest<T: Serialize>(&self, request: &T) -> Result<Digest, Refusal> {
        request_digest(self.chain.id(), request)
            .map_err(|_| refusal(Rule::TxShape, "a request that can be encoded", "another"))
    }
}

/// Hash of a request's encoding, which is never in memory as a whole: a device has no room for a second copy of 110 KB.
fn request_digest<T: Serialize>(chain: ChainId, request: &T) -> postcard::Result<Digest> {
    let length = postcard::serialize_with_flavor(request, Length::default())?;
    let hasher = TaggedHasher::new(hash::REQUEST, chain).fixed(&length.to_le_bytes());
    postcard::serialize_with_flavor(request, Hashed(Some(hasher))).map(Digest::new)
}

/// Counts what is written.
#[derive(Default)]
struct Length(u64);

impl Flavor for Length {
    type Output = u64;

    fn try_push(&mut self, _byte: u8) -> postcard::Result<()> {
        self.0 = self.0.saturating_add(1);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<u64> {
        Ok(self.0)
    }
}

/// Hashes what is written; the hasher is only missing while it takes bytes.
struct Hashed(Option<TaggedHasher>);

impl Flavor for Hashed {
    type Output = [u8; 32];

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0 = self.0.take().map(|hasher| hasher.fixed(bytes));
        Ok(())
    }

    fn finalize(self) -> postcard::Result<[u8; 32]> {
        let hasher = self.0.ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(hasher.finish())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_by_its_length_and_its_encoding() {
        let request = (7u16, alloc::vec![5u8; 300], "text");
        let bytes = postcard::to_allocvec(&request).unwrap();
        let chain = ChainId::new(9);
        let whole = TaggedHasher::new(hash::REQUEST, chain).variable(&bytes);
        assert_eq!(
            request_digest(chain, &request),
            Ok(Digest::new(whole.finish()))
        );
    }
}
