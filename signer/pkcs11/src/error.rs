//! What can be wrong with a token.

use alys_signer_core::freshness::CounterMark;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// What the token says about the user's PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinState {
    /// Nothing.
    Fine,
    /// A wrong PIN was entered since the last right one.
    CountLow,
    /// The next wrong PIN locks it.
    FinalTry,
    /// It is locked.
    Locked,
}

impl PinState {
    /// Every state, for a metric that has one series for each.
    pub const ALL: [Self; 4] = [Self::Fine, Self::CountLow, Self::FinalTry, Self::Locked];

    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::CountLow => "count-low",
            Self::FinalTry => "final-try",
            Self::Locked => "locked",
        }
    }
}

impl std::fmt::Display for PinState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fine => "the token says nothing about the tries that are left",
            Self::CountLow => "the token counts wrong PINs",
            Self::FinalTry => "one try is left before the PIN is locked",
            Self::Locked => "the PIN is locked now",
        })
    }
}

/// A token that does not do what is asked.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The module is no PKCS#11 library that can be used.
    #[error("PKCS#11 module {path} cannot be loaded: {reason}", path = path.display())]
    Module {
        /// The library.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No token is what the URI names.
    #[error("token absent: expected {wanted}, found {found}")]
    Absent {
        /// The URI.
        wanted: String,
        /// Labels and serials of the tokens that are there.
        found: String,
    },
    /// Several tokens are what the URI names.
    #[error(
        "several tokens fit: expected one that is {wanted}, found {found}; add serial= to the URI"
    )]
    Ambiguous {
        /// The URI.
        wanted: String,
        /// Labels and serials of those that fit.
        found: String,
    },
    /// The file with the PIN cannot be used.
    #[error("PIN file {path}: {reason}", path = path.display())]
    PinFile {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// The URI names no file with the PIN.
    #[error("token {token}: expected pin-source in its URI, found none")]
    PinSource {
        /// The URI.
        token: String,
    },
    /// The token did not take the PIN. It is not tried again until its file changes.
    #[error("token {token}: wrong PIN; {left}. It is not tried again before its file changes")]
    PinWrong {
        /// The token.
        token: String,
        /// What the token says about further tries.
        left: PinState,
    },
    /// This PIN was wrong before, so the token was not asked.
    #[error(
        "token {token}: its PIN was wrong and its file has not changed since, so it is not tried again"
    )]
    PinWithheld {
        /// The token.
        token: String,
    },
    /// One try is left, which a program must not use up.
    #[error(
        "token {token}: one try is left before its PIN is locked, so it is not tried here; log in once with the vendor's tool"
    )]
    PinFinalTry {
        /// The token.
        token: String,
    },
    /// The PIN is locked.
    #[error("token {token}: its PIN is locked; its security officer has to set a new one")]
    PinLocked {
        /// The token.
        token: String,
    },
    /// No PIN was ever set.
    #[error("token {token}: it has no user PIN yet; its security officer has to set one")]
    PinUnset {
        /// The token.
        token: String,
    },
    /// The session ended, and a new one at once did, too.
    #[error("token {token}: session lost: {reason}")]
    SessionLost {
        /// The token.
        token: String,
        /// The module's return code.
        reason: String,
    },
    /// No such key.
    #[error("token {token}: expected {key}, found none")]
    KeyMissing {
        /// The token.
        token: String,
        /// Class and name.
        key: String,
    },
    /// More than one such key.
    #[error("token {token}: expected one {key}, found {count}")]
    KeyAmbiguous {
        /// The token.
        token: String,
        /// Class and name.
        key: String,
        /// How many.
        count: usize,
    },
    /// There is such a key already.
    #[error("token {token}: {key} exists; keys are never replaced")]
    KeyExists {
        /// The token.
        token: String,
        /// Class and name.
        key: String,
    },
    /// A URI that names no key.
    #[error("expected object= or id= in the URI {0}, to name a key")]
    KeyUnnamed(String),
    /// The key can leave the token.
    #[error(
        "token {token}: {key}: expected {expected}, found {found}; the key may have left the token: make a new one"
    )]
    KeyExtractable {
        /// The token.
        token: String,
        /// Class and name.
        key: String,
        /// The attribute as it has to be.
        expected: &'static str,
        /// The attribute as it is.
        found: String,
    },
    /// Another attribute of a key is not what its use needs.
    #[error("token {token}: {key}: expected {expected}, found {found}")]
    KeyUnsuitable {
        /// The token.
        token: String,
        /// Class and name.
        key: String,
        /// What is needed.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// What was sealed does not open.
    #[error(
        "token {token}: {key} does not open it: another key, other associated data, or changed bytes ({reason})"
    )]
    NotOpened {
        /// The token.
        token: String,
        /// Class and name.
        key: String,
        /// What the module reports.
        reason: String,
    },
    /// What was just sealed does not open again as it was.
    #[error("token {token}: {key} does not open what it just sealed; it cannot be used")]
    SealUnreadable {
        /// The token.
        token: String,
        /// Class and name.
        key: String,
    },
    /// More bytes than are sealed or opened.
    #[error("expected at most {most} bytes to seal or open, found {found}")]
    Length {
        /// The limit.
        most: usize,
        /// What was given.
        found: usize,
    },
    /// A vendor mechanism that cannot be called.
    #[error("vendor mechanism: expected {expected}, found {found}")]
    Mechanism {
        /// What it can be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The token signs, but the signature does not verify under its public key.
    #[error(
        "token {token}: {key}: expected a signature that verifies by its public key, found {found}"
    )]
    Signature {
        /// The token.
        token: String,
        /// Class and name.
        key: String,
        /// What is wrong.
        found: String,
    },
    /// The counter does not stand where it was left.
    #[error(
        "the outside counter {counter}: expected {expected}, found {found}; is another signer running with these keys?"
    )]
    CounterMoved {
        /// Token and label.
        counter: String,
        /// Where this signer left it.
        expected: CounterMark,
        /// Where it stands.
        found: String,
    },
    /// There is such a counter already.
    #[error("the outside counter {counter} exists; it is never set back")]
    CounterExists {
        /// Token and label.
        counter: String,
    },
    /// The counter is there twice with one value.
    #[error(
        "the outside counter {counter}: expected one object with the value {value}, found {found}; \
         two signers advanced it at once"
    )]
    CounterAmbiguous {
        /// Token and label.
        counter: String,
        /// The value.
        value: u64,
        /// How many.
        found: usize,
    },
    /// The counter's object is torn or another program's.
    #[error("the outside counter {counter}: expected 32 bytes with their checksum, found {found}")]
    CounterMalformed {
        /// Token and label.
        counter: String,
        /// What it holds.
        found: String,
    },
    /// The counter has no higher value left.
    #[error("the outside counter {counter} is at its end")]
    CounterExhausted {
        /// Token and label.
        counter: String,
    },
    /// The operating system gives no entropy.
    #[error("the operating system gives no entropy: {0}")]
    Entropy(#[from] getrandom::Error),
    /// Something else that the module reports.
    #[error("token {token}: {reason}")]
    Call {
        /// The token.
        token: String,
        /// The function and its return code.
        reason: String,
    },
}

