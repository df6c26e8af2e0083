//! Ids of the signer's rules (design 10). The name that a refusal prints is the name of the rule's function and of its
//! row in `docs/policy-rules.md`.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($area:literal { $($(#[$doc:meta])* $variant:ident = $id:literal,)* })*) => {
        /// A rule that a signer decides by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Rule {
            $($($(#[$doc])* #[serde(rename = $id)] $variant,)*)*
        }

        impl Rule {
            /// Every rule, in the order of design 10.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)*)*];

            /// The rule's id.
            pub const fn id(self) -> &'static str {
                match self { $($(Self::$variant => $id,)*)* }
            }

            /// The area that the rule belongs to.
            pub const fn area(self) -> &'static str {
                match self { $($(Self::$variant => $area,)*)* }
            }
        }
    };
}

rules! {
    "vote" {
        /// The header is of this chain and of a known version.
        Chain = "chain",
        /// The header is of this epoch.
        Epoch = "epoch",
        /// A proposal is signed only for the member's own slot.
        Leader = "leader",
        /// The slot is above the last voted one and above the parent's.
        SlotMonotonic = "slot-monotonic",
        /// The slot is not beyond a horizon past the signer's clock.
        SlotHorizon = "slot-horizon",
        /// The parent's certificate verifies.
        ParentCertified = "parent-certified",
        /// The parent's height is not below the highest certified height seen.
        LongestChain = "longest-chain",
        /// The height is the parent's plus one.
        Height = "height",
        /// The history root appends the parent's id to the parent's history.
        History = "history",
        /// Cursor, next burn, proof of work and fees change only by a record in the body.
        Counters = "counters",
        /// The execution header is the one named, and its fields follow from the block.
        ExecutionHeader = "execution-header",
        /// A record is there when the final height is too far above the PoW-final one.
        PowDistance = "pow-distance",
    }
    "mint" {
        /// The withdrawals are exactly those that follow from deposits and fees.
        WithdrawalsExact = "withdrawals-exact",
        /// Each deposit is in its Bitcoin block.
        DepositProof = "deposit-proof",
        /// Each deposit is buried deep enough.
        DepositDepth = "deposit-depth",
        /// Deposits' positions strictly increase between the cursors.
        DepositOrder = "deposit-order",
        /// Each deposit pays the federation's script in the exact form.
        DepositScript = "deposit-script",
        /// Fees follow from the vault's proven balance.
        FeesProof = "fees-proof",
        /// What is minted is proven deposits plus growth of the distributed fees.
        Supply = "supply",
        /// Mints stay within the rolling limit.
        MintWindow = "mint-window",
    }
    "pow" {
        /// The work meets the target.
        Target = "target",
        /// The coinbase is one.
        Coinbase = "coinbase",
        /// The coinbase commits to the bundle exactly once.
        Commitment = "commitment",
        /// The commitment is in this chain's slot.
        ChainSlot = "chain-slot",
        /// The bundle is the range that the headers claim.
        Bundle = "bundle",
        /// The work over a burn meets the policy's floor.
        PowFloor = "pow-floor",
    }
    "btc" {
        /// A Bitcoin header links to a known one.
        HeaderLink = "header-link",
        /// A Bitcoin header has its work.
        HeaderWork = "header-work",
        /// A Bitcoin header's difficulty follows the rules.
        HeaderRetarget = "header-retarget",
        /// Bitcoin headers arrive at their pace.
        HeaderPace = "header-pace",
        /// A Bitcoin reorganisation is not too deep.
        ReorgDepth = "reorg-depth",
    }
    "pegout" {
        /// The recording block is final.
        Finality = "finality",
        /// Each burn is in its receipt.
        BurnProof = "burn-proof",
        /// Each burn was emitted by the bridge.
        BurnEmitter = "burn-emitter",
        /// Each burn's transaction succeeded.
        BurnStatus = "burn-status",
        /// Burns follow each other without gaps.
        BurnSequence = "burn-sequence",
        /// The batch is the one that the body records.
        BatchRecorded = "batch-recorded",
        /// Outputs pay the burns in order, exactly.
        OutputsExact = "outputs-exact",
        /// Change goes to the federation's own script.
        Change = "change",
        /// The fee is the one that the recorded rate gives.
        FeeRate = "fee-rate",
        /// The fee is below the absolute limit.
        FeeAbsolute = "fee-absolute",
        /// Version, lock time, sequences and counts are those of a batch.
        TxShape = "tx-shape",
        /// Inputs are distinct and not those of another family.
        Inputs = "inputs",
        /// A replacement has the original's inputs and burns and a higher fee.
        Replacement = "replacement",
        /// No payment is above its cap.
        CapSingle = "cap-single",
        /// Payments stay within the rolling value limit.
        CapWindow = "cap-window",
        /// Payments stay within the rolling count limit.
        CountWindow = "count-window",
        /// Payments wait for their holding time.
        Hold = "hold",
        /// Payments go to allowed destinations.
        Destination = "destination",
        /// The signer is not paused.
        Paused = "paused",
        /// A burn is left unpaid only where officers signed that it is skipped.
        Skip = "skip",
    }
    "state" {
        /// The signer's state is the newest there is.
        Fresh = "fresh",
        /// The signer holds its state alone.
        Exclusive = "exclusive",
        /// The outside counter advances.
        Counter = "counter",
        /// Requests stay within their rate.
        Rate = "rate",
    }
    "admin" {
        /// Enough officers signed.
        Quorum = "quorum",
        /// A policy's iteration increases.
        Iteration = "iteration",
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn people_read_ids_and_the_wire_has_numbers() {
        for (index, rule) in Rule::ALL.iter().enumerate() {
            let shown = serde_json::to_value(rule).unwrap();
            assert_eq!(shown, rule.id());
            assert_eq!(serde_json::from_value::<Rule>(shown).unwrap(), *rule);
            assert_eq!(
                postcard::to_allocvec(rule).unwrap(),
                [u8::try_from(index).unwrap()]
            );
        }
    }
}
