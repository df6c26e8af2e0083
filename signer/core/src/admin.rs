//! Rules of area `admin`: what the signer's owners decide together, k of m officers.
//!
//! Officers sign with minisign (Ed25519). Verifying signatures is the shell's part, since it holds the files; who of the
//! officers signed comes in here.

pub mod statement;

use crate::persist::{Decision, Durable, Pending, Persisted};
use crate::policy::{Iteration, Policy, PolicyFile};
use crate::refusal::{equal, refusal};
use crate::state::{AcceptedPolicy, AdminState};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use alys_protocol::bytes::Digest;
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::rules::Rule;
pub use alys_protocol::signer::MAX_OFFICERS;
use alys_protocol::signer::Refusal;
use alys_protocol::units::ChainId;
use core::fmt;
use thiserror::Error;

/// An officer's Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfficerKey([u8; 32]);

impl OfficerKey {
    /// Takes the key's bytes (RFC 8032).
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for OfficerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Digest::new(self.0), f)
    }
}

impl fmt::Debug for OfficerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OfficerKey({self})")
    }
}

/// Who may decide about a signer, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Officers {
    threshold: usize,
    keys: BTreeSet<OfficerKey>,
}

/// Officers that cannot decide, or of whom one could count twice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OfficersError {
    /// Too few or too many.
    #[error("officers: expected 1 to {MAX_OFFICERS} keys, found {0}")]
    Count(usize),
    /// The same key again.
    #[error("officers: expected different keys, found {0} twice")]
    Twice(OfficerKey),
    /// No majority: two policies of the same iteration could both be signed.
    #[error(
        "officers: expected a threshold above half of {keys} keys and at most all, found {found}"
    )]
    Threshold {
        /// Keys.
        keys: usize,
        /// The threshold.
        found: usize,
    },
}

impl Officers {
    /// Checks a set of officers, `threshold` of whom decide.
    ///
    /// # Errors
    /// - [`OfficersError`] as named.
    pub fn new(threshold: usize, keys: &[OfficerKey]) -> Result<Self, OfficersError> {
        if keys.is_empty() || keys.len() > MAX_OFFICERS {
            return Err(OfficersError::Count(keys.len()));
        }
        let mut set = BTreeSet::new();
        for key in keys {
            if !set.insert(*key) {
                return Err(OfficersError::Twice(*key));
            }
        }
        if threshold > keys.len() || threshold.saturating_mul(2) <= keys.len() {
            return Err(OfficersError::Threshold {
                keys: keys.len(),
                found: threshold,
            });
        }
        Ok(Self {
            threshold,
            keys: set,
        })
    }

    /// How many decide.
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// What names this set, whatever order the keys are written in.
    pub fn digest(&self) -> Digest {
        let keys: Vec<u8> = self.keys.iter().flat_map(|key| key.0).collect();
        // Both are at most MAX_OFFICERS.
        let threshold = u64::try_from(self.threshold).unwrap_or(u64::MAX);
        Digest::new(
            TaggedHasher::without_chain(hash::OFFICERS)
                .fixed(&threshold.to_le_bytes())
                .variable(&keys)
                .finish(),
        )
    }
}

/// Enough officers signed. `signed` are keys whose signatures verify; each counts once, and strangers do not count.
///
/// # Errors
/// - a refusal by rule `quorum`.
pub fn quorum(officers: &Officers, signed: &[OfficerKey]) -> Result<(), Refusal> {
    let distinct: BTreeSet<&OfficerKey> = signed
        .iter()
        .filter(|key| officers.keys.contains(key))
        .collect();
    if distinct.len() >= officers.threshold {
        return Ok(());
    }
    Err(refusal(
        Rule::Quorum,
        format_args!(
            "signatures of {} of {} officers",
            officers.threshold,
            officers.count()
        ),
        distinct.len(),
    ))
}

/// A policy's iteration strictly increases; the accepted file itself may be read again.
///
/// # Errors
/// - a refusal by rule `iteration`.
pub fn iteration(
    accepted: Option<&AcceptedPolicy>,
    found: Iteration,
    digest: Digest,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Iteration;
    let Some(accepted) = accepted else {
        return Ok(());
    };
    if found == accepted.iteration {
        return equal(
            RULE,
            "in this iteration the accepted policy with digest",
            accepted.digest,
            digest,
        );
    }
    if found < accepted.iteration {
        return Err(refusal(
            RULE,
            format_args!("an iteration of at least {}", accepted.iteration),
            found,
        ));
    }
    Ok(())
}

/// What names a policy file: its bytes, and the chain that it is for.
pub fn policy_digest(chain: ChainId, file: &[u8]) -> Digest {
    Digest::new(
        TaggedHasher::new(hash::POLICY, chain)
            .variable(file)
            .finish(),
    )
}

/// A policy that officers signed. In force once the state remembers it, so that an older one is refused from then on.
#[derive(Debug)]
pub struct PolicyIntent(Policy);

impl Persisted<PolicyIntent> {
    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.intent().0
    }
}

/// A policy is for this chain: officers of several chains may have the same keys.
///
/// # Errors
/// - a refusal by rule `chain`.
pub fn policy_chain(chain: ChainId, file: &PolicyFile) -> Result<(), Refusal> {
    equal(Rule::Chain, "a policy for chain", chain, file.chain_id)
}

/// Judges a policy file. `file` is what `bytes` say, `signed` the officers whose signatures of `bytes` verify.
///
/// # Errors
/// - the first rule's refusal: `chain`, `quorum`, `iteration`.
pub fn accept_policy(
    state: &Durable<AdminState>,
    chain: ChainId,
    officers: &Officers,
    file: &PolicyFile,
    bytes: &[u8],
    signed: &[OfficerKey],
) -> Result<Decision<AdminState, PolicyIntent>, Refusal> {
    policy_chain(chain, file)?;
    quorum(officers, signed)?;
    let accepted = state.get().policy.as_ref();
    let digest = policy_digest(chain, bytes);
    iteration(accepted, file.iteration, digest)?;
    let intent = PolicyIntent(file.policy.clone());
    let next = AcceptedPolicy {
        iteration: file.iteration,
        digest,
    };
    if accepted == Some(&next) {
        return Ok(Decision::Repeat(Persisted::recorded(state, intent)));
    }
    Ok(Decision::New(Pending::new(
        AdminState {
            policy: Some(next),
            ..state.get().clone()
        },
        intent,
    )))
}
