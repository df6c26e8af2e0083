//! Keys that a token opens and a counter in it: a signer process with SoftHSM.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../../pkcs11/tests/support/mod.rs"]
mod own_module;
mod support;

use alys_protocol::bls::BlsSignature;
use alys_protocol::rules::Rule;
use alys_protocol::units::BtcHeight;
use alys_signer::audit::open_state;
use alys_signer::audit::replay::replay;
use alys_signer::keys::MemberCard;
use alys_signer_client::ClientError;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};
use support::tokens::{Tokens, module};
use support::{Rig, write};

const KEY: &str = "token=alys;object=seal";

fn rule(result: Result<BlsSignature, ClientError>) -> Rule {
    match result {
        Err(ClientError::Refused(refusal)) => refusal.rule,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn tokens(rig: &Rig) -> &Tokens {
    rig.tokens.as_ref().unwrap()
}

fn keys(rig: &Rig) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(rig.path("keys.json")).unwrap()).unwrap()
}

/// Replaces a part of the configuration.
fn change(rig: &Rig, from: &str, to: &str) {
    let path = rig.path("signer.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    write(&path, &text.replace(from, to));
}

/// What a start says that must not work.
fn refusal(rig: &Rig) -> String {
    match rig.try_start() {
        Ok(_) => panic!("it started"),
        Err(said) => {
            assert!(!said.contains("panicked"), "{said}");
            said
        }
    }
}

fn refused(rig: &Rig, words: &[&str]) {
    let said = refusal(rig);
    // The log is JSON, the last line is for people.
    let said = said.lines().last().unwrap();
    for word in words {
        assert!(said.contains(word), "expected {word:?} in {said}");
    }
}

#[tokio::test]
async fn a_token_opens_the_keys_without_a_passphrase() {
    let mut rig = Rig::with_token();
    rig.honest.grow(3);
    let file = keys(&rig);
    assert_eq!(file["header"]["version"], 2);
    assert_eq!(file["header"]["mode"], "pkcs11-sealed");
    assert_eq!(file["header"]["key"], "\"seal\"");
    let output = rig.command("signer.toml", &["card"]);
    let card: MemberCard = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(card, rig.card);

    for height in [1, 2] {
        let running = rig.start();
        let client = rig.client(&running, "node").await;
        let block = rig.honest.child_of(height, 1, |_| ());
        let signature = client.approve(rig.honest.approve(&block)).await.unwrap();
        let key = alys_protocol::bls::PublicKey::from_bytes(&rig.card.bls).unwrap();
        let message = block.header.approval_message();
        assert_eq!(key.verify(&message, &signature), Ok(()));
        let status = client.status().await.unwrap();
        let module = module();
        for words in [
            "under the non-extractable AES key \"seal\" of PKCS#11 token \"alys\" (serial ",
            module.to_str().unwrap(),
            "opened into",
        ] {
            assert!(status.backend.contains(words), "{}", status.backend);
        }
        assert!(status.counter.contains("data object \"freshness\""));
        assert_eq!(status.silent, None);
        drop(client);
        assert!(running.stop());
    }
    let archive = open_state(&rig.path("state.redb")).unwrap();
    assert!(replay(&archive).unwrap().is_complete());
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    let rig = Rig::with_token();
    let tokens = tokens(&rig);

    tokens.pin("wrong-4711");
    refused(&rig, &["token \"alys\"", "wrong PIN"]);
    tokens.pin(support::tokens::PIN);
    change(&rig, "?pin-source=file:", "?pin-source=file:/none");
    refused(&rig, &["PIN file /none"]);
    change(&rig, "?pin-source=file:/none", "?pin-source=file:");

    change(&rig, KEY, "token=alys;object=other");
    refused(
        &rig,
        &[
            "keys.json, sealed under key \"seal\" of PKCS#11 token \"alys\"",
            "expected secret key \"other\", found none",
        ],
    );
    change(&rig, "token=alys;object=other", "token=none;object=seal");
    refused(&rig, &["token absent", "token=none", "found \"alys\""]);
    change(&rig, "token=none;object=seal", KEY);

    tokens.remove();
    refused(&rig, &["token absent", "found no token"]);
    tokens.put_back();

    change(&rig, "softhsm/libsofthsm2.so", "softhsm/none.so");
    refused(&rig, &["module", "none.so cannot be loaded"]);
    change(&rig, "softhsm/none.so", "softhsm/libsofthsm2.so");

    tokens.make("alys");
    refused(&rig, &["several tokens fit", "add serial= to the URI"]);
    let name = keys(&rig)["header"]["token"].as_str().unwrap().to_owned();
    let serial = name.split("serial ").nth(1).unwrap().trim_end_matches(')');
    change(&rig, KEY, &format!("{KEY};serial={serial}"));
    assert!(rig.start().stop());
}

/// A second member in the same token, then one in another token whose key has the same name.
#[test]
fn only_the_key_that_sealed_opens() {
    let rig = Rig::with_token();
    let tokens = tokens(&rig);
    tokens.make("other");
    let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
    let second = |folder: &str, uri: &str| {
        std::fs::create_dir(rig.path(folder)).unwrap();
        let config = text.replace(KEY, uri).replace("freshness", "second");
        write(&rig.path(&format!("{folder}/signer.toml")), &config);
        let output = rig.command(&format!("{folder}/signer.toml"), &["init"]);
        assert!(output.status.success(), "{output:?}");
        let card: MemberCard = serde_json::from_slice(&output.stdout).unwrap();
        assert_ne!(card, rig.card);
    };
    second("same", KEY);
    second("other", "token=other;object=seal");
    change(&rig, KEY, "token=other;object=seal");
    let said = [
        "sealed under key \"seal\" of PKCS#11 token \"alys\"",
        "token \"other\"",
    ];
    refused(&rig, &said);
    change(&rig, "token=other;object=seal", KEY);

    let original = keys(&rig);
    let strangers: serde_json::Value =
        serde_json::from_slice(&std::fs::read(rig.path("same/keys.json")).unwrap()).unwrap();
    let possession = &strangers["header"]["card"]["bls_possession"];
    for (pointer, value) in [
        ("/header/token", "\"alys\" (serial 1)".into()),
        ("/header/key", "\"seal2\"".into()),
        ("/header/card/bls_possession", possession.clone()),
        ("/nonce", strangers["nonce"].clone()),
        ("/ciphertext", strangers["ciphertext"].clone()),
    ] {
        let mut file = original.clone();
        *file.pointer_mut(pointer).unwrap() = value;
        write(&rig.path("keys.json"), &file.to_string());
        refused(&rig, &["keys.json, sealed under key", "token \"alys\""]);
    }
    let mut file = original.clone();
    file["header"]["mode"] = "pkcs11-native".into();
    write(&rig.path("keys.json"), &file.to_string());
    refused(&rig, &["keys.json", "unknown variant", "pkcs11-sealed"]);
    write(&rig.path("keys.json"), &original.to_string());
    assert!(rig.start().stop(), "white space does not matter");

    // No passphrase is asked for where none would help.
    change(&rig, "mode = 'sealed'", "mode = 'counter'");
    refused(
        &rig,
        &[
            "opened by a passphrase",
            "it is by key \"seal\" of PKCS#11 token \"alys\"",
        ],
    );
}

#[test]
fn a_key_file_that_a_passphrase_opens_is_not_the_tokens() {
    let mut rig = Rig::new();
    let tokens = Tokens::new(rig.directory.path(), "sealed");
    let path = rig.path("signer.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    write(&path, &format!("{text}{}", tokens.config()));
    rig.tokens = Some(tokens);
    let error = refusal(&rig);
    // The token is asked only for a file that it could open.
    assert!(error.contains("but it is by a passphrase"), "{error}");
}

#[test]
fn what_a_configuration_lacks_is_said() {
    let rig = Rig::with_token();
    let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
    let token = tokens(&rig).config();
    let pin_value = token.replace("pin-source=file:", "pin-value=").replace(
        tokens(&rig).pin_file().to_str().unwrap(),
        support::tokens::PIN,
    );
    for (from, to, word) in [
        (token, "", "needs the table [token]"),
        (token, pin_value.as_str(), "pin-value would put the PIN"),
        (";object=seal", "", "needs the name of its AES key"),
        (";object=seal", ";object=seal;type=private", "secret key"),
        ("mode = 'sealed'", "mode = 'native'", "native"),
        ("mode = 'sealed'", "", "mode"),
        ("object = 'freshness'", "path = 'freshness'", "path"),
        ("kind = 'pkcs11'", "kind = 'tpm'", "tpm"),
        ("lease_slots = 1", "lease_slots = 0", "lease_slots"),
    ] {
        assert!(text.contains(from), "{from}");
        write(&rig.path("signer.toml"), &text.replace(from, to));
        let said = refusal(&rig);
        assert!(said.contains(word), "expected {word:?} in {said}");
        assert!(!said.contains(support::tokens::PIN), "{said}");
    }
}

#[tokio::test]
async fn c5_a_state_that_was_put_back_is_silent() {
    let mut rig = Rig::with_token();
    rig.honest.grow(1);
    assert!(rig.start().stop());
    let copy = std::fs::read(rig.path("state.redb")).unwrap();
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let vote = |rig: &mut Rig, slot| {
        let block = rig.honest.child_of(1, slot, |_| ());
        rig.honest.approve(&block)
    };
    client.approve(vote(&mut rig, 10)).await.unwrap();
    drop(client);
    assert!(running.stop());

    #[allow(
        clippy::disallowed_methods,
        reason = "an attacker's copy need not survive a power loss"
    )]
    std::fs::write(rig.path("state.redb"), &copy).unwrap();
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let silent = client.status().await.unwrap().silent.unwrap();
    assert_eq!(silent.rule, Rule::Fresh);
    let rival = rig.honest.child_of(1, 10, |link| {
        link.header.bitcoin.height = BtcHeight::new(101);
    });
    assert_eq!(
        rule(client.approve(rig.honest.approve(&rival)).await),
        Rule::Fresh
    );
    assert_eq!(rule(client.approve(vote(&mut rig, 11)).await), Rule::Fresh);
}

