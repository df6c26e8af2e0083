//! The driver: one task that owns the node's consensus, ledgers and peg-outs.
//!
//! Everything that happens comes in as an event; [`Consensus`] says what to do; what takes time is done in
//! [`crate::jobs`] and comes back as an event. Nothing here signs: the signer does, and refuses what it cannot prove.

mod approve;
mod finality;
mod footing;
mod gossip;
mod mining;
mod outputs;
pub(crate) mod patience;
mod pegout;
mod publish;
mod sync;

use crate::chain_index;
use crate::config::NodeConfig;
use crate::jobs::{Done, ParentPoint, Tools};
use crate::view::View;
use alys_chain::{Footing, PegState};
use alys_consensus::{
    Anchor, BlockTree, Consensus, Input, UnixMs, VerifiedCertificate, VerifiedProposal, VotingState,
};
use alys_mining::aux_block::AuxBlock;
use alys_mining::templates::Templates;
use alys_net::{NetworkEvent, NetworkHandle};
use alys_protocol::block::Proposal;
use alys_protocol::bytes::{BlockId, BundleHash, EvmAddress};
use alys_protocol::header::Header;
use alys_protocol::signer::FinalityEvidence;
use alys_protocol::units::{MemberId, SideHeight, Slot};
use alys_store::schema::{Blocks, Certificates, Ledgers, Only, Recent, RecentKey, Root};
use anyhow::{Context as _, bail};
use mining::Queued;
use patience::Patience;
use pegout::PegOuts;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use sync::Sync;
use tokio::sync::{mpsc, oneshot, watch};

/// Blocks above the final one that are put in again at a start, at most.
const MAX_RECENT: usize = 1 << 20;

/// What the JSON-RPC asks of the driver.
pub(crate) enum Command {
    CreateAuxBlock {
        address: EvmAddress,
        reply: oneshot::Sender<Result<AuxBlock, String>>,
    },
    SubmitAuxBlock {
        hash: BundleHash,
        auxpow: Vec<u8>,
        reply: oneshot::Sender<Result<(), String>>,
    },
}

/// One node's state.
pub(crate) struct Driver {
    tools: Tools,
    config: NodeConfig,
    member: Option<MemberId>,
    network: NetworkHandle,
    consensus: Consensus,
    /// Blocks in the tree that are not final yet, and those on their way into it.
    proposals: BTreeMap<BlockId, Arc<Proposal>>,
    /// The ledger after the root and after each valid block above it.
    ledgers: BTreeMap<BlockId, PegState>,
    templates: Templates,
    queued: Queued,
    pegouts: PegOuts,
    footing: Footing,
    /// The Bitcoin node is being asked about the cursor.
    looking: bool,
    /// The signer is being fed Bitcoin headers.
    feeding: bool,
    /// With blocks that move the cursor and record no batch.
    cursor_patience: Patience,
    /// With blocks that record a batch.
    batch_patience: Patience,
    finality: Option<FinalityEvidence>,
    sync: Sync,
    done: mpsc::UnboundedSender<Done>,
    /// A fork choice is under way; another is due when it ends.
    setting_heads: bool,
    heads_due: bool,
    problems: BTreeMap<&'static str, String>,
    view: watch::Sender<View>,
}

/// Where events come from.
pub(crate) struct Sources {
    pub(crate) network: mpsc::Receiver<NetworkEvent>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) done: mpsc::UnboundedReceiver<Done>,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// Unix time in milliseconds, as consensus counts it.
