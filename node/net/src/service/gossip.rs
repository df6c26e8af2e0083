//! Gossip in and out.

use std::time::Instant;

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};

use super::Service;
use crate::error::PublishError;
use crate::event::{GossipId, NetworkEvent, Verdict};
use crate::gossip::Waiting;
use crate::telemetry;
use crate::topic::Topic;

impl Service {
    pub(super) fn publish(&mut self, topic: Topic, bytes: Vec<u8>) -> Result<(), PublishError> {
        let size = bytes.len();
        if size > topic.max_bytes() {
            return Err(PublishError::TooLarge {
                topic,
                limit: topic.max_bytes(),
                found: size,
            });
        }
        if !self.may_publish(topic, self.swarm.local_peer_id()) {
            return Err(PublishError::NotAllowed { topic });
        }
        let ident = topic.ident(&self.status.spec_digest);
        self.swarm
            .behaviour_mut()
            .gossip
            .publish(ident, bytes)
            .map_err(|error| match error {
                gossipsub::PublishError::NoPeersSubscribedToTopic => {
                    PublishError::NoPeers { topic }
                }
                gossipsub::PublishError::Duplicate => PublishError::Duplicate { topic },
                gossipsub::PublishError::AllQueuesFull(_) => PublishError::Overloaded { topic },
                gossipsub::PublishError::MessageTooLarge
                | gossipsub::PublishError::SigningError(_)
                | gossipsub::PublishError::TransformFailed(_) => PublishError::Internal {
                    topic,
                    reason: error.to_string(),
                },
            })?;
        telemetry::gossip(topic, "out", size);
        Ok(())
    }

    fn may_publish(&self, topic: Topic, peer: &PeerId) -> bool {
        self.allowed_publishers
            .get(&topic)
            .is_none_or(|allowed| allowed.contains(peer))
    }

    pub(super) fn on_gossip_event(&mut self, event: gossipsub::Event, now: Instant) {
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => {
                self.on_gossip(propagation_source, &message_id, message, now);
            }
            gossipsub::Event::SlowPeer {
                peer_id,
                failed_messages,
            } => {
                tracing::debug!(peer = %peer_id, ?failed_messages, "peer does not keep up with gossip");
            }
            _ => {}
        }
    }

    fn on_gossip(
        &mut self,
        forwarder: PeerId,
        message: &MessageId,
        content: gossipsub::Message,
        now: Instant,
    ) {
        // Never: the library hands up subscribed topics only.
        let Some(topic) = self.topics.topic(&content.topic) else {
            return;
        };
        telemetry::gossip(topic, "in", content.data.len());
        let (outcome, acceptance) = match self.admit(topic, forwarder, message, content, now) {
            Ok(()) => return,
            Err(refused) => refused,
        };
        telemetry::gossip_outcome(topic, outcome);
        self.conclude(message, &forwarder, acceptance);
    }

    /// Hands a message to the application, or says why not and whose fault that is.
    fn admit(
        &mut self,
        topic: Topic,
        forwarder: PeerId,
        message: &MessageId,
        content: gossipsub::Message,
        now: Instant,
    ) -> Result<(), (&'static str, MessageAcceptance)> {
        // Never missing: the library checks the author's signature.
        let Some(source) = content.source else {
            return Err(("anonymous", MessageAcceptance::Reject));
        };
        let bytes = content.data;
        if bytes.len() > topic.max_bytes() {
            return Err(("oversized", MessageAcceptance::Reject));
        }
        if !self.may_publish(topic, &source) {
            // Lists may differ between operators, so who merely forwards is not blamed.
            let fault = if source == forwarder {
                MessageAcceptance::Reject
            } else {
                MessageAcceptance::Ignore
            };
            tracing::debug!(%source, %forwarder, %topic, "gossip of a peer that is no member");
            return Err(("not_allowed", fault));
        }
        // Where authors cost nothing, whoever forwards answers for it: connections do cost. Members are few, and their
        // messages must not be lost because a stranger who passes them on has used up a budget: the library forgets a
        // message's id only much later, so that nobody else could bring it. But whoever brings an old one again pays for
        // it, or strangers could use up a member's budget with what the member once said.
        let of_members = self.allowed_publishers.contains_key(&topic);
        let number = content.sequence_number.unwrap_or_default();
        let payer = if of_members && self.newest.entry(source).or_default().takes(number) {
            source
        } else {
            forwarder
        };
        let cost = topic.gossip_cost(bytes.len());
        if self.gossip_rate.take(payer, cost, now).is_err() {
            return Err(("rate_limited", MessageAcceptance::Ignore));
        }
        let waiting = Waiting {
            message: message.clone(),
            forwarder,
            payer,
            topic,
            bytes: bytes.len(),
            deadline: now
                .checked_add(self.limits.validation_timeout)
                .unwrap_or(now),
        };
        let Some(id) = self.waiting.enter(waiting) else {
            return Err(("no_room", MessageAcceptance::Ignore));
        };
        if !self.try_emit(
            "gossip",
            NetworkEvent::Gossip {
                topic,
                source,
                forwarder,
                id,
                bytes,
            },
        ) {
            self.waiting.leave(id);
            return Err(("dropped", MessageAcceptance::Ignore));
        }
        Ok(())
    }

    pub(super) fn report(&mut self, id: GossipId, verdict: Verdict) {
        let Some(waiting) = self.waiting.leave(id) else {
            tracing::debug!(%id, ?verdict, "verdict on a gossip message that no longer waits for one");
            return;
        };
        let (outcome, acceptance) = match verdict {
            Verdict::Accept => ("accept", MessageAcceptance::Accept),
            Verdict::Reject => ("reject", MessageAcceptance::Reject),
            Verdict::Ignore => ("ignore", MessageAcceptance::Ignore),
        };
        telemetry::gossip_outcome(waiting.topic, outcome);
        self.conclude(&waiting.message, &waiting.forwarder, acceptance);
    }

    pub(super) fn expire_gossip(&mut self, now: Instant) {
        while let Some(waiting) = self.waiting.leave_expired(now) {
            telemetry::gossip_outcome(waiting.topic, "timeout");
            self.conclude(
                &waiting.message,
                &waiting.forwarder,
                MessageAcceptance::Ignore,
            );
        }
    }

    fn conclude(&mut self, message: &MessageId, forwarder: &PeerId, acceptance: MessageAcceptance) {
        let known = self
            .swarm
            .behaviour_mut()
            .gossip
            .report_message_validation_result(message, forwarder, acceptance);
        if !known {
            tracing::debug!(%message, "the gossip history no longer holds the message");
        }
    }
}

/// The highest sequence number of one author's messages, which the author's signature covers; the library counts up from
/// the time of the author's start.
#[derive(Debug, Default)]
pub(super) struct Newest(u64);

/// Messages that may overtake each other on their ways.
const RECENT_MESSAGES: u64 = 4096;

impl Newest {
    /// Whether a message is one of the newest.
    fn takes(&mut self, number: u64) -> bool {
        let recent = number >= self.0.saturating_sub(RECENT_MESSAGES);
        self.0 = self.0.max(number);
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_author_said_long_ago_is_at_the_cost_of_who_repeats_it() {
        let mut newest = Newest::default();
        let start = 1_700_000_000_000_000_000;
        assert!(newest.takes(start));
        assert!(newest.takes(start + 10_000));
        assert!(newest.takes(start + 9_000), "overtaken on the way");
        assert!(!newest.takes(start + 5_000));
        assert!(!newest.takes(start));
        assert!(!newest.takes(0), "none");
        assert!(newest.takes(start + 10_001));
    }
}
