//! The transaction that pays a batch follows from the burns, the inputs' values and the fee rate (design 9).

use crate::policy::Policy;
use crate::refusal::{equal, refusal};
use crate::state::{Family, PegOutState};
use alloc::vec::Vec;
use alys_protocol::federation::BATCH_SEQUENCE;
use alys_protocol::peg::{BatchRecord, fee, fee_share};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{BurnEvidence, PegOutRequest, Refusal};
use alys_protocol::spec::Chain;
use alys_protocol::units::Sats;
use bitcoin::{OutPoint, Transaction, TxOut, absolute, transaction};

/// A batch's transaction taken apart, and its amounts added up.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) chain: &'a Chain,
    pub(super) request: &'a PegOutRequest,
    transaction: Transaction,
    spent: Sats,
    paid: Sats,
}

impl<'a> Batch<'a> {
    /// Decodes the transaction and adds up its amounts.
    ///
    /// # Errors
    /// - a refusal by rule `tx-shape` where the bytes are no unsigned transaction, or sums do not fit;
    /// - a refusal by rule `inputs` where there is not one value per input, or outputs exceed them.
    pub fn new(chain: &'a Chain, request: &'a PegOutRequest) -> Result<Self, Refusal> {
        let transaction = request
            .record
            .decode_transaction()
            .map_err(|error| refusal(Rule::TxShape, "a transaction without signatures", error))?;
        equal(
            Rule::Inputs,
            "input values:",
            transaction.input.len(),
            request.values.len(),
        )?;
        let spent = Sats::checked_sum(request.values.iter().copied())
            .ok_or_else(|| refusal(Rule::Inputs, "values that add up in 64 bits", "larger ones"))?;
        let paid = Sats::checked_sum(transaction.output.iter().map(value_of)).ok_or_else(|| {
            refusal(
                Rule::TxShape,
                "outputs that add up in 64 bits",
                "larger ones",
            )
        })?;
        if paid > spent {
            return Err(refusal(
                Rule::Inputs,
                format_args!("inputs of at least {paid} sat"),
                spent,
            ));
        }
        Ok(Self {
            chain,
            request,
            transaction,
            spent,
            paid,
        })
    }

    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The spent outputs, in order.
    pub fn inputs(&self) -> Vec<OutPoint> {
        self.transaction
            .input
            .iter()
            .map(|input| input.previous_output)
            .collect()
    }

    /// What the miner gets.
    pub fn fee(&self) -> Sats {
        self.spent.saturating_sub(self.paid.get())
    }

    /// What leaves the wallet: payments and fee.
    pub fn leaving(&self) -> Sats {
        self.spent.saturating_sub(
            self.change_output()
                .map_or(0, |output| output.value.to_sat()),
        )
    }

    fn record(&self) -> &BatchRecord {
        &self.request.record
    }

    /// The burns that it pays, in order.
    pub(super) fn paid_burns(&self) -> impl Iterator<Item = &BurnEvidence> + Clone {
        let burns = self.request.burns.iter();
        burns.filter(|evidence| !self.record().skips(evidence.burn.sequence))
    }

    pub(super) fn payments(&self) -> usize {
        self.paid_burns().count()
    }

    /// The output after the burns' ones.
    fn change_output(&self) -> Option<&TxOut> {
        self.transaction.output.get(self.payments())
    }

    /// The fee that the recorded rate gives for this transaction, with or without a change output.
    fn expected_fee(&self, change: bool) -> Result<Sats, Refusal> {
        let ours = self.chain.wallet().script_pubkey();
        let scripts = self
            .paid_burns()
            .map(|evidence| &*evidence.burn.script_pubkey)
            .chain(change.then_some(ours.as_bytes()));
        let vsize = self
            .chain
            .wallet()
            .batch_vsize(self.transaction.input.len(), scripts);
        fee(self.record().fee_rate, vsize)
            .ok_or_else(|| refusal(Rule::FeeRate, "a fee of 64 bits", self.record().fee_rate))
    }

