//! Proofs of deposits, held against verifiers of other crates.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{
    BitcoinFacts, BlockRuleError, Class, DepositProofError, DepositProver, Facts, MAX_PROOF_BYTES,
    MerkleTree, PegState, check_block, consume, deposits, plan_advance,
};
use alys_protocol::auxpow::MerkleBranch;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::peg::{WHOLE_BLOCK, decode_stripped, merkle_root};
use alys_protocol::signer::DepositProof;
use bitcoin::hashes::Hash as _;
use bitcoin::{Block, ScriptBuf, Transaction, TxMerkleNode};
use kit::bitcoin_chain::{self, Bitcoin};
use kit::side_chain::{Side, Step};
use kit::{START, chain, deposit, federation, foreign, payee, recipient_script, transaction};
use proptest::prelude::*;

const ALICE: EvmAddress = EvmAddress::new([0xaa; 20]);

fn txids(seed: u8, count: usize) -> Vec<[u8; 32]> {
    (0..count)
        .map(|number| {
            let mut txid = [seed; 32];
            txid[..8].copy_from_slice(&(number as u64).to_le_bytes());
            txid
        })
        .collect()
}

fn root_of(branch: Vec<[u8; 32]>, index: u32, leaf: [u8; 32]) -> [u8; 32] {
    let branch = MerkleBranch {
        hashes: branch,
        index,
    };
    branch.root(leaf)
}

#[test]
fn each_branch_of_each_small_tree_leads_to_the_root_and_from_its_own_place_only() {
    for count in 1..=64usize {
        let txids = txids(7, count);
        let tree = MerkleTree::new(txids.clone());
        let (root, clean) = merkle_root(&txids).unwrap();
        assert!(clean);
        assert_eq!(tree.root(), Some(root));
        let depth = count.next_power_of_two().trailing_zeros() as usize;
        for (index, txid) in (0u32..).zip(&txids) {
            let branch = tree.branch(index).unwrap();
            assert_eq!(branch.len(), depth);
            assert_eq!(root_of(branch.clone(), index, *txid), root);
            for other in (0..1 << depth).filter(|other| *other != index) {
                let found = root_of(branch.clone(), other, *txid);
                // Behind an odd row's last node lies its copy, which signers refuse (regression N7).
                let copied = other as usize >= count;
                assert!(found != root || copied, "{count} {index} {other}");
            }
        }
        assert_eq!(tree.branch(count as u32), None);
    }
    assert_eq!(MerkleTree::new(Vec::new()).root(), None);
    assert_eq!(MerkleTree::new(Vec::new()).branch(0), None);
}

