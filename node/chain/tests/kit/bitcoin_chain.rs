//! A toy Bitcoin: linked blocks with right Merkle roots, and no work.

use super::{START, federation, payee, transaction};
use alys_chain::{BitcoinFacts, PegState, ScanError, ScannedBlock, Scanner};
use alys_protocol::peg::Cursor;
use alys_protocol::units::{BtcHeight, Sats};
use bitcoin::hashes::Hash as _;
use bitcoin::{
    Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Transaction, TxMerkleNode, Witness, block,
};
use std::collections::BTreeMap;

pub fn start_hash() -> BlockHash {
    BlockHash::from_byte_array([0xbb; 32])
}

pub fn block(previous: BlockHash, height: u32, salt: u32, mut txdata: Vec<Transaction>) -> Block {
    let mut coinbase = transaction(vec![OutPoint::null()], vec![(payee(1), 50)]);
    let tag = [&[8][..], &height.to_le_bytes(), &salt.to_le_bytes()].concat();
    coinbase.input[0].script_sig = ScriptBuf::from_bytes(tag);
    coinbase.input[0].witness = Witness::new();
    txdata.insert(0, coinbase);
    let mut block = Block {
        header: block::Header {
            version: block::Version::TWO,
            prev_blockhash: previous,
            merkle_root: TxMerkleNode::all_zeros(),
            time: 0,
            bits: CompactTarget::from_consensus(0),
            nonce: 0,
        },
        txdata,
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    block
}

#[derive(Clone)]
pub struct Bitcoin {
    /// From height `START + 1` on.
    pub blocks: Vec<Block>,
    salt: u32,
}

impl Bitcoin {
    pub fn new() -> Self {
        Self {
            blocks: Vec::new(),
            salt: 0,
        }
    }

    pub fn tip(&self) -> BtcHeight {
        BtcHeight::new(START + self.blocks.len() as u32)
    }

    pub fn at(&self, height: BtcHeight) -> Option<&Block> {
        let place = height.get().checked_sub(START + 1)?;
        self.blocks.get(place as usize)
    }

    pub fn mine(&mut self, transactions: Vec<Transaction>) {
        let previous = self.blocks.last().map_or(start_hash(), Block::block_hash);
        let height = self.tip().get() + 1;
        self.salt += 1;
        self.blocks
            .push(block(previous, height, self.salt, transactions));
    }

    pub fn mine_empty(&mut self, count: u32) {
        for _ in 0..count {
            self.mine(Vec::new());
        }
    }

    /// Takes the newest blocks away and returns their transactions, coinbases left out.
    pub fn disconnect(&mut self, count: usize) -> Vec<Transaction> {
        let keep = self.blocks.len().saturating_sub(count);
        self.blocks
            .split_off(keep)
            .into_iter()
            .flat_map(|block| block.txdata.into_iter().skip(1))
            .collect()
    }

    /// Scans from the ledger's cursor up to and with `last`.
    pub fn scan(&self, peg: &PegState, last: BtcHeight) -> Result<Vec<ScannedBlock>, ScanError> {
        let mut scanner = Scanner::new(super::chain(), peg);
        let mut scanned = Vec::new();
        while scanner.next_height() <= last {
            let height = scanner.next_height();
            let Some(block) = self.at(height) else { break };
            scanned.push(scanner.block(block, height)?);
        }
        Ok(scanned)
    }

    /// What a validator looks up for a child of `peg` with this cursor.
    pub fn facts(&self, peg: &PegState, cursor: &Cursor) -> Option<BitcoinFacts> {
        let scanned = self.scan(peg, cursor.height).ok()?;
        BitcoinFacts::from_scan(self.tip(), &scanned, cursor)
    }

    /// The federation's unspent outputs up to a cursor, found without the code under test.
    pub fn unspent(&self, cursor: &Cursor) -> BTreeMap<OutPoint, (Sats, BtcHeight)> {
        let mut unspent = BTreeMap::new();
        for (height, block) in (START + 1..).zip(&self.blocks) {
            for (index, transaction) in (0u32..).zip(&block.txdata) {
                if (height, index) >= (cursor.height.get(), cursor.next_tx) {
                    return unspent;
                }
                for input in &transaction.input {
                    unspent.remove(&input.previous_output);
                }
                let txid = transaction.compute_txid();
                for (vout, output) in (0u32..).zip(&transaction.output) {
                    if output.script_pubkey == federation() {
                        let value = Sats::new(output.value.to_sat());
                        unspent.insert(OutPoint { txid, vout }, (value, BtcHeight::new(height)));
                    }
                }
            }
        }
        unspent
    }
}
