//! Merged mining: whatever decodes has one encoding; and a proof holds exactly where a plain re-statement of design 6 says
//! so. One input in two is built into a valid proof first, and then changed.

use crate::reached::Reached;
use alys_protocol::auxpow::{AuxPow, MAGIC, MerkleBranch};
use alys_protocol::bytes::BundleHash;
use alys_protocol::spec::Target;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{
    Amount, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness, absolute, block, transaction,
};

/// Accepting paths that the corpus must reach.
pub const PATHS: &[&str] = &[
    "decoded",
    "verified",
    "verified in a chain tree",
    "verified in an OP_RETURN",
    "verified at the target",
];

const AUX_CHAIN_ID: u32 = 0x2a;

/// An odd first byte makes a proof out of the rest; after an even one the rest is a proof.
pub fn run(bytes: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let Some((kind, bytes)) = bytes.split_first() else {
        return reached;
    };
    if kind % 2 == 0 {
        if let Ok(proof) = AuxPow::decode(bytes) {
            assert!(proof.encode() == bytes, "another encoding");
            reached.note("decoded");
            for bundle in [[1; 32], [2; 32]].map(BundleHash::new) {
                compare(&proof, bundle, Target::new([0xff; 32]), &mut reached);
            }
        }
    } else if let Some((recipe, change)) = bytes.split_first_chunk::<12>() {
        built(&Recipe::of(*recipe), change, &mut reached);
    }
    reached
}

/// What a valid proof is made of.
struct Recipe {
    bundle: [u8; 32],
    /// Depth of the chain tree, and its nonce.
    chain_depth: u32,
    nonce: u32,
    /// Other transactions' levels in the Bitcoin block.
    coinbase_depth: u8,
    /// The output with the commitment; none where it is in the coinbase's script.
    output: Option<usize>,
    before: usize,
    after: usize,
    target: Target,
}

impl Recipe {
    fn of(bytes: [u8; 12]) -> Self {
        let [
            bundle,
            depth,
            n0,
            n1,
            n2,
            n3,
            coinbase_depth,
            place,
            before,
            after,
            target,
            _,
        ] = bytes;
        let mut easy = [0xff; 32];
        easy[0] = target | 0x0f;
        Self {
            bundle: [bundle; 32],
            chain_depth: u32::from(depth % 6),
            nonce: u32::from_le_bytes([n0, n1, n2, n3]),
            coinbase_depth: coinbase_depth % 5,
            output: (place % 2 == 1).then_some(usize::from(place / 2 % 3)),
            before: usize::from(before % 40),
            after: usize::from(after % 12),
            target: Target::new(easy),
        }
    }

    /// The proof, written from Namecoin's rules.
    fn proof(&self) -> AuxPow {
        let slot = slot(self.nonce, AUX_CHAIN_ID, self.chain_depth);
        let chain_branch = MerkleBranch {
            hashes: (0..self.chain_depth)
                .map(|level| [level as u8 + 1; 32])
                .collect(),
            index: slot,
        };
        let mut root = fold(self.bundle, &chain_branch);
        root.reverse();
        let size = 1u32 << self.chain_depth;
        let commitment = [
            &MAGIC[..],
            &root,
            &size.to_le_bytes(),
            &self.nonce.to_le_bytes(),
        ]
        .concat();
        // No byte of the padding can be a part of the magic.
        let padded = [
            &vec![0x51; self.before][..],
            &commitment,
            &vec![0x51; self.after],
        ]
        .concat();
        let script_sig = if self.output.is_none() {
            padded.clone()
        } else {
            vec![0x51; 2 + self.after]
        };
        let outputs = (0..3).map(|place| {
            let script = if self.output == Some(place) {
                [&[0x6a], &padded[..]].concat()
            } else {
                vec![0x51]
            };
            TxOut {
                value: Amount::from_sat(50),
                script_pubkey: ScriptBuf::from_bytes(script),
            }
        });
        let coinbase = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: ScriptBuf::from_bytes(script_sig),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: outputs.collect(),
        };
        let coinbase_branch = MerkleBranch {
            hashes: (0..self.coinbase_depth)
                .map(|level| [level + 9; 32])
                .collect(),
            index: 0,
        };
        let root = fold(coinbase.compute_txid().to_byte_array(), &coinbase_branch);
        let mut proof = AuxPow {
            coinbase,
            block_hash: BlockHash::all_zeros(),
            coinbase_branch,
            chain_branch,
            parent: block::Header {
                version: block::Version::TWO,
                prev_blockhash: BlockHash::all_zeros(),
                merkle_root: TxMerkleNode::from_byte_array(root),
                time: 0,
                bits: CompactTarget::from_consensus(0),
                nonce: 0,
            },
        };
        while work(&proof) > self.target.to_bytes() {
            proof.parent.nonce += 1;
        }
        proof
    }
}

