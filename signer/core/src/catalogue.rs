//! The rules in words and since when they hold: the source of `docs/policy-rules.md`.

use alloc::format;
use alloc::string::String;
use alys_protocol::rules::Rule;
use core::fmt::Write as _;

/// Whether a rule is enforced by this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforced {
    /// Every request that it concerns is judged by it.
    Now,
    /// With the proofs of issue 3; until then nodes check it.
    WithProofs,
}

/// Since when a rule is enforced.
pub const fn enforced(rule: Rule) -> Enforced {
    match rule {
        Rule::Chain
        | Rule::Epoch
        | Rule::Leader
        | Rule::SlotMonotonic
        | Rule::SlotHorizon
        | Rule::ParentCertified
        | Rule::LongestChain
        | Rule::Height
        | Rule::History
        | Rule::Counters
        | Rule::ExecutionHeader
        | Rule::PowDistance
        | Rule::Finality
        | Rule::BurnSequence
        | Rule::BatchRecorded
        | Rule::OutputsExact
        | Rule::Change
        | Rule::FeeRate
        | Rule::FeeAbsolute
        | Rule::TxShape
        | Rule::Inputs
        | Rule::Replacement
        | Rule::CapSingle
        | Rule::CapWindow
        | Rule::CountWindow
        | Rule::Destination
        | Rule::Paused
        | Rule::Exclusive
        | Rule::Rate
        | Rule::Quorum
        | Rule::Iteration => Enforced::Now,
        Rule::WithdrawalsExact
        | Rule::DepositProof
        | Rule::DepositDepth
        | Rule::DepositOrder
        | Rule::DepositScript
        | Rule::FeesProof
        | Rule::Supply
        | Rule::MintWindow
        | Rule::Target
        | Rule::Coinbase
        | Rule::Commitment
        | Rule::ChainSlot
        | Rule::Bundle
        | Rule::PowFloor
        | Rule::HeaderLink
        | Rule::HeaderWork
        | Rule::HeaderRetarget
        | Rule::HeaderPace
        | Rule::ReorgDepth
        | Rule::BurnProof
        | Rule::BurnEmitter
        | Rule::BurnStatus
        | Rule::Hold
        | Rule::Fresh
        | Rule::Counter => Enforced::WithProofs,
    }
}

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
            "Each deposit is buried deep enough in the signer's own header chain."
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
        Rule::PowFloor => "The work over a burn meets the policy's floor.",
        Rule::HeaderLink => "A Bitcoin header links to a known one.",
        Rule::HeaderWork => "A Bitcoin header has its work.",
        Rule::HeaderRetarget => "A Bitcoin header's difficulty follows the rules.",
        Rule::HeaderPace => "Bitcoin headers arrive at their pace.",
        Rule::ReorgDepth => "A Bitcoin reorganisation is not too deep.",
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
            "What leaves, fees included, is at most `cap_window_sats` in any `window_seconds` of the signer's clock; a family counts once, at its largest member (until the clock has Bitcoin's headers, each batch by itself)."
        }
        Rule::CountWindow => {
            "Payments are at most `count_window_payments` in any `window_seconds` of the signer's clock (until the clock has Bitcoin's headers, each batch by itself)."
        }
        Rule::Hold => {
            "Payments of `hold_from_sats` or more wait until `hold_blocks` from their burn's block on are final by proof of work."
        }
        Rule::Destination => "Payments go where `destinations` allows, and not where it denies.",
        Rule::Paused => "No officer has paused the signer's peg-outs.",
        Rule::Fresh => "The signer's state is the newest there is.",
        Rule::Exclusive => "One process at a time holds keys and state.",
        Rule::Counter => "The outside counter advances.",
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
         `signer/core`. Where a rule is not yet enforced by signers, nodes check it before they ask for a vote.\n\n\
         | area | rule | demands | enforced since |\n|---|---|---|---|\n",
    );
    for rule in Rule::ALL {
        let since = match enforced(*rule) {
            Enforced::Now => "now",
            Enforced::WithProofs => "issue 3",
        };
        let row = format!(
            "| {} | `{rule}` | {} | {since} |\n",
            rule.area(),
            sentence(*rule)
        );
        // Writing to a string cannot fail.
        let _ = page.write_str(&row);
    }
    page
}
