//! Merged mining: templates for pools, shares from pools and peers, and the record for the next block.

use super::{Command, Driver};
use crate::jobs::ParentPoint;
use crate::messages::AuxPowMessage;
use alys_mining::aux_block::{AuxBlock, compact_target, display_hash, little_endian_target};
use alys_mining::templates::{Range, Share};
use alys_net::{Topic, Verdict};
use alys_protocol::bytes::{BlockId, BundleHash, EvmAddress};
use alys_protocol::units::{PowCount, Slot};
use std::sync::Arc;

impl Driver {
    pub(super) fn command(&mut self, command: Command) {
        // The asker may have gone.
        match command {
            Command::CreateAuxBlock { address, reply } => {
                let _ = reply.send(self.create_aux_block(address));
            }
            Command::SubmitAuxBlock {
                hash,
                auxpow,
                reply,
            } => {
                let _ = reply.send(self.submit_aux_block(hash, &auxpow));
            }
        }
    }

    /// The range that a block on the head can finalise.
    fn range(&self) -> Option<Range> {
        let tree = self.consensus.tree();
        let head = tree.head();
        let pow = tree.header(head.id)?.pow;
        let end = tree.implied_final_of_child(head.id)?;
        if end.height <= pow.height {
            return None;
        }
        let start_height = pow.height.saturating_add(1);
        Some(Range {
            start: self.ancestor_at(head.id, start_height)?,
            start_height,
            end: end.id,
            end_height: end.height,
        })
    }

    fn pow_count(&self) -> PowCount {
        let tree = self.consensus.tree();
        tree.header(tree.head().id)
            .map_or(PowCount::ZERO, |header| header.pow.count)
    }

    fn create_aux_block(&mut self, address: EvmAddress) -> Result<AuxBlock, String> {
        let range = self.range().ok_or_else(|| {
            "no final block above the last one with proof of work: nothing to mine yet".to_owned()
        })?;
        let template = self
            .templates
            .create(range, address)
            .map_err(|error| error.to_string())?;
        let target = self.templates.target(self.pow_count(), self.slot());
        let tree = self.consensus.tree();
        let pow_final = tree
            .header(tree.head().id)
            .map_or(BlockId::ZERO, |header| header.pow.id);
        Ok(AuxBlock {
            hash: display_hash(template.hash.as_bytes()),
            chainid: self.tools.chain.spec().mining.aux_chain_id,
            previousblockhash: display_hash(pow_final.as_bytes()),
            coinbasevalue: 0,
            bits: compact_target(&target),
            height: range.end_height.get(),
            target: little_endian_target(&target),
        })
    }

    fn submit_aux_block(&mut self, hash: BundleHash, auxpow: &[u8]) -> Result<(), String> {
        let (count, slot) = (self.pow_count(), self.slot());
        let share = self
            .templates
            .submit(hash, auxpow, count, slot)
            .map_err(|error| error.to_string())?;
        metrics::counter!("alys_shares_total").increment(1);
        tracing::info!(
            end = share.template.range.end_height.get(),
            "share taken for bundle {}",
            display_hash(hash.as_bytes())
        );
        self.queued.forget();
        self.publish(
            Topic::AuxPow,
            &AuxPowMessage {
                start: share.template.range.start,
                end: share.template.range.end,
                fee_recipient: share.template.fee_recipient,
                auxpow: share.record.auxpow,
            },
        );
        Ok(())
    }

    /// A share that a peer's pool found.
    pub(super) fn take_auxpow(&mut self, message: &AuxPowMessage) -> Verdict {
        let Some(range) = self.range() else {
            return Verdict::Ignore;
        };
        // The range may be an older one, or end a little above what this node knows as final: no peer's fault.
        let (true, Ok(end)) = (message.start == range.start, self.header(message.end)) else {
            return Verdict::Ignore;
        };
        let head = self.consensus.tree().head().id;
        let range = range.ending_at(message.end, end.height, |height| {
            self.ancestor_at(head, height)
        });
        let Some(range) = range else {
            return Verdict::Ignore;
        };
        let (count, slot) = (self.pow_count(), self.slot());
        match self.templates.submit_foreign(
            range,
            message.fee_recipient,
            &message.auxpow,
            count,
            slot,
        ) {
            Ok(_) => {
                self.queued.forget();
                Verdict::Accept
            }
            Err(error) => {
                tracing::warn!("a peer sent a share that does not hold: {error}");
                Verdict::Reject
            }
        }
    }

    /// The share for a block of `slot` on a parent, if there is one that holds there.
    pub(super) fn best_share(&self, parent: &ParentPoint, slot: Slot) -> Option<Share> {
        let start = self.ancestor_at(parent.id, parent.header.pow.height.saturating_add(1))?;
        let (final_height, count) = (parent.implied_final, parent.header.pow.count);
        self.templates
            .best(start, final_height, count, slot, |range| {
                self.ancestor_at(parent.id, range.end_height) == Some(range.end)
            })
            .cloned()
    }

    /// Drops templates and shares whose range is finalised on the final chain and on the head's.
    pub(super) fn retain_templates(&mut self) {
        let tree = self.consensus.tree();
        let starts: Vec<BlockId> = [tree.final_block().id, tree.head().id]
            .into_iter()
            .filter_map(|id| {
                let pow = tree.header(id)?.pow;
                self.ancestor_at(id, pow.height.saturating_add(1))
            })
            .collect();
        self.templates.retain_from(&starts);
        self.queued.forget();
    }

    /// The share that the next block would carry. Looked for only where head, slot or shares are others than before.
    pub(super) fn queued_share(&mut self) -> Option<Arc<Share>> {
        let at = (self.consensus.tree().head().id, self.slot());
        if self.queued.at != Some(at) {
            let share = self
                .parent_point(at.0)
                .and_then(|head| self.best_share(&head, at.1));
            self.queued = Queued {
                at: Some(at),
                share: share.map(Arc::new),
            };
        }
        self.queued.share.clone()
    }
}

/// The share that the next block would carry, as last looked for.
#[derive(Default)]
pub(super) struct Queued {
    /// The head and the slot that it was looked for in; none where shares have changed since.
    at: Option<(BlockId, Slot)>,
    share: Option<Arc<Share>>,
}

impl Queued {
    fn forget(&mut self) {
        self.at = None;
    }
}
