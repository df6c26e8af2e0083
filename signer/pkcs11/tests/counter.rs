//! The freshness counter, against SoftHSM: advances, crashes, races, and what a copy does.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::{CounterMark, CounterValue, Lease, Standing, fresh};
use alys_signer_pkcs11::{TokenCounter, TokenError};
use cryptoki::object::{Attribute, ObjectClass};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use support::{ROLE, again, in_child, make_token, open, raw, session, softhsm};

const LABEL: &str = "freshness";

fn tag(byte: u8) -> CounterTag {
    CounterTag::new([byte; 16])
}

fn mark(value: u64, byte: u8) -> CounterMark {
    CounterMark {
        value: CounterValue::new(value),
        tag: tag(byte),
    }
}

fn counter(folder: &Path) -> TokenCounter {
    TokenCounter::new(open(&softhsm(), folder), LABEL)
}

#[test]
fn it_goes_up_by_one_from_where_it_stands() {
    in_child("it_goes_up_by_one_from_where_it_stands", |folder| {
        make_token(&raw(&softhsm()), "alys");
        let counter = counter(folder);
        assert_eq!(counter.read().unwrap(), None);
        let error = counter.advance(CounterMark::ZERO, tag(1)).unwrap_err();
        assert!(matches!(&error, TokenError::CounterMoved { found, .. } if found == "no counter"));
        counter.create().unwrap();
        assert!(matches!(
            counter.create(),
            Err(TokenError::CounterExists { .. })
        ));
        assert_eq!(counter.read().unwrap(), Some(CounterMark::ZERO));
        let mut from = CounterMark::ZERO;
        for number in 1..=20u8 {
            from = counter.advance(from, tag(number)).unwrap();
            assert_eq!(from, mark(number.into(), number));
            assert_eq!(counter.read().unwrap(), Some(from));
        }
        assert!(matches!(
            counter.create(),
            Err(TokenError::CounterExists { .. })
        ));
        for wrong in [mark(19, 19), mark(21, 21), mark(20, 21), CounterMark::ZERO] {
            let error = counter.advance(wrong, tag(1)).unwrap_err();
            assert!(
                matches!(&error, TokenError::CounterMoved { expected, found, .. }
                    if *expected == wrong && *found == from.to_string()),
                "{error}"
            );
        }
        assert!(matches!(
            counter.advance(mark(u64::MAX, 1), tag(1)),
            Err(TokenError::CounterExhausted { .. })
        ));
        assert_eq!(counter.read().unwrap(), Some(from));
    });
}

/// The objects of the counter in the order of their values, as raw bytes.
fn objects(session: &cryptoki::session::Session) -> Vec<Vec<u8>> {
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Label(LABEL.into()),
    ];
    let handles = session.find_objects(&template).unwrap();
    let mut values: Vec<_> = handles
        .into_iter()
        .map(|handle| {
            let kinds = [cryptoki::object::AttributeType::Value];
            match session.get_attributes(handle, &kinds).unwrap().remove(0) {
                Attribute::Value(bytes) => bytes,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    values.sort();
    values
}

fn plant(session: &cryptoki::session::Session, private: bool, value: &[u8]) {
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(private),
        Attribute::Application(b"alys".to_vec()),
        Attribute::Label(LABEL.into()),
        Attribute::Value(value.to_vec()),
    ];
    session.create_object(&template).unwrap();
}

#[test]
fn a_crash_between_two_objects_is_seen_through_and_other_contents_are_errors() {
    let name = "a_crash_between_two_objects_is_seen_through_and_other_contents_are_errors";
    in_child(name, |folder| {
        let module = raw(&softhsm());
        let slot = make_token(&module, "alys");
        let counter = counter(folder);
        let session = session(&module, slot);
        counter.create().unwrap();
        let zero = objects(&session).remove(0);
        let one = counter.advance(CounterMark::ZERO, tag(1)).unwrap();
        assert_eq!(objects(&session).len(), 1, "the old object is gone");

        // As a crash after the new object and before the end of the old one leaves it.
        plant(&session, true, &zero);
        assert_eq!(counter.read().unwrap(), Some(one), "the highest counts");
        let two = counter.advance(one, tag(2)).unwrap();
        assert_eq!(objects(&session).len(), 1, "the next advance clears up");

        // What anybody without the PIN could put there is not looked at.
        plant(&session, false, &[9; 32]);
        assert_eq!(counter.read().unwrap(), Some(two));

        let current = objects(&session).remove(0);
        plant(&session, true, &current);
        let error = counter.read().unwrap_err();
        assert!(
            matches!(
                error,
                TokenError::CounterAmbiguous {
                    value: 2,
                    found: 2,
                    ..
                }
            ),
            "{error}"
        );
        assert!(counter.advance(two, tag(3)).is_err());

        for (label, value) in [
            ("short", &current[..31]),
            ("flipped", &[7; 32]),
            ("empty", &[]),
        ] {
            let other = TokenCounter::new(open(&softhsm(), folder), label);
            let template = [
                Attribute::Class(ObjectClass::DATA),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Application(b"alys".to_vec()),
                Attribute::Label(label.into()),
                Attribute::Value(value.to_vec()),
            ];
            session.create_object(&template).unwrap();
            let error = other.read().unwrap_err();
            assert!(
                matches!(error, TokenError::CounterMalformed { .. }),
                "{error}"
            );
            assert!(other.advance(CounterMark::ZERO, tag(1)).is_err());
        }
        // The checksum binds the label: another counter's object is none of this one.
        let other = TokenCounter::new(open(&softhsm(), folder), "moved");
        let template = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Application(b"alys".to_vec()),
            Attribute::Label("moved".into()),
            Attribute::Value(current.clone()),
        ];
        session.create_object(&template).unwrap();
        assert!(matches!(
            other.read(),
            Err(TokenError::CounterMalformed { .. })
        ));
    });
}

