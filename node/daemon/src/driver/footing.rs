//! Whether the peg stands on firm ground: a look at the Bitcoin node in each slot, and what follows when it does not.

use super::Driver;
use crate::jobs::Done;
use alys_chain::{CursorPlace, FOOTING_SLOTS, Footing};

impl Driver {
    /// Asks the Bitcoin node whether its best chain still has the block at the head's cursor; one question at a time.
    pub(super) fn look_at_bitcoin(&mut self) {
        // An earlier question may still be open: what the last answer said does not hold for ever.
        self.set_footing(None);
        self.feed_headers();
        let head = self.consensus.tree().head().id;
        let Some(peg) = self.ledgers.get(&head).filter(|_| !self.looking) else {
            return;
        };
        self.looking = true;
        let (tools, cursor) = (self.tools.clone(), *peg.cursor());
        self.spawn(
            async move { Done::BitcoinSeen(tools.bitcoin.cursor_place(&cursor).await) },
            |error| Done::BitcoinSeen(Err(error)),
        );
    }

    /// Brings the signer's Bitcoin headers up to date, one feeding at a time.
    pub(super) fn feed_headers(&mut self) {
        let Some(headers) = self.tools.headers.clone().filter(|_| !self.feeding) else {
            return;
        };
        self.feeding = true;
        self.spawn(
            async move { Done::HeadersFed(headers.feed().await) },
            |error| Done::HeadersFed(Err(error)),
        );
    }

    pub(super) fn headers_fed(&mut self, outcome: anyhow::Result<()>) {
        self.feeding = false;
        let problem = outcome.err().map(|error| format!("{error:#}"));
        self.problem("headers", problem);
    }

    pub(super) fn bitcoin_seen(
        &mut self,
        outcome: anyhow::Result<CursorPlace>,
    ) -> anyhow::Result<()> {
        self.looking = false;
        let problem = match &outcome {
            Ok(CursorPlace::OnBestChain | CursorPlace::Reorganised(_)) => None,
            Ok(CursorPlace::Above { cursor, tip }) => Some(format!(
                "no Bitcoin progress: the peg has consumed Bitcoin up to block {cursor}, and the Bitcoin node's best chain ends at block {tip}"
            )),
            Err(error) => Some(format!("the Bitcoin node cannot be asked: {error:#}")),
        };
        self.problem("bitcoin", problem);
        self.judge_peg(outcome.ok())?;
        self.ask_signer_again()
    }

    /// Halts the peg on this node, or lets it go on, after a look at the Bitcoin node or a new head.
    pub(super) fn judge_peg(&mut self, seen: Option<CursorPlace>) -> anyhow::Result<()> {
        let before = self.footing;
        self.set_footing(seen);
        if self.footing.is_firm() && !before.is_firm() {
            return self.advance_pegouts(self.slot());
        }
        Ok(())
    }

    fn set_footing(&mut self, seen: Option<CursorPlace>) {
        let head = self.consensus.tree().head().id;
        let Some(peg) = self.ledgers.get(&head) else {
            return;
        };
        let before = self.footing;
        self.footing = before.after(peg, seen, self.consensus.slot());
        let halt = self.footing.halt().map(ToString::to_string);
        if let (Some(halt), None) = (&halt, before.halt()) {
            tracing::error!("{halt}");
        }
        if let (Footing::Firm { .. }, Footing::Unknown, None) = (before, self.footing, seen) {
            tracing::warn!(
                "peg-outs wait: the Bitcoin node has not answered for {FOOTING_SLOTS} slots"
            );
        }
        metrics::gauge!("alys_peg_halted").set(if halt.is_some() { 1.0 } else { 0.0 });
        self.problem("peg", halt);
    }
}
