//! Merkle-Patricia proofs, receipts and accounts: honest ones hold, nothing else does, and no bytes make them panic.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alloy_primitives::{Address, B256, Bytes, Log, LogData, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};
use alys_protocol::bytes::EvmAddress;
use alys_signer_core::proof::{
    AccountError, Receipt, ReceiptError, TrieError, account, lookup, receipt as proven_receipt,
};
use fixtures::evidence::{bounded, receipt, receipts, state, trie};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

fn find<'a>(root: B256, key: &[u8], nodes: &'a [Vec<u8>]) -> Result<Option<&'a [u8]>, TrieError> {
    lookup(root, key, nodes.iter().map(Vec::as_slice))
}

/// `alloy-trie`'s opinion.
fn theirs(root: B256, key: &[u8], value: Option<&[u8]>, nodes: &[Vec<u8>]) -> bool {
    let nodes: Vec<Bytes> = nodes.iter().cloned().map(Bytes::from).collect();
    let value = value.map(<[u8]>::to_vec);
    alloy_trie::proof::verify_proof(root, Nibbles::unpack(key), value, &nodes).is_ok()
}

/// A trie of 200 keys, one of them proven.
fn sample() -> (B256, Vec<u8>, Vec<u8>, Vec<Vec<u8>>) {
    let items: Items = (0..200u64)
        .map(|number| {
            (
                keccak256(number.to_be_bytes()).to_vec(),
                vec![number as u8 | 1; 40],
            )
        })
        .collect();
    let key = keccak256(7u64.to_be_bytes()).to_vec();
    let (root, nodes) = trie(&items, &key);
    assert!(nodes.len() >= 3);
    (root, key, vec![7; 40], nodes)
}

fn string(payload: &[u8]) -> Vec<u8> {
    alloy_rlp::encode(payload)
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload = items.concat();
    let mut bytes = Vec::new();
    let header = alloy_rlp::Header {
        list: true,
        payload_length: payload.len(),
    };
    header.encode(&mut bytes);
    bytes.extend(payload);
    bytes
}

/// A trie of one hand-made root node.
fn of_node(node: Vec<u8>, key: &[u8]) -> Result<Option<Vec<u8>>, TrieError> {
    let root = keccak256(&node);
    find(root, key, std::slice::from_ref(&node)).map(|value| value.map(<[u8]>::to_vec))
}

fn shape(found: Result<Option<Vec<u8>>, TrieError>) -> bool {
    matches!(found, Err(TrieError::Shape { .. } | TrieError::Rlp { .. }))
}

#[test]
fn a_value_is_found_and_an_absence_too() {
    let (root, key, value, nodes) = sample();
    assert_eq!(find(root, &key, &nodes), Ok(Some(&value[..])));
    let mut other = key.clone();
    other[31] ^= 1;
    // The same path ends in a leaf of another key.
    assert_eq!(find(root, &other, &nodes), Ok(None));
    assert_eq!(find(EMPTY_ROOT_HASH, &key, &[]), Ok(None));
    assert_eq!(find(EMPTY_ROOT_HASH, &key, &[vec![0x80]]), Ok(None));
    assert_eq!(
        find(EMPTY_ROOT_HASH, &key, &[vec![0x80], vec![0x80]]),
        Err(TrieError::Trailing { used: 1 })
    );
}

#[test]
fn truncated_swapped_and_extra_nodes_are_refused() {
    let (root, key, _, nodes) = sample();
    for kept in 0..nodes.len() {
        assert!(
            matches!(find(root, &key, &nodes[..kept]), Err(TrieError::Missing { node, .. }) if node == kept)
        );
    }
    for one in 1..nodes.len() {
        let mut swapped = nodes.clone();
        swapped.swap(one - 1, one);
        assert!(matches!(
            find(root, &key, &swapped),
            Err(TrieError::Hash { .. })
        ));
        let mut skipped = nodes.clone();
        skipped.remove(one - 1);
        assert!(matches!(
            find(root, &key, &skipped),
            Err(TrieError::Hash { .. })
        ));
    }
    for extra in [
        nodes[0].clone(),
        nodes[nodes.len() - 1].clone(),
        vec![],
        vec![0x80],
    ] {
        let mut longer = nodes.clone();
        longer.push(extra);
        let used = nodes.len();
        assert_eq!(find(root, &key, &longer), Err(TrieError::Trailing { used }));
    }
    assert!(find(keccak256("another"), &key, &nodes).is_err());
}

