//! The signer's own chain of Bitcoin headers, which nodes feed.

use super::Signer;
use crate::btc::{HeaderChain, Standing, Tip, UnixTime};
use crate::persist::{Decision, Durable, Intent, Pending, Persisted};
use crate::refusal::refusal;
use alys_protocol::bytes::Digest;
use alys_protocol::hash::{self, TaggedHasher};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{BitcoinHeaderBytes, Refusal};
use bitcoin::hashes::Hash as _;

/// The tip that the signer stands on after the decision. Nothing is signed.
#[derive(Debug)]
pub struct TipIntent(Option<Tip>);

impl Intent for TipIntent {
    fn digest(&self) -> Digest {
        let mut hasher = TaggedHasher::without_chain(hash::INTENT);
        if let Some(tip) = &self.0 {
            hasher = hasher
                .fixed(&tip.height.get().to_le_bytes())
                .fixed(&tip.hash.to_byte_array());
        }
        Digest::new(hasher.finish())
    }
}

impl Signer {
    /// Judges Bitcoin headers, each the child of the one before: see [`crate::btc::LightClient::judge`]. A repeat is what
    /// changes nothing. `now` is none where the signer has no clock but the headers' own.
    ///
    /// # Errors
    /// - a refusal by a rule of area `btc`; then none of the headers counts.
    pub fn bitcoin_headers(
        &self,
        state: &Durable<HeaderChain>,
        now: Option<UnixTime>,
        headers: &[BitcoinHeaderBytes],
    ) -> Result<Decision<HeaderChain, TipIntent>, Refusal> {
        let old = state.get();
        let Some(update) = self.bitcoin().judge(old, headers, now)? else {
            let intent = TipIntent(crate::btc::Headers::tip(old));
            return Ok(Decision::Repeat(Persisted::recorded(state, intent)));
        };
        let mut next = old.clone();
        next.apply(&update).map_err(|error| {
            refusal(Rule::HeaderLink, "headers that follow the kept ones", error)
        })?;
        Ok(Decision::New(Pending::new(
            next,
            TipIntent(Some(update.tip())),
        )))
    }

    /// Where its chain of Bitcoin headers stands.
    pub fn bitcoin_standing(&self, state: &HeaderChain) -> Standing {
        self.bitcoin().standing(state)
    }
}
