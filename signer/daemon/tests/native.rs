//! A token that signs itself, our own module, and a signer process: what it signs, what it says of a token that fails, and
//! that it goes on without a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../../pkcs11/tests/support/mod.rs"]
mod own_module;
mod support;

use alys_protocol::bls::{self, BlsSignature};
use alys_protocol::ceremony::{CardBackend, Ceremony, CeremonyFormat, Nonce, SignedCard};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, PegOutRequest, ProtocolError, SchnorrSignature};
use alys_protocol::units::BtcHeight;
use alys_signer::audit::open_state;
use alys_signer::audit::replay::replay;
use alys_signer::keys::MemberCard;
use alys_signer_client::{ClientError, SignerClient};
use alys_test_pkcs11_module as module;
use bitcoin::secp256k1::{Message, Secp256k1, XOnlyPublicKey, schnorr};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use own_module::{PIN, in_child, module_folder, pin_file, raw, test_module};
use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};
use support::fixtures::pegout::{self, Plan};
use support::{Rig, Running, bare_command, write};

const FILE_COUNTER: &str =
    "[counter]\nkind = 'development-file'\npath = 'counter'\nlease_slots = 1\n";
const TOKEN_COUNTER: &str = "[counter]\nkind = 'pkcs11'\nobject = 'freshness'\nlease_slots = 1\n";

/// The table `[token]` in native mode.
fn table(folder: &Path) -> String {
    format!(
        "[token]\nmodule = '{}'\nuri = '{}'\nmode = 'native'\n{}",
        test_module().display(),
        own_module::uri(folder, "token=alys;object=seal"),
        own_module::native_table(),
    )
}

/// A signer whose keys are in our module's token, made there by `init`.
fn native_rig(folder: &Path, counter: &str) -> Rig {
    own_module::make_token(&raw(&test_module()), "alys");
    rig_of_token(folder, counter)
}

fn rig_of_token(folder: &Path, counter: &str) -> Rig {
    pin_file(folder, PIN);
    let tables = format!("{counter}{}", table(folder));
    let rig = Rig::with("", &tables, |_| None);
    let path = rig.path("signer.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    write(&path, &format!("metrics_file = 'metrics.prom'\n{text}"));
    rig
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

fn vote(rig: &Rig, slot: u64) -> ApproveRequest {
    let block = rig.honest.child_of(1, slot, |_| ());
    rig.honest.approve(&block)
}

fn check_vote(rig: &Rig, request: &ApproveRequest, signature: &BlsSignature) {
    let key = bls::PublicKey::from_bytes(&rig.card.bls).unwrap();
    let message = request.header.approval_message();
    assert_eq!(key.verify(&message, signature), Ok(()));
}

fn check_shares(rig: &Rig, plan: &Plan, shares: &[SchnorrSignature]) {
    let chain = &rig.honest.chain;
    let transaction = pegout::transaction(chain, plan);
    let values: Vec<_> = plan
        .inputs
        .iter()
        .map(|(_, value)| alys_protocol::units::Sats::new(*value))
        .collect();
    let sighashes = chain.wallet().sighashes(&transaction, &values).unwrap();
    assert_eq!(shares.len(), sighashes.len());
    let key = XOnlyPublicKey::from_slice(rig.card.schnorr.as_bytes()).unwrap();
    for (share, sighash) in shares.iter().zip(sighashes) {
        let share = schnorr::Signature::from_slice(share.as_bytes()).unwrap();
        let message = Message::from_digest(sighash);
        Secp256k1::new()
            .verify_schnorr(&share, &message, &key)
            .unwrap();
    }
}

/// What the signer says of itself where it could not sign.
fn failure<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Signer(ProtocolError::Internal(said))) => {
            assert!(said.contains("the token that holds the keys did not sign"));
            assert!(said.contains("nothing was released"), "{said}");
            said
        }
        other => panic!("expected a failure of the signer, found {other:?}"),
    }
}

