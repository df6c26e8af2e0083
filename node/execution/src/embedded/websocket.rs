//! The websocket of the public port. ethrex's own loop has no limit for batches, and keeps connections that nobody uses.

use super::public_port::Port;
use super::server::{Answers, fault, parse};
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use ethrex_rpc::utils::RpcRequest;
use ethrex_rpc::{
    RpcErrorMetadata, SubscriptionManagerProtocol as _, handle_eth_subscribe,
    handle_eth_unsubscribe,
};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Subscriptions of one connection at most.
const MAX_SUBSCRIPTIONS: usize = 8;
/// Notifications that wait for a slow reader; further ones are lost to it.
const MAX_NEWS: usize = 64;

/// The subscriptions of one connection.
struct Subscriptions {
    news: mpsc::Sender<String>,
    ids: Vec<String>,
}

/// Serves one websocket until it closes, or until it gave no sign of life for `patience`.
pub(super) async fn talk(mut socket: WebSocket, port: &Port, patience: Duration) {
    let (sender, mut news) = mpsc::channel(MAX_NEWS);
    let mut subscriptions = Subscriptions {
        news: sender,
        ids: Vec::new(),
    };
    let half = (patience / 2).max(Duration::from_millis(1));
    let mut look = interval_at(Instant::now() + half, half);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = true;
    loop {
        let message = tokio::select! {
            message = socket.recv() => {
                heard = true;
                match message {
                    Some(Ok(Message::Text(text))) => {
                        let answer = subscriptions.answer(text.as_bytes(), port).await;
                        Message::Text(answer.into())
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => continue,
                }
            }
            // Never closed: this loop holds a sender.
            Some(note) = news.recv() => Message::Text(note.into()),
            _ = look.tick() => {
                if !std::mem::take(&mut heard) {
                    break;
                }
                Message::Ping(Bytes::new())
            }
        };
        let sent = tokio::time::timeout(patience, socket.send(message)).await;
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    subscriptions.end(port).await;
}

impl Subscriptions {
    async fn answer(&mut self, message: &[u8], port: &Port) -> String {
        let calls = match parse(message) {
            Ok(calls) => calls,
            Err(refusal) => return refusal,
        };
        let mut answers = Answers::to(&calls);
        for request in calls.requests {
            let id = request.id.clone();
            let result = match answers.exhausted() {
                Some(fault) => Err(fault),
                None => self.call(request, port).await,
            };
            answers.push(id, result);
        }
        answers.finish()
    }

    async fn call(&mut self, request: RpcRequest, port: &Port) -> Result<Value, RpcErrorMetadata> {
        let context = port.context();
        match request.method.as_str() {
            "eth_subscribe" if self.ids.len() >= MAX_SUBSCRIPTIONS => Err(fault(
                -32005,
                format!("expected at most {MAX_SUBSCRIPTIONS} subscriptions on a connection"),
            )),
            "eth_subscribe" => handle_eth_subscribe(&request, context, &self.news, &mut self.ids)
                .await
                .map_err(Into::into),
            "eth_unsubscribe" => handle_eth_unsubscribe(&request, context, &mut self.ids)
                .await
                .map_err(Into::into),
            _ => port.answer(request).await,
        }
    }

    async fn end(self, port: &Port) {
        let Some(manager) = &port.context().ws else {
            return;
        };
        for id in self.ids {
            // Fails only while the client stops.
            let _ = manager.subscription_manager.unsubscribe(id).await;
        }
    }
}
