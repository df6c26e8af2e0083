//! Rule `fees-proof`: what a proof-of-work record pays out of the fees in the vault (design 7).

use crate::proof::{ExecutionHeader, account};
use crate::refusal::{equal, refusal};
use alys_protocol::body::Body;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::header::Header;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{FeesProof, Refusal};
use alys_protocol::spec::Chain;
use alys_protocol::units::{Gwei, Wei};

const RULE: Rule = Rule::FeesProof;

/// How one record splits the fees that no record has paid out before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeShares {
    /// The miner's share: `floor(pot * 8/10 / 10^9)` gwei.
    pub miner: Gwei,
    /// Each member's share: `floor(pot * 2/10/n / 10^9)` gwei.
    pub member: Gwei,
    /// What is paid in all, by which `fees_distributed` grows; what flooring leaves stays for the next record.
    pub paid: Wei,
}

/// The shares, and who gets the miner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePayment {
    /// The record's fee recipient, which the work binds.
    pub miner: EvmAddress,
    /// The shares.
    pub shares: FeeShares,
}

impl FeeShares {
    /// Splits `pot` among the miner and `members`; `None` where a share does not fit its unit or there are no members.
    pub fn of_pot(pot: Wei, members: usize) -> Option<Self> {
        let members = u128::try_from(members).ok()?;
        let floor = |numerator: u128, denominator: u128| {
            let share = pot.get().checked_mul(numerator)?.checked_div(denominator)?;
            Wei::new(share).to_gwei_floor().ok()
        };
        let miner = floor(8, 10)?;
        let member = floor(2, members.checked_mul(10)?)?;
        let all = member.to_wei().get().checked_mul(members)?;
        Some(Self {
            miner,
            member,
            paid: miner.to_wei().checked_add(all)?,
        })
    }
}

/// The block B with an AuxPoW record pays, in B, pot = balance(vault at parent) - parent.fees_distributed: miner
/// `floor(pot * 8/10 / 10^9)` gwei, each member `floor(pot * 2/10/n / 10^9)` gwei; `fees_distributed` grows by the wei
/// paid. One account proof. Without a record nothing is paid.
///
/// # Errors
/// - a refusal by rule `fees-proof`.
pub fn fees_proof(
    chain: &Chain,
    header: &Header,
    parent: &Header,
    body: &Body,
    evidence: Option<&FeesProof>,
) -> Result<Option<FeePayment>, Refusal> {
    let payment = match (&body.pow, evidence) {
        (None, None) => None,
        (Some(record), Some(evidence)) => Some(FeePayment {
            miner: record.fee_recipient,
            shares: shares(chain, parent, evidence)?,
        }),
        (None, Some(_)) => {
            return Err(refusal(RULE, "no vault where there is no record", "one"));
        }
        (Some(_), None) => {
            return Err(refusal(RULE, "the vault's balance at the parent", "none"));
        }
    };
    let paid = payment.map_or(Wei::ZERO, |payment| payment.shares.paid);
    let expected = parent
        .fees_distributed
        .checked_add(paid.get())
        .ok_or_else(|| refusal(RULE, "distributed fees of 128 bits", "more"))?;
    equal(
        RULE,
        "distributed fees in wei of",
        expected,
        header.fees_distributed,
    )?;
    Ok(payment)
}

fn shares(chain: &Chain, parent: &Header, evidence: &FeesProof) -> Result<FeeShares, Refusal> {
    let balance = vault_balance(chain, parent, evidence)?;
    let distributed = parent.fees_distributed;
    // "an address with no code and no known key": its balance never falls below what was paid on its account.
    let pot = balance.checked_sub(distributed.get()).ok_or_else(|| {
        refusal(
            RULE,
            format_args!("at least the {distributed} wei in the vault that were paid out"),
            balance,
        )
    })?;
    FeeShares::of_pot(pot, chain.roster().len())
        .ok_or_else(|| refusal(RULE, "fees of 64 bits in gwei", format_args!("{pot} wei")))
}

fn vault_balance(chain: &Chain, parent: &Header, evidence: &FeesProof) -> Result<Wei, Refusal> {
    let execution = ExecutionHeader::with_hash(parent.execution_hash, &evidence.execution_header)
        .map_err(|error| refusal(RULE, "the parent's execution header", error))?;
    let vault = chain.spec().execution.vault;
    let account = account(execution.state_root, vault, &evidence.account).map_err(|error| {
        refusal(
            RULE,
            format_args!("the account of the vault {vault}"),
            error,
        )
    })?;
    let Some(account) = account else {
        return Ok(Wei::ZERO);
    };
    u128::try_from(account.balance)
        .map(Wei::new)
        .map_err(|_| refusal(RULE, "a vault of 128 bits of wei", account.balance))
}
