//! Bitcoin's header chain, as the signer proves it to itself (design 10, area `btc`).
//!
//! [`LightClient`] starts from a provisioned checkpoint, judges headers that a node feeds it, and keeps the best chain's
//! newest [`RING_HEADERS`] headers. Each rule is a pure function under the rule's name in [`rules`].
//!
//! # What is kept, and why a flood of headers cannot grow it
//! Only the best chain. Nodes know whole branches, so a competing branch comes in one request, from its fork on: its work
//! is compared with what it would replace, and it either takes the place of that or leaves nothing behind. There is no set
//! of side headers that could be flooded or from which an honest branch could be driven out.
//!
//! The ring holds the 80 bytes of each header and nothing derived, so that what is read back from a disk or from flash is
//! checked again: links, proof of work and difficulty ([`LightClient::load`]).
//!
//! # What headers alone do not show
//! - Signet's blocks carry a signature in the coinbase (BIP 325): here a signet header counts by its work alone, which
//!   is small. On signet, testnet4 and regtest claim C2 holds against nobody who can mine.
//! - Transactions, scripts and subsidies, and the obsolete versions that BIP 34, 65 and 66 forbid. Such a block costs
//!   the same work; deposits wait until it has a depth that nobody pays for (claim C2).

mod client;
mod network;
mod ring;
pub mod rules;

pub use alys_protocol::signer::{BitcoinStanding as Standing, BitcoinTip as Tip};
pub use client::{LightClient, SetupError};
pub use network::NetworkRules;
pub use ring::{HeaderChain, LoadError, StoredChain, StoredHeaders, Update};

use crate::clock::MedianTime;
use alloc::vec::Vec;
use alys_protocol::peg::block_hash;
use alys_protocol::signer::BitcoinHeaderBytes;
use alys_protocol::spec::Chain;
use alys_protocol::units::BtcHeight;
use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::Decodable as _;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Headers from the first block of one retarget period to before that of the next.
pub const RETARGET_HEADERS: u32 = 2016;
/// The deepest reorganisation that a policy may allow: a week of blocks.
pub const MAX_REORG_BLOCKS: u32 = 1008;
/// Headers kept, 322,560 bytes of them: a fork of [`MAX_REORG_BLOCKS`] and the first block of the retarget period that it
/// lies in are always among the newest 3,024, and a deposit is found while the side chain's cursor lags by up to 4 weeks.
pub const RING_HEADERS: usize = 4032;
/// Headers at least with which a chain opens, the checkpoint included: enough for the median of 11 and for
/// [`rules::header_pace`] over up to 143 of them.
pub const OPENING_HEADERS: u32 = 144;

const _: () = assert!(RING_HEADERS >= (RETARGET_HEADERS + MAX_REORG_BLOCKS) as usize);

/// Unix time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnixTime(u64);

impl UnixTime {
    /// Wraps seconds since 1970.
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// When a header says that it was made.
    pub fn of(header: &Header) -> Self {
        Self(u64::from(header.time))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// A block that officers vouch for: its hash commits to all blocks below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Its height.
    pub height: BtcHeight,
    /// Its hash.
    #[serde(with = "block_hash")]
    pub hash: BlockHash,
}

impl Checkpoint {
    /// Where the chain spec starts to look at Bitcoin.
    pub fn of_chain(chain: &Chain) -> Self {
        let bitcoin = &chain.spec().bitcoin;
        Self {
            height: bitcoin.start_height,
            hash: bitcoin.start_hash,
        }
    }
}

/// Headers of one chain by height, without gaps up to the tip; on whatever medium they are.
///
/// The daemon keeps them in memory ([`HeaderChain`]); a device may read them from flash. Reading is all the rules need:
/// what to write comes back as an [`Update`].
pub trait Headers {
    /// The block that officers named in place of the chain spec's, to start anew from; none where they did not.
    fn anchor(&self) -> Option<Checkpoint>;

    /// The newest; none before the chain was opened.
    fn tip(&self) -> Option<Tip>;

    /// The header at a height, where it is kept.
    fn header(&self, height: BtcHeight) -> Option<Header>;

    /// The hash at a height: the tip's, or what the next header has as its parent.
    fn hash(&self, height: BtcHeight) -> Option<BlockHash> {
        let tip = self.tip()?;
        if tip.height == height {
            return Some(tip.hash);
        }
        self.header(height)?;
        Some(self.header(height.checked_add(1)?)?.prev_blockhash)
    }

    /// Confirmations of a height: 1 for the tip. None above it.
    fn depth(&self, height: BtcHeight) -> Option<u32> {
        let above = self.tip()?.height.checked_sub(height.get())?;
        above.get().checked_add(1)
    }

    /// Median of the times of a header and the ten below it, or of all where there are fewer since genesis: Bitcoin Core's
    /// `GetMedianTimePast`. None where one of them is not kept.
    fn median_time(&self, height: BtcHeight) -> Option<MedianTime> {
        let oldest = height.saturating_sub(10);
        let mut times = (oldest.get()..=height.get())
            .map(|height| Some(self.header(BtcHeight::new(height))?.time))
            .collect::<Option<Vec<_>>>()?;
        times.sort_unstable();
        times.get(times.len() / 2).copied().map(MedianTime::new)
    }
}

/// Reads a header; every 80 bytes are one.
pub fn decode(bytes: &BitcoinHeaderBytes) -> Option<Header> {
    Header::consensus_decode(&mut bytes.as_bytes().as_slice()).ok()
}

/// Writes a header.
pub fn encode(header: &Header) -> BitcoinHeaderBytes {
    header.into()
}
