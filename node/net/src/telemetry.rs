//! Counters, through the `metrics` facade.

use metrics::{counter, gauge};

use crate::event::RefusalReason;
use crate::topic::Topic;

/// A gossip message entered or left this node.
pub(crate) fn gossip(topic: Topic, direction: &'static str, bytes: usize) {
    counter!("alys_net_gossip_messages_total", "topic" => topic.name(), "direction" => direction)
        .increment(1);
    counter!("alys_net_gossip_bytes_total", "topic" => topic.name(), "direction" => direction)
        .increment(bytes as u64);
}

/// What became of a received gossip message.
pub(crate) fn gossip_outcome(topic: Topic, outcome: &'static str) {
    counter!("alys_net_gossip_outcomes_total", "topic" => topic.name(), "outcome" => outcome)
        .increment(1);
}

/// A request was made (`out`) or received (`in`) and ended so.
pub(crate) fn request(direction: &'static str, outcome: &'static str) {
    counter!("alys_net_requests_total", "direction" => direction, "outcome" => outcome)
        .increment(1);
}

/// Blocks went out or came in.
pub(crate) fn response_bytes(direction: &'static str, bytes: usize) {
    counter!("alys_net_response_bytes_total", "direction" => direction).increment(bytes as u64);
}

/// Peers that completed the handshake.
pub(crate) fn peers(count: usize) {
    gauge!("alys_net_peers").set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// A peer was turned away.
pub(crate) fn refused(reason: &RefusalReason) {
    counter!("alys_net_peers_refused_total", "reason" => reason.label()).increment(1);
}

/// A dial failed.
pub(crate) fn dial_failed() {
    counter!("alys_net_dial_failures_total").increment(1);
}

/// An event did not fit into the application's queue.
pub(crate) fn event_dropped(kind: &'static str) {
    counter!("alys_net_events_dropped_total", "event" => kind).increment(1);
}
