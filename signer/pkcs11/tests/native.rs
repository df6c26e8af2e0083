//! Native mode through real `cryptoki`, against our own module: signing, a token that is pulled out, sessions that are
//! lost, a PIN that locks.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alys_protocol::bls;
use alys_protocol::bytes::CounterTag;
use alys_protocol::ceremony::{
    Card, CardBackend, CardFormat, CeremonyId, EntropyReport, Fingerprint,
};
use alys_signer_core::freshness::CounterMark;
use alys_signer_pkcs11::{
    BlsKey, Condition, KeyName, NativeConfig, PinState, SchnorrKey, SealingKey, Token,
    TokenCounter, TokenError,
};
use alys_test_pkcs11_module as module;
use bitcoin::secp256k1::{Message, Secp256k1, XOnlyPublicKey, schnorr};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use support::{
    PIN, generate, in_child, make_token, module_folder, open, pin_file, raw, session, test_module,
    uri, write,
};

fn config() -> NativeConfig {
    let mut table: BTreeMap<String, NativeConfig> =
        toml::from_str(&support::native_table()).unwrap();
    let config = table.remove("native").unwrap();
    let again = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<NativeConfig>(&again).unwrap(), config);
    config
}

/// A token with both keys.
fn token(folder: &Path) -> Arc<Token> {
    make_token(&raw(&test_module()), "alys");
    let token = open(&test_module(), folder);
    config().generate(&token).unwrap();
    token
}

#[test]
fn the_token_signs_by_both_schemes() {
    in_child("the_token_signs_by_both_schemes", |folder| {
        let (token, config) = (token(folder), config());
        let schnorr_key = SchnorrKey::open(token.clone(), &config.schnorr).unwrap();
        schnorr_key.probe().unwrap();
        let bls_key = BlsKey::open(token, &config).unwrap();
        bls_key.probe().unwrap();
        let public = bls::PublicKey::from_bytes(&bls_key.public_key()).unwrap();
        let proof = bls_key.prove_possession().unwrap();
        public.verify_possession(&proof).unwrap();

        // Votes and peg-outs are signed through a signer only: signer/daemon/tests/native.rs.
        let card = Card {
            format: CardFormat::V2,
            ceremony: CeremonyId::new([1; 32]),
            member: "alice".to_owned(),
            bls: bls_key.public_key(),
            bls_possession: proof,
            schnorr: schnorr_key.public_key(),
            signer_ca: Fingerprint::new([2; 32]),
            client_ca: Fingerprint::new([3; 32]),
            backend: CardBackend::Pkcs11Native,
            entropy: EntropyReport {
                host_bits: 0,
                token_bits: 512,
                officer: None,
            },
            attestation: None,
        };
        let signature = schnorr_key.sign_card(&card).unwrap();
        let public = XOnlyPublicKey::from_slice(schnorr_key.public_key().as_bytes()).unwrap();
        let parsed = schnorr::Signature::from_slice(signature.as_bytes()).unwrap();
        let message = Message::from_digest(card.digest().to_bytes());
        let secp = Secp256k1::new();
        secp.verify_schnorr(&parsed, &message, &public).unwrap();
    });
}

