//! The EVM JSON-RPC for wallets and tools, over HTTP and websocket on one port. It has no secrets and no
//! authentication, and no CORS: a web page cannot use it unless its user's wallet does.

use super::server::{fault, respond};
use super::state;
use crate::client::BLOB_TRANSACTION_TYPE;
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::post;
use ethrex_rpc::utils::RpcRequest;
use ethrex_rpc::{RpcApiContext, RpcErrorMetadata, handle_websocket, map_http_requests};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Bytes of a request at most, as in Geth.
const MAX_REQUEST_BYTES: usize = 5 << 20;
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

#[derive(Clone)]
struct Port {
    context: RpcApiContext,
    stop: CancellationToken,
}

pub(super) fn router(context: RpcApiContext, stop: CancellationToken) -> Router {
    Router::new()
        .route("/", post(over_http).get(over_websocket))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(Port { context, stop })
}

async fn over_http(State(port): State<Port>, body: Bytes) -> Json<Value> {
    Json(respond(&body, |request| answer(port.context.clone(), request)).await)
}

async fn over_websocket(upgrade: WebSocketUpgrade, State(port): State<Port>) -> Response {
    upgrade
        .max_message_size(MAX_REQUEST_BYTES)
        .on_upgrade(async move |mut socket| {
            let talk = handle_websocket(&mut socket, &port.context, |request| {
                answer(port.context.clone(), request)
            });
            // An open websocket must not keep the database open.
            let _ = port.stop.run_until_cancelled(talk).await;
        })
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
        "eth_getLogs" => state::log_range(store, params).await?,
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
    Box::pin(map_http_requests(&request, context.clone()))
        .await
        .map_err(Into::into)
}
