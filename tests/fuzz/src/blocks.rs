//! Bitcoin blocks with deposits, and the proofs of their transactions.

use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::Digest;
use alys_protocol::peg::{ConsumedTransaction, encode_stripped};
use alys_protocol::signer::DepositProof;
use alys_protocol::units::BtcHeight;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{
    Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Txid,
    Witness, absolute, merkle_tree, transaction,
};

pub fn output(script: &[u8], sats: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(sats),
        script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
    }
}

/// A transaction that `salt` tells apart from others.
pub fn spend(salt: u32, outputs: Vec<TxOut>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([9; 32]), salt),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[1u8; 64]]),
        }],
        output: outputs,
    }
}

pub fn coinbase(salt: u8, outputs: Vec<TxOut>) -> Transaction {
    let mut coinbase = spend(0, outputs);
    coinbase.input[0].previous_output = OutPoint::null();
    coinbase.input[0].script_sig = ScriptBuf::from_bytes(vec![2, 1, salt]);
    coinbase
}

/// A block's transactions, the coinbase first.
#[derive(Debug, Clone)]
pub struct Block(pub Vec<Transaction>);

impl Block {
    fn txids(&self) -> Vec<Txid> {
        self.0.iter().map(Transaction::compute_txid).collect()
    }

    /// The Merkle root, by the `bitcoin` crate.
    pub fn root(&self) -> TxMerkleNode {
        let root = merkle_tree::calculate_root(self.txids().into_iter()).unwrap();
        TxMerkleNode::from_raw_hash(root.to_raw_hash())
    }

    /// The branch of a place, which may lie behind the last transaction where a row repeats its last node.
    pub fn branch(&self, place: usize) -> Vec<Digest> {
        let mut row: Vec<[u8; 32]> = self.txids().iter().map(|id| id.to_byte_array()).collect();
        let (mut branch, mut place) = (Vec::new(), place);
        while row.len() > 1 {
            let last = row.len() - 1;
            branch.push(Digest::new(row[(place ^ 1).min(last)]));
            row = row
                .chunks(2)
                .map(|pair| [pair[0], pair[pair.len() - 1]])
                .map(|pair| sha256d::Hash::hash(pair.as_flattened()).to_byte_array())
                .collect();
            place /= 2;
        }
        branch
    }

    pub fn consumed(&self, height: u32, block: BlockHash, place: usize) -> ConsumedTransaction {
        ConsumedTransaction {
            height: BtcHeight::new(height),
            block,
            index: u32::try_from(place).unwrap(),
            bytes: encode_stripped(&self.0[place]).unwrap(),
        }
    }

    /// The proof of the transaction at `place`, which is number `consumed` of a body.
    pub fn proof(&self, place: usize, consumed: u32) -> DepositProof {
        DepositProof {
            consumed,
            branch: BoundedVec::new(self.branch(place)).unwrap(),
            coinbase: encode_stripped(&self.0[0]).unwrap(),
            coinbase_branch: BoundedVec::new(self.branch(0)).unwrap(),
        }
    }
}
