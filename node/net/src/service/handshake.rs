//! The status exchange: who is on the same chain, and saying goodbye to who is not.

use std::io;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::request_response::{self, Message, OutboundFailure};
use tokio::sync::oneshot;

use super::Service;
use crate::behaviour::ExchangeEvent;
use crate::codec::FrameError;
use crate::error::RequestError;
use crate::event::{NetworkEvent, RefusalReason};
use crate::message::{ErrorReply, Request, Response, StatusMessage};
use crate::peers::Stage;
use crate::telemetry;

/// How long a refused peer has to read why.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Pause before a failed status exchange is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// A status request under way, and the application's wish for the answer if it asked.
pub(crate) struct StatusRequest {
    reply: Option<oneshot::Sender<Result<Response, RequestError>>>,
}

impl StatusRequest {
    fn finish(self, result: Result<Response, RequestError>) {
        if let Some(reply) = self.reply {
            // The application may have stopped waiting.
            let _ = reply.send(result);
        }
    }
}

impl Service {
    pub(super) fn send_status(
        &mut self,
        peer: PeerId,
        reply: Option<oneshot::Sender<Result<Response, RequestError>>>,
        now: Instant,
    ) {
        let request = Request::Status(self.status.clone());
        let id = self
            .swarm
            .behaviour_mut()
            .status
            .send_request(&peer, Ok(request));
        self.status_requests.insert(id, StatusRequest { reply });
        self.schedule_status(&peer, now, self.limits.status_interval);
    }

    fn schedule_status(&mut self, peer: &PeerId, now: Instant, pause: Duration) {
        if let (Some(entry), Some(next)) = (self.peers.get_mut(peer), now.checked_add(pause)) {
            entry.next_status = next;
        }
    }

