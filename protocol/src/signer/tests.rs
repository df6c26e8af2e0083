//! Frames: every message survives one, its bytes are fixed by a digest, and nothing else is taken for one.

use super::*;
use crate::bytes::{BlockId, BodyRoot, EvmAddress, ExecutionHash, HistoryRoot};
use crate::hash::{self, TaggedHasher};
use crate::header::PowState;
use crate::peg::{ConsumedTransaction, Cursor};
use crate::units::{BtcHeight, Gwei, PowCount, SatsPerKvb, Wei};
use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use bitcoin::hashes::Hash as _;
use proptest::prelude::*;
use serde::de::DeserializeOwned;

fn bounded<T, const MAX: usize>(items: Vec<T>) -> BoundedVec<T, MAX> {
    BoundedVec::new(items).unwrap()
}

/// A header whose fields differ from each other and from those of other numbers.
fn header(number: u8) -> Header {
    Header {
        version: 1,
        chain_id: ChainId::new(212_121),
        epoch: Epoch::new(2),
        height: SideHeight::new(u64::from(number)),
        slot: Slot::new(1000 + u64::from(number)),
        parent: BlockId::new([number; 32]),
        history_root: HistoryRoot::new([number ^ 1; 32]),
        execution_hash: ExecutionHash::new([number ^ 2; 32]),
        bitcoin: Cursor {
            height: BtcHeight::new(101),
            hash: bitcoin::BlockHash::from_byte_array([number ^ 3; 32]),
            next_tx: 7,
        },
        next_burn: BurnSequence::new(9),
        pow: PowState {
            count: PowCount::new(3),
            height: SideHeight::new(4),
            id: BlockId::new([number ^ 4; 32]),
        },
        fees_distributed: Wei::new(u128::MAX),
        body_root: BodyRoot::new([number ^ 5; 32]),
    }
}

fn certificate() -> Certificate {
    Certificate {
        block: BlockId::new([1; 32]),
        signers: bounded(vec![0b1011]),
        signature: BlsSignature::new([2; 96]),
    }
}

fn record() -> BatchRecord {
    BatchRecord {
        first_burn: BurnSequence::new(9),
        next_burn: BurnSequence::new(10),
        fee_rate: SatsPerKvb::new(5000),
        replaces: Some(crate::bytes::BatchId::new([3; 32])),
        skipped: bounded(vec![BurnSequence::new(9)]),
        transaction: bounded(vec![4; 100]),
    }
}

fn pow_record() -> PowRecord {
    PowRecord {
        start: BlockId::new([5; 32]),
        fee_recipient: EvmAddress::new([6; 20]),
        auxpow: bounded(vec![7; 300]),
    }
}

fn history() -> HistoryProof {
    HistoryProof {
        siblings: bounded(vec![Digest::new([8; 32])]),
        other_peaks: bounded(vec![Digest::new([9; 32])]),
    }
}

fn branch() -> BodyBranch {
    BodyBranch {
        siblings: [Digest::new([10; 32]), Digest::new([11; 32])],
    }
}

fn trie() -> TrieProof {
    bounded(vec![bounded(vec![12; 40]), bounded(vec![13])])
}

fn approve() -> ApproveRequest {
    ApproveRequest {
        header: header(20),
        body: Body {
            parent_certificate: Some(certificate()),
            consumed: bounded(vec![ConsumedTransaction {
                height: BtcHeight::new(102),
                block: bitcoin::BlockHash::from_byte_array([14; 32]),
                index: 3,
                bytes: bounded(vec![15; 70]),
            }]),
            pow: Some(pow_record()),
            batch: Some(record()),
        },
        parent: header(19),
        parent_history: Peaks::new(3, vec![Digest::new([50; 32]), Digest::new([51; 32])]).unwrap(),
        ancestors: bounded(vec![header(18), header(17)]),
        execution_header: bounded(vec![16; 600]),
        withdrawals: bounded(vec![Withdrawal {
            index: 20 << 16,
            validator_index: 0,
            address: EvmAddress::new([17; 20]),
            amount: Gwei::new(18),
        }]),
        deposits: bounded(vec![DepositProof {
            consumed: 0,
            branch: bounded(vec![Digest::new([19; 32])]),
            coinbase: bounded(vec![20; 90]),
            coinbase_branch: bounded(vec![Digest::new([21; 32])]),
        }]),
        fees: Some(FeesProof {
            execution_header: bounded(vec![22; 600]),
            account: trie(),
        }),
        pow: Some(PowEvidence {
            end: header(16),
            end_history: history(),
            start_history: history(),
        }),
    }
}

