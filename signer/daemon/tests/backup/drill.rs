//! Drills: by whom a backup opens, beside the running signer, and nothing is written.

use super::support::Rig;
use super::{NAMES, Officers, json, vote};
use alys_backup::Recipient;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A drill beside a running signer; what it prints, and what the recipient was.
struct Drill {
    output: Output,
    heard: String,
}

fn drill(rig: &Rig, backup: &str, shares: impl FnOnce(&Recipient) -> Vec<String>) -> Drill {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alys-signer"))
        .args(["backup", "drill", "--backup"])
        .arg(rig.path(backup))
        .arg("--chain-spec")
        .arg(rig.path("chain.toml"))
        .current_dir(rig.path("drill"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut heard = String::new();
    let to = loop {
        let mut line = String::new();
        if stderr.read_line(&mut line).unwrap() == 0 {
            break None;
        }
        heard.push_str(&line);
        let mut words = line.split(|character: char| !character.is_ascii_alphanumeric());
        if let Some(to) = words.find(|word| word.starts_with("age1")) {
            break Some(to.parse::<Recipient>().unwrap());
        }
    };
    if let Some(to) = to {
        let mut names = shares(&to).join("\n");
        names.push_str("\n\n");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(names.as_bytes())
            .unwrap();
    }
    std::io::Read::read_to_string(&mut stderr, &mut heard).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!heard.contains("panicked"), "{heard}");
    Drill { output, heard }
}

/// Everything in a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[tokio::test]
async fn a_drill_proves_a_backup_beside_the_running_signer() {
    let mut rig = Rig::new();
    rig.honest.grow(1);
    let officers = Officers::new();
    let record = json(&officers.back_up(&rig, "backup"));
    json(&officers.back_up(&rig, "other"));
    std::fs::create_dir(rig.path("drill")).unwrap();
    let before = contents(&rig.path("backup"));
    let running = rig.start();

    let by = |officers: &Officers, places: &[usize], to: &Recipient| -> Vec<String> {
        let share = |place: &usize| officers.hand_over(&rig, "backup", *place, to);
        places.iter().map(share).collect()
    };
    let all = drill(&rig, "backup", |to| by(&officers, &[2, 0, 1], to));
    let proof = json(&all.output);
    assert_eq!(proof["act"], "drilled");
    assert_eq!(proof["backup"], record["backup"]);
    let card = serde_json::to_value(&rig.card).unwrap();
    assert_eq!(proof["bls"], card["bls"]);
    assert_eq!(proof["schnorr"], card["schnorr"]);
    assert_eq!(proof["opened_by"], serde_json::json!(NAMES));
    assert!(proof["time"].as_u64() >= record["time"].as_u64());

    let some = drill(&rig, "backup", |to| {
        let other = officers.hand_over(&rig, "other", 1, to);
        let shares = by(&officers, &[0, 1], to);
        vec![
            shares[0].clone(),
            other,
            "/nowhere".into(),
            shares[0].clone(),
            shares[1].clone(),
        ]
    });
    assert_eq!(
        json(&some.output)["opened_by"],
        serde_json::json!(["ann", "ben"])
    );
    for words in [
        "the share of officer ann\n",
        "expected a share of backup",
        "not counted: /nowhere",
        "officer ann was given twice",
    ] {
        assert!(
            some.heard.contains(words),
            "expected {words:?} in {}",
            some.heard
        );
    }

    let few = drill(&rig, "backup", |to| by(&officers, &[1], to));
    assert!(!few.output.status.success() && few.output.stdout.is_empty());
    assert!(
        few.heard.contains("expected shares of 2 officers, found 1"),
        "{}",
        few.heard
    );

    // Shares of an earlier drill are of no use in a later one.
    let mut earlier = Vec::new();
    drill(&rig, "backup", |to| {
        earlier = by(&officers, &[0, 1], to);
        Vec::new()
    });
    let late = drill(&rig, "backup", |_to| earlier);
    assert!(!late.output.status.success());
    assert!(
        late.heard.contains("this age identity opens"),
        "{}",
        late.heard
    );

    assert_eq!(contents(&rig.path("backup")), before);
    assert!(contents(&rig.path("drill")).is_empty());
    let node = rig.client(&running, "node").await;
    node.approve(vote(&rig, 20)).await.unwrap();
    drop(node);
    assert!(running.stop());
}
