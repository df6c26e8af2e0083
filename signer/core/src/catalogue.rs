//! The rules in words: the source of `docs/policy-rules.md`.

use alloc::format;
use alloc::string::String;
use alys_protocol::rules::Rule;
use core::fmt::Write as _;

/// What a rule demands, in one sentence.
pub const fn sentence(rule: Rule) -> &'static str {
    match rule {
        Rule::Chain => "The header is of this chain and of a known version.",
        Rule::Epoch => "The header is of this epoch.",
        Rule::Leader => "A proposal is signed only in the member's own slot: roster[slot mod n].",
        Rule::SlotMonotonic => "The slot is above the last signed one and above the parent's.",
        Rule::SlotHorizon => "The slot is at most `slot_horizon_slots` past the signer's clock.",
        Rule::ParentCertified => {
            "The body has the parent's certificate, which verifies; none where the parent is genesis."
        }
        Rule::LongestChain => "The parent's height is not below the highest certified height seen.",
        Rule::Height => "The height is the parent's plus one.",
        Rule::History => "The parent's peaks bag to its root, and with its id to this header's.",
        Rule::Counters => {
            "Cursor, next burn, proof of work and fees change only by a record in the body and never decrease."
        }
        Rule::ExecutionHeader => {
            "The execution header has the hash in the header, and its fields follow from the block."
        }
        Rule::PowDistance => {
            "A proof-of-work record is there where the known final height is more than `max_blocks_without_pow` above the PoW-final one."
        }
        Rule::WithdrawalsExact => "The withdrawals are exactly those of proven deposits and fees.",
        Rule::DepositProof => "Each deposit is proven in its Bitcoin block.",
        Rule::DepositDepth => {
            "The new cursor has the spec's confirmations in the signer's own chain of Bitcoin headers, and each deposit `deposit_confirmations`."
        }
        Rule::DepositOrder => "Deposits' positions strictly increase between the two cursors.",
        Rule::DepositScript => "Each deposit pays the federation's script in the exact form.",
        Rule::FeesProof => "Distributed fees follow from the vault's proven balance.",
        Rule::Supply => "What is minted is proven deposits plus growth of the distributed fees.",
        Rule::MintWindow => {
            "Deposits of approved blocks are at most `mint_window_sats` in any `mint_window_seconds` of the signer's clock."
        }
        Rule::Target => "The work meets the target.",
        Rule::Coinbase => "The transaction with the commitment is a real coinbase at index 0.",
        Rule::Commitment => "The coinbase commits to the bundle exactly once.",
        Rule::ChainSlot => "The commitment is in this chain's slot of the chain tree.",
        Rule::Bundle => "The bundle is the range that the headers claim.",
        Rule::PowFloor => {
            "The work over a burn meets `pow_floor_target`, whatever the chain's own target."
        }
        Rule::HeaderLink => "A Bitcoin header links to a known one.",
        Rule::HeaderWork => {
            "A Bitcoin header meets its target, and its time is above the median of the last eleven and at most 2 h past the clock."
        }
        Rule::HeaderRetarget => {
            "A Bitcoin header has the difficulty that follows from those before it."
        }
        Rule::HeaderPace => {
            "No deposit is minted while the Bitcoin tip lags the clock by more than 3 h, or the last `pace_headers` headers took more than twice their time."
        }
        Rule::ReorgDepth => {
            "A Bitcoin reorganisation takes at most `max_reorg_blocks` off the signer's chain of headers."
        }
        Rule::Finality => {
            "The recording block is final: three headers in consecutive slots, one certificate of the third."
        }
        Rule::BurnProof => "Each burn is in its receipt.",
        Rule::BurnEmitter => "Each burn was emitted by the bridge.",
        Rule::BurnStatus => "Each burn's transaction succeeded.",
        Rule::BurnSequence => {
            "Burns are exactly the record's, in order, and in no other batch that was signed."
        }
        Rule::BatchRecorded => "The batch is in the recording body and spans that block's burns.",
        Rule::OutputsExact => "One output per burn, in order, for its amount less its fee share.",
        Rule::Change => {
            "At most one change, last, to the federation's script, of all that burns and fee leave."
        }
        Rule::FeeRate => "The fee is what the recorded rate gives, and the rate is within limits.",
        Rule::FeeAbsolute => "The fee is at most `max_fee_sats`.",
        Rule::TxShape => "Version 2, no lock time, RBF signalled, counts within the spec.",
        Rule::Inputs => "Inputs are distinct, have a value each, and are not another family's.",
        Rule::Replacement => {
            "A replacement has a signed batch's inputs and burns and a higher fee."
        }
        Rule::CapSingle => "No payment, its share of the fee included, is above `cap_single_sats`.",
        Rule::CapWindow => {
            "What leaves, fees included, is at most `cap_window_sats` in any `window_seconds` of the signer's clock; a family counts once, at its largest member."
        }
        Rule::CountWindow => {
            "Payments are at most `count_window_payments` in any `window_seconds` of the signer's clock."
        }
        Rule::Hold => {
            "Payments of `hold_from_sats` or more wait until `hold_blocks` from their burn's block on are final by proof of work."
        }
        Rule::Destination => {
            "Payments go where `destinations` allows, and not where it denies; no block that records others is approved."
        }
        Rule::Paused => "No officer has paused the signer's peg-outs.",
        Rule::Skip => {
            "A burn is left unpaid only where this signer's officers signed that it is skipped."
        }
        Rule::Fresh => {
            "The signer's state is the newest there is: the outside counter stands where the state left it."
        }
        Rule::Exclusive => "One process at a time holds keys and state.",
        Rule::Counter => {
            "The outside counter advanced from where the state left it, by this signer and no other."
        }
        Rule::Rate => "Requests of one certificate stay within their rate.",
        Rule::Quorum => "A policy is signed by at least the threshold of different officers.",
        Rule::Iteration => {
            "A policy's iteration is above that of every policy the signer has had, or it is the same file."
        }
    }
}

/// The page `docs/policy-rules.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# Policy rules\n\n\
         Generated from the rules' enum; `UPDATE_DOCS=1 cargo test -p alys-signer-core --test catalogue` writes it anew.\n\n\
         A refusal names its rule, what the rule expected and what it found. Each rule is one function under its name in\n\
         `signer/core`, and every signer enforces every rule.\n\n\
         | area | rule | demands |\n|---|---|---|\n",
    );
    for rule in Rule::ALL {
        let row = format!("| {} | `{rule}` | {} |\n", rule.area(), sentence(*rule));
        // Writing to a string cannot fail.
        let _ = page.write_str(&row);
    }
    page
}
