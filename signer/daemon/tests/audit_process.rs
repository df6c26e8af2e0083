//! The audit log of a signer process: what survives `kill -9`, and the commands.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/log.rs"]
mod log;
mod support;

use alys_protocol::rules::Rule;
use alys_signer::audit::entry::{Event, Verdict};
use alys_signer::audit::replay::replay;
use alys_signer::audit::verify::{Expectations, verify};
use alys_signer::audit::{Archive, open_state};
use alys_signer_client::ClientError;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use support::fixtures::pegout::{Plan, request};
use support::{Rig, Running};

fn audit(arguments: &[&str], path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_alys-signer"))
        .arg("audit")
        .args(arguments)
        .arg(path)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Intents of the yes entries.
fn signed(archive: &Archive) -> BTreeSet<alys_protocol::bytes::Digest> {
    log::entries(archive)
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Decided(decided) => match decided.verdict {
                Verdict::Signed { intent } => Some(intent),
                Verdict::Repeated { .. } | Verdict::Refused { .. } | Verdict::Accepted => None,
            },
            Event::Standing(_)
            | Event::Counted(_)
            | Event::Stated(_)
            | Event::Approved(_)
            | Event::Raised(_) => None,
        })
        .collect()
}

const ROUNDS: u64 = 8;

#[tokio::test]
async fn no_signature_without_its_entry_whenever_it_is_killed() {
    let mut rig = Rig::new();
    rig.honest.grow(1);
    let mut given = Vec::new();
    let mut refused = 0;
    for round in 0..ROUNDS {
        let mut running = rig.start();
        let client = rig.client(&running, "node").await;
        for vote in 0..4 {
            let block = rig.honest.child_of(1, 10 + 4 * round + vote, |_| ());
            let asking = client.approve(rig.honest.approve(&block));
            let answer = if vote == 3 {
                // Not waiting for anything: the moment of the kill is what varies.
                let killing = async {
                    tokio::time::sleep(Duration::from_millis(round * 2)).await;
                    running.kill();
                };
                tokio::join!(asking, killing).0
            } else {
                asking.await
            };
            if answer.is_ok() {
                given.push(log::intent(&block.header.approval_message()));
            }
            // A refusal between: committed without fsync, it must not break the chain.
            if vote < 3 {
                let old = rig.honest.child_of(1, 2, |_| ());
                match client.approve(rig.honest.approve(&old)).await {
                    Err(ClientError::Refused(refusal)) => {
                        assert_eq!(refusal.rule, Rule::SlotMonotonic);
                        refused += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        running.kill();
        let archive = open_state(&rig.path("state.redb")).unwrap();
        let report = verify(&archive, &Expectations::default()).unwrap();
        let entries = signed(&archive);
        for intent in &given {
            assert!(entries.contains(intent), "round {round}: {report:?}");
        }
        assert!(replay(&archive).unwrap().is_complete());
    }
    assert!(given.len() >= 3 * usize::try_from(ROUNDS).unwrap());
    println!(
        "{} signatures, {refused} refusals, {ROUNDS} kills",
        given.len()
    );
}

async fn session(rig: &mut Rig) -> Running {
    rig.honest.grow(1);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    for slots in 10..14 {
        let block = rig.honest.child_of(1, slots, |_| ());
        client.approve(rig.honest.approve(&block)).await.unwrap();
    }
    let old = rig.honest.child_of(1, 2, |_| ());
    assert!(client.approve(rig.honest.approve(&old)).await.is_err());
    let batch = request(&mut rig.honest, &Plan::simple(0, 1));
    client.sign_peg_out(batch).await.unwrap();
    running
}

#[tokio::test]
async fn an_auditor_takes_the_log_away() {
    let mut rig = Rig::new();
    let running = session(&mut rig).await;
    let state = rig.path("state.redb");
    // While it runs only its files can be read, and the commands say where they are.
    let output = audit(&["verify", "--state"], &state);
    assert!(!output.status.success());
    assert!(said(&output).contains("state.redb.audit"), "{output:?}");
    assert!(running.stop());
    let key = audit(&["key", "--state"], &state);
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    assert_eq!(key.len(), 64);
    let report = json(&audit(&["verify", "--key", &key, "--state"], &state));
    assert_eq!(report["signed"], 5);
    assert_eq!(report["refused"], 1);
    assert_eq!(report["signed_up_to"], report["end"]);
    assert_eq!(report["key"], key.as_str());
    let file = rig.path("log.audit");
    let exported = Command::new(env!("CARGO_BIN_EXE_alys-signer"))
        .args(["audit", "export", "--state"])
        .arg(&state)
        .arg("--out")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(json(&exported), report);
    // From here on the file alone.
    assert_eq!(json(&audit(&["verify"], &file)), report);
    let known = format!("{}:{}", report["end"], report["head"].as_str().unwrap());
    json(&audit(&["verify", "--includes", &known], &file));
    let replayed = json(&audit(&["replay"], &file));
    assert_eq!(replayed["identical"], 6);
    let shown = audit(&["show", "--decision", "no"], &file);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.contains("by rule slot-monotonic"), "{shown}");
    let shown = audit(&["show", "--json", "--operation", "sign-peg-out"], &file);
    let line: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let decided = &line["event"]["decided"];
    assert_eq!(decided["operation"], "sign-peg-out");
    assert_eq!(decided["role"], "node");
    assert!(decided["verdict"]["signed"]["intent"].is_string(), "{line}");
    for arguments in [["show", "--rule", "slot"], ["show", "--operation", "sign"]] {
        assert!(said(&audit(&arguments, &file)).contains("expected one of"));
    }
    // Another key, and a changed byte.
    let error = audit(&["verify", "--key", &"00".repeat(32)], &file);
    assert!(said(&error).contains("audit key"), "{error:?}");
    let mut bytes = std::fs::read(&file).unwrap();
    let place = bytes
        .windows(14)
        .position(|window| window == b"slot-monotonic")
        .unwrap();
    bytes[place + 20] ^= 1;
    log::write(&file, &bytes);
    for command in ["verify", "replay"] {
        let error = audit(&[command], &file);
        assert!(!error.status.success());
        assert!(said(&error).contains("broken"), "{error:?}");
    }
}

#[tokio::test]
async fn what_the_transport_turns_away_is_counted() {
    let rig = Rig::with_limits("requests_per_second = 1\nrequest_burst = 3");
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let mut dropped = 0;
    for _request in 0..8 {
        dropped += u64::from(client.status().await.is_err());
    }
    assert!(dropped >= 4);
    drop(client);
    assert!(running.stop());
    let archive = open_state(&rig.path("state.redb")).unwrap();
    let entries = log::entries(&archive);
    let counted: u64 = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Counted(counted) => Some(counted),
            Event::Standing(_)
            | Event::Decided(_)
            | Event::Stated(_)
            | Event::Approved(_)
            | Event::Raised(_) => None,
        })
        .flat_map(|counted| &counted.turned_away)
        .map(|row| row.too_many)
        .sum();
    assert!(counted >= dropped, "{counted} of {dropped}");
    assert_eq!(entries.len(), 3, "one entry for all: {entries:#?}");
}
