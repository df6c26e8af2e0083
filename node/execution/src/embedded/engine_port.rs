//! The authenticated port: the part of the Engine API that a Prague chain uses.

use super::server::{JSON, fault, respond};
use super::{public_port, state};
use crate::jwt::{JwtSecret, TokenError};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use ethrex_common::H256;
use ethrex_common::types::{Block, BlockHeader};
use ethrex_rpc::rpc::map_authrpc_requests;
use ethrex_rpc::utils::RpcRequest;
use ethrex_rpc::{RpcApiContext, RpcErrorMetadata};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Bytes of a request at most: a full block in hex.
const MAX_REQUEST_BYTES: usize = 64 << 20;
/// Blocks of a dropped branch whose transactions go back into the pool.
const MAX_DROPPED_BLOCKS: usize = 128;

#[derive(Clone)]
struct Port {
    context: RpcApiContext,
    secret: Arc<JwtSecret>,
    /// A fork choice is read, decided and followed up as a whole.
    fork_choice: Arc<Mutex<()>>,
}

pub(super) fn router(context: RpcApiContext, secret: JwtSecret) -> Router {
    Router::new()
        .route("/", post(over_http))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(Port {
            context,
            secret: Arc::new(secret),
            fork_choice: Arc::default(),
        })
}

/// A caller that holds the secret. Asked for before the body is read: a stranger's is none of our business.
struct Authenticated;

impl FromRequestParts<Port> for Authenticated {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, port: &Port) -> Result<Self, Response> {
        match authenticate(&port.secret, &parts.headers) {
            Ok(()) => Ok(Self),
            Err(error) => Err((StatusCode::UNAUTHORIZED, error.to_string()).into_response()),
        }
    }
}

async fn over_http(_: Authenticated, State(port): State<Port>, body: Bytes) -> Response {
    let answer = respond(&body, |request| port.clone().answer(request)).await;
    (JSON, answer).into_response()
}

fn authenticate(secret: &JwtSecret, headers: &HeaderMap) -> Result<(), TokenError> {
    let header: Option<&http::HeaderValue> = headers.get(AUTHORIZATION);
    let text = header
        .and_then(|value| value.to_str().ok())
        .ok_or(TokenError::Missing)?;
    secret.verify(text.strip_prefix("Bearer ").ok_or(TokenError::Missing)?)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parent {
    parent_hash: H256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    head_block_hash: H256,
}

impl Port {
    async fn answer(self, request: RpcRequest) -> Result<Value, RpcErrorMetadata> {
        match request.method.as_str() {
            "engine_newPayloadV4" => self.new_payload(request).await,
            "engine_forkchoiceUpdatedV3" => self.forkchoice_updated(request).await,
            "engine_exchangeCapabilities"
            | "engine_getClientVersionV1"
            | "engine_getPayloadV4"
            | "engine_getPayloadBodiesByHashV1"
            | "engine_getPayloadBodiesByRangeV1" => self.pass(request, self.context.clone()).await,
            method if method.starts_with("eth_") => {
                public_port::answer(self.context, request).await
            }
            method => Err(fault(-32601, format!("Method not found: {method}"))),
        }
    }

    async fn pass(
        &self,
        request: RpcRequest,
        context: RpcApiContext,
    ) -> Result<Value, RpcErrorMetadata> {
        Box::pin(map_authrpc_requests(&request, context))
            .await
            .map_err(Into::into)
    }

    /// A block and its state are there.
    fn known(&self, hash: H256) -> Result<Option<BlockHeader>, RpcErrorMetadata> {
        let store = &self.context.storage;
        let header = store
            .get_block_header_by_hash(hash)
            .map_err(state::store_fault)?;
        Ok(header.filter(|header| state::available(store, header).is_ok()))
    }

    /// Where the parent or its state is missing, ethrex would look for peers, or store the block without executing it.
    async fn new_payload(&self, request: RpcRequest) -> Result<Value, RpcErrorMetadata> {
        let parent: Parent = state::parameter(
            request.params.as_deref().unwrap_or_default(),
            0,
            "a payload",
        )?;
        if self.known(parent.parent_hash)?.is_none() {
            return Ok(syncing());
        }
        self.pass(request, self.context.clone()).await
    }

    async fn forkchoice_updated(&self, request: RpcRequest) -> Result<Value, RpcErrorMetadata> {
        let _whole = self.fork_choice.lock().await;
        let head: Head = state::parameter(
            request.params.as_deref().unwrap_or_default(),
            0,
            "a fork choice state",
        )?;
        // As with payloads: no peers to ask.
        if self.known(head.head_block_hash)?.is_none() {
            return Ok(json!({ "payloadStatus": syncing(), "payloadId": null }));
        }
        let before = self.latest().await?;
        let mut context = self.context.clone();
        if before.hash() == head.head_block_hash {
            // newHeads would be told of the same head again.
            context.ws = None;
        }
        let answer = self.pass(request, context).await?;
        if answer.pointer("/payloadStatus/status") == Some(&json!("VALID")) {
            self.restore_dropped(before).await;
        }
        Ok(answer)
    }

    async fn latest(&self) -> Result<BlockHeader, RpcErrorMetadata> {
        state::header(&self.context.storage, None).await
    }

    /// Puts the transactions of blocks that are no longer canonical back into the pool.
    async fn restore_dropped(&self, mut tip: BlockHeader) {
        let store = &self.context.storage;
        let mut dropped: Vec<Block> = Vec::new();
        while dropped.len() < MAX_DROPPED_BLOCKS
            && !store.is_canonical_sync(tip.hash()).unwrap_or(true)
        {
            let Ok(Some(block)) = store.get_block_by_hash(tip.hash()).await else {
                break;
            };
            let Ok(Some(parent)) = store.get_block_header_by_hash(tip.parent_hash) else {
                break;
            };
            dropped.push(block);
            tip = parent;
        }
        for transaction in dropped
            .into_iter()
            .rev()
            .flat_map(|block| block.body.transactions)
        {
            // Refused where the new branch has it too, or made it invalid.
            if let Err(error) = self
                .context
                .blockchain
                .add_transaction_to_pool(transaction)
                .await
            {
                tracing::debug!(%error, "a transaction of a dropped block does not go back into the pool");
            }
        }
    }
}

fn syncing() -> Value {
    json!({ "status": "SYNCING", "latestValidHash": null, "validationError": null })
}