/// The signer waits for the lock on the PIN file, which an advance of the counter takes, when it is killed: the vote is
/// recorded, the counter has not advanced, nothing was released.
#[tokio::test]
async fn c5_a_crash_between_record_and_counter_goes_on() {
    let mut rig = Rig::with_token();
    rig.honest.grow(1);
    let mut running = rig.start();
    let client = rig.client(&running, "node").await;
    let block = rig.honest.child_of(1, 10, |_| ());
    let rival = rig.honest.child_of(1, 10, |link| {
        link.header.bitcoin.height = BtcHeight::new(101);
    });
    let lock = File::open(tokens(&rig).pin_file()).unwrap();
    lock.lock().unwrap();
    let request = rig.honest.approve(&block);
    let asking = tokio::spawn(async move { client.approve(request).await });
    wait_for_lock(running.pid()).await;
    running.kill();
    assert!(matches!(
        asking.await.unwrap(),
        Err(ClientError::Unreachable { .. })
    ));
    lock.unlock().unwrap();

    let running = rig.start();
    let client = rig.client(&running, "node").await;
    assert_eq!(client.status().await.unwrap().silent, None);
    assert_eq!(
        rule(client.approve(rig.honest.approve(&rival)).await),
        Rule::SlotMonotonic
    );
    client.approve(rig.honest.approve(&block)).await.unwrap();
    let next = rig.honest.child_of(1, 11, |_| ());
    client.approve(rig.honest.approve(&next)).await.unwrap();
    drop(client);
    assert!(running.stop());
    let archive = open_state(&rig.path("state.redb")).unwrap();
    assert!(replay(&archive).unwrap().is_complete());
}