/// The classes of trouble that a metric or an alarm tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// It works.
    Ready,
    /// It is not there.
    Absent,
    /// There are several of it.
    Ambiguous,
    /// Its PIN is wrong, or its file cannot be used.
    PinWrong,
    /// Its PIN is locked, or one try short of it.
    PinLocked,
    /// Its session was lost and could not be had again.
    SessionLost,
    /// Its keys or its counter are not what they have to be.
    Unsuitable,
    /// Anything else.
    Failed,
}

impl Condition {
    /// Every condition, for a metric that has one series for each.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Absent,
        Self::Ambiguous,
        Self::PinWrong,
        Self::PinLocked,
        Self::SessionLost,
        Self::Unsuitable,
        Self::Failed,
    ];

    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Absent => "absent",
            Self::Ambiguous => "ambiguous",
            Self::PinWrong => "pin-wrong",
            Self::PinLocked => "pin-locked",
            Self::SessionLost => "session-lost",
            Self::Unsuitable => "unsuitable",
            Self::Failed => "failed",
        }
    }
}

impl TokenError {
    /// Which class of trouble it is.
    pub const fn condition(&self) -> Condition {
        match self {
            Self::Absent { .. } => Condition::Absent,
            Self::Ambiguous { .. } => Condition::Ambiguous,
            Self::PinFile { .. }
            | Self::PinSource { .. }
            | Self::PinWrong { .. }
            | Self::PinWithheld { .. }
            | Self::PinUnset { .. } => Condition::PinWrong,
            Self::PinFinalTry { .. } | Self::PinLocked { .. } => Condition::PinLocked,
            Self::SessionLost { .. } => Condition::SessionLost,
            Self::KeyMissing { .. }
            | Self::KeyAmbiguous { .. }
            | Self::KeyExists { .. }
            | Self::KeyUnnamed(_)
            | Self::KeyExtractable { .. }
            | Self::KeyUnsuitable { .. }
            | Self::NotOpened { .. }
            | Self::SealUnreadable { .. }
            | Self::Signature { .. }
            | Self::CounterMoved { .. }
            | Self::CounterExists { .. }
            | Self::CounterAmbiguous { .. }
            | Self::CounterMalformed { .. }
            | Self::CounterExhausted { .. } => Condition::Unsuitable,
            Self::Module { .. }
            | Self::Length { .. }
            | Self::Mechanism { .. }
            | Self::Entropy(_)
            | Self::Call { .. } => Condition::Failed,
        }
    }

    pub(crate) fn pin_file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::PinFile {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }
}
