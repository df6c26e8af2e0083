//! The audit log of an engine: what is recorded, what is found when it is changed, and that it replays.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/log.rs"]
mod log;
mod support;

use alys_protocol::bytes::Digest;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{Reply, Request};
use alys_protocol::units::{BtcHeight, Sats};
use alys_signer::audit::archive::Record;
use alys_signer::audit::entry::{Cause, Event, StateName, Verdict, entry_hash};
use alys_signer::audit::recorder::TurnedAwayFor;
use alys_signer::audit::replay::{ReplayError, replay, simulate};
use alys_signer::audit::verify::{Break, Expectations, verify};
use alys_signer::audit::{Archive, AuditKey, AuditLimits, Entry, Sequence, open_state};
use alys_signer::authority::Operation;
use alys_signer::limits::Fingerprint;
use alys_signer_client::Role;
use alys_signer_core::Policy;
use log::{Session, asker, rewrite};

fn whole(archive: &Archive) -> alys_signer::audit::verify::Report {
    verify(archive, &Expectations::default()).unwrap()
}

/// Votes, a proposal, a peg-out, refusals of each, repeats, two starts.
fn session(limits: AuditLimits) -> Session {
    let mut session = Session::new(limits);
    session.everything();
    session
}

#[test]
fn every_decision_has_its_entry_and_replays() {
    let session = session(AuditLimits::default());
    let given = session.given.clone();
    let archive = session.archive();
    let report = whole(&archive);
    assert_eq!(report.first, Sequence::new(0));
    assert_eq!(report.signed_up_to, report.end, "closed with a checkpoint");
    assert_eq!(report.without_evidence, 0);
    let entries = log::entries(&archive);
    let mut verdicts = Vec::new();
    for entry in &entries {
        if let Event::Decided(decided) = &entry.event {
            assert_eq!(decided.role, Role::Node);
            assert_eq!(decided.certificate, asker().certificate.0);
            verdicts.push((decided.operation, decided.verdict.clone()));
        }
    }
    let signed = |operation| {
        verdicts
            .iter()
            .filter(|(of, verdict)| *of == operation && matches!(verdict, Verdict::Signed { .. }))
            .count()
    };
    assert_eq!(signed(Operation::Approve), 5);
    assert_eq!(signed(Operation::SignProposal), 1);
    assert_eq!(signed(Operation::SignPegOut), 1);
    // Every signature that was given has its entry.
    for digest in &given {
        assert!(verdicts.iter().any(|(_, verdict)| matches!(verdict,
            Verdict::Signed { intent } | Verdict::Repeated { intent } if intent == digest)));
    }
    for rule in [Rule::SlotMonotonic, Rule::Leader, Rule::BurnSequence] {
        let refused = verdicts.iter().any(
            |(_, verdict)| matches!(verdict, Verdict::Refused { rule: by, .. } if *by == rule),
        );
        assert!(refused, "{rule}");
    }
    // Two starts.
    let starts = entries.iter().filter(|entry| matches!(&entry.event, Event::Standing(standing) if standing.cause == Cause::Started));
    assert_eq!(starts.count(), 2);
    let replayed = replay(&archive).unwrap();
    assert!(replayed.is_complete());
    assert_eq!(replayed.identical, verdicts.len() as u64);
    assert_eq!(replayed.approvals, 2, "of the policy, at each start");
}

