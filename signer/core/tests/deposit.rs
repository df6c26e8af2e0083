//! Rules of area `mint` on deposits: what is minted was paid in a buried Bitcoin block of the signer's own chain.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bitcoin_kit;
mod fixtures;

use alys_protocol::body::Body;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{Digest, EvmAddress};
use alys_protocol::header::Header;
use alys_protocol::peg::{ConsumedTransaction, Cursor, WHOLE_BLOCK, encode_stripped};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{DepositProof, Refusal};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, Sats};
use alys_signer_core::btc::{HeaderChain, Headers};
use alys_signer_core::mint::deposit::{
    deposit_depth, deposit_order, deposit_proof, deposit_script, deposits,
};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{
    Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Txid,
    Witness, absolute, transaction,
};
use bitcoin_kit::Miner;
use fixtures::Honest;
use proptest::prelude::*;
use std::sync::LazyLock;

static CHAIN: LazyLock<Chain> = LazyLock::new(|| Honest::of_four().chain);

/// Height of the block with the transactions.
const HEIGHT: u32 = 151;

fn rule<T: std::fmt::Debug>(judged: Result<T, Refusal>) -> Rule {
    judged.expect_err("must be refused").rule
}

fn spend(salt: u32, outputs: Vec<TxOut>) -> Transaction {
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

fn coinbase() -> Transaction {
    let mut coinbase = spend(0, vec![output(&[0x51], 50)]);
    coinbase.input[0].previous_output = OutPoint::null();
    coinbase.input[0].script_sig = ScriptBuf::from_bytes(vec![2, 1, 0]);
    coinbase
}

fn output(script: &[u8], sats: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(sats),
        script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
    }
}

fn recipient(salt: u32) -> EvmAddress {
    EvmAddress::new([salt as u8 + 1; 20])
}

fn deposit(salt: u32, sats: u64) -> Transaction {
    let federation = CHAIN.wallet().script_pubkey().as_bytes();
    let name = [&[0x6a, 0x14], &recipient(salt).to_bytes()[..]].concat();
    spend(salt, vec![output(federation, sats), output(&name, 0)])
}

fn payment(salt: u32) -> Transaction {
    spend(salt, vec![output(&[0x51, 0x20, 7], 1000)])
}

type Node = [u8; 32];

fn pair(left: Node, right: Node) -> Node {
    sha256d::Hash::hash([left, right].as_flattened()).to_byte_array()
}

/// The rows of Bitcoin's Merkle tree, the transactions' first, as Satoshi's code builds them.
fn rows(transactions: &[Transaction]) -> Vec<Vec<Node>> {
    let mut rows = vec![
        transactions
            .iter()
            .map(|transaction| transaction.compute_txid().to_byte_array())
            .collect::<Vec<_>>(),
    ];
    while rows.last().unwrap().len() > 1 {
        let row = rows.last().unwrap();
        let above = (0..row.len())
            .step_by(2)
            .map(|at| pair(row[at], row[(at + 1).min(row.len() - 1)]))
            .collect();
        rows.push(above);
    }
    rows
}

/// The branch of a place, which may lie behind the last transaction where a row repeats its last node.
fn branch(transactions: &[Transaction], place: usize) -> Vec<Digest> {
    let rows = rows(transactions);
    rows[..rows.len() - 1]
        .iter()
        .enumerate()
        .map(|(level, row)| Digest::new(row[((place >> level) ^ 1).min(row.len() - 1)]))
        .collect()
}

/// A block in the signer's header chain, with some blocks on top.
struct Mined {
    transactions: Vec<Transaction>,
    bitcoin: HeaderChain,
    hash: BlockHash,
}

impl Mined {
    fn new(transactions: Vec<Transaction>, confirmations: u32) -> Self {
        let root = rows(&transactions).last().unwrap()[0];
        Self::with_root(transactions, root, confirmations)
    }

