//! What `make devnet` does: a federation, one round trip of the peg, a summary.

mod intervals;
mod round_trip;
mod summary;

pub use intervals::{BlockIntervals, Quantiles};
pub use round_trip::{burn_sequence, round_trip};
pub use summary::{Balances, Summary};

use crate::cluster::{Backend, Cluster, Options};
use crate::evm::TestAccount;
use crate::inspect::resident_kib;
use alys_provision::files::{self, Readers};
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Name of the summary in the devnet's folder.
pub const SUMMARY_FILE: &str = "summary.json";

/// What the environment says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the state lies: `ALYS_DEVNET_DIR`, else `target/devnet`.
    pub dir: PathBuf,
    /// `FRESH=1`: begin a new chain.
    pub fresh: bool,
    /// `ONCE=1`: stop after the round trip.
    pub once: bool,
    /// `BACKEND=pkcs11`: the signers' keys are sealed by SoftHSM tokens, the last one's sign in a token of the test module. A chain that is there has one already.
    pub backend: Option<Backend>,
    /// `SLOTS=200`: after the round trip, measure the time between blocks over so many slots.
    pub slots: Option<u64>,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// - where a switch is neither 0 nor 1, or a number is none.
    pub fn from_environment() -> anyhow::Result<Self> {
        let dir = std::env::var_os("ALYS_DEVNET_DIR").map(PathBuf::from);
        Ok(Self {
            dir: dir.unwrap_or_else(|| PathBuf::from("target/devnet")),
            fresh: switch("FRESH")?,
            once: switch("ONCE")?,
            slots: number("SLOTS")?,
            backend: backend()?,
        })
    }
}

fn switch(name: &str) -> anyhow::Result<bool> {
    match std::env::var(name).as_deref() {
        Err(_) | Ok("" | "0") => Ok(false),
        Ok("1") => Ok(true),
        Ok(other) => bail!("{name}: expected 1 or 0, found {other:?}"),
    }
}

fn backend() -> anyhow::Result<Option<Backend>> {
    match std::env::var("BACKEND").as_deref() {
        Err(_) | Ok("") => Ok(None),
        Ok("software") => Ok(Some(Backend::Software)),
        Ok("pkcs11") => Ok(Some(Backend::Pkcs11)),
        Ok(other) => bail!("BACKEND: expected software or pkcs11, found {other:?}"),
    }
}

fn number(name: &str) -> anyhow::Result<Option<u64>> {
    match std::env::var(name).as_deref() {
        Err(_) | Ok("" | "0") => Ok(None),
        Ok(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!("{name}: expected a number, found {text:?}"),
        },
    }
}

/// Runs the devnet until Ctrl-C, or once.
///
/// # Errors
/// - where a part does not start, dies, or a step takes too long.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let parent = settings.dir.parent().context("the devnet needs a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("{}", parent.display()))?;
    // Beside the folder, which may be removed.
    let lock_path = settings.dir.with_extension("lock");
    let lock = File::create(&lock_path).with_context(|| format!("{}", lock_path.display()))?;
    if lock.try_lock().is_err() {
        bail!("another devnet runs in {}", settings.dir.display());
    }
    let complete = settings.dir.join("cluster.json").exists();
    if settings.dir.exists() && (settings.fresh || !complete) {
        let known = ["cluster.json", "bitcoin", "logs", "alice"];
        let empty = fs::read_dir(&settings.dir)?.next().is_none();
        if !empty && !known.iter().any(|name| settings.dir.join(name).exists()) {
            bail!(
                "{} holds something else than a devnet: remove it yourself",
                settings.dir.display()
            );
        }
        println!("removing {}", settings.dir.display());
        fs::remove_dir_all(&settings.dir)?;
    }
    println!(
        "devnet in {}: {}",
        settings.dir.display(),
        if complete && !settings.fresh {
            "going on with its chain"
        } else {
            "making a federation of 4 (threshold 3)"
        }
    );
    let options = Options {
        backend: settings.backend.unwrap_or_default(),
        ..Options::default()
    };
    let mut cluster = Cluster::open(&settings.dir, options).await?;
    if let Some(expected) = settings.backend
        && expected != cluster.backend()
    {
        let found = cluster.backend();
        bail!(
            "BACKEND: this chain's keys are {found:?}, not {expected:?}; FRESH=1 begins a new one"
        );
    }
    let interrupted = interrupt()?;
    tokio::pin!(interrupted);
    let outcome = tokio::select! {
        outcome = start_and_round_trip(&mut cluster, settings) => Some(outcome),
        () = &mut interrupted => None,
    };
    let outcome = match outcome {
        Some(Ok(summary)) => {
            let path = settings.dir.join(SUMMARY_FILE);
            files::write(&path, &serde_json::to_vec_pretty(&summary)?, Readers::All)?;
            println!("\n{}", summary.text());
            println!("  summary            {}", path.display());
            if settings.once {
                Ok(())
            } else {
                println!("\nRunning until Ctrl-C; the next `make devnet` goes on with this chain.");
                watch(&mut cluster, interrupted).await
            }
        }
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    println!("stopping");
    let stopped = cluster.stop().await;
    outcome.and(stopped)
}

async fn start_and_round_trip(
    cluster: &mut Cluster,
    settings: &Settings,
) -> anyhow::Result<Summary> {
    let started = Instant::now();
    println!("bitcoind runs; starting 4 signers, 4 nodes and a miner");
    cluster.start().await?;
    cluster.start_miner(0).await?;
    let start = started.elapsed();
    println!(
        "all run after {:.1} s; logs are in {}/logs",
        start.as_secs_f64(),
        settings.dir.display()
    );
    let mut summary = round_trip(cluster, start).await?;
    if let Some(slots) = settings.slots {
        println!("watching {slots} slots");
        summary.block_intervals = Some(intervals::measure(cluster, slots).await?);
        summary.resident_kib = resident_memory(cluster)?;
    }
    Ok(summary)
}

/// Resident memory of each process.
fn resident_memory(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, u64>> {
    let processes = cluster.processes().into_iter();
    processes
        .map(|(name, pid)| Ok((name, resident_kib(pid)?)))
        .collect()
}

/// Until Ctrl-C, or until a process dies.
async fn watch(cluster: &mut Cluster, interrupted: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::pin!(interrupted);
    let mut look = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = &mut interrupted => return Ok(()),
            _ = look.tick() => cluster.check_processes()?,
        }
    }
}

fn interrupt() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The account that the devnet deposits to.
///
/// # Errors
/// - never in practice.
pub fn user(cluster: &Cluster) -> anyhow::Result<TestAccount> {
    TestAccount::new("alys devnet user", cluster.chain_id())
}

/// The account that it pays on the side chain.
///
/// # Errors
/// - never in practice.
pub fn friend(cluster: &Cluster) -> anyhow::Result<TestAccount> {
    TestAccount::new("alys devnet friend", cluster.chain_id())
}
