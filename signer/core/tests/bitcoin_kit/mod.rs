//! Bitcoin headers that a laptop mines, and Bitcoin's rules of work once more: slow, over the whole chain, and written
//! from Bitcoin Core's `src/pow.cpp` with other arithmetic than the signer's.
#![allow(dead_code, reason = "each test crate uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "test code"
)]

use alloy_primitives::U256;
use alys_protocol::signer::BitcoinHeaderBytes;
use alys_protocol::units::BtcHeight;
use alys_signer_core::btc::{
    Checkpoint, HeaderChain, Headers, LightClient, NetworkRules, OPENING_HEADERS, Tip, UnixTime,
    encode,
};
use bitcoin::block::{Header, Version};
use bitcoin::consensus::Params;
use bitcoin::hashes::Hash as _;
use bitcoin::pow::{CompactTarget, Target};
use bitcoin::{BlockHash, Network, TxMerkleNode};

/// 2026-01-01, a whole number of no period.
pub const START: u32 = 1_767_225_600;

/// A network's numbers, as the slow rules and the signer's both take them.
#[derive(Debug, Clone)]
pub struct Numbers {
    pub params: Params,
    pub bip94: bool,
}

impl Numbers {
    pub fn regtest() -> Self {
        Self {
            params: Params::new(Network::Regtest),
            bip94: false,
        }
    }

    /// Periods of 8 blocks of 2 s from a target that every 256th hash meets.
    pub fn small(min_difficulty: bool) -> Self {
        let mut params = Params::new(Network::Bitcoin);
        params.max_attainable_target =
            Target::from_compact(CompactTarget::from_consensus(EASY_BITS));
        params.pow_target_spacing = 2;
        params.pow_target_timespan = 16;
        params.allow_min_difficulty_blocks = min_difficulty;
        Self {
            params,
            bip94: min_difficulty,
        }
    }

    pub fn rules(&self) -> NetworkRules {
        NetworkRules::custom(self.params.clone(), self.bip94)
    }

    fn interval(&self) -> usize {
        usize::try_from(self.params.pow_target_timespan / self.params.pow_target_spacing).unwrap()
    }

    /// `GetNextWorkRequired` over a chain from genesis.
    pub fn slow_bits(&self, chain: &[Header], time: u32) -> u32 {
        let limit = compact(number(self.params.max_attainable_target));
        let last = chain.last().unwrap();
        let height = chain.len();
        if !height.is_multiple_of(self.interval()) {
            if !self.params.allow_min_difficulty_blocks {
                return last.bits.to_consensus();
            }
            let late = i64::from(last.time) + 2 * self.params.pow_target_spacing as i64;
            if i64::from(time) > late {
                return limit;
            }
            return (0..height)
                .rev()
                .find(|at| {
                    at.is_multiple_of(self.interval()) || chain[*at].bits.to_consensus() != limit
                })
                .map_or(limit, |at| chain[at].bits.to_consensus());
        }
        if self.params.no_pow_retargeting {
            return last.bits.to_consensus();
        }
        let first = &chain[height - self.interval()];
        let span = self.params.pow_target_timespan as i64;
        let took = (i64::from(last.time) - i64::from(first.time)).clamp(span / 4, span * 4);
        let old = if self.bip94 { first } else { last };
        let new =
            expand(old.bits.to_consensus()) * U256::from(took as u64) / U256::from(span as u64);
        compact(new.min(number(self.params.max_attainable_target)))
    }
}

/// The easiest target of [`Numbers::small`]: about one hash in 256.
const EASY_BITS: u32 = 0x2000_ffff;

fn number(target: Target) -> U256 {
    U256::from_be_bytes(target.to_be_bytes())
}

/// `arith_uint256::SetCompact` for bits that are neither negative nor too large.
pub fn expand(bits: u32) -> U256 {
    let (size, word) = (bits >> 24, U256::from(bits & 0x007f_ffff));
    match size {
        0..=3 => word >> (8 * (3 - size) as usize),
        _more => word << (8 * (size - 3) as usize),
    }
}

/// `arith_uint256::GetCompact`.
pub fn compact(number: U256) -> u32 {
    let mut size = number.bit_len().div_ceil(8);
    let mut word = match size {
        0..=3 => number.to::<u32>() << (8 * (3 - size)),
        _more => (number >> (8 * (size - 3))).to::<u32>(),
    };
    if word & 0x0080_0000 != 0 {
        word >>= 8;
        size += 1;
    }
    word | (size as u32) << 24
}

/// Work of headers: `2^256 / (target + 1)` each, in numbers that hold 2^256.
pub fn slow_work(headers: &[Header]) -> U256 {
    headers
        .iter()
        .map(|header| {
            let divisor = expand(header.bits.to_consensus()) + U256::from(1);
            let whole = U256::MAX / divisor;
            let exact = U256::MAX % divisor == divisor - U256::from(1);
            whole + U256::from(u8::from(exact))
        })
        .fold(U256::ZERO, |sum, work| sum + work)
}

