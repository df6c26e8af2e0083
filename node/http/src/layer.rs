//! The decision in front of a service, and what browsers want to hear (CORS).

use crate::access::{Access, Refused};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, CONTENT_TYPE, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Puts [`Access`] in front of a service.
#[derive(Debug, Clone)]
pub struct AccessLayer(Arc<Access>);

impl AccessLayer {
    /// In front of the port that `access` is about.
    pub fn new(access: Access) -> Self {
        Self(Arc::new(access))
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Guarded<S>;
    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            access: Arc::clone(&self.0),
        }
    }
}

/// A service that hears of those requests only that [`Access`] lets through.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    access: Arc<Access>,
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: From<String> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let origin = match self.access.check(request.headers(), request.uri()) {
            Ok(origin) => origin,
            Err(refused) => return Box::pin(ready(Ok(refusal(&refused)))),
        };
        let Some(origin) = origin else {
            return Box::pin(self.inner.call(request));
        };
        if request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return Box::pin(ready(Ok(preflight(origin))));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            share(response.headers_mut(), origin);
            Ok(response)
        })
    }
}

fn refusal<R: From<String>>(refused: &Refused) -> Response<R> {
    tracing::debug!("request refused: {refused}");
    let mut response = Response::new(R::from(format!("{refused}\n")));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, text);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page must not hold connections that it has no use for.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The answer to a browser's question before the request itself.
fn preflight<R: From<String>>(origin: HeaderValue) -> Response<R> {
    let mut response = Response::new(R::from(String::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let allowed = HeaderValue::from_static;
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allowed("GET, POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed("content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, allowed("600"));
    share(headers, origin);
    response
}

fn share(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("origin"));
}
