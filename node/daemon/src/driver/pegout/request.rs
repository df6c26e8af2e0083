//! What the signer is shown when it is asked for its shares of a batch.

use crate::chain_index::history_proof;
use crate::driver::Driver;
use alys_protocol::block::Block;
use alys_protocol::body::Section;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::BatchId;
use alys_protocol::header::Header;
use alys_protocol::history::HistoryProof;
use alys_protocol::peg::{BatchRecord, MAX_BATCH_BURNS};
use alys_protocol::signer::{BurnEvidence, FinalityEvidence, PegOutRequest, PowFinality};
use alys_store::schema::{Blocks, Burns, Position, Positions};
use anyhow::Context as _;

impl Driver {
    pub(super) fn pegout_request(&self, id: BatchId) -> anyhow::Result<PegOutRequest> {
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
    fn history_below(&self, of: &Header, below: &Header) -> anyhow::Result<Option<HistoryProof>> {
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

    fn carrier(&self) -> anyhow::Result<Block> {
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
    ) -> anyhow::Result<BoundedVec<BurnEvidence, MAX_BATCH_BURNS>> {
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
