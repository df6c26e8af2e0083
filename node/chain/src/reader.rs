//! Reading consumed transactions into the ledger, one after the other.

use crate::consume::{ConsumeError, Consumed, MAX_CONSUMED_BYTES, Mint, Settlement, max_deposits};
use crate::ledger::{Family, Halt, Origin, PegState, Utxo};
use alys_protocol::body::MAX_CONSUMED;
use alys_protocol::bytes::BatchId;
use alys_protocol::peg::{
    Attribution, ConsumedTransaction, Cursor, Unattributable, attribute, decode_stripped,
};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, Sats};
use bitcoin::{BlockHash, OutPoint, Transaction, Txid};

/// What a transaction is to the ledger.
enum Class {
    /// A recorded batch.
    Batch(BatchId),
    /// It spends an output of ours and no block records it.
    UnrecordedSpend(OutPoint),
    /// It only pays us.
    Payment(Attribution),
}

/// Reads transactions one after the other into a copy of the ledger.
pub(crate) struct Reader<'a> {
    chain: &'a Chain,
    consumed: Consumed,
    previous: Option<(BtcHeight, u32, BlockHash)>,
    count: usize,
    bytes: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(chain: &'a Chain, state: &PegState) -> Self {
        Self {
            chain,
            consumed: Consumed {
                state: state.clone(),
                mints: Vec::new(),
                settled: Vec::new(),
                unattributable: Vec::new(),
            },
            previous: None,
            count: 0,
            bytes: 0,
        }
    }

    pub(crate) fn finish(mut self, cursor: Cursor) -> Consumed {
        self.consumed.state.cursor = cursor;
        self.consumed
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.consumed.state.halt.is_some()
    }

    /// Reads one transaction below `cursor`.
    pub(crate) fn read(
        &mut self,
        cursor: &Cursor,
        consumed: &ConsumedTransaction,
    ) -> Result<(), ConsumeError> {
        if let Some(halt) = self.consumed.state.halt {
            return Err(ConsumeError::Halted(halt));
        }
        self.check_position(cursor, consumed)?;
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(consumed.bytes.len());
        if self.count > MAX_CONSUMED {
            return Err(ConsumeError::TooMany { found: self.count });
        }
        if self.bytes > MAX_CONSUMED_BYTES {
            return Err(ConsumeError::TooLarge);
        }
        let transaction = decode_stripped(&consumed.bytes)?;
        let txid = transaction.compute_txid();
        match self.classify(txid, &transaction, consumed.index) {
            Class::Batch(family) => self.settle(family, txid, &transaction, consumed),
            Class::UnrecordedSpend(outpoint) => self.halt(outpoint, txid, &transaction, consumed),
            Class::Payment(attribution) => self.receive(attribution, txid, &transaction, consumed),
        }
    }

    /// "Positions strictly increase, at or after the parent's cursor and before this header's."
    fn check_position(
        &mut self,
        cursor: &Cursor,
        found: &ConsumedTransaction,
    ) -> Result<(), ConsumeError> {
        let position = (found.height, found.index);
        let parent = self.consumed.state.cursor;
        if position < (parent.height, parent.next_tx) || position >= (cursor.height, cursor.next_tx)
        {
            return Err(ConsumeError::Range {
                height: found.height,
                index: found.index,
            });
        }
        let mut known = vec![(parent.height, parent.hash), (cursor.height, cursor.hash)];
        if let Some((height, index, hash)) = self.previous {
            if position <= (height, index) {
                return Err(ConsumeError::Order {
                    previous: (height, index),
                    found: position,
                });
            }
            known.push((height, hash));
        }
        for (height, expected) in known {
            if height == found.height && expected != found.block {
                return Err(ConsumeError::Hash {
                    height,
                    expected,
                    found: found.block,
                });
            }
        }
        self.previous = Some((found.height, found.index, found.block));
        Ok(())
    }

    fn classify(&self, txid: Txid, transaction: &Transaction, index: u32) -> Class {
        let state = &self.consumed.state;
        let family = state
            .families
            .iter()
            .find(|(_, family)| family.members.iter().any(|member| member.txid == txid));
        if let Some((id, _)) = family {
            return Class::Batch(*id);
        }
        let spent = transaction
            .input
            .iter()
            .map(|input| input.previous_output)
            .find(|outpoint| state.utxos.contains_key(outpoint));
        if let Some(outpoint) = spent {
            return Class::UnrecordedSpend(outpoint);
        }
        Class::Payment(attribute(
            transaction,
            index,
            self.chain.wallet().script_pubkey(),
            self.chain.spec().deposits.min_sats,
        ))
    }

    fn settle(
        &mut self,
        id: BatchId,
        txid: Txid,
        transaction: &Transaction,
        consumed: &ConsumedTransaction,
    ) -> Result<(), ConsumeError> {
        let amounts = ConsumeError::Amounts { txid };
        let state = &mut self.consumed.state;
        let Some(family) = state.families.to_mut().remove(&id) else {
            return Err(amounts);
        };
        let spent = spend(state, transaction).ok_or(amounts.clone())?;
        let change = self.add_outputs(txid, transaction, consumed.height, |_| Origin::Change)?;
        let outputs = sum_outputs(transaction).ok_or(amounts.clone())?;
        let fee = spent.checked_sub(outputs.get());
        let paid = outputs.checked_sub(change.get());
        let burned = Sats::checked_sum(family.paid().map(|burn| burn.amount));
        let totals = &mut self.consumed.state.totals;
        let settled = (|| {
            totals.bitcoin_fees = totals.bitcoin_fees.checked_add(fee?.get())?;
            totals.paid_out = totals.paid_out.checked_add(paid?.get())?;
            totals.settled = totals.settled.checked_add(burned?.get())?;
            totals.skipped = totals.skipped.checked_add(family.skipped_sats()?.get())?;
            settlement(id, &family, txid, consumed.height, fee?)
        })();
        self.consumed.settled.push(settled.ok_or(amounts)?);
        Ok(())
    }

    fn halt(
        &mut self,
        outpoint: OutPoint,
        txid: Txid,
        transaction: &Transaction,
        consumed: &ConsumedTransaction,
    ) -> Result<(), ConsumeError> {
        let amounts = ConsumeError::Amounts { txid };
        let state = &mut self.consumed.state;
        let lost = spend(state, transaction).ok_or(amounts.clone())?;
        state.totals.lost = state
            .totals
            .lost
            .checked_add(lost.get())
            .ok_or(amounts.clone())?;
        state.halt = Some(Halt {
            txid,
            outpoint,
            height: consumed.height,
            index: consumed.index,
        });
        let back = self.add_outputs(txid, transaction, consumed.height, |_| {
            Origin::UnrecordedSpend
        })?;
        self.count_unattributable(back, amounts)
    }

    fn receive(
        &mut self,
        attribution: Attribution,
        txid: Txid,
        transaction: &Transaction,
        consumed: &ConsumedTransaction,
    ) -> Result<(), ConsumeError> {
        let amounts = ConsumeError::Amounts { txid };
        let minimum = self.chain.spec().deposits.min_sats;
        let origin = |value: Sats| match attribution {
            // "The sum of its outputs to the federation script that are each >= min_deposit": the others credit nobody.
            Attribution::Deposit { .. } if value >= minimum => Origin::Deposit,
            Attribution::Deposit { .. } | Attribution::Unrelated => {
                Origin::Unattributable(Unattributable::BelowMinimum)
            }
            Attribution::Unattributable(reason) => Origin::Unattributable(reason),
        };
        let minted = match attribution {
            Attribution::Unrelated => return Err(ConsumeError::Unrelated { txid }),
            Attribution::Deposit { recipient, amount } => {
                let maximum = max_deposits(self.chain);
                if self.consumed.mints.len() >= maximum {
                    return Err(ConsumeError::TooManyDeposits { maximum });
                }
                self.consumed.mints.push(Mint {
                    recipient,
                    amount,
                    txid,
                    height: consumed.height,
                    index: consumed.index,
                });
                amount
            }
            Attribution::Unattributable(_) => Sats::ZERO,
        };
        let received = self.add_outputs(txid, transaction, consumed.height, origin)?;
        let totals = &mut self.consumed.state.totals;
        totals.minted = totals
            .minted
            .checked_add(minted.get())
            .ok_or(amounts.clone())?;
        let rest = received.checked_sub(minted.get()).ok_or(amounts.clone())?;
        self.count_unattributable(rest, amounts)
    }

    fn count_unattributable(
        &mut self,
        value: Sats,
        overflow: ConsumeError,
    ) -> Result<(), ConsumeError> {
        let totals = &mut self.consumed.state.totals;
        totals.unattributable = totals
            .unattributable
            .checked_add(value.get())
            .ok_or(overflow)?;
        Ok(())
    }

    /// Adds a transaction's outputs to the federation and returns their sum.
    fn add_outputs(
        &mut self,
        txid: Txid,
        transaction: &Transaction,
        height: BtcHeight,
        origin: impl Fn(Sats) -> Origin,
    ) -> Result<Sats, ConsumeError> {
        let script = self.chain.wallet().script_pubkey();
        let mut sum = Sats::ZERO;
        for (output, vout) in transaction.output.iter().zip(0u32..) {
            if output.script_pubkey != *script {
                continue;
            }
            let outpoint = OutPoint { txid, vout };
            let value = Sats::new(output.value.to_sat());
            let utxo = Utxo {
                value,
                height,
                origin: origin(value),
                family: None,
            };
            sum = sum
                .checked_add(value.get())
                .ok_or(ConsumeError::Amounts { txid })?;
            let utxos = self.consumed.state.utxos.to_mut();
            if utxos.insert(outpoint, utxo).is_some() {
                return Err(ConsumeError::Duplicate { outpoint });
            }
            match utxo.origin {
                Origin::Deposit | Origin::Change => {}
                Origin::Unattributable(_) | Origin::UnrecordedSpend => {
                    self.consumed.unattributable.push((outpoint, utxo));
                }
            }
        }
        Ok(sum)
    }
}

/// Removes the outputs of ours that a transaction spends, and returns their sum.
fn spend(state: &mut PegState, transaction: &Transaction) -> Option<Sats> {
    let utxos = state.utxos.to_mut();
    Sats::checked_sum(
        transaction
            .input
            .iter()
            .filter_map(|input| utxos.remove(&input.previous_output))
            .map(|utxo| utxo.value),
    )
}

fn sum_outputs(transaction: &Transaction) -> Option<Sats> {
    Sats::checked_sum(
        transaction
            .output
            .iter()
            .map(|output| Sats::new(output.value.to_sat())),
    )
}

fn settlement(
    id: BatchId,
    family: &Family,
    txid: Txid,
    height: BtcHeight,
    fee: Sats,
) -> Option<Settlement> {
    let member = family.members.iter().find(|member| member.txid == txid)?;
    Some(Settlement {
        family: id,
        batch: member.batch,
        txid,
        height,
        first_burn: family.first_burn,
        next_burn: family.next_burn(),
        skipped: family.skipped.clone(),
        fee,
    })
}