#[test]
fn a_mechanism_that_is_not_what_the_config_says_is_found_by_the_probe() {
    let name = "a_mechanism_that_is_not_what_the_config_says_is_found_by_the_probe";
    in_child(name, |folder| {
        let (token, right) = (token(folder), config());
        // The other scheme's mechanism: the token refuses.
        let mut config = right.clone();
        config.schnorr.sign = right.bls.sign.clone();
        let key = SchnorrKey::open(token.clone(), &config.schnorr).unwrap();
        let error = key.probe().unwrap_err();
        assert!(matches!(error, TokenError::Call { .. }), "{error}");
        // The other domain: the token has no such message to sign.
        let mut config = right.clone();
        config.bls.sign = right.bls_possession.clone().unwrap();
        let error = BlsKey::open(token.clone(), &config)
            .unwrap()
            .probe()
            .unwrap_err();
        assert!(matches!(error, TokenError::Call { .. }), "{error}");
        let mut config = right.clone();
        config.bls_possession = None;
        let error = BlsKey::open(token.clone(), &config)
            .unwrap()
            .prove_possession()
            .unwrap_err();
        assert!(matches!(error, TokenError::Mechanism { .. }), "{error}");
        // Another key's public key beside the private one: signatures do not verify.
        let module = raw(&test_module());
        let session = session(&module, module.get_slots_with_token().unwrap()[0]);
        swap_public_key(&session, folder);
        for error in [
            SchnorrKey::open(token.clone(), &right.schnorr)
                .unwrap()
                .probe()
                .unwrap_err(),
            BlsKey::open(token.clone(), &right)
                .unwrap()
                .probe()
                .unwrap_err(),
        ] {
            assert!(matches!(error, TokenError::Signature { .. }), "{error}");
        }
        generate(&session, module::GENERATE_BLS, "loose", true);
        let mut config = right.clone();
        config.bls.object = "loose".into();
        let error = BlsKey::open(token.clone(), &config).unwrap_err();
        assert!(
            matches!(error, TokenError::KeyExtractable { .. }),
            "{error}"
        );
        config.bls.object = "none".into();
        let error = BlsKey::open(token.clone(), &config).unwrap_err();
        assert!(matches!(error, TokenError::KeyMissing { .. }), "{error}");
        config.bls.object = "wallet".into();
        let error = BlsKey::open(token, &config).unwrap_err();
        assert!(matches!(error, TokenError::KeyUnsuitable { .. }), "{error}");
    });

    /// Puts other keys' points into the public keys' objects, in the token's file.
    fn swap_public_key(session: &cryptoki::session::Session, folder: &Path) {
        const EC_POINT: &str = "385";
        generate(session, module::GENERATE_SCHNORR, "wallet2", false);
        generate(session, module::GENERATE_BLS, "vote2", false);
        let path = module_folder(folder).join("token.json");
        let mut stored: serde_json::Value =
            serde_json::from_reader(File::open(&path).unwrap()).unwrap();
        let objects = stored["objects"].as_object_mut().unwrap();
        // Public keys have the odd handles, in the order of their making.
        for (place, other) in [("1", "5"), ("3", "7")] {
            let point = objects[other]["attributes"][EC_POINT].clone();
            assert!(point.is_array());
            objects[place]["attributes"][EC_POINT] = point;
        }
        write(&path, &stored.to_string());
    }
}

#[test]
fn keys_are_made_in_the_token_once() {
    in_child("keys_are_made_in_the_token_once", |folder| {
        let (token, config) = (token(folder), config());
        let schnorr_key = SchnorrKey::open(token.clone(), &config.schnorr).unwrap();
        let bls_key = BlsKey::open(token.clone(), &config).unwrap();
        assert!(schnorr_key.generated_inside().unwrap() && bls_key.generated_inside().unwrap());
        // One name is taken: neither key is made.
        let mut other = config.clone();
        other.schnorr.object = "new".into();
        for (config, key) in [(&config, "wallet"), (&other, "vote")] {
            let error = config.generate(&token).unwrap_err();
            assert!(matches!(error, TokenError::KeyExists { .. }), "{error}");
            assert!(error.to_string().contains(key), "{error}");
        }
        let error = SchnorrKey::open(token.clone(), &other.schnorr).unwrap_err();
        assert!(matches!(error, TokenError::KeyMissing { .. }), "{error}");
        // A voting key whose possession could not be proven is of no use.
        let mut unproven = config.clone();
        unproven.bls_possession = None;
        let error = unproven.generate(&token).unwrap_err();
        assert!(matches!(error, TokenError::Mechanism { .. }), "{error}");
        // Without a mechanism that makes keys, those that are there stay.
        let mut adopted = config;
        (adopted.schnorr.generate, adopted.bls.generate) = (None, None);
        adopted.generate(&token).unwrap();
        let same = BlsKey::open(token, &adopted).unwrap();
        assert_eq!(same.public_key(), bls_key.public_key());
    });
}

