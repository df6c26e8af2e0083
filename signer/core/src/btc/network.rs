//! What each network demands of a header's difficulty: Bitcoin Core's `GetNextWorkRequired` (`src/pow.cpp`).

use super::{Headers, RETARGET_HEADERS};
use alys_protocol::units::BtcHeight;
use bitcoin::block::Header;
use bitcoin::consensus::Params;
use bitcoin::pow::{CompactTarget, Target};
use bitcoin::{BlockHash, Network};

/// Seconds by which the first block of a period may at most be older than its parent (BIP 94).
const MAX_TIMEWARP_SECONDS: u32 = 600;

/// A network's rules of work.
#[derive(Debug, Clone)]
pub struct NetworkRules {
    params: Params,
    bip94: bool,
}

impl NetworkRules {
    /// The rules of a network of Bitcoin's.
    pub fn new(network: Network) -> Self {
        Self {
            params: Params::new(network),
            bip94: network == Network::Testnet4,
        }
    }

    /// Rules with other numbers, so that retargeting is tested on chains that a laptop mines.
    ///
    /// As in Bitcoin Core, the easiest target times four periods' seconds must fit 256 bits.
    pub fn custom(params: Params, bip94: bool) -> Self {
        Self { params, bip94 }
    }

    /// Blocks of one retarget period.
    pub fn interval(&self) -> u32 {
        self.params
            .pow_target_timespan
            .checked_div(self.params.pow_target_spacing)
            .and_then(|blocks| u32::try_from(blocks).ok())
            .filter(|blocks| *blocks > 0)
            .unwrap_or(RETARGET_HEADERS)
    }

    /// Seconds from one block to the next when work and target are in balance.
    pub fn spacing_seconds(&self) -> u64 {
        self.params.pow_target_spacing
    }

    /// The easiest target there is.
    pub fn easiest_target(&self) -> Target {
        self.params.max_attainable_target
    }

    /// Whether a height is the first of its retarget period.
    pub fn starts_period(&self, height: BtcHeight) -> bool {
        height.get().checked_rem(self.interval()) == Some(0)
    }

    /// The first height of the retarget period that a height lies in.
    pub fn period_start(&self, height: BtcHeight) -> BtcHeight {
        let offset = height
            .get()
            .checked_rem(self.interval())
            .unwrap_or_default();
        height.saturating_sub(offset)
    }

    /// The bits that a child of the header at `parent` must have if it was made at `time`; none where `chain` does not
    /// reach back far enough.
    pub fn required_bits(
        &self,
        chain: &impl Headers,
        parent: BtcHeight,
        time: u32,
    ) -> Option<CompactTarget> {
        let last = chain.header(parent)?;
        // Then all headers since genesis have the same bits: the easiest.
        if self.params.no_pow_retargeting {
            return Some(last.bits);
        }
        if self.starts_period(parent.checked_add(1)?) {
            return self.retarget(chain, parent, &last);
        }
        if !self.params.allow_min_difficulty_blocks {
            return Some(last.bits);
        }
        // "If the new block's timestamp is more than 2 * 10 minutes then allow mining of a min-difficulty block."
        let easiest = self.easiest_target().to_compact_lossy();
        let late =
            u64::from(last.time).saturating_add(self.params.pow_target_spacing.saturating_mul(2));
        if u64::from(time) > late {
            return Some(easiest);
        }
        // "Return the last non-special-min-difficulty-rules-block."
        let (mut height, mut header) = (parent, last);
        while !self.starts_period(height) && header.bits == easiest {
            height = height.checked_sub(1)?;
            header = chain.header(height)?;
        }
        Some(header.bits)
    }

    /// The first bits of a new period: the old ones by the time between the old period's first and last block, which is
    /// one block too few, clamped to a quarter and to four times the expected time.
    fn retarget(
        &self,
        chain: &impl Headers,
        parent: BtcHeight,
        last: &Header,
    ) -> Option<CompactTarget> {
        let first = chain.header(self.period_start(parent))?;
        // Block times may go back; Core's signed difference is then clamped upwards just the same. The crate's own
        // `from_header_difficulty_adjustment` would overflow here.
        let took = last.time.saturating_sub(first.time);
        // BIP 94: the first block never has the minimum difficulty by exception.
        let bits = if self.bip94 { first.bits } else { last.bits };
        Some(CompactTarget::from_next_work_required(
            bits,
            u64::from(took),
            &self.params,
        ))
    }

    /// The earliest time that BIP 94 allows for a child of `parent` at the start of a period.
    pub fn earliest_after(&self, height: BtcHeight, parent: &Header) -> Option<u32> {
        (self.bip94 && self.starts_period(height))
            .then(|| parent.time.saturating_sub(MAX_TIMEWARP_SECONDS))
    }
}

/// Whether bits are as Bitcoin writes them, stand for a target within `limit`, and `hash` meets it.
pub(crate) fn meets_bits(limit: Target, bits: CompactTarget, hash: BlockHash) -> bool {
    let target = Target::from_compact(bits);
    // Bits that overflow or are negative read as another target here, and are never written so.
    target != Target::ZERO
        && target <= limit
        && target.to_compact_lossy() == bits
        && target.is_met_by(hash)
}
