//! What the devnet leaves in `summary.json` and on the terminal.

use super::BlockIntervals;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the round trip showed. Amounts have their unit in the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Side height of the certified head.
    pub certified_height: u64,
    /// Side height of the newest final block.
    pub final_height: u64,
    /// Side height of the newest block that proof of work finalised.
    pub pow_final_height: u64,
    /// Slots since genesis without a certified block, time without a running devnet included.
    pub missed_slots: u64,
    /// Slots without a certified block during this run's round trip.
    pub missed_slots_this_run: u64,
    /// The deposit on Bitcoin.
    pub deposit_txid: String,
    /// The side block that minted it.
    pub mint_block: u64,
    /// The side block with the transfer.
    pub transfer_block: u64,
    /// The token.
    pub token: String,
    /// The burn's sequence.
    pub burn_sequence: u64,
    /// The side block with the burn.
    pub burn_block: u64,
    /// The payment on Bitcoin.
    pub pegout_txid: String,
    /// Its confirmations at the end.
    pub pegout_confirmations: u32,
    /// What it paid out.
    pub pegout_paid_sats: u64,
    /// Seconds of each step.
    pub seconds: BTreeMap<String, f64>,
    /// Balances before.
    pub balances_before: Balances,
    /// Balances after.
    pub balances_after: Balances,
    /// Resident memory of each process in kibibytes.
    pub resident_kib: BTreeMap<String, u64>,
    /// The time between blocks, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_intervals: Option<BlockIntervals>,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The federation's Bitcoin address.
    pub federation_address: String,
    /// The Bitcoin address that was paid.
    pub payout_address: String,
    /// The account that deposited.
    pub user_address: String,
    /// Its key, which everybody can know.
    pub user_private_key: String,
    /// The nodes' JSON-RPC.
    pub node_rpc: Vec<String>,
    /// Their EVM JSON-RPC and websocket.
    pub evm_rpc: Vec<String>,
    /// The Bitcoin node's RPC.
    pub bitcoin_rpc: String,
}

/// Balances at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balances {
    /// The user's on the side chain, as decimal text.
    pub user_wei: String,
    /// The friend's on the side chain, as decimal text.
    pub friend_wei: String,
    /// The federation's outputs.
    pub federation_sats: u64,
    /// Received on the payout address.
    pub payout_sats: u64,
}

impl Summary {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let first = |urls: &[String]| urls.first().cloned().unwrap_or_default();
        let (node, evm) = (first(&self.node_rpc), first(&self.evm_rpc));
        let heights = format!(
            "certified {}, final {}, PoW-final {}; {} slots missed",
            self.certified_height,
            self.final_height,
            self.pow_final_height,
            self.missed_slots_this_run
        );
        let steps = self
            .seconds
            .iter()
            .map(|(step, time)| format!("{step} {time:.1}"));
        let steps = steps.collect::<Vec<_>>().join(", ");
        let intervals = self.block_intervals.as_ref().map(|seen| {
            let (between, after) = (seen.interval_ms, seen.certified_after_ms);
            format!(
                "{} of {} slots missed; between blocks median {} ms, p99 {} ms, at most {} ms; certified after median {} ms, p99 {} ms",
                seen.missed, seen.slots, between.median, between.p99, between.largest, after.median, after.p99
            )
        });
        let rows = [
            ("heights", heights),
            (
                "deposit",
                format!("{}, minted in block {}", self.deposit_txid, self.mint_block),
            ),
            ("token", self.token.clone()),
            (
                "burn",
                format!("sequence {}, block {}", self.burn_sequence, self.burn_block),
            ),
            (
                "peg-out",
                format!(
                    "{}, {} sat to {}, {} confirmations",
                    self.pegout_txid,
                    self.pegout_paid_sats,
                    self.payout_address,
                    self.pegout_confirmations
                ),
            ),
            ("seconds", steps),
            ("federation", self.federation_address.clone()),
            ("Alys JSON-RPC", self.node_rpc.join(" ")),
            ("EVM JSON-RPC", self.evm_rpc.join(" ")),
            (
                "Bitcoin RPC",
                format!("{} (cookie in bitcoin/regtest/.cookie)", self.bitcoin_rpc),
            ),
            ("test account", self.user_address.clone()),
            (
                "its private key",
                format!("{} (known to everybody)", self.user_private_key),
            ),
            (
                "MetaMask",
                format!(
                    "add a network: RPC URL {evm}, chain id {}, currency BTC; import the private key",
                    self.chain_id
                ),
            ),
            (
                "cast",
                format!("cast balance {} --rpc-url {evm}", self.user_address),
            ),
            (
                "peg in",
                format!(
                    "curl -s {node} -H 'content-type: application/json' -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"getdepositaddress\",\"params\":[\"{}\"]}}'",
                    self.user_address
                ),
            ),
        ];
        text.push_str("The round trip is done.\n");
        let intervals = intervals.map(|text| ("block interval", text));
        for (name, value) in rows.into_iter().chain(intervals) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<18} {value}");
        }
        text.truncate(text.trim_end().len());
        text
    }
}
