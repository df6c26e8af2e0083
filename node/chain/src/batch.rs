//! Peg-out batches as a deterministic function of ledger and fee rate (design 9, `docs/adr/0003-coin-selection.md`).

use crate::coins::Coins;
use crate::ledger::{Family, LastBatch, Member, PegState};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::BatchId;
use alys_protocol::federation::BATCH_SEQUENCE;
use alys_protocol::peg::{BatchRecord, Burn, fee, fee_share};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, Sats, SatsPerKvb, SideHeight, Slot};
use bitcoin::{
    Amount, OutPoint, Script, ScriptBuf, Transaction, TxIn, TxOut, Witness, absolute, transaction,
};
use thiserror::Error;

/// The lowest fee rate of a batch: what every Bitcoin node relays (`minrelaytxfee` of Bitcoin Core up to 29). Spec
/// limits start there, too.
pub const MIN_FEE_RATE: SatsPerKvb = SatsPerKvb::new(1000);

/// Why there is no batch to record now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoBatch {
    /// The peg stands still.
    #[error("the peg is halted")]
    Halted,
    /// "Above max_fee_rate batches wait."
    #[error("expected a fee rate from {MIN_FEE_RATE} to {maximum} sat/kvB, found {found}")]
    FeeRate {
        /// The spec's limit.
        maximum: SatsPerKvb,
        /// The rate found.
        found: SatsPerKvb,
    },
    /// "At most one batch per batch_interval."
    #[error("expected no batch before slot {earliest}, found one in slot {found}")]
    Interval {
        /// The first slot that may have the next batch.
        earliest: Slot,
        /// The slot found.
        found: Slot,
    },
    /// No burn is PoW-final and no coin is near its recovery timelock.
    #[error("no burn is payable")]
    NoBurns,
    /// The coins that may be spent now do not pay for it: others wait for confirmations.
    #[error("expected at least {needed} sat in coins that may be spent, found {available}")]
    Funds {
        /// What is needed.
        needed: Sats,
        /// What may be spent.
        available: Sats,
    },
    /// Only the newest batch of an unconfirmed family can be replaced.
    #[error("expected the newest batch of an unconfirmed family, found {found}")]
    NotReplaceable {
        /// The batch to replace.
        found: BatchId,
    },
    /// BIP-125 rule 4: a replacement pays for its own relay, at 1 sat/vB, on top of the old fee.
    #[error("expected a fee of at least {at_least} sat, found {found}")]
    ReplacementFee {
        /// The lowest fee that replaces.
        at_least: Sats,
        /// The fee that the rate gives.
        found: Sats,
    },
    /// An output would fall below what nodes relay, or the transaction is too large.
    #[error("no transaction that nodes relay pays these burns")]
    Unpayable,
}

/// The next batch in a block of `slot` on top of `state`, where all blocks up to `pow_final` are PoW-final.
///
/// `state` is the ledger after the block's own consumption of Bitcoin, `pow_final` the parent's `pow.height`. The batch pays
/// the longest prefix of PoW-final burns that fits the spec's limits and can be covered, but for those in `skips`, which
/// officers of enough members agreed to leave unpaid; that they did is for signers to judge. Inputs are the coins near their
/// recovery timelock, oldest first, then the largest, ties by outpoint. Without a burn to pay, coins near
/// the timelock are moved alone, or the largest where burns are skipped; and where the first burn cannot be covered by `max_inputs` coins but by all of them, the
/// largest are consolidated.
///
/// # Errors
/// - [`NoBatch`]: why nothing can be recorded now.
pub fn next_batch(
    chain: &Chain,
    state: &PegState,
    pow_final: SideHeight,
    slot: Slot,
    fee_rate: SatsPerKvb,
    skips: &[BurnSequence],
) -> Result<BatchRecord, NoBatch> {
    check_time(chain, state, slot, fee_rate)?;
    let coins = Coins::new(chain, state, fee_rate);
    let payable: Vec<&Burn> = state
        .queue()
        .take_while(|burn| burn.height <= pow_final)
        .take(usize::try_from(chain.spec().pegout.max_burns).unwrap_or(usize::MAX))
        .collect();
    let limit = coins.reach.min(chain.spec().pegout.max_batch_value_sats);
    let prefix = Prefix::longest(&payable, limit, skips);
    let (burns, skipped) = (&prefix.burns, &prefix.skipped);
    let unpaid = payable.iter().find(|burn| !skips.contains(&burn.sequence));
    let inputs = match unpaid {
        _ if !burns.is_empty() => coins.cover(prefix.value),
        _ if coins.mandatory > 0 || !skipped.is_empty() => coins.first(coins.mandatory.max(1)),
        Some(burn) if coins.can_consolidate(burn.amount) => coins.first(coins.max_inputs),
        Some(burn) => {
            return Err(NoBatch::Funds {
                needed: burn.amount,
                available: coins.total,
            });
        }
        None => return Err(NoBatch::NoBurns),
    };
    let draft = assemble(chain, &inputs, burns, fee_rate)?;
    let range = Range {
        first: state.next_burn(),
        next: state.next_burn().saturating_add(prefix.length()),
        skipped,
    };
    record(&range, fee_rate, None, &draft)
}

