//! Execution: headers, receipts, and Merkle-Patricia proofs whose root fits their first node, so that the fuzzer gets
//! past the first hash.
#![no_main]

use alloy_primitives::keccak256;
use alys_fuzz::pieces;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{EvmAddress, ExecutionHash};
use alys_signer_core::proof::{ExecutionHeader, Receipt, account, receipt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 4 {
        0 => {
            let hash = ExecutionHash::new(keccak256(bytes).0);
            if let Ok(header) = ExecutionHeader::with_hash(hash, bytes) {
                assert_eq!(alloy_rlp::encode(&header), bytes, "one encoding");
            }
        }
        1 => {
            if let Ok(receipt) = Receipt::decode(bytes) {
                let logs = receipt.logs().count();
                for index in 0..logs.min(64) {
                    let log = receipt.log(u32::try_from(index).unwrap()).unwrap();
                    assert!(log.topics().count() <= 4);
                }
                assert!(receipt.log(u32::try_from(logs).unwrap()).is_err());
            }
        }
        other => {
            let nodes = pieces(bytes);
            let root = nodes
                .first()
                .map(|node| keccak256(node))
                .unwrap_or_default();
            let nodes: Vec<_> = nodes
                .iter()
                .take(65)
                .filter_map(|node| BoundedVec::new(node.to_vec()).ok())
                .collect();
            let Ok(proof) = BoundedVec::new(nodes) else {
                return;
            };
            if other == 2 {
                let _ = account(root, EvmAddress::new([7; 20]), &proof);
            } else {
                let _ = receipt(root, u32::from(*kind) / 4, &proof);
            }
        }
    }
});
