//! A counter in a PKCS#11 token; see [`TokenCounter`] for what that is worth.

use super::{CounterError, OutsideCounter};
use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::CounterMark;
use alys_signer_pkcs11::{TokenCounter, TokenError};

impl OutsideCounter for TokenCounter {
    fn description(&self) -> String {
        Self::description(self)
    }

    fn read(&self) -> Result<Option<CounterMark>, CounterError> {
        Ok(Self::read(self)?)
    }

    fn advance(&self, from: CounterMark, tag: CounterTag) -> Result<CounterMark, CounterError> {
        Ok(Self::advance(self, from, tag)?)
    }

    fn create(&self) -> Result<(), CounterError> {
        Ok(Self::create(self)?)
    }
}

impl From<TokenError> for CounterError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::CounterMoved {
                counter,
                expected,
                found,
            } => Self::Moved {
                counter,
                expected,
                found,
            },
            TokenError::CounterExists { counter } => Self::Exists { counter },
            TokenError::CounterExhausted { counter } => Self::Exhausted { counter },
            other => Self::Token(other),
        }
    }
}