    fn with_root(transactions: Vec<Transaction>, root: Node, confirmations: u32) -> Self {
        static BELOW: LazyLock<Miner> = LazyLock::new(|| Miner::regtest(HEIGHT - 1));
        let mut miner = BELOW.clone();
        let block = miner.child(miner.tip().time + 600, |header| {
            header.merkle_root = TxMerkleNode::from_byte_array(root);
        });
        miner.headers.push(block);
        miner.grow(confirmations - 1, 0);
        let (_, bitcoin) = miner.fed(HEIGHT - 1, 10);
        Self {
            transactions,
            bitcoin,
            hash: block.block_hash(),
        }
    }

    fn consumed(&self, place: u32) -> ConsumedTransaction {
        ConsumedTransaction {
            height: BtcHeight::new(HEIGHT),
            block: self.hash,
            index: place,
            bytes: encode_stripped(&self.transactions[place as usize]).unwrap(),
        }
    }

    fn proof(&self, place: usize, consumed: u32) -> DepositProof {
        DepositProof {
            consumed,
            branch: BoundedVec::new(branch(&self.transactions, place)).unwrap(),
            coinbase: encode_stripped(&self.transactions[0]).unwrap(),
            coinbase_branch: BoundedVec::new(branch(&self.transactions, 0)).unwrap(),
        }
    }

    fn judge(
        &self,
        place: u32,
        change: impl FnOnce(&mut ConsumedTransaction, &mut DepositProof),
    ) -> Result<(), Refusal> {
        let mut consumed = self.consumed(place);
        let mut proof = self.proof(place as usize, 0);
        change(&mut consumed, &mut proof);
        deposit_proof(&self.bitcoin, &consumed, &proof)
    }

    fn cursor(&self, next_tx: u32) -> Cursor {
        Cursor {
            height: BtcHeight::new(HEIGHT),
            hash: self.hash,
            next_tx,
        }
    }

    /// The cursor of a parent that consumed all below.
    fn below(&self) -> Cursor {
        let height = BtcHeight::new(HEIGHT - 1);
        Cursor {
            height,
            hash: self.bitcoin.hash(height).unwrap(),
            next_tx: WHOLE_BLOCK,
        }
    }

    /// Every rule, over the whole block and for its deposits at `places`.
    fn deposits(
        &self,
        places: &[u32],
        confirmations: u32,
        change: impl FnOnce(&mut Header, &mut Body, &mut Vec<DepositProof>),
    ) -> Result<Vec<(EvmAddress, Sats)>, Refusal> {
        let mut parent = CHAIN.genesis().clone();
        parent.bitcoin = self.below();
        let mut header = parent.clone();
        header.bitcoin = self.cursor(WHOLE_BLOCK);
        let consumed = places.iter().map(|place| self.consumed(*place)).collect();
        let mut body = Body {
            consumed: BoundedVec::new(consumed).unwrap(),
            ..Body::default()
        };
        let mut proofs = places
            .iter()
            .zip(0u32..)
            .map(|(place, consumed)| self.proof(*place as usize, consumed))
            .collect();
        change(&mut header, &mut body, &mut proofs);
        deposits(
            &CHAIN,
            &self.bitcoin,
            confirmations,
            &header,
            &parent,
            &body,
            &proofs,
        )
    }
}

/// The confirmations that the spec of these tests demands.
fn demanded() -> u32 {
    CHAIN.spec().deposits.confirmations
}

/// A coinbase, then as many transactions, deposits at every third place.
fn block(transactions: u32) -> Vec<Transaction> {
    let rest = (1..transactions).map(|place| match place % 3 {
        1 => deposit(place, 1_000_000 + u64::from(place)),
        _other => payment(place),
    });
    std::iter::once(coinbase()).chain(rest).collect()
}

fn places(transactions: u32) -> Vec<u32> {
    (1..transactions).filter(|place| place % 3 == 1).collect()
}

