//! What survives `kill -9`, and what one machine must never do twice.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alys_protocol::bls::{BlsSignature, PublicKey};
use alys_protocol::rules::Rule;
use alys_protocol::units::BtcHeight;
use alys_signer::passphrase::Passphrase;
use alys_signer::seal;
use alys_signer_client::ClientError;
use std::time::Duration;
use support::fixtures::pegout::{Plan, request};
use support::{PASSPHRASE, Rig, command};

fn rule(result: Result<BlsSignature, ClientError>) -> Rule {
    match result {
        Err(ClientError::Refused(refusal)) => refusal.rule,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[tokio::test]
async fn a10_n2_a_vote_outlives_kill_9() {
    let mut rig = Rig::new();
    rig.honest.grow(2);
    let block = rig.honest.child_of(2, 1, |_| ());
    let rival = rig.honest.child_of(2, 1, |link| {
        link.header.bitcoin.height = BtcHeight::new(101);
    });
    let mut running = rig.start();
    let client = rig.client(&running, "node").await;
    let signature = client.approve(rig.honest.approve(&block)).await.unwrap();
    let key = PublicKey::from_bytes(&rig.card.bls).unwrap();
    let message = block.header.approval_message();
    assert_eq!(key.verify(&message, &signature), Ok(()));
    assert_eq!(
        rule(client.approve(rig.honest.approve(&rival)).await),
        Rule::SlotMonotonic
    );
    running.kill();
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    assert_eq!(
        rule(client.approve(rig.honest.approve(&rival)).await),
        Rule::SlotMonotonic
    );
    let again = client.approve(rig.honest.approve(&block)).await.unwrap();
    assert_eq!(again, signature);
    let status = client.status().await.unwrap();
    assert_eq!(status.last_slot, block.header.slot);
}

const ROUNDS: u64 = 8;

/// Kills the process at any moment of a decision: of two blocks of one slot at most one ever has a signature.
#[tokio::test]
async fn n2_kill_9_at_any_moment_never_lets_two_votes_out() {
    let mut rig = Rig::new();
    rig.honest.grow(1);
    let mut running = rig.start();
    let mut released = 0;
    for round in 0..ROUNDS {
        let block = rig.honest.child_of(1, 10 + round, |_| ());
        let rival = rig.honest.child_of(1, 10 + round, |link| {
            link.header.bitcoin.height = BtcHeight::new(101);
        });
        let client = rig.client(&running, "node").await;
        let first = {
            let asking = client.approve(rig.honest.approve(&block));
            if round == ROUNDS - 1 {
                let answer = asking.await;
                running.kill();
                answer
            } else {
                // Not waiting for anything: the moment of the kill is what varies.
                let killing = async {
                    tokio::time::sleep(Duration::from_millis(round * 2)).await;
                    running.kill();
                };
                tokio::join!(asking, killing).0
            }
        };
        running = rig.start();
        let client = rig.client(&running, "node").await;
        let second = client.approve(rig.honest.approve(&rival)).await;
        if first.is_ok() {
            released += 1;
            assert_eq!(rule(second), Rule::SlotMonotonic, "round {round}");
        } else if second.is_ok() {
            let late = client.approve(rig.honest.approve(&block)).await;
            assert_eq!(rule(late), Rule::SlotMonotonic, "round {round}");
        }
    }
    assert!(released > 0, "the last round waits for its signature");
    println!("{released} of {ROUNDS} signatures were out before the kill");
}

#[tokio::test]
async fn a8_peg_out_shares_are_the_same_after_kill_9() {
    let mut rig = Rig::new();
    let batch = request(&mut rig.honest, &Plan::simple(0, 1));
    let rival = {
        let mut other = Plan::simple(0, 2);
        other.rate = 6_000;
        rig.honest.links.truncate(1);
        request(&mut rig.honest, &other)
    };
    let mut running = rig.start();
    let client = rig.client(&running, "node").await;
    let shares = client.sign_peg_out(batch.clone()).await.unwrap();
    running.kill();
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    assert_eq!(client.sign_peg_out(batch).await.unwrap(), shares);
    let Err(ClientError::Refused(refusal)) = client.sign_peg_out(rival).await else {
        panic!("the burn would be paid twice");
    };
    assert_eq!(refusal.rule, Rule::BurnSequence);
}

#[tokio::test]
async fn n2_a_second_instance_is_refused() {
    let rig = Rig::new();
    let running = rig.start();
    let error = rig.try_start().err().expect("the second must not start");
    assert!(error.contains("in use by another signer"), "{error}");
    // A copy of the state does not help: the keys are locked, too.
    let copied = rig.path("copy.redb");
    std::fs::copy(rig.path("state.redb"), &copied).unwrap();
    let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
    support::write(
        &rig.path("signer.toml"),
        &text.replace("state.redb", "copy.redb"),
    );
    let error = rig.try_start().err().expect("the second must not start");
    assert!(error.contains("in use by another signer"), "{error}");
    // Nor does a copy of the keys with the same state.
    std::fs::copy(rig.path("keys.json"), rig.path("copy.json")).unwrap();
    support::write(
        &rig.path("signer.toml"),
        &text.replace("keys.json", "copy.json"),
    );
    let error = rig.try_start().err().expect("the second must not start");
    assert!(
        error.contains("state") && error.contains("in use by another signer"),
        "{error}"
    );
    support::write(&rig.path("signer.toml"), &text);
    drop(running);
    let _running = rig.start();
}

#[tokio::test]
async fn lost_state_is_never_replaced_by_an_empty_one() {
    let rig = Rig::new();
    std::fs::rename(rig.path("state.redb"), rig.path("moved.redb")).unwrap();
    let error = rig.try_start().err().expect("it must not start");
    assert!(error.contains("never replaced"), "{error}");
    // Nor by `init`, which keeps its hands off keys that are there.
    let output = command(&rig.path("signer.toml"), &["init"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("never overwritten"));
    assert!(!rig.path("state.redb").exists());
}

#[tokio::test]
async fn state_belongs_to_one_key_and_one_chain() {
    let rig = Rig::new();
    rig.start().stop();
    let text = std::fs::read_to_string(rig.path("chain.toml")).unwrap();
    support::write(
        &rig.path("chain.toml"),
        &text.replace("\"test\"", "\"other\""),
    );
    let error = rig.try_start().err().expect("it must not start");
    assert!(error.contains("chain spec with digest"), "{error}");
    support::write(&rig.path("chain.toml"), &text);
    let other = Rig::new();
    std::fs::copy(other.path("state.redb"), rig.path("state.redb")).unwrap();
    let error = rig.try_start().err().expect("it must not start");
    assert!(error.contains("BLS key"), "{error}");
}

#[tokio::test]
async fn a9_no_secret_in_arguments_environment_or_log() {
    let mut rig = Rig::new();
    rig.honest.grow(1);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let block = rig.honest.child_of(1, 1, |_| ());
    client.approve(rig.honest.approve(&block)).await.unwrap();
    let rival = rig.honest.child_of(1, 1, |link| {
        link.header.bitcoin.height = BtcHeight::new(101)
    });
    assert_eq!(
        rule(client.approve(rig.honest.approve(&rival)).await),
        Rule::SlotMonotonic
    );
    let keys = seal::open(
        &rig.path("keys.json"),
        &Passphrase::new(PASSPHRASE.to_owned()),
    )
    .unwrap();
    let secret = keys.to_secret_bytes();
    let mut secrets: Vec<Vec<u8>> = vec![PASSPHRASE.as_bytes().to_vec()];
    for scalar in secret.chunks(32) {
        let digits: String = scalar.iter().map(|byte| format!("{byte:02x}")).collect();
        secrets.push(digits.clone().into_bytes());
        secrets.push(digits.to_uppercase().into_bytes());
        secrets.push(scalar.to_vec());
        secrets.push(format!("{scalar:?}").into_bytes());
    }
    let process = std::path::PathBuf::from(format!("/proc/{}", running.pid()));
    let log = running.log();
    for (what, bytes) in [
        ("log", log.clone().into_bytes()),
        ("cmdline", std::fs::read(process.join("cmdline")).unwrap()),
        ("environ", std::fs::read(process.join("environ")).unwrap()),
        ("state", std::fs::read(rig.path("state.redb")).unwrap()),
        ("key file", std::fs::read(rig.path("keys.json")).unwrap()),
    ] {
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "a secret is in the {what}");
        }
    }
    // Every decision is in the log, with the rule that decided.
    let decisions: Vec<serde_json::Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|entry: &serde_json::Value| entry["operation"] == "approve")
        .collect();
    assert_eq!(decisions.len(), 2, "{log}");
    assert_eq!(decisions[0]["decision"], "yes");
    assert_eq!(decisions[1]["decision"], "no");
    assert_eq!(decisions[1]["rule"], "slot-monotonic");
}