#[test]
fn repeats_are_counted_and_get_no_entries() {
    let mut session = Session::new(AuditLimits {
        count_seconds: 0,
        ..AuditLimits::default()
    });
    session.honest.grow(1);
    let block = session.honest.child_of(1, 1, |_| ());
    let vote = session.honest.approve(&block);
    let rival = session.honest.child_of(1, 1, |link| {
        link.header.bitcoin.height = BtcHeight::new(101);
    });
    let rival = session.honest.approve(&rival);
    for _time in 0..10 {
        session.approve(vote.clone()).unwrap();
        assert_eq!(session.approve(rival.clone()), Err(Rule::SlotMonotonic));
    }
    // The same vote in other bytes is another request: an entry, and no other signature.
    let mut other = vote.clone();
    other.ancestors = alys_protocol::bounded::BoundedVec::empty();
    assert_ne!(other, vote);
    let again = session.approve(other).unwrap();
    assert_eq!(again, session.approve(vote).unwrap());
    for reason in [
        TurnedAwayFor::TooMany,
        TurnedAwayFor::Forbidden,
        TurnedAwayFor::Malformed,
        TurnedAwayFor::TooMany,
    ] {
        session.engine().turned_away(asker(), reason);
    }
    session.engine().tick();
    let archive = session.archive();
    let entries = log::entries(&archive);
    // Start, policy, yes, no, repeat in other bytes, counts.
    assert_eq!(entries.len(), 6, "{entries:#?}");
    let Event::Counted(counted) = &entries[5].event else {
        panic!("{:?}", entries[5]);
    };
    let times: Vec<(u64, u64)> = counted
        .repeats
        .iter()
        .map(|repeats| (repeats.entry.get(), repeats.times))
        .collect();
    assert_eq!(times, [(2, 10), (3, 9)]);
    let [row] = counted.turned_away.as_slice() else {
        panic!("{counted:?}");
    };
    assert_eq!((row.too_many, row.forbidden, row.malformed), (2, 1, 1));
    assert!(replay(&archive).unwrap().is_complete());
}

#[test]
fn segments_move_to_files_and_old_evidence_goes() {
    let limits = AuditLimits {
        checkpoint_entries: 2,
        segment_entries: 4,
        ..AuditLimits::default()
    };
    let mut session = Session::new(limits.clone());
    session.honest.grow(1);
    for round in 0..6 {
        session.vote(10 + round).unwrap();
        session.engine().tick();
    }
    // Readable while the signer runs.
    let files = session.files();
    assert!(files.len() >= 6, "{files:?}");
    let running = Archive::open(&files).unwrap();
    let sealed = whole(&running);
    assert_eq!(sealed.signed_up_to, sealed.end);
    assert!(replay(&running).unwrap().is_complete());
    // A signer that is asked nothing writes nothing.
    for _second in 0..3 {
        session.engine().tick();
    }
    assert_eq!(session.files(), files);
    // Each segment by itself, too.
    for entries in files
        .iter()
        .filter(|file| file.extension().unwrap() == "entries")
    {
        let segment: Vec<_> = ["entries", "evidence", "refused"]
            .iter()
            .map(|extension| entries.with_extension(extension))
            .collect();
        let segment = Archive::open(&segment).unwrap();
        whole(&segment);
        assert!(replay(&segment).unwrap().is_complete());
    }
    // No room for old evidence: entries stay and verify, and what can be replayed is.
    session.restart(AuditLimits {
        evidence_mib: 0,
        refused_evidence_mib: 0,
        ..limits
    });
    session.engine().tick();
    session.vote(100).unwrap();
    let archive = session.archive();
    let report = whole(&archive);
    assert_eq!(report.signed, 7);
    assert!(report.without_evidence >= 4, "{report:?}");
    let expected = Expectations {
        key: None,
        includes: Some((sealed.end, sealed.head)),
    };
    verify(&archive, &expected).unwrap();
    let replayed = replay(&archive).unwrap();
    assert!(!replayed.is_complete());
    assert!(replayed.identical >= 1, "{replayed:?}");
    assert_eq!(
        replayed.identical + replayed.without_evidence + replayed.without_state,
        7
    );
}