#[test]
fn deposits_mint_what_they_pay_in_bitcoins_order() {
    let mined = Mined::new(block(9), demanded());
    let expected: Vec<_> = places(9)
        .into_iter()
        .map(|place| (recipient(place), Sats::new(1_000_000 + u64::from(place))))
        .collect();
    assert_eq!(expected.len(), 3);
    let mints = mined.deposits(&places(9), demanded(), |_, _, _| {});
    assert_eq!(mints, Ok(expected.clone()));
    // A payment among them is consumed and mints nothing; a deposit without a proof neither.
    let mints = mined.deposits(&[1, 2, 4, 7], demanded(), |_, _, proofs| {
        proofs.remove(1);
        proofs.pop();
    });
    assert_eq!(mints, Ok(expected[..2].to_vec()));
    // A payment is no deposit.
    assert_eq!(
        rule(mined.deposits(&[1, 2], demanded(), |_, _, _| {})),
        Rule::DepositScript
    );
    // Nothing consumed, nothing to prove: no header is needed.
    let still = mined.deposits(&[], demanded(), |header, _, _| {
        header.bitcoin = mined.below()
    });
    assert_eq!(still, Ok(vec![]));
}

#[test]
fn deposit_depth_is_the_policys_and_at_least_the_specs() {
    let demanded = demanded();
    let mined = Mined::new(block(5), demanded);
    let judge = |confirmations, height, hash| {
        deposit_depth(&mined.bitcoin, confirmations, BtcHeight::new(height), hash)
    };
    assert_eq!(judge(demanded, HEIGHT, mined.hash), Ok(()));
    assert_eq!(
        rule(judge(demanded + 1, HEIGHT, mined.hash)),
        Rule::DepositDepth
    );
    assert_eq!(
        rule(judge(1, HEIGHT, BlockHash::all_zeros())),
        Rule::DepositDepth
    );
    assert_eq!(rule(judge(1, HEIGHT - 1, mined.hash)), Rule::DepositDepth);
    assert_eq!(
        rule(judge(0, HEIGHT + 1000, mined.hash)),
        Rule::DepositDepth
    );
    assert_eq!(
        rule(deposit_depth(
            &HeaderChain::default(),
            0,
            BtcHeight::new(HEIGHT),
            mined.hash
        )),
        Rule::DepositDepth
    );
    // Through all rules: a stricter policy holds deposits, not the cursor; a laxer one counts for nothing.
    assert!(mined.deposits(&[1], 1, |_, _, _| {}).is_ok());
    assert_eq!(
        rule(mined.deposits(&[1], demanded + 1, |_, _, _| {})),
        Rule::DepositDepth
    );
    assert!(mined.deposits(&[], demanded + 1, |_, _, _| {}).is_ok());
    let shallow = Mined::new(block(5), demanded - 1);
    assert_eq!(
        rule(shallow.deposits(&[1], 1, |_, _, _| {})),
        Rule::DepositDepth
    );
    assert_eq!(
        rule(shallow.deposits(&[], 1, |_, _, _| {})),
        Rule::DepositDepth
    );
    // A cursor that names a block nobody mined.
    assert_eq!(
        rule(mined.deposits(&[1], 1, |header, _, _| header.bitcoin.hash =
            BlockHash::all_zeros())),
        Rule::DepositDepth
    );
    assert_eq!(
        rule(
            mined.deposits(&[1], 1, |header, _, _| header.bitcoin.height =
                BtcHeight::MAX)
        ),
        Rule::DepositDepth
    );
}