pub(crate) fn now() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    UnixMs::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Driver {
    /// Restores the node's state from its store.
    pub(crate) fn restore(
        tools: Tools,
        config: NodeConfig,
        network: NetworkHandle,
        voting: VotingState,
        done: mpsc::UnboundedSender<Done>,
        view: watch::Sender<View>,
    ) -> anyhow::Result<Self> {
        let (tree, ledger) = restore_root(&tools)?;
        let chain = &tools.chain;
        let root = tree.root().id;
        let member = config.member;
        Ok(Self {
            templates: Templates::new(
                chain.id(),
                chain.spec().mining.clone(),
                chain.genesis().slot,
            ),
            consensus: Consensus::new(tree, member, voting, now()),
            ledgers: BTreeMap::from([(root, ledger)]),
            tools,
            config,
            member,
            network,
            proposals: BTreeMap::new(),
            queued: Queued::default(),
            pegouts: PegOuts::default(),
            footing: Footing::default(),
            looking: false,
            feeding: false,
            cursor_patience: Patience::default(),
            batch_patience: Patience::default(),
            finality: None,
            sync: Sync::default(),
            done,
            setting_heads: false,
            heads_due: false,
            problems: BTreeMap::new(),
            view,
        })
    }

    /// Runs until shutdown, or until the store fails.
    pub(crate) async fn run(mut self, mut sources: Sources) -> anyhow::Result<()> {
        self.replay_recent()?;
        self.resume_pegouts()?;
        self.look_at_bitcoin();
        self.step(Input::Tick(now()))?;
        self.set_heads();
        loop {
            let deadline = self.consensus.next_deadline().get();
            let wait = Duration::from_millis(deadline.saturating_sub(now().get()).max(1));
            tokio::select! {
                changed = sources.shutdown.changed() => {
                    if changed.is_err() || *sources.shutdown.borrow() {
                        return Ok(());
                    }
                }
                event = sources.network.recv() => match event {
                    Some(event) => self.network_event(event).await?,
                    None => bail!("the network task ended"),
                },
                Some(done) = sources.done.recv() => self.done(done)?,
                Some(command) = sources.commands.recv() => self.command(command),
                () = tokio::time::sleep(wait) => self.tick()?,
            }
            self.publish_view();
        }
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let before = self.consensus.slot();
        self.step(Input::Tick(now()))?;
        if self.consensus.slot() != before {
            self.forget_dropped()?;
            self.look_at_bitcoin();
            self.advance_pegouts(self.consensus.slot())?;
            self.catch_up();
            if self.heads_due {
                self.set_heads();
            }
        }
        Ok(())
    }

    /// Puts the blocks above the root in again: they were verified before they were stored.
    fn replay_recent(&mut self) -> anyhow::Result<()> {
        let store = self.tools.store.clone();
        let recent = store.scan::<Recent>(&[], MAX_RECENT)?;
        for entry in recent {
            let key = RecentKey::from_bytes(&entry.key)
                .context("table recent: a key of the wrong length")?;
            let Some(proposal) = store.get::<Blocks>(&key.id)? else {
                continue;
            };
            let certificate = proposal.block.body.parent_certificate.clone();
            let verified = VerifiedProposal::assume_verified(
                proposal.block.header.clone(),
                proposal.signature,
                certificate.map(VerifiedCertificate::assume_verified),
            );
            self.proposals.insert(key.id, Arc::new(proposal));
            self.step(Input::Proposal(Box::new(verified)))?;
            if let Some(certificate) = store.get::<Certificates>(&key.id)? {
                let certificate = VerifiedCertificate::assume_verified(certificate);
                self.step(Input::Certificate(certificate))?;
            }
        }
        Ok(())
    }

    /// Hands one input to consensus and carries out all that follows.
    fn step(&mut self, input: Input) -> anyhow::Result<()> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.consensus.step(input) {
                inputs.extend(self.carry_out(output)?);
            }
        }
        Ok(())
    }

    fn done(&mut self, done: Done) -> anyhow::Result<()> {
        match done {
            Done::Validated { id, outcome } => self.validated(id, outcome),
            Done::Built { slot, outcome } => self.built(slot, outcome),
            Done::Approved { id, outcome } => self.approved(id, outcome),
            Done::Synced { peer, outcome } => self.synced(peer, outcome),
            Done::HeadsSet(outcome) => {
                self.heads_set(outcome);
                Ok(())
            }
            Done::BitcoinSeen(outcome) => self.bitcoin_seen(outcome),
            Done::HeadersFed(outcome) => {
                self.headers_fed(outcome);
                Ok(())
            }
            Done::Shares { batch, outcome } => self.own_shares(batch, outcome),
            Done::Broadcast { batch, outcome } => {
                self.broadcast_done(batch, outcome);
                Ok(())
            }
        }
    }

    /// Runs a job beside the driver. Where the job panics, `failed` says what that is the end of: what waits for the job
    /// must not wait for ever.
    fn spawn(
        &self,
        job: impl Future<Output = Done> + Send + 'static,
        failed: impl FnOnce(anyhow::Error) -> Done + Send + 'static,
    ) {
        let done = self.done.clone();
        tokio::spawn(async move {
            // Fails only while the node stops.
            let _ = done.send(supervised(job, failed).await);
        });
    }

    /// A block's header, from the tree or else from the store.
    fn header(&self, id: BlockId) -> anyhow::Result<Header> {
        match self.consensus.tree().header(id) {
            Some(header) => Ok(header.clone()),
            None => chain_index::header(&self.tools.chain, &self.tools.store, id),
        }
    }

    /// The point to build on or to validate against; none where the parent is not valid (yet).
    fn parent_point(&self, id: BlockId) -> Option<ParentPoint> {
        let tree = self.consensus.tree();
        Some(ParentPoint {
            id,
            header: tree.header(id)?.clone(),
            peg: self.ledgers.get(&id)?.clone(),
            implied_final: tree.implied_final_of_child(id)?.height,
        })
    }

    /// The id at a height of the chain that ends in `tip`.
    fn ancestor_at(&self, tip: BlockId, height: SideHeight) -> Option<BlockId> {
        let tree = self.consensus.tree();
        let root = tree.root();
        if height < root.height {
            return self
                .tools
                .store
                .get::<alys_store::schema::FinalChain>(&height)
                .ok()
                .flatten();
        }
        let mut id = tip;
        loop {
            let header = tree.header(id)?;
            if header.height == height {
                return Some(id);
            }
            if header.height < height {
                return None;
            }
            id = header.parent;
        }
    }

    /// States a problem for operators, or that it is over.
    fn problem(&mut self, key: &'static str, problem: Option<String>) {
        match problem {
            Some(text) => {
                if self.problems.get(key) != Some(&text) {
                    tracing::warn!("{text}");
                }
                self.problems.insert(key, text);
            }
            None => {
                if self.problems.remove(key).is_some() {
                    tracing::info!("over: problem with {key}");
                }
            }
        }
    }

    fn slot(&self) -> Slot {
        self.consensus.slot()
    }
}