#[test]
fn every_flipped_bit_is_refused() {
    let (root, key, _, nodes) = sample();
    for place in 0..nodes.len() {
        for byte in 0..nodes[place].len() {
            let mut changed = nodes.clone();
            changed[place][byte] ^= 1 << (byte % 8);
            assert!(find(root, &key, &changed).is_err());
        }
    }
}

#[test]
fn a_value_that_looks_like_a_child_is_not_followed() {
    // The value of the leaf is the hash of another one: a verifier that forgets what is a value goes on to it.
    let forged = list(&[string(&[0x32]), string(&[0xff; 32])]);
    let genuine = list(&[string(&[0x31]), string(keccak256(&forged).as_slice())]);
    let root = keccak256(&genuine);
    let used = 1;
    assert_eq!(
        find(root, &[0x12], &[genuine, forged]),
        Err(TrieError::Trailing { used })
    );
}

#[test]
fn n1_trie_parser_underflow() {
    // powHSM #503: lengths that the parser subtracts from without a look.
    let value = string(&[1; 40]);
    for path in [
        vec![],
        vec![0x00],
        vec![0x21],
        vec![0x0f],
        vec![0x40],
        vec![0xf1],
    ] {
        assert!(
            shape(of_node(list(&[string(&path), value.clone()]), &[0x12])),
            "{path:x?}"
        );
    }
    assert!(shape(of_node(vec![], &[0x12])));
    assert!(shape(of_node(vec![0xc0], &[0x12])));
    assert!(shape(of_node(list(std::slice::from_ref(&value)), &[0x12])));
    for items in (3..20).filter(|items| *items != 17) {
        assert!(shape(of_node(list(&vec![string(&[]); items]), &[0x12])));
    }
    // Headers that claim more than there is, up to the largest number there can be.
    for node in [
        vec![0xf8],
        vec![0xf8, 0xff],
        vec![0xff; 9],
        [&[0xff][..], &[0xff; 8], &[0; 20]].concat(),
        [&[0xbf][..], &[0xff; 8], &[0; 20]].concat(),
        vec![0xc2, 0xbf, 0xff],
        vec![0xc1, 0xb8],
    ] {
        assert!(shape(of_node(node.clone(), &[0x12])), "{node:x?}");
    }
}

#[test]
fn only_canonical_nodes_are_read() {
    let leaf = |path: &[u8], value: &[u8]| list(&[string(path), string(value)]);
    assert_eq!(
        of_node(leaf(&[0x20, 0x12], &[5]), &[0x12]),
        Ok(Some(vec![5]))
    );
    assert_eq!(of_node(leaf(&[0x20, 0x12], &[5]), &[0x13]), Ok(None));
    // A byte after the node, a length written long, an empty value.
    let mut longer = leaf(&[0x20, 0x12], &[5]);
    longer.push(0);
    assert!(shape(of_node(longer, &[0x12])));
    assert!(shape(of_node(
        vec![0xf8, 0x04, 0x82, 0x20, 0x12, 0x05],
        &[0x12]
    )));
    assert!(shape(of_node(
        vec![0xc5, 0x82, 0x20, 0x12, 0x81, 0x05],
        &[0x12]
    )));
    assert!(shape(of_node(leaf(&[0x20, 0x12], &[]), &[0x12])));
    // Branches: one child only, a value, a child of a wrong size, a large node within.
    let child = string(&[9; 32]);
    let branch = |children: &[(usize, Vec<u8>)], value: Vec<u8>| {
        let mut items = vec![string(&[]); 17];
        for (place, child) in children {
            items[*place] = child.clone();
        }
        items[16] = value;
        list(&items)
    };
    let two = branch(&[(3, child.clone()), (4, child.clone())], string(&[]));
    assert_eq!(of_node(two, &[0x12]), Ok(None));
    assert!(shape(of_node(
        branch(&[(3, child.clone())], string(&[])),
        &[0x12]
    )));
    let pair = [(3, child.clone()), (4, child.clone())];
    assert!(shape(of_node(branch(&pair, string(&[1])), &[0x12])));
    assert!(shape(of_node(
        branch(&[(3, child.clone()), (4, string(&[9; 31]))], string(&[])),
        &[0x12]
    )));
    let large = list(&[string(&[0x20]), string(&[9; 32])]);
    assert!(shape(of_node(
        branch(&[(3, child.clone()), (1, large)], string(&[])),
        &[0x12]
    )));
    // 31 bytes are within, 32 are not.
    let within = |bytes| leaf(&[0x32], &vec![9; bytes]);
    for (value, read) in [(28, true), (29, false)] {
        let leaf = within(value);
        assert_eq!(leaf.len(), value + 3);
        let node = branch(&[(3, child.clone()), (1, leaf)], string(&[]));
        assert_eq!(of_node(node, &[0x12]) == Ok(Some(vec![9; value])), read);
    }
    // A nibble that hides behind an even path.
    for path in [[0x01, 0x12], [0x21, 0x12]] {
        assert!(shape(of_node(
            list(&[string(&path), child.clone()]),
            &[0x12]
        )));
    }
    // Extensions: to nothing, of nothing, to a leaf, to an extension.
    assert!(shape(of_node(
        list(&[string(&[0x11]), string(&[])]),
        &[0x12]
    )));
    assert!(shape(of_node(list(&[string(&[0x00]), child]), &[0x12])));
    for below in [
        leaf(&[0x32], &[5]),
        list(&[string(&[0x12]), leaf(&[0x20], &[5])]),
    ] {
        assert!(shape(of_node(list(&[string(&[0x11]), below]), &[0x12])));
    }
    // A node that is named by its hash though it is short.
    let short = leaf(&[0x32], &[5]);
    let parent = branch(
        &[
            (1, string(keccak256(&short).as_slice())),
            (2, string(&[9; 32])),
        ],
        string(&[]),
    );
    let root = keccak256(&parent);
    assert!(matches!(
        find(root, &[0x12], &[parent, short]),
        Err(TrieError::Shape { node: 1, .. })
    ));
}

