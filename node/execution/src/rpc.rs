//! JSON-RPC over HTTP: bounded in time and size, with typed errors.

use crate::jwt::JwtSecret;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;
use thiserror::Error;

/// A call that brought no usable answer.
#[derive(Debug, Error)]
pub enum RpcError {
    /// Not the address of an HTTP server.
    #[error("execution client URL {url:?}: expected http://host:port, {reason}")]
    Url {
        /// What was given.
        url: String,
        /// Why it does not do.
        reason: String,
    },
    /// Nobody listens, or the connection broke before the request was sent.
    #[error("{method}: cannot connect to the execution client at {url}: {reason}")]
    Connect {
        /// The method called.
        method: &'static str,
        /// Where.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// No answer in time. The client may still have carried the call out.
    #[error("{method}: no answer from the execution client within {limit:?}")]
    Timeout {
        /// The method called.
        method: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection broke. The client may still have carried the call out.
    #[error("{method}: connection to the execution client broke: {reason}")]
    Broken {
        /// The method called.
        method: &'static str,
        /// What was seen.
        reason: String,
    },
    /// The client does not accept our token.
    #[error(
        "{method}: the execution client at {url} refused our JWT ({detail}); both sides must use the same secret file \
         and agree on the time"
    )]
    Unauthorized {
        /// The method called.
        method: &'static str,
        /// Where.
        url: String,
        /// What the client said.
        detail: String,
    },
    /// Another HTTP status than 200.
    #[error("{method}: expected HTTP status 200, found {status}: {body}")]
    Status {
        /// The method called.
        method: &'static str,
        /// The status found.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// An answer larger than any honest one.
    #[error("{method}: expected an answer of at most {maximum} bytes, found more")]
    TooLarge {
        /// The method called.
        method: &'static str,
        /// The limit.
        maximum: usize,
    },
    /// The client's own error.
    #[error("{method}: the execution client answered with error {code}: {message}")]
    Client {
        /// The method called.
        method: &'static str,
        /// JSON-RPC or Engine API error code.
        code: i64,
        /// The client's words.
        message: String,
    },
    /// An answer of another shape.
    #[error("{method}: expected {expected}, found {found}")]
    Unexpected {
        /// The method called.
        method: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What is wrong with the answer.
        found: String,
    },
}

impl RpcError {
    /// Whether the same call may succeed later without anything else being changed.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Url { .. }
            | Self::Unauthorized { .. }
            | Self::TooLarge { .. }
            | Self::Client { .. }
            | Self::Unexpected { .. } => false,
        }
    }
}

/// Whether a call may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Twice is as good as once.
    Safe,
    /// Only where it certainly was not received.
    OnlyIfNotSent,
}

/// Pauses before the second and third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One HTTP JSON-RPC server.
#[derive(Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    url: Url,
    secret: Option<JwtSecret>,
    max_response_bytes: usize,
}

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: &'a Value,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    message: String,
    data: Option<Value>,
}

impl Transport {
    pub(crate) fn new(
        url: &str,
        secret: Option<JwtSecret>,
        max_response_bytes: usize,
    ) -> Result<Self, RpcError> {
        let wrong = |reason: String| RpcError::Url {
            url: url.to_owned(),
            reason,
        };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(wrong(format!("found scheme {:?}", parsed.scheme())));
        }
        // A proxy from the environment must never see the Engine API.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            http,
            url: parsed,
            secret,
            max_response_bytes,
        })
    }

    /// Calls a method and reads its answer as a `T`, within `limit` over all attempts.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
        expected: &'static str,
        limit: Duration,
        repeat: Repeat,
    ) -> Result<T, RpcError> {
        let attempts = async {
            let mut pauses = PAUSES.into_iter();
            loop {
                let error = match self.attempt(method, &params).await {
                    Ok(body) => return Self::parse(method, &body, expected, &self.url),
                    Err(error) => error,
                };
                let again = match error {
                    RpcError::Connect { .. } => true,
                    _ => repeat == Repeat::Safe && error.is_transient(),
                };
                match pauses.next() {
                    Some(pause) if again => tokio::time::sleep(pause).await,
                    _ => return Err(error),
                }
            }
        };
        tokio::time::timeout(limit, attempts)
            .await
            .map_err(|_| RpcError::Timeout { method, limit })?
    }

    async fn attempt(&self, method: &'static str, params: &Value) -> Result<Vec<u8>, RpcError> {
        let mut request = self.http.post(self.url.clone()).json(&Request {
            jsonrpc: "2.0",
            id: 1,
            method,
            params,
        });
        if let Some(secret) = &self.secret {
            let mut bearer =
                HeaderValue::from_str(&format!("Bearer {}", secret.token())).map_err(|error| {
                    RpcError::Unexpected {
                        method,
                        expected: "a token fit for a header",
                        found: error.to_string(),
                    }
                })?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let mut response = request.send().await.map_err(|error| {
            let reason = reason(&error);
            if error.is_connect() {
                RpcError::Connect {
                    method,
                    url: self.url.to_string(),
                    reason,
                }
            } else {
                RpcError::Broken { method, reason }
            }
        })?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| RpcError::Broken {
            method,
            reason: reason(&error),
        })? {
            if body.len().saturating_add(chunk.len()) > self.max_response_bytes {
                return Err(RpcError::TooLarge {
                    method,
                    maximum: self.max_response_bytes,
                });
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Err(RpcError::Unauthorized {
                method,
                url: self.url.to_string(),
                detail: excerpt(&body),
            });
        }
        if status != StatusCode::OK {
            return Err(RpcError::Status {
                method,
                status: status.as_u16(),
                body: excerpt(&body),
            });
        }
        Ok(body)
    }

    fn parse<T: DeserializeOwned>(
        method: &'static str,
        body: &[u8],
        expected: &'static str,
        url: &Url,
    ) -> Result<T, RpcError> {
        let response: Response<'_> =
            serde_json::from_slice(body).map_err(|error| RpcError::Unexpected {
                method,
                expected: "a JSON-RPC response",
                found: format!("{}: {error}", excerpt(body)),
            })?;
        if let Some(error) = response.error {
            // ethrex reports a refused token inside a response with status 200.
            if error.message.starts_with("Auth failed") {
                return Err(RpcError::Unauthorized {
                    method,
                    url: url.to_string(),
                    detail: error.message,
                });
            }
            let message = match error.data {
                Some(Value::String(data)) => format!("{} ({data})", error.message),
                Some(data) => format!("{} ({data})", error.message),
                None => error.message,
            };
            return Err(RpcError::Client {
                method,
                code: error.code,
                message: message.chars().take(1_000).collect(),
            });
        }
        let result = response.result.map_or("null", RawValue::get);
        serde_json::from_str(result).map_err(|error| RpcError::Unexpected {
            method,
            expected,
            found: format!("{}: {error}", excerpt(result.as_bytes())),
        })
    }
}

/// The innermost cause: reqwest's own text only says that sending failed.
fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(200).collect()
}

#[cfg(test)]
mod tests;