fn rule<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Rule {
    match result {
        Err(ClientError::Refused(refusal)) => refusal.rule,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// The metrics, once `series` has `value`: whoever writes the file once a second announces nothing.
async fn metrics(rig: &Rig, series: &str, value: &str) -> String {
    let wanted = format!("\nalys_signer_{series} {value}\n");
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(rig.path("metrics.prom")).unwrap_or_default();
        if text.contains(&wanted) {
            return text;
        }
        assert!(Instant::now() < end, "expected {wanted} in\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn number(text: &str, series: &str) -> u64 {
    let start = format!("alys_signer_{series} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{series} in\n{text}"))
        .parse()
        .unwrap()
}

#[test]
fn a_token_signs_votes_and_peg_outs() {
    in_child("a_token_signs_votes_and_peg_outs", |folder| {
        run(signs(native_rig(folder, TOKEN_COUNTER)));
    });
}

async fn signs(mut rig: Rig) {
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(rig.path("keys.json")).unwrap()).unwrap();
    assert_eq!(file["header"]["version"], 3);
    assert_eq!(file["header"]["mode"], "pkcs11-native");
    let output = rig.command("signer.toml", &["card"]);
    let card: MemberCard = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(card, rig.card);
    let key = bls::PublicKey::from_bytes(&card.bls).unwrap();
    key.verify_possession(&card.bls_possession).unwrap();

    rig.honest.grow(1);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let request = vote(&rig, 10);
    let signature = client.approve(request.clone()).await.unwrap();
    check_vote(&rig, &request, &signature);
    assert_eq!(client.approve(request).await.unwrap(), signature);
    let status = client.status().await.unwrap();
    for words in [
        "native keys \"vote\" and \"wallet\", non-extractable, which sign inside PKCS#11 token \"alys\" (serial 1)",
        "the audit log's key, sealed under its AES key \"seal\"",
    ] {
        assert!(status.backend.contains(words), "{}", status.backend);
    }
    assert_eq!(status.silent, None);
    drop(client);
    assert!(running.stop());
    let text = std::fs::read_to_string(rig.path("metrics.prom")).unwrap();
    assert!(text.contains("alys_signer_running 0"), "{text}");

    // The audit log's key opens again, and a peg-out is signed for each input.
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    rig.honest.links.truncate(1);
    let mut plan = Plan::simple(0, 1);
    plan.inputs.push((pegout::outpoint(2), 4_000_000));
    let batch = pegout::request(&mut rig.honest, &plan);
    let shares = client.sign_peg_out(batch.clone()).await.unwrap();
    check_shares(&rig, &plan, &shares);
    // BIP-340's randomness is the token's: other signatures of the same messages.
    let again = client.sign_peg_out(batch).await.unwrap();
    check_shares(&rig, &plan, &again);
    let text = metrics(
        &rig,
        "decisions_total{operation=\"sign-peg-out\",outcome=\"yes\"}",
        "2",
    )
    .await;
    assert!(text.contains("alys_signer_backend{backend=\"pkcs11-native\"} 1"));
    assert!(text.contains("alys_signer_backend{backend=\"software\"} 0"));
    let counter = number(&text, "counter_value");
    assert!(counter > 0);
    assert_eq!(number(&text, "lease_counter_value"), counter);
    drop(client);
    assert!(running.stop());
    let archive = open_state(&rig.path("state.redb")).unwrap();
    assert!(replay(&archive).unwrap().is_complete());
}

/// What goes wrong, how the metrics call it, what the signer says, and what ends it.
struct Trouble<'a> {
    condition: &'static str,
    says: &'static str,
    begin: &'a dyn Fn(),
    end: &'a dyn Fn(),
}

#[test]
fn each_trouble_with_a_token_ends_without_a_restart() {
    in_child(
        "each_trouble_with_a_token_ends_without_a_restart",
        |folder| run(troubles(native_rig(folder, FILE_COUNTER), folder)),
    );
}