#[test]
fn deposit_order_is_strict_between_the_cursors() {
    let mined = Mined::new(block(9), demanded());
    let judge = |parent, cursor, places: &[u32], proofs: &[u32]| {
        let consumed: Vec<_> = places.iter().map(|place| mined.consumed(*place)).collect();
        let proofs: Vec<_> = proofs.iter().map(|of| mined.proof(1, *of)).collect();
        deposit_order(&parent, &cursor, &consumed, &proofs).map(|pairs| pairs.len())
    };
    let (below, whole) = (mined.below(), mined.cursor(WHOLE_BLOCK));
    assert_eq!(judge(below, whole, &[1, 4, 7], &[0, 1, 2]), Ok(3));
    assert_eq!(judge(below, whole, &[1, 4, 7], &[2]), Ok(1));
    assert_eq!(
        judge(mined.cursor(4), mined.cursor(8), &[4, 7], &[0, 1]),
        Ok(2)
    );
    for (parent, cursor, places, proofs) in [
        (below, whole, &[4, 1][..], &[0][..]),
        (below, whole, &[4, 4], &[0, 1]),
        // Consumed by the parent already, or not yet by this block.
        (mined.cursor(5), whole, &[4], &[0]),
        (below, mined.cursor(4), &[4], &[0]),
        (below, below, &[4], &[0]),
        (whole, whole, &[4], &[0]),
        // Proofs: out of order, beyond the end.
        (below, whole, &[1, 4], &[1, 0]),
        (below, whole, &[1, 4], &[2]),
    ] {
        assert_eq!(
            rule(judge(parent, cursor, places, proofs)),
            Rule::DepositOrder
        );
    }
}

/// Regression A2: one peg-in listed twice would mint twice.
#[test]
fn a2_no_deposit_is_minted_twice() {
    let mined = Mined::new(block(5), demanded());
    let twice = mined.deposits(&[1, 1], demanded(), |_, _, _| {});
    assert_eq!(rule(twice), Rule::DepositOrder);
    let proven_twice = mined.deposits(&[1], demanded(), |_, _, proofs| {
        proofs.push(proofs[0].clone());
    });
    assert_eq!(rule(proven_twice), Rule::DepositOrder);
}

#[test]
fn deposit_script_takes_the_exact_form_only() {
    let mined = Mined::new(block(5), demanded());
    assert_eq!(
        deposit_script(&CHAIN, &mined.consumed(1)),
        Ok((recipient(1), Sats::new(1_000_001)))
    );
    let changed = |change: &dyn Fn(&mut Transaction)| {
        let mut transaction = deposit(1, 1_000_000);
        change(&mut transaction);
        let consumed = ConsumedTransaction {
            bytes: encode_stripped(&transaction).unwrap(),
            ..mined.consumed(1)
        };
        rule(deposit_script(&CHAIN, &consumed))
    };
    let below = CHAIN.spec().deposits.min_sats.get() - 1;
    for change in [
        &(|tx: &mut Transaction| tx.output[0].script_pubkey = ScriptBuf::new())
            as &dyn Fn(&mut Transaction),
        &|tx: &mut Transaction| tx.output[0].value = Amount::from_sat(below),
        &|tx: &mut Transaction| tx.output.truncate(1),
        &|tx: &mut Transaction| tx.output.push(tx.output[1].clone()),
        &|tx: &mut Transaction| {
            tx.output[1].script_pubkey = ScriptBuf::from_bytes(vec![0x6a, 0x13])
        },
        &|tx: &mut Transaction| {
            tx.output
                .push(output(CHAIN.wallet().script_pubkey().as_bytes(), u64::MAX))
        },
    ] {
        assert_eq!(changed(change), Rule::DepositScript);
    }
    let first = ConsumedTransaction {
        index: 0,
        ..mined.consumed(1)
    };
    assert_eq!(rule(deposit_script(&CHAIN, &first)), Rule::DepositScript);
    let witnessed = ConsumedTransaction {
        bytes: BoundedVec::new(bitcoin::consensus::serialize(&mined.transactions[1])).unwrap(),
        ..mined.consumed(1)
    };
    assert_eq!(
        rule(deposit_script(&CHAIN, &witnessed)),
        Rule::DepositScript
    );
}