/// The replacement of a stuck batch: "exactly the original's inputs and the same burns" at a higher fee.
///
/// # Errors
/// - [`NoBatch`]: why it cannot be recorded now.
pub fn replacement(
    chain: &Chain,
    state: &PegState,
    replaces: BatchId,
    slot: Slot,
    fee_rate: SatsPerKvb,
) -> Result<BatchRecord, NoBatch> {
    check_time(chain, state, slot, fee_rate)?;
    let (family, draft) = replace(chain, state, replaces, fee_rate)?;
    let range = Range {
        first: family.first_burn,
        next: family.next_burn(),
        skipped: &family.skipped,
    };
    record(&range, fee_rate, Some(replaces), &draft)
}

/// What to record in a block of `slot` on top of `state`: the first of the `stuck` batches that the fee rate replaces, else
/// the next batch.
///
/// # Errors
/// - [`NoBatch`]: why there is no next batch, either.
pub fn batch_to_record(
    chain: &Chain,
    state: &PegState,
    stuck: &[BatchId],
    pow_final: SideHeight,
    slot: Slot,
    fee_rate: SatsPerKvb,
    skips: &[BurnSequence],
) -> Result<BatchRecord, NoBatch> {
    stuck
        .iter()
        .find_map(|batch| replacement(chain, state, *batch, slot, fee_rate).ok())
        .map_or_else(
            || next_batch(chain, state, pow_final, slot, fee_rate, skips),
            Ok,
        )
}

/// A fee rate, about the lowest, at which [`replacement`] takes the place of `batch`, the newest of its family; `None` where
/// there is none within the spec's limit.
pub fn replacement_rate(chain: &Chain, state: &PegState, batch: BatchId) -> Option<SatsPerKvb> {
    let (_, family) = state.family_of(batch)?;
    let newest = family.members.last()?;
    let scripts = || family.paid().map(|burn| &burn.script_pubkey[..]);
    let change = chain.wallet().script_pubkey().as_bytes();
    let inputs = family.inputs.len();
    // With change and, where that is dust, without.
    let sizes = [
        chain
            .wallet()
            .batch_vsize(inputs, scripts().chain([change])),
        chain.wallet().batch_vsize(inputs, scripts()),
    ];
    sizes
        .into_iter()
        .filter_map(|vsize| {
            let fee = newest.fee.checked_add(vsize)?;
            let rate = fee.get().checked_mul(1000)?.div_ceil(vsize);
            Some(SatsPerKvb::new(rate))
        })
        .filter(|rate| *rate <= chain.spec().pegout.max_fee_rate_sats_per_kvb)
        .find(|rate| replace(chain, state, batch, *rate).is_ok())
}