async fn troubles(mut rig: Rig, folder: &Path) {
    rig.honest.grow(1);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    let place = |name: &str| module_folder(folder).join(name);
    let lose_session = |text: &str| write(&place(module::EPOCH), text);
    let card = raw(&test_module());

    // A session that is lost is opened again, and nobody notices.
    lose_session("1");
    let request = vote(&rig, 10);
    check_vote(
        &rig,
        &request,
        &client.approve(request.clone()).await.unwrap(),
    );
    let text = metrics(&rig, "token_sessions_reopened_total", "1").await;
    assert!(text.contains("alys_signer_token_condition{condition=\"ready\"} 1"));
    assert_eq!(number(&text, "token_failures_total"), 0);

    let troubles = [
        Trouble {
            condition: "absent",
            says: "token absent: expected pkcs11:token=alys",
            begin: &|| drop(File::create(place(module::REMOVED)).unwrap()),
            end: &|| std::fs::remove_file(place(module::REMOVED)).unwrap(),
        },
        Trouble {
            condition: "ambiguous",
            says: "several tokens fit",
            begin: &|| {
                File::create(place(module::TWIN)).unwrap();
                lose_session("2");
            },
            end: &|| std::fs::remove_file(place(module::TWIN)).unwrap(),
        },
        Trouble {
            condition: "pin-wrong",
            // Who comes second, the vote or the watch, does not try the PIN again.
            says: "its file",
            begin: &|| {
                pin_file(folder, "wrong-1");
                lose_session("3");
            },
            end: &|| drop(pin_file(folder, PIN)),
        },
        Trouble {
            condition: "pin-locked",
            says: "its PIN is locked; its security officer has to set a new one",
            begin: &|| {
                let slot = card.get_slots_with_token().unwrap()[0];
                for wrong in ["wrong-2", "wrong-3", "wrong-4"] {
                    let session = card.open_rw_session(slot).unwrap();
                    session
                        .login(UserType::User, Some(&AuthPin::new(wrong.into())))
                        .unwrap_err();
                }
                lose_session("4");
            },
            end: &|| {
                let slot = card.get_slots_with_token().unwrap()[0];
                own_module::set_pin(&card, slot, PIN);
            },
        },
    ];
    for (round, trouble) in (0..).zip(troubles) {
        endure(&rig, &running, &client, 20 + 10 * round, &trouble).await;
    }
    drop(client);
    assert!(running.stop());
    let archive = open_state(&rig.path("state.redb")).unwrap();
    assert!(replay(&archive).unwrap().is_complete());
}

async fn endure(
    rig: &Rig,
    running: &Running,
    client: &SignerClient,
    slot: u64,
    trouble: &Trouble<'_>,
) {
    let Trouble {
        condition,
        says,
        begin,
        end,
    } = trouble;
    let request = vote(rig, slot);
    begin();
    for _ in 0..2 {
        let said = failure(client.approve(request.clone()).await);
        assert!(said.contains(says), "expected {says:?} in {said}");
    }
    let series = format!("token_condition{{condition=\"{condition}\"}}");
    let text = metrics(rig, &series, "1").await;
    assert!(text.contains("alys_signer_token_condition{condition=\"ready\"} 0"));
    let last = format!("alys_signer_token_last_error{{kind=\"{condition}\"}} 1");
    assert!(text.contains(&last), "{text}");
    let present = u64::from(*condition != "absent");
    assert_eq!(number(&text, "token_present"), present);
    let locked = u64::from(*condition == "pin-locked");
    assert_eq!(number(&text, "token_pin{state=\"locked\"}"), locked);
    assert!(number(&text, "token_failures_total") > 0);
    assert!(client.status().await.is_ok(), "it only does not sign");

    // The vote stays recorded: nothing else is signed in its slot, now or later.
    let rival = rig.honest.child_of(1, slot, |link| {
        link.header.bitcoin.height = BtcHeight::new(101);
    });
    let rival = rig.honest.approve(&rival);
    assert_eq!(
        rule(client.approve(rival.clone()).await),
        Rule::SlotMonotonic
    );
    end();
    // The watch finds the token again without any request.
    metrics(rig, "token_condition{condition=\"ready\"}", "1").await;
    assert!(running.log().contains("the token works again"));
    let signature = client.approve(request.clone()).await.unwrap();
    check_vote(rig, &request, &signature);
    assert_eq!(rule(client.approve(rival).await), Rule::SlotMonotonic);
    let next = vote(rig, slot + 1);
    check_vote(rig, &next, &client.approve(next.clone()).await.unwrap());
}

