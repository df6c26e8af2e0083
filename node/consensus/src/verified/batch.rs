//! Many signatures in one multi-pairing, with the verdicts that one by one would give.
//!
//! Nothing is remembered from one call to the next: there is no cache of what was verified, whose key could be wrong. It
//! would not pay. At the tip it saves at most one certificate per proposal, where a leader added up the very approvals
//! that this node did: some 1.5 ms of a slot of seconds (`benches/range.rs`). While it catches up, a node verifies no block
//! that it holds, and no certificate that a child brought
//! ([`Consensus::lacks_certificate`](crate::Consensus::lacks_certificate)).

use alys_protocol::bls::{self, Claim};
use alys_protocol::spec::Chain;

/// Most messages whose signatures are verified together: many enough for most of the gain, few enough that one forged
/// message has only so many others verified twice.
pub const MAX_BATCH: usize = 16;

/// A message whose signatures remain to be verified.
pub(super) trait Unverified: Sized {
    type Verified;
    type Error;

    /// What is to be verified of its signatures, where all else about it holds.
    fn claims(&self, chain: &Chain) -> Result<Vec<Claim>, Self::Error>;

    /// Verifies all of it.
    fn verify_alone(self, chain: &Chain) -> Result<Self::Verified, Self::Error>;

    /// It, once all else and the claims hold.
    fn hold(self) -> Self::Verified;
}

/// Verifies each message, in order: as [`Unverified::verify_alone`] would, at less cost where all hold, and at most twice the
/// cost where not.
pub(super) fn verify_all<U: Unverified>(
    chain: &Chain,
    messages: impl IntoIterator<Item = U>,
) -> Vec<Result<U::Verified, U::Error>> {
    let mut messages = messages.into_iter();
    let mut verdicts = Vec::new();
    loop {
        let batch: Vec<U> = messages.by_ref().take(MAX_BATCH).collect();
        if batch.is_empty() {
            return verdicts;
        }
        verdicts.extend(verify_batch(chain, batch));
    }
}

fn verify_batch<U: Unverified>(
    chain: &Chain,
    batch: Vec<U>,
) -> impl Iterator<Item = Result<U::Verified, U::Error>> {
    let mut claims = Vec::new();
    let batch: Vec<(U, bool)> = batch
        .into_iter()
        .map(|message| {
            let well_formed = message.claims(chain).map(|its| claims.extend(its)).is_ok();
            (message, well_formed)
        })
        .collect();
    // One claim alone is as quick without coefficients, and needs no second look.
    let all_hold = claims.len() > 1 && bls::verify_all(&claims).is_ok();
    batch.into_iter().map(move |(message, well_formed)| {
        if all_hold && well_formed {
            Ok(message.hold())
        } else {
            // Alone, it says what is wrong with it, and with which of its parts first.
            message.verify_alone(chain)
        }
    })
}