/// The transaction that replaces a family's newest batch.
fn replace<'a>(
    chain: &Chain,
    state: &'a PegState,
    replaces: BatchId,
    fee_rate: SatsPerKvb,
) -> Result<(&'a Family, Assembled), NoBatch> {
    let not_replaceable = NoBatch::NotReplaceable { found: replaces };
    let (_, family) = state.family_of(replaces).ok_or(not_replaceable)?;
    let newest = family
        .members
        .last()
        .filter(|newest| newest.batch == replaces)
        .ok_or(not_replaceable)?;
    let inputs = family
        .inputs
        .iter()
        .map(|outpoint| Some((*outpoint, state.utxos.get(outpoint)?.value)))
        .collect::<Option<Vec<_>>>()
        .ok_or(not_replaceable)?;
    let burns: Vec<&Burn> = family.paid().collect();
    let draft = assemble(chain, &inputs, &burns, fee_rate)?;
    let at_least = newest.fee.saturating_add(draft.vsize);
    if draft.fee < at_least {
        return Err(NoBatch::ReplacementFee {
            at_least,
            found: draft.fee,
        });
    }
    Ok((family, draft))
}

fn check_time(
    chain: &Chain,
    state: &PegState,
    slot: Slot,
    fee_rate: SatsPerKvb,
) -> Result<(), NoBatch> {
    if state.halt.is_some() {
        return Err(NoBatch::Halted);
    }
    let maximum = chain.spec().pegout.max_fee_rate_sats_per_kvb;
    if fee_rate < MIN_FEE_RATE || fee_rate > maximum {
        return Err(NoBatch::FeeRate {
            maximum,
            found: fee_rate,
        });
    }
    if let Some(LastBatch { slot: last, .. }) = state.last_batch {
        let earliest = last.saturating_add(chain.spec().pegout.batch_interval_slots);
        if slot < earliest {
            return Err(NoBatch::Interval {
                earliest,
                found: slot,
            });
        }
    }
    Ok(())
}

/// Burns at the queue's head.
#[derive(Default)]
struct Prefix<'a> {
    /// Those to pay.
    burns: Vec<&'a Burn>,
    /// Those to leave unpaid.
    skipped: Vec<BurnSequence>,
    /// What the former add up to.
    value: Sats,
}

impl<'a> Prefix<'a> {
    fn longest(payable: &[&'a Burn], limit: Sats, skips: &[BurnSequence]) -> Self {
        let mut prefix = Self::default();
        for burn in payable {
            if skips.contains(&burn.sequence) {
                prefix.skipped.push(burn.sequence);
                continue;
            }
            let Some(value) = prefix.value.checked_add(burn.amount.get()) else {
                break;
            };
            if value > limit {
                break;
            }
            prefix.value = value;
            prefix.burns.push(*burn);
        }
        prefix
    }

    fn length(&self) -> u64 {
        (self.burns.len() as u64).saturating_add(self.skipped.len() as u64)
    }
}

/// The burns of a batch.
struct Range<'a> {
    first: BurnSequence,
    next: BurnSequence,
    skipped: &'a [BurnSequence],
}

struct Assembled {
    transaction: Transaction,
    vsize: u64,
    /// What the miner gets, dust change included.
    fee: Sats,
}

/// The transaction over these inputs and burns: version 2, no lock time, replaceable; one output per burn in order,
/// less `ceil(fee / burns)`, then the change unless it is dust.
fn assemble(
    chain: &Chain,
    inputs: &[(OutPoint, Sats)],
    burns: &[&Burn],
    fee_rate: SatsPerKvb,
) -> Result<Assembled, NoBatch> {
    let change_script = chain.wallet().script_pubkey();
    let total =
        Sats::checked_sum(inputs.iter().map(|(_, value)| *value)).ok_or(NoBatch::Unpayable)?;
    let scripts = || burns.iter().map(|burn| &burn.script_pubkey[..]);
    let with_change = chain
        .wallet()
        .batch_vsize(inputs.len(), scripts().chain([change_script.as_bytes()]));
    let (mut outputs, left, fee_with_change) = pay(total, burns, fee_rate, with_change)?;
    let change = left.checked_sub(fee_with_change.get());
    let (vsize, fee) = match change {
        Some(change) if change >= chain.wallet().dust() => {
            outputs.push(output(change_script.clone(), change));
            (with_change, fee_with_change)
        }
        // Without a burn the change is all that there is to pay.
        _ if burns.is_empty() => {
            return Err(NoBatch::Funds {
                needed: fee_with_change.saturating_add(chain.wallet().dust().get()),
                available: total,
            });
        }
        _ => {
            let vsize = chain.wallet().batch_vsize(inputs.len(), scripts());
            let (without_change, left, _) = pay(total, burns, fee_rate, vsize)?;
            outputs = without_change;
            (vsize, left)
        }
    };
    let transaction = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: inputs
            .iter()
            .map(|(outpoint, _)| TxIn {
                previous_output: *outpoint,
                script_sig: ScriptBuf::new(),
                sequence: BATCH_SEQUENCE,
                witness: Witness::new(),
            })
            .collect(),
        output: outputs,
    };
    Ok(Assembled {
        transaction,
        vsize,
        fee,
    })
}

