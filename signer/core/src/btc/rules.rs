//! The rules of area `btc`, one pure function each.

use super::network::meets_bits;
use super::{Headers, NetworkRules, Tip, UnixTime};
use crate::refusal::refusal;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::units::BtcHeight;
use bitcoin::block::Header;
use bitcoin::pow::Target;

/// Seconds that a header may be ahead of the signer's clock: Bitcoin Core's `MAX_FUTURE_BLOCK_TIME`.
pub const MAX_FUTURE_SECONDS: u64 = 2 * 60 * 60;
/// Seconds that the tip may lag the clock before mints stop (design 10).
pub const MAX_LAG_SECONDS: u64 = 3 * 60 * 60;

/// A header's parent is known. Returns the parent's height on the best chain.
///
/// # Errors
/// - a refusal by rule `header-link`.
pub fn header_link(chain: &impl Headers, header: &Header) -> Result<BtcHeight, Refusal> {
    let unknown = |newest: &dyn core::fmt::Display| {
        refusal(
            Rule::HeaderLink,
            format_args!("a child of a header of the best chain, {newest}"),
            format_args!("a child of {}", header.prev_blockhash),
        )
    };
    let Some(tip) = chain.tip() else {
        return Err(unknown(&"which is not opened yet"));
    };
    if tip.hash == header.prev_blockhash {
        return Ok(tip.height);
    }
    // A header's parent hash is the hash at the height below.
    let mut height = tip.height;
    while let (Some(above), Some(below)) = (chain.header(height), height.checked_sub(1)) {
        if above.prev_blockhash == header.prev_blockhash && chain.header(below).is_some() {
            return Ok(below);
        }
        height = below;
    }
    Err(unknown(&format_args!(
        "whose tip is {} at height {}",
        tip.hash, tip.height
    )))
}

/// A header's hash is at most its target, which is within the network's limit; its time is above the median of the last
/// eleven and at most two hours past the signer's clock.
///
/// `now` is none where the signer has no clock but the headers' own: a device without a battery.
///
/// # Errors
/// - a refusal by rule `header-work`.
pub fn header_work(
    rules: &NetworkRules,
    chain: &impl Headers,
    parent: BtcHeight,
    header: &Header,
    now: Option<UnixTime>,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::HeaderWork;
    proof_of_work(rules, header)?;
    let Some(median) = chain.median_time(parent) else {
        return Err(refusal(
            RULE,
            format_args!("the eleven headers up to height {parent}"),
            "fewer",
        ));
    };
    if header.time <= median.get() {
        return Err(refusal(
            RULE,
            format_args!(
                "a time above {} s, the median of the last eleven",
                median.get()
            ),
            format_args!("{} s", header.time),
        ));
    }
    let time = UnixTime::of(header);
    let latest = now.map(|now| UnixTime::new(now.get().saturating_add(MAX_FUTURE_SECONDS)));
    match latest {
        Some(latest) if time > latest => Err(refusal(
            RULE,
            format_args!("a time of at most {latest}, two hours past the clock"),
            time,
        )),
        Some(_) | None => Ok(()),
    }
}

/// The part of [`header_work`] that a header shows by itself.
///
/// # Errors
/// - a refusal by rule `header-work`.
pub fn proof_of_work(rules: &NetworkRules, header: &Header) -> Result<(), Refusal> {
    let hash = header.block_hash();
    if meets_bits(rules.easiest_target(), header.bits, hash) {
        return Ok(());
    }
    Err(refusal(
        Rule::HeaderWork,
        format_args!(
            "a hash of at most the target of bits {:08x}, itself at most {:064x}",
            header.bits,
            rules.easiest_target()
        ),
        hash,
    ))
}

