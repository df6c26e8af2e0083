//! Which coins a batch spends (`docs/adr/0003-coin-selection.md`).

use crate::ledger::{PegState, Utxo};
use alys_protocol::peg::fee;
use alys_protocol::spec::Chain;
use alys_protocol::units::{Sats, SatsPerKvb};
use bitcoin::OutPoint;
use std::cmp::Reverse;

/// The coins that a new batch may spend, in the order in which it would.
pub(crate) struct Coins {
    ordered: Vec<(OutPoint, Sats)>,
    /// How many of the first are near their timelock; at most `max_inputs`.
    pub(crate) mandatory: usize,
    pub(crate) max_inputs: usize,
    /// Value of the first `max_inputs`.
    pub(crate) reach: Sats,
    /// Value of all.
    pub(crate) total: Sats,
}

impl Coins {
    pub(crate) fn new(chain: &Chain, state: &PegState, fee_rate: SatsPerKvb) -> Self {
        let max_inputs = usize::try_from(chain.spec().pegout.max_inputs).unwrap_or(usize::MAX);
        let worth_moving = worth_moving(chain, fee_rate);
        let (mut near, mut rest): (Vec<_>, Vec<_>) = state
            .utxos
            .iter()
            .filter(|(_, utxo)| utxo.is_selectable())
            .partition(|(_, utxo)| {
                utxo.value >= worth_moving && is_near_timelock(chain, state, utxo)
            });
        near.sort_unstable_by_key(|(outpoint, utxo)| (utxo.height, **outpoint));
        rest.sort_unstable_by_key(|(outpoint, utxo)| (Reverse(utxo.value), **outpoint));
        let mandatory = near.len().min(max_inputs);
        let ordered: Vec<_> = near
            .into_iter()
            .chain(rest)
            .map(|(outpoint, utxo)| (*outpoint, utxo.value))
            .collect();
        let sum = |coins: usize| {
            let values = ordered.iter().take(coins).map(|(_, value)| *value);
            Sats::checked_sum(values).unwrap_or(Sats::MAX)
        };
        Self {
            mandatory,
            max_inputs,
            reach: sum(max_inputs),
            total: sum(usize::MAX),
            ordered,
        }
    }

    /// The first coins.
    pub(crate) fn first(&self, count: usize) -> Vec<(OutPoint, Sats)> {
        self.ordered.iter().take(count).copied().collect()
    }

    /// The mandatory coins, then as many as it takes to reach `value`.
    pub(crate) fn cover(&self, value: Sats) -> Vec<(OutPoint, Sats)> {
        let mut sum = Sats::ZERO;
        let mut count = 0usize;
        for (_, coin) in self.ordered.iter().take(self.max_inputs) {
            if count >= self.mandatory && sum >= value {
                break;
            }
            sum = sum.saturating_add(coin.get());
            count = count.saturating_add(1);
        }
        self.first(count)
    }

    /// Whether merging coins brings a payment within reach that is not: they are worth enough, only too many.
    pub(crate) fn can_consolidate(&self, amount: Sats) -> bool {
        self.max_inputs > 1 && self.ordered.len() > self.max_inputs && self.total >= amount
    }
}

/// The least value of a coin that must be moved before its timelock: the smallest deposit, since anybody can make many
/// smaller payments, and what pays for moving it alone, so that no set of such coins can block the batches.
fn worth_moving(chain: &Chain, fee_rate: SatsPerKvb) -> Sats {
    let wallet = chain.wallet();
    let alone = wallet.batch_vsize(1, [wallet.script_pubkey().as_bytes()]);
    fee(fee_rate, alone)
        .map_or(Sats::MAX, |fee| fee.saturating_add(wallet.dust().get()))
        .max(chain.spec().deposits.min_sats)
}

/// Whether the recovery keys could spend a coin within the spec's margin.
fn is_near_timelock(chain: &Chain, state: &PegState, utxo: &Utxo) -> bool {
    let spec = chain.spec();
    // BIP-68: spendable in a block that is `timelock` above the coin's.
    let spendable = utxo
        .height
        .saturating_add(u32::from(spec.bitcoin.recovery_timelock_blocks));
    let margin = u32::from(spec.pegout.refresh_margin_blocks);
    spendable <= state.cursor.height.saturating_add(margin)
}
