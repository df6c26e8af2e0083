//! The limits of a connection, from the side of a client that means no good.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

use alys_http::{Limits, TimedBody, serve};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneService;

/// Longer than anything here takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);
/// More than the buffers of both sides hold.
const LARGE: usize = 64 << 20;

type Service = BoxCloneService<Request<TimedBody>, Response<Full<bytes::Bytes>>, Infallible>;

/// Answers `/large` with many bytes, all else with how much it was sent.
fn service() -> Service {
    BoxCloneService::new(tower::service_fn(async |request: Request<TimedBody>| {
        let large = request.uri().path() == "/large";
        let mut response = match request.into_body().collect().await {
            Ok(_) if large => Response::new(vec![b'x'; LARGE].into()),
            Ok(body) => Response::new(body.to_bytes().len().to_string().into()),
            Err(error) => {
                let mut response: Response<Full<bytes::Bytes>> =
                    Response::new(error.to_string().into());
                *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
                response
            }
        };
        response
            .headers_mut()
            .insert("x-test", http::HeaderValue::from_static("yes"));
        Ok(response)
    }))
}

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, service(), stop.clone(), limits));
    Server {
        address,
        stop,
        task,
    }
}

fn limits() -> Limits {
    Limits {
        connections: 1,
        header_timeout: SHORT,
        body_timeout: SHORT,
        write_timeout: SHORT,
        shutdown_grace: SHORT,
    }
}

/// All that the server sends until it closes.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is as good an end as any.
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes))
        .await
        .expect("the server did not close the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks until the only place is free.
async fn until_served(address: SocketAddr) {
    let served = async {
        loop {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            if socket.write_all(request).await.is_ok()
                && rest(&mut socket).await.starts_with("HTTP/1.1 200")
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_slow_and_idle_clients_lose_their_place() {
    let server = start(limits()).await;
    // Says nothing; says half a header; asks once and stays.
    for said in [
        "",
        "GET / HTTP/1.1\r\nHos",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        let answer = rest(&mut socket).await;
        assert_eq!(
            said.ends_with("\r\n\r\n"),
            answer.contains("200 OK"),
            "{answer}"
        );
        until_served(server.address).await;
    }
    // Announces a body and sends half of it.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf";
    socket.write_all(half.as_bytes()).await.unwrap();
    let answer = rest(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body within"), "{answer}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_loses_its_place() {
    let server = start(limits()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(server.address).await.unwrap();
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    until_served(server.address).await;
    let heard = rest(&mut deaf).await;
    assert!(heard.len() < LARGE, "{}", heard.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_are_closed_at_once() {
    let patient = Limits {
        header_timeout: PATIENCE,
        ..limits()
    };
    let server = start(patient).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut begin = [0; 12];
    first.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(rest(&mut second).await, "");
    drop(first);
    until_served(server.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_clients() {
    let patient = Limits {
        header_timeout: PATIENCE,
        body_timeout: PATIENCE,
        connections: 2,
        ..limits()
    };
    let server = start(patient).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
        .await
        .unwrap();
    server.stop.cancel();
    tokio::time::timeout(PATIENCE, server.task)
        .await
        .expect("the server did not stop")
        .unwrap();
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(rest(&mut busy).await, "");
}
