//! Where every satoshi is: the BTC held for the peg explained by the supply that circulates.

use crate::ledger::PegState;
use alys_protocol::units::{Sats, WEI_PER_SAT, Wei};

/// What the execution layer says about its supply, from outside the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvmSupply {
    /// Everything minted by withdrawals less base fees burned and less what the bridge burned (its `totalBurnedSats`), in
    /// wei. Equals the sum of all balances less the latter, where genesis gives no one anything.
    pub total: Wei,
    /// The header's `fees_distributed`: wei that lie in the vault for ever, as records minted them anew.
    pub fees_distributed: Wei,
}

/// The peg's balance sheet, in wei (1 sat = 10^10 wei).
///
/// `held = circulating + owed + base_fees + unattributable + fee_shares - bitcoin_fees - lost + unexplained`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// Unspent outputs of the federation, those of batches in flight included.
    pub held: i128,
    /// What users, the vault's undistributed fees included, can spend on the side chain.
    pub circulating: i128,
    /// Burned, and not paid by a confirmed batch yet.
    pub owed: i128,
    /// Base fees burned: they back nothing any more.
    pub base_fees: i128,
    /// Payments that credit nobody.
    pub unattributable: i128,
    /// What burners paid for fees in confirmed batches, rounded up.
    pub fee_shares: i128,
    /// What confirmed batches cost: shares, dust change, and the fees of batches without burns.
    pub bitcoin_fees: i128,
    /// What an unrecorded transaction took.
    pub lost: i128,
    /// What none of these explains. Zero, or something is wrong.
    pub unexplained: i128,
}

impl Supply {
    /// What the federation holds beyond what circulates and is owed; negative where it lacks.
    pub fn surplus(&self) -> i128 {
        self.held
            .saturating_sub(self.circulating)
            .saturating_sub(self.owed)
    }
}

impl PegState {
    /// Explains the BTC held by the supply that circulates. The ledger and `evm` are of the same block.
    pub fn supply(&self, evm: &EvmSupply) -> Supply {
        let totals = self.totals();
        let held = self
            .utxos()
            .values()
            .fold(0i128, |sum, utxo| sum.saturating_add(wei(utxo.value)));
        let circulating = signed(evm.total).saturating_sub(signed(evm.fees_distributed));
        let mut supply = Supply {
            held,
            circulating,
            owed: wei(totals.burned).saturating_sub(wei(totals.settled)),
            base_fees: signed(totals.base_fees),
            unattributable: wei(totals.unattributable),
            fee_shares: wei(totals.settled).saturating_sub(wei(totals.paid_out)),
            bitcoin_fees: wei(totals.bitcoin_fees),
            lost: wei(totals.lost),
            unexplained: 0,
        };
        let explained = [
            supply.circulating,
            supply.owed,
            supply.base_fees,
            supply.unattributable,
            supply.fee_shares,
            supply.bitcoin_fees.saturating_neg(),
            supply.lost.saturating_neg(),
        ]
        .into_iter()
        .fold(0i128, i128::saturating_add);
        supply.unexplained = held.saturating_sub(explained);
        supply
    }
}

fn wei(sats: Sats) -> i128 {
    // 2^64 * 10^10 < 2^127.
    i128::from(sats.get()).saturating_mul(WEI_PER_SAT as i128)
}

fn signed(wei: Wei) -> i128 {
    i128::try_from(wei.get()).unwrap_or(i128::MAX)
}
