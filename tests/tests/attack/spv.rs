//! Claim C2 at its root: proofs that a deposit is in Bitcoin, forged in every way that Bitcoin's Merkle trees allow.

use crate::deposits::{Mint, Node, branch, coinbase, output, pair, payment, rows};
use crate::federation::{Federation, edit};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::Digest;
use alys_protocol::peg::encode_stripped;
use alys_protocol::rules::Rule;
use bitcoin::{OutPoint, ScriptBuf, Transaction};

const RULE: Rule = Rule::DepositProof;

/// Branches, coinbases and places: forged, truncated, swapped and replayed.
pub(crate) fn deposit_proofs_forged_truncated_swapped_and_replayed() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let older = federation.deposited(&[1_000_000, 4_000_000, 1_000_000, 1_000_000]);
    let block = federation.deposited(&[1_000_000, 2_000_000, 3_000_000, 4_000_000]);
    let replayed = older.proof(2, 0);
    let other = block.proof(3, 0);
    let more = encode_stripped(&federation.deposit(2, 900_000_000)).unwrap();
    let witness = {
        let mut transaction = block.transactions[2].clone();
        transaction.input[0].witness = bitcoin::Witness::from_slice(&[[1u8; 64]]);
        BoundedVec::new(bitcoin::consensus::serialize(&transaction)).unwrap()
    };
    let second = encode_stripped(&block.transactions[1]).unwrap();
    let honest = federation.mint(&block, &[2]);
    federation.refuses_mints(
        &honest,
        &[
            (RULE, "no branch", &|m| {
                edit(&mut m.proofs[0].branch, Vec::clear)
            }),
            (RULE, "no branches at all", &|m| {
                edit(&mut m.proofs[0].branch, Vec::clear);
                edit(&mut m.proofs[0].coinbase_branch, Vec::clear);
            }),
            (RULE, "the lowest hash missing", &|m| {
                edit(&mut m.proofs[0].branch, |b| b.truncate(2))
            }),
            (RULE, "the highest hash missing", &|m| {
                edit(&mut m.proofs[0].branch, |b| drop(b.drain(..1)));
            }),
            (RULE, "a hash more", &|m| {
                edit(&mut m.proofs[0].branch, |b| b.push(Digest::ZERO))
            }),
            (RULE, "another hash", &|m| {
                edit(&mut m.proofs[0].branch, |b| b[1] = Digest::ZERO)
            }),
            (RULE, "hashes swapped", &|m| {
                edit(&mut m.proofs[0].branch, |b| b.swap(0, 1))
            }),
            (RULE, "another deposit's branch", &|m| {
                m.proofs[0].branch = other.branch.clone()
            }),
            (RULE, "a proof of an older block", &|m| {
                m.proofs[0] = replayed.clone()
            }),
            (RULE, "another place", &|m| m.consumed[0].index = 3),
            (RULE, "a place beyond the tree", &|m| {
                m.consumed[0].index = 2 + 8
            }),
            (RULE, "a place far beyond the tree", &|m| {
                m.consumed[0].index = 2 + (1 << 31)
            }),
            (RULE, "a larger deposit in its place", &|m| {
                m.consumed[0].bytes = more.clone()
            }),
            (RULE, "with its witness", &|m| {
                m.consumed[0].bytes = witness.clone()
            }),
            (RULE, "with a byte more", &|m| {
                edit(&mut m.consumed[0].bytes, |b| b.push(0))
            }),
            (RULE, "with a byte less", &|m| {
                edit(&mut m.consumed[0].bytes, |b| b.truncate(b.len() - 1));
            }),
            (RULE, "no coinbase", &|m| {
                edit(&mut m.proofs[0].coinbase, Vec::clear)
            }),
            (RULE, "another coinbase", &|m| {
                edit(&mut m.proofs[0].coinbase, |b| *b.last_mut().unwrap() ^= 1);
            }),
            (RULE, "a deposit as coinbase", &|m| {
                m.proofs[0].coinbase = second.clone()
            }),
            (RULE, "no coinbase branch", &|m| {
                edit(&mut m.proofs[0].coinbase_branch, Vec::clear)
            }),
            (RULE, "the deposit's as coinbase branch", &|m| {
                m.proofs[0].coinbase_branch = m.proofs[0].branch.clone();
            }),
            (RULE, "a coinbase branch of zeros", &|m| {
                edit(&mut m.proofs[0].coinbase_branch, |b| b.fill(Digest::ZERO));
            }),
            (Rule::DepositDepth, "the older block's place", &|m| {
                m.consumed[0].block = older.hash
            }),
        ],
    );
    federation.mints(&honest);
    federation.serves();
}

