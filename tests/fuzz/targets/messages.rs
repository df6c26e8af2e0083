//! Frames between nodes and signers: whatever decodes has one encoding.
#![no_main]

use alys_protocol::signer::{Reply, RequestEnvelope, decode_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = decode_frame::<RequestEnvelope>(bytes) {
        let again = postcard::to_allocvec(&request).unwrap();
        assert_eq!(decode_frame::<RequestEnvelope>(&again).unwrap(), request);
    }
    if let Ok(reply) = decode_frame::<Reply>(bytes) {
        let again = postcard::to_allocvec(&reply).unwrap();
        assert_eq!(decode_frame::<Reply>(&again).unwrap(), reply);
    }
});
