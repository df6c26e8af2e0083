//! What consensus asks for, and the ends of the jobs that do it.

use super::Driver;
use super::patience::Fate;
use crate::execution::short;
use crate::jobs::{self, BuildPlan, Done, Validation};
use alys_consensus::{
    BlockRef, Input, Output, VerifiedApproval, VerifiedCertificate, VerifiedProposal,
};
use alys_execution::Heads;
use alys_net::Topic;
use alys_protocol::block::Proposal;
use alys_protocol::bytes::{BlockId, HistoryRoot};
use alys_protocol::certificate::Approval;
use alys_protocol::units::Slot;
use alys_store::schema::{
    Blocks, Burns, Certificates, Ledgers, Payments, Position, Positions, Recent, RecentKey,
};
use anyhow::Context as _;
use bitcoin::hashes::Hash as _;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Driver {
    /// Carries out one output; what it answers at once goes back in.
    pub(super) fn carry_out(&mut self, output: Output) -> anyhow::Result<Vec<Input>> {
        match output {
            Output::Propose {
                slot,
                parent,
                needs_pow,
                ..
            } => self.propose(slot, parent, needs_pow)?,
            Output::Validate(id) => return Ok(self.start_validation(id)),
            Output::AskSigner(id) => return Ok(self.ask_signer(id)),
            Output::Broadcast(approval) => self.publish(Topic::Approvals, approval.approval()),
            Output::Aggregate(approvals) => {
                let certificate = VerifiedCertificate::aggregate(&self.tools.chain, &approvals)
                    .context("verified approvals do not aggregate")?;
                return Ok(vec![Input::Certificate(certificate)]);
            }
            Output::Certified(certificate) => self.store_certificate(&certificate)?,
            Output::Head(head) => self.new_head(head)?,
            Output::Final(blocks) => self.finalised(&blocks)?,
            Output::Fetch { id, height } => self.fetch(id, height),
            Output::Rejected { id, reason } => {
                tracing::debug!("block {} not taken: {reason}", short(id));
                if !self.consensus.tree().contains(id) {
                    self.proposals.remove(&id);
                }
            }
            Output::Alarm(evidence) => {
                metrics::counter!("alys_consensus_alarms_total").increment(1);
                tracing::error!("ALARM: {evidence}");
                if self.consensus.is_halted() {
                    self.problem(
                        "safety",
                        Some(format!("this node votes no more: {evidence}")),
                    );
                }
            }
        }
        Ok(Vec::new())
    }

    fn start_validation(&mut self, id: BlockId) -> Vec<Input> {
        let (Some(proposal), Some(header)) = (
            self.proposals.get(&id).cloned(),
            self.consensus.tree().header(id).cloned(),
        ) else {
            return vec![Input::Undecided(id)];
        };
        let Some(parent) = self.parent_point(header.parent) else {
            return vec![Input::Undecided(id)];
        };
        let mut ancestors = BTreeMap::new();
        if proposal.block.body.pow.is_some() {
            let start = parent.header.pow.height.saturating_add(1);
            for height in [start, header.pow.height] {
                if let Some(ancestor) = self.ancestor_at(header.parent, height) {
                    ancestors.insert(height, ancestor);
                }
            }
        }
        let tools = self.tools.clone();
        self.spawn(
            async move {
                let outcome = jobs::validate(&tools, &proposal, &parent, &ancestors).await;
                Done::Validated { id, outcome }
            },
            move |error| Done::Validated {
                id,
                outcome: Err(error),
            },
        );
        Vec::new()
    }

    pub(super) fn validated(
        &mut self,
        id: BlockId,
        outcome: anyhow::Result<Validation>,
    ) -> anyhow::Result<()> {
        let validation = match outcome {
            Ok(validation) => validation,
            Err(error) => Validation::Undecided(format!("{error:#}")),
        };
        match validation {
            Validation::Valid(validated) => {
                let Some(proposal) = self.proposals.get(&id).cloned() else {
                    // Forgotten meanwhile.
                    return Ok(());
                };
                let height = proposal.block.header.height;
                let mut batch = self.tools.store.batch();
                batch.put::<Blocks>(&id, proposal.as_ref())?;
                batch.put::<Recent>(&RecentKey { height, id }, &())?;
                batch.put::<Ledgers>(&id, &validated.peg.encode()?)?;
                if !validated.burns.is_empty() {
                    batch.put::<Burns>(&id, &validated.burns)?;
                }
                for settlement in &validated.settled {
                    let burns = settlement.first_burn.get()..settlement.next_burn.get();
                    for burn in burns {
                        let burn = alys_protocol::units::BurnSequence::new(burn);
                        if settlement.skipped.contains(&burn) {
                            continue;
                        }
                        batch.put::<Payments>(&burn, &settlement.txid.to_byte_array())?;
                    }
                }
                batch.commit()?;
                self.ledgers.insert(id, validated.peg);
                self.problem("validation", None);
                self.step(Input::Valid(id))
            }
            Validation::Invalid(reason) => {
                metrics::counter!("alys_blocks_invalid_total").increment(1);
                tracing::error!("block {} is invalid: {reason}", short(id));
                self.step(Input::Invalid(id))
            }
            Validation::Undecided(reason) => {
                self.problem(
                    "validation",
                    Some(format!(
                        "block {} cannot be decided yet: {reason}",
                        short(id)
                    )),
                );
                self.step(Input::Undecided(id))
            }
        }
    }

    fn propose(&mut self, slot: Slot, parent: BlockRef, needs_pow: bool) -> anyhow::Result<()> {
        let Some(point) = self.parent_point(parent.id) else {
            return Ok(());
        };
        let tree = self.consensus.tree();
        let history = tree.history(parent.id).context("a block without history")?;
        let root: HistoryRoot = history
            .append(self.tools.chain.id(), parent.id)?
            .root(self.tools.chain.id());
        let parent_certificate = tree
            .certificate(parent.id)
            .map(|certificate| certificate.certificate().clone());
        let share = self.best_share(&point, slot);
        if needs_pow && share.is_none() {
            self.problem(
                "pow",
                Some(format!(
                    "production waits for proof of work: {} final blocks above the last PoW-final one, {} allowed",
                    point.implied_final.get().saturating_sub(point.header.pow.height.get()),
                    self.tools.chain.spec().mining.max_blocks_without_pow
                )),
            );
            return Ok(());
        }
        self.problem("pow", None);
        let (tree, members) = (self.consensus.tree(), self.tools.chain.roster().len());
        let fate = |id| {
            // What the tree forgot became final, or is so old that it does not matter.
            if tree.contains(id) && tree.certificate(id).is_none() {
                Fate::Uncertified
            } else {
                Fate::Certified
            }
        };
        let hold_cursor = self.cursor_patience.holds(slot, members, fate);
        let hold_batch = self.batch_patience.holds(slot, members, fate);
        self.problem(
            "mint",
            hold_cursor.then(|| {
                "our blocks that consumed Bitcoin were not certified: we propose blocks without, for a while"
                    .to_owned()
            }),
        );
        self.problem(
            "batch",
            hold_batch.then(|| {
                "our blocks that recorded a batch were not certified: we propose blocks without, for a while"
                    .to_owned()
            }),
        );
        let stuck = self.stuck_batches(&point.peg, point.header.height);
        let plan = BuildPlan {
            slot,
            parent_certificate,
            history_root: root,
            share,
            heads: self.heads(),
            hold_cursor,
            hold_batch,
            parent: point,
            stuck,
        };
        let tools = self.tools.clone();
        self.spawn(
            async move {
                let outcome = jobs::build(&tools, plan).await;
                Done::Built { slot, outcome }
            },
            move |error| Done::Built {
                slot,
                outcome: Err(error),
            },
        );
        Ok(())
    }

    pub(super) fn built(
        &mut self,
        slot: Slot,
        outcome: anyhow::Result<Box<Proposal>>,
    ) -> anyhow::Result<()> {
        let proposal = match outcome {
            Ok(proposal) => proposal,
            Err(error) => {
                metrics::counter!("alys_proposals_failed_total").increment(1);
                self.problem(
                    "building",
                    Some(format!("no block in slot {slot}: {error:#}")),
                );
                return Ok(());
            }
        };
        self.problem("building", None);
        let verified = match VerifiedProposal::verify(&self.tools.chain, &proposal) {
            Ok(verified) => verified,
            Err(error) => {
                self.problem(
                    "building",
                    Some(format!("our own proposal does not verify: {error}")),
                );
                return Ok(());
            }
        };
        metrics::counter!("alys_proposals_total").increment(1);
        tracing::info!(
            height = proposal.block.header.height.get(),
            slot = slot.get(),
            transactions = proposal.block.payload.transactions.len(),
            withdrawals = proposal.block.payload.withdrawals.len(),
            "proposed block {}",
            short(verified.id())
        );
        let header = &proposal.block.header;
        // Signers may refuse both, by rules of their own. Where they refuse a block that has both, the batch goes first: the
        // next one shows what becomes of the cursor alone.
        if proposal.block.body.batch.is_some() {
            self.batch_patience.tried(verified.id());
        } else if self.header(header.parent)?.bitcoin != header.bitcoin {
            self.cursor_patience.tried(verified.id());
        }
        self.publish(Topic::Proposals, proposal.as_ref());
        self.proposals.insert(verified.id(), Arc::from(proposal));
        self.step(Input::Proposal(Box::new(verified)))
    }

    pub(super) fn approved(
        &mut self,
        id: BlockId,
        outcome: anyhow::Result<Approval>,
    ) -> anyhow::Result<()> {
        match outcome {
            Ok(approval) => {
                metrics::counter!("alys_approvals_total").increment(1);
                self.problem("signer", None);
                match VerifiedApproval::verify(&self.tools.chain, approval) {
                    Ok(approval) => self.step(Input::SignerApproved(approval)),
                    Err(error) => {
                        self.problem(
                            "signer",
                            Some(format!("the signer's approval does not verify: {error}")),
                        );
                        self.step(Input::SignerRefused(id))
                    }
                }
            }
            Err(error) => {
                metrics::counter!("alys_approvals_refused_total").increment(1);
                self.problem(
                    "signer",
                    Some(format!(
                        "no approval of block {} by the signer: {error:#}",
                        short(id)
                    )),
                );
                self.step(Input::SignerRefused(id))
            }
        }
    }

    fn store_certificate(&mut self, certificate: &VerifiedCertificate) -> anyhow::Result<()> {
        let mut batch = self.tools.store.batch();
        batch.put::<Certificates>(&certificate.block(), certificate.certificate())?;
        Ok(batch.commit()?)
    }

    fn new_head(&mut self, head: BlockRef) -> anyhow::Result<()> {
        let mut batch = self.tools.store.batch();
        batch.put::<Positions>(&Position::Head, &head.id)?;
        batch.commit()?;
        metrics::gauge!("alys_head_height").set(head.height.get() as f64);
        self.retain_templates();
        self.set_heads();
        self.judge_peg(None)
    }

    /// The execution blocks of head, final and PoW-final block.
    pub(super) fn heads(&self) -> Heads {
        let tree = self.consensus.tree();
        let genesis = self.tools.chain.genesis().execution_hash;
        let execution = |id| {
            tree.header(id)
                .map_or(genesis, |header| header.execution_hash)
        };
        let final_block = tree.final_block();
        let finalized = tree
            .header(final_block.id)
            .map(|header| header.pow.id)
            .and_then(|id| self.header(id).ok())
            .map_or(genesis, |header| header.execution_hash);
        Heads {
            latest: execution(tree.head().id),
            safe: execution(final_block.id),
            finalized,
        }
    }

    /// Tells the execution client the present heads; one call at a time.
    pub(super) fn set_heads(&mut self) {
        if self.setting_heads {
            self.heads_due = true;
            return;
        }
        self.setting_heads = true;
        self.heads_due = false;
        let (tools, heads) = (self.tools.clone(), self.heads());
        self.spawn(
            async move { Done::HeadsSet(tools.execution.set_heads(heads).await) },
            |error| Done::HeadsSet(Err(error)),
        );
        self.tell_heads();
    }

    pub(super) fn heads_set(&mut self, outcome: anyhow::Result<()>) {
        self.setting_heads = false;
        let failed = outcome
            .err()
            .map(|error| format!("the execution client does not follow: {error:#}"));
        let again = self.heads_due && failed.is_none();
        // A failed call is repeated at the next slot.
        self.heads_due |= failed.is_some();
        self.problem("execution", failed);
        if again {
            self.set_heads();
        }
    }
}