#[test]
fn a_full_disk_keeps_votes_and_counts_refusals() {
    let mut session = Session::new(AuditLimits {
        reserved_mib: u64::MAX >> 20,
        count_seconds: 0,
        ..AuditLimits::default()
    });
    session.honest.grow(1);
    session.vote(10).unwrap();
    for round in 0..3 {
        assert_eq!(session.rival(10, 101 + round), Err(Rule::SlotMonotonic));
    }
    session.vote(11).unwrap();
    session.engine().tick();
    let archive = session.archive();
    let report = whole(&archive);
    assert_eq!((report.signed, report.refused), (2, 0));
    assert_eq!(report.without_evidence, 2);
    let entries = log::entries(&archive);
    let Event::Counted(counted) = &entries[4].event else {
        panic!("{entries:#?}");
    };
    assert_eq!(counted.unrecorded, 3);
}

#[test]
fn refused_evidence_cannot_displace_what_was_signed() {
    let mut session = Session::new(AuditLimits {
        segment_mib: 0,
        ..AuditLimits::default()
    });
    session.honest.grow(1);
    session.vote(10).unwrap();
    assert_eq!(session.rival(10, 101), Err(Rule::SlotMonotonic));
    let archive = session.archive();
    let report = whole(&archive);
    assert_eq!((report.signed, report.refused), (1, 1));
    assert_eq!(report.without_evidence, 1, "the refused request");
    // Nothing signed is left out by that.
    let replayed = replay(&archive).unwrap();
    assert_eq!((replayed.identical, replayed.without_evidence), (1, 1));
}

/// Where a break is: the first and the last entry that can be the changed one.
fn place(error: &Break) -> (u64, u64) {
    match error {
        Break::Missing(sequence) => (sequence.get(), sequence.get()),
        Break::Chain { sequence, .. } => (sequence.get().saturating_sub(1), sequence.get()),
        Break::Contradiction { sequence, .. } => (sequence.get(), sequence.get()),
        Break::Evidence { sequence, .. } => (sequence.get(), sequence.get()),
        // The chain up to there is whole.
        Break::Checkpoint { count, .. } | Break::NotIncluded { count, .. } => {
            (count.get() - 1, count.get() - 1)
        }
        Break::Archive(_) | Break::Empty => panic!("no place: {error}"),
    }
}

fn broken(records: &[Record], expected: &Expectations) -> Break {
    verify(&rewrite(records), expected).expect_err("a changed log verifies")
}

#[test]
fn every_change_of_an_entry_is_found_where_it_is() {
    let records = session(AuditLimits::default()).records();
    let chain = log::header(&records).chain;
    let count = log::header(&records).end.get();
    whole(&rewrite(&records));
    let mut changes = 0;
    for number in 0..count {
        let original = log::entry_of(&records, number);
        for changed in log::mutations(&original) {
            let mut forged = records.clone();
            log::replace(&mut forged, number, &changed);
            let error = broken(&forged, &Expectations::default());
            let (from, to) = place(&error);
            assert!((from..=to).contains(&number), "entry {number}: {error}");
            assert!(to - from <= 1, "{error}");
            changes += 1;
        }
    }
    println!("{changes} changes of {count} entries found");
    assert!(changes > 150);
    // The hash is what the chain says: no other part of the file matters.
    let last = log::entry_of(&records, count - 1).encode().unwrap();
    assert_eq!(whole(&rewrite(&records)).head, entry_hash(chain, &last));
}