/// A peg-out is signed for all inputs or for none, and again once the token is back.
#[test]
fn a_peg_out_waits_for_its_token() {
    in_child("a_peg_out_waits_for_its_token", |folder| {
        // As the devnet makes one: without PKCS#11, once.
        let make = || module::make_token(&module_folder(folder), "alys", "officer", PIN);
        make().unwrap();
        let again = make().unwrap_err();
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
        let rig = rig_of_token(folder, FILE_COUNTER);
        run(waits(rig, &module_folder(folder).join(module::REMOVED)));
    });
}

async fn waits(mut rig: Rig, removed: &Path) {
    let plan = Plan::simple(0, 1);
    let batch: PegOutRequest = pegout::request(&mut rig.honest, &plan);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    File::create(removed).unwrap();
    let said = failure(client.sign_peg_out(batch.clone()).await);
    assert!(said.contains("token absent"), "{said}");
    std::fs::remove_file(removed).unwrap();
    let shares = client.sign_peg_out(batch).await.unwrap();
    check_shares(&rig, &plan, &shares);
}

/// With the counter in the same token, the counter is what is missed first.
#[test]
fn a_vote_waits_for_the_counter_in_its_token() {
    in_child("a_vote_waits_for_the_counter_in_its_token", |folder| {
        let rig = native_rig(folder, TOKEN_COUNTER);
        run(waits_for_counter(
            rig,
            &module_folder(folder).join(module::REMOVED),
        ));
    });
}

async fn waits_for_counter(mut rig: Rig, removed: &Path) {
    rig.honest.grow(1);
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    File::create(removed).unwrap();
    let request = vote(&rig, 10);
    for _ in 0..2 {
        assert_eq!(rule(client.approve(request.clone()).await), Rule::Fresh);
    }
    metrics(&rig, "silent", "1").await;
    std::fs::remove_file(removed).unwrap();
    let signature = client.approve(request.clone()).await.unwrap();
    check_vote(&rig, &request, &signature);
    assert_eq!(client.status().await.unwrap().silent, None);
    metrics(&rig, "silent", "0").await;
    drop(client);
    assert!(running.stop());
}

/// What a start, or a command, says that must not work.
fn refused(output: Result<Running, String>, words: &[&str]) {
    let said = output.err().expect("a refusal");
    assert!(!said.contains("panicked"), "{said}");
    let said = said.lines().last().unwrap();
    for word in words {
        assert!(said.contains(word), "expected {word:?} in {said}");
    }
}

