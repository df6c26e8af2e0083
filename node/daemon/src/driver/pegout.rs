//! Peg-outs: asking the member's signer, exchanging shares, and handing the signed batch to Bitcoin.
//!
//! Only batches that a final block records are signed. Shares are verified when they arrive and stored, so that a restart
//! loses none; any node combines the first m of them in key order.

use super::Driver;
use crate::chain_index::history_proof;
use crate::jobs::{self, Done};
use crate::messages::PegOutShare;
use alys_chain::PegState;
use alys_net::{Topic, Verdict};
use alys_protocol::body::Section;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BatchId, BlockId};
use alys_protocol::header::Header;
use alys_protocol::peg::BatchRecord;
use alys_protocol::signer::{
    BurnEvidence, FinalityEvidence, PegOutRequest, PowFinality, SchnorrSignature,
};
use alys_protocol::units::{MemberId, Sats, SideHeight, Slot};
use alys_store::schema::{Batches, Blocks, Burns, Position, Positions, ShareKey, Shares};
use anyhow::Context as _;
use bitcoin::Transaction;
use bitcoin::secp256k1::{Message, Secp256k1, VerifyOnly, schnorr};
use std::collections::BTreeMap;

/// Slots between two tries at what did not succeed: asking the signer, sending shares, broadcasting.
const RETRY_SLOTS: u64 = 15;

/// A batch that a final block records and Bitcoin has not confirmed.
pub(crate) struct PegOut {
    pub(crate) record: BatchRecord,
    pub(crate) transaction: Transaction,
    recording: BlockId,
    values: Vec<Sats>,
    sighashes: Vec<[u8; 32]>,
    pub(crate) shares: BTreeMap<MemberId, Vec<SchnorrSignature>>,
    asked: Option<Slot>,
    sent: Option<Slot>,
    pub(crate) broadcast: bool,
    tried: Option<Slot>,
}

/// All pending batches.
pub(crate) struct PegOuts {
    secp: Secp256k1<VerifyOnly>,
    pub(crate) pending: BTreeMap<BatchId, PegOut>,
}

impl Default for PegOuts {
    fn default() -> Self {
        Self {
            secp: Secp256k1::verification_only(),
            pending: BTreeMap::new(),
        }
    }
}

impl Driver {
    /// After a restart: the batches that the final ledger waits for.
    pub(super) fn resume_pegouts(&mut self) -> anyhow::Result<()> {
        let root = self.consensus.tree().root().id;
        self.refresh_pegouts(root)
    }

    /// Brings the pending batches in line with the ledger after a final block.
    pub(super) fn refresh_pegouts(&mut self, final_block: BlockId) -> anyhow::Result<()> {
        let Some(peg) = self.ledgers.get(&final_block).cloned() else {
            return Ok(());
        };
        let live: BTreeMap<BatchId, Vec<Sats>> = peg
            .families()
            .values()
            .flat_map(|family| {
                let values: Option<Vec<Sats>> = family
                    .inputs
                    .iter()
                    .map(|input| peg.utxos().get(input).map(|utxo| utxo.value))
                    .collect();
                family
                    .members
                    .iter()
                    .map(move |member| (member.batch, values.clone().unwrap_or_default()))
            })
            .collect();
        self.pegouts.pending.retain(|id, _| live.contains_key(id));
        for (id, values) in live {
            if !self.pegouts.pending.contains_key(&id) {
                let pegout = self
                    .load_pegout(id, values)
                    .with_context(|| format!("recorded batch {id}"))?;
                self.pegouts.pending.insert(id, pegout);
            }
        }
        metrics::gauge!("alys_pegouts_pending").set(self.pegouts.pending.len() as f64);
        self.advance_pegouts(self.slot())
    }

