//! The signer's own limits on what a batch moves (regression N8): they hold whatever nodes and chain decided.

use super::transaction::Batch;
use crate::clock::WindowTime;
use crate::policy::Policy;
use crate::refusal::refusal;
use crate::state::{Family, PegOutState};
use crate::window::Payments;
use alys_protocol::peg::BatchRecord;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, Sats, SideHeight};
use bitcoin::Script;

/// The fee is below the policy's absolute limit.
///
/// # Errors
/// - a refusal by rule `fee-absolute`.
pub fn fee_absolute(policy: &Policy, batch: &Batch<'_>) -> Result<(), Refusal> {
    at_most(Rule::FeeAbsolute, "a fee", policy.max_fee_sats, batch.fee())
}

/// No payment is above its cap. A burn pays its share of the fee out of its amount, so the amount includes it.
///
/// # Errors
/// - a refusal by rule `cap-single`.
pub fn cap_single(policy: &Policy, batch: &Batch<'_>) -> Result<(), Refusal> {
    batch.paid_burns().try_for_each(|evidence| {
        at_most(
            Rule::CapSingle,
            "a payment",
            policy.cap_single_sats,
            evidence.burn.amount,
        )
    })
}

/// What leaves the wallet, fees included, stays within the rolling limit. A family is charged once, at its largest
/// member: a replacement is charged what it takes beyond that.
///
/// # Errors
/// - a refusal by rule `cap-window`.
pub fn cap_window(
    policy: &Policy,
    state: &PegOutState,
    now: WindowTime,
    batch: &Batch<'_>,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::CapWindow;
    let burned = batch.burned()?;
    at_most(
        RULE,
        "burns",
        batch.chain.spec().pegout.max_batch_value_sats,
        burned,
    )?;
    let (value, _) = increase(state, batch);
    state
        .value_window
        .admit(RULE, now, policy.value_limit(), value)
}

/// Payments stay within the rolling count. A replacement makes none.
///
/// # Errors
/// - a refusal by rule `count-window`.
pub fn count_window(
    policy: &Policy,
    state: &PegOutState,
    now: WindowTime,
    batch: &Batch<'_>,
) -> Result<(), Refusal> {
    let (_, payments) = increase(state, batch);
    state
        .count_window
        .admit(Rule::CountWindow, now, policy.count_limit(), payments)
}

/// Charges a batch that is signed: `next` becomes the state, and `old` has not recorded the batch.
pub fn charge(
    policy: &Policy,
    old: &PegOutState,
    next: &mut PegOutState,
    now: WindowTime,
    batch: &Batch<'_>,
) {
    let (value, payments) = increase(old, batch);
    next.value_window.charge(now, policy.window_seconds, value);
    next.count_window
        .charge(now, policy.window_seconds, payments);
}

/// What a batch takes beyond what its family was charged: nothing where it was signed before.
fn increase(state: &PegOutState, batch: &Batch<'_>) -> (Sats, Payments) {
    match family(state, batch) {
        Some(family) => (
            batch.leaving().saturating_sub(family.charged.get()),
            Payments::default(),
        ),
        None => (batch.leaving(), Payments::new(batch.payments() as u64)),
    }
}

/// The family that the batch belongs to: the same burns and inputs. Rules `burn-sequence` and `inputs` let nothing else
/// have them.
fn family<'a>(state: &'a PegOutState, batch: &Batch<'_>) -> Option<&'a Family> {
    let record = &batch.request.record;
    let inputs = batch.inputs();
    state.families.iter().find(|family| {
        family.burns.first == record.first_burn
            && family.burns.next == record.next_burn
            && family.inputs == inputs
    })
}

/// Payments from a certain amount on wait for their holding time: so many side blocks from their burn's on that are final
/// by proof of work. `pow_final` is the newest such height that the evidence proves.
///
/// It only delays: the chain goes on, and the same batch with newer evidence passes.
///
/// # Errors
/// - a refusal by rule `hold`.
pub fn hold(policy: &Policy, batch: &Batch<'_>, pow_final: SideHeight) -> Result<(), Refusal> {
    for evidence in batch.paid_burns() {
        // The header that the burn is proven in, rather than the height that the burn claims.
        let released = evidence.header.height.saturating_add(policy.hold_blocks);
        if evidence.burn.amount >= policy.hold_from_sats && pow_final < released {
            return Err(refusal(
                Rule::Hold,
                format_args!(
                    "burn {} of {} sat only once block {released} is final by proof of work",
                    evidence.burn.sequence, evidence.burn.amount
                ),
                pow_final,
            ));
        }
    }
    Ok(())
}

/// Payments go to allowed destinations.
///
/// It only delays: officers change the policy, or sign a skip that a block records.
///
/// # Errors
/// - a refusal by rule `destination`.
pub fn destination(policy: &Policy, batch: &Batch<'_>) -> Result<(), Refusal> {
    batch.paid_burns().try_for_each(|evidence| {
        let burn = &evidence.burn;
        allowed(
            policy,
            &burn.script_pubkey,
            format_args!("burn {}", burn.sequence),
        )
    })
}

/// The same of a batch that a block records: once recorded it pays or holds up its coins and the burns beside it for ever,
/// so that it has to be refused before.
///
/// # Errors
/// - a refusal by rule `destination`; by `tx-shape` where the record has no transaction.
pub fn recorded_destination(
    chain: &Chain,
    policy: &Policy,
    record: &BatchRecord,
) -> Result<(), Refusal> {
    let transaction = record
        .decode_transaction()
        .map_err(|error| refusal(Rule::TxShape, "a transaction without signatures", error))?;
    let ours = chain.wallet().script_pubkey();
    let mut payments = transaction.output.iter();
    payments.try_for_each(|output| {
        if output.script_pubkey == *ours {
            return Ok(());
        }
        allowed(
            policy,
            output.script_pubkey.as_bytes(),
            "a recorded payment",
        )
    })
}

fn allowed(policy: &Policy, script: &[u8], what: impl core::fmt::Display) -> Result<(), Refusal> {
    let script = Script::from_bytes(script);
    match policy.destinations.ruled_out(script) {
        None => Ok(()),
        Some(reason) => Err(refusal(
            Rule::Destination,
            format_args!("{what} to an allowed destination"),
            format_args!("{reason} (script {script:x})"),
        )),
    }
}

/// What a batch leaves unpaid: burns of its range, each once and in order, that officers agreed to skip (`allowed`).
///
/// # Errors
/// - a refusal by rule `skip`.
pub fn skip(allowed: &[BurnSequence], record: &BatchRecord) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Skip;
    let mut from = record.first_burn;
    for burn in &record.skipped {
        if *burn < from || *burn >= record.next_burn {
            return Err(refusal(
                RULE,
                format_args!("a skipped burn from {from} to before {}", record.next_burn),
                burn,
            ));
        }
        if !allowed.contains(burn) {
            return Err(refusal(
                RULE,
                format_args!("burn {burn} paid, since officers did not agree to skip it"),
                "it skipped",
            ));
        }
        from = burn.saturating_add(1);
    }
    Ok(())
}

/// The signer is not paused. Any one officer pauses its peg-outs, a quorum resumes them; votes go on.
///
/// # Errors
/// - a refusal by rule `paused`.
pub fn paused(state: &PegOutState) -> Result<(), Refusal> {
    if state.paused {
        return Err(refusal(
            Rule::Paused,
            "a signer that is not paused",
            "one that an officer paused",
        ));
    }
    Ok(())
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
