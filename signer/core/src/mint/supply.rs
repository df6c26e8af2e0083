//! Rules `withdrawals-exact` and `supply`: nothing is minted but proven deposits and proven fees (regressions A1, A2).

use super::fees::FeePayment;
use crate::refusal::{equal, refusal};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::execution::Withdrawal;
use alys_protocol::header::Header;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::spec::Chain;
use alys_protocol::units::{Gwei, Sats, Wei};

/// Withdrawals: index = height * 2^16 + i, validator_index = 0, deposits first, then fees, zero amounts omitted, capped by
/// the spec with n + 1 reserved for fees. `found` are exactly these.
///
/// Deposits come in Bitcoin's order, then the miner's fees, then each member's in the roster's order; payments to one
/// address are not merged. Rule `execution-header` shows that `found` is what the execution block does.
///
/// # Errors
/// - a refusal by rule `withdrawals-exact`.
pub fn withdrawals_exact(
    chain: &Chain,
    header: &Header,
    deposits: &[(EvmAddress, Sats)],
    fees: Option<&FeePayment>,
    found: &[Withdrawal],
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::WithdrawalsExact;
    let members = chain.roster().members();
    let reserved = members.len().saturating_add(1);
    let most = usize::try_from(chain.spec().deposits.max_withdrawals)
        .unwrap_or(usize::MAX)
        .saturating_sub(reserved);
    if deposits.len() > most {
        return Err(refusal(
            RULE,
            format_args!("at most {most} deposits, which leaves {reserved} withdrawals for fees"),
            deposits.len(),
        ));
    }
    let first = header
        .height
        .get()
        .checked_mul(1 << 16)
        .ok_or_else(|| refusal(RULE, "a height below 2^48", header.height))?;
    let mut amounts = deposits.iter().map(|(recipient, amount)| {
        let gwei = amount
            .to_gwei()
            .map_err(|error| refusal(RULE, "a deposit of 64 bits in gwei", error))?;
        Ok((*recipient, gwei))
    });
    let shares = fees.into_iter().flat_map(|fees| {
        let each = fees.shares.member;
        core::iter::once((fees.miner, fees.shares.miner)).chain(
            members
                .iter()
                .map(move |member| (member.fee_recipient, each)),
        )
    });
    let mut indices = first..;
    let mut rest = found.iter();
    let mut expect = |(address, amount): (EvmAddress, Gwei)| -> Result<(), Refusal> {
        if amount == Gwei::ZERO {
            return Ok(());
        }
        let index = indices
            .next()
            .ok_or_else(|| refusal(RULE, "an index of 64 bits", "a larger one"))?;
        let expected = Withdrawal {
            index,
            validator_index: 0,
            address,
            amount,
        };
        match rest.next() {
            Some(found) if *found == expected => Ok(()),
            other => Err(refusal(RULE, Show(Some(&expected)), Show(other))),
        }
    };
    amounts.try_for_each(|payment: Result<_, Refusal>| expect(payment?))?;
    shares.into_iter().try_for_each(&mut expect)?;
    match rest.next() {
        None => Ok(()),
        extra => Err(refusal(RULE, Show(None), Show(extra))),
    }
}

/// Minted = proven deposits + growth of fees_distributed.
///
/// It follows from `withdrawals-exact` and `fees-proof`, and is added up apart from them: the sums agree or nothing is
/// signed.
///
/// # Errors
/// - a refusal by rule `supply`.
pub fn supply(
    header: &Header,
    parent: &Header,
    deposits: &[(EvmAddress, Sats)],
    withdrawals: &[Withdrawal],
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Supply;
    let overflow = || refusal(RULE, "sums of 128 bits in wei", "larger ones");
    let growth = header
        .fees_distributed
        .checked_sub(parent.fees_distributed.get())
        .ok_or_else(|| {
            refusal(
                RULE,
                format_args!(
                    "distributed fees of at least {} wei",
                    parent.fees_distributed
                ),
                header.fees_distributed,
            )
        })?;
    let proven = deposits
        .iter()
        .try_fold(growth, |sum, (_, amount)| {
            sum.checked_add(amount.to_wei().get())
        })
        .ok_or_else(overflow)?;
    let minted = withdrawals
        .iter()
        .try_fold(Wei::ZERO, |sum, withdrawal| {
            sum.checked_add(withdrawal.amount.to_wei().get())
        })
        .ok_or_else(overflow)?;
    equal(RULE, "a mint in wei of", proven, minted)
}

/// A withdrawal in words, or the end of the list.
struct Show<'a>(Option<&'a Withdrawal>);

impl core::fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Some(withdrawal) = self.0 else {
            return f.write_str("no more withdrawals");
        };
        write!(
            f,
            "withdrawal {} of {} gwei to {} by validator {}",
            withdrawal.index, withdrawal.amount, withdrawal.address, withdrawal.validator_index
        )
    }
}
