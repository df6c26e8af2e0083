//! Peg-outs: asking the member's signer, exchanging shares, and handing the signed batch to Bitcoin.
//!
//! Only batches that a final block records are signed. Shares are verified when they arrive and stored, so that a restart
//! loses none; any node combines the first m of them in key order.

mod request;

use super::Driver;
use crate::jobs::{self, Done};
use crate::messages::PegOutShare;
use alys_chain::PegState;
use alys_net::{Topic, Verdict};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BatchId, BlockId};
use alys_protocol::peg::BatchRecord;
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::units::{MemberId, Sats, SideHeight, Slot};
use alys_store::schema::{Batches, Blocks, ShareKey, Shares};
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
    /// A block that records a batch, about which the signer is asked once firm ground is known.
    pub(super) unasked: Option<BlockId>,
}

impl Default for PegOuts {
    fn default() -> Self {
        Self {
            secp: Secp256k1::verification_only(),
            pending: BTreeMap::new(),
            unasked: None,
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
        let mut pending = std::mem::take(&mut self.pegouts.pending);
        let failed = refresh(&mut pending, peg.pending_batches(), |id, values| {
            self.load_pegout(id, values)
                .with_context(|| format!("recorded batch {id} cannot be paid out"))
        });
        self.pegouts.pending = pending;
        self.problem("recorded batch", failed.map(|error| format!("{error:#}")));
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
        self.spawn(
            async move {
                let outcome = jobs::sign_peg_out(&tools, request).await;
                Done::Shares { batch: id, outcome }
            },
            move |error| Done::Shares {
                batch: id,
                outcome: Err(error),
            },
        );
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
        self.spawn(
            async move {
                let outcome = tools.bitcoin.broadcast(&signed).await;
                Done::Broadcast { batch: id, outcome }
            },
            move |error| Done::Broadcast {
                batch: id,
                outcome: Err(error),
            },
        );
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

    /// The newest batches of the families that wait for too long, to be replaced if the fee rate has risen.
    pub(super) fn stuck_batches(&self, peg: &PegState, parent: SideHeight) -> Vec<BatchId> {
        peg.stuck_batches(parent, self.config.bitcoin.replace_after_blocks)
    }
}

/// Drops what is not live any more and loads what is new. What cannot be loaded is tried again the next time, and keeps
/// nothing else from being loaded; the last such failure is returned.
fn refresh<T>(
    pending: &mut BTreeMap<BatchId, T>,
    live: BTreeMap<BatchId, Vec<Sats>>,
    load: impl Fn(BatchId, Vec<Sats>) -> anyhow::Result<T>,
) -> Option<anyhow::Error> {
    pending.retain(|id, _| live.contains_key(id));
    let mut failed = None;
    for (id, values) in live {
        if pending.contains_key(&id) {
            continue;
        }
        match load(id, values) {
            Ok(loaded) => {
                pending.insert(id, loaded);
            }
            Err(error) => failed = Some(error),
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_cannot_be_loaded_is_said_and_stops_nothing() {
        let [gone, kept, broken, new] = [1, 2, 3, 4].map(|tag| BatchId::new([tag; 32]));
        let mut pending = BTreeMap::from([(gone, 0), (kept, 1)]);
        let live: BTreeMap<_, _> = [kept, broken, new].map(|id| (id, Vec::new())).into();
        let failed = refresh(&mut pending, live.clone(), |id, _| {
            anyhow::ensure!(id != broken, "no block records it");
            Ok(2)
        });
        assert_eq!(failed.unwrap().to_string(), "no block records it");
        assert_eq!(pending, BTreeMap::from([(kept, 1), (new, 2)]));
        assert!(refresh(&mut pending, live, |_, _| Ok(3)).is_none());
        assert_eq!(pending.get(&broken), Some(&3));
    }
}
