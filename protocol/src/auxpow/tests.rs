use super::*;
use bitcoin::{
    Amount, CompactTarget, OutPoint, ScriptBuf, Sequence, TxIn, TxMerkleNode, TxOut, Witness,
    absolute, block, transaction,
};
use proptest::prelude::*;

const BUNDLE: BundleHash = BundleHash::new([0x5a; 32]);
const CHAIN: u32 = 0xa175;
const EASY: Target = Target::new([0xff; 32]);

fn coinbase(script: Vec<u8>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: alloc::vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: alloc::vec![TxOut {
            value: Amount::from_sat(50),
            script_pubkey: ScriptBuf::from_bytes(alloc::vec![0x51]),
        }],
    }
}

/// Puts the coinbase into a block of four transactions.
fn proof(coinbase: Transaction, chain_branch: MerkleBranch) -> AuxPow {
    let coinbase_branch = MerkleBranch {
        hashes: alloc::vec![[1; 32], [2; 32]],
        index: 0,
    };
    let root = coinbase_branch.root(coinbase.compute_txid().to_byte_array());
    AuxPow {
        coinbase,
        block_hash: BlockHash::all_zeros(),
        coinbase_branch,
        chain_branch,
        parent: BitcoinHeader {
            version: block::Version::TWO,
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: 0,
            bits: CompactTarget::from_consensus(0),
            nonce: 0,
        },
    }
}

fn single() -> MerkleBranch {
    MerkleBranch {
        hashes: Vec::new(),
        index: 0,
    }
}

fn script(parts: &[&[u8]]) -> Vec<u8> {
    [&[3, 1, 2, 3][..], &parts.concat()].concat()
}

fn good() -> AuxPow {
    proof(coinbase(script(&[&commitment(&BUNDLE)])), single())
}

#[test]
fn a_good_proof_holds_and_survives_its_encoding() {
    assert_eq!(good().verify(CHAIN, &BUNDLE, &EASY), Ok(()));
    assert_eq!(AuxPow::decode(&good().encode()), Ok(good()));
}

#[test]
fn an_op_return_output_may_commit_instead() {
    let mut transaction = coinbase(script(&[]));
    transaction.output.push(TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes([&[0x6a, 44][..], &commitment(&BUNDLE)].concat()),
    });
    assert_eq!(
        proof(transaction, single()).verify(CHAIN, &BUNDLE, &EASY),
        Ok(())
    );
}

#[test]
fn a5_only_a_real_coinbase_at_index_zero_counts() {
    let mut spends = coinbase(script(&[&commitment(&BUNDLE)]));
    spends.input[0].previous_output.vout = 0;
    assert_eq!(
        proof(spends, single()).verify(CHAIN, &BUNDLE, &EASY),
        Err(AuxPowError::NotCoinbase("its input spends an output"))
    );
    let mut later = good();
    later.coinbase_branch.index = 1;
    assert_eq!(
        later.verify(CHAIN, &BUNDLE, &EASY),
        Err(AuxPowError::CoinbaseIndex { found: 1 })
    );
    let mut two = coinbase(script(&[&commitment(&BUNDLE)]));
    two.input.push(two.input[0].clone());
    assert!(matches!(
        proof(two, single()).verify(CHAIN, &BUNDLE, &EASY),
        Err(AuxPowError::NotCoinbase(_))
    ));
    let mut elsewhere = good();
    elsewhere.parent.merkle_root = TxMerkleNode::all_zeros();
    assert!(matches!(
        elsewhere.verify(CHAIN, &BUNDLE, &EASY),
        Err(AuxPowError::CoinbaseBranch { .. })
    ));
}

#[test]
fn a5_the_chain_slot_follows_from_our_own_id() {
    let depth = 4;
    let nonce = 7u32;
    let index = chain_slot(nonce, CHAIN, depth);
    let branch = MerkleBranch {
        hashes: (0..depth as u8).map(|level| [level; 32]).collect(),
        index,
    };
    let mut root = branch.root(BUNDLE.to_bytes());
    root.reverse();
    let script = script(&[&MAGIC, &root, &16u32.to_le_bytes(), &nonce.to_le_bytes()]);
    let proof = proof(coinbase(script), branch);
    assert_eq!(proof.verify(CHAIN, &BUNDLE, &EASY), Ok(()));
    let other = (1..)
        .find(|id| chain_slot(nonce, *id, depth) != index)
        .unwrap();
    assert_eq!(
        proof.verify(other, &BUNDLE, &EASY),
        Err(AuxPowError::ChainSlot {
            expected: chain_slot(nonce, other, depth),
            found: index
        })
    );
}

#[test]
fn the_magic_must_be_there_once() {
    let none = proof(coinbase(script(&[])), single());
    assert_eq!(
        none.verify(CHAIN, &BUNDLE, &EASY),
        Err(AuxPowError::Magic { found: 0 })
    );
    let mut both = coinbase(script(&[&commitment(&BUNDLE)]));
    both.output.push(TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes([&[0x6a, 4][..], &MAGIC].concat()),
    });
    assert_eq!(
        proof(both, single()).verify(CHAIN, &BUNDLE, &EASY),
        Err(AuxPowError::Magic { found: 2 })
    );
}

#[test]
fn another_bundle_size_or_cut_commitment_is_refused() {
    assert!(matches!(
        good().verify(CHAIN, &BundleHash::ZERO, &EASY),
        Err(AuxPowError::Commitment { .. })
    ));
    let mut sized = commitment(&BUNDLE);
    sized[36] = 2;
    assert_eq!(
        proof(coinbase(script(&[&sized])), single()).verify(CHAIN, &BUNDLE, &EASY),
        Err(AuxPowError::TreeSize {
            expected: 1,
            found: 2
        })
    );
    let cut = &commitment(&BUNDLE)[..43];
    assert!(matches!(
        proof(coinbase(script(&[cut])), single()).verify(CHAIN, &BUNDLE, &EASY),
        Err(AuxPowError::Commitment { .. })
    ));
}

#[test]
fn work_is_compared_as_a_number() {
    let proof = good();
    let exact = proof.work_hash();
    assert_eq!(proof.verify(CHAIN, &BUNDLE, &exact), Ok(()));
    let mut below = exact.to_bytes();
    let place = below.iter().rposition(|byte| *byte != 0).unwrap();
    below[place] -= 1;
    below[place + 1..].fill(0xff);
    assert!(matches!(
        proof.verify(CHAIN, &BUNDLE, &Target::new(below)),
        Err(AuxPowError::Work { .. })
    ));
}

#[test]
fn bitcoins_genesis_hash_is_read_in_the_right_order() {
    let mut proof = good();
    proof.parent = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).header;
    assert_eq!(
        proof.work_hash(),
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
            .parse()
            .unwrap()
    );
}

#[test]
fn deep_branches_are_refused_before_they_are_read() {
    let mut deep = good();
    deep.chain_branch.hashes = alloc::vec![[0; 32]; 31];
    assert_eq!(
        AuxPow::decode(&deep.encode()),
        Err(AuxPowError::BranchDepth { found: 31 })
    );
}

proptest! {
    #[test]
    fn a7_no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = AuxPow::decode(&bytes);
    }

    #[test]
    fn a7_no_changed_byte_verifies_as_another_bundle(place in 0usize..300, flip in 1u8..=255) {
        let mut bytes = good().encode();
        let place = place % bytes.len();
        bytes[place] ^= flip;
        if let Ok(changed) = AuxPow::decode(&bytes) {
            prop_assert!(changed.verify(CHAIN, &BundleHash::ZERO, &EASY).is_err());
        }
    }
}
