//! Writes the first corpus: honest messages of each kind, made by the fixtures of the signer's tests.
//!
//!     cargo run --example seeds -- corpus

use alys_fuzz::fixtures::evidence::{event, receipt, receipts, state};
use alys_fuzz::fixtures::pegout::{Plan, burn, request};
use alys_fuzz::fixtures::{Honest, spec};
use alys_protocol::signer::{PROTOCOL_VERSION, Request, RequestEnvelope};
use alys_protocol::spec::Target;
use alys_signer_core::Policy;
use alys_signer_core::policy::{Iteration, PolicyFile, PolicyFormat};
use std::path::{Path, PathBuf};

fn main() {
    let folder = PathBuf::from(
        std::env::args()
            .nth(1)
            .unwrap_or_else(|| "corpus".to_owned()),
    );
    let put = |target: &str, name: &str, bytes: &[u8]| write(&folder.join(target), name, bytes);
    let mut honest = Honest::of_four();
    let bridge = honest.chain.spec().execution.bridge;
    let vault = honest.chain.spec().execution.vault;
    let batch = request(&mut honest, &Plan::simple(0, 1));
    let link = honest.child_of(honest.tip().header.height.get(), 1, |_| ());
    let envelope = |request| {
        let version = PROTOCOL_VERSION;
        postcard::to_allocvec(&RequestEnvelope { version, request }).unwrap()
    };
    put("messages", "status", &envelope(Request::Status));
    put(
        "messages",
        "approve",
        &envelope(Request::Approve(Box::new(honest.approve(&link)))),
    );
    put(
        "messages",
        "peg-out",
        &envelope(Request::SignPegOut(Box::new(batch.clone()))),
    );
    let kinds: [(&str, Vec<u8>); 4] = [
        ("header", link.header.encode().to_vec()),
        ("body", postcard::to_allocvec(&link.body).unwrap()),
        (
            "certificate",
            postcard::to_allocvec(&batch.finality.certificate).unwrap(),
        ),
        ("peaks", postcard::to_allocvec(&link.history).unwrap()),
    ];
    for (number, (name, bytes)) in (0u8..).zip(kinds) {
        put("chain", name, &[&[number], &bytes[..]].concat());
    }
    let proof = postcard::to_allocvec(&batch.recording_history.unwrap()).unwrap();
    put("chain", "history", &[&[4], &proof[..]].concat());
    put(
        "chain",
        "transaction",
        &[&[5], &batch.record.transaction[..]].concat(),
    );
    put(
        "proofs",
        "execution-header",
        &[&[0], &link.execution_header[..]].concat(),
    );
    let log = receipt(2, true, vec![event(bridge, &burn(0, 2_000_000))]);
    put("proofs", "receipt", &[&[1], &log[..]].concat());
    let (_, account) = state(vault, Some(alloy_primitives::U256::from(5)));
    let (_, inclusion) = receipts(&[log.clone(), log], 0);
    for (kind, name, proof) in [(2u8, "account", account), (3, "receipt-proof", inclusion)] {
        let mut bytes = vec![kind];
        for node in proof.iter().filter(|node| node.len() < 256) {
            bytes.push(u8::try_from(node.len()).unwrap());
            bytes.extend(&**node);
        }
        put("proofs", name, &bytes);
    }
    let (record, _) = honest.record(
        honest.tip().header.pow.height.get() + 1,
        Target::new([0xff; 32]),
    );
    put("auxpow", "record", &record.auxpow);
    put("headers", "extend", &[0, 20, 0, 1, 0, 200].repeat(6));
    put(
        "headers",
        "fork",
        &[5, 20, 0, 1, 0, 0, 0, 20, 0, 1, 0, 0, 0, 20, 0, 2, 0, 200].repeat(3),
    );
    put(
        "texts",
        "chain.toml",
        toml::to_string(&spec(None)).unwrap().as_bytes(),
    );
    let policy = PolicyFile {
        format: PolicyFormat::V1,
        chain_id: honest.chain.id(),
        iteration: Iteration::new(1),
        policy: Policy::of_chain(&honest.chain),
    };
    put(
        "texts",
        "policy.toml",
        toml::to_string(&policy).unwrap().as_bytes(),
    );
    let all: Vec<u8> = (0..40).flat_map(|choice| [choice, 0]).collect();
    put("sequence", "in-order", &all);
    let reversed: Vec<u8> = (0..40).rev().flat_map(|choice| [choice, 0]).collect();
    put("sequence", "reversed", &reversed);
    put(
        "sequence",
        "changed",
        &[
            0, 205, 0, 0, 0, 205, 1, 215, 25, 0, 25, 205, 26, 0, 28, 0, 28, 235,
        ],
    );
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), bytes).unwrap();
}
