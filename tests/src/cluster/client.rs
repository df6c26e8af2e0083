//! How to talk to one node of a cluster.

use super::plan::{NodePlan, loopback};
use alys_execution::EthClient;
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::{NodeStatus, PegStatus};
use anyhow::Context as _;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use std::sync::Arc;
use std::time::Duration;

const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How to talk to one node.
#[derive(Debug, Clone)]
pub struct NodeClient {
    /// The node's JSON-RPC.
    pub rpc: HttpClient,
    /// Its execution client's.
    pub eth: Arc<EthClient>,
    /// Address of the former.
    pub rpc_url: String,
    /// Address of the latter.
    pub evm_url: String,
}

impl NodeClient {
    pub(super) fn new(plan: &NodePlan) -> anyhow::Result<Self> {
        Self::at(plan.rpc, plan.evm)
    }

    /// Of the node whose JSON-RPC, and whose execution client's, are on these ports of this machine.
    ///
    /// # Errors
    /// - never in practice.
    pub fn at(rpc: u16, evm: u16) -> anyhow::Result<Self> {
        let rpc_url = format!("http://{}", loopback(rpc));
        let evm_url = format!("http://{}", loopback(evm));
        Ok(Self {
            rpc: HttpClientBuilder::default()
                .request_timeout(REQUEST_LIMIT)
                .build(&rpc_url)?,
            eth: Arc::new(EthClient::new(&evm_url)?),
            rpc_url,
            evm_url,
        })
    }

    /// Where it stands.
    ///
    /// # Errors
    /// - where it cannot be asked.
    pub async fn status(&self) -> anyhow::Result<NodeStatus> {
        Ok(self.rpc.node_status().await?)
    }

    /// The peg's ledger.
    ///
    /// # Errors
    /// - where it cannot be asked.
    pub async fn peg(&self) -> anyhow::Result<PegStatus> {
        Ok(self.rpc.peg_status().await?)
    }

    /// One of its metrics, by name and labels as Prometheus writes them: `name{label="value"}`. Zero where it was never
    /// counted.
    ///
    /// # Errors
    /// - where it cannot be asked, or the value is no number.
    pub async fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let client = reqwest::Client::builder().timeout(REQUEST_LIMIT).build()?;
        let page = client.get(format!("{}/metrics", self.rpc_url));
        let text = page.send().await?.error_for_status()?.text().await?;
        let value = text.lines().find_map(|line| {
            let rest = line.strip_prefix(series)?;
            rest.strip_prefix(' ')
        });
        value.map_or(Ok(0.0), |value| {
            let number = value.trim().parse();
            number.with_context(|| format!("{series}: expected a number, found {value:?}"))
        })
    }
}