#[test]
fn what_does_not_fit_is_said_at_the_start() {
    in_child("what_does_not_fit_is_said_at_the_start", |folder| {
        let rig = native_rig(folder, FILE_COUNTER);
        let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
        let with = |from: &str, to: &str, words: &[&str]| {
            assert!(text.contains(from), "{text}");
            write(&rig.path("signer.toml"), &text.replace(from, to));
            refused(rig.try_start(), words);
            write(&rig.path("signer.toml"), &text);
        };
        for (from, to, words) in [
            (
                "mode = 'native'",
                "mode = 'sealed'",
                &["[token.native] is for token.mode = \"native\""][..],
            ),
            ("object = 'wallet'", "object = 'vote'", &["\"vote\" twice"]),
            (
                ";object=seal",
                "",
                &["token.mode = \"native\" needs the name"],
            ),
            (
                "object = 'wallet'",
                "object = 'none'",
                &["private key \"none\", found none"],
            ),
            // The test signature is not by the protocol's rules, or none.
            ("parameter = [0]", "parameter = [1]", &["C_Sign reports"]),
            (
                "object=seal",
                "object=other",
                &["sealed under key \"seal\"", "\"other\", found none"],
            ),
        ] {
            with(from, to, words);
        }
        let without: String = text
            .lines()
            .filter(|line| !line.starts_with("native = "))
            .map(|line| format!("{line}\n"))
            .collect();
        write(&rig.path("signer.toml"), &without);
        refused(rig.try_start(), &["needs the table [token.native]"]);
        let sealed = without.replace("mode = 'native'", "mode = 'sealed'");
        write(&rig.path("signer.toml"), &sealed);
        refused(
            rig.try_start(),
            &["which signs itself", "mode = \"sealed\""],
        );
        write(&rig.path("signer.toml"), &text);

        // Other keys of the token; another member's file; a changed one.
        let module = raw(&test_module());
        let slot = module.get_slots_with_token().unwrap()[0];
        let session = own_module::session(&module, slot);
        own_module::generate(&session, module::GENERATE_SCHNORR, "wallet2", false);
        own_module::generate(&session, module::GENERATE_BLS, "vote2", false);
        drop(session);
        for (from, to, word) in [
            (
                "object = 'wallet'",
                "object = 'wallet2'",
                "wallet (Schnorr) key",
            ),
            ("object = 'vote'", "object = 'vote2'", "voting (BLS) key"),
        ] {
            with(from, to, &["keys.json", word]);
        }
        let path = rig.path("keys.json");
        let original = std::fs::read_to_string(&path).unwrap();
        for (pointer, value) in [
            (
                "/header/card/bls_possession",
                serde_json::json!(format!("0x{}", "11".repeat(96))),
            ),
            ("/header/bls", "vote2".into()),
            ("/header/token", "\"alys\" (serial 2)".into()),
            (
                "/ciphertext",
                serde_json::json!(format!("0x{}", "11".repeat(48))),
            ),
        ] {
            let mut file: serde_json::Value = serde_json::from_str(&original).unwrap();
            *file.pointer_mut(pointer).unwrap() = value;
            write(&path, &file.to_string());
            refused(rig.try_start(), &["keys.json"]);
        }
        write(&path, &original);
        assert!(rig.start().stop());
    });
}

