//! The Bitcoin node as the driver uses it: scans from a ledger's cursor, fee rates and broadcasts.

use crate::config::BitcoinConfig;
use alys_bitcoin::{BitcoinClient, BlockCache, Credentials, FeePolicy, NodeConfig, RpcError};
use alys_chain::{
    Advance, BitcoinFacts, CursorPlace, MAX_BITCOIN_BLOCKS, PegState, ScannedBlock, Scanner,
    cursor_place, plan_advance,
};
use alys_protocol::peg::Cursor;
use alys_protocol::signer::BitcoinTip;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, SatsPerKvb};
use anyhow::{Context as _, bail};
use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, Transaction};
use std::sync::Arc;
use std::time::Duration;

/// Serialised Bitcoin blocks kept in memory.
const CACHE_BYTES: usize = 64 << 20;

/// What a Bitcoin node says while it scans for somebody else.
const SCAN_UNDER_WAY: &str = "Scan already in progress";
/// With [`BETWEEN_SCANS`] five minutes: the length of a scan on mainnet.
const MAX_SCAN_ATTEMPTS: u32 = 600;
/// There is no event to wait for.
const BETWEEN_SCANS: Duration = Duration::from_millis(500);

/// How often a node that waits for its Bitcoin node says so.
const BETWEEN_MESSAGES: Duration = Duration::from_secs(15);

/// A verified Bitcoin node.
pub(crate) struct BitcoinSide {
    client: BitcoinClient,
    blocks: BlockCache,
    fees: FeePolicy,
}

impl BitcoinSide {
    /// Connects, and checks that the node is of the spec's network.
    pub(crate) async fn start(chain: &Chain, config: &BitcoinConfig) -> anyhow::Result<Self> {
        let credentials = match (&config.cookie, &config.user, &config.password_file) {
            (Some(cookie), None, None) => Credentials::CookieFile(cookie.clone()),
            (None, Some(user), Some(path)) => Credentials::PasswordFile {
                user: user.clone(),
                path: path.clone(),
            },
            _other => bail!("[bitcoin]: expected either `cookie`, or `user` and `password_file`"),
        };
        let network = chain.spec().bitcoin.network;
        let client = BitcoinClient::new(NodeConfig::new(&config.url, credentials, network))?;
        client
            .verify()
            .await
            .with_context(|| format!("Bitcoin node at {}", config.url))?;
        let ceiling = chain.spec().pegout.max_fee_rate_sats_per_kvb;
        let fees = FeePolicy::new(
            alys_chain::MIN_FEE_RATE,
            config.fallback_fee_rate_sats_per_kvb.min(ceiling),
            ceiling,
            6,
        )?;
        Ok(Self {
            blocks: BlockCache::new(client.clone(), CACHE_BYTES),
            client,
            fees,
        })
    }

    /// Checks that the chain spec starts from a block of the Bitcoin node's best chain; waits while that is not as high.
    pub(crate) async fn check_start(&self, chain: &Chain) -> anyhow::Result<()> {
        let spec = &chain.spec().bitcoin;
        let (height, expected) = (spec.start_height, spec.start_hash);
        let found = self
            .client
            .wait_for_hash(height, BETWEEN_MESSAGES, |info| {
                tracing::info!(
                    blocks = info.tip.height.get(),
                    headers = info.headers.get(),
                    "waiting for the Bitcoin node: the chain spec starts from Bitcoin block {height}"
                );
            })
            .await
            .context("the Bitcoin node, asked for the chain spec's first block")?;
        if found != expected {
            bail!(
                "the chain spec starts from Bitcoin block {height}: expected {expected}, found {found} on the Bitcoin node's best chain; one of the two belongs to another Bitcoin chain"
            );
        }
        Ok(())
    }

    /// Scans from the ledger's cursor up to `last`, or as far as one side block may go.
    async fn scan(
        &self,
        chain: &Chain,
        state: &PegState,
        last: BtcHeight,
    ) -> anyhow::Result<Vec<ScannedBlock>> {
        let mut scanner = Scanner::new(chain, state);
        let mut scanned = Vec::new();
        let furthest = state
            .cursor()
            .height
            .saturating_add(MAX_BITCOIN_BLOCKS)
            .min(last);
        while scanner.next_height() <= furthest {
            let height = scanner.next_height();
            let Some(block) = self.blocks.confirmed_block(height, 1).await? else {
                break;
            };
            scanned.push(scanner.block(&block.block, height)?);
        }
        Ok(scanned)
    }