/// Waits until a process waits for a lock (proc(5), `/proc/locks`).
async fn wait_for_lock(pid: u32) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let pid = pid.to_string();
        let waits = |line: &str| line.contains("->") && line.split_whitespace().any(|it| it == pid);
        if locks.lines().any(waits) {
            return;
        }
        assert!(Instant::now() < end, "it waits for no lock: {locks}");
        // The kernel announces no such thing.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A token that goes away stops the signer from signing, not from running. On our own module: SoftHSM does not find a token
/// again before its process ends.
#[test]
fn a_token_that_comes_back_needs_no_restart() {
    own_module::in_child("a_token_that_comes_back_needs_no_restart", |folder| {
        let module = own_module::test_module();
        own_module::make_token(&own_module::raw(&module), "alys");
        own_module::pin_file(folder, own_module::PIN);
        let tables = format!(
            "[counter]\nkind = 'pkcs11'\nobject = 'freshness'\nlease_slots = 1\n\
             [token]\nmodule = '{}'\nuri = '{}'\nmode = 'counter'\n",
            module.display(),
            own_module::uri(folder, "token=alys"),
        );
        let rig = Rig::with("", &tables, |_| None);
        let removed = own_module::module_folder(folder).join(alys_test_pkcs11_module::REMOVED);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(comes_back(rig, &removed));
    });
}

async fn comes_back(mut rig: Rig, removed: &Path) {
    rig.honest.grow(1);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let status = client.status().await.unwrap();
    assert!(
        status.backend.contains("argon2id"),
        "the token is the counter's only"
    );
    let vote = |rig: &mut Rig, slot| {
        let block = rig.honest.child_of(1, slot, |_| ());
        rig.honest.approve(&block)
    };
    client.approve(vote(&mut rig, 10)).await.unwrap();
    File::create(removed).unwrap();
    assert_eq!(rule(client.approve(vote(&mut rig, 11)).await), Rule::Fresh);
    assert!(client.status().await.unwrap().silent.is_some());
    assert!(
        running
            .log()
            .contains("the outside counter: token absent: expected pkcs11:token=alys"),
    );
    std::fs::remove_file(removed).unwrap();
    client.approve(vote(&mut rig, 12)).await.unwrap();
    assert_eq!(client.status().await.unwrap().silent, None);
    drop(client);
    assert!(running.stop());
}