#[test]
fn deposit_proof_leads_from_its_place_to_the_root() {
    let mined = Mined::new(block(11), demanded());
    for place in 1..11 {
        assert_eq!(mined.judge(place, |_, _| {}), Ok(()));
        // Another place of the same tree, a place beyond it, another block, another transaction.
        assert_eq!(
            rule(mined.judge(place, |tx, _| tx.index ^= 1)),
            Rule::DepositProof
        );
        assert_eq!(
            rule(mined.judge(place, |tx, _| tx.index += 16)),
            Rule::DepositProof
        );
        assert_eq!(
            rule(mined.judge(place, |tx, _| tx.block = BlockHash::all_zeros())),
            Rule::DepositProof
        );
        assert_eq!(
            rule(mined.judge(place, |tx, _| tx.height = BtcHeight::new(HEIGHT + 1))),
            Rule::DepositProof
        );
        assert_eq!(
            rule(mined.judge(place, |tx, _| {
                tx.bytes = encode_stripped(&deposit(place, 77_000_000)).unwrap();
            })),
            Rule::DepositProof
        );
        assert_eq!(
            rule(mined.judge(place, |_, proof| {
                let mut hashes = proof.branch.to_vec();
                hashes[2] = Digest::ZERO;
                proof.branch = hashes.try_into().unwrap();
            })),
            Rule::DepositProof
        );
    }
    // Beyond the tree's last place bits of the index would go unseen.
    let mut transactions = block(11);
    transactions[0].output.push(output(&[0x51], 1));
    let longer = Mined::new(transactions, demanded());
    assert_eq!(longer.judge(0, |_, _| {}), Ok(()));
    assert_eq!(
        rule(longer.judge(0, |tx, _| tx.index = 16)),
        Rule::DepositProof
    );
    // Bytes that are no transaction, or one with a witness: another hash than the txid.
    assert_eq!(
        rule(mined.judge(1, |tx, _| tx.bytes =
            BoundedVec::new(vec![1, 2, 3]).unwrap())),
        Rule::DepositProof
    );
    assert_eq!(
        rule(mined.judge(1, |tx, _| {
            let bytes = bitcoin::consensus::serialize(&mined.transactions[1]);
            tx.bytes = BoundedVec::new(bytes).unwrap();
        })),
        Rule::DepositProof
    );
}

#[test]
fn n7_the_coinbase_is_one_and_as_deep() {
    let mined = Mined::new(block(11), demanded());
    // A branch of another length, in front and behind.
    for cut in [0, 3] {
        let shorter = |_: &mut ConsumedTransaction, proof: &mut DepositProof| {
            let mut hashes = proof.coinbase_branch.to_vec();
            hashes.remove(cut);
            proof.coinbase_branch = hashes.try_into().unwrap();
        };
        assert_eq!(rule(mined.judge(1, shorter)), Rule::DepositProof);
    }
    // Another transaction than the first in its stead.
    assert_eq!(
        rule(mined.judge(1, |_, proof| proof.coinbase =
            encode_stripped(&payment(3)).unwrap())),
        Rule::DepositProof
    );
    // A first transaction that is no coinbase: proven, but refused.
    for change in [
        &(|tx: &mut Transaction| tx.input[0].previous_output.vout = 7) as &dyn Fn(&mut Transaction),
        &|tx: &mut Transaction| tx.input[0].script_sig = ScriptBuf::from_bytes(vec![1]),
        &|tx: &mut Transaction| tx.input[0].script_sig = ScriptBuf::from_bytes(vec![0; 101]),
        &|tx: &mut Transaction| tx.input.push(tx.input[0].clone()),
    ] {
        let mut transactions = block(11);
        change(&mut transactions[0]);
        let mined = Mined::new(transactions, demanded());
        assert_eq!(rule(mined.judge(1, |_, _| {})), Rule::DepositProof);
    }
}

/// A transaction of 64 bytes whose halves are two hashes: with it in a block, the tree seems one level deeper.
fn of_64_bytes() -> Transaction {
    let mut short = spend(5, vec![output(&[0x51, 0x51, 0x51, 0x51], 600)]);
    short.input[0].witness = Witness::new();
    assert_eq!(short.total_size(), 64);
    short
}