/// A chain from genesis, mined with the slow rules.
#[derive(Debug, Clone)]
pub struct Miner {
    pub numbers: Numbers,
    pub headers: Vec<Header>,
}

impl Miner {
    pub fn new(numbers: Numbers) -> Self {
        let mut genesis = Header {
            version: Version::ONE,
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::from_byte_array([0; 32]),
            time: START,
            bits: CompactTarget::from_consensus(compact(number(
                numbers.params.max_attainable_target,
            ))),
            nonce: 0,
        };
        grind(&mut genesis);
        Self {
            numbers,
            headers: vec![genesis],
        }
    }

    /// Regtest up to a height, a block every ten minutes.
    pub fn regtest(height: u32) -> Self {
        let mut miner = Self::new(Numbers::regtest());
        miner.grow(height, 0);
        miner
    }

    /// As many more blocks at the network's pace; `salt` tells branches apart.
    pub fn grow(&mut self, blocks: u32, salt: u8) {
        for _ in 0..blocks {
            let time = self.tip().time + self.numbers.params.pow_target_spacing as u32;
            self.mine(time, salt);
        }
    }

    pub fn mine(&mut self, time: u32, salt: u8) {
        let header = self.child(time, |header| {
            header.merkle_root = TxMerkleNode::from_byte_array([salt; 32]);
        });
        self.headers.push(header);
    }

    /// A child of the tip, changed before it is mined.
    pub fn child(&self, time: u32, change: impl FnOnce(&mut Header)) -> Header {
        let mut header = Header {
            version: Version::TWO,
            prev_blockhash: self.tip().block_hash(),
            merkle_root: TxMerkleNode::from_byte_array([0; 32]),
            time,
            bits: CompactTarget::from_consensus(self.numbers.slow_bits(&self.headers, time)),
            nonce: 0,
        };
        change(&mut header);
        grind(&mut header);
        header
    }

    /// The chain up to a height.
    pub fn fork(&self, height: u32) -> Self {
        Self {
            numbers: self.numbers.clone(),
            headers: self.headers[..=height as usize].to_vec(),
        }
    }

    pub fn tip(&self) -> &Header {
        self.headers.last().unwrap()
    }

    pub fn height(&self) -> u32 {
        u32::try_from(self.headers.len() - 1).unwrap()
    }

    /// Median of the last eleven times, by sorting.
    pub fn median(&self) -> u32 {
        let from = self.headers.len().saturating_sub(11);
        let mut times: Vec<_> = self.headers[from..]
            .iter()
            .map(|header| header.time)
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    pub fn checkpoint(&self, height: u32) -> Checkpoint {
        Checkpoint {
            height: BtcHeight::new(height),
            hash: self.headers[height as usize].block_hash(),
        }
    }

    /// Headers from one height to another, both included.
    pub fn bytes(&self, from: u32, to: u32) -> Vec<BitcoinHeaderBytes> {
        let headers = &self.headers[from as usize..=to as usize];
        headers.iter().map(encode).collect()
    }

    /// A client with a checkpoint at a height.
    pub fn client(&self, height: u32, max_reorg: u32) -> LightClient {
        LightClient::new(self.numbers.rules(), self.checkpoint(height), max_reorg).unwrap()
    }

    /// A client and its chain, fed with all of this one from the checkpoint at a height on.
    pub fn fed(&self, checkpoint: u32, max_reorg: u32) -> (LightClient, HeaderChain) {
        let client = self.client(checkpoint, max_reorg);
        let mut chain = HeaderChain::default();
        let from = client.standing(&chain).from.get();
        assert!(checkpoint - from + 1 >= OPENING_HEADERS.min(checkpoint + 1));
        let mut start = from;
        while start <= self.height() {
            let end = self.height().min((start + 2015).max(checkpoint));
            assert!(feed(&client, &mut chain, &self.bytes(start, end)).unwrap());
            start = end + 1;
        }
        assert_eq!(chain.tip(), Some(self.tip_of()));
        (client, chain)
    }

    pub fn tip_of(&self) -> Tip {
        Tip {
            height: BtcHeight::new(self.height()),
            hash: self.tip().block_hash(),
        }
    }
}

/// Finds a nonce that meets the header's bits.
pub fn grind(header: &mut Header) {
    let target = header.target();
    while !target.is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
}

/// A clock that is past every header of these tests.
pub const LATE: UnixTime = UnixTime::new(4_000_000_000);

/// Judges headers and takes over what they change, if anything.
pub fn feed(
    client: &LightClient,
    chain: &mut HeaderChain,
    headers: &[BitcoinHeaderBytes],
) -> Result<bool, alys_protocol::signer::Refusal> {
    let update = client.judge(chain, headers, Some(LATE))?;
    if let Some(update) = &update {
        chain.apply(update).unwrap();
    }
    Ok(update.is_some())
}
