//! Where the members' signing keys are after a full run, and where they are not (claims C1 and C7).

use crate::bench::{Bench, fast, paid_to};
use aho_corasick::AhoCorasick;
use alys_backup::{Backup, Identity, Share, share_file};
use alys_protocol::units::Sats;
use alys_provision::ceremony::spend;
use alys_tests::cluster::{Backend, Options};
use alys_tests::inspect::{arguments_and_environment, visit_memory};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::{fs, io};

/// What is looked for: a name and the bytes.
struct Forms {
    names: Vec<String>,
    search: AhoCorasick,
}

impl Forms {
    /// All ways in which 32 secret bytes could be written.
    fn of(secrets: &[(String, [u8; 32])]) -> Self {
        let (mut names, mut patterns) = (Vec::new(), Vec::new());
        for (name, secret) in secrets {
            let mut reversed = *secret;
            reversed.reverse();
            for (order, bytes) in [("", secret), ("little-endian ", &reversed)] {
                for (form, pattern) in written(bytes) {
                    names.push(format!("{name}, {order}{form}"));
                    patterns.push(pattern);
                }
            }
        }
        Self {
            names,
            search: AhoCorasick::new(patterns).unwrap(),
        }
    }

    fn in_bytes(&self, bytes: &[u8]) -> Vec<&str> {
        self.search
            .find_iter(bytes)
            .map(|found| self.names[found.pattern().as_usize()].as_str())
            .collect()
    }

    fn in_file(&self, path: &Path) -> Vec<&str> {
        match fs::read(path) {
            Ok(bytes) => self.in_bytes(&bytes),
            // Databases remove files while they run.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    fn in_memory(&self, pid: u32) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        visit_memory(pid, |bytes| found.extend(self.in_bytes(bytes))).unwrap();
        found
    }
}

/// Raw, as digits, and in base64 at each place that it can have in a longer text.
fn written(bytes: &[u8; 32]) -> Vec<(&'static str, Vec<u8>)> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        ("raw", bytes.to_vec()),
        ("hex", digits.to_ascii_uppercase().into_bytes()),
        ("hex", digits.into_bytes()),
    ];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let shifted = [&[0; 2][..before], bytes].concat();
            let text = engine.encode(&shifted).into_bytes();
            // Letters at the ends belong to the neighbours, too.
            let (first, last) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
            forms.push(("base64", text[first..last].to_vec()));
        }
    }
    forms.dedup();
    forms
}

fn files_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

#[test]
fn every_way_to_write_a_secret_is_found() {
    let secret: [u8; 32] = std::array::from_fn(|place| (place * 37 + 11) as u8);
    let forms = Forms::of(&[("it".to_owned(), secret)]);
    let found = |bytes: &[u8]| !forms.in_bytes(bytes).is_empty();
    assert!(!found(&secret[1..]) && !found(b"nothing"));
    for (before, after) in [("", ""), ("a", "b"), ("ab", ""), ("abc", "de")] {
        let text = [before.as_bytes(), &secret, after.as_bytes()].concat();
        assert!(found(&text));
        assert!(found(STANDARD_NO_PAD.encode(&text).as_bytes()));
        assert!(found(URL_SAFE_NO_PAD.encode(&text).as_bytes()));
        let digits: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(found(digits.as_bytes()) && found(digits.to_uppercase().as_bytes()));
        let backwards: Vec<u8> = text.iter().rev().copied().collect();
        assert!(found(&backwards));
    }
}

/// The secret keys of all members whose keys leave their token at all: as officers get them, from backups.
async fn keys_of_members(bench: &mut Bench, backend: Backend) -> Vec<(String, [u8; 32])> {
    let folder = tempfile::tempdir().unwrap();
    let officers = ["ann", "ben"].map(|name| (name, Identity::generate()));
    let recipients = officers.each_ref().map(|(name, identity)| {
        let recipient = &identity.recipients()[0];
        format!("--recipient={name}={recipient}")
    });
    let mut secrets = Vec::new();
    for member in 0..4 {
        let backup = folder.path().join(member.to_string());
        let mut arguments = vec!["backup", "create", "--threshold", "2"];
        arguments.extend(recipients.iter().map(String::as_str));
        arguments.extend(["--output", backup.to_str().unwrap()]);
        bench.cluster.kill_signer(member).await.unwrap();
        let made = bench.cluster.on_keys(member, &arguments).await;
        bench.cluster.start_signer(member).await.unwrap();
        if let (Backend::Pkcs11, 3) = (backend, member) {
            assert!(made.unwrap_err().to_string().contains("token"));
            continue;
        }
        made.unwrap();
        let shares = officers.each_ref().map(|(name, identity)| {
            let file = share_file(&name.parse().unwrap());
            Share::read(&backup.join(file), identity).unwrap()
        });
        let opened = Backup::read(&backup).unwrap().open(&shares).unwrap();
        for (name, part) in ["BLS", "Schnorr"]
            .into_iter()
            .zip(opened.secret.chunks_exact(32))
        {
            let name = format!("{name} key of member {member}");
            secrets.push((name, part.try_into().unwrap()));
        }
    }
    secrets
}

