//! Files that people write: chain specs and policies.
#![no_main]

use alys_fuzz::fixtures::Honest;
use alys_protocol::spec::{Chain, ChainSpec};
use alys_signer_core::Policy;
use alys_signer_core::policy::PolicyFile;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static CHAIN: LazyLock<Chain> = LazyLock::new(|| Honest::of_four().chain);

fuzz_target!(|text: &str| {
    if let Ok(spec) = toml::from_str::<ChainSpec>(text) {
        let written = toml::to_string(&spec).unwrap();
        assert_eq!(toml::from_str::<ChainSpec>(&written).unwrap(), spec);
        let _ = Chain::new(spec);
    }
    if let Ok(file) = toml::from_str::<PolicyFile>(text) {
        let written = toml::to_string(&file).unwrap();
        assert_eq!(toml::from_str::<PolicyFile>(&written).unwrap(), file);
        if file.policy.check(&CHAIN).is_ok() {
            let template = Policy::of_chain(&CHAIN);
            assert!(file.policy.cap_single_sats >= CHAIN.spec().pegout.max_sats);
            assert!(file.policy.deposit_confirmations >= template.deposit_confirmations);
        }
    }
});