/// Regression N7 (CVE-2017-12842): a transaction of 64 bytes, mined for the purpose, whose halves seem to be two nodes of
/// the tree, over a deposit that is in no block.
pub(crate) fn n7_a_transaction_of_64_bytes_as_an_inner_node() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let mut short = payment(5);
    short.output = vec![output(&[0x51; 4], 600)];
    assert_eq!(short.total_size(), 64);
    let bytes = bitcoin::consensus::serialize(&short);
    let left: Node = bytes[..32].try_into().unwrap();
    let deposit = federation.deposit(2, 4_000_000);
    let block = federation.mine(vec![coinbase(), short, deposit, payment(6)]);
    federation.bury(5);
    federation.feed();
    let invented = encode_stripped(&federation.deposit(1, 2_000_000_000)).unwrap();
    let honest = federation.mint(&block, &[2]);
    federation.refuses_mints(
        &honest,
        &[
            (RULE, "an invented deposit below it", &|m| {
                m.consumed[0].index = 3;
                m.consumed[0].bytes = invented.clone();
                let mut hashes = branch(&block.transactions, 1);
                hashes.insert(0, Digest::new(left));
                m.proofs[0].branch = BoundedVec::new(hashes).unwrap();
            }),
            (RULE, "with a coinbase as deep", &|m| {
                m.consumed[0].index = 3;
                m.consumed[0].bytes = invented.clone();
                let mut hashes = branch(&block.transactions, 1);
                hashes.insert(0, Digest::new(left));
                m.proofs[0].branch = BoundedVec::new(hashes).unwrap();
                edit(&mut m.proofs[0].coinbase_branch, |b| {
                    b.insert(0, Digest::new(left))
                });
            }),
            (RULE, "the 64 bytes in their true place", &|m| {
                m.consumed[0] = block.consumed(1);
                m.proofs[0] = block.proof(1, 0);
            }),
        ],
    );
    federation.mints(&honest);
    federation.serves();
}

/// Regression N7 (CVE-2017-12842) carried out: the 64 bytes end with the id of a deposit that nobody mined.
pub(crate) fn n7_a_deposit_below_a_transaction_of_64_bytes() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let left = [0x33; 32];
    let invented = vec![coinbase(), federation.deposit(1, 400_000_000)];
    let [first, second] = [0, 1].map(|place| rows(&invented)[0][place]);
    let block = federation.mine_root(invented, pair(first, pair(left, second)));
    federation.bury(5);
    federation.feed();
    let mut mint = federation.mint(&block, &[1]);
    mint.consumed[0].index = 3;
    let hashes = |nodes: Vec<Node>| BoundedVec::new(nodes.into_iter().map(Digest::new).collect());
    mint.proofs[0].branch = hashes(vec![left, first]).unwrap();
    mint.proofs[0].coinbase_branch = hashes(vec![pair(left, second)]).unwrap();
    let (_, request) = federation.minting(&mint);
    federation.refuses_vote(RULE, "a deposit in a transaction", &request);
    let block = federation.deposited(&[1_000_000]);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
}

