//! What a chain is made of: headers, bodies, certificates, histories, peg transactions, and the messages of nodes.

use crate::fixtures::{Honest, MEMBERS};
use crate::reached::Reached;
use alys_protocol::block::{Proposal, SyncBlock};
use alys_protocol::body::Body;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::certificate::{Approval, Certificate};
use alys_protocol::header::Header;
use alys_protocol::history::{HistoryProof, Peaks};
use alys_protocol::peg::decode_stripped;
use alys_protocol::units::{MemberId, SideHeight};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::LazyLock;

/// Accepting paths that the corpus must reach.
pub const PATHS: &[&str] = &[
    "header",
    "body",
    "certificate",
    "certificate verified",
    "peaks",
    "history",
    "history verified",
    "transaction",
    "approval",
    "approval verified",
    "proposal",
    "sync block",
];

/// The chain that the corpus is from: height of its tip.
pub const GROWN: u64 = 9;

static HONEST: LazyLock<Honest> = LazyLock::new(|| {
    let mut honest = Honest::of_four();
    honest.grow(GROWN);
    honest
});

/// The first byte chooses what the rest is read as.
pub fn run(bytes: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let Some((kind, bytes)) = bytes.split_first() else {
        return reached;
    };
    let chain = &HONEST.chain;
    match kind % 9 {
        0 => {
            if let Ok(header) = Header::decode(bytes) {
                assert_eq!(header.encode(), bytes, "one encoding");
                reached.note("header");
            }
        }
        1 => {
            if let Some(body) = decoded::<Body>(bytes) {
                let _ = body.root(chain.id()).unwrap();
                reached.note("body");
            }
        }
        2 => {
            if let Some(certificate) = decoded::<Certificate>(bytes) {
                reached.note("certificate");
                let block = certificate.block;
                let holds = certificate
                    .verify(chain.id(), chain.roster(), block)
                    .is_ok();
                reached.note_if(holds, "certificate verified");
                assert!(
                    !holds
                        || others(&certificate).all(|other| {
                            other
                                .verify(chain.id(), chain.roster(), other.block)
                                .is_err()
                        })
                );
            }
        }
        3 => {
            if let Some(peaks) = decoded::<Peaks>(bytes) {
                let _ = peaks.root(chain.id());
                let _ = peaks.append(chain.id(), chain.genesis_id());
                reached.note("peaks");
            }
        }
        4 => {
            if let Some(proof) = decoded::<HistoryProof>(bytes) {
                reached.note("history");
                history(&proof, &mut reached);
            }
        }
        5 => {
            if let Ok(transaction) = decode_stripped(bytes) {
                assert!(transaction.base_size() <= bytes.len());
                reached.note("transaction");
            }
        }
        6 => {
            if let Some(approval) = decoded::<Approval>(bytes) {
                reached.note("approval");
                let holds = approval.verify(chain.id(), chain.roster()).is_ok();
                reached.note_if(holds, "approval verified");
                let next = MemberId::new((approval.member.get() + 1) % MEMBERS);
                let member = Approval {
                    member: next,
                    ..approval
                };
                let block = Approval {
                    block: chain.genesis_id(),
                    ..approval
                };
                let wrong = [member, block].map(|other| other.verify(chain.id(), chain.roster()));
                assert!(!holds || wrong.iter().all(Result::is_err));
            }
        }
        7 => reached.note_if(decoded::<Proposal>(bytes).is_some(), "proposal"),
        _eight => reached.note_if(decoded::<SyncBlock>(bytes).is_some(), "sync block"),
    }
    reached
}

/// As nodes read messages: postcard also reads numbers with more bytes than they need, so what is read is only never
/// shorter than what is written, and the same message.
fn decoded<T: Serialize + DeserializeOwned + PartialEq>(bytes: &[u8]) -> Option<T> {
    let (message, []) = postcard::take_from_bytes::<T>(bytes).ok()? else {
        return None;
    };
    let again = postcard::to_allocvec(&message).unwrap();
    assert!(again.len() <= bytes.len());
    assert!(
        again.len() < bytes.len() || again == bytes,
        "another encoding of the same length"
    );
    assert!(
        postcard::from_bytes::<T>(&again).as_ref() == Ok(&message),
        "another message"
    );
    Some(message)
}

/// The same signature for another block, and for one member more or less.
fn others(certificate: &Certificate) -> impl Iterator<Item = Certificate> {
    let block = Certificate {
        block: HONEST.chain.genesis_id(),
        ..certificate.clone()
    };
    let members = (0..MEMBERS).map(|member| Certificate {
        signers: BoundedVec::new(vec![certificate.signers[0] ^ (1 << member)]).unwrap(),
        ..certificate.clone()
    });
    std::iter::once(block).chain(members)
}

/// A proof holds for the one block at its place only.
fn history(proof: &HistoryProof, reached: &mut Reached) {
    let (chain, of) = (&HONEST.chain, &HONEST.links[GROWN as usize].header);
    for height in 0..GROWN {
        for (place, link) in HONEST.links.iter().enumerate() {
            let (at, id) = (SideHeight::new(height), link.header.id());
            let judged = proof.verify(chain.id(), of.history_root, of.height, at, id);
            assert!(
                judged.is_err() || place as u64 == height,
                "another block's place"
            );
            reached.note_if(judged.is_ok(), "history verified");
        }
    }
}
