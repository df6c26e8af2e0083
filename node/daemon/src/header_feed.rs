//! Bitcoin headers for the signer, which keeps a chain of its own and mints nothing without it.

use crate::bitcoin_side::BitcoinSide;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::signer::{BitcoinHeaderBytes, BitcoinStanding, BitcoinTip, MAX_BITCOIN_HEADERS};
use alys_protocol::units::BtcHeight;
use alys_signer_client::SignerClient;
use anyhow::Context as _;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Feeds one signer.
pub(crate) struct HeaderFeed {
    signer: Arc<SignerClient>,
    bitcoin: Arc<BitcoinSide>,
    /// Where the signer stood when it answered last; one feeder at a time.
    standing: Mutex<Option<BitcoinStanding>>,
}

impl HeaderFeed {
    pub(crate) fn new(signer: Arc<SignerClient>, bitcoin: Arc<BitcoinSide>) -> Self {
        Self {
            signer,
            bitcoin,
            standing: Mutex::new(None),
        }
    }

    /// Brings the signer to the Bitcoin node's tip.
    pub(crate) async fn feed(&self) -> anyhow::Result<()> {
        let mut standing = self.standing.lock().await;
        let outcome = self.bring_up(&mut standing).await;
        if outcome.is_err() {
            // It may have been restarted, or restored: ask it anew next time.
            *standing = None;
        }
        outcome.context("the signer's Bitcoin headers")
    }

    async fn bring_up(&self, known: &mut Option<BitcoinStanding>) -> anyhow::Result<()> {
        let target = self.bitcoin.tip().await?;
        let mut standing = match *known {
            Some(standing) => standing,
            None => self.signer.status().await?.bitcoin,
        };
        if standing.tip == Some(target) {
            // As in most slots.
            *known = Some(standing);
            return Ok(());
        }
        let mut next = self.first_to_send(&standing).await?;
        while next <= target.height {
            let most = u32::try_from(MAX_BITCOIN_HEADERS - 1).unwrap_or(u32::MAX);
            let last = target.height.min(next.saturating_add(most));
            let Some(headers) = self.bitcoin.headers(next, last).await? else {
                // The chain became shorter meanwhile: the next slot looks again.
                break;
            };
            let headers: Vec<BitcoinHeaderBytes> = headers.iter().map(Into::into).collect();
            let headers = BoundedVec::new(headers)?;
            standing = self.signer.bitcoin_headers(headers).await?;
            next = last.saturating_add(1);
        }
        *known = Some(standing);
        Ok(())
    }

    /// The height from which the signer's chain differs from the Bitcoin node's, or below.
    async fn first_to_send(&self, standing: &BitcoinStanding) -> anyhow::Result<BtcHeight> {
        let Some(BitcoinTip { height, hash }) = standing.tip else {
            return Ok(standing.from);
        };
        if self.bitcoin.block_hash(height).await? == Some(hash) {
            return Ok(height.saturating_add(1));
        }
        // A reorganisation: everything that the signer may still change, since it says no more than its tip.
        Ok(standing.from)
    }
}
