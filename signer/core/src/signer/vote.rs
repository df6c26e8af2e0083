//! Votes: proposals and approvals.

use super::{BlsIntent, Context, Signer};
use crate::btc::Headers;
use crate::btc::rules::header_pace;
use crate::freshness;
use crate::mint;
use crate::pegout::limits;
use crate::persist::{Decision, Durable, Pending, Persisted};
use crate::pow;
use crate::refusal::refusal;
use crate::state::{Proposed, Vote, VoteState};
use crate::vote;
use crate::window::mint_window;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, Refusal};
use alys_protocol::units::{Sats, SideHeight};

impl Signer {
    /// Judges a proposal of the member's own.
    ///
    /// # Errors
    /// - the first rule's refusal.
    pub fn sign_proposal<H: Headers>(
        &self,
        state: &Durable<VoteState>,
        context: &Context<'_, H>,
        header: &Header,
    ) -> Result<Decision<VoteState, BlsIntent>, Refusal> {
        // Before a repeat, too: what a copy of the state recorded may never have been released.
        freshness::current(&context.freshness)?;
        let intent = BlsIntent(header.proposal_message());
        let block = header.id();
        let proposed = state.get().proposed.as_ref();
        if proposed.is_some_and(|proposed| proposed.block == block) {
            return Ok(Decision::Repeat(Persisted::recorded(state, intent)));
        }
        vote::chain(&self.chain, header)?;
        vote::epoch(&self.chain, header)?;
        vote::leader(&self.chain, self.member, header.slot)?;
        vote::slot_horizon(context.slot, self.policy.slot_horizon_slots, header.slot)?;
        let last = proposed.map_or(self.chain.genesis().slot, |proposed| proposed.slot);
        let last = last.max(context.freshness.floor);
        vote::slot_monotonic(last, self.chain.genesis().slot, header.slot)?;
        let mut next = state.get().clone();
        next.proposed = Some(Proposed {
            slot: header.slot,
            block,
        });
        Ok(Decision::New(Pending::new(next, intent)))
    }

    /// Judges a vote.
    ///
    /// A repeat for the block voted last is answered whatever its evidence: the vote is out already.
    ///
    /// # Errors
    /// - the first rule's refusal.
    pub fn approve<H: Headers>(
        &self,
        state: &Durable<VoteState>,
        context: &Context<'_, H>,
        request: &ApproveRequest,
    ) -> Result<Decision<VoteState, BlsIntent>, Refusal> {
        freshness::current(&context.freshness)?;
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
        let last_slot = old.last_slot.max(context.freshness.floor);
        vote::slot_monotonic(last_slot, parent.slot, header.slot)?;
        vote::slot_horizon(context.slot, self.policy.slot_horizon_slots, header.slot)?;
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
        if let Some(batch) = &body.batch {
            limits::skip(context.skips, batch)?;
            limits::recorded_destination(&self.chain, &self.policy, batch)?;
        }
        vote::execution_header(
            &self.chain,
            header,
            parent,
            parent_id,
            &request.execution_header,
            &request.withdrawals,
        )?;
        vote::ancestors(parent, &request.ancestors)?;
        let minted = self.judge_mint(old, context, request)?;
        // The pairing comes last: it costs more than all the other rules.
        vote::parent_certified(&self.chain, header, parent_id, body)?;
        let final_height = known_final(old.voted.as_ref(), request, parent_id);
        vote::pow_distance(&self.chain, final_height, parent, body)?;
        let vote = Vote {
            block,
            final_height,
        };
        let mut next = old.after_vote(header.slot, parent.height, vote);
        next.mint_window
            .charge(&self.policy, context.window, &parent.bitcoin, minted);
        Ok(Decision::New(Pending::new(next, intent)))
    }

    /// What a block mints is proven: deposits under the signer's own header chain, and fees under a proof of work. Returns
    /// the sum of the deposits.
    fn judge_mint<H: Headers>(
        &self,
        state: &VoteState,
        context: &Context<'_, H>,
        request: &ApproveRequest,
    ) -> Result<Sats, Refusal> {
        let (chain, policy) = (&self.chain, &self.policy);
        let (header, parent, body) = (&request.header, &request.parent, &request.body);
        let deposits = mint::deposit::deposits(
            chain,
            context.bitcoin,
            policy.deposit_confirmations,
            header,
            parent,
            body,
            &request.deposits,
        )?;
        if !deposits.is_empty() {
            let rules = self.bitcoin.rules();
            header_pace(rules, context.bitcoin, policy.pace_headers, context.time)?;
        }
        let ancestors = &request.ancestors;
        let (record, evidence) = (body.pow.as_ref(), request.pow.as_ref());
        if let Some(record) = pow::bundle(chain, header, parent, ancestors, record, evidence)? {
            let work = pow::Work::new(chain, record, header.pow.id)?;
            pow::coinbase(&work)?;
            pow::commitment(&work)?;
            pow::chain_slot(&work)?;
            pow::target(chain, parent, header.slot, &work)?;
        }
        let fees = mint::fees::fees_proof(chain, header, parent, body, request.fees.as_ref())?;
        let withdrawals = &request.withdrawals;
        mint::supply::withdrawals_exact(chain, header, &deposits, fees.as_ref(), withdrawals)?;
        mint::supply::supply(header, parent, &deposits, withdrawals)?;
        let minted = deposits
            .iter()
            .try_fold(Sats::ZERO, |sum, (_, amount)| sum.checked_add(amount.get()))
            .ok_or_else(|| refusal(Rule::MintWindow, "deposits of 64 bits in sat", "more"))?;
        let window = &state.mint_window;
        mint_window(policy, window, context.window, &parent.bitcoin, minted)?;
        Ok(minted)
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