#[test]
fn paths_longer_than_the_key_are_refused() {
    let child = string(&[9; 32]);
    let mut items = vec![string(&[]); 17];
    items[1] = child.clone();
    items[2] = child.clone();
    let branch = list(&items);
    assert_eq!(
        of_node(branch, &[]),
        Err(TrieError::Deep {
            node: 0,
            nibbles: 0
        })
    );
    assert_eq!(
        of_node(list(&[string(&[0x00, 0x12, 0x34]), child]), &[0x12]),
        Err(TrieError::Deep {
            node: 0,
            nibbles: 2
        })
    );
}

#[test]
fn n1_receipt_depth() {
    // powHSM #514: lists within lists. A recursive reader runs out of stack; this one refuses the first wrong item.
    let mut nested = vec![0xc0];
    for _level in 0..20_000 {
        nested = list(&[nested]);
    }
    assert!(matches!(
        Receipt::decode(&nested),
        Err(ReceiptError::Rlp(_))
    ));
    let logs_nested = {
        let good = receipt(2, true, vec![]);
        let mut fields = vec![string(&[1]), string(&[5]), string(&[0; 256])];
        assert_eq!(good[1..4], list(&[fields.concat(), vec![0xc0; 3]])[..3]);
        fields.push(nested.clone());
        list(&fields)
    };
    assert!(matches!(
        Receipt::decode(&logs_nested),
        Err(ReceiptError::Rlp(_))
    ));
    assert!(shape(of_node(nested, &[0x12])));
}

fn log(seed: u8, topics: usize) -> Log {
    Log {
        address: Address::repeat_byte(seed),
        data: LogData::new_unchecked(
            vec![B256::repeat_byte(seed); topics],
            Bytes::from(vec![seed; usize::from(seed)]),
        ),
    }
}

