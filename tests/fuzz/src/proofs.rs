//! Execution: headers, receipts, and Merkle-Patricia proofs. Half of the proofs are nodes whose root fits the first, so that
//! the fuzzer gets past the first hash; the others are built honestly from a trie of up to 300 leaves, whose branches have
//! 532 bytes, and then changed.

use crate::fixtures::evidence::{receipt as encoded_receipt, receipts, trie};
use crate::reached::Reached;
use alloy_primitives::{Address, B256, Bytes, Log, LogData, U256, keccak256};
use alloy_rlp::RlpEncodable;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{EvmAddress, ExecutionHash};
use alys_protocol::signer::TrieProof;
use alys_signer_core::proof::{ExecutionHeader, Receipt, account, receipt};
use std::collections::BTreeMap;

/// Accepting paths that the corpus must reach.
pub const PATHS: &[&str] = &[
    "execution header",
    "receipt",
    "receipt proven",
    "receipt proven below a full branch",
    "account proven",
    "account proven below a full branch",
    "account absent",
    "loose nodes: absent",
];

/// A branch with sixteen hashes.
const FULL_BRANCH: usize = 532;

pub fn run(bytes: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let Some((kind, bytes)) = bytes.split_first() else {
        return reached;
    };
    match kind % 6 {
        0 => header(bytes, &mut reached),
        1 => {
            if let Ok(receipt) = Receipt::decode(bytes) {
                let logs = receipt.logs().count();
                for index in 0..logs.min(64) {
                    let log = receipt.log(u32::try_from(index).unwrap()).unwrap();
                    assert!(log.topics().count() <= 4);
                }
                assert!(receipt.log(u32::try_from(logs).unwrap()).is_err());
                reached.note("receipt");
            }
        }
        2 | 3 => loose(*kind, bytes, &mut reached),
        4 => built_receipts(bytes, &mut reached),
        _five => built_accounts(bytes, &mut reached),
    }
    reached
}

fn header(bytes: &[u8], reached: &mut Reached) {
    let hash = ExecutionHash::new(keccak256(bytes).0);
    if let Ok(header) = ExecutionHeader::with_hash(hash, bytes) {
        assert_eq!(alloy_rlp::encode(&header), bytes, "one encoding");
        reached.note("execution header");
    }
}

/// Cuts bytes into pieces: two bytes of length, that many bytes, and so on.
fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (piece, rest) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Nodes for [`pieces`].
pub fn joined(nodes: &TrieProof) -> Vec<u8> {
    let with_length =
        |node: &[u8]| [&u16::try_from(node.len()).unwrap().to_be_bytes(), node].concat();
    nodes.iter().flat_map(|node| with_length(node)).collect()
}

fn loose(kind: u8, bytes: &[u8], reached: &mut Reached) {
    let nodes = pieces(bytes);
    let root = nodes.first().map(keccak256).unwrap_or_default();
    let Some(proof) = bounded(nodes.iter().take(65).map(|node| node.to_vec())) else {
        return;
    };
    if kind % 6 == 2 {
        let judged = account(root, EvmAddress::new([7; 20]), &proof);
        reached.note_if(judged == Ok(None), "loose nodes: absent");
    } else {
        let _ = receipt(root, u32::from(kind) / 6, &proof);
    }
}

fn bounded(nodes: impl Iterator<Item = Vec<u8>>) -> Option<TrieProof> {
    let nodes = nodes.map(BoundedVec::new).collect::<Result<_, _>>().ok()?;
    BoundedVec::new(nodes).ok()
}

/// Changes the proof; false where it is the same as before.
fn change(proof: &TrieProof, how: &[u8]) -> Option<TrieProof> {
    let mut nodes: Vec<Vec<u8>> = proof.iter().map(|node| node.to_vec()).collect();
    let &[kind, node, high, low, bit] = how.first_chunk::<5>()?;
    let place = usize::from(node) % nodes.len().max(1);
    let offset = usize::from(u16::from_be_bytes([high, low]));
    let last = nodes.len().checked_sub(1)?;
    match kind % 8 {
        0 => return None,
        1 => drop(nodes.remove(place)),
        2 => nodes.insert(place, nodes[place].clone()),
        3 => nodes.swap(place, offset % (last + 1)),
        4 => nodes[place].push(bit),
        5 => drop(nodes[place].pop()),
        6 => nodes.push(vec![bit; offset % 600]),
        _flip => {
            let length = nodes[place].len();
            nodes[place][offset % length] ^= 1 << (bit % 8);
        }
    }
    let changed = bounded(nodes.into_iter())?;
    (changed != *proof).then_some(changed)
}

