//! What changes from one policy to the next.

use super::{Destinations, Policy, PolicyFile, ScriptPattern};
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Which way a larger value changes a limit.
#[derive(Debug, Clone, Copy)]
enum Larger {
    Looser,
    Tighter,
    /// A longer window with the same limit lets less through.
    Longer,
    /// Neither looser nor tighter.
    Other,
}

/// One line for each value that differs, each with its direction. Empty where nothing differs.
pub fn diff(old: &PolicyFile, new: &PolicyFile) -> Vec<String> {
    let mut lines = Vec::new();
    if old.chain_id != new.chain_id {
        lines.push(format!(
            "chain_id: {} -> {} (these policies are for different chains)",
            old.chain_id, new.chain_id
        ));
    }
    if old.iteration >= new.iteration {
        lines.push(format!(
            "iteration: {} -> {} (signers that have the old one refuse the new one: it must be higher)",
            old.iteration, new.iteration
        ));
    } else {
        lines.push(format!("iteration: {} -> {}", old.iteration, new.iteration));
    }
    lines.extend(values(&old.policy, &new.policy));
    let (before, after) = (&old.policy.destinations, &new.policy.destinations);
    lines.extend(destinations(before, after));
    lines
}

fn values(old: &Policy, new: &Policy) -> impl Iterator<Item = String> {
    let rows = rows(old).into_iter().zip(rows(new));
    rows.filter_map(|((name, before, larger), (_, after, _))| {
        let word = match (after.cmp(&before), larger) {
            (Ordering::Equal, _) => return None,
            (Ordering::Greater, Larger::Looser) | (Ordering::Less, Larger::Tighter) => "looser",
            (Ordering::Less, Larger::Looser) | (Ordering::Greater, Larger::Tighter) => "tighter",
            (Ordering::Greater, Larger::Longer) => {
                "tighter: the same limit for longer; what a signer no longer knows counts as full at first"
            }
            (Ordering::Less, Larger::Longer) => "looser: the same limit for less time",
            (Ordering::Greater, Larger::Other) => "slower to notice, less often wrong",
            (Ordering::Less, Larger::Other) => "quicker to notice, more often wrong",
        };
        Some(format!("{name}: {before} -> {after} ({word})"))
    })
}

/// A value to compare and to print.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(u64),
    Target(alys_protocol::spec::Target),
}

impl core::fmt::Display for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Target(target) => target.fmt(f),
        }
    }
}

/// Every value of a policy but its lists. Taken apart by name, so that a new one is not forgotten.
fn rows(policy: &Policy) -> Vec<(&'static str, Value, Larger)> {
    let Policy {
        slot_horizon_slots,
        max_fee_rate_sats_per_kvb,
        max_fee_sats,
        cap_single_sats,
        window_seconds,
        cap_window_sats,
        count_window_payments,
        mint_window_seconds,
        mint_window_sats,
        deposit_confirmations,
        pace_headers,
        max_reorg_blocks,
        header_floor_target,
        hold_from_sats,
        hold_blocks,
        pow_floor_target,
        destinations: _,
    } = policy;
    let number = |name, value, larger| (name, Value::Number(value), larger);
    vec![
        number("slot_horizon_slots", *slot_horizon_slots, Larger::Looser),
        number(
            "max_fee_rate_sats_per_kvb",
            max_fee_rate_sats_per_kvb.get(),
            Larger::Looser,
        ),
        number("max_fee_sats", max_fee_sats.get(), Larger::Looser),
        number("cap_single_sats", cap_single_sats.get(), Larger::Looser),
        number("window_seconds", window_seconds.get(), Larger::Longer),
        number("cap_window_sats", cap_window_sats.get(), Larger::Looser),
        number(
            "count_window_payments",
            count_window_payments.get(),
            Larger::Looser,
        ),
        number(
            "mint_window_seconds",
            mint_window_seconds.get(),
            Larger::Longer,
        ),
        number("mint_window_sats", mint_window_sats.get(), Larger::Looser),
        number(
            "deposit_confirmations",
            u64::from(*deposit_confirmations),
            Larger::Tighter,
        ),
        number("pace_headers", u64::from(*pace_headers), Larger::Other),
        number(
            "max_reorg_blocks",
            u64::from(*max_reorg_blocks),
            Larger::Looser,
        ),
        (
            "header_floor_target",
            Value::Target(*header_floor_target),
            Larger::Looser,
        ),
        number("hold_from_sats", hold_from_sats.get(), Larger::Looser),
        number("hold_blocks", *hold_blocks, Larger::Tighter),
        (
            "pow_floor_target",
            Value::Target(*pow_floor_target),
            Larger::Looser,
        ),
    ]
}

fn destinations(old: &Destinations, new: &Destinations) -> Vec<String> {
    let mut lines = Vec::new();
    match (&old.allow, &new.allow) {
        (None, Some(_)) => {
            lines.push("destinations.allow: anything -> a list (tighter)".to_owned());
        }
        (Some(_), None) => {
            lines.push("destinations.allow: a list -> anything (looser)".to_owned());
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    let allow = |list: &Destinations| list.allow.clone().unwrap_or_default();
    let (looser, tighter) = ("looser", "tighter");
    lines.extend(list("allow", &allow(old), &allow(new), looser, tighter));
    lines.extend(list("deny", &old.deny, &new.deny, tighter, looser));
    lines
}

fn list(
    name: &str,
    old: &[ScriptPattern],
    new: &[ScriptPattern],
    more: &str,
    fewer: &str,
) -> Vec<String> {
    let only = |these: &[ScriptPattern], those: &[ScriptPattern], sign: char, word: &str| {
        these
            .iter()
            .filter(|pattern| !those.contains(pattern))
            .map(|pattern| format!("destinations.{name}: {sign} {pattern} ({word})"))
            .collect::<Vec<String>>()
    };
    let mut lines = only(old, new, '-', fewer);
    lines.extend(only(new, old, '+', more));
    lines
}