#[test]
fn receipts_of_every_type_are_read_and_no_others() {
    for transaction_type in 0..=4 {
        for succeeded in [false, true] {
            let logs: Vec<Log> = (0..5)
                .map(|topics| log(topics as u8 * 60, topics))
                .collect();
            let bytes = receipt(transaction_type, succeeded, logs.clone());
            let read = Receipt::decode(&bytes).unwrap();
            assert_eq!(read.transaction_type(), transaction_type);
            assert_eq!(read.succeeded(), succeeded);
            assert_eq!(read.logs().count(), 5);
            for (place, expected) in logs.iter().enumerate() {
                let found = read.log(place as u32).unwrap();
                assert_eq!(found.address.to_bytes(), expected.address.0.0);
                assert!(
                    found
                        .topics()
                        .eq(expected.topics().iter().map(|topic| &topic.0))
                );
                assert_eq!(found.data, &expected.data.data[..]);
            }
            assert_eq!(
                read.log(5).unwrap_err(),
                ReceiptError::NoLog { index: 5, logs: 5 }
            );
        }
    }
    let good = receipt(0, true, vec![log(9, 1)]);
    for found in [0x00, 0x05, 0x7e, 0x80, 0xbf] {
        let typed = [&[found][..], &good].concat();
        assert_eq!(
            Receipt::decode(&typed).unwrap_err(),
            ReceiptError::Type { found }
        );
    }
    assert!(Receipt::decode(&[]).is_err());
    let mut longer = good.clone();
    longer.push(0);
    assert!(Receipt::decode(&longer).is_err());
    let fields = |status: &[u8], gas: &[u8], bloom: usize, logs: &[Vec<u8>]| {
        list(&[
            string(status),
            string(gas),
            string(&vec![0; bloom]),
            list(logs),
        ])
    };
    assert!(Receipt::decode(&fields(&[1], &[5], 256, &[])).is_ok());
    for status in [&[2][..], &[0], &[0; 32], &[1, 0]] {
        assert!(matches!(
            Receipt::decode(&fields(status, &[5], 256, &[])),
            Err(ReceiptError::Status { .. })
        ));
    }
    assert!(Receipt::decode(&fields(&[1], &[1; 9], 256, &[])).is_err());
    assert!(Receipt::decode(&fields(&[1], &[0, 1], 256, &[])).is_err());
    assert!(Receipt::decode(&fields(&[1], &[5], 255, &[])).is_err());
    let fifth = [
        string(&[1]),
        string(&[5]),
        string(&[0; 256]),
        list(&[]),
        string(&[]),
    ];
    assert!(Receipt::decode(&list(&fifth)).is_err());
    let log_of = |address: usize, topics: &[Vec<u8>]| {
        list(&[string(&vec![1; address]), list(topics), string(&[7])])
    };
    let topic = string(&[3; 32]);
    assert!(
        Receipt::decode(&fields(
            &[1],
            &[5],
            256,
            &[log_of(20, &vec![topic.clone(); 4])]
        ))
        .is_ok()
    );
    for bad in [
        log_of(19, &[]),
        log_of(20, &vec![topic.clone(); 5]),
        log_of(20, &[string(&[3; 31])]),
        log_of(20, &[string(&[3; 31]), string(&[3; 33])]),
        list(&[string(&[1; 20]), list(&[])]),
        list(&[string(&[1; 20]), list(&[]), string(&[]), string(&[])]),
        list(&[string(&[1; 20]), string(&[]), string(&[])]),
        string(&[]),
    ] {
        assert!(Receipt::decode(&fields(&[1], &[5], 256, &[bad])).is_err());
    }
}

#[test]
fn each_receipt_is_proven_at_its_index_only() {
    for count in [1usize, 2, 17, 127, 128, 129, 300] {
        let all: Vec<Vec<u8>> = (0..count)
            .map(|place| receipt((place % 5) as u8, true, vec![log((place % 200) as u8, 1)]))
            .collect();
        for index in [0, count / 2, count - 1] {
            let (root, proof) = receipts(&all, index);
            let found = proven_receipt(root, index as u32, &proof).unwrap();
            let expected = Receipt::decode(&all[index]).unwrap();
            assert_eq!(
                found.log(0).unwrap().address,
                expected.log(0).unwrap().address
            );
            for other in (0..=count).filter(|other| *other != index) {
                assert!(proven_receipt(root, other as u32, &proof).is_err());
            }
        }
        let (root, absence) = receipts(&all, count);
        assert_eq!(
            proven_receipt(root, count as u32, &absence).unwrap_err(),
            ReceiptError::Absent
        );
    }
}

