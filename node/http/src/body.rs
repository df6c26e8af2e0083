//! A request's body that has to arrive in time.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::time::Sleep;

/// A body that ends in an error when it takes too long as a whole. The time begins when it is first asked for.
#[derive(Debug)]
pub struct TimedBody {
    body: Incoming,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// A body that did not arrive.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It took too long.
    #[error("expected the request's body within {0:?}")]
    TooSlow(Duration),
    /// The connection broke.
    #[error("the request's body did not arrive: {0}")]
    Broken(#[from] hyper::Error),
}

impl TimedBody {
    pub(crate) fn new(body: Incoming, limit: Duration) -> Self {
        Self {
            body,
            limit,
            deadline: None,
        }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let limit = self.limit;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(BodyError::TooSlow(limit))));
        }
        Pin::new(&mut self.body)
            .poll_frame(context)
            .map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