/// A header has exactly the bits that follow from its ancestors and, where minimum difficulty is allowed after twenty
/// minutes, from its time; on testnet4 the first of a period is not more than 600 s older than its parent (BIP 94).
///
/// # Errors
/// - a refusal by rule `header-retarget`.
pub fn header_retarget(
    rules: &NetworkRules,
    chain: &impl Headers,
    parent: BtcHeight,
    header: &Header,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::HeaderRetarget;
    let height = parent.saturating_add(1);
    let required = rules.required_bits(chain, parent, header.time);
    let (Some(required), Some(last)) = (required, chain.header(parent)) else {
        return Err(refusal(
            RULE,
            format_args!("the headers from {} on", rules.period_start(parent)),
            "fewer",
        ));
    };
    if header.bits != required {
        return Err(refusal(
            RULE,
            format_args!("bits {required:08x} at height {height}"),
            format_args!("{:08x}", header.bits),
        ));
    }
    match rules.earliest_after(height, &last) {
        Some(earliest) if header.time < earliest => Err(refusal(
            RULE,
            format_args!("a time of at least {earliest} s at the start of a period"),
            format_args!("{} s", header.time),
        )),
        Some(_) | None => Ok(()),
    }
}

/// A header's target is at most the policy's. What a signer that was off for years finds on its old tip or checkpoint is
/// so easy today that somebody who owns all its nodes could mine on it: officers say what Bitcoin's difficulty has not
/// been below for long.
///
/// # Errors
/// - a refusal by rule `header-work`.
pub fn header_floor(easiest: &Target, header: &Header) -> Result<(), Refusal> {
    let found = header.target();
    if found <= *easiest {
        return Ok(());
    }
    Err(refusal(
        Rule::HeaderWork,
        format_args!("a target of at most {easiest:064x}, the policy's floor"),
        format_args!("{found:064x}"),
    ))
}

/// A branch takes at most `maximum` blocks off the best chain, and never the checkpoint.
///
/// Past that the signer stays where it is until officers name a new checkpoint.
///
/// # Errors
/// - a refusal by rule `reorg-depth`.
pub fn reorg_depth(
    maximum: u32,
    checkpoint: BtcHeight,
    tip: Tip,
    fork: BtcHeight,
) -> Result<(), Refusal> {
    if fork < checkpoint {
        return Err(refusal(
            Rule::ReorgDepth,
            format_args!("a fork not below the checkpoint at height {checkpoint}"),
            format_args!("one at height {fork}"),
        ));
    }
    let depth = tip.height.saturating_sub(fork.get());
    if depth.get() > maximum {
        return Err(refusal(
            Rule::ReorgDepth,
            format_args!(
                "a fork at most {maximum} blocks below height {}",
                tip.height
            ),
            format_args!("one at height {fork}, {depth} below"),
        ));
    }
    Ok(())
}

/// "No mint while the Bitcoin tip lags the clock by more than 3 h or the last k headers took more than twice their
/// expected time": then headers may be withheld, or come from a private chain with little work.
///
/// A chain of fewer than `headers` since genesis, or since it opened, does not mint. Honest miners miss the three hours
/// once in 65 million blocks, and twice the time of 36 headers once in a million.
///
/// # Errors
/// - a refusal by rule `header-pace`.
pub fn header_pace(
    rules: &NetworkRules,
    chain: &impl Headers,
    headers: u32,
    now: UnixTime,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::HeaderPace;
    let newest = chain.tip().and_then(|tip| {
        let first = chain.header(tip.height.checked_sub(headers)?)?;
        Some((chain.header(tip.height)?, first))
    });
    let Some((last, first)) = newest else {
        return Err(refusal(
            RULE,
            format_args!("a chain of more than {headers} Bitcoin headers"),
            "a shorter one",
        ));
    };
    let lag = now.get().saturating_sub(UnixTime::of(&last).get());
    if lag > MAX_LAG_SECONDS {
        return Err(refusal(
            RULE,
            format_args!("a Bitcoin tip at most {MAX_LAG_SECONDS} s behind the clock"),
            format_args!("one {lag} s behind"),
        ));
    }
    let took = last.time.saturating_sub(first.time);
    let allowed = u64::from(headers)
        .saturating_mul(rules.spacing_seconds())
        .saturating_mul(2);
    if u64::from(took) > allowed {
        return Err(refusal(
            RULE,
            format_args!("the last {headers} Bitcoin headers within {allowed} s"),
            format_args!("{took} s"),
        ));
    }
    Ok(())
}
