//! Catching up by range, fetching single blocks, and serving both.

use super::Driver;
use crate::jobs::Done;
use crate::messages::decode;
use alys_consensus::{Input, VerifiedCertificate};
use alys_net::{ErrorReply, PeerId, Request, RequestId, Response};
use alys_protocol::block::SyncBlock;
use alys_protocol::bytes::BlockId;
use alys_protocol::certificate::Certificate;
use alys_protocol::units::SideHeight;
use alys_store::schema::{Blocks, Certificates, FinalChain};
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Blocks asked for in one go: enough to keep the execution client busy, few enough to fit one answer.
const RANGE: u32 = 64;
/// How far a peer must be ahead before a range is fetched: the newest blocks come by gossip.
const BEHIND: u64 = 2;
/// A range whose blocks were all known already, or did not come in, is asked for again after this time.
const RETRY: Duration = Duration::from_secs(2);

/// What is known of peers, and what is under way.
#[derive(Default)]
pub(crate) struct Sync {
    peers: BTreeMap<PeerId, u64>,
    running: bool,
    /// Height of the last block that the last range brought, until the head reaches it or the time is up.
    waiting: Option<(SideHeight, Instant)>,
    turn: usize,
}

impl Sync {
    pub(super) fn peer(&mut self, peer: PeerId, height: u64) {
        self.peers.insert(peer, height);
    }

    pub(super) fn gone(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    pub(crate) fn count(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn best(&self) -> u64 {
        self.peers.values().copied().max().unwrap_or(0)
    }

    /// A peer that has a height, in turn.
    fn pick(&mut self, height: u64) -> Option<PeerId> {
        let able: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, known)| **known >= height)
            .map(|(peer, _)| *peer)
            .collect();
        self.turn = self.turn.wrapping_add(1);
        able.get(self.turn.checked_rem(able.len())?).copied()
    }
}

impl Driver {
    /// Fetches the next range if peers are ahead and nothing is under way.
    pub(super) fn catch_up(&mut self) {
        let head = self.consensus.tree().head().height;
        if let Some((height, since)) = self.sync.waiting
            && head < height
            && since.elapsed() < RETRY
        {
            return;
        }
        self.sync.waiting = None;
        let best = self.sync.best();
        if self.sync.running || best < head.get().saturating_add(BEHIND) {
            return;
        }
        let start = head.saturating_add(1);
        if let Some(peer) = self.sync.pick(start.get()) {
            self.request(
                peer,
                Request::BlocksByRange {
                    start_height: start.get(),
                    count: RANGE,
                },
            );
        }
    }

    /// Fetches one block, or the range that leads to it.
    pub(super) fn fetch(&mut self, id: BlockId, height: Option<SideHeight>) {
        let head = self.consensus.tree().head().height.get();
        if height.is_some_and(|height| height.get() > head.saturating_add(u64::from(RANGE))) {
            self.catch_up();
            return;
        }
        if let Some(peer) = self.sync.pick(0) {
            self.request(peer, Request::BlockById(id.to_bytes()));
        }
    }

    fn request(&mut self, peer: PeerId, request: Request) {
        if matches!(request, Request::BlocksByRange { .. }) {
            self.sync.running = true;
        }
        let network = self.network.clone();
        self.spawn(
            async move {
                let outcome = match network.request(peer, request).await {
                    Ok(Response::Blocks(blocks)) => decode_blocks(&blocks),
                    Ok(Response::Error(error)) => Err(error.into()),
                    Ok(Response::Status(_)) => Err(anyhow::anyhow!("a status instead of blocks")),
                    Err(error) => Err(error.into()),
                };
                Done::Synced { peer, outcome }
            },
            move |error| Done::Synced {
                peer,
                outcome: Err(error),
            },
        );
    }

    pub(super) fn synced(
        &mut self,
        peer: PeerId,
        outcome: anyhow::Result<Vec<SyncBlock>>,
    ) -> anyhow::Result<()> {
        self.sync.running = false;
        let blocks = match outcome {
            Ok(blocks) => blocks,
            Err(error) => {
                tracing::debug!("peer {peer} gave no blocks: {error:#}");
                return Ok(());
            }
        };
        let last = blocks
            .last()
            .map(|block| block.proposal.block.header.height);
        let (mut proposals, mut certificates) = (Vec::new(), Vec::new());
        for SyncBlock {
            proposal,
            certificate,
        } in blocks
        {
            let height = proposal.block.header.height;
            certificates.extend(certificate.map(|certificate| (height, certificate)));
            proposals.push(proposal);
        }
        self.take_proposals(proposals)?;
        self.take_certificates(peer, certificates)?;
        if let Some(last) = last {
            self.sync.waiting = Some((last, Instant::now()));
        }
        Ok(())
    }

