//! The best chain's newest headers in memory, what changes them, and how they are stored.

use super::network::meets_bits;
use super::{
    Checkpoint, Headers, LightClient, MAX_REORG_BLOCKS, RING_HEADERS, Tip, decode, encode,
};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::signer::BitcoinHeaderBytes;
use alys_protocol::units::BtcHeight;
use bitcoin::BlockHash;
use bitcoin::block::Header;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The newest [`RING_HEADERS`] headers of the best chain; empty before it is opened.
///
/// What is read back is only decoded. A shell checks it once at its start, by [`LightClient::load`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "StoredChain", from = "StoredChain")]
pub struct HeaderChain {
    anchor: Option<Checkpoint>,
    tip: Option<Tip>,
    headers: VecDeque<Header>,
}

/// What judged headers change: everything from `first` on is replaced by `headers`.
#[must_use = "headers that were judged good are not yet kept"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub(super) first: BtcHeight,
    pub(super) headers: Vec<Header>,
    pub(super) tip: Tip,
}

/// A chain as it is stored. The order is part of the encoding, whose first two are an optional ring's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredChain {
    /// Not opened.
    Closed,
    /// From the chain spec's start.
    Open(StoredHeaders),
    /// From a block that officers named.
    Anchored(Checkpoint, Option<StoredHeaders>),
}

/// A ring as it is stored: consecutive headers and the height of the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredHeaders {
    /// Height of the first.
    pub first: BtcHeight,
    /// The headers, lowest first.
    pub headers: BoundedVec<BitcoinHeaderBytes, RING_HEADERS>,
}

/// Stored headers that are no chain from the checkpoint: the store is damaged, or officers named another checkpoint. The
/// chain is then opened anew.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Too few for the rules, or heights that do not fit.
    #[error(
        "expected headers from height {expected} to the checkpoint, found {found} from {first}"
    )]
    Incomplete {
        /// The height that the chain must reach down to.
        expected: BtcHeight,
        /// The lowest height found.
        first: BtcHeight,
        /// Headers found.
        found: usize,
    },
    /// A header is not the child of the one before.
    #[error("expected a child of {expected} at height {height}, found one of {found}")]
    Link {
        /// Its height.
        height: BtcHeight,
        /// Hash of the header before.
        expected: BlockHash,
        /// The parent that it has.
        found: BlockHash,
    },
    /// A header has not the bits that follow from those before, or does not meet them.
    #[error("header {hash} at height {height} has not its work")]
    Work {
        /// Its height.
        height: BtcHeight,
        /// Its hash.
        hash: BlockHash,
    },
    /// The chain does not contain the checkpoint.
    #[error("expected checkpoint {expected} at height {height}, found {found:?}")]
    Checkpoint {
        /// The checkpoint's height.
        height: BtcHeight,
        /// The checkpoint's hash.
        expected: BlockHash,
        /// The hash found there, if any.
        found: Option<BlockHash>,
    },
}

impl From<HeaderChain> for StoredChain {
    fn from(chain: HeaderChain) -> Self {
        match (chain.anchor, chain.stored()) {
            (None, None) => Self::Closed,
            (None, Some(ring)) => Self::Open(ring),
            (Some(anchor), ring) => Self::Anchored(anchor, ring),
        }
    }
}

impl From<StoredChain> for HeaderChain {
    fn from(stored: StoredChain) -> Self {
        let (anchor, ring) = match stored {
            StoredChain::Closed => (None, None),
            StoredChain::Open(ring) => (None, Some(ring)),
            StoredChain::Anchored(anchor, ring) => (Some(anchor), ring),
        };
        let mut chain = ring.map_or_else(Self::default, |stored| {
            let headers: VecDeque<Header> = stored.headers.iter().filter_map(decode).collect();
            let above = u32::try_from(headers.len())
                .unwrap_or(u32::MAX)
                .saturating_sub(1);
            let tip = headers.back().map(|last| Tip {
                height: stored.first.saturating_add(above),
                hash: last.block_hash(),
            });
            Self {
                anchor: None,
                tip,
                headers,
            }
        });
        chain.anchor = anchor;
        chain
    }
}

impl Headers for HeaderChain {
    fn anchor(&self) -> Option<Checkpoint> {
        self.anchor
    }

    fn tip(&self) -> Option<Tip> {
        self.tip
    }

    fn header(&self, height: BtcHeight) -> Option<Header> {
        let place = height.checked_sub(self.first()?.get())?;
        self.headers
            .get(usize::try_from(place.get()).ok()?)
            .copied()
    }
}

impl HeaderChain {
    /// A chain that is opened anew at a block that officers name.
    pub fn anchored(anchor: Checkpoint) -> Self {
        Self {
            anchor: Some(anchor),
            ..Self::default()
        }
    }

