//! Proofs of merged mining that are none (regression A5).

use crate::support::fixtures::evidence::link_coinbase;
use alys_protocol::auxpow::{AuxPow, MAGIC, MerkleBranch, chain_slot};
use alys_protocol::body::PowRecord;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::rules::Rule;
use alys_protocol::spec::Target;
use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, TxOut};

/// The AuxPoW of a record, changed and then worked on again until its hash is within the range.
pub(crate) fn reworked(
    record: &mut PowRecord,
    change: impl FnOnce(&mut AuxPow),
    admits: impl Fn(&Target) -> bool,
) {
    let mut proof = AuxPow::decode(&record.auxpow).unwrap();
    change(&mut proof);
    while !admits(&proof.work_hash()) {
        proof.parent.nonce += 1;
    }
    record.auxpow = BoundedVec::new(proof.encode()).unwrap();
}

/// Every way to forge an AuxPoW whose hash may be right, and the rule that notices.
pub(crate) fn each_forgery(
    aux_chain_id: u32,
    mut attempt: impl FnMut(Rule, &str, &dyn Fn(&mut AuxPow)),
) {
    let other_chain = |proof: &mut AuxPow| {
        // A chain tree of two leaves that commits to the bundle in the slot that another chain's id gives.
        let slot = 1 - chain_slot(0, aux_chain_id, 1);
        let script = proof.coinbase.input[0].script_sig.to_bytes();
        let mut bundle: [u8; 32] = script[script.len() - 40..script.len() - 8]
            .try_into()
            .unwrap();
        bundle.reverse();
        proof.chain_branch = MerkleBranch {
            hashes: vec![[7; 32]],
            index: slot,
        };
        let mut root = proof.chain_branch.root(bundle);
        root.reverse();
        let script = [
            &[3, 1, 2, 3][..],
            &MAGIC,
            &root,
            &2u32.to_le_bytes(),
            &[0; 4],
        ]
        .concat();
        proof.coinbase.input[0].script_sig = script.into();
        link_coinbase(proof);
    };
    type Forgery<'a> = &'a dyn Fn(&mut AuxPow);
    let forgeries: [(Rule, &str, Forgery<'_>); 11] = [
        (Rule::Coinbase, "a transaction at index 1", &|proof| {
            proof.coinbase_branch.index = 1;
            link_coinbase(proof);
        }),
        (
            Rule::Coinbase,
            "a transaction that spends a coin",
            &|proof| {
                proof.coinbase.input[0].previous_output =
                    OutPoint::new(bitcoin::Txid::all_zeros(), 0);
                link_coinbase(proof);
            },
        ),
        (Rule::Coinbase, "a coinbase of another block", &|proof| {
            proof.coinbase_branch.hashes[0] = [9; 32]
        }),
        (Rule::Coinbase, "a branch that is cut off", &|proof| {
            proof.coinbase_branch.hashes.truncate(1)
        }),
        (Rule::Coinbase, "an output that was added", &|proof| {
            proof.coinbase.output.push(TxOut {
                ..proof.coinbase.output[0].clone()
            });
        }),
        (Rule::Commitment, "no commitment", &|proof| {
            proof.coinbase.input[0].script_sig = vec![3, 1, 2, 3].into();
            link_coinbase(proof);
        }),
        (Rule::Commitment, "a commitment twice", &|proof| {
            let mut again = vec![0x6a, 44];
            again.extend(&proof.coinbase.input[0].script_sig.as_bytes()[4..]);
            let mut output = proof.coinbase.output[0].clone();
            output.script_pubkey = again.into();
            proof.coinbase.output.push(output);
            link_coinbase(proof);
        }),
        (Rule::Commitment, "a commitment that is cut off", &|proof| {
            let script = proof.coinbase.input[0].script_sig.to_bytes();
            proof.coinbase.input[0].script_sig = script[..script.len() - 4].to_vec().into();
            link_coinbase(proof);
        }),
        (Rule::Commitment, "a tree of another size", &|proof| {
            let mut script = proof.coinbase.input[0].script_sig.to_bytes();
            let size = script.len() - 8;
            script[size] = 2;
            proof.coinbase.input[0].script_sig = script.into();
            link_coinbase(proof);
        }),
        (Rule::Commitment, "another chain branch", &|proof| {
            proof.chain_branch.hashes.push([1; 32])
        }),
        (Rule::ChainSlot, "another chain's slot", &other_chain),
    ];
    for (rule, what, forge) in forgeries {
        attempt(rule, what, forge);
    }
}