fn has_full_branch(proof: &TrieProof) -> bool {
    proof.iter().any(|node| node.len() == FULL_BRANCH)
}

/// Number of receipts, which one is proven, which one is asked for, and the logs of each.
fn built_receipts(bytes: &[u8], reached: &mut Reached) {
    let Some((&[c0, c1, proven, asked, size], how)) = bytes.split_first_chunk::<5>() else {
        return;
    };
    let count = usize::from(u16::from_be_bytes([c0, c1])) % 300 + 1;
    let all: Vec<Vec<u8>> = (0..count).map(|place| made_receipt(place, size)).collect();
    let proven = usize::from(proven) * 2 % count;
    let (root, honest) = receipts(&all, proven);
    let asked = match asked {
        0..=99 => proven,
        other => usize::from(other - 100) * 3,
    };
    let changed = change(&honest, how);
    let judged = receipt(
        root,
        u32::try_from(asked).unwrap(),
        changed.as_ref().unwrap_or(&honest),
    );
    match judged {
        Ok(found) => {
            assert!(changed.is_none(), "a changed proof holds");
            assert_eq!(asked, proven, "another receipt's proof holds");
            assert_eq!(found.succeeded(), !proven.is_multiple_of(3));
            assert_eq!(found.logs().count(), logs(proven));
            reached.note("receipt proven");
            reached.note_if(
                has_full_branch(&honest),
                "receipt proven below a full branch",
            );
        }
        Err(refused) => assert!(changed.is_some() || asked != proven, "{refused}"),
    }
}

fn logs(place: usize) -> usize {
    place % 4
}

fn made_receipt(place: usize, size: u8) -> Vec<u8> {
    let log = |number: usize| Log {
        address: Address::repeat_byte(number as u8),
        data: LogData::new_unchecked(
            vec![B256::repeat_byte(place as u8); number % 5],
            Bytes::from(vec![number as u8; usize::from(size)]),
        ),
    };
    let all = (0..logs(place)).map(log).collect();
    encoded_receipt((place % 5) as u8, !place.is_multiple_of(3), all)
}

#[derive(RlpEncodable)]
struct Account {
    nonce: u64,
    balance: U256,
    storage: B256,
    code: B256,
}

/// Number of accounts, which one is proven, and which one is asked for.
fn built_accounts(bytes: &[u8], reached: &mut Reached) {
    let Some((&[c0, c1, proven, asked, balance], how)) = bytes.split_first_chunk::<5>() else {
        return;
    };
    let count = u16::from_be_bytes([c0, c1]) % 300;
    let address =
        |number: u16| EvmAddress::new([number.to_be_bytes(); 10].concat().try_into().unwrap());
    let value = |number: u16| U256::from(number) << usize::from(balance % 240);
    let key = |number| keccak256(address(number).to_bytes()).to_vec();
    let items: BTreeMap<Vec<u8>, Vec<u8>> = (0..count)
        .map(|number| {
            let account = Account {
                nonce: u64::from(number),
                balance: value(number),
                storage: alloy_trie::EMPTY_ROOT_HASH,
                code: keccak256([]),
            };
            (key(number), alloy_rlp::encode(account))
        })
        .collect();
    // Some of the addresses are not there: then the proof shows that.
    let proven = u16::from(proven) * 2 % (count + count / 4 + 1);
    let (root, nodes) = trie(&items, &key(proven));
    let Some(honest) = bounded(nodes.into_iter()) else {
        return;
    };
    let asked = match asked {
        0..=99 => proven,
        other => u16::from(other - 100) * 3,
    };
    let changed = change(&honest, how);
    match account(root, address(asked), changed.as_ref().unwrap_or(&honest)) {
        Ok(Some(found)) => {
            assert!(changed.is_none(), "a changed proof holds");
            // That an address is not there may be shown by the leaf of another one, which is that one's proof.
            assert!(
                asked == proven || proven >= count,
                "another account's proof holds"
            );
            assert!(asked < count, "an account that is not there");
            let expected = (u64::from(asked), value(asked));
            assert_eq!((found.nonce, found.balance), expected);
            reached.note("account proven");
            reached.note_if(
                has_full_branch(&honest),
                "account proven below a full branch",
            );
        }
        Ok(None) => {
            // An empty trie needs no node; and of a proof cut short, the rest may show that another address is not there.
            assert!(
                changed.is_none() || count == 0 || asked != proven,
                "a changed proof shows absence"
            );
            assert!(asked >= count, "an account that is there is proven absent");
            reached.note("account absent");
        }
        Err(refused) => assert!(changed.is_some() || asked != proven, "{refused}"),
    }
}
