//! Requests for blocks, in both directions.

use std::time::Instant;

use libp2p::PeerId;
use libp2p::request_response::{self, InboundRequestId, Message, ResponseChannel};
use tokio::sync::oneshot;

use super::Service;
use super::handshake::{millis, outbound_frame_error, request_error};
use crate::behaviour::ExchangeEvent;
use crate::error::{RequestError, RespondError};
use crate::event::{NetworkEvent, RefusalReason, RequestId};
use crate::message::{ErrorReply, Request, Response};
use crate::telemetry;

/// Requests of this node that may wait for answers.
const MAX_OUTBOUND: usize = 256;
/// Requests of all peers, and of one, that may be under way, from arrival until the answer is sent.
const MAX_INBOUND: usize = 32;
const MAX_INBOUND_PER_PEER: usize = 4;

/// A request of this node.
pub(crate) struct Outbound {
    max_blocks: u32,
    reply: oneshot::Sender<Result<Response, RequestError>>,
}

/// A request of a peer.
pub(crate) struct Inbound {
    peer: PeerId,
    max_blocks: u32,
    /// `None` once answered, while the answer is being sent.
    channel: Option<ResponseChannel<Response>>,
}

impl Service {
    pub(super) fn request(
        &mut self,
        peer: PeerId,
        request: Request,
        reply: oneshot::Sender<Result<Response, RequestError>>,
        now: Instant,
    ) {
        let waiting = self
            .outbound
            .len()
            .saturating_add(self.status_requests.len());
        let problem = if !request.is_valid() {
            Some(RequestError::Invalid {
                found: request.max_blocks(),
            })
        } else if !self.peers.is_ready(&peer) {
            Some(RequestError::NotConnected { peer })
        } else if waiting >= MAX_OUTBOUND {
            Some(RequestError::TooMany { waiting })
        } else {
            None
        };
        if let Some(problem) = problem {
            // The application may have stopped waiting; the same below.
            let _ = reply.send(Err(problem));
            return;
        }
        if matches!(request, Request::Status(_)) {
            self.send_status(peer, Some(reply), now);
            return;
        }
        let max_blocks = request.max_blocks();
        let id = self
            .swarm
            .behaviour_mut()
            .sync
            .send_request(&peer, Ok(request));
        self.outbound.insert(id, Outbound { max_blocks, reply });
    }

    pub(super) fn respond(
        &mut self,
        id: RequestId,
        response: Response,
    ) -> Result<(), RespondError> {
        let Some(inbound) = self.inbound.get_mut(&id.0) else {
            return Err(RespondError::NotWaiting(id));
        };
        if inbound.channel.is_none() {
            return Err(RespondError::NotWaiting(id));
        }
        let bytes = response.payload_bytes();
        match &response {
            Response::Status(_) => return Err(RespondError::WrongKind(id)),
            Response::Blocks(blocks) => {
                let limit = inbound.max_blocks;
                if blocks.len() > usize::try_from(limit).unwrap_or(usize::MAX)
                    || !response.is_within_limits()
                {
                    return Err(RespondError::OutOfBounds {
                        id,
                        limit,
                        blocks: blocks.len(),
                        bytes,
                    });
                }
                telemetry::response_bytes("out", bytes);
                telemetry::request("in", "answered");
            }
            Response::Error(_) => telemetry::request("in", "failed"),
        }
        let Some(channel) = inbound.channel.take() else {
            return Err(RespondError::NotWaiting(id));
        };
        self.swarm
            .behaviour_mut()
            .sync
            .send_response(channel, response)
            .map_err(|_| {
                // Timed out or disconnected; the event that says so is on its way and clears the entry.
                RespondError::NotWaiting(id)
            })
    }

