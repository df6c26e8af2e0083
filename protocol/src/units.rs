//! Amounts and counters. Each hides its integer, so that a satoshi is never added to a wei nor a slot to a height.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Defines one newtype over an integer, with checked arithmetic only.
macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($raw);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The largest value that can be written.
            pub const MAX: Self = Self(<$raw>::MAX);

            /// Wraps a number whose unit is that of the type.
            pub const fn new(value: $raw) -> Self {
                Self(value)
            }

            /// The bare number, for encodings and for arithmetic that a method here does not offer.
            pub const fn get(self) -> $raw {
                self.0
            }

            /// The sum, or `None` where it does not fit.
            pub const fn checked_add(self, other: $raw) -> Option<Self> {
                match self.0.checked_add(other) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The difference, or `None` where it would be negative.
            pub const fn checked_sub(self, other: $raw) -> Option<Self> {
                match self.0.checked_sub(other) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The sum, stopping at [`Self::MAX`].
            pub const fn saturating_add(self, other: $raw) -> Self {
                Self(self.0.saturating_add(other))
            }

            /// The difference, stopping at zero.
            pub const fn saturating_sub(self, other: $raw) -> Self {
                Self(self.0.saturating_sub(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = core::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

quantity!(
    /// The chain's EIP-155 id; also the domain of every hash and signature of ours.
    ChainId(u64)
);
quantity!(
    /// A federation's term. A new epoch starts from an anchor signed by officers.
    Epoch(u32)
);
quantity!(
    /// Height of a side block; genesis is 0.
    SideHeight(u64)
);
quantity!(
    /// Height of a Bitcoin block.
    BtcHeight(u32)
);
quantity!(
    /// Number of a slot: Unix time in milliseconds divided by the slot duration.
    Slot(u64)
);
quantity!(
    /// A member's place in the epoch's roster, from 0.
    MemberId(u16)
);
quantity!(
    /// Gap-free number of a burn, from 0. As `next_burn` it names the first burn not yet in a batch.
    BurnSequence(u64)
);
quantity!(
    /// Number of a statement of officers to one signer, from 1; zero stands for none yet.
    StatementNumber(u64)
);
quantity!(
    /// How many proof-of-work records the chain has had.
    PowCount(u32)
);
quantity!(
    /// An amount of bitcoin in satoshi.
    Sats(u64)
);
quantity!(
    /// An amount on the side chain in gwei; the unit of withdrawals (EIP-4895).
    Gwei(u64)
);
quantity!(
    /// An amount on the side chain in wei.
    Wei(u128)
);
quantity!(
    /// A Bitcoin fee rate in satoshi per 1000 virtual bytes.
    SatsPerKvb(u64)
);

/// Wei in one satoshi (design 4).
pub const WEI_PER_SAT: u128 = 10_000_000_000;
/// Gwei in one satoshi.
pub const GWEI_PER_SAT: u64 = 10;
/// Wei in one gwei.
pub const WEI_PER_GWEI: u128 = 1_000_000_000;

/// An amount that the other unit cannot express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConversionError {
    /// Not a whole number of satoshi.
    #[error("{wei} wei is not a whole number of satoshi ({WEI_PER_SAT} wei each)")]
    FractionalSatoshi {
        /// The amount found.
        wei: u128,
    },
    /// Above what the target type can hold.
    #[error("amount {amount} does not fit the target unit")]
    TooLarge {
        /// The amount found, in its own unit.
        amount: u128,
    },
}

impl Sats {
    /// All the bitcoin that there will ever be.
    pub const MAX_MONEY: Self = Self(21_000_000 * 100_000_000);

    /// The same value in wei.
    pub const fn to_wei(self) -> Wei {
        // 2^64 * 10^10 < 2^128: cannot overflow.
        Wei::new((self.get() as u128).saturating_mul(WEI_PER_SAT))
    }

    /// The same value in gwei.
    ///
    /// # Errors
    /// - [`ConversionError::TooLarge`] above 2^64 / 10 satoshi, far above all bitcoin there is.
    pub fn to_gwei(self) -> Result<Gwei, ConversionError> {
        self.get()
            .checked_mul(GWEI_PER_SAT)
            .map(Gwei::new)
            .ok_or(ConversionError::TooLarge {
                amount: u128::from(self.get()),
            })
    }

    /// Adds amounts, or `None` where the sum does not fit.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts
            .into_iter()
            .try_fold(Self::ZERO, |sum, amount| sum.checked_add(amount.get()))
    }
}

impl Gwei {
    /// The same value in wei.
    pub const fn to_wei(self) -> Wei {
        Wei::new((self.get() as u128).saturating_mul(WEI_PER_GWEI))
    }
}

impl Wei {
    /// The same value in satoshi.
    ///
    /// # Errors
    /// - [`ConversionError::FractionalSatoshi`] where satoshi cannot express it;
    /// - [`ConversionError::TooLarge`] where it is above 2^64 satoshi.
    pub fn to_sats_exact(self) -> Result<Sats, ConversionError> {
        match self.get().checked_rem(WEI_PER_SAT) {
            Some(0) => {}
            Some(_) | None => return Err(ConversionError::FractionalSatoshi { wei: self.get() }),
        }
        let sats = self.get().checked_div(WEI_PER_SAT).unwrap_or_default();
        u64::try_from(sats)
            .map(Sats::new)
            .map_err(|_| ConversionError::TooLarge { amount: self.get() })
    }

    /// The whole gwei in it, rounded down.
    ///
    /// # Errors
    /// - [`ConversionError::TooLarge`] where it is above 2^64 gwei.
    pub fn to_gwei_floor(self) -> Result<Gwei, ConversionError> {
        let gwei = self.get().checked_div(WEI_PER_GWEI).unwrap_or_default();
        u64::try_from(gwei)
            .map(Gwei::new)
            .map_err(|_| ConversionError::TooLarge { amount: self.get() })
    }
}

impl Slot {
    /// The slot that a moment lies in.
    ///
    /// `unix_ms` is Unix time in milliseconds; `None` where `duration_ms` is zero.
    pub const fn at(unix_ms: u64, duration_ms: u64) -> Option<Self> {
        match unix_ms.checked_div(duration_ms) {
            Some(slot) => Some(Self::new(slot)),
            None => None,
        }
    }

    /// Unix time in milliseconds at which the slot starts, or `None` where it does not fit.
    pub const fn start_ms(self, duration_ms: u64) -> Option<u64> {
        self.get().checked_mul(duration_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sats_survive_wei(sats in any::<u64>()) {
            prop_assert_eq!(Sats::new(sats).to_wei().to_sats_exact(), Ok(Sats::new(sats)));
        }

        #[test]
        fn fractions_of_a_satoshi_are_refused(sats in 0u64..1 << 50, dust in 1u128..WEI_PER_SAT) {
            let wei = Sats::new(sats).to_wei().get() + dust;
            prop_assert_eq!(
                Wei::new(wei).to_sats_exact(),
                Err(ConversionError::FractionalSatoshi { wei })
            );
        }
    }

    #[test]
    fn one_satoshi_is_ten_gwei() {
        assert_eq!(Sats::new(3).to_gwei(), Ok(Gwei::new(30)));
        assert_eq!(Sats::new(3).to_wei(), Gwei::new(30).to_wei());
        assert!(Sats::MAX.to_gwei().is_err());
    }
}
