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
use std::cmp::Reverse;
use std::collections::BTreeMap;
use thiserror::Error;

/// Templates kept at most; the oldest of the lowest range goes first.
const MAX_TEMPLATES: usize = 10_000;
/// Shares kept at most; the one with the lowest range and the least work goes first. On a test chain a share costs next
/// to nothing.
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
    shares: BTreeMap<BundleHash, Share>,
}

/// What makes a share better than another: a longer range, then more work.
const fn value(share: &Share) -> (SideHeight, Reverse<Target>) {
    (share.template.range.end_height, Reverse(share.work))
}

impl Templates {
    /// No templates yet.
    pub fn new(chain_id: ChainId, mining: MiningSpec, anchor_slot: Slot) -> Self {
        Self {
            chain_id,
            mining,
            anchor_slot,
            templates: BTreeMap::new(),
            shares: BTreeMap::new(),
        }
    }

    /// The target of the next record after `count` of them, in a block of `slot`.
    pub fn target(&self, count: PowCount, slot: Slot) -> Target {
        alys_protocol::asert::target(&self.mining, self.anchor_slot, count, slot)
    }

    /// Opens, or finds again, the template of a range and a payout.
    pub fn create(&mut self, range: Range, fee_recipient: EvmAddress) -> Template {
        let template = self.template(range, fee_recipient);
        self.templates.insert(template.hash, template);
        while self.templates.len() > MAX_TEMPLATES {
            let oldest = self
                .templates
                .values()
                .min_by_key(|template| template.range.end_height)
                .map(|template| template.hash);
            match oldest {
                Some(hash) => self.templates.remove(&hash),
                None => break,
            };
        }
        template
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
        let hash = template.hash;
        let proof = AuxPow::decode(auxpow)?;
        proof.verify(self.mining.aux_chain_id, &hash, &self.target(count, slot))?;
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
        // Among shares of one template the first stays, unless a later one has more work: it may pass a harder floor.
        let kept = self.shares.entry(hash).or_insert_with(|| share.clone());
        if share.work < kept.work {
            *kept = share.clone();
        }
        while self.shares.len() > MAX_SHARES {
            let worst = self
                .shares
                .iter()
                .min_by_key(|(_, share)| value(share))
                .map(|(hash, _)| *hash);
            match worst {
                Some(hash) => self.shares.remove(&hash),
                None => break,
            };
        }
        Ok(share)
    }

    /// The share to put into a block of `slot` whose parent has `count` records: of the longest range, then most work.
    ///
    /// `start` is the child of the parent's PoW-final block and `final_height` what the block's chain implies as final.
    pub fn best(
        &self,
        start: BlockId,
        final_height: SideHeight,
        count: PowCount,
        slot: Slot,
    ) -> Option<&Share> {
        let target = self.target(count, slot);
        self.shares
            .values()
            .filter(|share| {
                share.template.range.start == start
                    && share.template.range.end_height <= final_height
                    && share.work <= target
            })
            .max_by_key(|share| value(share))
    }

    /// Forgets what starts elsewhere than at these blocks: the first that the final chain, and the first that the
    /// head's chain, has left to finalise.
    pub fn retain_from(&mut self, starts: &[BlockId]) {
        self.templates
            .retain(|_, template| starts.contains(&template.range.start));
        self.shares
            .retain(|_, share| starts.contains(&share.template.range.start));
    }

