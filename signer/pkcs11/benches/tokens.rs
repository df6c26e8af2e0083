//! What a token costs beside the same in software, in one run: sealing, the counter, signatures.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use alys_protocol::bls;
use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::CounterMark;
use alys_signer_pkcs11::{
    BlsKey, KeyName, NativeConfig, NativeKeyConfig, SchnorrKey, SealingKey, TokenCounter,
    VendorMechanism,
};
use alys_test_pkcs11_module as module;
use bitcoin::secp256k1::{Keypair, Message, Secp256k1};
use criterion::Criterion;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use support::{make_token, open, raw, softhsm, test_module};

const MESSAGE: [u8; 32] = [7; 32];

fn sealed(criterion: &mut Criterion, folder: &Path) {
    make_token(&raw(&softhsm()), "alys");
    let token = open(&softhsm(), folder);
    let key = SealingKey::generate(token.clone(), KeyName::label("seal")).unwrap();
    let mut group = criterion.benchmark_group("sealed, SoftHSM");
    group.bench_function("seal 64 bytes and open them again", |bencher| {
        bencher.iter(|| key.seal(b"member", black_box(&[7; 64])).unwrap());
    });
    let sealed = key.seal(b"member", &[7; 64]).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter(|| key.open_sealed(b"member", black_box(&sealed)).unwrap());
    });
    group.bench_function("health", |bencher| bencher.iter(|| token.health()));
    let counter = TokenCounter::new(token, "freshness");
    counter.create().unwrap();
    let mut at = CounterMark::ZERO;
    group.bench_function("counter: advance", |bencher| {
        bencher.iter(|| at = counter.advance(at, CounterTag::ZERO).unwrap());
    });
    group.bench_function("counter: read", |bencher| {
        bencher.iter(|| counter.read().unwrap());
    });
}

fn native(criterion: &mut Criterion, folder: &Path) {
    make_token(&raw(&test_module()), "alys");
    let mechanism = |number, parameter| VendorMechanism::new(number, parameter).unwrap();
    let key = |object: &str, sign, generate| NativeKeyConfig {
        object: object.to_owned(),
        sign,
        generate: Some(mechanism(generate, vec![])),
    };
    let vote = mechanism(module::SIGN_BLS, vec![module::BLS_SIGNATURE]);
    let wallet = mechanism(module::SIGN_SCHNORR, vec![]);
    let config = NativeConfig {
        schnorr: key("wallet", wallet, module::GENERATE_SCHNORR),
        bls: key("vote", vote, module::GENERATE_BLS),
        bls_possession: Some(mechanism(module::SIGN_BLS, vec![module::BLS_POSSESSION])),
    };
    let token = open(&test_module(), folder);
    config.generate(&token).unwrap();

    let mut group = criterion.benchmark_group("BIP-340");
    let secp = Secp256k1::new();
    let pair = Keypair::from_seckey_slice(&secp, &[1; 32]).unwrap();
    let message = Message::from_digest(MESSAGE);
    group.bench_function("software: sign", |bencher| {
        bencher.iter(|| secp.sign_schnorr_with_aux_rand(black_box(&message), &pair, &[3; 32]));
    });
    let signature = secp.sign_schnorr_with_aux_rand(&message, &pair, &[3; 32]);
    let public = pair.x_only_public_key().0;
    group.bench_function("software: verify", |bencher| {
        bencher.iter(|| {
            secp.verify_schnorr(black_box(&signature), &message, &public)
                .unwrap()
        });
    });
    let schnorr = SchnorrKey::open(token.clone(), &config.schnorr).unwrap();
    group.bench_function("native, test module: sign and verify", |bencher| {
        bencher.iter(|| schnorr.probe().unwrap());
    });
    group.finish();

    let mut group = criterion.benchmark_group("BLS");
    let key = bls::SecretKey::from_seed(&[1; 32]).unwrap();
    group.bench_function("software: sign", |bencher| {
        bencher.iter(|| key.sign(black_box(&MESSAGE)));
    });
    let (public, signature) = (key.public_key(), key.sign(&MESSAGE));
    group.bench_function("software: verify", |bencher| {
        bencher.iter(|| public.verify(&MESSAGE, black_box(&signature)).unwrap());
    });
    let voting = BlsKey::open(token, &config).unwrap();
    group.bench_function("native, test module: sign and verify", |bencher| {
        bencher.iter(|| voting.probe().unwrap());
    });
}

fn main() {
    // Modules read where their tokens are from the environment: again, with one.
    let Some(folder) = support::child_folder() else {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(std::env::args_os().skip(1));
        support::with_tokens(&mut command, folder.path());
        assert!(command.status().unwrap().success());
        return;
    };
    let mut criterion = Criterion::default().configure_from_args();
    sealed(&mut criterion, &folder);
    native(&mut criterion, &folder);
    criterion.final_summary();
}