/// Outputs for the burns at a fee for `vsize`, what the inputs have left after them, and that fee.
fn pay(
    total: Sats,
    burns: &[&Burn],
    fee_rate: SatsPerKvb,
    vsize: u64,
) -> Result<(Vec<TxOut>, Sats, Sats), NoBatch> {
    let fee = fee(fee_rate, vsize).ok_or(NoBatch::Unpayable)?;
    let share = fee_share(fee, burns.len() as u64);
    let mut left = total;
    let mut outputs = Vec::with_capacity(burns.len());
    for burn in burns {
        let script = Script::from_bytes(&burn.script_pubkey);
        let value = burn
            .amount
            .checked_sub(share.get())
            .filter(|value| value.get() >= script.minimal_non_dust().to_sat())
            .ok_or(NoBatch::Unpayable)?;
        left = left.checked_sub(value.get()).ok_or(NoBatch::Funds {
            needed: burn.amount,
            available: total,
        })?;
        outputs.push(output(script.to_owned(), value));
    }
    Ok((outputs, left, fee))
}

fn output(script_pubkey: ScriptBuf, value: Sats) -> TxOut {
    TxOut {
        value: Amount::from_sat(value.get()),
        script_pubkey,
    }
}

fn record(
    range: &Range<'_>,
    fee_rate: SatsPerKvb,
    replaces: Option<BatchId>,
    draft: &Assembled,
) -> Result<BatchRecord, NoBatch> {
    let bytes = bitcoin::consensus::serialize(&draft.transaction);
    Ok(BatchRecord {
        first_burn: range.first,
        next_burn: range.next,
        fee_rate,
        replaces,
        skipped: BoundedVec::new(range.skipped.to_vec()).map_err(|_| NoBatch::Unpayable)?,
        transaction: BoundedVec::new(bytes).map_err(|_| NoBatch::Unpayable)?,
    })
}

impl PegState {
    /// Records a batch that [`next_batch`] or [`replacement`] made: its inputs are reserved and its burns leave the queue.
    /// `None` where it is no such batch.
    pub(crate) fn record_batch(
        &mut self,
        chain: &Chain,
        record: &BatchRecord,
        slot: Slot,
        height: SideHeight,
    ) -> Option<()> {
        let transaction = record.decode_transaction().ok()?;
        let inputs: Vec<OutPoint> = transaction
            .input
            .iter()
            .map(|input| input.previous_output)
            .collect();
        let values = inputs
            .iter()
            .map(|outpoint| self.utxos.get(outpoint).map(|utxo| utxo.value))
            .collect::<Option<Vec<_>>>()?;
        let paid = transaction
            .output
            .iter()
            .map(|output| Sats::new(output.value.to_sat()));
        let batch = record.id(chain.id());
        let member = Member {
            batch,
            txid: transaction.compute_txid(),
            fee_rate: record.fee_rate,
            fee: Sats::checked_sum(values)?.checked_sub(Sats::checked_sum(paid)?.get())?,
            height,
        };
        self.last_batch = Some(LastBatch { slot, height });
        if let Some(replaced) = record.replaces {
            let (family, _) = self.family_of(replaced)?;
            let family = self.families.to_mut().get_mut(&family)?;
            family.members.push(member);
            return Some(());
        }
        let utxos = self.utxos.to_mut();
        for outpoint in &inputs {
            utxos.get_mut(outpoint)?.family = Some(batch);
        }
        let queue = self.queue.to_mut();
        let rest = queue.split_off(&record.next_burn);
        let burns = std::mem::replace(queue, rest).into_values().collect();
        self.families.to_mut().insert(
            batch,
            Family {
                first_burn: record.first_burn,
                burns,
                skipped: record.skipped.to_vec(),
                inputs,
                members: vec![member],
            },
        );
        Some(())
    }
}
