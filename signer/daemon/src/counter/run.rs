//! A counter that lasts as long as the process: what officers who vouch for a signer without an outside counter get.

use super::{CounterError, OutsideCounter};
use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::CounterMark;
use std::sync::{Mutex, PoisonError};

/// In memory only, so that the next start, of this state or of a copy, is silent again.
#[derive(Debug)]
pub(crate) struct RunCounter(Mutex<CounterMark>);

impl RunCounter {
    pub(crate) const fn new(mark: CounterMark) -> Self {
        Self(Mutex::new(mark))
    }
}

impl OutsideCounter for RunCounter {
    fn description(&self) -> String {
        "none: officers vouched for the state until this process ends".to_owned()
    }

    fn read(&self) -> Result<Option<CounterMark>, CounterError> {
        Ok(Some(*self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn advance(&self, from: CounterMark, tag: CounterTag) -> Result<CounterMark, CounterError> {
        let mut mark = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *mark != from {
            return Err(CounterError::Moved {
                counter: self.description(),
                expected: from,
                found: mark.to_string(),
            });
        }
        let value = from.value.next().ok_or_else(|| CounterError::Exhausted {
            counter: self.description(),
        })?;
        *mark = CounterMark { value, tag };
        Ok(*mark)
    }

    fn create(&self) -> Result<(), CounterError> {
        Err(CounterError::Exists {
            counter: self.description(),
        })
    }
}
