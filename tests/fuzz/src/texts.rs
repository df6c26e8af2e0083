//! Files that people write: chain specs, policies, and officers' statements.

use crate::fixtures::Honest;
use crate::reached::Reached;
use alys_protocol::spec::{Chain, ChainSpec};
use alys_signer_core::Policy;
use alys_signer_core::admin::statement::Statement;
use alys_signer_core::policy::PolicyFile;
use std::sync::LazyLock;

/// Accepting paths that the corpus must reach.
pub const PATHS: &[&str] = &["spec", "chain", "policy file", "policy", "statement"];

static CHAIN: LazyLock<Chain> = LazyLock::new(|| Honest::of_four().chain);

pub fn run(bytes: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let Ok(text) = std::str::from_utf8(bytes) else {
        return reached;
    };
    if let Ok(spec) = toml::from_str::<ChainSpec>(text) {
        let written = toml::to_string(&spec).unwrap();
        assert_eq!(toml::from_str::<ChainSpec>(&written).unwrap(), spec);
        reached.note("spec");
        reached.note_if(Chain::new(spec).is_ok(), "chain");
    }
    if let Ok(file) = toml::from_str::<PolicyFile>(text) {
        let written = toml::to_string(&file).unwrap();
        assert_eq!(toml::from_str::<PolicyFile>(&written).unwrap(), file);
        reached.note("policy file");
        if file.policy.check(&CHAIN).is_ok() {
            let template = Policy::of_chain(&CHAIN);
            assert!(file.policy.cap_single_sats >= CHAIN.spec().pegout.max_sats);
            assert!(file.policy.deposit_confirmations >= template.deposit_confirmations);
            reached.note("policy");
        }
    }
    if let Ok(statement) = toml::from_str::<Statement>(text) {
        let written = toml::to_string(&statement).unwrap();
        assert_eq!(toml::from_str::<Statement>(&written).unwrap(), statement);
        reached.note("statement");
    }
    reached
}
