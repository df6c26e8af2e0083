//! What sequences are made of: Bitcoin's headers on several branches, and requests, honest and hostile. What a request says
//! is written down beside it when it is made, for the oracle.

use super::ballots::{Ballot, ballots};
use super::payments::{Payment, payments};
use crate::bitcoin_kit::{Miner, feed};
use crate::blocks::{Block, coinbase, output, spend};
use crate::fixtures::spec;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::signer::BitcoinHeaderBytes;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, Sats};
use alys_signer_core::btc::HeaderChain;
use bitcoin::BlockHash;
use bitcoin::block::Header;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Height of the checkpoint.
pub const CHECKPOINT: u32 = 150;
/// Confirmations that the chain spec demands.
pub const CONFIRMATIONS: u32 = 3;
/// Most payments and value in one batch.
pub const MAX_BURNS: u64 = 4;
pub const MAX_BATCH: u64 = 3 * LARGE;
/// A large payment.
pub const LARGE: u64 = 90_000_000;
/// Rate of the first replacement.
pub const REPLACED_RATE: u64 = 9_000;
/// Blocks that a reorganisation of the signer's headers may take.
pub const MAX_REORG: u32 = 10;
/// What the deposits up to Bitcoin block 155 mint, and those up to 162.
pub const MINTED_155: u64 = 300_000_000;
pub const MINTED_162: u64 = 361_000_000;

/// Where the signer's headers may stand at the start; none: not opened.
pub const STARTS: [Option<u32>; 5] = [Some(170), None, Some(152), Some(157), Some(165)];

/// A place in Bitcoin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub height: u32,
    pub block: BlockHash,
    /// The first transaction not consumed.
    pub next_tx: u32,
}

pub struct Universe {
    pub chain: Chain,
    /// Bitcoin's branches, each from genesis on; the first is the main one.
    pub branches: Vec<Vec<Header>>,
    pub starts: Vec<HeaderChain>,
    pub ballots: Vec<Ballot>,
    pub payments: Vec<Payment>,
}

pub static UNIVERSE: LazyLock<Universe> = LazyLock::new(Universe::new);

impl Universe {
    fn new() -> Self {
        let wallet = Chain::new(spec(None)).unwrap();
        let script = wallet.wallet().script_pubkey().as_bytes().to_vec();
        let bitcoin = Bitcoin::new(&script);
        let mut spec = spec(None);
        let checkpoint = bitcoin.branches[0].headers[CHECKPOINT as usize];
        spec.bitcoin.start_height = BtcHeight::new(CHECKPOINT);
        spec.bitcoin.start_hash = checkpoint.block_hash();
        spec.deposits.confirmations = CONFIRMATIONS;
        spec.pegout.max_sats = Sats::new(LARGE - 1);
        spec.pegout.max_batch_value_sats = Sats::new(MAX_BATCH);
        spec.pegout.max_burns = u32::try_from(MAX_BURNS).unwrap();
        let chain = Chain::new(spec).unwrap();
        let starts = STARTS.map(|height| {
            let mut headers = HeaderChain::default();
            if let Some(height) = height {
                let miner = &bitcoin.branches[0];
                let client = miner.client(CHECKPOINT, MAX_REORG);
                feed(&client, &mut headers, &miner.bytes(0, height)).unwrap();
            }
            headers
        });
        Self {
            ballots: ballots(&chain, &bitcoin),
            payments: payments(&chain),
            chain,
            starts: starts.into(),
            branches: bitcoin
                .branches
                .into_iter()
                .map(|miner| miner.headers)
                .collect(),
        }
    }
}

/// Headers as a request has them.
pub fn encoded(headers: &[Header]) -> Vec<BitcoinHeaderBytes> {
    headers.iter().map(alys_signer_core::btc::encode).collect()
}

pub struct Bitcoin {
    pub branches: Vec<Miner>,
    /// The blocks with deposits, by hash, each with its height.
    pub blocks: BTreeMap<BlockHash, (u32, Block)>,
}

impl Bitcoin {
    fn new(script: &[u8]) -> Self {
        let mut blocks = BTreeMap::new();
        let mut grow =
            |miner: &mut Miner, to: u32, spacing: u32, salt: u8, paid: &[(u32, &[u64])]| {
                while miner.height() < to {
                    let time = miner.tip().time + spacing;
                    let height = miner.height() + 1;
                    let Some((_, amounts)) = paid.iter().find(|(at, _)| *at == height) else {
                        miner.mine(time, salt);
                        continue;
                    };
                    let block = block(script, height, salt, amounts);
                    let header = miner.child(time, |header| header.merkle_root = block.root());
                    miner.headers.push(header);
                    blocks.insert(header.block_hash(), (height, block));
                }
            };
        let mut main = Miner::regtest(CHECKPOINT);
        let paid: [(u32, &[u64]); 5] = [
            (151, &[100_000_000]),
            (153, &[100_000_000, 50_000_000]),
            (155, &[50_000_000]),
            (158, &[1_000_000]),
            (162, &[60_000_000]),
        ];
        grow(&mut main, 230, 600, 0, &paid);
        // One that competes at 160; one from below the checkpoint; one that is too slow; one at the limit of a
        // reorganisation from 230.
        let mut branches = Vec::new();
        for (fork, to, spacing, salt) in [
            (160, 176, 600, 1),
            (149, 160, 600, 2),
            (170, 186, 1_500, 3),
            (220, 232, 600, 4),
        ] {
            let mut branch = main.fork(fork);
            grow(&mut branch, to, spacing, salt, &[(162, &[70_000_000])]);
            branches.push(branch);
        }
        branches.insert(0, main);
        Self { branches, blocks }
    }

    /// What concerns the federation on a branch from one place to before another.
    pub fn consumed(&self, branch: usize, from: Place, to: Place) -> Vec<(u32, BlockHash, usize)> {
        let mut found = Vec::new();
        for height in from.height..=to.height {
            let hash = self.branches[branch].headers[height as usize].block_hash();
            let Some((_, block)) = self.blocks.get(&hash) else {
                continue;
            };
            // The coinbase and the last one pay somebody else.
            for place in 1..block.0.len() - 1 {
                let at = (height, u32::try_from(place).unwrap());
                if at >= (from.height, from.next_tx) && at < (to.height, to.next_tx) {
                    found.push((height, hash, place));
                }
            }
        }
        found
    }
}

pub fn recipient(height: u32, place: usize) -> EvmAddress {
    let mut bytes = [height as u8; 20];
    bytes[0] = place as u8;
    EvmAddress::new(bytes)
}

fn block(script: &[u8], height: u32, salt: u8, amounts: &[u64]) -> Block {
    let elsewhere = || vec![output(&[0x51, 0x20, salt], 1_000)];
    let mut transactions = vec![coinbase(salt, elsewhere())];
    for (place, sats) in (1usize..).zip(amounts) {
        let name = [&[0x6a, 0x14], &recipient(height, place).to_bytes()[..]].concat();
        let outputs = vec![output(script, *sats), output(&name, 0)];
        transactions.push(spend(height * 10 + place as u32, outputs));
    }
    transactions.push(spend(height * 10 + 9, elsewhere()));
    Block(transactions)
}
