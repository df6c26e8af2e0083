//! Sealed mode, and what can be wrong with a token, against SoftHSM.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alys_signer_pkcs11::{Condition, KeyName, PinState, Sealed, SealingKey, Token, TokenError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::types::Ulong;
use std::io::Write as _;
use std::path::Path;
use support::{
    PIN, ROLE, again, in_child, make_token, open, pin_file, raw, session, softhsm, uri, write,
};

fn name() -> KeyName {
    KeyName::label("seal")
}

#[test]
fn what_is_sealed_opens_with_its_own_data_only() {
    in_child("what_is_sealed_opens_with_its_own_data_only", |folder| {
        make_token(&raw(&softhsm()), "alys");
        let token = open(&softhsm(), folder);
        let key = SealingKey::generate(token.clone(), name()).unwrap();
        assert!(key.generated_inside().unwrap());
        for secret in [&b""[..], b"s", &[7; 64], &[9; 64 << 10]] {
            let sealed = key.seal(b"member 1", secret).unwrap();
            assert_eq!(sealed.ciphertext.len(), secret.len() + 16);
            assert_eq!(*key.open_sealed(b"member 1", &sealed).unwrap(), secret);
        }
        let sealed = key.seal(b"member 1", b"secret").unwrap();
        assert_ne!(
            sealed,
            key.seal(b"member 1", b"secret").unwrap(),
            "nonces differ"
        );
        let refused = |aad: &[u8], change: &dyn Fn(&mut Sealed)| {
            let mut changed = sealed.clone();
            change(&mut changed);
            let error = key.open_sealed(aad, &changed).unwrap_err();
            assert!(matches!(error, TokenError::NotOpened { .. }), "{error}");
        };
        refused(b"member 2", &|_| ());
        refused(b"", &|_| ());
        refused(b"member 1", &|it| it.nonce[0] ^= 1);
        refused(b"member 1", &|it| it.ciphertext[0] ^= 1);
        refused(b"member 1", &|it| it.ciphertext[21] ^= 1);
        refused(b"member 1", &|it| it.ciphertext.truncate(15));
        refused(b"member 1", &|it| it.ciphertext.clear());
        let too_long = vec![0; (64 << 10) + 1];
        assert!(matches!(
            key.seal(b"", &too_long),
            Err(TokenError::Length { .. })
        ));
        // The session goes on after all that.
        assert_eq!(*key.open_sealed(b"member 1", &sealed).unwrap(), b"secret");

        let other = SealingKey::generate(token.clone(), KeyName::label("other")).unwrap();
        let error = other.open_sealed(b"member 1", &sealed).unwrap_err();
        assert!(matches!(error, TokenError::NotOpened { .. }), "{error}");
        let error = SealingKey::generate(token.clone(), name()).unwrap_err();
        assert!(matches!(error, TokenError::KeyExists { .. }), "{error}");
        let again = SealingKey::open(token.clone(), name()).unwrap();
        assert_eq!(*again.open_sealed(b"member 1", &sealed).unwrap(), b"secret");
        let health = token.health();
        assert_eq!(
            (health.condition, health.pin),
            (Condition::Ready, Some(PinState::Fine))
        );
        assert_eq!(health.reconnections, 0);
    });
}

#[test]
fn what_is_sealed_opens_after_a_restart() {
    let name = "what_is_sealed_opens_after_a_restart";
    in_child(name, |folder| {
        let path = folder.join("sealed");
        if std::env::var_os(ROLE).is_some() {
            let bytes = std::fs::read(&path).unwrap();
            let (nonce, ciphertext) = bytes.split_first_chunk().unwrap();
            let sealed = Sealed {
                nonce: *nonce,
                ciphertext: ciphertext.to_vec(),
            };
            let uri = uri(folder, "token=alys;object=seal;type=secret-key");
            let token = Token::open(&softhsm(), &uri).unwrap();
            let key = SealingKey::open(token, KeyName::of(&uri).unwrap()).unwrap();
            assert_eq!(*key.open_sealed(b"member 1", &sealed).unwrap(), [7; 64]);
            return;
        }
        make_token(&raw(&softhsm()), "alys");
        let key = SealingKey::generate(open(&softhsm(), folder), KeyName::label("seal")).unwrap();
        let sealed = key.seal(b"member 1", &[7; 64]).unwrap();
        let bytes = [&sealed.nonce[..], &sealed.ciphertext].concat();
        std::fs::File::create(&path)
            .unwrap()
            .write_all(&bytes)
            .unwrap();
        let output = again(name).env(ROLE, "restarted").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    });
}