fn peg_out() -> PegOutRequest {
    PegOutRequest {
        record: record(),
        values: bounded(vec![Sats::new(5_000_000)]),
        recording: header(30),
        recording_parent: header(29),
        body_branch: branch(),
        finality: FinalityEvidence {
            headers: [header(31), header(32), header(33)],
            certificate: certificate(),
        },
        recording_history: Some(history()),
        pow: Some(PowFinality {
            carrier: header(28),
            carrier_parent: header(27),
            record: pow_record(),
            body_branch: branch(),
            carrier_history: None,
            end: header(26),
            end_history: history(),
        }),
        burns: bounded(vec![BurnEvidence {
            burn: Burn {
                sequence: BurnSequence::new(9),
                sender: EvmAddress::new([23; 20]),
                script_pubkey: bounded(vec![24; 22]),
                amount: Sats::new(1_000_000),
                height: SideHeight::new(25),
                block: BlockId::new([25; 32]),
            },
            header: header(25),
            history: Some(history()),
            execution_header: bounded(vec![26; 600]),
            transaction_index: 1,
            log_index: 2,
            receipt: trie(),
        }]),
    }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Status,
        Request::SignProposal(Box::new(header(20))),
        Request::Approve(Box::new(approve())),
        Request::SignPegOut(Box::new(peg_out())),
        Request::BitcoinHeaders(bounded(vec![BitcoinHeaderBytes::new([27; 80])])),
        Request::Challenge,
        Request::Statement(Box::new(SignedStatement {
            text: bounded(vec![38; 50]),
            signatures: bounded(vec![bounded(vec![39; 300]), bounded(vec![40])]),
        })),
    ]
}

fn replies() -> Vec<Reply> {
    let errors = [
        ProtocolError::Version {
            expected: 1,
            found: 2,
        },
        ProtocolError::Malformed("bytes".to_owned()),
        ProtocolError::Forbidden {
            role: "auditor".to_owned(),
            operation: "approve".to_owned(),
        },
        ProtocolError::Unsupported("headers".to_owned()),
        ProtocolError::Internal("disk".to_owned()),
    ];
    let refusals = Rule::ALL.iter().map(|rule| Refusal {
        rule: *rule,
        expected: "one".to_owned(),
        found: "another".to_owned(),
    });
    let standing = BitcoinStanding {
        tip: Some(BitcoinTip {
            height: BtcHeight::new(36),
            hash: bitcoin::BlockHash::from_byte_array([37; 32]),
        }),
        from: BtcHeight::new(30),
    };
    let status = SignerStatus {
        software: "alys-signer 0.1.0".to_owned(),
        protocol: PROTOCOL_VERSION,
        chain_id: ChainId::new(212_121),
        epoch: Epoch::new(2),
        spec: SpecDigest::new([28; 32]),
        member: MemberId::new(3),
        bls: BlsPublicKeyBytes::new([29; 48]),
        schnorr: SchnorrPublicKeyBytes::new([30; 32]),
        backend: "sealed file".to_owned(),
        last_slot: Slot::new(31),
        lock: SideHeight::new(32),
        next_burn: BurnSequence::new(33),
        bitcoin: standing,
        counter: "file".to_owned(),
        silent: None,
        paused: true,
        last_statement: StatementNumber::new(41),
        skips: bounded(vec![BurnSequence::new(47)]),
    };
    let challenge = Challenge {
        chain_id: ChainId::new(212_121),
        member: MemberId::new(3),
        nonce: Digest::new([42; 32]),
        slot: Slot::new(43),
        horizon_slots: 44,
        last_statement: StatementNumber::new(45),
    };
    [
        Reply::Status(Box::new(status)),
        Reply::Signature(BlsSignature::new([34; 96])),
        Reply::Shares(bounded(vec![SchnorrSignature::new([35; 64]); 2])),
        Reply::Bitcoin(standing),
    ]
    .into_iter()
    .chain(refusals.map(Reply::Refused))
    .chain(errors.map(Reply::Error))
    .chain([
        Reply::Challenge(Box::new(challenge)),
        Reply::Stated(StatementNumber::new(46)),
    ])
    .collect()
}

