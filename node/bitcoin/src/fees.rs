//! The fee rate for the next peg-out: the node's estimate, within what the operators allow.

use crate::client::BitcoinClient;
use crate::error::RpcError;
use alys_protocol::units::SatsPerKvb;
use bitcoin::Amount;
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

/// Limits for fee rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePolicy {
    floor: SatsPerKvb,
    fallback: SatsPerKvb,
    ceiling: SatsPerKvb,
    target_blocks: u16,
}

/// A [`FeePolicy`] that contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FeePolicyError {
    /// The three rates are out of order.
    #[error(
        "expected fee floor <= fallback <= ceiling, found {floor}, {fallback}, {ceiling} sat/kvB"
    )]
    Order {
        /// The floor.
        floor: SatsPerKvb,
        /// The fallback.
        fallback: SatsPerKvb,
        /// The ceiling.
        ceiling: SatsPerKvb,
    },
    /// Nodes estimate for 1 to 1008 blocks.
    #[error("expected a confirmation target of 1 to 1008 blocks, found {found}")]
    Target {
        /// What was asked for.
        found: u16,
    },
}

/// Where a fee rate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeeSource {
    /// The node's estimate.
    Estimate,
    /// The node has too little data for an estimate.
    Fallback,
    /// What the node relays at least, or the policy's floor, since the estimate is lower.
    Floor,
    /// The policy's ceiling, since the market is higher: payments may have to wait.
    Ceiling,
}

/// A fee rate within the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeEstimate {
    /// The rate.
    pub rate: SatsPerKvb,
    /// Where it comes from.
    pub source: FeeSource,
}

impl FeePolicy {
    /// Rates never below `floor`, never above `ceiling`, `fallback` without an estimate; estimates are for
    /// confirmation within `target_blocks`.
    ///
    /// # Errors
    /// - [`FeePolicyError::Order`] unless floor <= fallback <= ceiling;
    /// - [`FeePolicyError::Target`] where the target is not 1 to 1008.
    pub fn new(
        floor: SatsPerKvb,
        fallback: SatsPerKvb,
        ceiling: SatsPerKvb,
        target_blocks: u16,
    ) -> Result<Self, FeePolicyError> {
        if floor > fallback || fallback > ceiling {
            return Err(FeePolicyError::Order {
                floor,
                fallback,
                ceiling,
            });
        }
        if !(1..=1008).contains(&target_blocks) {
            return Err(FeePolicyError::Target {
                found: target_blocks,
            });
        }
        Ok(Self {
            floor,
            fallback,
            ceiling,
            target_blocks,
        })
    }

    /// The rate to use, given the node's estimate and the least that its mempool takes at present.
    pub fn decide(&self, estimate: Option<SatsPerKvb>, mempool_min: SatsPerKvb) -> FeeEstimate {
        let floor = self.floor.max(mempool_min);
        let (wanted, source) = match estimate {
            Some(rate) => (rate, FeeSource::Estimate),
            None => (self.fallback, FeeSource::Fallback),
        };
        let (rate, source) = if wanted < floor {
            (floor, FeeSource::Floor)
        } else {
            (wanted, source)
        };
        if rate > self.ceiling {
            FeeEstimate {
                rate: self.ceiling,
                source: FeeSource::Ceiling,
            }
        } else {
            FeeEstimate { rate, source }
        }
    }
}

#[derive(Deserialize)]
struct EstimateReply {
    /// BTC/kvB; absent with too little data.
    feerate: Option<f64>,
}

#[derive(Deserialize)]
struct MempoolReply {
    /// BTC/kvB.
    mempoolminfee: f64,
}

impl BitcoinClient {
    /// The fee rate for a transaction of now, within the policy.
    ///
    /// # Errors
    /// - [`RpcError`] where the node cannot be asked: an unreachable node is no reason to guess.
    pub async fn fee_estimate(&self, policy: &FeePolicy) -> Result<FeeEstimate, RpcError> {
        const ESTIMATE: &str = "estimatesmartfee";
        const MEMPOOL: &str = "getmempoolinfo";
        let params = [json!(policy.target_blocks), json!("conservative")];
        let estimate: EstimateReply = self.call(ESTIMATE, &params).await?;
        let mempool: MempoolReply = self.call(MEMPOOL, &[]).await?;
        let estimate = estimate
            .feerate
            .map(|rate| per_kvb(ESTIMATE, rate))
            .transpose()?;
        Ok(policy.decide(estimate, per_kvb(MEMPOOL, mempool.mempoolminfee)?))
    }
}

/// The node's BTC/kvB with 8 decimals, exactly.
fn per_kvb(method: &'static str, rate: f64) -> Result<SatsPerKvb, RpcError> {
    match Amount::from_btc(rate) {
        Ok(amount) => Ok(SatsPerKvb::new(amount.to_sat())),
        Err(error) => Err(RpcError::malformed(
            method,
            format!("fee rate {rate}: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn rate(value: u64) -> SatsPerKvb {
        SatsPerKvb::new(value)
    }

    fn policy() -> FeePolicy {
        FeePolicy::new(rate(1_000), rate(5_000), rate(100_000), 6).unwrap()
    }

    #[test]
    fn each_source() {
        for (estimate, mempool_min, expected, source) in [
            (Some(7_000), 100, 7_000, FeeSource::Estimate),
            (None, 100, 5_000, FeeSource::Fallback),
            (Some(500), 100, 1_000, FeeSource::Floor),
            (Some(7_000), 9_000, 9_000, FeeSource::Floor),
            (None, 9_000, 9_000, FeeSource::Floor),
            (Some(200_000), 100, 100_000, FeeSource::Ceiling),
            (Some(7_000), 200_000, 100_000, FeeSource::Ceiling),
        ] {
            let found = policy().decide(estimate.map(rate), rate(mempool_min));
            assert_eq!(
                found,
                FeeEstimate {
                    rate: rate(expected),
                    source
                }
            );
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for (floor, fallback, ceiling) in [(2, 1, 3), (1, 3, 2), (3, 3, 1)] {
            assert!(matches!(
                FeePolicy::new(rate(floor), rate(fallback), rate(ceiling), 6),
                Err(FeePolicyError::Order { .. })
            ));
        }
        for target in [0, 1009] {
            assert_eq!(
                FeePolicy::new(rate(1), rate(1), rate(1), target),
                Err(FeePolicyError::Target { found: target })
            );
        }
    }

    #[test]
    fn the_nodes_decimals_are_exact() {
        assert_eq!(per_kvb("x", 0.00001).unwrap(), rate(1_000));
        assert_eq!(per_kvb("x", 0.00012345).unwrap(), rate(12_345));
        assert!(per_kvb("x", -1.0).is_err());
        assert!(per_kvb("x", f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn always_within_the_policy(estimate: Option<u64>, mempool_min: u64) {
            let found = policy().decide(estimate.map(rate), rate(mempool_min)).rate;
            prop_assert!(found >= rate(1_000) && found <= rate(100_000));
        }
    }
}