    /// Change that would be left at the recorded rate if there were a change output; `None` where it is negative.
    fn would_be_change(&self) -> Result<Option<Sats>, Refusal> {
        let fee = self.expected_fee(true)?;
        let share = fee_share(fee, self.record().payments());
        let burned = self.burned()?;
        let shares = share
            .get()
            .checked_mul(self.record().payments())
            .and_then(|shares| burned.checked_sub(shares));
        Ok(shares
            .and_then(|payments| self.spent.checked_sub(payments.get()))
            .and_then(|left| left.checked_sub(fee.get())))
    }

    pub(super) fn burned(&self) -> Result<Sats, Refusal> {
        Sats::checked_sum(self.paid_burns().map(|evidence| evidence.burn.amount)).ok_or_else(|| {
            refusal(
                Rule::OutputsExact,
                "burns that add up in 64 bits",
                "larger ones",
            )
        })
    }
}

fn value_of(output: &TxOut) -> Sats {
    Sats::new(output.value.to_sat())
}

/// Version 2, no lock time, RBF signalled, counts within the spec.
///
/// # Errors
/// - a refusal by rule `tx-shape`.
pub fn tx_shape(batch: &Batch<'_>) -> Result<(), Refusal> {
    const RULE: Rule = Rule::TxShape;
    let transaction = &batch.transaction;
    let pegout = &batch.chain.spec().pegout;
    equal(
        RULE,
        "transaction version",
        transaction::Version::TWO,
        transaction.version,
    )?;
    equal(
        RULE,
        "lock time",
        absolute::LockTime::ZERO,
        transaction.lock_time,
    )?;
    for input in &transaction.input {
        equal(RULE, "sequence", BATCH_SEQUENCE, input.sequence)?;
    }
    within(
        "inputs",
        1,
        u64::from(pegout.max_inputs),
        transaction.input.len(),
    )?;
    let burns = batch.request.burns.len();
    within("burns", 0, u64::from(pegout.max_burns), burns)?;
    let payments = batch.payments() as u64;
    within(
        "outputs",
        payments.max(1),
        payments.saturating_add(1),
        transaction.output.len(),
    )
}

fn within(what: &str, least: u64, most: u64, found: usize) -> Result<(), Refusal> {
    if (least..=most).contains(&(found as u64)) {
        return Ok(());
    }
    Err(refusal(
        Rule::TxShape,
        format_args!("{least} to {most} {what}"),
        found,
    ))
}

/// Inputs are distinct and not shared with a different family.
///
/// # Errors
/// - a refusal by rule `inputs`.
pub fn inputs(state: &PegOutState, batch: &Batch<'_>) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Inputs;
    let inputs = batch.inputs();
    let mut sorted = inputs.clone();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        if let [one, other] = pair
            && one == other
        {
            return Err(refusal(
                RULE,
                "distinct inputs",
                format_args!("{one} twice"),
            ));
        }
    }
    let own = batch.record().id(batch.chain.id());
    for family in &state.families {
        let same_family = family.inputs == inputs && is_same_batch(family, batch.record());
        let recorded = family.members.iter().any(|member| member.batch == own);
        if same_family && (recorded || batch.record().replaces.is_some()) {
            continue;
        }
        if let Some(shared) = family
            .inputs
            .iter()
            .find(|input| sorted.binary_search(input).is_ok())
        {
            return Err(refusal(
                RULE,
                "inputs that no other batch spends",
                format_args!(
                    "{shared}, which the batch of burns {} to before {} spends",
                    family.burns.first, family.burns.next
                ),
            ));
        }
    }
    Ok(())
}

fn is_same_batch(family: &Family, record: &BatchRecord) -> bool {
    family.burns.first == record.first_burn && family.burns.next == record.next_burn
}

/// A replacement has exactly the inputs and burns of a batch that was signed, and a higher fee.
///
/// # Errors
/// - a refusal by rule `replacement`.
pub fn replacement(state: &PegOutState, batch: &Batch<'_>) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Replacement;
    let Some(replaced) = batch.record().replaces else {
        return Ok(());
    };
    let own = batch.record().id(batch.chain.id());
    let inputs = batch.inputs();
    // Which member it names does not matter: any transaction with these inputs conflicts with all of them.
    let Some(family) = state
        .families
        .iter()
        .find(|family| is_same_batch(family, batch.record()) && family.inputs == inputs)
    else {
        return Err(refusal(
            RULE,
            "the inputs and burns of a batch that this signer signed",
            format_args!("others, in place of batch {replaced}"),
        ));
    };
    if family.members.iter().any(|member| member.batch == own) {
        return Ok(());
    }
    let highest = family
        .members
        .iter()
        .map(|member| member.fee)
        .max()
        .unwrap_or_default();
    if batch.fee() <= highest {
        return Err(refusal(
            RULE,
            format_args!("a fee above {highest} sat, which was signed"),
            batch.fee(),
        ));
    }
    Ok(())
}