    pub(super) fn on_sync_event(&mut self, event: ExchangeEvent, now: Instant) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request: Err(error),
                    ..
                } => self.refuse_malformed(peer, Some(&error), now),
                Message::Request {
                    request_id,
                    request: Ok(request),
                    channel,
                } => {
                    self.on_sync_request(peer, request_id, request, channel, now);
                }
                Message::Response {
                    request_id,
                    response,
                } => {
                    let Some(outbound) = self.outbound.remove(&request_id) else {
                        return;
                    };
                    let result = self.check_response(peer, outbound.max_blocks, response, now);
                    let _ = outbound.reply.send(result);
                }
            },
            request_response::Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                telemetry::request("out", "failed");
                if let Some(outbound) = self.outbound.remove(&request_id) {
                    let _ = outbound.reply.send(Err(request_error(&error)));
                }
                self.refuse_malformed(peer, outbound_frame_error(&error), now);
            }
            request_response::Event::InboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                tracing::debug!(%peer, %error, "request of a peer failed");
                self.inbound.remove(&request_id);
            }
            request_response::Event::ResponseSent { request_id, .. } => {
                self.inbound.remove(&request_id);
            }
        }
    }

    fn on_sync_request(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: Request,
        channel: ResponseChannel<Response>,
        now: Instant,
    ) {
        let max_blocks = request.max_blocks();
        match self.admit_request(peer, id, request, now) {
            Ok(()) => {
                self.inbound.insert(
                    id,
                    Inbound {
                        peer,
                        max_blocks,
                        channel: Some(channel),
                    },
                );
            }
            Err(Some((outcome, reply))) => {
                telemetry::request("in", outcome);
                // Fails if the connection has just ended; nobody is left to tell.
                let _ = self
                    .swarm
                    .behaviour_mut()
                    .sync
                    .send_response(channel, Response::Error(reply));
            }
            Err(None) => {
                telemetry::request("in", "flooding");
                self.refuse_and_cut_off(peer, RefusalReason::Flooding, now);
            }
        }
    }

    /// Hands a request to the application, or says what to answer instead; `None` for a peer that has been told
    /// often enough.
    fn admit_request(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: Request,
        now: Instant,
    ) -> Result<(), Option<(&'static str, ErrorReply)>> {
        if !request.is_valid() || matches!(request, Request::Status(_)) {
            return Err(Some(("invalid", ErrorReply::Invalid)));
        }
        if let Err(wait) = self.block_rate.take(peer, request.max_blocks(), now) {
            if self.refusal_rate.take(peer, 1, now).is_err() {
                return Err(None);
            }
            return Err(Some((
                "rate_limited",
                ErrorReply::RateLimited {
                    retry_after_ms: millis(wait),
                },
            )));
        }
        let own = self
            .inbound
            .values()
            .filter(|inbound| inbound.peer == peer)
            .count();
        if self.inbound.len() >= MAX_INBOUND || own >= MAX_INBOUND_PER_PEER {
            return Err(Some(("busy", ErrorReply::Busy)));
        }
        if !self.try_emit(
            "request",
            NetworkEvent::Request {
                peer,
                id: RequestId(id),
                request,
            },
        ) {
            return Err(Some(("busy", ErrorReply::Busy)));
        }
        Ok(())
    }

    fn check_response(
        &mut self,
        peer: PeerId,
        max_blocks: u32,
        response: Response,
        now: Instant,
    ) -> Result<Response, RequestError> {
        let found = match &response {
            Response::Error(_) => {
                telemetry::request("out", "refused");
                return Ok(response);
            }
            Response::Blocks(blocks)
                if blocks.len() <= usize::try_from(max_blocks).unwrap_or(usize::MAX) =>
            {
                telemetry::request("out", "answered");
                telemetry::response_bytes("in", response.payload_bytes());
                return Ok(response);
            }
            Response::Blocks(blocks) => format!(
                "expected at most {max_blocks} blocks, found {}",
                blocks.len()
            ),
            Response::Status(_) => "expected blocks, found a status".to_owned(),
        };
        telemetry::request("out", "malformed");
        self.refuse_and_cut_off(peer, RefusalReason::Malformed(found.clone()), now);
        Err(RequestError::Malformed(found))
    }
}
