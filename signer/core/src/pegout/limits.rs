//! The signer's own limits on what a batch moves (regression N8): they hold whatever nodes and chain decided.

use super::transaction::Batch;
use crate::policy::Policy;
use crate::refusal::refusal;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::units::Sats;

/// The fee is below the policy's absolute limit.
///
/// # Errors
/// - a refusal by rule `fee-absolute`.
pub fn fee_absolute(policy: &Policy, batch: &Batch<'_>) -> Result<(), Refusal> {
    at_most(Rule::FeeAbsolute, "a fee", policy.max_fee_sats, batch.fee())
}

/// No payment is above its cap.
///
/// # Errors
/// - a refusal by rule `cap-single`.
pub fn cap_single(policy: &Policy, batch: &Batch<'_>) -> Result<(), Refusal> {
    batch.request.burns.iter().try_for_each(|evidence| {
        at_most(
            Rule::CapSingle,
            "a payment",
            policy.cap_single_sats,
            evidence.burn.amount,
        )
    })
}

/// What leaves the wallet, fees included, stays within the limit; one batch by now, a rolling window with issue 3.
///
/// # Errors
/// - a refusal by rule `cap-window`.
pub fn cap_window(policy: &Policy, batch: &Batch<'_>) -> Result<(), Refusal> {
    at_most(
        Rule::CapWindow,
        "a batch",
        policy.cap_window_sats,
        batch.leaving(),
    )?;
    let burned = batch.burned()?;
    at_most(
        Rule::CapWindow,
        "burns",
        batch.chain.spec().pegout.max_batch_value_sats,
        burned,
    )
}

fn at_most(rule: Rule, what: &str, limit: Sats, found: Sats) -> Result<(), Refusal> {
    if found > limit {
        return Err(refusal(
            rule,
            format_args!("{what} of at most {limit} sat"),
            found,
        ));
    }
    Ok(())
}

/// Payments stay within the count; of one batch by now, of a rolling window with issue 3.
///
/// # Errors
/// - a refusal by rule `count-window`.
pub fn count_window(policy: &Policy, batch: &Batch<'_>) -> Result<(), Refusal> {
    let found = batch.burns() as u64;
    if found > policy.count_window_payments {
        return Err(refusal(
            Rule::CountWindow,
            format_args!("at most {} payments", policy.count_window_payments),
            found,
        ));
    }
    Ok(())
}