    /// The lowest height kept; none where the chain is not opened.
    pub fn first(&self) -> Option<BtcHeight> {
        let above = u32::try_from(self.headers.len()).ok()?.checked_sub(1)?;
        self.tip?.height.checked_sub(above)
    }

    /// Takes over an update that was judged against this chain, after it was stored.
    ///
    /// # Errors
    /// - [`LoadError::Link`] where it was judged against another one; nothing changes then.
    pub fn apply(&mut self, update: &Update) -> Result<(), LoadError> {
        let below = update.first.checked_sub(1);
        let parent = below.and_then(|height| self.hash(height));
        if let (Some(tip), Some(header)) = (self.tip, update.headers.first())
            && parent != Some(header.prev_blockhash)
        {
            return Err(LoadError::Link {
                height: update.first,
                expected: parent.unwrap_or(tip.hash),
                found: header.prev_blockhash,
            });
        }
        let kept = self
            .first()
            .and_then(|first| update.first.checked_sub(first.get()))
            .map_or(0, |kept| usize::try_from(kept.get()).unwrap_or(usize::MAX));
        self.headers.truncate(kept);
        self.headers
            .reserve_exact(RING_HEADERS.saturating_sub(self.headers.len()));
        for header in &update.headers {
            if self.headers.len() >= RING_HEADERS {
                self.headers.pop_front();
            }
            self.headers.push_back(*header);
        }
        self.tip = Some(update.tip);
        Ok(())
    }

    /// The ring to store whole; none where the chain is not opened.
    pub fn stored(&self) -> Option<StoredHeaders> {
        Some(StoredHeaders {
            first: self.first()?,
            headers: BoundedVec::new(self.headers.iter().map(encode).collect()).ok()?,
        })
    }
}

impl Update {
    /// The lowest height that changes. Stored headers above the last of [`Update::headers`] go, too.
    pub fn first(&self) -> BtcHeight {
        self.first
    }

    /// The newest header after the update.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// The headers to store, with their heights.
    pub fn headers(&self) -> impl Iterator<Item = (BtcHeight, BitcoinHeaderBytes)> {
        let heights = (self.first.get()..).map(BtcHeight::new);
        heights.zip(self.headers.iter().map(encode))
    }
}

impl LightClient {
    /// Reads a stored ring back and checks again that it is a chain from the checkpoint, which is `anchor` where officers
    /// named one: links, work and difficulty.
    ///
    /// # Errors
    /// - [`LoadError`] for the first thing that is wrong with it; it must not be used then.
    pub fn load(
        &self,
        anchor: Option<Checkpoint>,
        stored: &StoredHeaders,
    ) -> Result<HeaderChain, LoadError> {
        let mut chain = HeaderChain {
            anchor,
            ..HeaderChain::default()
        };
        let opening = self.standing(&chain).from;
        let incomplete = LoadError::Incomplete {
            expected: opening,
            first: stored.first,
            found: stored.headers.len(),
        };
        let mut height = stored.first;
        for bytes in &stored.headers {
            let header = decode(bytes).ok_or(incomplete.clone())?;
            let hash = header.block_hash();
            if let Some(tip) = chain.tip {
                if header.prev_blockhash != tip.hash {
                    return Err(LoadError::Link {
                        height,
                        expected: tip.hash,
                        found: header.prev_blockhash,
                    });
                }
                height = tip.height.checked_add(1).ok_or(incomplete.clone())?;
            }
            // What the lowest headers' bits follow from is no longer there.
            let required = height
                .checked_sub(1)
                .and_then(|parent| self.rules().required_bits(&chain, parent, header.time));
            if required.is_some_and(|bits| bits != header.bits)
                || !meets_bits(self.rules().easiest_target(), header.bits, hash)
            {
                return Err(LoadError::Work { height, hash });
            }
            chain.headers.push_back(header);
            chain.tip = Some(Tip { height, hash });
        }
        // A heavier branch may have fewer headers than what it replaced in a full ring.
        let full = RING_HEADERS.saturating_sub(MAX_REORG_BLOCKS as usize);
        if stored.first > opening && stored.headers.len() < full {
            return Err(incomplete);
        }
        let checkpoint = self.checkpoint(&chain);
        let found = chain.hash(checkpoint.height);
        // Below the ring: every header in it descends from the checkpoint, which was checked when it was opened.
        if checkpoint.height >= stored.first && found != Some(checkpoint.hash) {
            return Err(LoadError::Checkpoint {
                height: checkpoint.height,
                expected: checkpoint.hash,
                found,
            });
        }
        Ok(chain)
    }
}
