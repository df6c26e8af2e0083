//! A policy in plain language.

use super::{Policy, PolicyFile, ScriptPattern};
use crate::clock::Seconds;
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use alys_protocol::spec::Chain;
use alys_protocol::units::Sats;

/// Says what a policy means; with the chain, what its members could lose at most.
pub fn explain(file: &PolicyFile, chain: Option<&Chain>) -> String {
    let policy = &file.policy;
    let mut lines = vec![
        format!("Policy {} for chain {}.", file.iteration, file.chain_id),
        String::new(),
        "Peg-outs".to_owned(),
        format!(
            "- A single payment is at most {}.",
            btc(policy.cap_single_sats)
        ),
        format!(
            "- In any {} at most {} leave the wallet, fees included, in at most {} payments.",
            duration(policy.window_seconds),
            btc(policy.cap_window_sats),
            policy.count_window_payments
        ),
        format!(
            "- A transaction pays at most {} of fee, at a rate of at most {} sat/vB.",
            btc(policy.max_fee_sats),
            rate(policy)
        ),
        hold(policy),
        format!(
            "- Burns count only below Bitcoin work whose hash is at most {}.",
            policy.pow_floor_target
        ),
    ];
    lines.extend(destinations(policy));
    lines.extend([
        String::new(),
        "Mints".to_owned(),
        format!(
            "- In any {} deposits mint at most {}. A larger single deposit waits for a new policy.",
            duration(policy.mint_window_seconds),
            btc(policy.mint_window_sats)
        ),
        format!(
            "- A deposit has {} confirmations in the signer's own chain of Bitcoin headers, which gives up at most {} \
             blocks to a reorganisation.",
            policy.deposit_confirmations, policy.max_reorg_blocks
        ),
        format!(
            "- Bitcoin headers whose target is easier than {} are not taken.",
            policy.header_floor_target
        ),
        format!(
            "- Nothing is minted while Bitcoin's newest header is more than 3 hours old, or the last {} took more than \
             twice their time.",
            policy.pace_headers
        ),
        String::new(),
        "Votes".to_owned(),
        format!(
            "- The signer votes for slots up to {} past its clock's.",
            policy.slot_horizon_slots
        ),
        String::new(),
        "Times are of the signer's own clock, which goes no faster than Bitcoin's and than the machine's, and stands \
         still while the signer is off."
            .to_owned(),
    ]);
    if let Some(chain) = chain {
        lines.extend([String::new(), loss(policy, chain)]);
    }
    lines.join("\n")
}

/// Claim C4: different sets of `threshold` members may sign different batches.
fn loss(policy: &Policy, chain: &Chain) -> String {
    let members = chain.roster().members().len();
    let threshold = chain.spec().bitcoin.threshold;
    let most = u128::from(policy.cap_window_sats.get())
        .saturating_mul(members as u128)
        .checked_div(u128::from(threshold))
        .and_then(|sats| u64::try_from(sats).ok())
        .map_or(Sats::MAX, Sats::new);
    format!(
        "If all {members} members have this policy and {threshold} sign each batch, somebody who forges what the chain \
         decided takes at most {} in any {}.",
        btc(most),
        duration(policy.window_seconds)
    )
}

fn hold(policy: &Policy) -> String {
    match (policy.hold_blocks, policy.hold_from_sats) {
        (0, _) => "- No payment is held.".to_owned(),
        (blocks, Sats::ZERO) => {
            format!(
                "- Every payment is held until {blocks} blocks after its burn are final by proof of work."
            )
        }
        (blocks, from) => format!(
            "- A payment of {} or more is held until {blocks} blocks after its burn are final by proof of work.",
            btc(from)
        ),
    }
}

fn destinations(policy: &Policy) -> Vec<String> {
    let list = |patterns: &[ScriptPattern]| {
        let words: Vec<String> = patterns.iter().map(|pattern| pattern.to_string()).collect();
        words.join(", ")
    };
    let destinations = &policy.destinations;
    let mut lines = Vec::new();
    match &destinations.allow {
        Some(allowed) => lines.push(format!("- Payments go only to: {}.", list(allowed))),
        None => lines.push("- Payments may go anywhere that the bridge lets them.".to_owned()),
    }
    if !destinations.deny.is_empty() {
        lines.push(format!("- But never to: {}.", list(&destinations.deny)));
    }
    if !destinations.is_any() {
        lines.push("- A payment elsewhere holds up those behind it.".to_owned());
    }
    lines
}

/// An amount in both units.
fn btc(amount: Sats) -> String {
    let sats = amount.get();
    format!("{} BTC ({sats} sat)", decimal(sats, 100_000_000, 8))
}

fn rate(policy: &Policy) -> String {
    decimal(policy.max_fee_rate_sats_per_kvb.get(), 1000, 3)
}

/// `value / unit` without trailing zeros.
fn decimal(value: u64, unit: u64, digits: usize) -> String {
    let whole = value.checked_div(unit).unwrap_or_default();
    let rest = value.checked_rem(unit).unwrap_or_default();
    let text = format!("{whole}.{rest:0digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A length in the largest unit that divides it.
fn duration(length: Seconds) -> String {
    let seconds = length.get();
    let (count, unit) = [(86_400, "day"), (3_600, "hour"), (60, "minute")]
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit))
        .and_then(|(unit, name)| Some((seconds.checked_div(unit)?, name)))
        .unwrap_or((seconds, "second"));
    match count {
        1 => unit.to_owned(),
        _ => format!("{count} {unit}s"),
    }
}