/// A new variant does not compile until it is named here, and the tests below fail until it has a sample and a digest.
fn request_kind(request: &Request) -> &'static str {
    match request {
        Request::Status => "status",
        Request::SignProposal(_) => "sign-proposal",
        Request::Approve(_) => "approve",
        Request::SignPegOut(_) => "sign-peg-out",
        Request::BitcoinHeaders(_) => "bitcoin-headers",
        Request::Challenge => "challenge",
        Request::Statement(_) => "statement",
    }
}

/// The same for replies.
fn reply_kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Status(_) => "status",
        Reply::Signature(_) => "signature",
        Reply::Shares(_) => "shares",
        Reply::Bitcoin(_) => "bitcoin",
        Reply::Refused(_) => "refused",
        Reply::Error(ProtocolError::Version { .. }) => "error-version",
        Reply::Error(ProtocolError::Malformed(_)) => "error-malformed",
        Reply::Error(ProtocolError::Forbidden { .. }) => "error-forbidden",
        Reply::Error(ProtocolError::Unsupported(_)) => "error-unsupported",
        Reply::Error(ProtocolError::Internal(_)) => "error-internal",
        Reply::Challenge(_) => "challenge",
        Reply::Stated(_) => "stated",
    }
}

fn envelope(request: Request) -> RequestEnvelope {
    RequestEnvelope {
        version: PROTOCOL_VERSION,
        request,
    }
}

/// Encodes and decodes; the frame's bytes.
fn round_trip<T>(message: &T) -> Vec<u8>
where
    T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug,
{
    let frame = encode_frame(message).unwrap();
    let (length, body) = frame.split_first_chunk::<4>().unwrap();
    assert_eq!(u32::from_be_bytes(*length) as usize, body.len());
    assert_eq!(decode_frame::<T>(body).as_ref(), Ok(message));
    frame
}

/// Eight bytes of a frame's hash: enough to see that an encoding changed.
fn digest(frame: &[u8]) -> String {
    let hash = TaggedHasher::without_chain(hash::REQUEST).fixed(frame);
    let hash = Digest::new(hash.finish()).to_string();
    hash[2..18].to_owned()
}

#[test]
fn every_request_survives_its_frame_in_the_agreed_bytes() {
    let found: Vec<_> = requests()
        .into_iter()
        .map(|request| {
            let kind = request_kind(&request);
            (kind, digest(&round_trip(&envelope(request))))
        })
        .collect();
    assert_eq!(
        found,
        REQUESTS.map(|(kind, digest)| (kind, digest.to_owned()))
    );
}

#[test]
fn every_reply_survives_its_frame_in_the_agreed_bytes() {
    let mut found = Vec::new();
    for reply in replies() {
        let kind = reply_kind(&reply);
        let frame = round_trip(&reply);
        match found.last_mut() {
            // All rules together: they are many.
            Some((last, frames)) if *last == kind => Vec::extend(frames, frame),
            Some(_) | None => found.push((kind, frame)),
        }
    }
    let found: Vec<_> = found
        .iter()
        .map(|(kind, frames)| (*kind, digest(frames)))
        .collect();
    assert_eq!(
        found,
        REPLIES.map(|(kind, digest)| (kind, digest.to_owned()))
    );
}

const REQUESTS: [(&str, &str); 7] = [
    ("status", "6b2454ddef9149ac"),
    ("sign-proposal", "4ed66fcf0057c87c"),
    ("approve", "40f7ed536dc8b37d"),
    ("sign-peg-out", "b584a74e8b8f2db4"),
    ("bitcoin-headers", "cdd42803f0f43a7d"),
    ("challenge", "c0b27b712674ebd4"),
    ("statement", "f45c27b558c5a0b1"),
];
const REPLIES: [(&str, &str); 12] = [
    ("status", "7329508ee513ffe9"),
    ("signature", "23329644cc797b4a"),
    ("shares", "dd22a7abdfc9d7b2"),
    ("bitcoin", "ad6fa579a198ab66"),
    ("refused", "d5af0a8cd8ef06cb"),
    ("error-version", "ac98f7ba511b7f58"),
    ("error-malformed", "26fe028804546260"),
    ("error-forbidden", "cc0dd2a0fe6c0f43"),
    ("error-unsupported", "3bd69b9c1f0d70b5"),
    ("error-internal", "dc45091edc1b867c"),
    ("challenge", "c1bf994281b1ef33"),
    ("stated", "65c84086116f9712"),
];

