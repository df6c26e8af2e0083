//! The EVM JSON-RPC for wallets and tools, over HTTP and websocket on one port. It has no secrets and no
//! authentication; [`alys_http::Access`] says which hosts and which web pages' origins it serves.

use super::server::{JSON, fault, respond};
use super::{state, websocket};
use crate::client::BLOB_TRANSACTION_TYPE;
use alys_http::{Access, AccessLayer};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use ethrex_rpc::utils::RpcRequest;
use ethrex_rpc::{RpcApiContext, RpcErrorMetadata, map_http_requests};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Bytes of a request at most, as in Geth.
const MAX_REQUEST_BYTES: usize = 5 << 20;
/// Open websockets at most.
const MAX_WEBSOCKETS: usize = 128;
/// `eth_newFilter` filters at most; those that nobody asks for are forgotten after five minutes.
const MAX_FILTERS: usize = 1_000;
/// `debug_*` methods that only read.
const DEBUG_METHODS: [&str; 7] = [
    "debug_chainConfig",
    "debug_getRawBlock",
    "debug_getRawHeader",
    "debug_getRawReceipts",
    "debug_getRawTransaction",
    "debug_traceBlockByNumber",
    "debug_traceTransaction",
];
/// Methods that can keep a processor busy.
const LONG_METHODS: [&str; 8] = [
    "eth_call",
    "eth_createAccessList",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_getFilterChanges",
    "eth_getLogs",
    "eth_getProof",
    "txpool_content",
];

/// The port.
#[derive(Clone)]
pub(super) struct Port {
    context: RpcApiContext,
    stop: CancellationToken,
    /// How long a websocket may be silent.
    patience: Duration,
    websockets: Arc<Semaphore>,
    /// Places for [`LONG_METHODS`].
    long: Arc<Semaphore>,
}

pub(super) fn router(
    context: RpcApiContext,
    stop: CancellationToken,
    access: Access,
    patience: Duration,
) -> Router {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Router::new()
        .route("/", post(over_http).get(over_websocket))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(AccessLayer::new(access))
        .with_state(Port {
            context,
            stop,
            patience,
            websockets: Arc::new(Semaphore::new(MAX_WEBSOCKETS)),
            // The node needs processors, too.
            long: Arc::new(Semaphore::new((processors / 2).max(1))),
        })
}

async fn over_http(State(port): State<Port>, body: Bytes) -> Response {
    let answer = respond(&body, |request| port.answer(request)).await;
    (JSON, answer).into_response()
}

async fn over_websocket(upgrade: WebSocketUpgrade, State(port): State<Port>) -> Response {
    let Ok(place) = Arc::clone(&port.websockets).try_acquire_owned() else {
        let reason = format!("expected at most {MAX_WEBSOCKETS} websockets, all are in use\n");
        return (StatusCode::TOO_MANY_REQUESTS, reason).into_response();
    };
    upgrade
        .max_message_size(MAX_REQUEST_BYTES)
        .max_frame_size(MAX_REQUEST_BYTES)
        .on_upgrade(async move |socket| {
            let talk = websocket::talk(socket, &port, port.patience);
            // An open websocket must not keep the database open.
            let _ = port.stop.run_until_cancelled(talk).await;
            drop(place);
        })
}

impl Port {
    pub(super) const fn context(&self) -> &RpcApiContext {
        &self.context
    }

    /// Answers one call of a stranger. What takes long has few places and threads of its own: whoever asks for it must
    /// not keep the threads busy on which the node runs.
    pub(super) async fn answer(&self, request: RpcRequest) -> Result<Value, RpcErrorMetadata> {
        let method = request.method.as_str();
        let context = self.context.clone();
        if method == "eth_newFilter" && self.filters() >= MAX_FILTERS {
            return Err(fault(-32005, "too many filters are in use"));
        }
        if !LONG_METHODS.contains(&method) && !method.starts_with("debug_") {
            return answer(context, request).await;
        }
        let lost = |error: String| fault(-32603, error);
        let place = Arc::clone(&self.long)
            .acquire_owned()
            .await
            .map_err(|error| lost(error.to_string()))?;
        let runtime = Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            runtime.block_on(answer(context, request))
        });
        work.await.map_err(|error| lost(error.to_string()))?
    }

    fn filters(&self) -> usize {
        self.context
            .active_filters
            .lock()
            .map_or(0, |filters| filters.len())
    }
}

/// Answers one call: what ethrex lacks or answers wrongly is answered here, the rest by ethrex.
pub(super) async fn answer(
    context: RpcApiContext,
    request: RpcRequest,
) -> Result<Value, RpcErrorMetadata> {
    let params = request.params.as_deref().unwrap_or_default();
    let store = &context.storage;
    match request.method.as_str() {
        "eth_getBalance"
        | "eth_getTransactionCount"
        | "eth_getCode"
        | "eth_getStorageAt"
        | "eth_getProof" => {
            return Box::pin(state::account(&context, &request.method, params)).await;
        }
        "eth_getBlockByHash" => return state::block_by_hash(store, params).await,
        "eth_getBlockReceipts" => return state::block_receipts(store, params).await,
        "eth_call" | "eth_estimateGas" | "eth_createAccessList" => {
            let header = state::header(store, params.get(1)).await?;
            state::available(store, &header)?;
            state::canonical(store, &header)?;
        }
        "eth_getBlockTransactionCountByHash" | "eth_getTransactionByBlockHashAndIndex" => {
            let header = state::header(store, params.first()).await?;
            state::canonical(store, &header)?;
        }
        "eth_getLogs" => return state::logs(&context, &request).await,
        "eth_newFilter" => state::log_filter_size(params)?,
        "eth_sendRawTransaction" => {
            let transaction: alloy_primitives::Bytes =
                state::parameter(params, 0, "a signed transaction in hex")?;
            if transaction.first() == Some(&BLOB_TRANSACTION_TYPE) {
                return Err(fault(
                    -32000,
                    "blob transactions do not exist on this chain",
                ));
            }
        }
        // There are no peers, but tools take "not listening" for "not running".
        "net_listening" => return Ok(json!(true)),
        "net_peerCount" => return Ok(json!("0x0")),
        "web3_sha3" => return state::sha3(params),
        "eth_accounts" => return Ok(json!([])),
        "eth_mining" => return Ok(json!(false)),
        "eth_hashrate" | "eth_getUncleCountByBlockHash" | "eth_getUncleCountByBlockNumber" => {
            return Ok(json!("0x0"));
        }
        "eth_getUncleByBlockHashAndIndex" | "eth_getUncleByBlockNumberAndIndex" => {
            return Ok(Value::Null);
        }
        method if method.starts_with("debug_") && !DEBUG_METHODS.contains(&method) => {
            return Err(fault(-32601, format!("Method not found: {method}")));
        }
        _ => {}
    }
    let answer = Box::pin(map_http_requests(&request, context.clone())).await?;
    Ok(match request.method.as_str() {
        "eth_feeHistory" => with_ratios(answer),
        _ => answer,
    })
}

/// A fee history in which every ratio is a number: ethrex divides by this chain's limit of blob gas, which is zero, and JSON
/// has no word for the outcome but null, which wallets do not take.
fn with_ratios(mut history: Value) -> Value {
    for name in ["gasUsedRatio", "blobGasUsedRatio"] {
        let ratios = history.get_mut(name).and_then(Value::as_array_mut);
        for ratio in ratios.into_iter().flatten() {
            if ratio.is_null() {
                *ratio = json!(0.0);
            }
        }
    }
    history
}
