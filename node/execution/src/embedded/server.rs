//! What both ports share: the frame of JSON-RPC, and the limits of a batch.

use axum::http::header::{CONTENT_TYPE, HeaderName};
use ethrex_rpc::utils::{RpcRequest, RpcRequestId};
use ethrex_rpc::{RpcErrorMetadata, RpcRequestWrapper, rpc_response};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Calls in one batch at most.
const MAX_BATCH: usize = 1_000;
/// Once the answers to a batch are this long, in bytes, its other calls are refused; as in Geth.
const MAX_BATCH_ANSWER: usize = 25_000_000;
/// Once a batch has taken this long, its other calls are refused; as in Geth.
const MAX_BATCH_TIME: Duration = Duration::from_secs(30);

/// What an answer of [`respond`] is.
pub(super) const JSON: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

/// The calls in one message.
pub(super) struct Calls {
    pub(super) requests: Vec<RpcRequest>,
    is_batch: bool,
}

/// Reads one call or a batch; in the other case says what to answer.
pub(super) fn parse(message: &[u8]) -> Result<Calls, String> {
    let wrapper: RpcRequestWrapper = match serde_json::from_slice(message) {
        Ok(wrapper) => wrapper,
        Err(error) if error.is_data() => {
            return Err(refuse(
                -32600,
                "expected a JSON-RPC call or a batch of them",
            ));
        }
        Err(_) => return Err(refuse(-32700, "expected JSON")),
    };
    match wrapper {
        RpcRequestWrapper::Single(request) => Ok(Calls {
            requests: vec![request],
            is_batch: false,
        }),
        RpcRequestWrapper::Multiple(requests) if requests.is_empty() => {
            Err(refuse(-32600, "expected calls, found none"))
        }
        RpcRequestWrapper::Multiple(requests) if requests.len() > MAX_BATCH => Err(refuse(
            -32600,
            "expected at most 1000 calls in a batch, found more",
        )),
        RpcRequestWrapper::Multiple(requests) => Ok(Calls {
            requests,
            is_batch: true,
        }),
    }
}

/// The answers to one message, growing.
pub(super) struct Answers {
    text: String,
    is_batch: bool,
    began: Instant,
}

impl Answers {
    pub(super) fn to(calls: &Calls) -> Self {
        Self {
            text: String::new(),
            is_batch: calls.is_batch,
            began: Instant::now(),
        }
    }

    /// Why no further call of the batch is carried out, if so.
    pub(super) fn exhausted(&self) -> Option<RpcErrorMetadata> {
        if self.text.len() > MAX_BATCH_ANSWER {
            return Some(fault(-32003, "the answers to this batch are too large"));
        }
        (self.began.elapsed() > MAX_BATCH_TIME).then(|| fault(-32002, "this batch takes too long"))
    }

    pub(super) fn push(&mut self, id: RpcRequestId, result: Result<Value, RpcErrorMetadata>) {
        if self.is_batch {
            self.text.push(if self.text.is_empty() { '[' } else { ',' });
        }
        match rpc_response(id, result) {
            Ok(answer) => self.text.push_str(&answer.to_string()),
            Err(error) => self.text.push_str(&refuse(-32603, &error.to_string())),
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.is_batch {
            self.text.push(']');
        }
        self.text
    }
}

/// Answers a message, call by call, by `answer`.
pub(super) async fn respond<F>(message: &[u8], answer: impl Fn(RpcRequest) -> F) -> String
where
    F: Future<Output = Result<Value, RpcErrorMetadata>>,
{
    let calls = match parse(message) {
        Ok(calls) => calls,
        Err(refusal) => return refusal,
    };
    let mut answers = Answers::to(&calls);
    for request in calls.requests {
        let id = request.id.clone();
        let result = match answers.exhausted() {
            Some(fault) => Err(fault),
            None => answer(request).await,
        };
        answers.push(id, result);
    }
    answers.finish()
}

fn refuse(code: i32, message: &str) -> String {
    let error = json!({ "code": code, "message": message });
    json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string()
}

/// An error of our own in a JSON-RPC answer.
pub(super) fn fault(code: i32, message: impl Into<String>) -> RpcErrorMetadata {
    RpcErrorMetadata {
        code,
        data: None,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn batch(calls: usize) -> Vec<u8> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "m" });
        json!(vec![call; calls]).to_string().into_bytes()
    }

    #[tokio::test]
    async fn a_batch_ends_when_its_answers_are_too_large() {
        let carried_out = Cell::new(0);
        let answers = respond(&batch(100), async |_| {
            carried_out.set(carried_out.get() + 1);
            Ok(json!("x".repeat(1_000_000)))
        })
        .await;
        assert_eq!(carried_out.get(), 25);
        let answers: Vec<Value> = serde_json::from_str(&answers).unwrap();
        assert_eq!(answers.len(), 100);
        assert!(answers[24]["result"].is_string());
        assert_eq!(answers[25]["error"]["code"], -32003);
    }

    #[tokio::test]
    async fn each_call_has_its_answer() {
        for (message, expected) in [
            (
                batch(1),
                json!([{ "jsonrpc": "2.0", "id": 1, "result": 7 }]),
            ),
            (
                br#"{"jsonrpc":"2.0","id":"a","method":"m"}"#.to_vec(),
                json!({ "jsonrpc": "2.0", "id": "a", "result": 7 }),
            ),
        ] {
            let answer = respond(&message, async |_| Ok(json!(7))).await;
            assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), expected);
        }
        for (message, code) in [
            (batch(0), -32600),
            (batch(1_001), -32600),
            (b"{}".to_vec(), -32600),
            (b"[".to_vec(), -32700),
        ] {
            let answer = respond(&message, async |_| Ok(json!(7))).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["error"]["code"], code);
        }
    }
}
