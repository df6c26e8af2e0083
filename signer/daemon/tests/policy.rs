//! A signer serves under a policy that its officers signed, under the newest one, and under no other.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alys_protocol::units::Sats;
use alys_signer_core::Policy;
use std::path::Path;
use std::process::Command;
use support::{Officers, Rig, write};

fn policy(rig: &Rig) -> Policy {
    Policy::of_chain(&rig.honest.chain)
}

fn starts(rig: &Rig) -> Result<(), String> {
    rig.try_start().map(|running| assert!(running.stop()))
}

fn refused(rig: &Rig, words: &str) {
    let error = starts(rig).unwrap_err();
    assert!(error.contains(words), "{words}: {error}");
}

#[test]
fn a_policy_without_enough_signatures_is_not_served_under() {
    let rig = Rig::new();
    std::fs::remove_file(rig.path("policy.toml.1.minisig")).unwrap();
    refused(
        &rig,
        "rule quorum: expected signatures of 2 of 3 officers, found 1",
    );
    let text = std::fs::read_to_string(rig.path("policy.toml")).unwrap();
    rig.officers.sign(rig.directory.path(), 2, &text);
    starts(&rig).unwrap();
    // Nobody edits a signed policy.
    write(
        &rig.path("policy.toml"),
        &text.replace("hold_blocks = 0", "hold_blocks = 1"),
    );
    refused(&rig, "does not verify");
    std::fs::remove_file(rig.path("policy.toml")).unwrap();
    refused(&rig, "policy.toml");
}

#[test]
fn an_older_policy_is_refused_for_good() {
    let rig = Rig::new();
    let folder = rig.directory.path();
    rig.officers.publish(folder, 5, &policy(&rig));
    starts(&rig).unwrap();
    starts(&rig).unwrap();
    rig.officers.publish(folder, 4, &policy(&rig));
    refused(
        &rig,
        "rule iteration: expected an iteration of at least 5, found 4",
    );
    let other = Policy {
        hold_blocks: 9,
        ..policy(&rig)
    };
    rig.officers.publish(folder, 5, &other);
    refused(&rig, "rule iteration");
    rig.officers.publish(folder, 6, &other);
    starts(&rig).unwrap();
}

#[test]
fn a_policy_that_does_not_suit_the_chain_shuts_nothing_out() {
    let rig = Rig::new();
    let folder = rig.directory.path();
    let senseless = Policy {
        cap_single_sats: Sats::new(1),
        ..policy(&rig)
    };
    rig.officers.publish(folder, 9, &senseless);
    refused(
        &rig,
        "cap_single_sats: expected at least 100000000, found 1",
    );
    rig.officers.publish(folder, 2, &policy(&rig));
    starts(&rig).unwrap();
}

#[test]
fn the_first_officers_are_the_only_ones() {
    let rig = Rig::new();
    starts(&rig).unwrap();
    let others = Officers::new();
    let path = rig.path("signer.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    write(
        &path,
        &text.replace(&rig.officers.config(), &others.config()),
    );
    others.publish(rig.directory.path(), 2, &policy(&rig));
    refused(&rig, "expected officers with digest");
}

fn tool(rig: &Rig, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_alys-signer"))
        .arg("policy")
        .args(arguments)
        .current_dir(rig.directory.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

#[test]
fn check_explain_and_diff_on_the_command_line() {
    let rig = Rig::new();
    let check = ["check", "policy.toml", "--config", "signer.toml"];
    let found: serde_json::Value = serde_json::from_str(&tool(&rig, &check).unwrap()).unwrap();
    assert_eq!(found["signed"], 2);
    assert_eq!(found["threshold"], 2);
    assert_eq!(found["officers"], 3);
    assert_eq!(found["iteration"], 1);
    let alone: serde_json::Value = serde_json::from_str(&tool(&rig, &check[..2]).unwrap()).unwrap();
    assert_eq!(alone["signed"], serde_json::Value::Null);
    assert_eq!(alone["digest"], found["digest"]);

    let text = tool(&rig, &["explain", "policy.toml", "--config", "signer.toml"]).unwrap();
    assert!(
        text.contains("If all 4 members have this policy and 3 sign each batch"),
        "{text}"
    );

    let old = std::fs::read_to_string(rig.path("policy.toml")).unwrap();
    let new = old
        .replace("iteration = 1", "iteration = 2")
        .replace("hold_blocks = 0", "hold_blocks = 5");
    write(&rig.path("new.toml"), &new);
    let changes = tool(&rig, &["diff", "policy.toml", "new.toml"]).unwrap();
    assert_eq!(
        changes,
        "iteration: 1 -> 2\nhold_blocks: 0 -> 5 (tighter)\n"
    );

    std::fs::remove_file(rig.path("policy.toml.0.minisig")).unwrap();
    assert!(tool(&rig, &check).unwrap_err().contains("rule quorum"));
    assert!(
        tool(&rig, &["check", "none.toml"])
            .unwrap_err()
            .contains("none.toml")
    );
    assert!(
        !Path::new(&rig.path("address")).exists(),
        "nothing was started"
    );
}
