//! What others on the machine, and others that can reach it, see of a running federation.

use crate::bench::{Bench, fast};
use alys_tests::cluster::PASSPHRASE;
use alys_tests::inspect::{arguments_and_environment, open_sockets};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that runs in a federation: members, an observer, a miner, bitcoind.
async fn everything() -> Bench {
    let mut bench = Bench::start(fast()).await;
    let spec = bench.cluster.chain().spec().clone();
    let observer = bench.cluster.add_observer("observer", &spec).unwrap();
    bench.cluster.start_node(observer).await.unwrap();
    bench.cluster.start_miner(0).await.unwrap();
    bench.more_blocks(observer, 2).await;
    let names: Vec<String> = bench.cluster.processes().into_iter().map(|p| p.0).collect();
    let count = |kind: &str| names.iter().filter(|name| name.starts_with(kind)).count();
    let found = ["node", "signer", "miner", "bitcoind"].map(count);
    assert_eq!(found, [5, 4, 1, 1], "{names:?}");
    bench
}

/// Regression A13: nothing listens on other addresses than loopback unless the operator says so.
#[tokio::test]
async fn a13_all_sockets_are_loopback() {
    let bench = everything().await;
    for (name, pid) in bench.cluster.processes() {
        let sockets = open_sockets(pid).unwrap();
        // At least: a node its two JSON-RPCs and its peers, a signer its clients, bitcoind its RPC; a miner nothing.
        let least = match name.split(' ').next().unwrap() {
            "node" => 3,
            "miner" => 0,
            _other => 1,
        };
        assert!(sockets.len() >= least, "{name}: {sockets:?}");
        for socket in sockets {
            assert!(socket.address.ip().is_loopback(), "{name}: {socket:?}");
        }
    }
    bench.finish().await;
}

/// Regression A9: no secret is in the arguments or the environment of any process.
#[tokio::test]
async fn a9_no_secret_in_arguments_or_environment() {
    let bench = everything().await;
    let mut secrets = vec![("the passphrase".to_owned(), PASSPHRASE.as_bytes().to_vec())];
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for path in files_below(bench.cluster.dir()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = match name {
            "network.key" => "network key",
            ".cookie" => "Bitcoin cookie",
            _ if name.starts_with("jwt") => "JWT secret",
            _ if name.starts_with("officer") && name.ends_with(".key") => "officer's key",
            _ if name.ends_with(".key") => "TLS key",
            _ => continue,
        };
        *kinds.entry(kind).or_default() += 1;
        let shown = path.display().to_string();
        for form in forms(&fs::read(&path).unwrap()) {
            secrets.push((shown.clone(), form));
        }
    }
    // Five nodes; four members with a key on each side, and two authorities each.
    let expected = BTreeMap::from([
        ("Bitcoin cookie", 1),
        ("JWT secret", 5),
        ("TLS key", 16),
        ("network key", 5),
        ("officer's key", 3),
    ]);
    assert_eq!(kinds, expected);
    for (process, pid) in bench.cluster.processes() {
        let seen = arguments_and_environment(pid).unwrap();
        let holds = |part: &[u8]| seen.windows(part.len()).any(|window| window == part);
        // The search finds what is there.
        assert!(holds(b"PATH="), "{process}");
        let own = bench.cluster.dir().to_str().unwrap();
        assert!(holds(own.as_bytes()), "{process}");
        for (secret, form) in &secrets {
            assert!(!holds(form), "{process} shows {secret}");
        }
        assert!(!holds(b"PRIVATE KEY"), "{process}");
    }
    bench.finish().await;
}

/// How a secret could be written: its bytes, their digits, and where it is text, its longer lines.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.trim_ascii().to_vec(), digits.into_bytes()];
    for line in String::from_utf8_lossy(secret).lines() {
        for part in line.trim().trim_start_matches("0x").split(':') {
            if part.len() >= 24 && !part.starts_with('-') {
                forms.push(part.as_bytes().to_vec());
            }
        }
    }
    forms
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
