//! Keys and cards of a ceremony, by the program: what comes in on descriptors, and what is refused.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test are outside what clippy knows as one"
)]

mod support;

use alys_protocol::ceremony::{CardBackend, Ceremony, CeremonyFormat, Nonce, SignedCard, Throws};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::{Rig, write};

const PASSPHRASE: &str = "marble-thicket-77";
const DICE: &str = "16253 41625 34162 53416 25341 62534 16253 41625 34162 53416";

/// A second member's configuration in the rig's folder, and a ceremony.
fn prepare(rig: &Rig) -> Ceremony {
    let config = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
    let config = config
        .replace("keys.json", "new/keys.json")
        .replace("state.redb", "new/state.redb")
        .replace("path = 'counter'", "path = 'new/counter'")
        .replace("'freshness'", "'fresh'");
    std::fs::create_dir(rig.path("new")).unwrap();
    write(&rig.path("new.toml"), &config);
    let ceremony = Ceremony {
        format: CeremonyFormat::V1,
        nonce: Nonce::new([5; 32]),
        parameters: "name = 'x'".to_owned(),
        officers: BTreeMap::from([("alice".to_owned(), "key".to_owned())]),
    };
    let text = serde_json::to_string(&ceremony).unwrap();
    write(&rig.path("ceremony.json"), &text);
    ceremony
}

fn run(rig: &Rig, command: &str, ceremony: &Path, extra: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alys-signer"));
    if let Some(tokens) = &rig.tokens {
        tokens.of(&mut child);
    }
    let mut child = child
        .arg(command)
        .arg("--config")
        .arg(rig.path("new.toml"))
        .arg("--ceremony")
        .arg(ceremony)
        .arg("--signer-ca")
        .arg(rig.path("signers.pem"))
        .arg("--client-ca")
        .arg(rig.path("clients.pem"))
        .args(["--passphrase-fd", "0"])
        .args(extra)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_card_is_for_one_ceremony_and_can_be_made_again() {
    let rig = Rig::new();
    let ceremony = prepare(&rig);
    let file: PathBuf = rig.path("ceremony.json");
    let init = ["--member", "alice", "--entropy-fd", "0"];
    let dice = |throws: &str| format!("{throws}\n{PASSPHRASE}\n");
    // Nothing of what was thrown is said.
    let few = &DICE[..40];
    for (throws, why) in [
        (few, "at least 128 bits"),
        ("1625x", "another sign"),
        ("", "at least 128 bits"),
    ] {
        let said = refused(&run(&rig, "init", &file, &init, &dice(throws)));
        assert!(said.contains(why), "{said}");
        assert!(!said.contains("1625"), "{said}");
    }
    let stranger = ["--member", "mallory", "--entropy-fd", "0"];
    let said = refused(&run(&rig, "init", &file, &stranger, &dice(DICE)));
    assert!(said.contains("mallory") && said.contains("alice"), "{said}");
    assert!(!rig.path("new/keys.json").exists() && !rig.path("new/state.redb").exists());

    let output = run(&rig, "init", &file, &init, &dice(DICE));
    assert!(output.status.success(), "{output:?}");
    let made: SignedCard = serde_json::from_slice(&output.stdout).unwrap();
    made.verify().unwrap();
    assert_eq!(made.card.ceremony, ceremony.id());
    assert_eq!(made.card.backend, CardBackend::Software);
    let officer = made.card.entropy.officer.unwrap();
    assert_eq!(
        (officer.kind, officer.throws, officer.bits),
        (Throws::Dice, 50, 129)
    );
    assert_ne!(made.card.signer_ca, made.card.client_ca);

    let member = ["--member", "alice"];
    let passphrase = format!("{PASSPHRASE}\n");
    let output = run(&rig, "card", &file, &member, &passphrase);
    let again: SignedCard = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(again.card, made.card);
    again.verify().unwrap();
    // Keys of one ceremony do not join another one.
    let other = Ceremony {
        nonce: Nonce::new([6; 32]),
        ..ceremony
    };
    let path = rig.path("other.json");
    write(&path, &serde_json::to_string(&other).unwrap());
    let said = refused(&run(&rig, "card", &path, &member, &passphrase));
    assert!(said.contains("expected keys made for ceremony"), "{said}");
    let said = refused(&run(&rig, "init", &file, &init, &dice(DICE)));
    assert!(said.contains("never overwritten"), "{said}");
}

#[test]
fn a_token_takes_part_and_going_without_an_officer_is_recorded() {
    let rig = Rig::with_token();
    prepare(&rig);
    let file = rig.path("ceremony.json");
    let both = [
        "--member",
        "alice",
        "--without-officer-entropy",
        "--entropy-fd",
        "0",
    ];
    let said = refused(&run(&rig, "init", &file, &both, ""));
    assert!(said.contains("cannot be used with"), "{said}");
    let without = ["--member", "alice", "--without-officer-entropy"];
    let output = run(&rig, "init", &file, &without, "");
    assert!(output.status.success(), "{output:?}");
    let made: SignedCard = serde_json::from_slice(&output.stdout).unwrap();
    made.verify().unwrap();
    assert_eq!(made.card.backend, CardBackend::Pkcs11Sealed);
    assert_eq!(made.card.entropy.token_bits, 512);
    assert_eq!(made.card.entropy.officer, None);
}