    fn load_pegout(&self, id: BatchId, values: Vec<Sats>) -> anyhow::Result<PegOut> {
        let store = &self.tools.store;
        let recording = store
            .get::<Batches>(&id)?
            .context("its block is not known")?;
        let block = store
            .get::<Blocks>(&recording)?
            .context("its block is not stored")?;
        let record = block.block.body.batch.context("its block records none")?;
        let transaction = record.decode_transaction()?;
        let sighashes = self.tools.chain.wallet().sighashes(&transaction, &values)?;
        let mut shares = BTreeMap::new();
        for member in self.tools.chain.roster().members() {
            let key = ShareKey {
                batch: id,
                member: member.id,
            };
            if let Some(signatures) = store.get::<Shares>(&key)? {
                shares.insert(member.id, signatures);
            }
        }
        Ok(PegOut {
            record,
            transaction,
            recording,
            values,
            sighashes,
            shares,
            asked: None,
            sent: None,
            broadcast: false,
            tried: None,
        })
    }

    /// Does what is due for each pending batch; nothing while the peg stands still, or may have to.
    pub(super) fn advance_pegouts(&mut self, slot: Slot) -> anyhow::Result<()> {
        if !self.footing.is_firm() {
            return Ok(());
        }
        let due = |last: Option<Slot>| {
            last.is_none_or(|last| slot.get() >= last.get().saturating_add(RETRY_SLOTS))
        };
        let ids: Vec<BatchId> = self.pegouts.pending.keys().copied().collect();
        for id in ids {
            let Some(pegout) = self.pegouts.pending.get(&id) else {
                continue;
            };
            let own = self.member.filter(|_| self.tools.signer.is_some());
            if let Some(member) = own {
                match pegout.shares.get(&member) {
                    None if due(pegout.asked) => self.ask_for_shares(id, slot),
                    Some(signatures) if due(pegout.sent) => {
                        let share = PegOutShare {
                            batch: id,
                            member,
                            signatures: BoundedVec::new(signatures.clone())?,
                        };
                        self.publish(Topic::PegOutShares, &share);
                        if let Some(pegout) = self.pegouts.pending.get_mut(&id) {
                            pegout.sent = Some(slot);
                        }
                    }
                    None | Some(_) => {}
                }
            }
            let ready = self
                .pegouts
                .pending
                .get(&id)
                .is_some_and(|pegout| due(pegout.tried));
            if ready {
                self.broadcast_if_complete(id, slot);
            }
        }
        Ok(())
    }

    fn ask_for_shares(&mut self, id: BatchId, slot: Slot) {
        let request = match self.pegout_request(id) {
            Ok(request) => request,
            Err(error) => {
                // The evidence is complete a block or two later.
                tracing::debug!("batch {id}: no request for the signer yet: {error:#}");
                return;
            }
        };
        if let Some(pegout) = self.pegouts.pending.get_mut(&id) {
            pegout.asked = Some(slot);
        }
        let tools = self.tools.clone();
        self.spawn(async move {
            let outcome = jobs::sign_peg_out(&tools, request).await;
            Done::Shares { batch: id, outcome }
        });
    }

    pub(super) fn own_shares(
        &mut self,
        batch: BatchId,
        outcome: anyhow::Result<Vec<SchnorrSignature>>,
    ) -> anyhow::Result<()> {
        match (outcome, self.member) {
            (Ok(signatures), Some(member)) => {
                self.problem("peg-out", None);
                let share = PegOutShare {
                    batch,
                    member,
                    signatures: BoundedVec::new(signatures)?,
                };
                self.take_share(share)?;
                self.advance_pegouts(self.slot())
            }
            (Err(error), _) => {
                metrics::counter!("alys_pegout_refused_total").increment(1);
                self.problem(
                    "peg-out",
                    Some(format!("the signer did not sign batch {batch}: {error:#}")),
                );
                Ok(())
            }
            (Ok(_), None) => Ok(()),
        }
    }

