//! What officers say to a signer: pause, resume, and that a state is fresh; in this process with its log, and over mTLS with
//! the commands.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/log.rs"]
mod log;
mod support;

use alys_protocol::bytes::Digest;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{Challenge, ProtocolError, Reply, Request, SignedStatement};
use alys_protocol::units::{BurnSequence, SideHeight, Slot, StatementNumber};
use alys_signer::audit::entry::{Event, Verdict};
use alys_signer::audit::replay::replay;
use alys_signer::audit::verify::{Expectations, verify};
use alys_signer::audit::{AuditLimits, open_state};
use alys_signer_core::admin::statement::{Act, Vouched};
use log::Session;
use std::path::Path;
use std::process::Output;
use support::Rig;
use support::fixtures::pegout::{Plan, request};

fn session() -> Session {
    let mut session = Session::new(AuditLimits::default());
    session.honest.grow(1);
    session
}

/// A log that verifies and replays in full; how many statements it accepted and how many it refused.
fn statements(session: &Session) -> (usize, usize) {
    let archive = session.archive();
    let report = verify(&archive, &Expectations::default()).unwrap();
    assert!(replay(&archive).unwrap().is_complete());
    let verdicts: Vec<Verdict> = log::entries(&archive)
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Stated(stated) => Some(stated.verdict),
            _ => None,
        })
        .collect();
    let accepted = verdicts
        .iter()
        .filter(|verdict| **verdict == Verdict::Accepted)
        .count();
    assert_eq!(report.statements, accepted as u64);
    (accepted, verdicts.len() - accepted)
}

#[test]
fn one_officer_pauses_peg_outs_and_a_quorum_resumes_them() {
    let mut session = session();
    let batch = request(&mut session.honest, &Plan::simple(0, 1));
    session.says(1, Act::Pause, &[2]).unwrap();
    assert_eq!(session.peg_out(batch.clone()), Err(Rule::Paused));
    session.vote(10).unwrap();
    // Whatever number a single officer gives it, and whoever else signs.
    assert_eq!(session.says(2, Act::Resume, &[2]), Err(Rule::Quorum));
    assert_eq!(session.says(2, Act::Resume, &[2, 2]), Err(Rule::Quorum));
    assert_eq!(session.says(1, Act::Resume, &[0, 1]), Err(Rule::Iteration));
    session.restart(AuditLimits::default());
    assert_eq!(session.peg_out(batch.clone()), Err(Rule::Paused));
    session.says(2, Act::Resume, &[0, 1]).unwrap();
    session.peg_out(batch.clone()).unwrap();
    // The old resume never undoes a new pause, and a pause stops repeats, too.
    session.says(3, Act::Pause, &[0]).unwrap();
    assert_eq!(session.says(2, Act::Resume, &[0, 1]), Err(Rule::Iteration));
    assert_eq!(session.peg_out(batch), Err(Rule::Paused));
    assert_eq!(statements(&session), (3, 4));
}

