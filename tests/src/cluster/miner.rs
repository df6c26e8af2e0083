//! The miner.

use super::{Cluster, strings, text};
use crate::evm::TestAccount;
use crate::process::{Process, Program};
use anyhow::{Context as _, bail};

/// The name of the account that the miner is paid on.
pub const MINER: &str = "alys devnet miner";

impl Cluster {
    /// Starts the miner, which asks the node `index` for work.
    ///
    /// # Errors
    /// - where it cannot be started.
    pub async fn start_miner(&mut self, index: usize) -> anyhow::Result<()> {
        let payout = self.wallet().await?.new_address().await?;
        let settings = self.bitcoin.config();
        let alys_bitcoin::Credentials::CookieFile(cookie) = settings.credentials else {
            bail!("bitcoind is expected to use a cookie file");
        };
        let miner = TestAccount::new(MINER, self.chain_id())?;
        let arguments = strings(&[
            "--alys",
            &self.node(index)?.rpc_url,
            "--bitcoin",
            &settings.url,
            "--cookie",
            &text(&cookie)?,
            "--network",
            "regtest",
            "--evm-address",
            &miner.address().to_string(),
            "--bitcoin-address",
            &payout.to_string(),
            "--pace-ms",
            &self.options.miner_pace_ms.to_string(),
            "--refresh-ms",
            "1000",
        ]);
        let program = Program {
            name: "miner",
            program: "alys-miner",
            arguments,
            input: None,
            environment: Vec::new(),
        };
        self.miner = Some(Process::start(&self.logs(), program).await?);
        Ok(())
    }

    /// Stops the miner, if it runs.
    ///
    /// # Errors
    /// - where it has to be killed.
    pub async fn stop_miner(&mut self) -> anyhow::Result<()> {
        match self.miner.take() {
            Some(miner) => miner.stop().await,
            None => Ok(()),
        }
    }

    /// `kill -9` of the miner.
    ///
    /// # Errors
    /// - where it does not run.
    pub async fn kill_miner(&mut self) -> anyhow::Result<()> {
        let miner = self.miner.take().context("the miner does not run")?;
        miner.kill().await
    }
}
