//! The outside counter that tells a restored snapshot from the newest state (claim C5; rules `fresh` and `counter`).
//!
//! It must lie where no snapshot or backup of the state takes it along: a TPM's NV index, a token's object, the device's
//! flash. Beside its value it holds the tag of whoever advanced it last, 24 bytes in all. [`FileCounter`] is for development: it is as good as the separation of its filesystem.

mod file;
mod run;
mod token;

pub use file::FileCounter;
pub(crate) use run::RunCounter;

use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::CounterMark;
use alys_signer_pkcs11::TokenError;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A counter that only goes up, outside the signer's state.
pub trait OutsideCounter: Debug + Send + Sync {
    /// What and where it is, in words, for `status` and the log.
    fn description(&self) -> String;

    /// Where it stands; none where there is no counter (yet).
    ///
    /// # Errors
    /// - [`CounterError`] where it cannot be read or holds no value.
    fn read(&self) -> Result<Option<CounterMark>, CounterError>;

    /// Advances it by one from `from`, durably, under the caller's tag, and returns where it stands. Of several callers with
    /// one `from`, one succeeds.
    ///
    /// # Errors
    /// - [`CounterError::Moved`] where it does not stand at `from`;
    /// - [`CounterError`] otherwise where it cannot be advanced; it may or may not have moved then.
    fn advance(&self, from: CounterMark, tag: CounterTag) -> Result<CounterMark, CounterError>;

    /// Makes the counter, at zero.
    ///
    /// # Errors
    /// - [`CounterError::Exists`] where there is one: a counter is never set back;
    /// - [`CounterError`] otherwise where it cannot be made.
    fn create(&self) -> Result<(), CounterError>;
}

/// A counter that does not do what is asked.
#[derive(Debug, Error)]
pub enum CounterError {
    /// Another instance advanced it, or it was replaced.
    #[error(
        "the outside counter {counter}: expected {expected}, found {found}; is another signer running with these keys?"
    )]
    Moved {
        /// Which counter.
        counter: String,
        /// Where this signer left it.
        expected: CounterMark,
        /// Where it stands.
        found: String,
    },
    /// There is one already.
    #[error("the outside counter {counter} exists; it is never set back")]
    Exists {
        /// Which counter.
        counter: String,
    },
    /// It holds something else than a value.
    #[error(
        "the outside counter {counter}: expected a decimal number, a tag and a line's end, found {found}"
    )]
    Malformed {
        /// Which counter.
        counter: String,
        /// What it holds.
        found: String,
    },
    /// It has no higher value left.
    #[error("the outside counter {counter} is at its end")]
    Exhausted {
        /// Which counter.
        counter: String,
    },
    /// The file system.
    #[error("the outside counter {path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it reports.
        error: io::Error,
    },
    /// The token.
    #[error("the outside counter: {0}")]
    Token(TokenError),
}