#[test]
fn dropped_swapped_and_cut_off_entries_are_found() {
    let records = session(AuditLimits::default()).records();
    let count = log::header(&records).end.get();
    let none = Expectations::default();
    for number in 0..count {
        let mut forged = records.clone();
        log::remove(&mut forged, number);
        assert_eq!(place(&broken(&forged, &none)), (number, number));
    }
    for number in 1..count - 1 {
        let (one, other) = (
            log::entry_of(&records, number),
            log::entry_of(&records, number + 1),
        );
        let mut forged = records.clone();
        let event = |at: &Entry, of: &Entry| Entry {
            event: of.event.clone(),
            ..at.clone()
        };
        log::replace(&mut forged, number, &event(&one, &other));
        log::replace(&mut forged, number + 1, &event(&other, &one));
        if one.event == other.event {
            continue;
        }
        let (from, to) = place(&broken(&forged, &none));
        assert!(from <= number + 1 && to >= number, "{number}: {from}..{to}");
    }
    // Cut off: the header says that there was more, and without it the checkpoint does.
    let mut forged = records.clone();
    log::remove(&mut forged, count - 1);
    assert!(matches!(broken(&forged, &none), Break::Missing(_)));
    log::shorten(&mut forged, count - 1);
    assert!(matches!(broken(&forged, &none), Break::Checkpoint { .. }));
    // Without the checkpoints it is a shorter log, unsigned at its end, and not the one that the auditor knew.
    let head = whole(&rewrite(&records)).head;
    forged.retain(|record| !matches!(record, Record::Checkpoint(_)));
    let report = whole(&rewrite(&forged));
    assert_eq!(report.signed_up_to, Sequence::new(0));
    let known = Expectations {
        key: None,
        includes: Some((Sequence::new(count), head)),
    };
    assert!(matches!(broken(&forged, &known), Break::NotIncluded { .. }));
    verify(&rewrite(&records), &known).unwrap();
}

