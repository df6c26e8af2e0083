//! The node's side of merged mining: templates handed out, shares taken back, and the record for the next block.
//!
//! Time and the chain's position are inputs. A template is found again by the hash that the work commits to, so it
//! does not matter how long a pool works on it; it is forgotten when its range is finalised or no longer on the chain.

use alys_protocol::auxpow::{AuxPow, AuxPowError};
use alys_protocol::body::{MAX_AUXPOW_BYTES, PowRecord};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, BundleHash, EvmAddress};
use alys_protocol::header::bundle_hash;
use alys_protocol::spec::{MiningSpec, Target};
use alys_protocol::units::{ChainId, PowCount, SideHeight, Slot};
use std::collections::BTreeMap;
use thiserror::Error;

/// Templates kept at most; the range with the most of them loses its newest. So whoever asks for one payout after another
/// closes no template of another range, and none that was there before in the same one.
const MAX_TEMPLATES: usize = 10_000;
/// Ranges with a share at most; the lowest goes first.
const MAX_SHARES: usize = 1_000;

/// The range that can be mined now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Child of the newest PoW-final block.
    pub start: BlockId,
    /// Its height.
    pub start_height: SideHeight,
    /// The newest final block.
    pub end: BlockId,
    /// Its height.
    pub end_height: SideHeight,
}

impl Range {
    /// The range from the same start to another end of the chain that `ancestor_at` looks up; `None` where the end is
    /// not on that chain, or lies below the start.
    pub fn ending_at(
        self,
        end: BlockId,
        end_height: SideHeight,
        ancestor_at: impl FnOnce(SideHeight) -> Option<BlockId>,
    ) -> Option<Self> {
        let on_chain = end_height >= self.start_height && ancestor_at(end_height) == Some(end);
        on_chain.then_some(Self {
            end,
            end_height,
            ..self
        })
    }

    /// Sorts ranges by their end.
    const fn key(&self) -> RangeKey {
        RangeKey {
            end_height: self.end_height,
            end: self.end,
            start: self.start,
        }
    }
}

/// One range; sorted by the end's height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RangeKey {
    end_height: SideHeight,
    end: BlockId,
    start: BlockId,
}

/// A template: a range and whom to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// What the work commits to.
    pub hash: BundleHash,
    /// The range.
    pub range: Range,
    /// Who gets the miner's share.
    pub fee_recipient: EvmAddress,
}

/// A share that met the target when it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The template that was worked on.
    pub template: Template,
    /// The work as a number; smaller is more.
    pub work: Target,
    /// The record for a block.
    pub record: PowRecord,
}

/// A template that is not opened.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected at most {MAX_TEMPLATES} open templates: ask again when the next block is final")]
pub struct TooManyTemplates;

/// A share that is not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ShareError {
    /// No such template: never handed out, or its range is finalised already.
    #[error("no template {0} is open: ask for a new one")]
    UnknownTemplate(String),
    /// The proof does not hold.
    #[error(transparent)]
    AuxPow(#[from] AuxPowError),
    /// The proof is longer than a block may carry.
    #[error("expected an AuxPoW of at most {MAX_AUXPOW_BYTES} bytes, found {found}")]
    TooLong {
        /// Length found.
        found: usize,
    },
}

/// Templates and shares of one node.
#[derive(Debug, Clone)]
pub struct Templates {
    chain_id: ChainId,
    mining: MiningSpec,
    anchor_slot: Slot,
    templates: BTreeMap<BundleHash, Template>,
    /// The templates of each range, oldest first.
    ranges: BTreeMap<RangeKey, Vec<BundleHash>>,
    /// The share with the most work of each range: it holds wherever another one of the range does.
    shares: BTreeMap<RangeKey, Share>,
}

impl Templates {
    /// No templates yet.
    pub fn new(chain_id: ChainId, mining: MiningSpec, anchor_slot: Slot) -> Self {
        Self {
            chain_id,
            mining,
            anchor_slot,
            templates: BTreeMap::new(),
            ranges: BTreeMap::new(),
            shares: BTreeMap::new(),
        }
    }

    /// The target of the next record after `count` of them, in a block of `slot`.
    pub fn target(&self, count: PowCount, slot: Slot) -> Target {
        alys_protocol::asert::target(&self.mining, self.anchor_slot, count, slot)
    }

