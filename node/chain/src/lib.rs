//! Block rules, peg ledger, burn queue and batch builder, sans-IO (design 6 to 9).
//!
//! Everything here is a function of its arguments: the ledger after a block follows from the ledger before it and from
//! the block, so every node that has the same blocks has the same ledger. What the shell must look up (Bitcoin blocks,
//! the vault's balance, receipts) is passed in.
//!
//! The way of a block: [`consume`] reads the Bitcoin transactions that it consumes, [`next_batch`] decides the peg-outs,
//! [`check_block`] holds a received block against both, and [`Checked::finish`] adds the burns of its receipts once it
//! is executed. [`apply`] does the same for a block that is certified already. A leader starts from
//! [`plan_advance`] and [`draft`] instead. [`DepositProver`] shows deposits to signers, and [`Footing`] says whether the
//! peg stands still.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm
    )
)]

mod batch;
mod burns;
mod check;
mod coins;
mod consume;
mod descriptor;
mod draft;
mod error;
mod ledger;
mod payload;
mod pow;
mod proof;
mod reader;
mod reconcile;
mod scan;
mod shared;
mod supply;
mod watch;
mod withdrawals;

pub use batch::{
    MIN_FEE_RATE, NoBatch, batch_to_record, next_batch, replacement, replacement_rate,
};
pub use burns::{
    BurnError, Log, PEG_OUT_REQUESTED_TOPIC, Receipt, burns_of_block, decode_peg_out_requested,
};
pub use check::{Applied, ApplyError, Checked, Facts, Parent, apply, check_block};
pub use consume::{
    ConsumeError, Consumed, MAX_BITCOIN_BLOCKS, MAX_CONSUMED_BYTES, Mint, Settlement, consume,
    max_deposits,
};
pub use descriptor::{checksum, descriptor};
pub use draft::{Choices, Draft, DraftError, PowPlan, draft};
pub use error::{BlockRuleError, Class};
pub use ledger::{
    DecodeStateError, Family, Halt, LastBatch, Member, Origin, PegState, Totals, Utxo,
};
pub use payload::{PayloadAttributes, payload_attributes};
pub use pow::{check_distance, check_work};
pub use proof::{
    DepositProofError, DepositProver, MAX_PROOF_BYTES, MerkleTree, deposits, proofs_fit,
};
pub use reconcile::{Discrepancy, Unspent, reconcile};
pub use scan::{Advance, BitcoinFacts, PlanError, ScanError, ScannedBlock, Scanner, plan_advance};
pub use shared::Shared;
pub use supply::{EvmSupply, Supply};
pub use watch::{
    BatchVote, CursorPlace, DeepReorganisation, FOOTING_SLOTS, Footing, PegHalt, cursor_place,
};
pub use withdrawals::{
    FeeError, FeePayment, FeeShares, WithdrawalError, expected_withdrawals, fee_distribution,
};
