//! What both ports share: serving until told to stop, and the frame of JSON-RPC.

use axum::Router;
use ethrex_rpc::utils::RpcRequest;
use ethrex_rpc::{RpcErrorMetadata, RpcRequestWrapper, rpc_response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Calls in one batch at most.
const MAX_BATCH: usize = 1_000;

/// Serves until `stop`, then lets requests in progress end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Answers a JSON-RPC body, one call or a batch, by `answer`.
pub(super) async fn respond<F>(body: &[u8], answer: impl Fn(RpcRequest) -> F) -> Value
where
    F: Future<Output = Result<Value, RpcErrorMetadata>>,
{
    let wrapper: RpcRequestWrapper = match serde_json::from_slice(body) {
        Ok(wrapper) => wrapper,
        Err(error) if error.is_data() => {
            return refuse(-32600, "expected a JSON-RPC call or a batch of them");
        }
        Err(_) => return refuse(-32700, "expected JSON"),
    };
    match wrapper {
        RpcRequestWrapper::Single(request) => single(request, answer).await,
        RpcRequestWrapper::Multiple(requests) if requests.is_empty() => {
            refuse(-32600, "expected calls, found none")
        }
        RpcRequestWrapper::Multiple(requests) if requests.len() > MAX_BATCH => {
            refuse(-32600, "expected at most 1000 calls in a batch, found more")
        }
        RpcRequestWrapper::Multiple(requests) => {
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                answers.push(single(request, &answer).await);
            }
            Value::Array(answers)
        }
    }
}

async fn single<F>(request: RpcRequest, answer: impl Fn(RpcRequest) -> F) -> Value
where
    F: Future<Output = Result<Value, RpcErrorMetadata>>,
{
    let id = request.id.clone();
    let result = answer(request).await;
    rpc_response(id, result).unwrap_or_else(|error| refuse(-32603, &error.to_string()))
}

fn refuse(code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } })
}

/// An error of our own in a JSON-RPC answer.
pub(super) fn fault(code: i32, message: impl Into<String>) -> RpcErrorMetadata {
    RpcErrorMetadata {
        code,
        data: None,
        message: message.into(),
    }
}
