//! Bitcoin blocks with deposits, and the blocks that mint them.

use crate::federation::Federation;
use crate::support::fixtures::Link;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{Digest, EvmAddress};
use alys_protocol::execution::Withdrawal;
use alys_protocol::peg::{ConsumedTransaction, Cursor, WHOLE_BLOCK, encode_stripped};
use alys_protocol::signer::{ApproveRequest, DepositProof};
use alys_protocol::units::{BtcHeight, Gwei};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{
    Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    absolute, transaction,
};

pub(crate) type Node = [u8; 32];

pub(crate) fn output(script: &[u8], sats: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(sats),
        script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
    }
}

fn spend(salt: u32, outputs: Vec<TxOut>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([9; 32]), salt),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: outputs,
    }
}

pub(crate) fn coinbase() -> Transaction {
    let mut coinbase = spend(0, vec![output(&[0x51], 50)]);
    coinbase.input[0].previous_output = OutPoint::null();
    coinbase.input[0].script_sig = ScriptBuf::from_bytes(vec![3, 1, 0, 0]);
    coinbase
}

/// A transaction that has nothing to do with the federation.
pub(crate) fn payment(salt: u32) -> Transaction {
    spend(salt, vec![output(&[0x51, 0x20, 7], 1_000)])
}

pub(crate) fn recipient(salt: u32) -> EvmAddress {
    EvmAddress::new([u8::try_from(salt).unwrap() + 1; 20])
}

pub(crate) fn pair(left: Node, right: Node) -> Node {
    sha256d::Hash::hash([left, right].as_flattened()).to_byte_array()
}

/// The rows of Bitcoin's Merkle tree, the transactions' first.
pub(crate) fn rows(transactions: &[Transaction]) -> Vec<Vec<Node>> {
    let leaves = transactions
        .iter()
        .map(|transaction| transaction.compute_txid().to_byte_array());
    let mut rows = vec![leaves.collect::<Vec<_>>()];
    while rows[rows.len() - 1].len() > 1 {
        let row = &rows[rows.len() - 1];
        let above = (0..row.len())
            .step_by(2)
            .map(|at| pair(row[at], row[(at + 1).min(row.len() - 1)]))
            .collect();
        rows.push(above);
    }
    rows
}

pub(crate) fn merkle_root(transactions: &[Transaction]) -> Node {
    rows(transactions)[rows(transactions).len() - 1][0]
}

/// The branch of a place, which may lie behind the last transaction where a row repeats its last node.
pub(crate) fn branch(transactions: &[Transaction], place: usize) -> Vec<Digest> {
    let rows = rows(transactions);
    rows[..rows.len() - 1]
        .iter()
        .enumerate()
        .map(|(level, row)| Digest::new(row[((place >> level) ^ 1).min(row.len() - 1)]))
        .collect()
}

pub(crate) struct BitcoinBlock {
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) height: u32,
    pub(crate) hash: BlockHash,
}

impl BitcoinBlock {
    pub(crate) fn consumed(&self, place: u32) -> ConsumedTransaction {
        ConsumedTransaction {
            height: BtcHeight::new(self.height),
            block: self.hash,
            index: place,
            bytes: encode_stripped(&self.transactions[place as usize]).unwrap(),
        }
    }

    pub(crate) fn proof(&self, place: u32, consumed: u32) -> DepositProof {
        DepositProof {
            consumed,
            branch: BoundedVec::new(branch(&self.transactions, place as usize)).unwrap(),
            coinbase: encode_stripped(&self.transactions[0]).unwrap(),
            coinbase_branch: BoundedVec::new(branch(&self.transactions, 0)).unwrap(),
        }
    }

    pub(crate) fn cursor(&self, next_tx: u32) -> Cursor {
        Cursor {
            height: BtcHeight::new(self.height),
            hash: self.hash,
            next_tx,
        }
    }
}

/// What a block consumes of Bitcoin and mints, with the proofs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mint {
    pub(crate) cursor: Cursor,
    pub(crate) consumed: Vec<ConsumedTransaction>,
    pub(crate) proofs: Vec<DepositProof>,
    pub(crate) withdrawals: Vec<Withdrawal>,
}

impl Federation {
    /// A transaction that deposits for [`recipient`].
    pub(crate) fn deposit(&self, salt: u32, sats: u64) -> Transaction {
        let ours = self.honest.chain.wallet().script_pubkey().as_bytes();
        let name = [&[0x6a, 0x14], &recipient(salt).to_bytes()[..]].concat();
        spend(salt, vec![output(ours, sats), output(&name, 0)])
    }

    /// A buried block, known to the signer, with one deposit of these satoshis at each place from 1 on.
    pub(crate) fn deposited(&mut self, sats: &[u64]) -> BitcoinBlock {
        let deposits = (1u32..)
            .zip(sats)
            .map(|(salt, sats)| self.deposit(salt, *sats));
        let transactions = std::iter::once(coinbase()).chain(deposits).collect();
        let block = self.mine(transactions);
        self.bury(self.honest.chain.spec().deposits.confirmations - 1);
        self.feed();
        block
    }

    /// The honest mint of the deposits at these places, which consumes the whole block.
    pub(crate) fn mint(&self, block: &BitcoinBlock, places: &[u32]) -> Mint {
        let first = (self.height() + 1) << 16;
        let deposits = places
            .iter()
            .map(|place| &block.transactions[*place as usize]);
        Mint {
            cursor: block.cursor(WHOLE_BLOCK),
            consumed: places.iter().map(|place| block.consumed(*place)).collect(),
            proofs: (0u32..)
                .zip(places)
                .map(|(consumed, place)| block.proof(*place, consumed))
                .collect(),
            withdrawals: (first..)
                .zip(deposits)
                .map(|(index, deposit)| Withdrawal {
                    index,
                    validator_index: 0,
                    address: EvmAddress::new(
                        deposit.output[1].script_pubkey.as_bytes()[2..]
                            .try_into()
                            .unwrap(),
                    ),
                    amount: Gwei::new(deposit.output[0].value.to_sat() * 10),
                })
                .collect(),
        }
    }

    /// A child of the tip that mints so, and the request to approve it.
    pub(crate) fn minting(&self, mint: &Mint) -> (Link, ApproveRequest) {
        let link = self.child(|link| {
            link.header.bitcoin = mint.cursor;
            link.body.consumed = BoundedVec::new(mint.consumed.clone()).unwrap();
            link.withdrawals = mint.withdrawals.clone();
        });
        let mut request = self.honest.approve(&link);
        request.deposits = BoundedVec::new(mint.proofs.clone()).unwrap();
        (link, request)
    }

    /// The signer votes for the block that mints so.
    pub(crate) fn mints(&mut self, mint: &Mint) {
        let (link, request) = self.minting(mint);
        self.votes(link, &request);
    }

    /// Each change of an honest mint is refused, however consistent the block around it is.
    pub(crate) fn refuses_mints(
        &mut self,
        honest: &Mint,
        changes: crate::federation::Changes<'_, Mint>,
    ) {
        for (rule, what, change) in changes {
            let mut mint = honest.clone();
            change(&mut mint);
            assert_ne!(mint, *honest, "{what} changes nothing");
            let (_, request) = self.minting(&mint);
            self.refuses_vote(*rule, what, &request);
        }
    }
}
