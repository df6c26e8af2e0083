//! A member's machine burns down, and its signer comes back from a backup.

use crate::bench::{Bench, LIMIT, fast};
use alys_backup::Identity;
use alys_provision::config::{CHAIN_FILE, SIGNER_FILE};
use alys_tests::cluster::PASSPHRASE;
use alys_tests::process::{command, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

const LOST: usize = 3;
const NAMES: [&str; 3] = ["ann", "ben", "cat"];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `alys-signer` with the passphrase; what it prints.
async fn signer(arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--passphrase-fd", "0"]].concat();
    let printed = run("alys-signer", &arguments, PASSPHRASE.as_bytes()).await;
    serde_json::from_slice(&printed.unwrap()).unwrap()
}

/// An officer's part, on an offline machine: the share's file.
async fn hand_over(folder: &Path, backup: &Path, officer: &str, to: &str) -> PathBuf {
    let output = tempfile::Builder::new()
        .tempdir_in(folder)
        .unwrap()
        .keep()
        .join("share.age");
    let identity = folder.join(format!("{officer}.txt"));
    let arguments = ["officer", "share", "--backup", text(backup), "--to", to];
    let files = ["--identity", text(&identity), "--output", text(&output)];
    let arguments = [&arguments[..], &files].concat();
    run("alys-provision", &arguments, b"").await.unwrap();
    output
}

/// The drill, beside the running signer; its record.
async fn drill(folder: &Path, backup: &Path, chain: &Path) -> Value {
    let mut child = command("alys-signer")
        .unwrap()
        .args(["backup", "drill", "--backup", text(backup)])
        .args(["--chain-spec", text(chain)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let to = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        let mut words = line.split(|letter: char| !letter.is_ascii_alphanumeric());
        if let Some(to) = words.find(|word| word.starts_with("age1")) {
            break to.to_owned();
        }
    };
    let mut names = String::new();
    for officer in NAMES {
        let share = hand_over(folder, backup, officer, &to).await;
        names.push_str(&format!("{}\n", share.display()));
    }
    names.push('\n');
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(names.as_bytes()).await.unwrap();
    let mut said = String::new();
    let mut rest = lines.into_inner();
    rest.read_to_string(&mut said).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until one of a node's counters has grown.
async fn grows(bench: &mut Bench, index: usize, counter: &str) {
    let node = bench.node(index);
    let before = node.metric(counter).await.unwrap();
    let look = async || Ok((node.metric(counter).await? > before).then_some(()));
    bench.cluster.wait(counter, LIMIT, look).await.unwrap();
}

#[tokio::test]
async fn a_member_comes_back_from_its_backup() {
    let mut bench = Bench::start(fast()).await;
    bench.more_blocks(0, 2).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let home = bench.cluster.signer_dir(LOST).unwrap();
    let (config, backup) = (home.join(SIGNER_FILE), folder.join("backup"));

    // Officers make keys; the signer stands still while its backup is made.
    let mut recipients = Vec::new();
    for officer in NAMES {
        let (identity, file) = Identity::generate_with_file();
        fs::write(folder.join(format!("{officer}.txt")), file.as_bytes()).unwrap();
        recipients.push(format!(
            "--recipient={officer}={}",
            identity.recipients()[0]
        ));
    }
    bench.cluster.kill_signer(LOST).await.unwrap();
    let create = ["backup", "create", "--config", text(&config)];
    let how = ["--threshold", "2", "--output", text(&backup)];
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let made = signer(&[&create[..], &how, &recipients].concat()).await;
    bench.cluster.start_signer(LOST).await.unwrap();

    let proof = drill(folder, &backup, &home.join(CHAIN_FILE)).await;
    assert_eq!(proof["backup"], made["backup"]);
    assert_eq!(proof["opened_by"], serde_json::json!(NAMES));
    grows(&mut bench, LOST, "alys_approvals_total").await;

    // The machine is gone, and with it all that was signed since.
    bench.cluster.kill_signer(LOST).await.unwrap();
    for entry in fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let of_its_life = ["keys.sealed", "state.redb", "counter"];
        if !of_its_life.iter().any(|made| name.starts_with(made)) {
            continue;
        }
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    let begin = ["restore", "begin", "--config", text(&config)];
    let begun = run("alys-signer", &begin, b"").await.unwrap();
    let begun: Value = serde_json::from_slice(&begun).unwrap();
    let to = begun["recipient"].as_str().unwrap();
    let ann = hand_over(folder, &backup, "ann", to).await;
    let cat = hand_over(folder, &backup, "cat", to).await;
    let finish = ["restore", "finish", "--config", text(&config)];
    let from = ["--backup", text(&backup)];
    let shares = ["--share", text(&ann), "--share", text(&cat)];
    let restored = signer(&[&finish[..], &from, &shares].concat()).await;
    assert_eq!(restored["bls"], made["bls"]);

    bench.cluster.start_signer(LOST).await.unwrap();
    grows(&mut bench, LOST, "alys_approvals_refused_total").await;
    let head = bench.more_blocks(0, 1).await.head.height.get().to_string();
    let burns = ["--next-burn", "0", "--valid-slots", "60"];
    let fresh = [&["fresh", "--lock", &head][..], &burns].concat();
    bench.cluster.officers_say(LOST, &fresh, 2).await.unwrap();
    grows(&mut bench, LOST, "alys_approvals_total").await;

    // From now on it is needed: three of four vote.
    bench.cluster.kill_signer(2).await.unwrap();
    bench.more_blocks(0, 5).await;
    bench.cluster.start_signer(2).await.unwrap();
    bench.finish().await;
}