    /// Verifies and keeps a member's signatures.
    pub(super) fn take_share(&mut self, share: PegOutShare) -> anyhow::Result<Verdict> {
        let Some(member) = self.tools.chain.roster().member(share.member) else {
            // Regression A8: nobody but a member can stall a peg-out.
            return Ok(Verdict::Reject);
        };
        let key = member.schnorr;
        let Some(pegout) = self.pegouts.pending.get_mut(&share.batch) else {
            return Ok(Verdict::Ignore);
        };
        if pegout.shares.contains_key(&share.member) {
            return Ok(Verdict::Ignore);
        }
        let all = share.signatures.len() == pegout.sighashes.len()
            && share
                .signatures
                .iter()
                .zip(&pegout.sighashes)
                .all(|(signature, sighash)| {
                    let message = Message::from_digest(*sighash);
                    schnorr::Signature::from_slice(signature.as_bytes()).is_ok_and(|signature| {
                        self.pegouts
                            .secp
                            .verify_schnorr(&signature, &message, &key)
                            .is_ok()
                    })
                });
        if !all {
            tracing::warn!(
                "shares of member {} for batch {} do not verify",
                share.member,
                share.batch
            );
            return Ok(Verdict::Reject);
        }
        let signatures = share.signatures.into_inner();
        let mut batch = self.tools.store.batch();
        let place = ShareKey {
            batch: share.batch,
            member: share.member,
        };
        batch.put::<Shares>(&place, &signatures)?;
        batch.commit()?;
        pegout.shares.insert(share.member, signatures);
        self.broadcast_if_complete(share.batch, self.slot());
        Ok(Verdict::Accept)
    }

    /// "Any node combines the first m in key order and broadcasts."
    fn broadcast_if_complete(&mut self, id: BatchId, slot: Slot) {
        if !self.footing.is_firm() {
            return;
        }
        let wallet = self.tools.chain.wallet().clone();
        let Some(pegout) = self.pegouts.pending.get_mut(&id) else {
            return;
        };
        let threshold = usize::from(wallet.threshold());
        if pegout.shares.len() < threshold {
            return;
        }
        let first: Vec<_> = pegout.shares.iter().take(threshold).collect();
        let slots: Vec<Vec<Option<[u8; 64]>>> = (0..pegout.sighashes.len())
            .map(|input| {
                let mut slots = vec![None; wallet.keys().len()];
                for (member, signatures) in &first {
                    let place = slots.get_mut(usize::from(member.get()));
                    if let (Some(place), Some(signature)) = (place, signatures.get(input)) {
                        *place = Some(signature.to_bytes());
                    }
                }
                slots
            })
            .collect();
        pegout.tried = Some(slot);
        let signed = match wallet.finalise(&pegout.transaction, &slots) {
            Ok(signed) => signed,
            Err(error) => {
                tracing::error!("batch {id} cannot be completed: {error}");
                return;
            }
        };
        let tools = self.tools.clone();
        self.spawn(async move {
            let outcome = tools.bitcoin.broadcast(&signed).await;
            Done::Broadcast { batch: id, outcome }
        });
    }

    pub(super) fn broadcast_done(&mut self, batch: BatchId, outcome: anyhow::Result<()>) {
        let Some(pegout) = self.pegouts.pending.get_mut(&batch) else {
            return;
        };
        match outcome {
            Ok(()) => {
                if !pegout.broadcast {
                    tracing::info!(
                        "batch {batch} broadcast as {}",
                        pegout.transaction.compute_txid()
                    );
                }
                pegout.broadcast = true;
                self.problem("broadcast", None);
            }
            Err(error) => {
                self.problem(
                    "broadcast",
                    Some(format!("batch {batch} was not broadcast: {error:#}")),
                );
            }
        }
    }

    /// The newest batch of a family that waits for too long, to be replaced if the fee rate has risen.
    pub(super) fn stuck_batch(&self, peg: &PegState, parent: SideHeight) -> Option<BatchId> {
        let patience = self.config.bitcoin.replace_after_blocks;
        peg.families().values().find_map(|family| {
            let newest = family.members.last()?;
            let due = newest.height.saturating_add(patience);
            (parent >= due).then_some(newest.batch)
        })
    }

