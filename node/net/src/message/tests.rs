//! Tests of the parent module.

use hex::DisplayHex;

use super::*;

fn status() -> StatusMessage {
    StatusMessage {
        spec_digest: [1; 32],
        genesis_id: [2; 32],
        certified_height: 300,
        certified_id: [3; 32],
        final_height: 298,
        final_id: [4; 32],
        pow_final_height: 127,
        software: Software::try_from("alys-node/0.1.0").unwrap(),
    }
}

#[test]
fn encodings_are_golden() {
    let hex = |bytes: Vec<u8>| bytes.to_lower_hex_string();
    let repeat = |byte: &str| byte.repeat(32);
    let status_hex = [
        &repeat("01"),
        &repeat("02"),
        "ac02",
        &repeat("03"),
        "aa02",
        &repeat("04"),
        "7f",
        "0f",
        &b"alys-node/0.1.0".to_lower_hex_string(),
    ]
    .concat();
    let encode = |request: &Request| hex(postcard::to_allocvec(request).unwrap());
    assert_eq!(
        encode(&Request::Status(status())),
        format!("00{status_hex}")
    );
    assert_eq!(
        encode(&Request::BlocksByRange {
            start_height: 300,
            count: 128
        }),
        "01ac028001"
    );
    assert_eq!(
        encode(&Request::BlockById([5; 32])),
        format!("02{}", repeat("05"))
    );

    let encode = |response: &Response| hex(postcard::to_allocvec(response).unwrap());
    assert_eq!(
        encode(&Response::Status(status())),
        format!("00{status_hex}")
    );
    assert_eq!(
        encode(&Response::Blocks(vec![vec![9, 8], vec![]])),
        "010202090800"
    );
    assert_eq!(
        encode(&Response::Error(ErrorReply::RateLimited {
            retry_after_ms: 300
        })),
        "0200ac02"
    );
    assert_eq!(encode(&Response::Error(ErrorReply::Busy)), "0201");
    assert_eq!(encode(&Response::Error(ErrorReply::Invalid)), "0202");
    assert_eq!(encode(&Response::Error(ErrorReply::Internal)), "0203");
}

#[test]
fn responses_survive_a_round_trip() {
    for response in [
        Response::Status(status()),
        Response::Blocks(vec![vec![1; 1000], vec![], vec![2; 3]]),
        Response::Error(ErrorReply::Busy),
    ] {
        let bytes = postcard::to_allocvec(&response).unwrap();
        assert_eq!(postcard::from_bytes::<Response>(&bytes).unwrap(), response);
    }
}

#[test]
fn one_block_too_many_is_refused_while_decoding() {
    let allowed = Response::Blocks(vec![vec![]; 128]);
    let bytes = postcard::to_allocvec(&allowed).unwrap();
    assert_eq!(postcard::from_bytes::<Response>(&bytes).unwrap(), allowed);

    let bytes = postcard::to_allocvec(&Response::Blocks(vec![vec![]; 129])).unwrap();
    assert!(postcard::from_bytes::<Response>(&bytes).is_err());

    // Claims 2^32 - 1 blocks, holds none.
    assert!(postcard::from_bytes::<Response>(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
}

#[test]
fn blocks_within_limits_stops_at_bytes_and_at_count() {
    let megabyte = vec![0; 1024 * 1024];
    let Response::Blocks(blocks) = Response::blocks_within_limits(std::iter::repeat(megabyte))
    else {
        unreachable!("blocks_within_limits makes blocks");
    };
    assert_eq!(
        blocks.len(),
        15,
        "the sixteenth would not leave room for the framing"
    );
    let full = Response::Blocks(blocks);
    assert!(full.is_within_limits());
    assert!(postcard::to_allocvec(&full).unwrap().len() <= MAX_RESPONSE_BYTES);

    let Response::Blocks(blocks) = Response::blocks_within_limits(std::iter::repeat(vec![1]))
    else {
        unreachable!("blocks_within_limits makes blocks");
    };
    assert_eq!(blocks.len(), 128);
    assert!(!Response::Blocks(vec![vec![]; 129]).is_within_limits());
}

#[test]
fn software_is_bounded_and_printable() {
    assert!(Software::try_from("").is_err());
    assert!(Software::try_from("a".repeat(65).as_str()).is_err());
    assert!(Software::try_from("line\nbreak").is_err());
    assert!(Software::try_from("é").is_err());
    assert_eq!(
        Software::try_from("a".repeat(64).as_str())
            .unwrap()
            .as_str()
            .len(),
        64
    );
    let mut bytes = postcard::to_allocvec(&Request::Status(status())).unwrap();
    *bytes.last_mut().unwrap() = b'\n';
    assert!(postcard::from_bytes::<Request>(&bytes).is_err());
}

#[test]
fn range_requests_are_bounded() {
    assert!(
        !Request::BlocksByRange {
            start_height: 0,
            count: 0
        }
        .is_valid()
    );
    assert!(
        Request::BlocksByRange {
            start_height: u64::MAX,
            count: 128
        }
        .is_valid()
    );
    assert!(
        !Request::BlocksByRange {
            start_height: 0,
            count: 129
        }
        .is_valid()
    );
}
