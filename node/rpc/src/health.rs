//! `GET /health` and `GET /metrics` beside the JSON-RPC.

use http::{Method, Response, StatusCode, header};
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Whether the node does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It follows the chain.
    Good,
    /// It does not, and why: one plain sentence each.
    Bad(Vec<String>),
}

/// Tells the present health.
pub type HealthSource = Arc<dyn Fn() -> Health + Send + Sync>;

/// Answers the two plain GET paths and passes all else on.
#[derive(Clone)]
pub(crate) struct PlainGetLayer {
    pub(crate) health: HealthSource,
    pub(crate) metrics: Option<PrometheusHandle>,
}

impl<S> Layer<S> for PlainGetLayer {
    type Service = PlainGet<S>;
    fn layer(&self, inner: S) -> PlainGet<S> {
        PlainGet {
            inner,
            layer: self.clone(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct PlainGet<S> {
    inner: S,
    layer: PlainGetLayer,
}

impl PlainGetLayer {
    fn answer(&self, path: &str) -> Option<(StatusCode, String)> {
        match path {
            "/health" => Some(match (self.health)() {
                Health::Good => (StatusCode::OK, "good\n".to_owned()),
                Health::Bad(reasons) => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    reasons.iter().map(|reason| format!("{reason}\n")).collect(),
                ),
            }),
            "/metrics" => self
                .metrics
                .as_ref()
                .map(|metrics| (StatusCode::OK, metrics.render())),
            _other => None,
        }
    }
}

impl<S, B> Service<HttpRequest<B>> for PlainGet<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse>,
    S::Future: Send + 'static,
    S::Error: From<Infallible> + Send + 'static,
{
    type Response = HttpResponse;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        let answer = (request.method() == Method::GET)
            .then(|| self.layer.answer(request.uri().path()))
            .flatten();
        let Some((status, text)) = answer else {
            return Box::pin(self.inner.call(request));
        };
        let mut response = Response::new(HttpBody::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        Box::pin(std::future::ready(Ok(response)))
    }
}
