//! The ledger against Bitcoin's own set of unspent outputs (regression A12).

use crate::ledger::{PegState, Utxo};
use alys_protocol::peg::WHOLE_BLOCK;
use alys_protocol::units::{BtcHeight, Sats};
use bitcoin::OutPoint;
use std::collections::BTreeMap;
use thiserror::Error;

/// An unspent output of the federation's script, as `scantxoutset` finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unspent {
    /// The output.
    pub outpoint: OutPoint,
    /// Its value.
    pub value: Sats,
    /// Height of the block that created it.
    pub height: BtcHeight,
}

/// A way in which ledger and Bitcoin differ that nothing in flight explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Discrepancy {
    /// The ledger has a coin that Bitcoin has not, and no batch spends it. A recent transaction may have: the peg halts
    /// once the cursor reaches it.
    #[error("the ledger has {outpoint} ({} sat), and Bitcoin does not", utxo.value)]
    Missing {
        /// The output.
        outpoint: OutPoint,
        /// The ledger's entry.
        utxo: Utxo,
    },
    /// Bitcoin has a coin below the cursor that the ledger has not.
    #[error("Bitcoin has {} ({} sat, block {}), and the ledger does not", .0.outpoint, .0.value, .0.height)]
    Unknown(Unspent),
    /// The same coin with another value or height.
    #[error("Bitcoin has {} with {} sat in block {}, and the ledger differs", .0.outpoint, .0.value, .0.height)]
    Different(Unspent),
}

/// Compares the ledger with all unspent outputs of the federation's script at Bitcoin's tip.
///
/// Coins above the cursor and coins that a recorded batch may have spent are no discrepancies.
pub fn reconcile(state: &PegState, unspent: impl IntoIterator<Item = Unspent>) -> Vec<Discrepancy> {
    let found: BTreeMap<OutPoint, Unspent> = unspent
        .into_iter()
        .map(|unspent| (unspent.outpoint, unspent))
        .collect();
    let cursor = state.cursor();
    let below = |height: BtcHeight| {
        height < cursor.height || (height == cursor.height && cursor.next_tx == WHOLE_BLOCK)
    };
    let ours = state
        .utxos()
        .iter()
        .filter_map(|(outpoint, utxo)| match found.get(outpoint) {
            None if utxo.family.is_some() => None,
            None => Some(Discrepancy::Missing {
                outpoint: *outpoint,
                utxo: *utxo,
            }),
            Some(other) if other.value != utxo.value || other.height != utxo.height => {
                Some(Discrepancy::Different(*other))
            }
            Some(_) => None,
        });
    let theirs = found.values().filter_map(|other| {
        let unknown = below(other.height) && !state.utxos().contains_key(&other.outpoint);
        unknown.then_some(Discrepancy::Unknown(*other))
    });
    ours.chain(theirs).collect()
}