#[test]
fn keys_in_a_token_are_made_once_and_have_no_backup() {
    in_child(
        "keys_in_a_token_are_made_once_and_have_no_backup",
        |folder| {
            let rig = native_rig(folder, FILE_COUNTER);
            let said = |arguments: &[&str], config: &str| {
                let output = rig.command(config, arguments);
                assert!(!output.status.success());
                String::from_utf8(output.stderr).unwrap()
            };
            let recipients = [
                "--recipient",
                "ann=age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
                "--recipient",
                "ben=age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg",
            ];
            let output = rig.path("backup");
            let create = [
                &["backup", "create", "--threshold", "2", "--output"][..],
                &[output.to_str().unwrap()],
                &recipients,
            ]
            .concat();
            let error = said(&create, "signer.toml");
            assert!(
                error.contains("never leave it") && error.contains("second token"),
                "{error}"
            );
            assert!(!output.exists());

            // A second signer's folder.
            std::fs::create_dir(rig.path("new")).unwrap();
            let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
            write(&rig.path("new/signer.toml"), &text);
            let output = bare_command(&rig.path("new/signer.toml"), &["restore", "begin"]);
            assert!(!output.status.success());
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains("takes none from a backup"), "{error}");
            // The names are taken: an empty state must not get keys that may have signed.
            let error = said(&["init"], "new/signer.toml");
            assert!(error.contains("keys are never replaced"), "{error}");
            assert!(!rig.path("new/keys.json").exists() && !rig.path("new/state.redb").exists());
            // What stops it otherwise does so before keys are made, which then would be there the next time.
            let text = text
                .replace("'wallet'", "'wallet2'")
                .replace("'vote'", "'vote2'");
            write(&rig.path("new/signer.toml"), &text);
            write(&rig.path("new/state.redb"), "another one's");
            let error = said(&["init"], "new/signer.toml");
            assert!(error.contains("never overwritten"), "{error}");
            std::fs::remove_file(rig.path("new/state.redb")).unwrap();
            std::fs::copy(rig.path("counter"), rig.path("new/counter")).unwrap();
            let error = said(&["init"], "new/signer.toml");
            assert!(error.contains("never set back"), "{error}");
            std::fs::remove_file(rig.path("new/counter")).unwrap();
            let output = rig.command("new/signer.toml", &["init"]);
            assert!(output.status.success(), "{output:?}");
            let card: MemberCard = serde_json::from_slice(&output.stdout).unwrap();
            assert_ne!(card, rig.card);

            // Keys that are there are taken where nothing says how to make them.
            std::fs::create_dir(rig.path("taken")).unwrap();
            let without = |text: &str, number: u32| {
                text.replace(&format!(", generate = {{ mechanism = {number} }}"), "")
            };
            let text = without(&text, module::GENERATE_SCHNORR);
            write(
                &rig.path("taken/signer.toml"),
                &without(&text, module::GENERATE_BLS),
            );
            let output = rig.command("taken/signer.toml", &["init"]);
            assert!(output.status.success(), "{output:?}");
            let taken: MemberCard = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(taken, card);
        },
    );
}

#[test]
fn a_native_card_says_that_nothing_was_mixed_in() {
    in_child("a_native_card_says_that_nothing_was_mixed_in", |folder| {
        let rig = native_rig(folder, FILE_COUNTER);
        let ceremony = Ceremony {
            format: CeremonyFormat::V1,
            nonce: Nonce::new([5; 32]),
            parameters: "name = 'x'".to_owned(),
            officers: BTreeMap::from([("alice".to_owned(), "key".to_owned())]),
        };
        let file = rig.path("ceremony.json");
        write(&file, &serde_json::to_string(&ceremony).unwrap());
        std::fs::create_dir(rig.path("new")).unwrap();
        let text = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
        let text = text
            .replace("'wallet'", "'wallet2'")
            .replace("'vote'", "'vote2'");
        write(&rig.path("new/signer.toml"), &text);
        let (signers, clients) = (rig.path("signers.pem"), rig.path("clients.pem"));
        let of = |command: &'static str| {
            [
                command,
                "--ceremony",
                file.to_str().unwrap(),
                "--member",
                "alice",
                "--signer-ca",
                signers.to_str().unwrap(),
                "--client-ca",
                clients.to_str().unwrap(),
            ]
        };
        let refused = rig.command("new/signer.toml", &of("init"));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(
            said.contains("nothing can be mixed in") && said.contains("--without-officer-entropy"),
            "{said}"
        );
        assert!(!rig.path("new/keys.json").exists());
        let init = [&of("init")[..], &["--without-officer-entropy"]].concat();
        let output = rig.command("new/signer.toml", &init);
        assert!(output.status.success(), "{output:?}");
        let made: SignedCard = serde_json::from_slice(&output.stdout).unwrap();
        made.verify().unwrap();
        assert_eq!(made.card.backend, CardBackend::Pkcs11Native);
        let entropy = made.card.entropy;
        assert_eq!((entropy.host_bits, entropy.token_bits), (0, 512));
        assert_eq!(entropy.officer, None);
        let again = rig.command("new/signer.toml", &of("card"));
        let again: SignedCard = serde_json::from_slice(&again.stdout).unwrap();
        again.verify().unwrap();
        assert_eq!(again.card, made.card);
    });
}
