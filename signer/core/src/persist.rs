//! Persist, then release (style 3, claim C6): what may be signed comes out only of a written state.
//!
//! ```text
//! Durable<S> --Signer--> Pending<I> --write succeeded--> Persisted<I> --> signature
//! ```
//!
//! None of these types is `Clone`, and no other way leads to a [`Persisted`] value (regression N10):
//!
//! ```compile_fail,E0599
//! fn twice<I>(intent: alys_signer_core::Persisted<I>) {
//!     let _again = intent.clone();
//! }
//! ```
//!
//! ```compile_fail,E0451
//! # use alys_signer_core::{Pending, signer::BlsIntent, state::VoteState};
//! fn unjudged(next: VoteState, intent: BlsIntent) -> Pending<VoteState, BlsIntent> {
//!     Pending { next, intent }
//! }
//! ```
//!
//! ```compile_fail,E0599
//! # use alys_signer_core::{Pending, signer::BlsIntent, state::VoteState};
//! fn unpersisted(pending: Pending<VoteState, BlsIntent>, key: &alys_protocol::bls::SecretKey) {
//!     pending.sign(key);
//! }
//! ```

use crate::signer::{BlsIntent, SchnorrIntent};
use alys_protocol::bytes::Digest;
use alys_protocol::hash::{self, TaggedHasher};

/// A state that is on disk, as far as its holder knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Durable<S>(S);

impl<S> Durable<S> {
    /// Takes the caller's word that `state` was just read from the durable store and that nobody else writes it.
    ///
    /// The rest of the crate's guarantees rest on this word.
    pub fn trust_loaded(state: S) -> Self {
        Self(state)
    }

    /// The state.
    pub fn get(&self) -> &S {
        &self.0
    }
}

/// A decision to sign `I`, not yet recorded: the state to write first.
#[must_use = "nothing is signed until the decision is persisted"]
#[derive(Debug)]
pub struct Pending<S, I> {
    next: S,
    intent: I,
}

impl<S, I> Pending<S, I> {
    pub(crate) fn new(next: S, intent: I) -> Self {
        Self { next, intent }
    }

    /// Hands the next state to `write`, which returns only once it is durable (fsync), and gives what may be signed.
    ///
    /// # Errors
    /// - what `write` reports; nothing may be signed then, and the old state still counts.
    pub fn persist<E>(
        self,
        write: impl FnOnce(&S) -> Result<(), E>,
    ) -> Result<(Durable<S>, Persisted<I>), E> {
        write(&self.next)?;
        Ok((Durable(self.next), Persisted(self.intent)))
    }

    /// The state that will be written.
    pub fn next(&self) -> &S {
        &self.next
    }
}

/// Something that the durable state records as signed: its signature may leave.
#[must_use = "the state says that this was signed"]
#[derive(Debug)]
pub struct Persisted<I>(I);

impl<I> Persisted<I> {
    /// For a repeat: the durable state records it already.
    pub(crate) fn recorded<S>(_in: &Durable<S>, intent: I) -> Self {
        Self(intent)
    }

    pub(crate) fn intent(&self) -> &I {
        &self.0
    }
}

/// A yes.
#[must_use = "a decision to sign does nothing by itself"]
#[derive(Debug)]
pub enum Decision<S, I> {
    /// New: the state must be written first.
    New(Pending<S, I>),
    /// A byte-identical repeat of what the durable state records.
    Repeat(Persisted<I>),
}

impl<S, I> Decision<S, I> {
    /// [`Pending::persist`], or at once for a repeat; the new state is `None` where it did not change.
    ///
    /// # Errors
    /// - what `write` reports; nothing may be signed then.
    pub fn persist<E>(
        self,
        write: impl FnOnce(&S) -> Result<(), E>,
    ) -> Result<(Option<Durable<S>>, Persisted<I>), E> {
        match self {
            Self::New(pending) => pending
                .persist(write)
                .map(|(state, intent)| (Some(state), intent)),
            Self::Repeat(intent) => Ok((None, intent)),
        }
    }

    /// Whether the state must be written.
    pub fn is_new(&self) -> bool {
        match self {
            Self::New(_) => true,
            Self::Repeat(_) => false,
        }
    }

    /// The state that must be written; `None` where it does not change.
    pub fn next(&self) -> Option<&S> {
        match self {
            Self::New(pending) => Some(pending.next()),
            Self::Repeat(_) => None,
        }
    }

    /// Names what would be signed, for the log entry that is written together with the state. Nothing can be signed by a
    /// digest.
    pub fn intent_digest(&self) -> Digest
    where
        I: Intent,
    {
        match self {
            Self::New(pending) => pending.intent.digest(),
            Self::Repeat(persisted) => persisted.0.digest(),
        }
    }
}

/// What a key may be asked to sign once it is persisted.
pub trait Intent {
    /// Names the messages to sign, all of them and in order.
    fn digest(&self) -> Digest;
}

impl Intent for BlsIntent {
    fn digest(&self) -> Digest {
        digest_of(core::iter::once(self.message()))
    }
}

impl Intent for SchnorrIntent {
    fn digest(&self) -> Digest {
        digest_of(self.sighashes().iter())
    }
}

fn digest_of<'a>(messages: impl Iterator<Item = &'a [u8; 32]>) -> Digest {
    let joined: alloc::vec::Vec<u8> = messages.flatten().copied().collect();
    Digest::new(
        TaggedHasher::without_chain(hash::INTENT)
            .variable(&joined)
            .finish(),
    )
}
