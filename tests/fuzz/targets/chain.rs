//! What a chain is made of: headers, bodies, certificates, histories, peg transactions.
#![no_main]

use alys_fuzz::fixtures::Honest;
use alys_protocol::block::{Proposal, SyncBlock};
use alys_protocol::body::Body;
use alys_protocol::certificate::{Approval, Certificate};
use alys_protocol::header::Header;
use alys_protocol::history::{HistoryProof, Peaks};
use alys_protocol::peg::decode_stripped;
use alys_protocol::units::SideHeight;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static HONEST: LazyLock<Honest> = LazyLock::new(Honest::of_four);

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let chain = &HONEST.chain;
    match kind % 8 {
        0 => {
            if let Ok(header) = Header::decode(bytes) {
                assert_eq!(header.encode(), bytes, "one encoding");
            }
        }
        1 => {
            if let Ok(body) = postcard::from_bytes::<Body>(bytes) {
                let _ = body.root(chain.id());
            }
        }
        2 => {
            if let Ok(certificate) = postcard::from_bytes::<Certificate>(bytes) {
                let block = certificate.block;
                // Nobody but the fixtures' keys can make one, and the corpus has none of them.
                let _ = certificate.verify(chain.id(), chain.roster(), block);
            }
        }
        3 => {
            if let Ok(peaks) = postcard::from_bytes::<Peaks>(bytes) {
                let _ = peaks.root(chain.id());
                let _ = peaks.append(chain.id(), chain.genesis_id());
            }
        }
        4 => {
            if let Ok(proof) = postcard::from_bytes::<HistoryProof>(bytes) {
                let (of, height) = (SideHeight::new(1000), SideHeight::new(7));
                let root = chain.genesis().history_root;
                let id = chain.genesis_id();
                assert!(proof.verify(chain.id(), root, of, height, id).is_err());
            }
        }
        5 => {
            if let Ok(transaction) = decode_stripped(bytes) {
                assert!(transaction.base_size() <= bytes.len());
            }
        }
        6 => {
            let _ = postcard::from_bytes::<Approval>(bytes);
            let _ = postcard::from_bytes::<Proposal>(bytes);
        }
        _seven => {
            let _ = postcard::from_bytes::<SyncBlock>(bytes);
        }
    }
});
