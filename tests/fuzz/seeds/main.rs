//! The first corpus: honest messages of each kind, made by the fixtures of the signer's tests, and inputs that lead each
//! target to its accepting paths.
//!
//!     seeds write corpus     writes them
//!     seeds check corpus     fails where a committed seed is not what is made today, or where the inputs of a target no
//!                            longer reach each of its accepting paths
//!
//! It is built with the targets, so that it cannot rot.

mod messages;
mod sequences;

// The coverage that everything here is built with needs libFuzzer's runtime.
use libfuzzer_sys as _;

use alloy_primitives::U256;
use alys_fuzz::fixtures::evidence::{event, receipt, receipts, state};
use alys_fuzz::fixtures::pegout::burn;
use alys_fuzz::fixtures::{Honest, spec};
use alys_fuzz::proofs::joined;
use alys_fuzz::reached::Reached;
use alys_fuzz::{FuzzTarget, TARGETS};
use alys_protocol::bytes::{Digest, EvmAddress};
use alys_protocol::spec::Target;
use alys_protocol::units::{BurnSequence, MemberId, SideHeight, Slot, StatementNumber};
use alys_signer_core::Policy;
use alys_signer_core::admin::statement::{Act, Statement, Vouched};
use alys_signer_core::policy::{Iteration, PolicyFile, PolicyFormat};
use std::path::Path;
use std::process::ExitCode;

/// An input: the target that it is for, its name, and its bytes.
pub struct Seed {
    pub target: &'static str,
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Seed {
    pub fn new(target: &'static str, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            target,
            name,
            bytes: bytes.into(),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "files of a corpus are no state")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["write", corpus] => {
            for seed in seeds() {
                let folder = Path::new(corpus).join(seed.target);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(seed.name), &seed.bytes).unwrap();
            }
            ExitCode::SUCCESS
        }
        ["check", corpus] => check(Path::new(corpus)),
        other => {
            eprintln!("expected 'write' or 'check' and the folder of the corpus, found {other:?}");
            ExitCode::FAILURE
        }
    }
}