#[test]
fn replaced_evidence_is_found() {
    let records = session(AuditLimits::default()).records();
    let blobs: Vec<usize> = (0..records.len())
        .filter(|place| matches!(records[*place], Record::Blob(_)))
        .collect();
    assert!(blobs.len() > 8);
    for place in blobs {
        let mut forged = records.clone();
        let Record::Blob(blob) = &mut forged[place] else {
            panic!();
        };
        let digest = blob.digest(log::header(&records).chain);
        blob.bytes[0] ^= 1;
        let error = broken(&forged, &Expectations::default());
        let Break::Evidence {
            sequence, expected, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(expected, digest);
        let entry = log::entry_of(&records, sequence.get());
        assert!(entry.blobs().contains(&digest));
    }
}

#[test]
fn forged_checkpoints_are_found() {
    let session = session(AuditLimits::default());
    let key = session.audit_key();
    let records = session.records();
    let chain = log::header(&records).chain;
    let count = log::header(&records).end;
    let pinned = Expectations {
        key: Some(key),
        includes: None,
    };
    let report = verify(&rewrite(&records), &pinned).unwrap();
    assert_eq!(report.key, Some(key.to_string()));
    let own = AuditKey::generate().unwrap();
    let sign = |records: &mut Vec<Record>, head: Digest| {
        for record in records.iter_mut() {
            if let Record::Checkpoint(checkpoint) = record
                && checkpoint.count == count
            {
                *checkpoint = own.checkpoint(chain, count, head, checkpoint.time);
            }
        }
    };
    // Another key's signature under the same head.
    let mut forged = records.clone();
    sign(&mut forged, report.head);
    assert!(matches!(
        broken(&forged, &Expectations::default()),
        Break::Checkpoint { .. }
    ));
    // The signer's own checkpoint with another time.
    let mut forged = records.clone();
    for record in &mut forged {
        if let Record::Checkpoint(checkpoint) = record {
            checkpoint.signature[63] ^= 1;
        }
    }
    assert!(matches!(
        broken(&forged, &Expectations::default()),
        Break::Checkpoint { .. }
    ));
    // Everything written anew from an entry on, in one piece: only the signature stands against it.
    let mut forged = records.clone();
    let mut refused = log::entry_of(&forged, 2);
    refused.time = alys_signer::audit::UnixMillis::new(1);
    log::replace(&mut forged, 2, &refused);
    let head = log::rechain(&mut forged);
    assert!(matches!(
        broken(&forged, &Expectations::default()),
        Break::Checkpoint { .. }
    ));
    // And with all keys exchanged: only the key that the auditor knows.
    for number in 0..count.get() {
        let mut entry = log::entry_of(&forged, number);
        if let Event::Standing(standing) = &mut entry.event {
            standing.audit_key = own.public();
        }
        log::replace(&mut forged, number, &entry);
    }
    let rechained = log::rechain(&mut forged);
    assert_ne!(rechained, head);
    forged.retain(
        |record| !matches!(record, Record::Checkpoint(checkpoint) if checkpoint.count != count),
    );
    sign(&mut forged, rechained);
    whole(&rewrite(&forged));
    let error = broken(&forged, &pinned);
    assert!(error.to_string().contains("audit key"), "{error}");
}

#[test]
fn a_decision_that_the_core_does_not_make_is_found() {
    let records = session(AuditLimits::default()).records();
    let count = log::header(&records).end.get();
    let mut found = 0;
    for number in 0..count {
        let original = log::entry_of(&records, number);
        let Event::Decided(decided) = &original.event else {
            continue;
        };
        let intent = Digest::new([9; 32]);
        let mut flipped: Vec<Verdict> = vec![Verdict::Repeated { intent }];
        match &decided.verdict {
            Verdict::Refused {
                expected, found, ..
            } => flipped.push(Verdict::Refused {
                rule: Rule::Chain,
                expected: expected.clone(),
                found: found.clone(),
            }),
            Verdict::Signed { intent } => flipped.push(Verdict::Repeated { intent: *intent }),
            Verdict::Repeated { .. } => {}
            Verdict::Accepted => panic!("{decided:?}"),
        }
        for verdict in flipped {
            let mut entry = original.clone();
            let Event::Decided(decided) = &mut entry.event else {
                panic!();
            };
            decided.verdict = verdict;
            // Nothing of it shows in the chain, which is written anew and unsigned.
            let mut forged = records.clone();
            forged.retain(|record| !matches!(record, Record::Checkpoint(_)));
            log::replace(&mut forged, number, &entry);
            log::rechain(&mut forged);
            let error = replay(&rewrite(&forged)).unwrap_err();
            let ReplayError::Difference { sequence, what, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!((sequence.get(), *what), (number, "decision"), "{error}");
            found += 1;
        }
    }
    assert!(found > 15, "{found}");
    // Other inputs, another decision: the clock of the slot horizon, and what follows for the state.
    let vote = (0..count)
        .find(|number| {
            matches!(&log::entry_of(&records, *number).event,
                Event::Decided(decided) if decided.operation == Operation::Approve
                    && matches!(decided.verdict, Verdict::Signed { .. }))
        })
        .unwrap();
    let changes: [fn(&mut alys_signer::audit::entry::Decided); 2] = [
        |decided| decided.inputs.slot = alys_protocol::units::Slot::new(5),
        |decided| decided.after = decided.before,
    ];
    for change in changes {
        let mut entry = log::entry_of(&records, vote);
        let Event::Decided(decided) = &mut entry.event else {
            panic!();
        };
        change(decided);
        let mut forged = records.clone();
        log::replace(&mut forged, vote, &entry);
        let error = replay(&rewrite(&forged)).unwrap_err();
        assert!(
            matches!(&error, ReplayError::Difference { sequence, .. } if sequence.get() == vote),
            "{error}"
        );
    }
}

#[test]
fn another_policy_is_tried_on_real_decisions() {
    let session = session(AuditLimits::default());
    let policy = Policy::of_chain(&session.honest.chain);
    let archive = session.archive();
    let (replayed, changes) = simulate(&archive, &policy).unwrap();
    assert!(replayed.is_complete());
    assert_eq!(changes, []);
    let stricter = Policy {
        max_fee_sats: Sats::new(1),
        ..policy
    };
    let (_, changes) = simulate(&archive, &stricter).unwrap();
    let [change] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(change.operation, "sign-peg-out");
    assert!(matches!(change.decided, Verdict::Signed { .. }));
    assert!(matches!(
        &change.proposed,
        Verdict::Refused {
            rule: Rule::FeeAbsolute,
            ..
        }
    ));
}

#[test]
fn a_state_put_back_without_its_log_shows() {
    let records = session(AuditLimits::default()).records();
    let count = log::header(&records).end.get();
    // The second start with another state than the one that was left.
    let second = (1..count)
        .find(|number| matches!(log::entry_of(&records, *number).event, Event::Standing(_)))
        .unwrap();
    let mut entry = log::entry_of(&records, second);
    let Event::Standing(standing) = &mut entry.event else {
        panic!();
    };
    let vote = standing
        .states
        .iter_mut()
        .find(|state| state.name == StateName::Vote)
        .unwrap();
    vote.digest = Digest::new([1; 32]);
    let mut forged = records.clone();
    log::replace(&mut forged, second, &entry);
    log::rechain(&mut forged);
    let error = broken(&forged, &Expectations::default());
    assert_eq!(place(&error), (second, second), "{error}");
}

#[test]
fn strangers_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let mut record = b"alys-audit/1\n".to_vec();
    record.extend([0xff, 0xff, 0xff, 0xff, 0]);
    for (bytes, word) in [
        (b"".to_vec(), "0 bytes"),
        (b"alys-audit/2\n....".to_vec(), "alys-audit/2"),
        (b"alys-audit/1\n\0\0".to_vec(), "2 bytes at the end"),
        (record, "4294967295"),
        (b"alys-audit/1\n\0\0\0\x01\x09".to_vec(), "other bytes"),
        (b"alys-audit/1\n\0\0\0\x02\x01\0".to_vec(), "another record"),
    ] {
        log::write(&path, &bytes);
        let error = Archive::open(&[&path]).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(open_state(&directory.path().join("none")).is_err());
}

#[test]
fn an_old_state_without_a_log_gets_one() {
    let mut session = Session::without_log();
    session.honest.grow(1);
    session.vote(10).unwrap();
    let archive = session.archive();
    let report = whole(&archive);
    assert_eq!((report.signed, report.signed_up_to), (1, report.end));
    assert!(replay(&archive).unwrap().is_complete());
}

#[test]
fn only_certificates_that_asked_are_in_the_counts() {
    let mut session = Session::new(AuditLimits::default());
    session.honest.grow(1);
    let other = alys_signer::engine::Asker {
        role: Role::Auditor,
        certificate: Fingerprint([8; 32]),
    };
    // A status is no decision.
    let body = log::body(&Request::Status);
    let reply = session.engine().handle(other, &body, &Request::Status);
    assert!(matches!(reply, Reply::Status(_)));
    session
        .engine()
        .turned_away(other, TurnedAwayFor::Forbidden);
    let entries = log::entries(&session.archive());
    assert_eq!(entries.len(), 3, "{entries:#?}");
    let Event::Counted(counted) = &entries[2].event else {
        panic!("{entries:#?}");
    };
    assert_eq!(counted.turned_away[0].role, Role::Auditor);
    assert_eq!(counted.turned_away[0].forbidden, 1);
}

/// No byte of a file is without meaning, and none brings the verifier down.
#[test]
fn flipped_bits_anywhere_are_found() {
    let records = session(AuditLimits::default()).records();
    let bytes = log::file_of(&records);
    let end_of_header = log::file_of(&records[..1]).len();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let whole = |bytes: &[u8]| {
        log::write(&path, bytes);
        Archive::open(&[&path])
            .map_err(Break::from)
            .and_then(|archive| verify(&archive, &Expectations::default()))
    };
    whole(&bytes).unwrap();
    let mut flips = 0;
    for place in (0..bytes.len()).step_by(11) {
        let mut changed = bytes.clone();
        changed[place] ^= 1 << (place % 8);
        let found = whole(&changed);
        // That a file is about fewer entries than it has means nothing.
        assert!(
            found.is_err() || place == end_of_header - 1,
            "byte {place} of {}",
            bytes.len()
        );
        flips += 1;
    }
    for length in (0..bytes.len()).step_by(997) {
        assert!(whole(&bytes[..length]).is_err(), "cut at {length}");
    }
    println!("{flips} flips in {} bytes found", bytes.len());
}
