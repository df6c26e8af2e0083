//! Backups by the commands: made, drilled, restored; a restored signer is silent until officers vouch for it (claim C5).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "backup/drill.rs"]
mod drill;
#[path = "support/log.rs"]
mod log;
mod support;

use alys_backup::{
    Backup, Holder, Identity, Marks, Officer, Plan, Recipient, UnixMillis, hand_over, share_file,
};
use alys_protocol::bls::PublicKey;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, Reply, Request};
use alys_protocol::units::{BurnSequence, SideHeight, Slot, StatementNumber};
use alys_signer::audit::open_state;
use alys_signer::audit::replay::replay;
use alys_signer::audit::verify::{Expectations, verify};
use alys_signer::keys::{MemberCard, SoftwareKeys};
use alys_signer_client::{ClientError, SignerClient};
use alys_signer_core::admin::statement::{Act, Vouched};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};
use support::{Rig, Running};

const NAMES: [&str; 3] = ["ann", "ben", "cat"];

/// Three officers with age identities, of whom two open a backup.
struct Officers(Vec<Identity>);

impl Officers {
    fn new() -> Self {
        Self(NAMES.map(|_| Identity::generate()).into())
    }

    /// Makes a backup by the command.
    fn back_up(&self, rig: &Rig, folder: &str) -> Output {
        let output = rig.path(folder);
        let mut arguments = vec!["backup".to_owned(), "create".to_owned()];
        for (name, identity) in NAMES.iter().zip(&self.0) {
            let recipient = &identity.recipients()[0];
            arguments.extend(["--recipient".to_owned(), format!("{name}={recipient}")]);
        }
        let rest = ["--threshold", "2", "--output", output.to_str().unwrap()];
        arguments.extend(rest.map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        rig.command("signer.toml", &arguments)
    }

    /// What an officer does elsewhere; the file's name.
    fn hand_over(&self, rig: &Rig, folder: &str, officer: usize, to: &Recipient) -> String {
        let folder = rig.path(folder);
        let backup = Backup::read(&folder).unwrap();
        let sealed = hand_over(&backup, &folder, &self.0[officer], to).unwrap();
        let path = tempfile::Builder::new()
            .prefix(NAMES[officer])
            .tempfile_in(rig.directory.path())
            .unwrap()
            .into_temp_path()
            .keep()
            .unwrap();
        support::write(&path, sealed.as_str());
        path.to_str().unwrap().to_owned()
    }
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command says that must not work.
fn said(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    said.lines().last().unwrap().to_owned()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn begin(rig: &Rig) -> Output {
    support::bare_command(&rig.path("signer.toml"), &["restore", "begin"])
}

fn recipient(output: &Output) -> Recipient {
    json(output)["recipient"].as_str().unwrap().parse().unwrap()
}

fn finish(rig: &Rig, backup: &str, shares: &[&str]) -> Output {
    let backup = rig.path(backup);
    let mut arguments = vec!["restore", "finish", "--backup", backup.to_str().unwrap()];
    for share in shares {
        arguments.extend(["--share", share]);
    }
    rig.command("signer.toml", &arguments)
}

/// The machine burns down; what provisioning wrote is there on the next one.
fn lose(rig: &Rig) {
    for file in ["keys.json", "state.redb", "counter"] {
        let _ = std::fs::remove_file(rig.path(file));
    }
    let _ = std::fs::remove_dir_all(rig.path("state.redb.audit"));
    assert!(!rig.path("keys.json").exists() && !rig.path("state.redb").exists());
}

fn vote(rig: &Rig, slots: u64) -> ApproveRequest {
    rig.honest.approve(&rig.honest.child_of(1, slots, |_| ()))
}

async fn refused(client: &SignerClient, vote: ApproveRequest) -> Rule {
    let reply = client.request(Request::Approve(Box::new(vote))).await;
    match reply.unwrap() {
        Reply::Refused(refusal) => refusal.rule,
        other => panic!("{other:?}"),
    }
}

/// Has officers vouch; the floor. A machine that is too slow for it asks again.
async fn vouch(rig: &Rig, running: &Running) -> Slot {
    let officer = rig.client(running, "officer").await;
    loop {
        let challenge = officer.challenge().await.unwrap();
        let floor = challenge
            .slot
            .checked_add(challenge.horizon_slots + 2)
            .unwrap();
        let fresh = Act::Fresh(Vouched {
            challenge: challenge.nonce,
            slot_floor: floor,
            lock: SideHeight::new(1),
            next_burn: BurnSequence::new(0),
        });
        match officer.statement(rig.says(&challenge, fresh)).await {
            Ok(_) => return floor,
            Err(ClientError::Refused(refusal)) if refusal.rule == Rule::Fresh => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn c5_a_restored_signer_is_silent_until_officers_vouch() {
    let mut rig = Rig::new();
    rig.honest.grow(1);
    let officers = Officers::new();
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    client.approve(vote(&rig, 20)).await.unwrap();
    let officer = rig.client(&running, "officer").await;
    let pause = rig.says(&officer.challenge().await.unwrap(), Act::Pause);
    officer.statement(pause).await.unwrap();
    let error = said(&officers.back_up(&rig, "backup"));
    assert!(error.contains("in use by another signer"), "{error}");
    assert!(!rig.path("backup").exists());
    drop((client, officer));
    assert!(running.stop());

    let record = json(&officers.back_up(&rig, "backup"));
    assert_eq!(record["act"], "created");
    assert_eq!(record["member"], 0);
    let card = serde_json::to_value(&rig.card).unwrap();
    assert_eq!(record["bls"], card["bls"]);
    assert_eq!(record["threshold"], 2);
    assert_eq!(record["officers"], serde_json::json!(NAMES));
    let last = support::fixtures::GENESIS_SLOT + 21;
    assert_eq!(record["marks"]["watermarks"]["last_slot"], last);
    assert_eq!(record["marks"]["paused"], true);
    assert_eq!(mode(&rig.path("backup")), 0o700);
    for file in [
        "backup.json",
        "share-ann.age",
        "share-ben.age",
        "share-cat.age",
    ] {
        assert_eq!(mode(&rig.path("backup").join(file)), 0o600, "{file}");
    }
    assert!(
        said(&officers.back_up(&rig, "backup")).contains("cannot write"),
        "it exists"
    );
    // The signer goes on, and votes what the backup does not know of.
    let running = rig.start();
    let client = rig.client(&running, "node").await;
    client.approve(vote(&rig, 30)).await.unwrap();
    drop(client);
    assert!(running.stop());
    let exported = support::bare_command(&rig.path("signer.toml"), &["watermarks", "export"]);
    support::write(
        &rig.path("marks.json"),
        std::str::from_utf8(&exported.stdout).unwrap(),
    );

    let error = said(&begin(&rig));
    assert!(
        error.contains("keys.json exists; keys are never overwritten"),
        "{error}"
    );
    lose(&rig);
    let to = recipient(&begin(&rig));
    let shares = [0, 2].map(|officer| officers.hand_over(&rig, "backup", officer, &to));
    let done = json(&finish(&rig, "backup", &[&shares[1], &shares[0]]));
    assert_eq!(done["act"], "restored");
    assert_eq!(done["backup"], record["backup"]);
    assert_eq!(done["opened_by"], serde_json::json!(["ann", "cat"]));
    assert_eq!(mode(&rig.path("keys.json")), 0o600);
    assert_eq!(mode(&rig.path("state.redb")), 0o600);
    assert!(!rig.path("keys.json.restore").exists());
    let printed = support::bare_command(&rig.path("signer.toml"), &["card"]);
    let card: MemberCard = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(card, rig.card);
    for output in [
        finish(&rig, "backup", &[&shares[0], &shares[1]]),
        begin(&rig),
    ] {
        let error = said(&output);
        assert!(error.contains("keys.json exists"), "{error}");
    }

    let running = rig.start();
    let node = rig.client(&running, "node").await;
    let status = node.status().await.unwrap();
    assert_eq!(status.silent.unwrap().rule, Rule::Fresh);
    assert!(status.paused, "as it was when the backup was made");
    assert_eq!(status.last_statement, StatementNumber::new(1));
    assert_eq!(status.last_slot.get(), last);
    for slots in [20, 30, 31, 40] {
        assert_eq!(refused(&node, vote(&rig, slots)).await, Rule::Fresh);
    }
    drop(node);
    assert!(running.stop());
    let marks = rig.path("marks.json");
    let import = ["watermarks", "import", marks.to_str().unwrap()];
    let marks = json(&support::bare_command(&rig.path("signer.toml"), &import));
    assert_eq!(marks["last_slot"], last + 10);

    let running = rig.start();
    let node = rig.client(&running, "node").await;
    assert_eq!(
        refused(&node, vote(&rig, 50)).await,
        Rule::Fresh,
        "marks are no vouching"
    );
    let floor = vouch(&rig, &running).await;
    let status = node.status().await.unwrap();
    assert_eq!((status.silent, status.last_slot), (None, floor));
    let parent = Slot::new(support::fixtures::GENESIS_SLOT + 1);
    let slots = floor.get() - parent.get();
    for slots in [20, 30, 31, 50, slots - 1, slots] {
        assert_eq!(refused(&node, vote(&rig, slots)).await, Rule::SlotMonotonic);
    }
    let next = rig.honest.child_of(1, slots + 1, |_| ());
    let signature = signed_in_time(&rig, &node, &next).await;
    let key = PublicKey::from_bytes(&rig.card.bls).unwrap();
    let message = next.header.approval_message();
    assert_eq!(key.verify(&message, &signature), Ok(()));
    drop(node);
    assert!(running.stop());

    // The counter knows the state from then on, and the log of the new machine is whole.
    let running = rig.start();
    let status = rig.client(&running, "node").await.status().await.unwrap();
    assert_eq!(status.silent, None);
    assert!(running.stop());
    let archive = open_state(&rig.path("state.redb")).unwrap();
    verify(&archive, &Expectations::default()).unwrap();
    assert!(replay(&archive).unwrap().is_complete());
}

/// The signature on a block of a slot that the clock is still to reach.
async fn signed_in_time(
    rig: &Rig,
    client: &SignerClient,
    block: &support::fixtures::Link,
) -> alys_protocol::bls::BlsSignature {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        match client.approve(rig.honest.approve(block)).await {
            Ok(signature) => return signature,
            Err(ClientError::Refused(refusal)) if refusal.rule == Rule::SlotHorizon => {}
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < end, "the slot never comes");
        // Nobody announces the time.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn a_restore_that_is_wrong_leaves_nothing() {
    let rig = Rig::new();
    let officers = Officers::new();
    json(&officers.back_up(&rig, "backup"));
    json(&officers.back_up(&rig, "other"));
    lose(&rig);
    let own = rig.path("backup/share-ann.age");
    let error = said(&finish(&rig, "backup", &[own.to_str().unwrap()]));
    assert!(error.contains("restore begin has made no"), "{error}");

    let to = recipient(&begin(&rig));
    let session = rig.path("keys.json.restore");
    assert_eq!(mode(&session), 0o600);
    // Each is a process of its own: begin again changes nothing.
    assert_eq!(recipient(&begin(&rig)), to);
    let ann = officers.hand_over(&rig, "backup", 0, &to);
    let ben = officers.hand_over(&rig, "backup", 1, &to);
    let other = officers.hand_over(&rig, "other", 1, &to);
    let elsewhere = Identity::generate();
    let astray = officers.hand_over(&rig, "backup", 1, &elsewhere.recipients()[0]);
    let damaged = rig.path("damaged.age");
    let text = std::fs::read_to_string(&ben).unwrap();
    support::write(&damaged, &text.replacen("YW", "WY", 1));
    let truncated = rig.path("truncated.age");
    support::write(&truncated, &text[..text.len() / 2]);
    let long = rig.path("long.age");
    support::write(&long, &text.repeat(100));
    let own = rig.path("backup/share-ben.age");
    for (share, says) in [
        (None, "expected shares of 2 officers, found 1"),
        (
            Some(ann.as_str()),
            "the share of officer ann was given twice",
        ),
        (Some(other.as_str()), "expected a share of backup 0x"),
        (
            Some(astray.as_str()),
            "expected a share that this age identity opens",
        ),
        (
            own.to_str(),
            "share-ben.age: expected a share that this age identity opens",
        ),
        (damaged.to_str(), "damaged.age: expected a share"),
        (truncated.to_str(), "truncated.age: expected a share"),
        (long.to_str(), "long.age: expected at most 8192 bytes"),
        (Some("/dev/zero"), "/dev/zero: expected at most 8192 bytes"),
        (Some("/nowhere"), "/nowhere"),
    ] {
        let shares: Vec<&str> = [ann.as_str()].into_iter().chain(share).collect();
        let error = said(&finish(&rig, "backup", &shares));
        assert!(error.contains(says), "expected {says:?} in {error}");
        untouched(&rig);
    }
    std::fs::set_permissions(&session, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = said(&finish(&rig, "backup", &[&ann, &ben]));
    assert!(
        error.contains("expected a file of mode 0600, found 0644"),
        "{error}"
    );
    std::fs::set_permissions(&session, std::fs::Permissions::from_mode(0o600)).unwrap();

    // A backup of another member; one that says to be of this one, made by two officers who have other keys.
    let stranger = SoftwareKeys::generate().unwrap();
    let card = stranger.card();
    let chain = &rig.honest.chain;
    let ours = Backup::read(&rig.path("backup")).unwrap().header().clone();
    let forge = |folder: &str, holder: Holder| {
        let plan = Plan {
            made: UnixMillis::new(1),
            holder,
            marks: Marks {
                policy: None,
                ..ours.marks.clone()
            },
            threshold: 2,
            officers: NAMES
                .iter()
                .zip(&officers.0)
                .map(|(name, identity)| Officer {
                    name: name.parse().unwrap(),
                    recipient: identity.recipients()[0].clone(),
                })
                .collect(),
        };
        let made = Backup::make(&plan, &stranger.to_secret_bytes()).unwrap();
        let folder = rig.path(folder);
        std::fs::create_dir(&folder).unwrap();
        support::write(&folder.join("backup.json"), &made.backup.to_text().unwrap());
        for (officer, sealed) in &made.shares {
            support::write(&folder.join(share_file(officer)), sealed.as_str());
        }
    };
    assert!(Holder::of(chain, card.bls, card.schnorr).is_err());
    let foreign = Holder {
        bls: card.bls,
        schnorr: card.schnorr,
        ..ours.holder.clone()
    };
    let other_chain = Holder {
        spec: alys_protocol::bytes::SpecDigest::new([9; 32]),
        ..ours.holder.clone()
    };
    let other_member = Holder {
        member: alys_protocol::units::MemberId::new(1),
        ..ours.holder.clone()
    };
    for (folder, holder, says) in [
        ("foreign", foreign, "which is no member's"),
        (
            "chain",
            other_chain,
            "expected a backup of the chain with spec",
        ),
        (
            "member",
            other_member,
            "expected a backup of member 0, found 1",
        ),
        ("forged", ours.holder.clone(), "do not make the public keys"),
    ] {
        forge(folder, holder);
        let shares = [0, 1].map(|officer| officers.hand_over(&rig, folder, officer, &to));
        let error = said(&finish(&rig, folder, &[&shares[0], &shares[1]]));
        assert!(error.contains(says), "expected {says:?} in {error}");
        untouched(&rig);
    }

    // After all that, it still works: nothing was used up.
    json(&finish(&rig, "backup", &[&ann, &ben]));
    assert!(rig.start().stop());
    // A state without keys, as a crash in the middle of finish leaves it, is not replaced either.
    std::fs::remove_file(rig.path("keys.json")).unwrap();
    for output in [begin(&rig), finish(&rig, "backup", &[&ann, &ben])] {
        let error = said(&output);
        assert!(
            error.contains("state.redb exists; it is never overwritten"),
            "{error}"
        );
    }
}

fn untouched(rig: &Rig) {
    for file in ["keys.json", "state.redb", "counter"] {
        assert!(!rig.path(file).exists(), "{file}");
    }
    assert!(rig.path("keys.json.restore").exists());
}

/// The newest policy that the lost signer had stays the oldest that the restored one takes.
#[test]
fn an_older_policy_stays_refused() {
    let rig = Rig::new();
    let officers = Officers::new();
    let policy = alys_signer_core::Policy::of_chain(&rig.honest.chain);
    let publish = |iteration| {
        let folder = rig.directory.path();
        rig.officers.publish(folder, iteration, &policy);
    };
    publish(2);
    assert!(rig.start().stop());
    let record = json(&officers.back_up(&rig, "backup"));
    assert_eq!(record["marks"]["policy"]["iteration"], 2);
    lose(&rig);
    let to = recipient(&begin(&rig));
    let shares = [0, 1].map(|officer| officers.hand_over(&rig, "backup", officer, &to));
    json(&finish(&rig, "backup", &[&shares[0], &shares[1]]));
    publish(1);
    let error = rig.try_start().err().unwrap();
    let error = error.lines().last().unwrap();
    assert!(error.contains("iteration"), "{error}");
    publish(2);
    assert!(rig.start().stop());
}

/// A new token of another name takes the keys of one that is lost; what sealed them before is not needed.
#[tokio::test]
async fn keys_are_restored_into_a_fresh_token() {
    let mut rig = Rig::with_token();
    rig.honest.grow(1);
    let officers = Officers::new();
    json(&officers.back_up(&rig, "backup"));
    lose(&rig);
    let tokens = rig.tokens.as_ref().unwrap();
    tokens.remove();
    tokens.make("fresh");
    let config = std::fs::read_to_string(rig.path("signer.toml")).unwrap();
    support::write(
        &rig.path("signer.toml"),
        &config.replace("token=alys;", "token=fresh;"),
    );
    let to = recipient(&begin(&rig));
    let shares = [1, 2].map(|officer| officers.hand_over(&rig, "backup", officer, &to));
    json(&finish(&rig, "backup", &[&shares[0], &shares[1]]));
    let file: Value =
        serde_json::from_slice(&std::fs::read(rig.path("keys.json")).unwrap()).unwrap();
    assert_eq!(file["header"]["mode"], "pkcs11-sealed");
    assert!(file["header"]["token"].as_str().unwrap().contains("fresh"));

    let running = rig.start();
    let node = rig.client(&running, "node").await;
    // The token's counter is new as well, and must not pass for the one that this state was left at.
    let status = node.status().await.unwrap();
    assert_eq!(status.silent.unwrap().rule, Rule::Fresh);
    assert!(status.counter.contains("freshness"), "{}", status.counter);
    assert_eq!(refused(&node, vote(&rig, 20)).await, Rule::Fresh);
    vouch(&rig, &running).await;
    assert_eq!(node.status().await.unwrap().silent, None);
    drop(node);
    assert!(running.stop());
}

/// Restored beside a counter that was not lost: the copy that it belonged to is silent from then on.
#[tokio::test]
async fn c5_a_restored_signer_silences_the_old_one() {
    let mut rig = Rig::new();
    rig.honest.grow(1);
    let officers = Officers::new();
    json(&officers.back_up(&rig, "backup"));
    let old = ["keys.json", "state.redb"].map(|file| std::fs::read(rig.path(file)).unwrap());
    let counter = std::fs::read_to_string(rig.path("counter")).unwrap();
    lose(&rig);
    support::write(&rig.path("counter"), &counter);
    let to = recipient(&begin(&rig));
    let shares = [0, 1].map(|officer| officers.hand_over(&rig, "backup", officer, &to));
    json(&finish(&rig, "backup", &[&shares[0], &shares[1]]));
    let silent = async |rig: &Rig| {
        let running = rig.start();
        let node = rig.client(&running, "node").await;
        assert_eq!(
            node.status().await.unwrap().silent.unwrap().rule,
            Rule::Fresh
        );
        assert_eq!(refused(&node, vote(rig, 20)).await, Rule::Fresh);
        drop(node);
        assert!(running.stop());
    };
    silent(&rig).await;
    log::write(&rig.path("keys.json"), &old[0]);
    log::write(&rig.path("state.redb"), &old[1]);
    let _ = std::fs::remove_dir_all(rig.path("state.redb.audit"));
    silent(&rig).await;
}

/// What is said of officers who cannot be, before a passphrase is asked for or a folder is made.
#[test]
fn who_cannot_be_an_officer_is_said_first() {
    let rig = Rig::new();
    let recipient = |identity: &Identity| identity.recipients()[0].to_string();
    let (ann, secret) = Identity::generate_with_file();
    let ann = recipient(&ann);
    let ben = recipient(&Identity::generate());
    let secret = secret.lines().last().unwrap().to_owned();
    for (first, second, threshold, says) in [
        (
            format!("ann={ann}"),
            format!("ben={ben}"),
            "1",
            "threshold of 2 to 2 officers, found 1",
        ),
        (format!("ann={ann}"), format!("ben={ben}"), "3", "found 3"),
        (
            format!("ann={ann}"),
            format!("ben={ann}"),
            "2",
            "same recipient",
        ),
        (
            format!("ann={ann}"),
            format!("ann={ben}"),
            "2",
            "named twice",
        ),
        (
            ann.clone(),
            format!("ben={ben}"),
            "2",
            "expected NAME=RECIPIENT",
        ),
        (
            format!("ann={secret}"),
            format!("ben={ben}"),
            "2",
            "counts as disclosed",
        ),
    ] {
        let output = rig.path("backup");
        let output = rig.command(
            "signer.toml",
            &[
                "backup",
                "create",
                "--recipient",
                &first,
                "--recipient",
                &second,
                "--threshold",
                threshold,
                "--output",
                output.to_str().unwrap(),
            ],
        );
        let error = said(&output);
        assert!(error.contains(says), "expected {says:?} in {error}");
        assert!(!error.contains(&secret), "{error}");
        assert!(!rig.path("backup").exists());
    }
}