    fn pegout_request(&self, id: BatchId) -> anyhow::Result<PegOutRequest> {
        let (chain, store) = (&self.tools.chain, &self.tools.store);
        let pegout = self.pegouts.pending.get(&id).context("not pending")?;
        let block = store
            .get::<Blocks>(&pegout.recording)?
            .context("the recording block is not stored")?
            .block;
        let finality = self.finality.clone().context("no finality evidence yet")?;
        let [_, final_header, _] = &finality.headers;
        if final_header.height < block.header.height {
            anyhow::bail!("the finality evidence is older than the batch");
        }
        let burns = self.burn_evidence(&pegout.record)?;
        Ok(PegOutRequest {
            values: BoundedVec::new(pegout.values.clone())?,
            recording_parent: self.header(block.header.parent)?,
            body_branch: block.body.branch(chain.id(), Section::Batch)?,
            recording_history: self.history_below(final_header, &block.header)?,
            recording: block.header,
            record: pegout.record.clone(),
            pow: if pegout.record.burns() == 0 {
                None
            } else {
                Some(self.pow_finality(&finality)?)
            },
            finality,
            burns,
        })
    }

    /// Proof that `below` is an ancestor of `of`; none where they are the same block.
    fn history_below(
        &self,
        of: &Header,
        below: &Header,
    ) -> anyhow::Result<Option<alys_protocol::history::HistoryProof>> {
        if of.height == below.height {
            return Ok(None);
        }
        history_proof(
            &self.tools.chain,
            &self.tools.store,
            of.height,
            below.height,
        )
        .map(Some)
    }

    fn carrier(&self) -> anyhow::Result<alys_protocol::block::Block> {
        let store = &self.tools.store;
        let id = store
            .get::<Positions>(&Position::PowCarrier)?
            .context("no final block carries a proof-of-work record")?;
        Ok(store
            .get::<Blocks>(&id)?
            .context("the block with the proof-of-work record is not stored")?
            .block)
    }

    fn pow_finality(&self, finality: &FinalityEvidence) -> anyhow::Result<PowFinality> {
        let (chain, store) = (&self.tools.chain, &self.tools.store);
        let carrier = self.carrier()?;
        let [_, final_header, _] = &finality.headers;
        let end = self.header(carrier.header.pow.id)?;
        Ok(PowFinality {
            carrier_parent: self.header(carrier.header.parent)?,
            body_branch: carrier.body.branch(chain.id(), Section::Pow)?,
            carrier_history: self.history_below(final_header, &carrier.header)?,
            end_history: history_proof(chain, store, carrier.header.height, end.height)?,
            record: carrier.body.pow.context("the carrier has no record")?,
            carrier: carrier.header,
            end,
        })
    }

    fn burn_evidence(
        &self,
        record: &BatchRecord,
    ) -> anyhow::Result<BoundedVec<BurnEvidence, { alys_protocol::peg::MAX_BATCH_BURNS }>> {
        let (chain, store) = (&self.tools.chain, &self.tools.store);
        let mut found = Vec::new();
        if record.burns() > 0 {
            let end = self.carrier()?.header.pow;
            let final_block = self.consensus.tree().final_block().id;
            let peg = self.ledgers.get(&final_block).context("no final ledger")?;
            let (_, family) = peg
                .family_of(record.id(chain.id()))
                .context("the batch is settled")?;
            for burn in &family.burns {
                let stored = store
                    .get::<Burns>(&burn.block)?
                    .context("the burns' evidence is not stored")?;
                let mut evidence = stored
                    .into_iter()
                    .find(|evidence| evidence.burn.sequence == burn.sequence)
                    .with_context(|| format!("no evidence of burn {}", burn.sequence))?;
                if burn.height < end.height {
                    evidence.history = Some(history_proof(chain, store, end.height, burn.height)?);
                }
                found.push(evidence);
            }
        }
        Ok(BoundedVec::new(found)?)
    }
}