    /// Takes the certificates in that came with blocks: most blocks have one by then, from their child in the range.
    fn take_certificates(
        &mut self,
        peer: PeerId,
        mut certificates: Vec<(SideHeight, Certificate)>,
    ) -> anyhow::Result<()> {
        certificates.retain(|(height, it)| self.consensus.lacks_certificate(it.block, *height));
        let (heights, certificates): (Vec<_>, Vec<_>) = certificates.into_iter().unzip();
        let verified = VerifiedCertificate::verify_all(&self.tools.chain, certificates);
        for (height, verified) in heights.into_iter().zip(verified) {
            match verified {
                // Those before it may have made its block final, and another may be of the same block.
                Ok(certificate)
                    if self
                        .consensus
                        .lacks_certificate(certificate.block(), height) =>
                {
                    self.step(Input::Certificate(certificate))?;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("peer {peer} gave a certificate that does not verify: {error}");
                }
            }
        }
        Ok(())
    }

    /// Answers a peer's request.
    pub(super) async fn serve(&mut self, peer: PeerId, id: RequestId, request: Request) {
        let response = match self.blocks_for(&request) {
            Ok(blocks) => Response::blocks_within_limits(blocks),
            Err(error) => {
                tracing::error!("request of peer {peer}: {error:#}");
                Response::Error(ErrorReply::Internal)
            }
        };
        if let Err(error) = self.network.respond(id, response).await {
            tracing::debug!("no answer to peer {peer}: {error}");
        }
    }

    fn blocks_for(&self, request: &Request) -> anyhow::Result<Vec<Vec<u8>>> {
        let ids: Vec<BlockId> = match request {
            Request::BlockById(id) => vec![BlockId::new(*id)],
            Request::BlocksByRange {
                start_height,
                count,
            } => self.ids_of_range(*start_height, *count)?,
            Request::Status(_) => bail!("a status request is not answered here"),
        };
        let mut blocks = Vec::new();
        for id in ids {
            if let Some(block) = self.sync_block(id)? {
                blocks.push(postcard::to_stdvec(&block)?);
            }
        }
        Ok(blocks)
    }

    fn ids_of_range(&self, start: u64, count: u32) -> anyhow::Result<Vec<BlockId>> {
        let tree = self.consensus.tree();
        let (root, head) = (tree.root(), tree.head());
        let end = start
            .saturating_add(u64::from(count))
            .min(head.height.get().saturating_add(1));
        // Above the root: one walk down from the head.
        let mut above = BTreeMap::new();
        let mut id = head.id;
        while let Some(header) = tree.header(id) {
            above.insert(header.height.get(), id);
            if header.height <= root.height {
                break;
            }
            id = header.parent;
        }
        let mut ids = Vec::new();
        for height in start.max(1)..end {
            let id = match above.get(&height) {
                Some(id) => Some(*id),
                None => self
                    .tools
                    .store
                    .get::<FinalChain>(&SideHeight::new(height))?,
            };
            ids.push(
                id.with_context(|| format!("no block at height {height} of the head's chain"))?,
            );
        }
        Ok(ids)
    }

    fn sync_block(&self, id: BlockId) -> anyhow::Result<Option<SyncBlock>> {
        let proposal = match self.proposals.get(&id) {
            Some(proposal) => Some(proposal.as_ref().clone()),
            None => self.tools.store.get::<Blocks>(&id)?,
        };
        let Some(proposal) = proposal else {
            return Ok(None);
        };
        let certificate = self.tools.store.get::<Certificates>(&id)?;
        Ok(Some(SyncBlock {
            proposal,
            certificate,
        }))
    }
}

fn decode_blocks(blocks: &[Vec<u8>]) -> anyhow::Result<Vec<SyncBlock>> {
    blocks
        .iter()
        .map(|bytes| decode(bytes).context("bytes that are no block"))
        .collect()
}