#[test]
fn accounts_are_proven_present_and_absent() {
    let vault = EvmAddress::new([7; 20]);
    let (root, proof) = state(vault, Some(U256::from(123_456)));
    let found = account(root, vault, &proof).unwrap().unwrap();
    assert_eq!(found.balance, U256::from(123_456));
    assert!(
        account(root, EvmAddress::new([8; 20]), &proof)
            .ok()
            .flatten()
            .is_none()
    );
    let (without, absence) = state(vault, None);
    assert_eq!(account(without, vault, &absence), Ok(None));
    assert!(account(root, vault, &absence).is_err());
    // A value that is no account.
    let key = keccak256(vault.to_bytes()).to_vec();
    for value in [vec![0xc0], vec![0xc4, 1, 1, 1, 1], vec![5; 70]] {
        let (root, nodes) = trie(&Items::from([(key.clone(), value)]), &key);
        assert!(matches!(
            account(root, vault, &bounded(nodes)),
            Err(AccountError::Rlp(_))
        ));
    }
}

/// Keys of one length, so that none is a prefix of another; values short enough to lie within their parents, or not.
fn items() -> impl Strategy<Value = Items> {
    (1usize..=4).prop_flat_map(|length| {
        let key = proptest::collection::vec(0u8..8, length);
        let value = prop_oneof![
            proptest::collection::vec(1u8..=255, 1..4),
            proptest::collection::vec(any::<u8>(), 30..60),
        ];
        proptest::collection::btree_map(key, value, 1..40)
    })
}

/// RLP of any shape, lists within lists.
fn rlp() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        3 => Just(string(&[])),
        3 => proptest::collection::vec(any::<u8>(), 32..=32).prop_map(|bytes| string(&bytes)),
        4 => proptest::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| string(&bytes)),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    leaf.prop_recursive(4, 64, 17, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..=2).prop_map(|items| list(&items)),
            proptest::collection::vec(inner.clone(), 17..=17).prop_map(|items| list(&items)),
            proptest::collection::vec(inner, 0..5).prop_map(|items| list(&items)),
        ]
    })
}

proptest! {
    #[test]
    fn honest_proofs_hold_and_alloy_agrees(items in items(), other in proptest::collection::vec(0u8..8, 1..=4)) {
        let length = items.keys().next().unwrap().len();
        let missing: Vec<u8> = other.into_iter().cycle().take(length).collect();
        for key in items.keys().chain([&missing]) {
            let (root, nodes) = trie(&items, key);
            let found = find(root, key, &nodes).unwrap();
            prop_assert_eq!(found, items.get(key).map(Vec::as_slice));
            // Theirs does not hash a root of fewer than 32 bytes.
            prop_assert!(nodes[0].len() < 32 || theirs(root, key, found, &nodes));
        }
    }

    #[test]
    fn changed_proofs_never_say_something_else(
        items in items(), node in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(),
        flip in 1u8..=255, cut in any::<bool>()
    ) {
        let key = items.keys().next().unwrap().clone();
        let (root, mut nodes) = trie(&items, &key);
        let node = node.index(nodes.len());
        if cut {
            nodes.truncate(node);
        } else {
            let byte = byte.index(nodes[node].len());
            nodes[node][byte] ^= flip;
        }
        prop_assert!(find(root, &key, &nodes).is_err());
    }

    #[test]
    fn a7_no_nodes_make_the_verifier_panic(
        nodes in proptest::collection::vec(rlp(), 1..4), key in proptest::collection::vec(any::<u8>(), 0..33)
    ) {
        // Linked by their hashes, so that the verifier gets to read them.
        let _ = find(keccak256(&nodes[0]), &key, &nodes);
        let mut chained: Vec<Vec<u8>> = Vec::new();
        for node in nodes.iter().rev() {
            let below = chained.last().map_or(B256::ZERO, keccak256);
            chained.push(node.clone());
            let child = string(below.as_slice());
            chained.push(list(&[vec![child; 16], vec![string(&[])]].concat()));
        }
        chained.reverse();
        let _ = find(keccak256(&chained[0]), &key, &chained);
    }

    #[test]
    fn a7_no_bytes_make_the_receipt_reader_panic(
        bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), rlp()], index in any::<u32>()
    ) {
        if let Ok(receipt) = Receipt::decode(&bytes) {
            let _ = receipt.log(index);
        }
    }

    #[test]
    fn a7_no_changed_receipt_panics(place in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut bytes = receipt(2, true, vec![log(9, 3), log(40, 0)]);
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(receipt) = Receipt::decode(&bytes) {
            prop_assert!(receipt.logs().all(|log| log.topics().count() <= 4));
            let _ = receipt.log(1);
        }
    }
}