    pub(super) fn on_status_event(&mut self, event: ExchangeEvent, now: Instant) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request: Err(error),
                    ..
                } => self.refuse_malformed(peer, Some(&error), now),
                Message::Request {
                    request: Ok(request),
                    channel,
                    ..
                } => {
                    let response = self.answer_status(peer, request, now);
                    // Fails if the connection has just ended; nobody is left to tell.
                    let _ = self
                        .swarm
                        .behaviour_mut()
                        .status
                        .send_response(channel, response);
                }
                Message::Response {
                    request_id,
                    response,
                } => {
                    let Some(request) = self.status_requests.remove(&request_id) else {
                        return;
                    };
                    request.finish(self.on_status_response(peer, response, now));
                }
            },
            request_response::Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                if let Some(request) = self.status_requests.remove(&request_id) {
                    request.finish(Err(request_error(&error)));
                }
                self.schedule_status(&peer, now, RETRY);
                if matches!(error, OutboundFailure::UnsupportedProtocols) {
                    self.refuse_and_cut_off(peer, RefusalReason::NotAlys, now);
                }
                self.refuse_malformed(peer, outbound_frame_error(&error), now);
            }
            // A refused peer is cut off by itself or by the clock, not as soon as its answer is sent: closing the
            // connection discards what has not arrived yet.
            request_response::Event::InboundFailure { .. }
            | request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn answer_status(&mut self, peer: PeerId, request: Request, now: Instant) -> Response {
        if let Err(wait) = self.status_rate.take(peer, 1, now) {
            telemetry::request("in", "rate_limited");
            return Response::Error(ErrorReply::RateLimited {
                retry_after_ms: millis(wait),
            });
        }
        let Request::Status(status) = request else {
            telemetry::request("in", "invalid");
            return Response::Error(ErrorReply::Invalid);
        };
        telemetry::request("in", "status");
        // A peer of another chain is answered all the same: that is how it learns why it is refused.
        self.learn(peer, status, now);
        Response::Status(self.status.clone())
    }

    fn on_status_response(
        &mut self,
        peer: PeerId,
        response: Response,
        now: Instant,
    ) -> Result<Response, RequestError> {
        match &response {
            Response::Status(status) => {
                self.learn(peer, status.clone(), now);
                if self
                    .peers
                    .get(&peer)
                    .is_some_and(|peer| matches!(peer.stage, Stage::Refused { .. }))
                {
                    self.cut_off(peer, now);
                }
                Ok(response)
            }
            Response::Error(_) => {
                self.schedule_status(&peer, now, RETRY);
                Ok(response)
            }
            Response::Blocks(_) => {
                let found = "blocks as the answer to a status".to_owned();
                self.refuse_and_cut_off(peer, RefusalReason::Malformed(found.clone()), now);
                Err(RequestError::Malformed(found))
            }
        }
    }

    /// Takes note of a peer's status; the first one decides whether it may stay.
    fn learn(&mut self, peer: PeerId, status: StatusMessage, now: Instant) {
        if let Some(reason) = self.mismatch(&status) {
            self.refuse(peer, reason, now);
            return;
        }
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let previous = match &entry.stage {
            Stage::Refused { .. } => return,
            Stage::AwaitingStatus => None,
            Stage::Ready(previous) => Some(previous),
        };
        if previous == Some(&status) {
            return;
        }
        let newcomer = previous.is_none();
        entry.stage = Stage::Ready(status.clone());
        if newcomer {
            tracing::info!(%peer, software = %status.software, height = status.certified_height, "peer connected");
            self.outbox.connected(peer, status);
            self.dialer.succeeded(&peer);
            self.schedule_status(&peer, now, self.limits.status_interval);
            self.make_findable(peer);
            telemetry::peers(self.peers.ready_count());
        } else {
            self.try_emit("peer_status", NetworkEvent::PeerStatus { peer, status });
        }
    }

    fn mismatch(&self, status: &StatusMessage) -> Option<RefusalReason> {
        if status.spec_digest != self.status.spec_digest {
            return Some(RefusalReason::WrongSpec {
                expected: self.status.spec_digest,
                found: status.spec_digest,
            });
        }
        if status.genesis_id != self.status.genesis_id {
            return Some(RefusalReason::WrongGenesis {
                expected: self.status.genesis_id,
                found: status.genesis_id,
            });
        }
        None
    }

    /// Turns a connected peer away, leaving it a moment to read why.
    pub(super) fn refuse(&mut self, peer: PeerId, reason: RefusalReason, now: Instant) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if matches!(entry.stage, Stage::Refused { .. }) {
            return;
        }
        let close_at = now.checked_add(LAST_WORDS).unwrap_or(now);
        let before = std::mem::replace(&mut entry.stage, Stage::Refused { close_at });
        if matches!(before, Stage::Ready(_)) {
            self.outbox.disconnected(peer);
            telemetry::peers(self.peers.ready_count());
        }
        tracing::warn!(%peer, %reason, "peer refused");
        telemetry::refused(&reason);
        self.try_emit("peer_refused", NetworkEvent::PeerRefused { peer, reason });
    }

    /// Ends all connections of a peer and blocks it for a while.
    pub(super) fn cut_off(&mut self, peer: PeerId, now: Instant) {
        let until = now.checked_add(self.limits.refusal_block).unwrap_or(now);
        let displaced = self.blocked.block(peer, until);
        let behaviour = self.swarm.behaviour_mut();
        if let Some(displaced) = displaced {
            behaviour.blocked.unblock_peer(displaced);
        }
        behaviour.blocked.block_peer(peer);
        behaviour.kademlia.remove_peer(&peer);
    }

    pub(super) fn refuse_and_cut_off(&mut self, peer: PeerId, reason: RefusalReason, now: Instant) {
        if self.peers.get(&peer).is_some() {
            self.refuse(peer, reason, now);
            self.cut_off(peer, now);
        }
    }

    pub(super) fn refuse_malformed(
        &mut self,
        peer: PeerId,
        error: Option<&FrameError>,
        now: Instant,
    ) {
        if let Some(error) = error {
            self.refuse_and_cut_off(peer, RefusalReason::Malformed(error.to_string()), now);
        }
    }

    /// Repeats status exchanges, and ends handshakes that take too long.
    pub(super) fn advance_handshakes(&mut self, now: Instant) {
        let (mut ask, mut late, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for (id, peer) in self.peers.iter() {
            match peer.stage {
                Stage::Refused { close_at } if close_at <= now => over.push(*id),
                Stage::Refused { .. } => {}
                Stage::AwaitingStatus
                    if now.saturating_duration_since(peer.since)
                        >= self.limits.handshake_timeout =>
                {
                    late.push(*id);
                }
                Stage::AwaitingStatus | Stage::Ready(_) if peer.next_status <= now => ask.push(*id),
                Stage::AwaitingStatus | Stage::Ready(_) => {}
            }
        }
        for peer in over {
            self.cut_off(peer, now);
        }
        for peer in late {
            self.refuse_and_cut_off(
                peer,
                RefusalReason::NoStatus {
                    waited: self.limits.handshake_timeout,
                },
                now,
            );
        }
        for peer in ask {
            self.send_status(peer, None, now);
        }
    }
}

/// Whole milliseconds, rounded up, at least 1.
pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros().div_ceil(1000))
        .unwrap_or(u32::MAX)
        .max(1)
}

pub(super) fn request_error(failure: &OutboundFailure) -> RequestError {
    match failure {
        OutboundFailure::Timeout => RequestError::Timeout,
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => {
            RequestError::Disconnected
        }
        OutboundFailure::UnsupportedProtocols => RequestError::Unsupported,
        OutboundFailure::Io(error) => match FrameError::inside(error) {
            Some(frame) => RequestError::Malformed(frame.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => RequestError::Unanswered,
            None => RequestError::Io(error.to_string()),
        },
    }
}

pub(super) fn outbound_frame_error(failure: &OutboundFailure) -> Option<&FrameError> {
    match failure {
        OutboundFailure::Io(error) => FrameError::inside(error),
        OutboundFailure::Timeout
        | OutboundFailure::DialFailure
        | OutboundFailure::ConnectionClosed
        | OutboundFailure::UnsupportedProtocols => None,
    }
}