/// One output per burn that is not skipped, in order: to the burn's script, the burn's amount less `ceil(fee / burns)`.
///
/// # Errors
/// - a refusal by rule `outputs-exact`.
pub fn outputs_exact(batch: &Batch<'_>) -> Result<(), Refusal> {
    const RULE: Rule = Rule::OutputsExact;
    let fee = batch.expected_fee(batch.change_output().is_some())?;
    let share = fee_share(fee, batch.record().payments());
    let mut outputs = batch.transaction.output.iter();
    for evidence in batch.paid_burns() {
        let burn = &evidence.burn;
        let output = outputs.next().ok_or_else(|| {
            refusal(
                RULE,
                format_args!("an output for burn {}", burn.sequence),
                "none",
            )
        })?;
        if output.script_pubkey.as_bytes() != &*burn.script_pubkey {
            let script = bitcoin::Script::from_bytes(&burn.script_pubkey);
            return Err(refusal(
                RULE,
                format_args!("burn {} paid to {script:x}", burn.sequence),
                format_args!("{:x}", output.script_pubkey),
            ));
        }
        if burn.amount.checked_sub(share.get()) != Some(value_of(output)) {
            return Err(refusal(
                RULE,
                format_args!(
                    "burn {} paid {} sat less {share} sat of fee",
                    burn.sequence, burn.amount
                ),
                value_of(output),
            ));
        }
    }
    Ok(())
}

/// At most one change, last, to the federation's script, with all that burns and fee leave; dropped only where it would
/// be dust.
///
/// # Errors
/// - a refusal by rule `change`.
pub fn change(batch: &Batch<'_>) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Change;
    let dust = batch.chain.wallet().dust();
    let expected = batch.would_be_change()?.filter(|change| *change >= dust);
    match (expected, batch.change_output()) {
        (None, None) => Ok(()),
        (Some(expected), None) => Err(refusal(
            RULE,
            format_args!("a change output of {expected} sat"),
            "none",
        )),
        (None, Some(output)) => Err(refusal(
            RULE,
            format_args!("no change, since it would be below {dust} sat"),
            value_of(output),
        )),
        (Some(expected), Some(output)) => {
            let ours = batch.chain.wallet().script_pubkey();
            if output.script_pubkey != *ours {
                return Err(refusal(
                    RULE,
                    format_args!("the federation's script {ours:x}"),
                    format_args!("{:x}", output.script_pubkey),
                ));
            }
            equal(RULE, "change in sat of", expected, value_of(output))
        }
    }
}

/// `fee = ceil(rate * vsize)` at the recorded rate, which is within the limits; without change, what would be dust is
/// added to it.
///
/// # Errors
/// - a refusal by rule `fee-rate`.
pub fn fee_rate(policy: &Policy, batch: &Batch<'_>) -> Result<(), Refusal> {
    const RULE: Rule = Rule::FeeRate;
    let rate = batch.record().fee_rate;
    let highest = policy
        .max_fee_rate_sats_per_kvb
        .min(batch.chain.spec().pegout.max_fee_rate_sats_per_kvb);
    if rate > highest {
        return Err(refusal(
            RULE,
            format_args!("a fee rate of at most {highest} sat/kvB"),
            rate,
        ));
    }
    let has_change = batch.change_output().is_some();
    let expected = batch.expected_fee(has_change)?;
    let fits = if has_change {
        batch.fee() == expected
    } else {
        // Rule `change` has shown that what is above the rate's fee is too little to be change.
        let most = batch
            .expected_fee(true)?
            .saturating_add(batch.chain.wallet().dust().get());
        batch.fee() >= expected && batch.fee() <= most
    };
    if !fits {
        return Err(refusal(
            RULE,
            format_args!("a fee of {expected} sat at {rate} sat/kvB"),
            batch.fee(),
        ));
    }
    Ok(())
}