/// The same code that seals under SoftHSM, on our own module.
#[test]
fn a_native_token_seals_as_well() {
    in_child("a_native_token_seals_as_well", |folder| {
        let token = token(folder);
        let key = SealingKey::generate(token.clone(), KeyName::label("seal")).unwrap();
        assert!(key.generated_inside().unwrap());
        let again = SealingKey::generate(token.clone(), KeyName::label("seal")).unwrap_err();
        assert!(matches!(again, TokenError::KeyExists { .. }), "{again}");
        let sealed = key.seal(b"member", &[7; 32]).unwrap();
        assert_eq!(sealed.ciphertext.len(), 48);
        assert_eq!(*key.open_sealed(b"member", &sealed).unwrap(), [7; 32]);
        let other = SealingKey::generate(token, KeyName::label("other")).unwrap();
        let mut changed = sealed.clone();
        changed.ciphertext[0] ^= 1;
        for error in [
            key.open_sealed(b"another", &sealed).unwrap_err(),
            key.open_sealed(b"member", &changed).unwrap_err(),
            other.open_sealed(b"member", &sealed).unwrap_err(),
        ] {
            assert!(matches!(error, TokenError::NotOpened { .. }), "{error}");
        }
    });
}

/// One that fits comes into another slot; which of the two is meant, nobody can know.
#[test]
fn a_twin_is_noticed_where_the_session_is_opened() {
    in_child("a_twin_is_noticed_where_the_session_is_opened", |folder| {
        let token = token(folder);
        let key = SchnorrKey::open(token.clone(), &config().schnorr).unwrap();
        let twin = module_folder(folder).join(module::TWIN);
        File::create(&twin).unwrap();
        key.probe().unwrap();
        write(&module_folder(folder).join(module::EPOCH), "1");
        let error = key.probe().unwrap_err();
        assert!(matches!(error, TokenError::Ambiguous { .. }), "{error}");
        assert_eq!(token.health().condition, Condition::Ambiguous);
        let by_serial = Token::open(&test_module(), &uri(folder, "token=alys;serial=1")).unwrap();
        assert_eq!(by_serial.health().condition, Condition::Ready);
        std::fs::remove_file(&twin).unwrap();
        key.probe().unwrap();
        let health = token.health();
        assert_eq!(health.condition, Condition::Ready);
        assert_eq!(health.last_condition, Some(Condition::Ambiguous));
    });
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    let sign = |text: &str| {
        let text = format!("object = 'a'\nsign = {{ {text} }}");
        toml::from_str::<alys_signer_pkcs11::NativeKeyConfig>(&text)
    };
    sign("mechanism = 0x80000000, parameter = [1, 2, 3, 4]").unwrap();
    for (text, word) in [
        ("mechanism = 0x1041", "0x80000000"),
        ("mechanism = 0x7fffffff", "0x80000000"),
        ("mechanism = 0x100000000", "u32"),
        (
            "mechanism = 0x80000000, parameter = [1, 2, 3, 4, 5]",
            "four words",
        ),
        ("mechanism = 0x80000000, parameter = [-1]", "u64"),
        ("mechanism = 0x80000000, pin = '1'", "pin"),
        ("parameter = []", "mechanism"),
    ] {
        let error = sign(text).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_token_that_comes_back_works_again() {
    in_child("a_token_that_comes_back_works_again", |folder| {
        let token = token(folder);
        let key = SchnorrKey::open(token.clone(), &config().schnorr).unwrap();
        let counter = TokenCounter::new(token.clone(), "freshness");
        counter.create().unwrap();
        let one = counter
            .advance(CounterMark::ZERO, CounterTag::new([1; 16]))
            .unwrap();
        let removed = module_folder(folder).join(module::REMOVED);
        for round in 1..=3 {
            File::create(&removed).unwrap();
            for _ in 0..2 {
                let error = key.probe().unwrap_err();
                assert!(matches!(error, TokenError::Absent { .. }), "{error}");
            }
            assert!(counter.read().is_err());
            let health = token.health();
            assert_eq!((health.condition, health.pin), (Condition::Absent, None));
            assert!(health.last_error.unwrap().contains("token absent"));
            std::fs::remove_file(&removed).unwrap();
            if round == 2 {
                assert_eq!(
                    token.health().condition,
                    Condition::Ready,
                    "without any request"
                );
            }
            key.probe().unwrap();
            assert_eq!(counter.read().unwrap(), Some(one));
            let health = token.health();
            assert_eq!(
                (health.condition, health.reconnections),
                (Condition::Ready, round)
            );
        }
        assert!(token.health().failures >= 9);
    });
}

#[test]
fn a_lost_session_is_not_noticed() {
    in_child("a_lost_session_is_not_noticed", |folder| {
        let token = token(folder);
        let key = BlsKey::open(token.clone(), &config()).unwrap();
        let counter = TokenCounter::new(token.clone(), "freshness");
        counter.create().unwrap();
        let mut at = CounterMark::ZERO;
        for number in 1..=5u8 {
            write(
                &module_folder(folder).join(module::EPOCH),
                &number.to_string(),
            );
            key.probe().unwrap();
            write(
                &module_folder(folder).join(module::EPOCH),
                &format!("{number}b"),
            );
            at = counter.advance(at, CounterTag::new([number; 16])).unwrap();
        }
        assert_eq!(counter.read().unwrap(), Some(at));
        let health = token.health();
        assert_eq!(
            (health.condition, health.reconnections),
            (Condition::Ready, 10)
        );
        assert_eq!((health.failures, health.last_error), (0, None));
        // An officer's tool logs the whole process out.
        let module = raw(&test_module());
        let session = module
            .open_ro_session(module.get_slots_with_token().unwrap()[0])
            .unwrap();
        session.logout().unwrap();
        key.probe().unwrap();
        // Then private objects cannot be seen; the counter must not pass for none.
        session.logout().unwrap();
        assert_eq!(counter.read().unwrap(), Some(at));
        session.logout().unwrap();
        assert!(matches!(
            counter.create(),
            Err(TokenError::CounterExists { .. })
        ));
    });
}

#[test]
fn the_last_try_is_never_used_and_a_locked_pin_is_named() {
    in_child(
        "the_last_try_is_never_used_and_a_locked_pin_is_named",
        |folder| {
            let token = token(folder);
            let key = SchnorrKey::open(token.clone(), &config().schnorr).unwrap();
            let lose_session = |text: &str| write(&module_folder(folder).join(module::EPOCH), text);

            pin_file(folder, "wrong-1");
            lose_session("1");
            let error = key.probe().unwrap_err();
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
            for _ in 0..5 {
                let error = key.probe().unwrap_err();
                assert!(matches!(error, TokenError::PinWithheld { .. }), "{error}");
            }
            assert_eq!(token.health().condition, Condition::PinWrong);
            pin_file(folder, "wrong-2");
            let error = key.probe().unwrap_err();
            assert!(
                matches!(
                    error,
                    TokenError::PinWrong {
                        left: PinState::FinalTry,
                        ..
                    }
                ),
                "{error}"
            );
            // Not even the right PIN: a program cannot know that it is.
            pin_file(folder, PIN);
            let open_again =
                || Token::open(&test_module(), &uri(folder, "token=alys")).unwrap_err();
            for error in [key.probe().unwrap_err(), open_again()] {
                assert!(matches!(error, TokenError::PinFinalTry { .. }), "{error}");
                assert_eq!(error.condition(), Condition::PinLocked);
            }

            // A person uses the last try, and is wrong.
            let module = raw(&test_module());
            let slot = module.get_slots_with_token().unwrap()[0];
            let session = module.open_rw_session(slot).unwrap();
            session
                .login(UserType::User, Some(&AuthPin::new("wrong-3".into())))
                .unwrap_err();
            drop(session);
            for error in [key.probe().unwrap_err(), open_again()] {
                assert!(matches!(error, TokenError::PinLocked { .. }), "{error}");
            }
            let health = token.health();
            assert_eq!(
                (health.condition, health.pin),
                (Condition::PinLocked, Some(PinState::Locked))
            );

            // The security officer sets a new PIN; the signer goes on without a restart.
            support::set_pin(&module, slot, PIN);
            key.probe().unwrap();
            let health = token.health();
            assert_eq!(
                (health.condition, health.pin),
                (Condition::Ready, Some(PinState::Fine))
            );
        },
    );
}