/// Regression N7, the other way round: two nodes of the tree, sold as a transaction one level higher.
pub(crate) fn n7_an_inner_node_as_a_transaction() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let block = federation.deposited(&[1_000_000, 2_000_000, 3_000_000]);
    let rows = rows(&block.transactions);
    let node = |row: usize, place: usize| Digest::new(rows[row][place]);
    let pair =
        |place: usize| BoundedVec::new([rows[0][place], rows[0][place + 1]].concat()).unwrap();
    let honest = federation.mint(&block, &[1]);
    federation.refuses_mints(
        &honest,
        &[
            (RULE, "the right pair", &|m| {
                m.consumed[0].bytes = pair(2);
                m.consumed[0].index = 1;
                m.proofs[0].branch = BoundedVec::new(vec![node(1, 0)]).unwrap();
                edit(&mut m.proofs[0].coinbase_branch, |b| b.truncate(1));
            }),
            (RULE, "the left pair as coinbase", &|m| {
                m.proofs[0].coinbase = pair(0);
                m.proofs[0].branch = BoundedVec::new(vec![node(1, 0)]).unwrap();
                m.proofs[0].coinbase_branch = BoundedVec::new(vec![node(1, 1)]).unwrap();
            }),
        ],
    );
    federation.mints(&honest);
    federation.serves();
}

/// Regression N7 (CVE-2012-2459): the last node of a row of odd length has a second path, so a deposit has a second place.
pub(crate) fn n7_a_repeated_node_as_a_second_place() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    // Coinbase and two deposits: the second's row is odd, and so is the row above with four.
    let block = federation.deposited(&[1_000_000, 2_000_000]);
    let larger = federation.deposited(&[1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]);
    let honest = federation.mint(&block, &[2]);
    let second_place = |mint: &Mint, block: &crate::deposits::BitcoinBlock, place: u32| {
        let mut again = (mint.consumed[0].clone(), mint.proofs[0].clone());
        again.0.index = place;
        again.1.branch = BoundedVec::new(branch(&block.transactions, place as usize)).unwrap();
        again
    };
    federation.refuses_mints(
        &honest,
        &[
            (RULE, "in the second place only", &|m| {
                let (consumed, proof) = second_place(m, &block, 3);
                (m.consumed[0], m.proofs[0]) = (consumed, proof);
            }),
            (RULE, "in both places (A2)", &|m| {
                let (consumed, mut proof) = second_place(m, &block, 3);
                proof.consumed = 1;
                m.consumed.push(consumed);
                m.proofs.push(proof);
                let mut withdrawal = m.withdrawals[0];
                withdrawal.index += 1;
                m.withdrawals.push(withdrawal);
            }),
        ],
    );
    federation.mints(&honest);
    let honest = federation.mint(&larger, &[4]);
    federation.refuses_mints(
        &honest,
        &[(RULE, "by the row above", &|m| {
            let (consumed, proof) = second_place(m, &larger, 6);
            (m.consumed[0], m.proofs[0]) = (consumed, proof);
        })],
    );
    federation.mints(&honest);
    federation.serves();
}

/// A first transaction that is proven and no coinbase: then nothing fixes the tree's depth.
pub(crate) fn n7_blocks_whose_first_transaction_is_no_coinbase() {
    type Change = fn(&mut Transaction);
    let changes: [(&str, Change); 4] = [
        ("an outpoint that is not null", |tx| {
            tx.input[0].previous_output.vout = 7
        }),
        ("a script of one byte", |tx| {
            tx.input[0].script_sig = ScriptBuf::from_bytes(vec![1])
        }),
        ("a script of 101 bytes", |tx| {
            tx.input[0].script_sig = ScriptBuf::from_bytes(vec![0; 101])
        }),
        ("two inputs", |tx| {
            let mut second = tx.input[0].clone();
            second.previous_output = OutPoint::null();
            tx.input.push(second);
        }),
    ];
    let mut federation = Federation::new();
    federation.honest.grow(2);
    for (what, change) in changes {
        let mut first = coinbase();
        change(&mut first);
        let deposit = federation.deposit(1, 1_000_000);
        let block = federation.mine(vec![first, deposit]);
        federation.bury(5);
        federation.feed();
        let mint = federation.mint(&block, &[1]);
        let (_, request) = federation.minting(&mint);
        federation.refuses_vote(RULE, what, &request);
    }
    let block = federation.deposited(&[1_000_000]);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
}
