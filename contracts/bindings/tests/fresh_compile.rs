//! The committed artefacts are what the Solidity sources compile to.

use std::path::Path;
use std::process::Command;

/// Needs Foundry in `contracts/node_modules`, and fails where it is missing: a check that skips itself is none.
#[test]
fn artefacts_are_what_the_sources_compile_to() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../generate.sh");
    let output = Command::new(script).arg("--check").output().unwrap();
    assert!(
        output.status.success(),
        "generate.sh --check failed; `make contracts` installs what it needs:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