    /// Opens, or finds again, the template of a range and a payout.
    ///
    /// # Errors
    /// - [`TooManyTemplates`] where this range has the most of too many.
    pub fn create(
        &mut self,
        range: Range,
        fee_recipient: EvmAddress,
    ) -> Result<Template, TooManyTemplates> {
        let template = self.template(range, fee_recipient);
        if self.templates.insert(template.hash, template).is_none() {
            let of_range = self.ranges.entry(range.key()).or_default();
            of_range.push(template.hash);
        }
        if self.templates.len() > MAX_TEMPLATES {
            let fullest = self.ranges.values_mut().max_by_key(|hashes| hashes.len());
            if let Some(newest) = fullest.and_then(Vec::pop) {
                self.templates.remove(&newest);
            }
        }
        if self.templates.contains_key(&template.hash) {
            Ok(template)
        } else {
            Err(TooManyTemplates)
        }
    }

    /// Takes a share for an open template.
    ///
    /// # Errors
    /// - [`ShareError`] where the template is unknown, or the proof does not hold under the present target.
    pub fn submit(
        &mut self,
        hash: BundleHash,
        auxpow: &[u8],
        count: PowCount,
        slot: Slot,
    ) -> Result<Share, ShareError> {
        let template = self.templates.get(&hash).copied().ok_or_else(|| {
            ShareError::UnknownTemplate(crate::aux_block::display_hash(hash.as_bytes()))
        })?;
        self.take(template, auxpow, count, slot)
    }

    /// Takes a share that somebody else's pool found, for a range that is minable here. Opens no template, so that what
    /// does not hold leaves nothing behind.
    ///
    /// # Errors
    /// - [`ShareError`] where the proof does not hold under the present target.
    pub fn submit_foreign(
        &mut self,
        range: Range,
        fee_recipient: EvmAddress,
        auxpow: &[u8],
        count: PowCount,
        slot: Slot,
    ) -> Result<Share, ShareError> {
        let template = self.template(range, fee_recipient);
        self.take(template, auxpow, count, slot)
    }

    fn template(&self, range: Range, fee_recipient: EvmAddress) -> Template {
        Template {
            hash: bundle_hash(self.chain_id, range.start, range.end, fee_recipient),
            range,
            fee_recipient,
        }
    }

    fn take(
        &mut self,
        template: Template,
        auxpow: &[u8],
        count: PowCount,
        slot: Slot,
    ) -> Result<Share, ShareError> {
        let proof = AuxPow::decode(auxpow)?;
        proof.verify(
            self.mining.aux_chain_id,
            &template.hash,
            &self.target(count, slot),
        )?;
        let auxpow = BoundedVec::new(auxpow.to_vec())
            .map_err(|error| ShareError::TooLong { found: error.found })?;
        let share = Share {
            template,
            work: proof.work_hash(),
            record: PowRecord {
                start: template.range.start,
                fee_recipient: template.fee_recipient,
                auxpow,
            },
        };
        let key = template.range.key();
        let kept = self.shares.entry(key).or_insert_with(|| share.clone());
        if share.work < kept.work {
            *kept = share.clone();
        }
        while self.shares.len() > MAX_SHARES {
            self.shares.pop_first();
        }
        Ok(share)
    }

    /// The share to put into a block of `slot` whose parent has `count` records: of the longest range, then most work.
    ///
    /// `start` is the child of the parent's PoW-final block, `final_height` what the block's chain implies as final, and
    /// `on_chain` says whether a range ends on that chain.
    pub fn best(
        &self,
        start: BlockId,
        final_height: SideHeight,
        count: PowCount,
        slot: Slot,
        on_chain: impl Fn(&Range) -> bool,
    ) -> Option<&Share> {
        let target = self.target(count, slot);
        // By the end's height: no two ranges from one start end at the same height of one chain.
        self.shares.values().rev().find(|share| {
            let range = &share.template.range;
            range.start == start
                && range.end_height <= final_height
                && share.work <= target
                && on_chain(range)
        })
    }

    /// Forgets what starts elsewhere than at these blocks: the first that the final chain, and the first that the
    /// head's chain, has left to finalise.
    pub fn retain_from(&mut self, starts: &[BlockId]) {
        self.templates
            .retain(|_, template| starts.contains(&template.range.start));
        self.ranges.retain(|range, _| starts.contains(&range.start));
        self.shares.retain(|range, _| starts.contains(&range.start));
    }

    /// Open templates and shares, for metrics.
    pub fn counts(&self) -> (usize, usize) {
        (self.templates.len(), self.shares.len())
    }
}

#[cfg(test)]
mod tests;
