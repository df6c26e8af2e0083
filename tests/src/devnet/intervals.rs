//! The time between blocks, as somebody sees it who asks a node again and again.

use crate::cluster::Cluster;
use alys_protocol::units::Slot;
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::BlockInfo;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two questions: the resolution of the measurement.
const POLL: Duration = Duration::from_millis(10);
/// Between two lines that say how far it is.
const SAY: Duration = Duration::from_secs(30);

/// Certified blocks over a number of slots, seen through the first node's JSON-RPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockIntervals {
    /// Slots between the first and the last block.
    pub slots: u64,
    /// Blocks in these.
    pub blocks: u64,
    /// Slots without a block.
    pub missed: u64,
    /// Milliseconds between the certification of two successive blocks.
    pub interval_ms: Quantiles,
    /// Milliseconds from the begin of a block's slot to its certification.
    pub certified_after_ms: Quantiles,
}

/// Of a number of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Half are not above.
    pub median: u64,
    /// 99 of 100 are not above.
    pub p99: u64,
    /// None is above.
    pub largest: u64,
}

impl Quantiles {
    /// By nearest rank; none of no values.
    fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            median: rank(50)?,
            p99: rank(99)?,
            largest: rank(100)?,
        })
    }
}

/// Watches so many slots.
///
/// # Errors
/// - where a process dies or the node cannot be asked.
pub(super) async fn measure(cluster: &mut Cluster, slots: u64) -> anyhow::Result<BlockIntervals> {
    let node = cluster.node(0)?;
    let duration_ms = cluster.chain().spec().slots.duration_ms;
    let mut poll = tokio::time::interval(POLL);
    let mut seen: Vec<(BlockInfo, Instant)> = Vec::new();
    let (mut intervals, mut delays) = (Vec::new(), Vec::new());
    let mut said = Instant::now();
    // The head at the begin is no arrival.
    let mut known = node.rpc.head_block().await?.id;
    loop {
        poll.tick().await;
        cluster.check_processes()?;
        let head = node.rpc.head_block().await?;
        if head.id == known {
            continue;
        }
        known = head.id;
        let now = Instant::now();
        delays.push(since(head.slot, duration_ms)?);
        if let Some((_, earlier)) = seen.last() {
            intervals.push(u64::try_from((now - *earlier).as_millis())?);
        }
        seen.push((head, now));
        let (Some((first, _)), Some((last, _))) = (seen.first(), seen.last()) else {
            continue;
        };
        let passed = last.slot.get().saturating_sub(first.slot.get());
        if said.elapsed() > SAY {
            said = now;
            println!("    {passed} of {slots} slots watched");
        }
        if passed >= slots {
            let blocks = last.height.get().saturating_sub(first.height.get());
            return Ok(BlockIntervals {
                slots: passed,
                blocks,
                missed: passed.saturating_sub(blocks),
                interval_ms: Quantiles::of(intervals).context("expected two blocks at least")?,
                certified_after_ms: Quantiles::of(delays).context("expected a block at least")?,
            });
        }
    }
}

fn since(slot: Slot, duration_ms: u64) -> anyhow::Result<u64> {
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    Ok(now.saturating_sub(slot.get().saturating_mul(duration_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_nearest_rank() {
        assert_eq!(Quantiles::of(Vec::new()), None);
        let quantiles = |median, p99, largest| Quantiles {
            median,
            p99,
            largest,
        };
        assert_eq!(Quantiles::of(vec![7]), Some(quantiles(7, 7, 7)));
        assert_eq!(Quantiles::of(vec![3, 1, 2]), Some(quantiles(2, 3, 3)));
        let hundred = (1..=200).rev().collect();
        assert_eq!(Quantiles::of(hundred), Some(quantiles(100, 198, 200)));
    }
}