#[tokio::test]
async fn memory_is_not_dumped_and_locked_where_allowed() {
    let rig = Rig::new();
    let running = rig.start();
    let process = std::path::PathBuf::from(format!("/proc/{}", running.pid()));
    let limits = std::fs::read_to_string(process.join("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"]);
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let locked = status
        .lines()
        .any(|line| line.starts_with("VmLck:") && !line.split_whitespace().any(|word| word == "0"));
    let backend = rig
        .client(&running, "auditor")
        .await
        .status()
        .await
        .unwrap()
        .backend;
    assert_eq!(locked, backend.contains("in locked memory"), "{backend}");
    assert!(locked || running.log().contains("memory is not locked"));
}

#[tokio::test]
async fn a_wrong_passphrase_opens_nothing() {
    let rig = Rig::new();
    let text = std::fs::read_to_string(rig.path("keys.json")).unwrap();
    let salt = text.lines().find(|line| line.contains("\"salt\"")).unwrap();
    // Another salt is as good as another passphrase.
    let (head, tail) = salt.split_at(salt.len() - 4);
    let digit = if tail.starts_with('0') { "1" } else { "0" };
    let changed = text.replace(salt, &format!("{head}{digit}{}", &tail[1..]));
    assert_ne!(changed, text);
    support::write(&rig.path("keys.json"), &changed);
    let error = rig.try_start().err().expect("it must not start");
    assert!(error.contains("does not open it"), "{error}");
}

#[tokio::test]
async fn card_and_status_tell_the_public_side() {
    let rig = Rig::new();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_alys-signer"))
        .arg("card")
        .env("ALYS_SIGNER_CONFIG", rig.path("signer.toml"))
        .env("ALYS_SIGNER_LIMITS__CONNECTIONS", "7")
        .output()
        .unwrap();
    let card: alys_signer::keys::MemberCard = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(card, rig.card);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_alys-signer"))
        .arg("card")
        .env("ALYS_SIGNER_CONFIG", rig.path("signer.toml"))
        .env("ALYS_SIGNER_LIMITS__CONECTIONS", "7")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("conections"));
    let running = rig.start();
    support::write(
        &rig.path("client.toml"),
        &format!(
            "address = '{}'\nserver_ca = 'signers.pem'\ncertificate = 'auditor.pem'\nkey = 'auditor.key'\n",
            running.address
        ),
    );
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_alys-signer"))
        .args(["status", "--client"])
        .arg(rig.path("client.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let status: alys_protocol::signer::SignerStatus =
        serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status.bls, card.bls);
}