    /// Open templates and shares, for metrics.
    pub fn counts(&self) -> (usize, usize) {
        (self.templates.len(), self.shares.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_builder::tests::solved_block;

    fn templates() -> Templates {
        let mining = MiningSpec {
            aux_chain_id: 0xa175,
            pow_limit: Target::new([0xff; 32]),
            anchor_target: Target::new([0xff; 32]),
            slots_per_record: 10,
            half_life_slots: 10,
            max_blocks_without_pow: 100,
        };
        Templates::new(ChainId::new(1), mining, Slot::ZERO)
    }

    fn range(end: u8) -> Range {
        Range {
            start: BlockId::new([1; 32]),
            start_height: SideHeight::new(1),
            end: BlockId::new([end; 32]),
            end_height: SideHeight::new(u64::from(end)),
        }
    }

    const NOW: (PowCount, Slot) = (PowCount::ZERO, Slot::new(1000));

    #[test]
    fn a_share_becomes_the_record_until_its_range_is_finalised() {
        let mut templates = templates();
        let recipient = EvmAddress::new([7; 20]);
        let old = templates.create(range(5), recipient);
        let new = templates.create(range(9), recipient);
        for template in [old, new] {
            let auxpow = solved_block(&template.hash).auxpow.encode();
            let share = templates
                .submit(template.hash, &auxpow, NOW.0, NOW.1)
                .unwrap();
            assert_eq!(share.record.fee_recipient, recipient);
        }
        let start = BlockId::new([1; 32]);
        let best = |final_height: u64| {
            templates
                .best(start, SideHeight::new(final_height), NOW.0, NOW.1)
                .map(|share| share.template.range.end_height.get())
        };
        assert_eq!(best(20), Some(9));
        assert_eq!(
            best(8),
            Some(5),
            "a range must be final on the block's own chain"
        );
        assert_eq!(best(4), None);
        templates.retain_from(&[BlockId::new([2; 32])]);
        assert_eq!(templates.counts(), (0, 0));
    }

    #[test]
    fn work_for_another_payout_or_no_template_is_refused() {
        let mut templates = templates();
        let template = templates.create(range(5), EvmAddress::new([7; 20]));
        let stranger = bundle_hash(
            ChainId::new(1),
            template.range.start,
            template.range.end,
            EvmAddress::new([8; 20]),
        );
        let auxpow = solved_block(&stranger).auxpow.encode();
        assert!(matches!(
            templates.submit(stranger, &auxpow, NOW.0, NOW.1),
            Err(ShareError::UnknownTemplate(_))
        ));
        assert!(matches!(
            templates.submit(template.hash, &auxpow, NOW.0, NOW.1),
            Err(ShareError::AuxPow(AuxPowError::Commitment { .. }))
        ));
        assert!(matches!(
            templates.submit(template.hash, &auxpow[1..], NOW.0, NOW.1),
            Err(ShareError::AuxPow(AuxPowError::Encoding(_)))
        ));
    }

    #[test]
    fn a_peers_share_needs_no_template_and_leaves_none() {
        let mut templates = templates();
        let (recipient, other) = (EvmAddress::new([7; 20]), EvmAddress::new([8; 20]));
        let hash = templates.template(range(5), recipient).hash;
        let auxpow = solved_block(&hash).auxpow.encode();
        let taken = |templates: &mut Templates, recipient| {
            templates.submit_foreign(range(5), recipient, &auxpow, NOW.0, NOW.1)
        };
        assert!(matches!(
            taken(&mut templates, other),
            Err(ShareError::AuxPow(AuxPowError::Commitment { .. }))
        ));
        assert_eq!(templates.counts(), (0, 0));
        let share = taken(&mut templates, recipient).unwrap();
        assert_eq!(share.template.hash, hash);
        assert_eq!(templates.counts(), (0, 1));
        let best = templates.best(range(5).start, SideHeight::new(5), NOW.0, NOW.1);
        assert_eq!(best, Some(&share));
    }

    #[test]
    fn shares_are_bounded_and_the_best_stay() {
        let mut templates = templates();
        for number in 0..(MAX_SHARES as u32 + 5) {
            let mut address = [0; 20];
            address[..4].copy_from_slice(&number.to_le_bytes());
            // The first five are of a shorter range.
            let range = range(if number < 5 { 5 } else { 9 });
            let hash = templates.template(range, EvmAddress::new(address)).hash;
            let auxpow = solved_block(&hash).auxpow.encode();
            templates
                .submit_foreign(range, EvmAddress::new(address), &auxpow, NOW.0, NOW.1)
                .unwrap();
        }
        assert_eq!(templates.counts(), (0, MAX_SHARES));
        assert!(
            templates
                .shares
                .values()
                .all(|share| share.template.range.end_height == SideHeight::new(9))
        );
    }

    #[test]
    fn templates_are_bounded() {
        let mut templates = templates();
        for number in 0..(MAX_TEMPLATES as u32 + 5) {
            let mut address = [0; 20];
            address[..4].copy_from_slice(&number.to_le_bytes());
            templates.create(range(5), EvmAddress::new(address));
        }
        assert_eq!(templates.counts().0, MAX_TEMPLATES);
    }
}
