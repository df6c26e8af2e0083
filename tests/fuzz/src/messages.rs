//! Frames between nodes and signers: whatever decodes has one encoding, which is the bytes that it was decoded from.

use crate::reached::Reached;
use alys_protocol::signer::{Reply, Request, RequestEnvelope, decode_frame, encode_frame};

/// Accepting paths that the corpus must reach.
pub const PATHS: &[&str] = &[
    "status",
    "sign-proposal",
    "approve",
    "approve with a deposit",
    "sign-peg-out",
    "bitcoin-headers",
    "challenge",
    "statement",
    "reply status",
    "reply signature",
    "reply shares",
    "reply bitcoin",
    "reply refused",
    "reply error",
    "reply challenge",
    "reply stated",
];

pub fn run(bytes: &[u8]) -> Reached {
    let mut reached = Reached::default();
    if let Ok(envelope) = decode_frame::<RequestEnvelope>(bytes) {
        one_encoding(&envelope, bytes);
        reached.note(match &envelope.request {
            Request::Status => "status",
            Request::SignProposal(_) => "sign-proposal",
            Request::Approve(request) if request.deposits.is_empty() => "approve",
            Request::Approve(_) => "approve with a deposit",
            Request::SignPegOut(_) => "sign-peg-out",
            Request::BitcoinHeaders(_) => "bitcoin-headers",
            Request::Challenge => "challenge",
            Request::Statement(_) => "statement",
        });
    }
    if let Ok(reply) = decode_frame::<Reply>(bytes) {
        one_encoding(&reply, bytes);
        reached.note(match &reply {
            Reply::Status(_) => "reply status",
            Reply::Signature(_) => "reply signature",
            Reply::Shares(_) => "reply shares",
            Reply::Bitcoin(_) => "reply bitcoin",
            Reply::Refused(_) => "reply refused",
            Reply::Error(_) => "reply error",
            Reply::Challenge(_) => "reply challenge",
            Reply::Stated(_) => "reply stated",
        });
    }
    reached
}

fn one_encoding<T: serde::Serialize>(message: &T, bytes: &[u8]) {
    let frame = encode_frame(message).unwrap();
    assert!(frame[4..] == *bytes, "another encoding of the same message");
}
