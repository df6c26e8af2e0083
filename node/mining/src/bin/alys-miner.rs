//! `alys-miner`: mines Bitcoin and Alys with the same work.
//!
//! Takes a real `getblocktemplate`, puts the side chain's commitment into the coinbase, searches, and hands what it
//! finds to both chains. One CPU thread: meant for regtest, signet and tests of pools, not for profit.

use alys_bitcoin::{BitcoinClient, BlockSubmission, Credentials, NodeConfig};
use alys_mining::aux_block::{AuxBlock, parse_display_hash, parse_little_endian_target};
use alys_mining::block_builder::{Candidate, Solved};
use alys_protocol::bytes::{BundleHash, EvmAddress};
use alys_protocol::spec::Target;
use anyhow::{Context as _, bail};
use bitcoin::{Address, Network, ScriptBuf};
use clap::Parser;
use jsonrpsee::core::client::ClientT as _;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::rpc_params;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// Mine Bitcoin and Alys with the same work.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// JSON-RPC address of an Alys node.
    #[arg(long, value_name = "URL")]
    alys: String,
    /// RPC address of a Bitcoin node.
    #[arg(long, value_name = "URL")]
    bitcoin: String,
    /// The Bitcoin node's cookie file.
    #[arg(long, value_name = "FILE")]
    cookie: PathBuf,
    /// Bitcoin network.
    #[arg(long, default_value = "regtest")]
    network: Network,
    /// Account on Alys that is paid the miner's share of fees.
    #[arg(long, value_name = "ADDRESS")]
    evm_address: EvmAddress,
    /// Bitcoin address that is paid the block reward.
    #[arg(long, value_name = "ADDRESS")]
    bitcoin_address: String,
    /// Wait so many milliseconds between two found blocks: regtest has no difficulty to pace them.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pace_ms: u64,
    /// Take new templates at least this often, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    refresh_ms: u64,
}

/// Nonces per step: between steps the miner can be interrupted.
const STEP: u32 = 1 << 16;

/// What to search for on the side chain.
struct AuxWork {
    hash: BundleHash,
    display: String,
    height: u64,
    target: Target,
}

struct Miner {
    alys: HttpClient,
    bitcoin: BitcoinClient,
    payout: ScriptBuf,
    options: Options,
    found: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stdout()))
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let options = Options::parse();
    let payout = options
        .bitcoin_address
        .parse::<Address<_>>()
        .context("--bitcoin-address is no Bitcoin address")?
        .require_network(options.network)
        .context("--bitcoin-address belongs to another network")?
        .script_pubkey();
    let bitcoin = BitcoinClient::new(NodeConfig::new(
        &options.bitcoin,
        Credentials::CookieFile(options.cookie.clone()),
        options.network,
    ))?;
    let alys = HttpClientBuilder::default()
        .request_timeout(Duration::from_secs(10))
        .build(&options.alys)
        .context("--alys is no usable address")?;
    let mut miner = Miner {
        alys,
        bitcoin,
        payout,
        options,
        found: 0,
    };
    let stop = stop_signal()?;
    tokio::select! {
        result = miner.run() => result,
        () = stop => {
            info!(found = miner.found, "stopped");
            Ok(())
        }
    }
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

impl Miner {
    async fn run(&mut self) -> anyhow::Result<()> {
        let mut retry = tokio::time::interval(Duration::from_secs(1));
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let started = Instant::now();
            match self.round().await {
                Ok(true) => {
                    let pace = Duration::from_millis(self.options.pace_ms);
                    tokio::time::sleep_until(started + pace).await;
                }
                Ok(false) => {}
                Err(error) => {
                    warn!("{error:#}; trying again");
                    retry.tick().await;
                }
            }
        }
    }

    /// One template's worth of work; true where a block was found.
    async fn round(&mut self) -> anyhow::Result<bool> {
        let template = self.bitcoin.block_template().await?;
        let work = match self.aux_work().await {
            Ok(work) => Some(work),
            Err(error) => {
                // Bitcoin does not wait for us: an Alys node that is down or has nothing final costs no Bitcoin work.
                info!("no side chain work: {error:#}");
                None
            }
        };
        let bundle = work.as_ref().map(|work| &work.hash);
        let candidate = Candidate::new(&template, &self.payout, bundle, self.found)?;
        let bitcoin_target = candidate.bitcoin_target();
        let easiest = work
            .as_ref()
            .map_or(bitcoin_target, |work| work.target.max(bitcoin_target));
        let started = Instant::now();
        let refresh = Duration::from_millis(self.options.refresh_ms);
        let mut first = 0u32;
        let mut tried = 0u64;
        while started.elapsed() < refresh {
            let solved = candidate.search(&easiest, first, STEP);
            tried += u64::from(STEP);
            if let Some(solved) = solved {
                self.submit(&solved, &bitcoin_target, work.as_ref()).await?;
                return Ok(true);
            }
            match first.checked_add(STEP) {
                Some(next) => first = next,
                None => break,
            }
            // Lets signals in.
            tokio::task::yield_now().await;
        }
        let seconds = started.elapsed().as_secs_f64().max(0.001);
        info!(
            height = template.height.get(),
            hashes_per_second = (tried as f64 / seconds) as u64,
            "nothing found, taking a new template"
        );
        Ok(false)
    }

    async fn aux_work(&self) -> anyhow::Result<AuxWork> {
        let block: AuxBlock = self
            .alys
            .request(
                "createauxblock",
                rpc_params![self.options.evm_address.to_string()],
            )
            .await
            // As text: its causes say the same again.
            .map_err(anyhow::Error::msg)?;
        Ok(AuxWork {
            hash: parse_display_hash(&block.hash)?,
            target: parse_little_endian_target(&block.target)?,
            height: block.height,
            display: block.hash,
        })
    }

    async fn submit(
        &mut self,
        solved: &Solved,
        bitcoin_target: &Target,
        work: Option<&AuxWork>,
    ) -> anyhow::Result<()> {
        self.found += 1;
        let hash = solved.auxpow.work_hash();
        let mut bitcoin = "below its difficulty".to_owned();
        if hash <= *bitcoin_target {
            bitcoin = match self.bitcoin.submit_block(&solved.block).await? {
                BlockSubmission::Accepted => "accepted".to_owned(),
                BlockSubmission::AlreadyKnown => "known already".to_owned(),
                BlockSubmission::NotBest => "not the best block".to_owned(),
                BlockSubmission::Rejected { reason } => bail!("Bitcoin block rejected: {reason}"),
            };
        }
        let mut alys = "no work".to_owned();
        let mut range_end = 0;
        if let Some(work) = work.filter(|work| hash <= work.target) {
            let auxpow = alys_mining::aux_block::hex(&solved.auxpow.encode());
            let accepted: Result<bool, _> = self
                .alys
                .request("submitauxblock", rpc_params![&work.display, auxpow])
                .await;
            range_end = work.height;
            alys = match accepted {
                Ok(true) => "accepted".to_owned(),
                Ok(false) => "not taken".to_owned(),
                Err(error) => format!("refused: {error}"),
            };
        }
        info!(
            found = self.found,
            block = %solved.block.block_hash(),
            bitcoin,
            alys,
            finalises_up_to = range_end,
            "found"
        );
        Ok(())
    }
}