/// What a job ends with, or `failed` of why it panicked.
async fn supervised<T: Send + 'static>(
    job: impl Future<Output = T> + Send + 'static,
    failed: impl FnOnce(anyhow::Error) -> T,
) -> T {
    tokio::spawn(job).await.unwrap_or_else(|error| {
        metrics::counter!("alys_jobs_panicked_total").increment(1);
        tracing::error!("a job of the node failed, which is a defect: {error}");
        failed(anyhow::anyhow!("the job failed: {error}"))
    })
}

/// The tree's root and the ledger after it: the newest final block, or genesis.
fn restore_root(tools: &Tools) -> anyhow::Result<(BlockTree, PegState)> {
    let chain = tools.chain.clone();
    let Some(bytes) = tools.store.get::<Root>(&Only)? else {
        let ledger = PegState::genesis(&chain);
        return Ok((BlockTree::new(chain), ledger));
    };
    let anchor: Anchor =
        postcard::from_bytes(&bytes).context("table root: the entry does not decode")?;
    let id = anchor.header.id();
    let certificate = tools
        .store
        .get::<Certificates>(&id)?
        .map(VerifiedCertificate::assume_verified);
    let ledger = tools
        .store
        .get::<Ledgers>(&id)?
        .with_context(|| format!("the ledger after final block {id} is not stored"))?;
    let ledger = PegState::decode(&ledger)?;
    let tree = BlockTree::restore(chain, &anchor, certificate)?;
    Ok((tree, ledger))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_ends_as_a_failed_one() {
        let ended = supervised(async { panic!("a defect") }, |error| {
            Done::HeadsSet(Err(error))
        });
        let Done::HeadsSet(Err(error)) = ended.await else {
            panic!("no failure is reported");
        };
        assert!(error.to_string().contains("panic"), "{error}");
        let ended = supervised(async { Done::HeadsSet(Ok(())) }, |error| {
            Done::HeadsSet(Err(error))
        });
        assert!(matches!(ended.await, Done::HeadsSet(Ok(()))));
    }
}