/// CVE-2017-12842: a transaction of 64 bytes in a real block is the inner node over an invented deposit.
#[test]
fn n7_a_transaction_of_64_bytes_is_no_inner_node() {
    let short = of_64_bytes();
    let bytes: [u8; 64] = bitcoin::consensus::serialize(&short).try_into().unwrap();
    let halves: (Node, Node) = (
        bytes[..32].try_into().unwrap(),
        bytes[32..].try_into().unwrap(),
    );
    let transactions = vec![coinbase(), short.clone()];
    let mined = Mined::new(transactions, demanded());
    // The attacker would grind the halves until the right one is the txid of a deposit; any leaf shows the shape.
    assert_eq!(
        pair(halves.0, halves.1),
        short.compute_txid().to_byte_array()
    );
    let deeper = mined.judge(1, |consumed, proof| {
        consumed.index = 3;
        consumed.bytes = encode_stripped(&deposit(1, 5_000_000)).unwrap();
        let mut hashes = proof.branch.to_vec();
        hashes.insert(0, Digest::new(halves.0));
        proof.branch = hashes.try_into().unwrap();
    });
    let refusal = deeper.unwrap_err();
    assert_eq!(refusal.rule, Rule::DepositProof);
    assert!(
        refusal.expected.contains("coinbase branch of 2"),
        "{refusal}"
    );
    // The 64 bytes themselves, in their true place.
    let refusal = mined.judge(1, |_, _| {}).unwrap_err();
    assert_eq!(refusal.rule, Rule::DepositProof);
    assert!(refusal.found.contains("64 bytes"), "{refusal}");
}

/// The other way round: an inner node's 64 bytes sold as a transaction, one level higher.
#[test]
fn n7_an_inner_node_is_no_transaction() {
    let mined = Mined::new(block(4), demanded());
    let rows = rows(&mined.transactions);
    let inner = [rows[0][2], rows[0][3]].concat();
    let refusal = mined
        .judge(1, |consumed, proof| {
            consumed.bytes = BoundedVec::new(inner).unwrap();
            proof.branch = vec![Digest::new(rows[1][0])].try_into().unwrap();
            let hashes = proof.coinbase_branch[..1].to_vec();
            proof.coinbase_branch = hashes.try_into().unwrap();
        })
        .unwrap_err();
    assert_eq!(refusal.rule, Rule::DepositProof);
    assert!(refusal.found.contains("64 bytes"), "{refusal}");
    // A 64-byte coinbase is one all the same: these have one, and their miner must not be able to stop the peg.
    assert_eq!(coinbase().base_size(), 64);
    assert_eq!(mined.judge(1, |_, _| {}), Ok(()));
    // Sold as a coinbase, the inner node above it is none.
    let above = [rows[0][0], rows[0][1]].concat();
    let refusal = mined
        .judge(1, |consumed, proof| {
            consumed.index = 1;
            consumed.bytes = encode_stripped(&deposit(9, 1_000_000)).unwrap();
            proof.branch = vec![Digest::new(rows[1][0])].try_into().unwrap();
            proof.coinbase = above.try_into().unwrap();
            let hashes = proof.coinbase_branch[1..].to_vec();
            proof.coinbase_branch = hashes.try_into().unwrap();
        })
        .unwrap_err();
    assert_eq!(refusal.rule, Rule::DepositProof);
}

/// CVE-2012-2459: a row of odd length repeats its last node, so the last transactions have a second path.
#[test]
fn n7_a_repeated_node_proves_no_second_place() {
    for (transactions, place, second) in [(3u32, 2u32, 3u32), (6, 4, 6), (6, 5, 7), (5, 4, 7)] {
        let list: Vec<_> = std::iter::once(coinbase())
            .chain((1..transactions).map(|place| deposit(place, 1_000_000)))
            .collect();
        let mined = Mined::new(list, demanded());
        assert_eq!(mined.judge(place, |_, _| {}), Ok(()));
        let refusal = mined
            .judge(place, |consumed, proof| {
                consumed.index = second;
                let hashes = branch(&mined.transactions, second as usize);
                proof.branch = hashes.try_into().unwrap();
            })
            .unwrap_err();
        assert_eq!(refusal.rule, Rule::DepositProof);
        assert!(refusal.expected.contains("right child"), "{refusal}");
    }
}

