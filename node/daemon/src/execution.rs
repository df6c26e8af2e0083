//! The execution layer as the driver uses it: one client behind a lock, so that fork choices never interleave.

use crate::config::ExecutionConfig;
use alys_chain::PayloadAttributes;
use alys_execution::eth::{Account, BlockRef};
use alys_execution::receipt::Receipt;
use alys_execution::{
    EmbeddedClient, EmbeddedConfig, EngineClient, EngineConfig, EthClient, ExecutionClient, Heads,
    JwtSecret, PayloadRequest, PayloadStatus,
};
use alys_protocol::block::Proposal;
use alys_protocol::bytes::{BlockId, Digest, ExecutionHash};
use alys_protocol::execution::ExecutionPayload;
use alys_protocol::spec::Chain;
use alys_protocol::units::Wei;
use alys_store::Store;
use alys_store::schema::Blocks;
use anyhow::{Context as _, bail};
use std::path::Path;
use tokio::sync::Mutex;

/// Blocks that are replayed at most when the client lost its newest ones.
const MAX_REPLAY: usize = 100_000;

/// The execution client and its EVM JSON-RPC.
pub(crate) struct Execution {
    client: Mutex<ExecutionClient>,
    eth: EthClient,
    rpc_url: String,
    embedded: Mutex<Option<EmbeddedClient>>,
}

impl Execution {
    /// Starts the embedded client, or connects to an external one, and checks that it has the chain's genesis.
    pub(crate) async fn start(
        chain: &Chain,
        config: &ExecutionConfig,
        data_dir: &Path,
    ) -> anyhow::Result<Self> {
        let (engine, rpc_url, embedded) = match &config.external {
            Some(external) => {
                let engine = EngineConfig {
                    url: external.engine.clone(),
                    jwt_secret: external.jwt_secret.clone(),
                };
                (engine, external.rpc.clone(), None)
            }
            None => {
                let secret = data_dir.join("jwt.hex");
                JwtSecret::from_file_or_new(&secret)?;
                let mut embedded = EmbeddedConfig::new(
                    data_dir.join("execution"),
                    alys_execution::chain_genesis(chain)?,
                    secret.clone(),
                );
                if let Some(http) = config.http {
                    embedded.http = http;
                }
                embedded.hosts.clone_from(&config.hosts);
                embedded.origins.clone_from(&config.origins);
                let client = EmbeddedClient::start(embedded)
                    .await
                    .context("embedded execution client")?;
                let engine = EngineConfig {
                    url: client.engine_url(),
                    jwt_secret: secret,
                };
                let rpc = client.http_url();
                (engine, rpc, Some(client))
            }
        };
        let client = EngineClient::new(&engine)?;
        client
            .exchange_capabilities()
            .await
            .with_context(|| format!("execution client at {}", engine.url))?;
        let eth = EthClient::new(&rpc_url)?;
        let execution = Self {
            client: Mutex::new(ExecutionClient::new(client)),
            eth,
            rpc_url,
            embedded: Mutex::new(embedded),
        };
        execution.check_genesis(chain).await?;
        Ok(execution)
    }

    async fn check_genesis(&self, chain: &Chain) -> anyhow::Result<()> {
        let found = self.eth.chain_id().await?;
        if found != chain.id() {
            bail!(
                "the execution client has chain id {found}, the spec has {}",
                chain.id()
            );
        }
        let expected = chain.spec().execution.genesis_hash;
        let block = self
            .eth
            .block(BlockRef::Height(chain.genesis().height))
            .await?;
        match block.map(|block| block.hash) {
            Some(found) if found == expected => Ok(()),
            Some(found) => bail!(
                "the execution client's genesis is {found}, the spec's is {expected}: it was made for another chain"
            ),
            None => bail!("the execution client has no genesis block"),
        }
    }

    pub(crate) fn rpc_url(&self) -> &str {
        &self.rpc_url
    }

    pub(crate) async fn build(
        &self,
        attributes: PayloadAttributes,
        heads: Heads,
    ) -> anyhow::Result<ExecutionPayload> {
        let request = PayloadRequest {
            parent: attributes.parent,
            height: attributes.height,
            timestamp: attributes.timestamp,
            prev_randao: attributes.prev_randao,
            fee_recipient: attributes.fee_recipient,
            withdrawals: attributes.withdrawals,
            parent_beacon_block_root: attributes.parent_beacon_block_root,
        };
        let client = self.client.lock().await;
        Ok(client
            .build_payload(&request, heads.safe, heads.finalized)
            .await?)
    }

    /// Executes a block, and before it those ancestors from the store that the client does not have (any more).
    pub(crate) async fn execute(
        &self,
        store: &Store,
        proposal: &Proposal,
    ) -> anyhow::Result<PayloadStatus> {
        let client = self.client.lock().await;
        let block = &proposal.block;
        let status = client.validate(&block.payload, block.header.parent).await?;
        if !matches!(status, PayloadStatus::Syncing | PayloadStatus::Accepted) {
            return Ok(status);
        }
        let mut missing = Vec::new();
        let mut next = block.header.parent;
        while let Some(ancestor) = store.get::<Blocks>(&next)? {
            let header = &ancestor.block.header;
            let status = client
                .validate(&ancestor.block.payload, header.parent)
                .await?;
            if status == PayloadStatus::Valid {
                break;
            }
            next = header.parent;
            missing.push(header.id());
            if missing.len() > MAX_REPLAY {
                bail!("the execution client lacks more than {MAX_REPLAY} blocks");
            }
        }
        tracing::info!(
            blocks = missing.len(),
            "giving the execution client blocks that it lost"
        );
        for id in missing.into_iter().rev() {
            let ancestor = store
                .get::<Blocks>(&id)?
                .context("a stored block vanished")?;
            let status = client
                .validate(&ancestor.block.payload, ancestor.block.header.parent)
                .await?;
            if status != PayloadStatus::Valid {
                bail!("the execution client holds stored block {id} for {status:?}");
            }
        }
        Ok(client.validate(&block.payload, block.header.parent).await?)
    }

    pub(crate) async fn set_heads(&self, heads: Heads) -> anyhow::Result<()> {
        Ok(self.client.lock().await.set_heads(heads).await?)
    }

    pub(crate) async fn receipts(
        &self,
        block: ExecutionHash,
        root: Digest,
    ) -> anyhow::Result<Vec<Receipt>> {
        Ok(self.eth.block_receipts(block, root).await?)
    }

    /// The vault's balance after a block.
    pub(crate) async fn vault_balance(
        &self,
        chain: &Chain,
        block: ExecutionHash,
    ) -> anyhow::Result<Wei> {
        let vault = chain.spec().execution.vault;
        Ok(self.eth.balance(vault, BlockRef::Hash(block)).await?)
    }

    /// The vault's account after a block, proven under that block's state root.
    pub(crate) async fn vault_account(
        &self,
        chain: &Chain,
        block: ExecutionHash,
        state_root: Digest,
    ) -> anyhow::Result<Account> {
        let vault = chain.spec().execution.vault;
        Ok(self.eth.account(vault, block, state_root).await?)
    }

    pub(crate) async fn stop(&self) {
        if let Some(embedded) = self.embedded.lock().await.take()
            && let Err(error) = embedded.shutdown().await
        {
            tracing::warn!("the execution client did not stop cleanly: {error}");
        }
    }
}

/// Names the parent of a block for logs.
pub(crate) fn short(id: BlockId) -> String {
    id.to_string().chars().take(10).collect()
}