#[test]
fn a_killed_signer_leaves_the_last_value_or_the_next() {
    let name = "a_killed_signer_leaves_the_last_value_or_the_next";
    in_child(name, |folder| {
        if std::env::var_os(ROLE).is_some() {
            let counter = counter(folder);
            let mut from = counter.read().unwrap().unwrap();
            loop {
                let next = from.value.get() + 1;
                from = counter.advance(from, tag(next as u8)).unwrap();
                println!("\nadvanced {}", from.value);
            }
        }
        make_token(&raw(&softhsm()), "alys");
        let counter = counter(folder);
        counter.create().unwrap();
        let mut last = 0;
        for round in 1..=8 {
            let mut child = again(name)
                .env(ROLE, "advance")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut seen = 0;
            for line in lines.map(Result::unwrap) {
                if let Some(value) = line.strip_prefix("advanced ") {
                    last = value.parse().unwrap();
                    seen += 1;
                    if seen == round {
                        child.kill().unwrap();
                    }
                }
            }
            child.wait().unwrap();
            let found = counter.read().unwrap().unwrap();
            assert!(
                [last, last + 1].contains(&found.value.get()),
                "{found} after {last}"
            );
            assert_eq!(found.tag, tag(found.value.get() as u8));
        }
        let from = counter.read().unwrap().unwrap();
        counter.advance(from, tag(0)).unwrap();
    });
}

#[test]
fn of_several_processes_at_most_one_advances() {
    let name = "of_several_processes_at_most_one_advances";
    in_child(name, |folder| {
        if let Some(role) = std::env::var_os(ROLE) {
            let byte: u8 = role.to_str().unwrap().parse().unwrap();
            let counter = counter(folder);
            let mut from = counter.read().unwrap().unwrap();
            println!("\nready");
            // A line for each race: the value to start from.
            for line in std::io::stdin().lines() {
                let value: u64 = line.unwrap().parse().unwrap();
                if from.value.get() != value {
                    // Two that are about to take back what they made show one value twice.
                    let Ok(Some(found)) = counter.read() else {
                        println!("\nrace 0");
                        continue;
                    };
                    from = found;
                }
                let won = counter.advance(from, tag(byte));
                println!("\nrace {}", u8::from(won.is_ok()));
            }
            return;
        }
        make_token(&raw(&softhsm()), "alys");
        let counter = counter(folder);
        counter.create().unwrap();
        let (mut racers, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=3u8 {
            let mut racer = again(name)
                .env(ROLE, number.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            inputs.push(racer.stdin.take().unwrap());
            let mut lines = BufReader::new(racer.stdout.take().unwrap()).lines();
            // One after the other: SoftHSM rewrites the token's file at each login, and who reads it then finds no token.
            assert!(lines.any(|line| line.unwrap() == "ready"));
            outputs.push(lines);
            racers.push(racer);
        }
        for _ in 0..20 {
            let from = counter.read().unwrap().unwrap();
            for input in &mut inputs {
                writeln!(input, "{}", from.value).unwrap();
            }
            let won: u64 = outputs
                .iter_mut()
                .map(|lines| {
                    let line = lines.map(Result::unwrap).find(|it| it.starts_with("race "));
                    line.unwrap()["race ".len()..].parse::<u64>().unwrap()
                })
                .sum();
            let now = counter.read().unwrap().unwrap();
            assert_eq!(
                now.value.get(),
                from.value.get() + won,
                "each success is an advance"
            );
        }
        drop(inputs);
        for mut racer in racers {
            assert!(racer.wait().unwrap().success());
        }
        let from = counter.read().unwrap().unwrap();
        counter.advance(from, tag(9)).unwrap();
    });
}

/// The limit of a data object in SoftHSM, as the documentation says it: from a copy of its files it shows the old value. A
/// signer whose own state is newer is refused then; whoever puts back both is not found out.
#[test]
fn a_token_that_is_put_back_shows_the_old_value() {
    let name = "a_token_that_is_put_back_shows_the_old_value";
    in_child(name, |folder| {
        if std::env::var_os(ROLE).is_some() {
            let found = counter(folder).read().unwrap().unwrap();
            println!("\nstands at {}", found.value);
            return;
        }
        make_token(&raw(&softhsm()), "alys");
        let counter = counter(folder);
        counter.create().unwrap();
        let one = counter.advance(CounterMark::ZERO, tag(1)).unwrap();
        copy(&folder.join("tokens"), &folder.join("copy"));
        let two = counter.advance(one, tag(2)).unwrap();
        let three = counter.advance(two, tag(3)).unwrap();
        std::fs::remove_dir_all(folder.join("tokens")).unwrap();
        copy(&folder.join("copy"), &folder.join("tokens"));
        let output = again(name).env(ROLE, "read").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("stands at 1"), "{text}");

        let lease = |counter: CounterMark, before: CounterMark| Lease {
            counter,
            before: before.tag,
            ..Lease::default()
        };
        assert!(fresh(&lease(three, two), Some(one)).is_err());
        let both_put_back = fresh(&lease(one, CounterMark::ZERO), Some(one));
        assert_eq!(both_put_back, Ok(Standing::Equal), "nobody can tell");
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
