//! Rule `mint-window`: how much may come into the side chain's supply.

use super::{Limit, RollingWindow};
use crate::clock::WindowTime;
use crate::policy::Policy;
use alys_protocol::peg::Cursor;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::units::Sats;
use serde::{Deserialize, Serialize};

/// What was minted by blocks that the signer approved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MintWindow {
    window: RollingWindow<Sats>,
    last: Option<Minted>,
}

/// Blocks that consume Bitcoin from the same position on: at most one of them is in any chain, so they are charged once,
/// at the largest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Minted {
    from: Cursor,
    charged: Sats,
    at: WindowTime,
}

impl Minted {
    /// Whether the charge is still in the window: once it is not, the same deposits are charged again.
    fn counts(&self, policy: &Policy, now: WindowTime) -> bool {
        now.millis_since(self.at) <= policy.mint_window_seconds.as_millis()
    }
}

impl MintWindow {
    /// Full up to `now`: see [`RollingWindow::full`].
    pub const fn full(now: WindowTime) -> Self {
        Self {
            window: RollingWindow::full(now),
            last: None,
        }
    }

    /// Charges a block that is approved. `from` is the parent's cursor, `minted` the sum of the block's deposits.
    pub fn charge(&mut self, policy: &Policy, now: WindowTime, from: &Cursor, minted: Sats) {
        let increase = self.increase(policy, now, from, minted);
        if increase == Sats::ZERO {
            return;
        }
        self.window
            .charge(now, policy.mint_window_seconds, increase);
        self.last = Some(Minted {
            from: *from,
            charged: minted,
            at: now,
        });
    }

    fn increase(&self, policy: &Policy, now: WindowTime, from: &Cursor, minted: Sats) -> Sats {
        match &self.last {
            Some(last) if last.from == *from && last.counts(policy, now) => {
                minted.saturating_sub(last.charged.get())
            }
            Some(_) | None => minted,
        }
    }
}

/// Mints stay within the rolling limit: proven deposits of approved blocks, and not fees, which were there before.
///
/// `from` is the parent's cursor, `minted` the sum of the block's deposits.
///
/// # Errors
/// - a refusal by rule `mint-window`.
pub fn mint_window(
    policy: &Policy,
    window: &MintWindow,
    now: WindowTime,
    from: &Cursor,
    minted: Sats,
) -> Result<(), Refusal> {
    let limit = Limit {
        length: policy.mint_window_seconds,
        most: policy.mint_window_sats,
    };
    let increase = window.increase(policy, now, from, minted);
    window.window.admit(Rule::MintWindow, now, limit, increase)
}
