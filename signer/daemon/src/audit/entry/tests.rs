use super::*;
use alys_signer_core::clock::WindowTime;
use alys_signer_core::freshness::Freshness;

fn decided() -> Entry {
    Entry {
        previous: Digest::new([1; 32]),
        sequence: Sequence::new(300),
        time: UnixMillis::new(1_795_000_000_123),
        event: Event::Decided(Box::new(Decided {
            role: Role::Node,
            certificate: [2; 32],
            operation: Operation::SignPegOut,
            request: Digest::new([3; 32]),
            evidence: Digest::new([4; 32]),
            inputs: Inputs {
                slot: Slot::new(897_500_000),
                window: WindowTime::from_millis(86_400_000),
                bitcoin: Digest::new([10; 32]),
                freshness: Freshness::default(),
                randomness: Some(Randomness([5; 32])),
            },
            spec: SpecDigest::new([6; 32]),
            policy: Digest::new([7; 32]),
            state: StateName::PegOut,
            before: Digest::new([8; 32]),
            after: Digest::new([9; 32]),
            verdict: Verdict::Refused {
                rule: Rule::CapSingle,
                expected: "at most 5".to_owned(),
                found: "6".to_owned(),
            },
        })),
    }
}

fn standing() -> Entry {
    Entry {
        previous: Digest::ZERO,
        sequence: Sequence::new(0),
        time: UnixMillis::new(1),
        event: Event::Standing(Box::new(Standing {
            cause: Cause::Continued,
            software: "alys-signer 0".to_owned(),
            member: MemberId::new(2),
            bls: BlsPublicKeyBytes::new([1; 48]),
            schnorr: SchnorrPublicKeyBytes::new([2; 32]),
            audit_key: AUDIT_KEY.parse().unwrap(),
            spec: SpecDigest::new([3; 32]),
            spec_text: Digest::new([4; 32]),
            policy: Digest::new([5; 32]),
            states: vec![NamedState {
                name: StateName::Vote,
                digest: Digest::new([6; 32]),
            }],
        })),
    }
}

fn counted() -> Entry {
    Entry {
        previous: Digest::ZERO,
        sequence: Sequence::new(1),
        time: UnixMillis::new(2),
        event: Event::Counted(Counted {
            since: UnixMillis::new(1),
            repeats: vec![Repeats {
                entry: Sequence::new(0),
                times: 200,
            }],
            turned_away: vec![TurnedAway {
                role: Role::Auditor,
                certificate: [9; 32],
                too_many: 1,
                forbidden: 2,
                malformed: 3,
            }],
            unrecorded: 4,
        }),
    }
}

/// RFC 8032, 7.1, test 1.
const AUDIT_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// The encoding of version 2 never changes: a new one gets another first byte, and this one is still read.
#[test]
fn the_encoding_is_golden() {
    let hash = |entry: &Entry| entry_hash(ChainId::new(7), &entry.encode().unwrap()).to_string();
    let hex = |entry: &Entry| hex::DisplayHex::to_lower_hex_string(&entry.encode().unwrap());
    let repeat = |byte: &str, times: usize| byte.repeat(times);
    assert_eq!(
        hex(&decided()),
        [
            "02",
            &repeat("01", 32),
            "ac02",
            "fbbcd9f29e34",
            "01",
            // "node"
            "046e6f6465",
            &repeat("02", 32),
            // "sign-peg-out"
            "0c7369676e2d7065672d6f7574",
            &repeat("03", 32),
            &repeat("04", 32),
            "e086fbab03",
            "80b89929",
            &repeat("0a", 32),
            // The lease: value, tag, tag before, last slot; no outside counter; the floor.
            "00",
            &repeat("00", 16),
            &repeat("00", 16),
            "00",
            "00",
            "00",
            "01",
            &repeat("05", 32),
            &repeat("06", 32),
            &repeat("07", 32),
            // "pegout"
            "067065676f7574",
            &repeat("08", 32),
            &repeat("09", 32),
            "02",
            // "cap-single"
            "0a6361702d73696e676c65",
            "096174206d6f73742035",
            "0136",
        ]
        .concat()
    );
    assert_eq!(hash(&decided()), GOLDEN[0]);
    assert_eq!(hash(&standing()), GOLDEN[1]);
    assert_eq!(hash(&counted()), GOLDEN[2]);
    let blob = blob_digest(ChainId::new(7), BlobKind::State(StateName::Vote), b"abc");
    assert_eq!(blob.to_string(), GOLDEN[3]);
}

/// Computed apart from this code, by hand from the formats.
const GOLDEN: [&str; 4] = [
    "0x53f664f2aefb30017484bdbfd5f9183bb2bddd3f41796412c5107d1416c53141",
    "0x1a5ecec160c49e455a7959a34cc3572f86b8f3a70aecea4f23a0d3e334950ff0",
    "0x3c2105738ba47e333ba5b3c367c22e0eed0531b985b90293decc236d03eb263e",
    "0xdf50893fdc533ebf2c39df0d790e26a0b6615be01a2e38a637cd020def849dff",
];

#[test]
fn an_entry_has_one_encoding() {
    for entry in [decided(), standing(), counted()] {
        let bytes = entry.encode().unwrap();
        assert_eq!(Entry::decode(&bytes).as_ref(), Ok(&entry));
        let longer = [&bytes[..], &[0]].concat();
        assert!(Entry::decode(&longer).is_err());
        assert!(Entry::decode(&bytes[..bytes.len() - 1]).is_err());
        let mut version = bytes.clone();
        version[0] = 3;
        let error = Entry::decode(&version).unwrap_err();
        assert!(error.to_string().contains("version 3"), "{error}");
    }
    assert!(Entry::decode(&[]).is_err());
    // A longer encoding of the same number.
    let bytes = counted().encode().unwrap();
    let place = 1 + 32;
    assert_eq!(bytes[place], 1);
    let padded = [&bytes[..place], &[0x81, 0], &bytes[place + 1..]].concat();
    assert!(Entry::decode(&padded).is_err());
}

#[test]
fn unknown_names_are_refused() {
    let bytes = decided().encode().unwrap();
    let text = b"sign-peg-out";
    let place = bytes
        .windows(text.len())
        .position(|window| window == text)
        .unwrap();
    let mut other = bytes;
    other[place] = b'S';
    assert!(Entry::decode(&other).is_err());
}

#[test]
fn kinds_of_blobs_do_not_mix() {
    let chain = ChainId::new(7);
    assert_ne!(
        blob_digest(chain, BlobKind::Spec, b"abc"),
        blob_digest(chain, BlobKind::Policy, b"abc")
    );
    assert_ne!(
        blob_digest(chain, BlobKind::Spec, b"abc"),
        blob_digest(ChainId::new(8), BlobKind::Spec, b"abc")
    );
}
