//! Every certificate between nodes and signers is replaced while the chain runs, as docs/certificates.md says it.

use crate::bench::{Bench, LIMIT, fast};
use alys_execution::eth::BlockRef;
use alys_protocol::units::{Sats, Wei};
use alys_provision::ca::revocation::LIST_FILE;
use alys_provision::config::{
    CLIENT_CRL_FILE, NODE_CREDENTIALS, SIGNER_CREDENTIALS, SIGNER_CRL_FILE, TLS_FOLDER,
};
use alys_tests::cluster::{NodeClient, Options};
use alys_tests::evm::{Call, TestAccount};
use alys_tests::process::run;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const MEMBERS: usize = 4;
const GAS: u64 = 21_000;

/// One member's side of a link: where its certificate is, and who issues it.
struct Side {
    process: &'static str,
    /// File of the process's log, and what it says once it has read its certificates again.
    log: PathBuf,
    says: &'static str,
    tls: PathBuf,
    credentials: &'static str,
    authority: PathBuf,
    /// Where the other end keeps this authority's list.
    list: PathBuf,
}

impl Side {
    fn of(bench: &Bench, member: usize) -> [Self; 2] {
        let node = bench.cluster.node_dir(member).unwrap();
        let signer = bench.cluster.signer_dir(member).unwrap();
        let home = node.parent().unwrap().to_owned();
        let name = home.file_name().unwrap().to_str().unwrap();
        let logs = bench.cluster.node_log_file(member).unwrap();
        let signer_log = logs.with_file_name(format!("signer-{name}.log"));
        let (node_tls, signer_tls) = (node.join(TLS_FOLDER), signer.join(TLS_FOLDER));
        [
            Self {
                process: "node",
                log: logs,
                says: "certificates for the signer are read again",
                credentials: NODE_CREDENTIALS,
                authority: home.join("authorities").join("clients"),
                list: signer_tls.join(CLIENT_CRL_FILE),
                tls: node_tls.clone(),
            },
            Self {
                process: "signer",
                log: signer_log,
                says: "certificates are read again",
                credentials: SIGNER_CREDENTIALS,
                authority: home.join("authorities").join("signer"),
                list: node_tls.join(SIGNER_CRL_FILE),
                tls: signer_tls,
            },
        ]
    }

    /// Has the process read its files again, and waits until it says that it did.
    async fn reload(&self, bench: &mut Bench, member: usize) {
        let said = |text: String| text.matches(self.says).count();
        let log = || Ok::<_, anyhow::Error>(said(fs::read_to_string(&self.log)?));
        let before = log().unwrap();
        let processes = bench.cluster.processes();
        let of_member = |(name, _): &&(String, u32)| name.starts_with(self.process);
        let (_, pid) = processes.iter().filter(of_member).nth(member).unwrap();
        kill(Pid::from_raw(i32::try_from(*pid).unwrap()), Signal::SIGHUP).unwrap();
        let look = async || Ok((log()? > before).then_some(()));
        let what = "certificates to be read again";
        bench.cluster.wait(what, LIMIT, look).await.unwrap();
    }
}