    /// Where the best chain stands to a ledger's cursor.
    pub(crate) async fn cursor_place(&self, cursor: &Cursor) -> anyhow::Result<CursorPlace> {
        let tip = self.client.tip().await?.height;
        let at_height = self.client.block_hash(cursor.height).await?;
        Ok(cursor_place(cursor, at_height, tip))
    }

    /// The best chain's newest block.
    pub(crate) async fn tip(&self) -> anyhow::Result<BitcoinTip> {
        let tip = self.client.tip().await?;
        Ok(BitcoinTip {
            height: tip.height,
            hash: tip.hash,
        })
    }

    /// Hash of the best chain's block at a height; none above the tip.
    pub(crate) async fn block_hash(&self, height: BtcHeight) -> anyhow::Result<Option<BlockHash>> {
        Ok(self.client.block_hash(height).await?)
    }

    /// The best chain's headers from one height to another, both included; none where the chain is shorter.
    pub(crate) async fn headers(
        &self,
        first: BtcHeight,
        last: BtcHeight,
    ) -> anyhow::Result<Option<Vec<Header>>> {
        let found = self.client.headers(first, last).await?;
        Ok(found.map(|headers| headers.into_iter().map(|info| info.header).collect()))
    }

    /// A block that was in the best chain, and may not be any more.
    pub(crate) async fn block(&self, hash: BlockHash) -> anyhow::Result<Arc<Block>> {
        self.blocks
            .block(hash)
            .await?
            .with_context(|| format!("the Bitcoin node does not have block {hash}"))
    }

    /// How far a block on `state` may advance now.
    pub(crate) async fn plan(&self, chain: &Chain, state: &PegState) -> anyhow::Result<Advance> {
        match self.cursor_place(state.cursor()).await? {
            CursorPlace::OnBestChain => {}
            CursorPlace::Reorganised(deep) => return Err(deep.into()),
            CursorPlace::Above { cursor, tip } => {
                bail!("the Bitcoin node is at block {tip}, the cursor at block {cursor}")
            }
        }
        let tip = self.client.tip().await?.height;
        let depth = chain.spec().deposits.confirmations;
        let deepest = tip.saturating_add(1).saturating_sub(depth);
        let scanned = self.scan(chain, state, deepest).await?;
        Ok(plan_advance(chain, state, tip, &scanned)?)
    }

    /// What this node says about the range from `state`'s cursor to `cursor`; none where it does not have it yet.
    pub(crate) async fn facts(
        &self,
        chain: &Chain,
        state: &PegState,
        cursor: &Cursor,
    ) -> anyhow::Result<Option<BitcoinFacts>> {
        let tip = self.client.tip().await?.height;
        if cursor.height > tip {
            return Ok(None);
        }
        let scanned = self.scan(chain, state, cursor.height).await?;
        Ok(BitcoinFacts::from_scan(tip, &scanned, cursor))
    }

    /// The fee rate for a batch recorded now.
    pub(crate) async fn fee_rate(&self) -> anyhow::Result<SatsPerKvb> {
        Ok(self.client.fee_estimate(&self.fees).await?.rate)
    }

    /// Hands a signed batch to the network; harmless to repeat.
    pub(crate) async fn broadcast(&self, transaction: &Transaction) -> anyhow::Result<()> {
        self.client.broadcast(transaction).await?;
        Ok(())
    }

    /// The unspent outputs of the federation's script, from Bitcoin's own set.
    pub(crate) async fn unspent(&self, chain: &Chain) -> anyhow::Result<Vec<alys_chain::Unspent>> {
        let script = chain.wallet().script_pubkey().to_hex_string();
        let descriptors = [format!("raw({script})")];
        let mut attempts = 0;
        let scan = loop {
            match self.client.scan_unspent(&descriptors).await {
                // It scans for one client at a time, and other nodes that share it may be starting, too.
                Err(RpcError::Refused { message, .. })
                    if message.contains(SCAN_UNDER_WAY) && attempts < MAX_SCAN_ATTEMPTS =>
                {
                    attempts += 1;
                    tokio::time::sleep(BETWEEN_SCANS).await;
                }
                outcome => break outcome?,
            }
        };
        Ok(scan
            .outputs
            .into_iter()
            .map(|output| alys_chain::Unspent {
                outpoint: output.outpoint,
                value: alys_protocol::units::Sats::new(output.output.value.to_sat()),
                height: output.height,
            })
            .collect())
    }
}