#[test]
fn strangers_forgeries_and_other_text_are_no_officers_word() {
    let session = session();
    let strangers = support::Officers::new();
    let statement = |number| alys_signer_core::admin::statement::Statement {
        chain_id: session.honest.chain.id(),
        member: alys_protocol::units::MemberId::new(0),
        number: StatementNumber::new(number),
        act: Act::Pause,
    };
    let ask =
        |signed: SignedStatement| session.ask_as_officer(&Request::Statement(Box::new(signed)));
    let foreign = strangers.says(&statement(1), &[0]);
    assert_eq!(ask(foreign), Err(Rule::Quorum));
    let none = session.officers.says(&statement(1), &[]);
    assert_eq!(ask(none), Err(Rule::Quorum));
    // A signature of another statement; one of an officer beside one of a stranger.
    let mut mixed = session.officers.says(&statement(1), &[0]);
    mixed.signatures = session.officers.says(&statement(2), &[0]).signatures;
    assert_eq!(ask(mixed), Err(Rule::Quorum));
    let mut both = session.officers.says(&statement(1), &[0]);
    let other = strangers.says(&statement(1), &[0]).signatures.into_inner();
    let signatures = [both.signatures.into_inner(), other].concat();
    both.signatures = alys_protocol::bounded::BoundedVec::new(signatures).unwrap();
    assert_eq!(ask(both), Err(Rule::Quorum));
    // Any byte of the text.
    let signed = session.officers.says(&statement(1), &[0]);
    for place in 0..signed.text.len() {
        let mut text = signed.text.clone().into_inner();
        text[place] ^= 1;
        let mut changed = signed.clone();
        changed.text = alys_protocol::bounded::BoundedVec::new(text).unwrap();
        let reply = session.engine().handle(
            log::asker(),
            &log::body(&Request::Statement(Box::new(changed.clone()))),
            &Request::Statement(Box::new(changed)),
        );
        match reply {
            Reply::Refused(refusal) => assert!([Rule::Quorum, Rule::Chain].contains(&refusal.rule)),
            Reply::Error(ProtocolError::Malformed(reason)) => {
                assert!(
                    reason.contains("expected an officers' statement"),
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    ask(signed).unwrap();
}

fn fresh(challenge: &Challenge, nonce: Digest, next_burn: u64) -> Act {
    Act::Fresh(Vouched {
        challenge: nonce,
        slot_floor: challenge
            .slot
            .checked_add(challenge.horizon_slots + 600)
            .unwrap(),
        lock: SideHeight::new(1),
        next_burn: BurnSequence::new(next_burn),
    })
}

/// A copy of the state is put back after the signer went on. The counter makes it silent; officers make it sign again, but
/// nothing that the lost state can have signed, and any other copy is silent then.
#[test]
fn officers_vouch_for_a_restored_state() {
    let mut session = session();
    let paid = request(&mut session.honest, &Plan::simple(0, 1));
    session.close();
    let copy = std::fs::read(session.state()).unwrap();
    session.restart(AuditLimits::default());
    session.vote(10).unwrap();
    session.peg_out(paid.clone()).unwrap();
    session.close();
    let newest = std::fs::read(session.state()).unwrap();
    log::write(&session.state(), &copy);
    session.restart(AuditLimits::default());
    assert_eq!(session.vote(11), Err(Rule::Fresh));
    assert_eq!(session.peg_out(paid.clone()), Err(Rule::Fresh));

    // No challenge is open in this run yet.
    let slot = Slot::at(
        log::now().get(),
        session.honest.chain.spec().slots.duration_ms,
    )
    .unwrap();
    let vouched = Act::Fresh(Vouched {
        challenge: Digest::new([1; 32]),
        slot_floor: slot.checked_add(600).unwrap(),
        lock: SideHeight::new(1),
        next_burn: BurnSequence::new(1),
    });
    assert_eq!(session.says(1, vouched, &[0, 1]), Err(Rule::Fresh));
    let challenge = session.challenge();
    assert_eq!(session.challenge(), challenge, "until it is used");
    assert_eq!(session.says(1, vouched, &[0, 1]), Err(Rule::Fresh));
    let vouched = fresh(&challenge, challenge.nonce, 1);
    assert_eq!(session.says(1, vouched, &[0]), Err(Rule::Quorum));
    session.restart(AuditLimits::default());
    // A challenge of a run that ended is none.
    assert_eq!(session.says(1, vouched, &[0, 1]), Err(Rule::Fresh));
    let challenge = session.challenge();
    let vouched = fresh(&challenge, challenge.nonce, 1);
    session.says(1, vouched, &[0, 1]).unwrap();
    assert_eq!(session.says(2, vouched, &[0, 1]), Err(Rule::Fresh), "used");

    // Nothing up to the floor, no burn below the mark, not even as a repeat.
    assert_eq!(session.vote(11), Err(Rule::SlotMonotonic));
    assert_eq!(session.peg_out(paid), Err(Rule::BurnSequence));
    session.restart(AuditLimits::default());
    assert_eq!(
        session.vote(11),
        Err(Rule::SlotMonotonic),
        "it is fresh by the counter"
    );
    assert_eq!(statements(&session), (1, 5));

    // The state that was lost turns up again: it is the old one now.
    log::write(&session.state(), &newest);
    session.restart(AuditLimits::default());
    assert_eq!(session.vote(12), Err(Rule::Fresh));
}

#[test]
fn without_a_counter_officers_vouch_for_one_run() {
    let mut session = session();
    session.counter = false;
    session.restart(AuditLimits::default());
    assert_eq!(session.vote(10), Err(Rule::Fresh));
    let challenge = session.challenge();
    let vouched = fresh(&challenge, challenge.nonce, 0);
    session.says(1, vouched, &[0, 1]).unwrap();
    assert_eq!(session.vote(10), Err(Rule::SlotMonotonic));
    let status = session.status();
    assert_eq!(status.silent, None);
    assert!(status.counter.contains("until this process ends"));
    let floor = status.last_slot;
    let above = session.honest.child_of(1, 1, |link| {
        link.header.slot = floor.checked_add(1).unwrap();
    });
    // Beyond the clock's horizon, as the floor is: the slot is what stops it, no longer freshness.
    let vote = session.honest.approve(&above);
    assert_eq!(session.approve(vote), Err(Rule::SlotHorizon));
    session.restart(AuditLimits::default());
    assert_eq!(
        session.vote(10),
        Err(Rule::Fresh),
        "the next run is silent again"
    );
    assert_eq!(statements(&session), (1, 0));
}

#[test]
fn a_floor_is_neither_within_reach_nor_out_of_sight() {
    let session = session();
    let challenge = session.challenge();
    let with_floor = |slot: u64| {
        Act::Fresh(Vouched {
            challenge: challenge.nonce,
            slot_floor: Slot::new(slot),
            lock: SideHeight::new(1),
            next_burn: BurnSequence::new(0),
        })
    };
    let now = challenge.slot.get();
    for floor in [0, now, u64::MAX, now + 100_000] {
        assert_eq!(
            session.says(1, with_floor(floor), &[0, 1]),
            Err(Rule::Fresh)
        );
    }
    assert_eq!(statements(&session), (0, 4));
}

fn run(rig: &Rig, client: &Path, arguments: &[&str]) -> Output {
    support::plain_command(
        &[arguments, &["--client", client.to_str().unwrap()]].concat(),
        rig.directory.path(),
    )
}

/// The whole way with commands: draft, sign, hand in, over mTLS; and who may not.
#[tokio::test]
async fn statements_are_drafted_signed_and_handed_in() {
    let rig = Rig::new();
    let running = rig.start();
    let client = |role: &str| {
        let path = rig.path(&format!("client-{role}.toml"));
        let config = rig.client_config(&running, role);
        support::write(&path, &toml::to_string(&config).unwrap());
        path
    };
    let officer = client("officer");
    let draft = |act: &str, file: &str| {
        let output = run(
            &rig,
            &officer,
            &["statement", "draft", act, "--output", file],
        );
        assert!(output.status.success(), "{output:?}");
        (
            std::fs::read_to_string(rig.path(file)).unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (text, said) = draft("pause", "pause.toml");
    assert!(said.contains("PAUSE") && text.contains("# PAUSE"), "{text}");
    let again = run(
        &rig,
        &officer,
        &["statement", "draft", "pause", "--output", "pause.toml"],
    );
    assert!(!again.status.success(), "files are not overwritten");

    let submit = |client: &Path, file: &str| run(&rig, client, &["statement", "submit", file]);
    let unsigned = submit(&officer, "pause.toml");
    assert!(!unsigned.status.success());
    let error = String::from_utf8(unsigned.stderr).unwrap();
    assert!(
        error.contains("quorum") && error.contains("any of 3 officers"),
        "{error}"
    );
    let sign = |file: &str, officer: usize, text: &str| {
        let path = rig.path(&format!("{file}.{officer}.minisig"));
        support::write(&path, &rig.officers.signature(officer, text));
    };
    sign("pause.toml", 2, &text);
    // The certificate's role decides who may hand it in, whatever the signatures are.
    for role in ["node", "auditor"] {
        let output = submit(&client(role), "pause.toml");
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains(role) && error.contains("statement"),
            "{error}"
        );
    }
    let output = submit(&officer, "pause.toml");
    assert!(output.status.success(), "{output:?}");
    let status = rig
        .client(&running, "auditor")
        .await
        .status()
        .await
        .unwrap();
    assert!(status.paused);
    assert_eq!(status.last_statement, StatementNumber::new(1));

    let (text, _) = draft("resume", "resume.toml");
    sign("resume.toml", 0, &text);
    assert!(!submit(&officer, "resume.toml").status.success());
    sign("resume.toml", 1, &text);
    assert!(submit(&officer, "resume.toml").status.success());
    assert!(!submit(&officer, "resume.toml").status.success(), "once");
    let status = rig
        .client(&running, "auditor")
        .await
        .status()
        .await
        .unwrap();
    assert!(!status.paused);
    assert_eq!(status.last_statement, StatementNumber::new(2));
    let explained = support::plain_command(
        &["statement", "explain", "resume.toml"],
        rig.directory.path(),
    );
    assert!(
        String::from_utf8(explained.stdout)
            .unwrap()
            .contains("RESUME")
    );
    assert!(running.stop());
    let archive = open_state(&rig.path("state.redb")).unwrap();
    assert!(replay(&archive).unwrap().is_complete());
}

/// A lost counter is replaced; the signer is silent until officers vouch, and signs by the new one afterwards.
#[tokio::test]
async fn a_lost_counter_is_replaced_and_officers_vouch() {
    let rig = Rig::new();
    assert!(rig.start().stop());
    let config = rig.path("signer.toml");
    let exists = support::bare_command(&config, &["counter", "replace"]);
    assert!(!exists.status.success(), "a counter is never set back");
    std::fs::remove_file(rig.path("counter")).unwrap();
    {
        let running = rig.start();
        let client = rig.client(&running, "officer").await;
        assert_eq!(
            client.status().await.unwrap().silent.unwrap().rule,
            Rule::Fresh
        );
        let challenge = client.challenge().await.unwrap();
        let signed = rig.says(&challenge, fresh(&challenge, challenge.nonce, 0));
        let error = client.statement(signed).await.unwrap_err().to_string();
        assert!(error.contains("counter cannot be read"), "{error}");
        assert!(running.stop());
    }
    let replaced = support::bare_command(&config, &["counter", "replace"]);
    assert!(replaced.status.success(), "{replaced:?}");
    for round in 0..2 {
        let running = rig.start();
        let client = rig.client(&running, "officer").await;
        let status = client.status().await.unwrap();
        if round == 0 {
            assert_eq!(status.silent.unwrap().rule, Rule::Fresh);
            let challenge = client.challenge().await.unwrap();
            let signed = rig.says(&challenge, fresh(&challenge, challenge.nonce, 0));
            client.statement(signed).await.unwrap();
            assert_eq!(client.status().await.unwrap().silent, None);
        } else {
            assert_eq!(status.silent, None, "fresh by the new counter");
        }
        assert!(running.stop());
    }
}
