//! Bitcoin's header rules once more, over the whole chain from genesis on: regtest's, whose difficulty never changes.

use super::universe::{CHECKPOINT, MAX_REORG};
use alys_protocol::rules::Rule;
use bitcoin::BlockHash;
use bitcoin::block::Header;

const REGTEST_BITS: u32 = 0x207f_ffff;

/// The chain after a batch of headers; none where it stays as it is.
///
/// # Errors
/// - the rules that the batch, or its first bad header, breaks.
pub fn judge(
    best: &[Header],
    checkpoint: BlockHash,
    batch: &[Header],
    now: u64,
) -> Result<Option<Vec<Header>>, Vec<Rule>> {
    let Some(first) = batch.first() else {
        return Ok(None);
    };
    if best.is_empty() {
        return open(checkpoint, batch, now).map(Some);
    }
    let parent = best
        .iter()
        .rposition(|header| header.block_hash() == first.prev_blockhash);
    let Some(parent) = parent else {
        return Err(vec![Rule::HeaderLink]);
    };
    let shared = best[parent + 1..]
        .iter()
        .zip(batch)
        .take_while(|(ours, theirs)| ours == theirs)
        .count();
    let (fork, fresh) = (parent + shared, &batch[shared..]);
    if fresh.is_empty() {
        return Ok(None);
    }
    let tip = best.len() - 1;
    if fork < CHECKPOINT as usize || tip - fork > MAX_REORG as usize {
        return Err(vec![Rule::ReorgDepth]);
    }
    let mut branch = best[..=fork].to_vec();
    for header in fresh {
        append(&mut branch, header, now)?;
    }
    Ok((branch.len() > best.len()).then_some(branch))
}

/// The first headers: up to the checkpoint they need their links and work only.
fn open(checkpoint: BlockHash, batch: &[Header], now: u64) -> Result<Vec<Header>, Vec<Rule>> {
    let (below, above) = batch.split_at(batch.len().min(CHECKPOINT as usize + 1));
    let linked = below
        .windows(2)
        .all(|pair| pair[1].prev_blockhash == pair[0].block_hash());
    let reaches = below.len() == CHECKPOINT as usize + 1
        && below
            .last()
            .is_some_and(|last| last.block_hash() == checkpoint);
    let mut broken = Vec::new();
    if !linked || !reaches {
        broken.push(Rule::HeaderLink);
    }
    if !below.iter().all(has_work) {
        broken.push(Rule::HeaderWork);
    }
    if !broken.is_empty() {
        return Err(broken);
    }
    let mut chain = below.to_vec();
    for header in above {
        append(&mut chain, header, now)?;
    }
    Ok(chain)
}

fn has_work(header: &Header) -> bool {
    header.bits.to_consensus() == REGTEST_BITS && header.validate_pow(header.target()).is_ok()
}

fn append(chain: &mut Vec<Header>, header: &Header, now: u64) -> Result<(), Vec<Rule>> {
    let mut broken = Vec::new();
    let mut demand = |holds: bool, rule| {
        if !holds {
            broken.push(rule);
        }
    };
    demand(
        header.prev_blockhash == chain[chain.len() - 1].block_hash(),
        Rule::HeaderLink,
    );
    demand(
        header.bits.to_consensus() == REGTEST_BITS,
        Rule::HeaderRetarget,
    );
    demand(has_work(header), Rule::HeaderWork);
    demand(header.time > median(chain), Rule::HeaderWork);
    demand(u64::from(header.time) <= now + 2 * 3600, Rule::HeaderWork);
    if broken.is_empty() {
        chain.push(*header);
        return Ok(());
    }
    Err(broken)
}

/// Median of the last eleven times.
pub fn median(chain: &[Header]) -> u32 {
    let last = &chain[chain.len().saturating_sub(11)..];
    let mut times: Vec<u32> = last.iter().map(|header| header.time).collect();
    times.sort_unstable();
    times[times.len() / 2]
}