#[tokio::test]
async fn signing_keys_are_nowhere_but_in_signers() {
    nowhere_but_in_signers(Backend::Software).await;
}

#[tokio::test]
async fn signing_keys_of_tokens_are_nowhere_but_in_signers() {
    nowhere_but_in_signers(Backend::Pkcs11).await;
}

/// No file, log, argument, environment and no memory of any process but a signer's holds a signing key, in any form, after
/// coins went in and out and officers had their say. Memory is what a core dump would have; a signer leaves none.
async fn nowhere_but_in_signers(backend: Backend) {
    // A system that makes no core dumps shows nothing by making none.
    let (_, most) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    setrlimit(Resource::RLIMIT_CORE, most, most).unwrap();
    let mut bench = Bench::start(Options { backend, ..fast() }).await;
    let user = bench.account("user");
    bench.more_blocks(0, 1).await;
    let amount = Sats::new(100_000_000);
    let recipient = user.address();
    let deposit = bench.cluster.deposit(amount, recipient.as_bytes()).await;
    let deposit = deposit.unwrap();
    bench.mine(3).await;
    bench.credited(0, user.address(), amount).await;
    for said in [&["pause"][..], &["resume"]] {
        bench.cluster.officers_say(0, said, 2).await.unwrap();
    }
    let address = bench.new_address("bech32m").await;
    let burns = bench
        .burn(&user, &[(&address, Sats::new(30_000_000))])
        .await;
    bench.cluster.start_miner(0).await.unwrap();
    let payment = bench.settled(0, burns[0]).await;
    assert!(paid_to(&payment, &address) > 0);
    // Real signers' signatures are what a ceremony's spend test asks for.
    let report = spend::verify(bench.cluster.chain(), &deposit, &payment).unwrap();
    assert_eq!((report.signed_by.len(), report.not_shown.len()), (3, 1));

    let secrets = keys_of_members(&mut bench, backend).await;
    let forms = Forms::of(&secrets);
    let mut files = Vec::new();
    files_below(bench.cluster.dir(), &mut files);
    assert!(files.len() > 100, "{}", files.len());
    for path in &files {
        assert_eq!(forms.in_file(path), [""; 0], "{}", path.display());
    }
    for (name, pid) in bench.cluster.processes() {
        let shown = arguments_and_environment(pid).unwrap();
        assert_eq!(forms.in_bytes(&shown), [""; 0], "{name}");
        let found = forms.in_memory(pid);
        match name.strip_prefix("signer ") {
            // The search finds what is there, and a signer has its own keys only.
            // One in whose token the last member's keys sign has none in a form that is known here.
            Some("dave") if backend == Backend::Pkcs11 => {
                assert_eq!(found, BTreeSet::new(), "{name}");
            }
            Some(_) => {
                let whose: BTreeSet<_> = found
                    .iter()
                    .map(|form| form.split(',').next().unwrap())
                    .collect();
                assert!(whose.iter().any(|key| key.starts_with("Schnorr")));
                let members: BTreeSet<_> = whose.iter().map(|key| key.rsplit(' ').next()).collect();
                assert_eq!(members.len(), 1, "{name}: {whose:?}");
            }
            None => assert_eq!(found, BTreeSet::new(), "{name}"),
        }
    }
    println!(
        "    {} forms of {} keys: in none of {} files",
        forms.names.len(),
        secrets.len(),
        files.len()
    );

    let folder = tempfile::tempdir().unwrap();
    let other = std::process::Command::new("sh")
        .args(["-c", "kill -ABRT $$"])
        .current_dir(folder.path())
        .status()
        .unwrap();
    if !other.core_dumped() {
        println!("    this system makes no core dumps: that signers make none shows nothing here");
    }
    let ended = bench.cluster.abort_signer(3).await.unwrap();
    assert!(ended.signal().is_some() && !ended.core_dumped(), "{ended}");
    bench.cluster.start_signer(3).await.unwrap();
    bench.finish().await;
}
