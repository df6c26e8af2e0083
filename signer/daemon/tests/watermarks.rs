//! Watermarks: exported, imported, never lowered, in the log.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/log.rs"]
mod log;
mod support;

use alys_protocol::rules::Rule;
use alys_protocol::signer::{Reply, Request};
use alys_signer::audit::entry::Event;
use alys_signer::audit::open_state;
use alys_signer::audit::replay::replay;
use alys_signer::audit::verify::{Expectations, verify};
use serde_json::Value;
use std::process::Output;
use support::Rig;
use support::fixtures::pegout::{Plan, request};

fn run(rig: &Rig, arguments: &[&str]) -> Output {
    support::bare_command(&rig.path("signer.toml"), arguments)
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn write(rig: &Rig, marks: &Value) -> String {
    let path = rig.path("marks.json");
    support::write(&path, &marks.to_string());
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn marks_are_exported_and_imported_and_never_lowered() {
    let mut rig = Rig::new();
    rig.honest.grow(1);
    let old = std::fs::read(rig.path("state.redb")).unwrap();
    let block = |rig: &Rig, slots| rig.honest.approve(&rig.honest.child_of(1, slots, |_| ()));
    let batch = {
        let running = rig.start();
        let exists = run(&rig, &["watermarks", "export"]);
        assert!(!exists.status.success(), "it runs");
        assert!(String::from_utf8_lossy(&exists.stderr).contains("in use"));
        let client = rig.client(&running, "node").await;
        client.approve(block(&rig, 20)).await.unwrap();
        let batch = request(&mut rig.honest, &Plan::simple(0, 1));
        let reply = client
            .request(Request::SignPegOut(Box::new(batch.clone())))
            .await;
        assert!(matches!(reply.unwrap(), Reply::Shares(_)));
        assert!(running.stop());
        batch
    };
    let marks = json(&run(&rig, &["watermarks", "export"]));
    assert_eq!(marks["format"], "alys-watermarks/1");
    assert_eq!(marks["last_slot"], support::fixtures::GENESIS_SLOT + 21);
    assert_eq!(
        (&marks["lock"], &marks["next_burn"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        json(&run(&rig, &["watermarks", "export"])),
        marks,
        "it changes nothing"
    );

    // The state from before, raised to the marks; its own counter, so that only the marks stand in the way.
    log::write(&rig.path("state.redb"), &old);
    std::fs::remove_dir_all(rig.path("state.redb.audit")).ok();
    support::write(&rig.path("counter"), FIRST);
    let path = write(&rig, &marks);
    assert_eq!(json(&run(&rig, &["watermarks", "import", &path])), marks);
    let mut lower = marks.clone();
    (lower["last_slot"], lower["lock"], lower["next_burn"]) = (5.into(), 0.into(), 0.into());
    let path = write(&rig, &lower);
    assert_eq!(
        json(&run(&rig, &["watermarks", "import", &path])),
        marks,
        "never lower"
    );

    for (field, value, says) in [
        ("chain_id", Value::from(7), "expected chain"),
        ("format", "alys-watermarks/2".into(), "alys-watermarks/1"),
        ("bls", format!("0x{}", "11".repeat(48)).into(), "of key"),
        ("last_slot", (-1).into(), "u64"),
        ("more", 1.into(), "unknown field"),
    ] {
        let mut other = marks.clone();
        other[field] = value;
        let path = write(&rig, &other);
        let refused = run(&rig, &["watermarks", "import", &path]);
        assert!(!refused.status.success(), "{field}");
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(error.contains(says), "{error}");
    }

    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let refused = |reply| match reply {
        Reply::Refused(refusal) => refusal.rule,
        other => panic!("{other:?}"),
    };
    for slots in [10, 20] {
        let vote = Request::Approve(Box::new(block(&rig, slots)));
        let reply = client.request(vote).await.unwrap();
        assert_eq!(refused(reply), Rule::SlotMonotonic);
    }
    let reply = client.request(Request::SignPegOut(Box::new(batch))).await;
    assert_eq!(refused(reply.unwrap()), Rule::BurnSequence);
    client.approve(block(&rig, 30)).await.unwrap();
    drop(client);
    assert!(running.stop());
    let archive = open_state(&rig.path("state.redb")).unwrap();
    verify(&archive, &Expectations::default()).unwrap();
    assert!(replay(&archive).unwrap().is_complete());
    let imports = log::entries(&archive).into_iter();
    let imports = imports.filter(|entry| matches!(entry.event, Event::Raised(_)));
    assert_eq!(imports.count(), 2);
}

/// A counter that was just made.
const FIRST: &str = "0 0x00000000000000000000000000000000\n";
