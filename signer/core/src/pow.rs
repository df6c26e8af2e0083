//! Rules of area `pow`: that the work in a record was done, for which blocks, and for whose fees.
//!
//! Each rule is a pure function under the rule's name; the sentence above it is the design's. [`Work`] is what they
//! judge: an approval asks for [`target`], a peg-out for [`pow_floor`], both for the other rules.

mod bundle;

pub use bundle::bundle;

use crate::refusal::refusal;
use alys_protocol::asert;
use alys_protocol::auxpow::{AuxPow, AuxPowError};
use alys_protocol::body::PowRecord;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::{Header, bundle_hash};
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::spec::{Chain, Target};
use alys_protocol::units::Slot;

/// The easiest target there is: every hash meets it.
const ANY: Target = Target::new([0xff; 32]);

/// A record's AuxPoW and what became of its checks, the amount of work apart.
#[derive(Debug)]
pub struct Work {
    found: Target,
    verdict: Result<(), AuxPowError>,
}

impl Work {
    /// Reads a record's AuxPoW and checks it against the bundle from `record.start` to `end`, which pays
    /// `record.fee_recipient`; chain id and merged-mining id are the spec's, never the proof's (regression A5).
    ///
    /// # Errors
    /// - a refusal by rule `commitment` where the bytes are no AuxPoW.
    pub fn new(chain: &Chain, record: &PowRecord, end: BlockId) -> Result<Self, Refusal> {
        let proof = AuxPow::decode(&record.auxpow)
            .map_err(|error| refusal(rule_of(&error), "a proof of merged mining", error))?;
        let bundle = bundle_hash(chain.id(), record.start, end, record.fee_recipient);
        Ok(Self {
            found: proof.work_hash(),
            verdict: proof.verify(chain.spec().mining.aux_chain_id, &bundle, &ANY),
        })
    }

    /// Refuses by `rule` where the checks failed at it.
    fn judge(&self, rule: Rule, expected: &str) -> Result<(), Refusal> {
        match &self.verdict {
            Err(error) if rule_of(error) == rule => Err(refusal(rule, expected, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn at_most(&self, rule: Rule, what: &str, limit: &Target) -> Result<(), Refusal> {
        if self.found <= *limit {
            return Ok(());
        }
        Err(refusal(
            rule,
            format_args!("a Bitcoin block hash of at most {what} {limit}"),
            self.found,
        ))
    }
}

/// The rule that each failure breaks.
const fn rule_of(error: &AuxPowError) -> Rule {
    match error {
        AuxPowError::CoinbaseIndex { .. }
        | AuxPowError::NotCoinbase(_)
        | AuxPowError::CoinbaseBranch { .. } => Rule::Coinbase,
        AuxPowError::Encoding(_)
        | AuxPowError::BranchDepth { .. }
        | AuxPowError::Magic { .. }
        | AuxPowError::Commitment { .. }
        | AuxPowError::TreeSize { .. } => Rule::Commitment,
        AuxPowError::ChainSlot { .. } => Rule::ChainSlot,
        AuxPowError::Work { .. } => Rule::Target,
    }
}

/// Coinbase at index 0 and real (null prevout); branches at most 30 deep.
///
/// # Errors
/// - a refusal by rule `coinbase`.
pub fn coinbase(work: &Work) -> Result<(), Refusal> {
    work.judge(Rule::Coinbase, "the coinbase of the Bitcoin block")
}

/// The magic `fabe6d6d` exactly once over scriptSig and all OP_RETURN scripts, then root, size = 2^depth, nonce; the
/// root is that of the bundle, so the work binds the payout.
///
/// The checks stop at the first failure, so this speaks only after rule `coinbase` has allowed.
///
/// # Errors
/// - a refusal by rule `commitment`.
pub fn commitment(work: &Work) -> Result<(), Refusal> {
    work.judge(Rule::Commitment, "a coinbase that commits to the bundle")
}

/// Chain-merkle slot derived from chain id and nonce, chain id from the spec.
///
/// The checks stop at the first failure, so this speaks only after rules `coinbase` and `commitment` have allowed.
///
/// # Errors
/// - a refusal by rule `chain-slot`.
pub fn chain_slot(work: &Work) -> Result<(), Refusal> {
    work.judge(Rule::ChainSlot, "the commitment in this chain's slot")
}

/// Target = ASERT(anchor, parent.pow.count, B.slot), integer arithmetic, capped at pow_limit; `slot` is that of the
/// block B that carries the record.
///
/// # Errors
/// - a refusal by rule `target`.
pub fn target(chain: &Chain, parent: &Header, slot: Slot, work: &Work) -> Result<(), Refusal> {
    let mining = &chain.spec().mining;
    let target = asert::target(mining, chain.genesis().slot, parent.pow.count, slot);
    work.at_most(Rule::Target, "the target", &target)
}

/// A peg-out needs an AuxPoW at or above its burns whose hash is at most the *policy's* `pow_floor`, whatever ASERT says.
///
/// # Errors
/// - a refusal by rule `pow-floor`.
pub fn pow_floor(floor: &Target, work: &Work) -> Result<(), Refusal> {
    work.at_most(Rule::PowFloor, "the policy's floor", floor)
}
