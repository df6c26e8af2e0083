//! The backend `device`: a daemon, and a device in another process, with the real link between them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/simulation.rs"]
mod simulation;
mod support;

use support::PASSPHRASE;

use alys_protocol::bls::PublicKey;
use alys_protocol::rules::Rule;
use alys_protocol::units::BtcHeight;
use alys_signer::device::LogEntry;
use alys_signer_client::{ClientError, SignerClient};
use simulation::Powered;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use support::fixtures::pegout::{Plan, request};
use support::{Rig, plain_command, write};

#[test]
#[ignore = "the device's own process, which the other tests start"]
fn the_device_itself() {
    simulation::program();
}

/// A member whose keys are in the device: what was its signer is the device now, and a daemon without keys is in front.
fn rig() -> Rig {
    let rig = Rig::new();
    std::fs::rename(rig.path("signer.toml"), rig.path("software.toml")).unwrap();
    write(
        &rig.path("signer.toml"),
        "chain_spec = 'chain.toml'\nlisten = '127.0.0.1:0'\nlisten_file = 'address'\nlog = 'debug'\n\
         [tls]\ncertificate = 'signer.pem'\nkey = 'signer.key'\nclient_ca = 'clients.pem'\n\
         [device]\npath = 'line'\npaired = 'device.toml'\nmember = 0\nrequest_log = 'requests.log'\n\
         silence_timeout_ms = 60000\n",
    );
    write(&rig.path("open"), "");
    rig
}

