//! Mints: deposits and redistributed fees, as the withdrawals of the execution payload (design 7).

use crate::consume::Mint;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::execution::Withdrawal;
use alys_protocol::spec::Chain;
use alys_protocol::units::{ConversionError, Gwei, SideHeight, Wei};
use thiserror::Error;

/// How one proof-of-work record splits the fees in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeShares {
    /// What the vault has that no record paid out yet.
    pub pot: Wei,
    /// The miner's share: eight tenths, in whole gwei.
    pub miner: Gwei,
    /// Each member's share of the rest, in whole gwei.
    pub member: Gwei,
    /// What is paid in all; the pot's remainder stays for the next record.
    pub paid: Wei,
}

/// Fee shares and the miner who gets the large one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePayment {
    /// The record's fee recipient.
    pub miner: EvmAddress,
    /// The shares.
    pub shares: FeeShares,
}

/// A vault that cannot be shared out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeeError {
    /// The vault holds less than was paid out: its balance only grows, so the proof is of another block or chain.
    #[error("expected a vault balance of at least {distributed} wei, found {balance}")]
    Balance {
        /// What was paid out so far.
        distributed: Wei,
        /// The balance found.
        balance: Wei,
    },
    /// A share does not fit its unit.
    #[error(transparent)]
    Unit(#[from] ConversionError),
    /// The sums do not fit 128 bits.
    #[error("the pot of {pot} wei is too large to share")]
    Overflow {
        /// The pot.
        pot: Wei,
    },
}

/// The shares of a record on top of a parent where the vault holds `vault_balance` and `distributed` was paid out so
/// far: miner `floor(pot * 8/10 / 10^9)` gwei, each of `members` `floor(pot * 2/10/n / 10^9)` gwei.
///
/// # Errors
/// - [`FeeError::Balance`] where more was paid out than there is;
/// - [`FeeError::Unit`], [`FeeError::Overflow`] where amounts do not fit.
pub fn fee_distribution(
    vault_balance: Wei,
    distributed: Wei,
    members: usize,
) -> Result<FeeShares, FeeError> {
    let pot = vault_balance
        .checked_sub(distributed.get())
        .ok_or(FeeError::Balance {
            distributed,
            balance: vault_balance,
        })?;
    let overflow = FeeError::Overflow { pot };
    let members = members as u128;
    let portion = |numerator: u128, denominator: u128| {
        pot.get()
            .checked_mul(numerator)?
            .checked_div(denominator)
            .map(Wei::new)
    };
    let miner = portion(8, 10).ok_or(overflow.clone())?.to_gwei_floor()?;
    let member = members
        .checked_mul(10)
        .and_then(|denominator| portion(2, denominator))
        .ok_or(overflow.clone())?
        .to_gwei_floor()?;
    let paid = member
        .to_wei()
        .get()
        .checked_mul(members)
        .and_then(|paid| miner.to_wei().checked_add(paid))
        .ok_or(overflow)?;
    Ok(FeeShares {
        pot,
        miner,
        member,
        paid,
    })
}

/// Withdrawals that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WithdrawalError {
    /// An amount does not fit gwei.
    #[error(transparent)]
    Unit(#[from] ConversionError),
    /// The index `height * 2^16 + i` does not fit, or the payload's limit is exceeded.
    #[error("expected at most {maximum} withdrawals below height 2^48, found {found} at {height}")]
    TooMany {
        /// The spec's limit.
        maximum: u32,
        /// Withdrawals found.
        found: usize,
        /// Height of the block.
        height: SideHeight,
    },
}

/// The withdrawals of the block at `height`, exactly: deposits in Bitcoin's order, then the miner's fees, then each
/// member's; amounts of zero are omitted, and payments to one address are not merged.
///
/// # Errors
/// - [`WithdrawalError::Unit`] where an amount does not fit;
/// - [`WithdrawalError::TooMany`] above the spec's limit.
pub fn expected_withdrawals(
    chain: &Chain,
    height: SideHeight,
    mints: &[Mint],
    fees: Option<&FeePayment>,
) -> Result<Vec<Withdrawal>, WithdrawalError> {
    let mut payments = Vec::with_capacity(mints.len());
    for mint in mints {
        payments.push((mint.recipient, mint.amount.to_gwei()?));
    }
    if let Some(fees) = fees {
        payments.push((fees.miner, fees.shares.miner));
        let members = chain.roster().members();
        payments.extend(
            members
                .iter()
                .map(|member| (member.fee_recipient, fees.shares.member)),
        );
    }
    payments.retain(|(_, amount)| *amount != Gwei::ZERO);
    let maximum = chain.spec().deposits.max_withdrawals;
    let too_many = WithdrawalError::TooMany {
        maximum,
        found: payments.len(),
        height,
    };
    if payments.len() > usize::try_from(maximum).unwrap_or(usize::MAX) {
        return Err(too_many);
    }
    let first = height.get().checked_mul(1 << 16).ok_or(too_many)?;
    Ok(payments
        .into_iter()
        .zip(first..)
        .map(|((address, amount), index)| Withdrawal {
            index,
            validator_index: 0,
            address,
            amount,
        })
        .collect())
}