async fn provision(arguments: &[&str]) {
    run("alys-provision", arguments, b"").await.unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// New certificates for both ends, then the old ones are revoked. The member votes in between and afterwards.
async fn rotate(bench: &mut Bench, member: usize) {
    let folder = tempfile::tempdir().unwrap();
    let sides = Side::of(bench, member);
    for side in &sides {
        let old = side.tls.join(format!("{}.pem", side.credentials));
        let next = folder.path().join(side.process);
        let arguments = ["ca", "renew", "--ca", text(&side.authority)];
        let more = ["--certificate", text(&old), "--output", text(&next)];
        provision(&[&arguments[..], &more].concat()).await;
        fs::copy(&old, folder.path().join(format!("{}.old", side.process))).unwrap();
        for kind in ["key", "pem"] {
            let name = format!("{}.{kind}", side.credentials);
            fs::rename(next.join(&name), side.tls.join(&name)).unwrap();
        }
        side.reload(bench, member).await;
    }
    votes(bench, member).await;
    for side in &sides {
        let old = folder.path().join(format!("{}.old", side.process));
        let arguments = ["ca", "revoke", "--ca", text(&side.authority)];
        let more = ["--certificate", text(&old), "--reason", "superseded"];
        provision(&[&arguments[..], &more].concat()).await;
        let list = side.list.with_extension("new");
        fs::copy(side.authority.join(LIST_FILE), &list).unwrap();
        fs::rename(&list, &side.list).unwrap();
    }
    for side in &sides {
        side.reload(bench, member).await;
    }
    votes(bench, member).await;
}

/// Waits for two more votes of a member.
async fn votes(bench: &mut Bench, member: usize) {
    let node = bench.node(member);
    let votes = "alys_approvals_total";
    let before = node.metric(votes).await.unwrap();
    let look = async || Ok((node.metric(votes).await? >= before + 2.0).then_some(()));
    let what = "the member's votes";
    bench.cluster.wait(what, LIMIT, look).await.unwrap();
}

/// Pays until it is told to stop; how many payments a block has by then.
async fn pay(node: NodeClient, from: &TestAccount, to: &TestAccount, stop: &AtomicBool) -> u64 {
    let mut nonce = from.nonce(&node.eth).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        let call = Call {
            to: Some(to.address()),
            value: Wei::new(1_000_000_000_000),
            data: Vec::new(),
            gas: GAS,
        };
        for nonce in nonce..nonce + 10 {
            let transaction = from.sign(nonce, &call);
            node.eth.send_raw_transaction(&transaction).await.unwrap();
        }
        nonce += 10;
        let look = async || Ok((from.nonce(&node.eth).await? >= nonce).then_some(()));
        let waited = alys_tests::wait::wait_until("payments", LIMIT, || Ok(()), look).await;
        waited.unwrap();
    }
    nonce
}

/// A slot is long enough here for a machine that is busy with other federations: what would miss it is a link that breaks.
#[tokio::test]
async fn certificates_are_replaced_without_a_missed_slot() {
    let mut bench = Bench::start(Options {
        slot_ms: 4000,
        ..fast()
    })
    .await;
    let (user, friend) = (bench.account("user"), bench.account("friend"));
    bench.more_blocks(0, 1).await;
    let amount = Sats::new(100_000_000);
    let recipient = user.address();
    let deposit = bench.cluster.deposit(amount, recipient.as_bytes()).await;
    deposit.unwrap();
    bench.mine(3).await;
    bench.credited(0, user.address(), amount).await;

    let first = bench.more_blocks(0, 1).await.head.height.get();
    let refused = "alys_approvals_refused_total";
    let mut before = Vec::new();
    for member in 0..MEMBERS {
        before.push(bench.node(member).metric(refused).await.unwrap());
    }
    let stop = AtomicBool::new(false);
    let load = pay(bench.node(0), &user, &friend, &stop);
    let rotation = async {
        for member in 0..MEMBERS {
            rotate(&mut bench, member).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (paid, ()) = tokio::join!(load, rotation);
    let last = bench.status(0).await.head.height.get();
    assert!(paid >= 10);
    let node = bench.node(0);
    let balance = node.eth.balance(friend.address(), BlockRef::Latest).await;
    assert_eq!(balance.unwrap().get(), u128::from(paid) * 1_000_000_000_000);

    // Nothing was missed: each slot has its block, and no signer left its node without an answer.
    let mut slots = Vec::new();
    for height in first..=last {
        slots.push(bench.block(0, height).await.slot.get());
    }
    let count = u64::try_from(slots.len()).unwrap();
    assert_eq!(slots.last().unwrap() - slots[0] + 1, count, "{slots:?}");
    for (member, before) in before.iter().enumerate() {
        let now = bench.node(member).metric(refused).await.unwrap();
        assert!((now - before).abs() < 0.5, "member {member}");
    }
    println!("    {count} slots, {paid} payments, 8 certificates replaced and revoked");
    bench.finish().await;
}