/// Pairs as a person does, typing what the device shows, or something else.
fn pair(rig: &Rig, device: &mut Powered, change: impl FnOnce(String) -> String) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alys-signer"))
        .args(["device", "pair", "--path"])
        .arg(rig.path("line"))
        .arg("--out")
        .arg(rig.path("device.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let code = change(device.says("code"));
    writeln!(child.stdin.take().unwrap(), "{code}").unwrap();
    child.wait_with_output().unwrap()
}

fn paired(rig: &Rig) -> Powered {
    let mut device = Powered::on(rig.directory.path());
    let output = pair(rig, &mut device, |code| code);
    assert!(output.status.success(), "{output:?}");
    std::fs::remove_file(rig.path("open")).unwrap();
    device
}

fn rule<T: core::fmt::Debug>(result: Result<T, ClientError>) -> Rule {
    match result {
        Err(ClientError::Refused(refusal)) => refusal.rule,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn log(rig: &Rig) -> Vec<LogEntry> {
    std::fs::read_to_string(rig.path("requests.log"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn c6_a_device_decides_and_signs_through_losses_of_power_on_both_sides() {
    let mut rig = rig();
    let device = paired(&rig);
    rig.honest.grow(2);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let status = client.status().await.unwrap();
    assert!(status.backend.starts_with("device "), "{}", status.backend);
    assert!(
        status.software.contains("; device: "),
        "{}",
        status.software
    );
    assert_eq!(status.bls, rig.card.bls);

    let block = rig.honest.child_of(2, 1, |_| ());
    let rival = rig.honest.child_of(2, 1, |link| {
        link.header.bitcoin.height = BtcHeight::new(101);
    });
    let signature = client.approve(rig.honest.approve(&block)).await.unwrap();
    let key = PublicKey::from_bytes(&rig.card.bls).unwrap();
    let message = block.header.approval_message();
    assert_eq!(key.verify(&message, &signature), Ok(()));
    let refused = client.approve(rig.honest.approve(&rival)).await;
    assert_eq!(rule(refused), Rule::SlotMonotonic);

    // The device loses power; nobody restarts the daemon.
    drop(device);
    let device = Powered::on(rig.directory.path());
    let again = client.approve(rig.honest.approve(&block)).await.unwrap();
    assert_eq!(again, signature);
    let refused = client.approve(rig.honest.approve(&rival)).await;
    assert_eq!(rule(refused), Rule::SlotMonotonic);

    // The daemon is killed; nobody restarts the device.
    drop(running);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let again = client.approve(rig.honest.approve(&block)).await.unwrap();
    assert_eq!(again, signature);

    // Evidence of many chunks, for as many burns as a batch may have.
    let mut plan = Plan::simple(0, 1);
    plan.amounts = vec![200_000; 50];
    plan.inputs[0].1 = 20_000_000;
    let batch = request(&mut rig.honest, &plan);
    let bytes = postcard::to_allocvec(&batch).unwrap().len();
    assert!(bytes > 50_000, "{bytes}");
    let shares = client.sign_peg_out(batch.clone()).await.unwrap();
    assert_eq!(client.sign_peg_out(batch).await.unwrap(), shares);
    assert!(running.stop());

    let entries = log(&rig);
    let answers: Vec<&str> = entries.iter().map(|entry| entry.answer.as_str()).collect();
    assert!(
        answers.contains(&"no") && !answers.contains(&"error"),
        "{answers:?}"
    );
    let refused = entries.iter().find(|entry| entry.answer == "no").unwrap();
    assert!(refused.reason.contains("slot-monotonic"), "{refused:?}");
    drop(device);
}

#[tokio::test]
async fn a_device_that_comes_later_is_served_without_a_restart() {
    let rig = rig();
    drop(paired(&rig));
    std::fs::remove_file(rig.path("line")).unwrap();
    let running = rig.start();
    let config = rig.client_config(&running, "node");
    let error = SignerClient::connect(config, rig.expected()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no such path"), "{error}");
    let _device = Powered::on(rig.directory.path());
    let client = rig.client(&running, "node").await;
    assert_eq!(client.status().await.unwrap().bls, rig.card.bls);
    let entries = log(&rig);
    assert_eq!(entries[0].answer, "error");
    assert_eq!(entries[1].answer, "yes");
}

#[test]
fn the_wrong_device_and_the_wrong_member_are_refused_at_start() {
    let rig = rig();
    drop(paired(&rig));
    let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
    write(
        &rig.path("signer.toml"),
        &text.replace("member = 0", "member = 1"),
    );
    let device = Powered::on(rig.directory.path());
    let error = rig.try_start().err().unwrap();
    assert!(
        error.contains("expected member 1, found member 0"),
        "{error}"
    );
    write(&rig.path("signer.toml"), &text);
    drop(device);
    // Another device at the end of the cable, paired with the very same host.
    std::fs::rename(rig.path("link.key"), rig.path("link.key.old")).unwrap();
    let device = Powered::on(rig.directory.path());
    let error = rig.try_start().err().unwrap();
    assert!(
        error.contains("which this host is paired with, found device"),
        "{error}"
    );
    drop(device);
    // The right one again, which has forgotten its host.
    std::fs::rename(rig.path("link.key.old"), rig.path("link.key")).unwrap();
    std::fs::remove_file(rig.path("link.host")).unwrap();
    let _device = Powered::on(rig.directory.path());
    let error = rig.try_start().err().unwrap();
    assert!(error.contains("is paired with no host"), "{error}");
}

#[test]
fn a_device_is_listed_paired_by_its_code_and_asked_how_it_stands() {
    let rig = rig();
    let mut device = Powered::on(rig.directory.path());
    let folder = rig.path("lines");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(rig.path("line"), folder.join("usb-device")).unwrap();
    let list = || {
        let arguments = ["device", "list", "--folder", "lines"];
        let output = plain_command(&arguments, rig.directory.path());
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = list();
    assert!(listed.contains("open for pairing"), "{listed}");
    assert!(listed.contains("device simulation 0.1"), "{listed}");

    let wrong = pair(&rig, &mut device, |code| {
        let digit = if code.ends_with('0') { '1' } else { '0' };
        format!("{}{digit}", &code[..6])
    });
    assert!(!wrong.status.success());
    let words = String::from_utf8(wrong.stderr).unwrap();
    assert!(words.contains("nothing was paired"), "{words}");
    assert!(!rig.path("device.toml").exists());

    let output = pair(&rig, &mut device, |code| code);
    assert!(output.status.success(), "{output:?}");
    let listed = list();
    let config = rig.path("signer.toml");
    let status = |config: &std::path::Path| {
        let config = config.to_str().unwrap();
        let arguments = ["device", "status", "--config", config];
        plain_command(&arguments, rig.directory.path())
    };
    let asked = status(&config);
    assert!(asked.status.success(), "{asked:?}");
    let asked: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(asked["firmware"], "device simulation 0.1");
    let bls = asked["status"]["bls"].as_str().unwrap();
    assert_eq!(
        bls.trim_start_matches("0x"),
        rig.card.bls.to_string().trim_start_matches("0x")
    );
    assert!(
        listed.contains(asked["device"].as_str().unwrap()),
        "{listed}"
    );
    // A configuration of another backend has no device.
    let other = status(&rig.path("software.toml"));
    assert!(
        String::from_utf8(other.stderr)
            .unwrap()
            .contains("[device]")
    );
    // A pairing is never replaced in passing.
    let again = plain_command(
        &["device", "pair", "--path", "line", "--out", "device.toml"],
        rig.directory.path(),
    );
    assert!(!again.status.success());
}