#[test]
fn a7_cut_off_frames_and_bytes_left_over_are_no_messages() {
    fn check<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(message: &T) {
        let body = postcard::to_allocvec(message).unwrap();
        for length in 0..body.len() {
            assert_eq!(
                decode_frame::<T>(&body[..length]),
                Err(FrameError::Malformed("not the encoding of one"))
            );
        }
        let longer = [&body[..], &[0]].concat();
        assert_eq!(
            decode_frame::<T>(&longer),
            Err(FrameError::Malformed("bytes after the message"))
        );
    }
    requests()
        .into_iter()
        .map(envelope)
        .for_each(|request| check(&request));
    replies().iter().for_each(check);
}

/// Two byte strings are two messages, so that nobody makes another request of one by writing a number at greater length.
#[test]
fn numbers_written_at_greater_length_are_no_message() {
    let status = envelope(Request::Status);
    assert_eq!(decode_frame(&[1, 0]), Ok(status));
    for longer in [&[0x81, 0, 0][..], &[1, 0x80, 0], &[1, 0x80, 0x80, 0]] {
        assert_eq!(
            decode_frame::<RequestEnvelope>(longer),
            Err(FrameError::Malformed("not the shortest encoding of one"))
        );
    }
}

#[test]
fn a7_frames_above_the_limit_are_neither_made_nor_read() {
    let fits = vec![0u8; MAX_FRAME_BYTES - 4];
    assert_eq!(encode_frame(&fits).unwrap().len(), 4 + MAX_FRAME_BYTES);
    let found = MAX_FRAME_BYTES + 1;
    let large = vec![0u8; MAX_FRAME_BYTES - 3];
    assert_eq!(encode_frame(&large), Err(FrameError::TooLong { found }));
    let error = decode_frame::<RequestEnvelope>(&vec![0; found]).unwrap_err();
    assert_eq!(error, FrameError::TooLong { found });
    assert_eq!(
        error.to_string(),
        "expected a frame of at most 8388608 bytes, found 8388609"
    );
}

/// A sequence longer than its bound is refused even where every item of it is there.
#[test]
fn a7_sequences_above_their_bounds_are_refused() {
    fn encoded<T: Serialize>(kind: u8, items: &[T]) -> Vec<u8> {
        let items = postcard::to_allocvec(items).unwrap();
        [&[PROTOCOL_VERSION as u8, kind][..], &items].concat()
    }
    let headers = |count| vec![BitcoinHeaderBytes::new([1; 80]); count];
    let most = encoded(4, &headers(MAX_BITCOIN_HEADERS));
    let decoded = decode_frame::<RequestEnvelope>(&most).unwrap();
    assert_eq!(
        decoded.request,
        Request::BitcoinHeaders(bounded(headers(MAX_BITCOIN_HEADERS)))
    );
    let malformed = Err(FrameError::Malformed("not the encoding of one"));
    let more = encoded(4, &headers(MAX_BITCOIN_HEADERS + 1));
    assert_eq!(decode_frame::<RequestEnvelope>(&more), malformed);
    // A length of 2^63 with nothing behind it, and a variant that does not exist.
    let claim = [1, 4, 255, 255, 255, 255, 255, 255, 255, 255, 127];
    assert_eq!(decode_frame::<RequestEnvelope>(&claim), malformed);
    assert_eq!(decode_frame::<RequestEnvelope>(&[1, 7]), malformed);
    assert_eq!(decode_frame::<RequestEnvelope>(&[]), malformed);
}

proptest! {
    #[test]
    fn a7_no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _request = decode_frame::<RequestEnvelope>(&bytes);
        let _reply = decode_frame::<Reply>(&bytes);
    }

    /// Whatever a changed byte of a request decodes to, it is another message, which these very bytes encode.
    #[test]
    fn a7_changed_requests_are_other_requests(
        which in 0usize..7, place in any::<prop::sample::Index>(), flip in 1u8..=255,
    ) {
        let request = envelope(requests().remove(which));
        let mut body = postcard::to_allocvec(&request).unwrap();
        let place = place.index(body.len());
        body[place] ^= flip;
        if let Ok(changed) = decode_frame::<RequestEnvelope>(&body) {
            let again = postcard::to_allocvec(&changed).unwrap();
            prop_assert!(changed != request);
            prop_assert_eq!(again, body);
        }
    }
}
