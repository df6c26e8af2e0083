//! Merged mining: whatever decodes has one encoding, and what verifies verifies for one bundle only.
#![no_main]

use alys_protocol::auxpow::AuxPow;
use alys_protocol::bytes::BundleHash;
use alys_protocol::spec::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(proof) = AuxPow::decode(bytes) else {
        return;
    };
    assert_eq!(
        AuxPow::decode(&proof.encode()).unwrap().encode(),
        proof.encode()
    );
    let any = Target::new([0xff; 32]);
    let verifies = [[1; 32], [2; 32]]
        .map(BundleHash::new)
        .map(|bundle| proof.verify(0x2a, &bundle, &any).is_ok());
    assert_ne!(verifies, [true, true], "one proof for two bundles");
});
