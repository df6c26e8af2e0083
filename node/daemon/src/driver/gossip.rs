//! What peers send: judged before it is forwarded, never trusted.

use super::Driver;
use crate::messages::{AuxPowMessage, PegOutShare, decode};
use alys_consensus::{Input, ProposalError, VerifiedApproval, VerifiedProposal};
use alys_net::{GossipId, NetworkEvent, Topic, Verdict};
use alys_protocol::block::Proposal;
use alys_protocol::certificate::Approval;
use serde::Serialize;
use std::sync::Arc;

/// Blocks that are held in memory at most: those above the final one, and those whose parents are on their way.
const MAX_PROPOSALS: usize = 4096;
/// Blocks of one slot that are taken beyond that: an honest leader makes one.
const MAX_PER_SLOT: usize = 4;

impl Driver {
    pub(super) async fn network_event(&mut self, event: NetworkEvent) -> anyhow::Result<()> {
        match event {
            NetworkEvent::Gossip {
                topic, id, bytes, ..
            } => {
                let verdict = self.gossip(topic, &bytes)?;
                self.report(id, verdict).await;
            }
            NetworkEvent::Request { peer, id, request } => self.serve(peer, id, request).await,
            NetworkEvent::PeerConnected { peer, status }
            | NetworkEvent::PeerStatus { peer, status } => {
                self.sync.peer(peer, status.certified_height);
                self.problem("peers", None);
                self.catch_up();
            }
            NetworkEvent::PeerDisconnected { peer } => self.sync.gone(peer),
            NetworkEvent::PeerRefused { peer, reason } => {
                tracing::warn!("peer {peer} turned away: {reason}");
            }
        }
        Ok(())
    }

    async fn report(&self, id: GossipId, verdict: Verdict) {
        if verdict == Verdict::Reject {
            metrics::counter!("alys_gossip_rejected_total").increment(1);
        }
        // Fails only after the network task ended, which its event channel reports.
        let _ = self.network.report(id, verdict).await;
    }

    fn gossip(&mut self, topic: Topic, bytes: &[u8]) -> anyhow::Result<Verdict> {
        match topic {
            Topic::Proposals => match decode(bytes) {
                Some(proposal) => self.take_proposal(proposal),
                None => Ok(Verdict::Reject),
            },
            Topic::Approvals => match decode(bytes) {
                Some(approval) => self.take_approval(approval),
                None => Ok(Verdict::Reject),
            },
            Topic::AuxPow => Ok(match decode::<AuxPowMessage>(bytes) {
                Some(message) => self.take_auxpow(&message),
                None => Verdict::Reject,
            }),
            Topic::PegOutShares => match decode::<PegOutShare>(bytes) {
                Some(share) => self.take_share(share),
                None => Ok(Verdict::Reject),
            },
        }
    }

    /// Takes a block in that came by gossip.
    fn take_proposal(&mut self, proposal: Proposal) -> anyhow::Result<Verdict> {
        if !self.wants(&proposal) {
            return Ok(Verdict::Ignore);
        }
        let verified = VerifiedProposal::verify(&self.tools.chain, &proposal);
        self.put_in(proposal, verified)
    }

    /// Takes blocks in that a peer was asked for, lowest first: like one after the other, with their signatures verified
    /// together.
    pub(super) fn take_proposals(&mut self, mut proposals: Vec<Proposal>) -> anyhow::Result<()> {
        proposals.retain(|proposal| !self.is_known(proposal));
        let verified = VerifiedProposal::verify_all(&self.tools.chain, &proposals);
        for (proposal, verified) in proposals.into_iter().zip(verified) {
            // Only now: the blocks before it moved the head, and may be the same block.
            if self.wants(&proposal) {
                self.put_in(proposal, verified)?;
            }
        }
        Ok(())
    }

    /// Whether a block is held already, or decided.
    fn is_known(&self, proposal: &Proposal) -> bool {
        let id = proposal.block.id();
        self.consensus.holds(id)
            || self.proposals.contains_key(&id)
            || proposal.block.header.height <= self.consensus.tree().root().height
    }

    fn wants(&self, proposal: &Proposal) -> bool {
        let tree = self.consensus.tree();
        let header = &proposal.block.header;
        // What the chain goes on with is taken however much there is already, a few of each slot: children of the head, and
        // theirs, which bring the certificate that makes their parent the head.
        let head = tree.head().id;
        let goes_on = (header.parent == head || tree.children(head).contains(&header.parent))
            && tree.at_slot(header.slot).len() < MAX_PER_SLOT;
        !self.is_known(proposal) && (self.proposals.len() < MAX_PROPOSALS || goes_on)
    }

    fn put_in(
        &mut self,
        proposal: Proposal,
        verified: Result<VerifiedProposal, ProposalError>,
    ) -> anyhow::Result<Verdict> {
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => {
                tracing::warn!("a peer sent a block that does not verify: {error}");
                return Ok(Verdict::Reject);
            }
        };
        self.proposals.insert(verified.id(), Arc::new(proposal));
        self.step(Input::Proposal(Box::new(verified)))?;
        Ok(Verdict::Accept)
    }

    fn take_approval(&mut self, approval: Approval) -> anyhow::Result<Verdict> {
        match VerifiedApproval::verify(&self.tools.chain, approval) {
            Ok(approval) => {
                self.step(Input::Approval(approval))?;
                Ok(Verdict::Accept)
            }
            Err(error) => {
                tracing::warn!("a peer sent an approval that does not verify: {error}");
                Ok(Verdict::Reject)
            }
        }
    }

    /// Sends a message to all peers.
    pub(super) fn publish<T: Serialize>(&self, topic: Topic, message: &T) {
        let bytes = match postcard::to_stdvec(message) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!("a message for {topic:?} cannot be encoded: {error}");
                return;
            }
        };
        let network = self.network.clone();
        tokio::spawn(async move {
            if let Err(error) = network.publish(topic, bytes).await {
                tracing::debug!("{topic:?} not published: {error}");
            }
        });
    }
}