fn check(corpus: &Path) -> ExitCode {
    let mut good = true;
    let mut fail = |what: String| {
        println!("{what}");
        good = false;
    };
    for seed in seeds() {
        let path = corpus.join(seed.target).join(seed.name);
        if std::fs::read(&path).ok() != Some(seed.bytes) {
            fail(format!(
                "{}: not what is made today; `seeds write` makes it",
                path.display()
            ));
        }
    }
    for target in TARGETS {
        match reached(target, &corpus.join(target.name)) {
            Ok((inputs, reached)) => {
                for path in target.paths {
                    if !reached.has(path) {
                        fail(format!("{}: no input takes the path {path:?}", target.name));
                    }
                }
                println!(
                    "{}: {inputs} inputs, {} accepting paths",
                    target.name,
                    target.paths.len()
                );
            }
            Err(error) => fail(format!("{}: {error}", target.name)),
        }
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The number of inputs in a folder, and the accepting paths that they take together.
fn reached(target: &FuzzTarget, folder: &Path) -> std::io::Result<(usize, Reached)> {
    let (mut inputs, mut all) = (0, Reached::default());
    for entry in std::fs::read_dir(folder)? {
        all.merge((target.run)(&std::fs::read(entry?.path())?));
        inputs += 1;
    }
    Ok((inputs, all))
}

fn seeds() -> Vec<Seed> {
    let mut seeds = messages::seeds();
    seeds.extend(proofs());
    seeds.extend(auxpow());
    seeds.extend(deposits());
    seeds.extend(texts());
    seeds.extend(sequences::seeds());
    seeds.push(Seed::new(
        "headers",
        "extend",
        [0, 20, 0, 1, 0, 200].repeat(6),
    ));
    let fork = [5, 20, 0, 1, 0, 0, 0, 20, 0, 1, 0, 0, 0, 20, 0, 2, 0, 200];
    seeds.push(Seed::new("headers", "fork", fork.repeat(3)));
    let longer = [
        vec![5, 20, 0, 1, 0, 0],
        [0, 20, 0, 1, 0, 0].repeat(7),
        vec![0, 20, 0, 1, 0, 200],
    ];
    seeds.push(Seed::new("headers", "longer-fork", longer.concat()));
    seeds
}

fn proofs() -> Vec<Seed> {
    let honest = Honest::of_four();
    let link = honest.child_of(0, 1, |_| ());
    let (bridge, vault) = (
        honest.chain.spec().execution.bridge,
        honest.chain.spec().execution.vault,
    );
    let log = receipt(2, true, vec![event(bridge, &burn(0, 2_000_000))]);
    let (_, account) = state(vault, Some(U256::from(5)));
    let (_, absent) = state(EvmAddress::new([7; 20]), None);
    let (_, inclusion) = receipts(&[log.clone(), log.clone()], 0);
    let built = |kind: u8, count: u16, proven, asked, size, how: &[u8]| {
        [
            &[kind][..],
            &count.to_be_bytes(),
            &[proven, asked, size],
            how,
        ]
        .concat()
    };
    vec![
        Seed::new(
            "proofs",
            "execution-header",
            [&[0], &link.execution_header[..]].concat(),
        ),
        Seed::new("proofs", "receipt", [&[1], &log[..]].concat()),
        Seed::new("proofs", "account", [&[2], &joined(&account)[..]].concat()),
        Seed::new(
            "proofs",
            "account-absent",
            [&[2], &joined(&absent)[..]].concat(),
        ),
        Seed::new(
            "proofs",
            "receipt-proof",
            [&[3], &joined(&inclusion)[..]].concat(),
        ),
        Seed::new("proofs", "built-receipt", built(4, 2, 0, 0, 40, &[])),
        Seed::new("proofs", "built-receipts", built(4, 290, 100, 0, 200, &[])),
        Seed::new(
            "proofs",
            "built-receipt-changed",
            built(4, 290, 100, 0, 200, &[7, 0, 0, 9, 1]),
        ),
        Seed::new(
            "proofs",
            "built-receipt-of-another",
            built(4, 290, 100, 110, 200, &[]),
        ),
        Seed::new("proofs", "built-account", built(5, 10, 3, 0, 9, &[])),
        Seed::new("proofs", "built-accounts", built(5, 299, 99, 0, 200, &[])),
        Seed::new(
            "proofs",
            "built-account-absent",
            built(5, 200, 110, 0, 9, &[]),
        ),
        Seed::new(
            "proofs",
            "built-account-changed",
            built(5, 299, 99, 0, 200, &[1, 1, 0, 0, 0]),
        ),
    ]
}

fn auxpow() -> Vec<Seed> {
    let mut honest = Honest::of_four();
    honest.grow(1);
    let (record, _) = honest.record(1, Target::new([0xff; 32]));
    let built = |place: u8, depth: u8, change: &[u8]| {
        [&[1, 9, depth, 1, 2, 3, 4, 2, place, 3, 2, 0x7f, 0], change].concat()
    };
    vec![
        Seed::new("auxpow", "record", [&[0], &record.auxpow[..]].concat()),
        Seed::new("auxpow", "built", built(0, 0, &[])),
        Seed::new("auxpow", "built-in-a-tree", built(0, 3, &[])),
        Seed::new("auxpow", "built-in-an-output", built(3, 2, &[])),
        Seed::new("auxpow", "at-the-target", built(0, 0, &[1])),
        Seed::new("auxpow", "above-the-target", built(0, 0, &[2])),
        Seed::new("auxpow", "second-magic", built(0, 0, &[8, 1])),
        Seed::new("auxpow", "a-bit", built(0, 1, &[10, 0, 9])),
    ]
}

fn deposits() -> Vec<Seed> {
    let block = |setup: [u8; 12], transactions: &[u8]| [&setup[..], transactions].concat();
    let minimum = 1 + 4;
    let hex = 1 + 8 + 16;
    let two_outputs = 2 + 8;
    let all = [minimum, 0, two_outputs, hex, 1 + 8 + 32];
    vec![
        Seed::new(
            "deposits",
            "several",
            block([5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &all),
        ),
        Seed::new(
            "deposits",
            "one",
            block([8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[minimum]),
        ),
        Seed::new(
            "deposits",
            "none",
            block([8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0, 0]),
        ),
        Seed::new(
            "deposits",
            "part-of-a-block",
            block([8, 0, 0, 130, 0, 0, 0, 0, 0, 0, 0, 0], &[two_outputs]),
        ),
        Seed::new(
            "deposits",
            "one-confirmation-short",
            block([5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &all),
        ),
        Seed::new(
            "deposits",
            "a-bit",
            block([8, 0, 0, 0, 0, 0, 3, 9, 1, 3, 0, 0], &all),
        ),
        Seed::new(
            "deposits",
            "a-repeated-leaf",
            block([8, 0, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0], &all),
        ),
        Seed::new(
            "deposits",
            "twice",
            block([8, 0, 0, 0, 0, 5, 0, 0, 0, 7, 0, 0], &all),
        ),
    ]
}

fn texts() -> Vec<Seed> {
    let honest = Honest::of_four();
    let policy = PolicyFile {
        format: PolicyFormat::V1,
        chain_id: honest.chain.id(),
        iteration: Iteration::new(1),
        policy: Policy::of_chain(&honest.chain),
    };
    let chain = toml::to_string(&spec(None)).unwrap();
    let fresh = Statement {
        chain_id: honest.chain.id(),
        member: MemberId::new(0),
        number: StatementNumber::new(3),
        act: Act::Fresh(Vouched {
            challenge: Digest::new([7; 32]),
            slot_floor: Slot::new(1_010),
            lock: SideHeight::new(5),
            next_burn: BurnSequence::new(3),
        }),
    };
    let pause = Statement {
        act: Act::Pause,
        ..fresh.clone()
    };
    vec![
        Seed::new("texts", "chain.toml", chain),
        Seed::new("texts", "policy.toml", toml::to_string(&policy).unwrap()),
        Seed::new("texts", "fresh.toml", toml::to_string(&fresh).unwrap()),
        Seed::new("texts", "pause.toml", toml::to_string(&pause).unwrap()),
    ]
}