/// Two places of one deposit in a body, the second by the repeated node, would mint twice (A2 by way of N7).
#[test]
fn n7_a2_a_repeated_node_mints_once() {
    let mined = Mined::new(
        vec![coinbase(), payment(1), deposit(2, 1_000_000)],
        demanded(),
    );
    let judged = mined.deposits(&[2], demanded(), |_, body, proofs| {
        let again = ConsumedTransaction {
            index: 3,
            ..body.consumed[0].clone()
        };
        body.consumed = vec![body.consumed[0].clone(), again].try_into().unwrap();
        let mut proof = proofs[0].clone();
        proof.consumed = 1;
        proof.branch = branch(&mined.transactions, 3).try_into().unwrap();
        proofs.push(proof);
    });
    assert_eq!(rule(judged), Rule::DepositProof);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the block: each of its deposits is proven in its own place and in no other, and the list is exact.
    #[test]
    fn every_place_is_proven_and_no_other(
        size in 1u32..=40,
        sats in 100_000u64..1_000_000_000,
        other in 0u32..64,
    ) {
        let transactions: Vec<_> = std::iter::once(coinbase())
            .chain((1..size).map(|place| deposit(place, sats + u64::from(place))))
            .collect();
        let mined = Mined::new(transactions, demanded());
        let all: Vec<_> = (1..size).collect();
        let expected = all
            .iter()
            .map(|place| (recipient(*place), Sats::new(sats + u64::from(*place))))
            .collect();
        prop_assert_eq!(mined.deposits(&all, demanded(), |_, _, _| {}), Ok(expected));
        for place in 1..size {
            prop_assert_eq!(mined.judge(place, |_, _| {}), Ok(()));
            if other != place {
                let moved = mined.judge(place, |consumed, _| consumed.index = other);
                prop_assert_eq!(rule(moved), Rule::DepositProof);
                let depth = branch(&mined.transactions, 0).len();
                let its_branch = mined.judge(place, |consumed, proof| {
                    consumed.index = other;
                    if other >> depth == 0 {
                        proof.branch = branch(&mined.transactions, other as usize).try_into().unwrap();
                    }
                });
                prop_assert_eq!(rule(its_branch), Rule::DepositProof);
            }
        }
        // The only transaction of a block is its coinbase, which deposits nothing.
        if size == 1 {
            prop_assert_eq!(rule(deposit_script(&CHAIN, &mined.consumed(0))), Rule::DepositScript);
        }
    }

    /// One bit anywhere in a proof or a transaction, and it proves nothing.
    #[test]
    fn one_bit_decides(size in 2u32..=40, at in any::<prop::sample::Index>(), bit in 0u8..8, part in 0u8..4) {
        let mined = Mined::new(block(size), demanded());
        let place = 1 + at.index(size as usize - 1) as u32;
        let flip = |bytes: &mut [u8]| {
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
        };
        let judged = mined.judge(place, |consumed, proof| {
            let flip_branch = |branch: &mut BoundedVec<Digest, 32>| {
                let mut bytes: Vec<Node> = branch.iter().map(|hash| hash.to_bytes()).collect();
                flip(bytes.as_flattened_mut());
                *branch = bytes.into_iter().map(Digest::new).collect::<Vec<_>>().try_into().unwrap();
            };
            match part {
                0 => flip_branch(&mut proof.branch),
                1 => flip_branch(&mut proof.coinbase_branch),
                2 => {
                    let mut bytes = proof.coinbase.to_vec();
                    flip(&mut bytes);
                    proof.coinbase = bytes.try_into().unwrap();
                }
                _bytes => {
                    let mut bytes = consumed.bytes.to_vec();
                    flip(&mut bytes);
                    consumed.bytes = bytes.try_into().unwrap();
                }
            }
        });
        prop_assert_eq!(rule(judged), Rule::DepositProof);
    }
}