proptest! {
    #[test]
    fn a_branch_proves_its_own_txid_and_no_other(
        seed in any::<u8>(),
        count in 1usize..400,
        place in any::<prop::sample::Index>(),
        bit in 0usize..256,
    ) {
        let txids = txids(seed, count);
        let index = place.index(count);
        let (root, _) = merkle_root(&txids).unwrap();
        let branch = MerkleTree::new(txids.clone()).branch(index as u32).unwrap();
        prop_assert_eq!(root_of(branch.clone(), index as u32, txids[index]), root);
        let mut other = txids[index];
        other[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(root_of(branch, index as u32, other), root);
    }
}

/// What a signer checks of a proof: both branches lead to the header's root and are equally long.
fn verify(block: &Block, proof: &DepositProof, index: u32) {
    let root = |branch: &[alys_protocol::bytes::Digest], index, leaf: &Transaction| {
        let hashes = branch.iter().map(|hash| hash.to_bytes()).collect();
        let leaf = leaf.compute_txid().to_byte_array();
        TxMerkleNode::from_byte_array(root_of(hashes, index, leaf))
    };
    let coinbase = decode_stripped(&proof.coinbase).unwrap();
    assert!(coinbase.is_coinbase());
    assert_eq!(proof.branch.len(), proof.coinbase_branch.len());
    let transaction = &block.txdata[index as usize];
    assert_eq!(
        root(&proof.branch, index, transaction),
        block.header.merkle_root
    );
    assert_eq!(
        root(&proof.coinbase_branch, 0, &coinbase),
        block.header.merkle_root
    );
}

#[test]
fn every_transaction_of_a_block_is_proven_against_its_header() {
    for others in [0, 1, 2, 5, 6, 22] {
        let transactions = (0..others).map(|number| deposit(number, 20_000, ALICE));
        let block = bitcoin_chain::block(
            bitcoin_chain::start_hash(),
            START + 1,
            0,
            transactions.collect(),
        );
        let prover = DepositProver::new(&block).unwrap();
        assert_eq!(prover.block(), block.block_hash());
        for index in 0..=others {
            let proof = prover.prove(3, index).unwrap();
            assert_eq!(proof.consumed, 3);
            verify(&block, &proof, index);
        }
        assert_eq!(
            prover.prove(0, others + 1),
            Err(DepositProofError::NoTransaction {
                block: block.block_hash(),
                transactions: block.txdata.len(),
                index: others + 1
            })
        );
    }
}

#[test]
fn a_block_without_its_headers_transactions_proves_nothing() {
    let mut block = bitcoin_chain::block(
        bitcoin_chain::start_hash(),
        START + 1,
        0,
        vec![deposit(1, 20_000, ALICE)],
    );
    block.txdata.pop();
    assert!(matches!(
        DepositProver::new(&block),
        Err(DepositProofError::MerkleRoot { found: Some(_), .. })
    ));
    block.txdata.clear();
    assert!(matches!(
        DepositProver::new(&block),
        Err(DepositProofError::MerkleRoot { found: None, .. })
    ));
}

#[test]
fn exactly_what_is_minted_is_to_be_proven() {
    let mut bitcoin = Bitcoin::new();
    bitcoin.mine(vec![
        deposit(1, 20_000, ALICE),
        // Credits nobody.
        transaction(vec![foreign(2)], vec![(federation(), 50_000)]),
        transaction(vec![foreign(3)], vec![(payee(3), 50_000)]),
        deposit(4, 9_999, ALICE),
    ]);
    bitcoin.mine(vec![deposit(5, 30_000, ALICE)]);
    bitcoin.mine_empty(2);
    let genesis = PegState::genesis(chain());
    let scanned = bitcoin.scan(&genesis, bitcoin.tip()).unwrap();
    let plan = plan_advance(chain(), &genesis, bitcoin.tip(), &scanned).unwrap();
    assert_eq!(plan.transactions.len(), 4);
    let numbers = deposits(chain(), &genesis, &plan.cursor, &plan.transactions).unwrap();
    assert_eq!(numbers, [0, 3]);
    // A transaction that looks like a deposit but spends a coin of ours is none: it halts the peg.
    let coin = *plan.consumed.state.utxos().keys().next().unwrap();
    let theft = transaction(
        vec![coin],
        vec![(federation(), 20_000), (recipient_script(ALICE), 0)],
    );
    bitcoin.mine(vec![theft]);
    bitcoin.mine_empty(2);
    let state = plan.consumed.state;
    let scanned = bitcoin.scan(&state, bitcoin.tip()).unwrap();
    let plan = plan_advance(chain(), &state, bitcoin.tip(), &scanned).unwrap();
    assert!(plan.consumed.state.halt().is_some());
    let numbers = deposits(chain(), &state, &plan.cursor, &plan.transactions).unwrap();
    assert_eq!(numbers, [] as [u32; 0]);
}

#[test]
fn long_coinbases_never_make_a_side_block_that_no_signer_can_be_asked_about() {
    let mut bitcoin = Bitcoin::new();
    // More than four deposits would reach another limit of the test's spec.
    let payments =
        (0..6).map(|number| transaction(vec![foreign(number)], vec![(federation(), 20_000)]));
    bitcoin.mine(payments.collect());
    let mut block = bitcoin.blocks.pop().unwrap();
    block.txdata[0].output.push(bitcoin::TxOut {
        value: bitcoin::Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(vec![0x51; 990_000]),
    });
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    bitcoin.blocks.push(block);
    bitcoin.mine_empty(2);
    let mut state = PegState::genesis(chain());
    let mut stops = Vec::new();
    while state.cursor().next_tx != WHOLE_BLOCK || state.cursor().height.get() == START {
        let scanned = bitcoin.scan(&state, bitcoin.tip()).unwrap();
        let plan = plan_advance(chain(), &state, bitcoin.tip(), &scanned).unwrap();
        // What the leader plans, everybody accepts.
        let consumed = consume(chain(), &state, &plan.cursor, &plan.transactions).unwrap();
        assert_eq!(consumed, plan.consumed);
        stops.push(plan.cursor.next_tx);
        state = consumed.state;
    }
    assert_eq!(stops, [5, WHOLE_BLOCK]);
    // What a leader plans without that limit, nobody accepts.
    let side = Side::new();
    let block = side.propose(&bitcoin, &Step::default());
    let cursor = &block.header.bitcoin;
    let mut view = bitcoin.facts(side.peg(), cursor).unwrap();
    assert_eq!(view.consumed.len(), 4);
    let each = view.proof_bytes / 4;
    assert!(each > 990_000 && view.proof_bytes <= MAX_PROOF_BYTES);
    let check = |view: &BitcoinFacts| {
        let facts = Facts {
            bitcoin: Some(view),
            vault_balance: None,
            ancestor: &|_| None,
        };
        check_block(chain(), &side.parent(), &block, &facts).map(|_| ())
    };
    assert_eq!(check(&view), Ok(()));
    view.proof_bytes += each;
    let error = check(&view).unwrap_err();
    assert!(
        matches!(error, BlockRuleError::ProofBytes { .. }),
        "{error}"
    );
    assert_eq!(error.class(), Class::Invalid);
}