fn built(recipe: &Recipe, change: &[u8], reached: &mut Reached) {
    let mut proof = recipe.proof();
    let (mut bundle, mut target) = (recipe.bundle, recipe.target);
    match change {
        [] => {}
        [0, ..] => bundle[0] ^= 1,
        // The work at the target, and one below.
        [1, ..] => target = Target::new(work(&proof)),
        [2, ..] => target = below(work(&proof)),
        [3, index, ..] => proof.chain_branch.index ^= u32::from(*index),
        [4, index, ..] => proof.coinbase_branch.index ^= u32::from(*index),
        [5, ..] => proof.chain_branch.hashes.push([7; 32]),
        [6, ..] => drop(proof.coinbase_branch.hashes.pop()),
        [7, ..] => proof.coinbase.input[0].previous_output.vout = 0,
        // A second magic.
        [8, output, ..] => {
            let script = [&[0x6a], &MAGIC[..]].concat();
            let output = usize::from(*output) % 3;
            proof.coinbase.output[output].script_pubkey = ScriptBuf::from_bytes(script);
            relink(&mut proof);
        }
        [9, ..] => {
            proof.coinbase.input.push(TxIn::default());
            relink(&mut proof);
        }
        [bit, high, low, ..] => {
            let mut bytes = proof.encode();
            let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
            bytes[place] ^= 1 << (bit % 8);
            let Ok(changed) = AuxPow::decode(&bytes) else {
                return;
            };
            assert!(changed.encode() == bytes, "another encoding");
            proof = changed;
        }
        [_, ..] => {}
    }
    let bytes = proof.encode();
    assert!(
        AuxPow::decode(&bytes).as_ref() == Ok(&proof),
        "its own encoding"
    );
    let before = reached.has("verified");
    compare(&proof, BundleHash::new(bundle), target, reached);
    if reached.has("verified") && !before {
        reached.note_if(recipe.chain_depth > 0, "verified in a chain tree");
        reached.note_if(recipe.output.is_some(), "verified in an OP_RETURN");
        reached.note_if(change.first() == Some(&1), "verified at the target");
    }
    // The nonce may be the magic once more.
    let once = recipe.nonce.to_le_bytes() != MAGIC;
    assert_eq!(
        change.is_empty() && once,
        change.is_empty() && reached.has("verified"),
        "what was built"
    );
}

fn relink(proof: &mut AuxPow) {
    let root = fold(
        proof.coinbase.compute_txid().to_byte_array(),
        &proof.coinbase_branch,
    );
    proof.parent.merkle_root = TxMerkleNode::from_byte_array(root);
}

fn compare(proof: &AuxPow, bundle: BundleHash, target: Target, reached: &mut Reached) {
    let judged = proof.verify(AUX_CHAIN_ID, &bundle, &target);
    assert_eq!(judged.is_ok(), holds(proof, &bundle, &target), "{judged:?}");
    reached.note_if(judged.is_ok(), "verified");
}

/// Design 6, sentence by sentence.
fn holds(proof: &AuxPow, bundle: &BundleHash, target: &Target) -> bool {
    let coinbase = &proof.coinbase;
    let enough = work(proof) <= target.to_bytes();
    let first = proof.coinbase_branch.index == 0;
    let real = coinbase.input.len() == 1
        && coinbase.input[0].previous_output == OutPoint::null()
        && coinbase.input[0].script_sig.len() >= 2
        && coinbase.input[0].script_sig.len() <= 100
        && coinbase.base_size() != 64;
    let root = fold(
        coinbase.compute_txid().to_byte_array(),
        &proof.coinbase_branch,
    );
    let in_block = root == proof.parent.merkle_root.to_byte_array();
    let mut scripts: Vec<&[u8]> = coinbase
        .input
        .iter()
        .map(|input| input.script_sig.as_bytes())
        .collect();
    for output in &coinbase.output {
        if output.script_pubkey.as_bytes().first() == Some(&0x6a) {
            scripts.push(output.script_pubkey.as_bytes());
        }
    }
    let mut after = Vec::new();
    for script in scripts {
        for place in 0..script.len() {
            if script[place..].starts_with(&MAGIC) {
                after.push(&script[place + MAGIC.len()..]);
            }
        }
    }
    let [commitment] = after.as_slice() else {
        return false;
    };
    let depth = proof.chain_branch.hashes.len();
    let mut root = fold(bundle.to_bytes(), &proof.chain_branch);
    root.reverse();
    let size = u32::try_from(1u64 << depth).unwrap();
    let expected = [&root[..], &size.to_le_bytes()].concat();
    if commitment.len() < 40 || commitment[..36] != expected {
        return false;
    }
    let nonce = u32::from_le_bytes([
        commitment[36],
        commitment[37],
        commitment[38],
        commitment[39],
    ]);
    let ours = proof.chain_branch.index == slot(nonce, AUX_CHAIN_ID, depth as u32);
    enough && first && real && in_block && ours
}

/// Namecoin's `CAuxPow::getExpectedIndex`.
fn slot(nonce: u32, chain_id: u32, depth: u32) -> u32 {
    let modulus = 1u64 << 32;
    let mut random = u64::from(nonce);
    random = (random * 1_103_515_245 + 12_345) % modulus;
    random = (random + u64::from(chain_id)) % modulus;
    random = (random * 1_103_515_245 + 12_345) % modulus;
    u32::try_from(random % (1 << depth)).unwrap()
}

fn fold(leaf: [u8; 32], branch: &MerkleBranch) -> [u8; 32] {
    let (mut node, mut index) = (leaf, branch.index);
    for sibling in &branch.hashes {
        let pair = if index % 2 == 1 {
            [*sibling, node]
        } else {
            [node, *sibling]
        };
        node = sha256d::Hash::hash(&pair.concat()).to_byte_array();
        index /= 2;
    }
    node
}

/// The block's hash as a big-endian number.
fn work(proof: &AuxPow) -> [u8; 32] {
    let mut hash = proof.parent.block_hash().to_byte_array();
    hash.reverse();
    hash
}

fn below(mut number: [u8; 32]) -> Target {
    for byte in number.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    Target::new(number)
}
