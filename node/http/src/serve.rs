//! Serving HTTP/1 within limits.

use crate::body::TimedBody;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// After an accept that failed, for instance because the process has no file descriptors left.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_secs(1);
/// Header lines at most, all of them together.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// What connections may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections at most; further ones are closed at once. A websocket no longer counts once it is open: who
    /// opens it bounds their number.
    pub connections: usize,
    /// How long a client may take to send a request's header, or to begin the next request.
    pub header_timeout: Duration,
    /// How long a request's body may take.
    pub body_timeout: Duration,
    /// How long a client may leave what it was sent unread (Linux only). Holds for websockets as well.
    pub write_timeout: Duration,
    /// How long requests in progress may take to end when the server stops.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let usual = Duration::from_secs(30);
        Self {
            connections: 256,
            header_timeout: usual,
            body_timeout: usual,
            write_timeout: usual,
            shutdown_grace: Duration::from_secs(3),
        }
    }
}

/// Serves until `stop`, then lets requests in progress end.
pub async fn serve<S, R>(listener: TcpListener, service: S, stop: CancellationToken, limits: Limits)
where
    S: Service<Request<TimedBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // Those that ended leave.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                let pause = tokio::time::sleep(AFTER_FAILED_ACCEPT);
                if stop.run_until_cancelled(pause).await.is_none() {
                    break;
                }
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!(
                limit = limits.connections,
                "too many connections, one closed"
            );
            continue;
        };
        let (service, stop) = (service.clone(), stop.clone());
        connections.spawn(async move {
            talk(socket, service, stop, limits).await;
            drop(place);
        });
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.shutdown_grace, ended)
        .await
        .is_err()
    {
        tracing::debug!(open = connections.len(), "connections cut off");
    }
}

async fn talk<S, R>(socket: TcpStream, service: S, stop: CancellationToken, limits: Limits)
where
    S: Service<Request<TimedBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if let Err(error) = prepare(&socket, limits.write_timeout) {
        tracing::debug!("a connection could not be prepared: {error}");
        return;
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let mut service = service.clone();
        let request = request.map(|body| TimedBody::new(body, limits.body_timeout));
        async move {
            poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request).await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!("connection ended: {error}");
    }
}

fn prepare(socket: &TcpStream, write_timeout: Duration) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    // RFC 5482: also ends connections whose other side keeps its window shut.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(socket).set_tcp_user_timeout(Some(write_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
    Ok(())
}