#[test]
fn keys_that_could_leave_or_do_not_fit_are_refused() {
    in_child(
        "keys_that_could_leave_or_do_not_fit_are_refused",
        |folder| {
            let module = raw(&softhsm());
            let slot = make_token(&module, "alys");
            let token = open(&softhsm(), folder);
            let session = session(&module, slot);
            let make = |label: &str, bytes: u64, sensitive: bool, extractable: bool| {
                let template = [
                    Attribute::Label(label.as_bytes().to_vec()),
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(sensitive),
                    Attribute::Extractable(extractable),
                    Attribute::ValueLen(Ulong::new(bytes)),
                    Attribute::Encrypt(true),
                    Attribute::Decrypt(true),
                ];
                session
                    .generate_key(&Mechanism::AesKeyGen, &template)
                    .unwrap();
            };
            make("extractable", 32, true, true);
            make("readable", 32, false, false);
            make("short", 16, true, false);
            make("twice", 32, true, false);
            make("twice", 32, true, false);
            let refused =
                |label: &str| SealingKey::open(token.clone(), KeyName::label(label)).unwrap_err();
            let error = refused("extractable");
            assert!(
                matches!(&error, TokenError::KeyExtractable { found, .. } if found == "true"),
                "{error}"
            );
            let error = refused("readable");
            assert!(
                matches!(&error, TokenError::KeyExtractable { found, .. } if found == "false"),
                "{error}"
            );
            let error = refused("short");
            assert!(matches!(error, TokenError::KeyUnsuitable { .. }), "{error}");
            let error = refused("twice");
            assert!(
                matches!(error, TokenError::KeyAmbiguous { count: 2, .. }),
                "{error}"
            );
            let error = refused("none");
            assert!(matches!(error, TokenError::KeyMissing { .. }), "{error}");
            assert_eq!(error.condition(), Condition::Unsuitable);
            let error = KeyName::of(&uri(folder, "token=alys")).unwrap_err();
            assert!(matches!(error, TokenError::KeyUnnamed(_)), "{error}");
            assert_eq!(KeyName::of(&uri(folder, "object=seal")).unwrap(), name());
        },
    );
}

#[test]
fn a_wrong_pin_is_tried_once_until_its_file_changes() {
    in_child(
        "a_wrong_pin_is_tried_once_until_its_file_changes",
        |folder| {
            make_token(&raw(&softhsm()), "alys");
            let uri = uri(folder, "token=alys");
            pin_file(folder, "wrong-1234");
            let error = Token::open(&softhsm(), &uri).unwrap_err();
            assert!(
                matches!(
                    error,
                    TokenError::PinWrong {
                        left: PinState::CountLow,
                        ..
                    }
                ),
                "{error}"
            );
            assert!(!error.to_string().contains("wrong-1234"));
            for _ in 0..5 {
                let error = Token::open(&softhsm(), &uri).unwrap_err();
                assert!(matches!(error, TokenError::PinWithheld { .. }), "{error}");
                assert_eq!(error.condition(), Condition::PinWrong);
            }
            pin_file(folder, PIN);
            let token = Token::open(&softhsm(), &uri).unwrap();
            assert!(!format!("{token:?} {:?}", token.health()).contains(PIN));

            let nowhere = "pkcs11:token=alys".parse().unwrap();
            let error = Token::open(&softhsm(), &nowhere).unwrap_err();
            assert!(matches!(error, TokenError::PinSource { .. }), "{error}");
        },
    );
}

#[test]
fn the_one_token_that_is_meant_is_opened_or_none() {
    in_child("the_one_token_that_is_meant_is_opened_or_none", |folder| {
        let module = raw(&softhsm());
        let one = support::serial(&module, make_token(&module, "alys"));
        let two = support::serial(&module, make_token(&module, "alys"));
        make_token(&module, "another");
        pin_file(folder, PIN);
        let opened = |attributes: &str| Token::open(&softhsm(), &uri(folder, attributes));

        let error = opened("token=alys").unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, TokenError::Ambiguous { .. }), "{text}");
        assert!(
            text.contains(&one) && text.contains(&two) && !text.contains("another"),
            "{text}"
        );
        for serial in [&one, &two] {
            let token = opened(&format!("token=alys;serial={serial}")).unwrap();
            assert!(token.health().token.contains(serial));
        }
        for absent in [
            "token=nobody",
            "token=another;model=other",
            "token=another;slot-id=1",
        ] {
            let error = opened(absent).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, TokenError::Absent { .. }), "{text}");
            assert!(text.contains(&one) && text.contains("another"), "{text}");
        }
        opened("token=another;manufacturer=SoftHSM%20project;model=SoftHSM%20v2").unwrap();
    });
}

#[test]
fn what_is_no_module_is_not_loaded() {
    in_child("what_is_no_module_is_not_loaded", |folder| {
        let text = folder.join("text.so");
        write(&text, "no library");
        let program = std::env::current_exe().unwrap();
        for path in [
            Path::new("libsofthsm2.so"),
            &folder.join("none.so"),
            &text,
            folder,
            &program,
        ] {
            let error = Token::open(path, &uri(folder, "token=alys")).unwrap_err();
            assert!(
                matches!(error, TokenError::Module { .. }),
                "{}: {error}",
                path.display()
            );
        }
    });
}
