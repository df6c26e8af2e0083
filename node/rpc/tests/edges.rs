//! The JSON-RPC port as programs, web pages and clients without manners meet it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

use alys_mining::aux_block::AuxBlock;
use alys_protocol::bytes::{BlockId, EvmAddress};
use alys_protocol::units::{BurnSequence, SideHeight};
use alys_rpc::types::{BlockInfo, DepositAddress, NodeStatus, PegOutStatus, PegStatus, QueuedPow};
use alys_rpc::{Health, NodeRpcServer, RpcConfig, RpcServer};
use futures::{SinkExt as _, StreamExt as _};
use jsonrpsee::core::{RpcResult, async_trait};
use jsonrpsee::types::ErrorObjectOwned;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

/// Longer than anything here takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"getqueuedpow"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":null}"#;

/// Has nothing to say.
struct Silent;

fn none<T>() -> RpcResult<T> {
    Err(ErrorObjectOwned::owned(-32001, "not here", None::<()>))
}

#[async_trait]
impl NodeRpcServer for Silent {
    async fn head_block(&self) -> RpcResult<BlockInfo> {
        none()
    }
    async fn block_by_height(&self, _: SideHeight) -> RpcResult<Option<BlockInfo>> {
        none()
    }
    async fn block_by_hash(&self, _: BlockId) -> RpcResult<Option<BlockInfo>> {
        none()
    }
    async fn node_status(&self) -> RpcResult<NodeStatus> {
        none()
    }
    async fn deposit_address(&self, _: Option<EvmAddress>) -> RpcResult<DepositAddress> {
        none()
    }
    async fn peg_status(&self) -> RpcResult<PegStatus> {
        none()
    }
    async fn peg_out(&self, _: BurnSequence) -> RpcResult<Option<PegOutStatus>> {
        none()
    }
    async fn create_aux_block(&self, _: EvmAddress) -> RpcResult<AuxBlock> {
        none()
    }
    async fn submit_aux_block(&self, _: String, _: String) -> RpcResult<bool> {
        none()
    }
    async fn aux_block(
        &self,
        _: Option<String>,
        _: Option<String>,
    ) -> RpcResult<serde_json::Value> {
        none()
    }
    async fn queued_pow(&self) -> RpcResult<Option<QueuedPow>> {
        Ok(None)
    }
}

async fn start(hosts: &[&str], origins: &[&str]) -> RpcServer {
    let config = RpcConfig {
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        origins: origins
            .iter()
            .map(|origin| origin.parse().unwrap())
            .collect(),
        ..RpcConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)))
    };
    RpcServer::start(config, Silent, Arc::new(|| Health::Good), None)
        .await
        .unwrap()
}

/// Sends one request as it is and reads until the server closes: status, header, body.
async fn send(address: SocketAddr, line: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    // A server that refuses by the header closes while the body is still being sent, and has answered all the same.
    let _ = socket.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer))
        .await
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (header, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = header.split(' ').nth(1).unwrap().parse().unwrap();
    (status, header.to_ascii_lowercase(), body.to_owned())
}

type WebSocket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

async fn open(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<WebSocket, tungstenite::Error> {
    let mut request = format!("ws://{address}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    tokio_tungstenite::connect_async(request)
        .await
        .map(|(socket, _)| socket)
}

/// The next message; the server's pings come when they like.
async fn said(socket: &mut WebSocket) -> Option<Message> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(message)) => return Some(message),
            Some(Err(_)) | None => return None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_a_name_that_an_attacker_points_to_loopback_is_not_served() {
    let server = start(&[], &[]).await;
    let address = server.address();
    for line in ["POST /", "GET /health", "GET /metrics", "OPTIONS /"] {
        let rebound = "Host: attacker.example:3000\r\n";
        let (status, _, body) = send(address, line, rebound, CALL).await;
        assert_eq!(status, 403, "{line}");
        assert!(body.contains("attacker.example:3000"), "{body}");
        assert!(body.contains("`hosts`"), "{body}");
        let (status, ..) = send(address, line, "", CALL).await;
        assert_eq!(status, 403, "{line} without a host");
    }
    let Err(tungstenite::Error::Http(refusal)) =
        open(address, &[("host", "attacker.example")]).await
    else {
        panic!("a websocket was opened");
    };
    assert_eq!(refusal.status(), 403);

    for host in ["localhost", "127.0.0.1:1", "[::1]:3000"] {
        let (status, _, body) = send(address, "POST /", &format!("Host: {host}\r\n"), CALL).await;
        assert_eq!((status, body.as_str()), (200, ANSWER), "{host}");
    }
    let (status, _, body) = send(address, "GET /health", "Host: localhost\r\n", "").await;
    assert_eq!((status, body.as_str()), (200, "good\n"));

    let listed = start(&["node.example"], &[]).await;
    let (status, ..) = send(listed.address(), "POST /", "Host: node.example\r\n", CALL).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_a_web_page_is_not_served_unless_it_is_listed() {
    let server = start(&[], &[]).await;
    let address = server.address();
    for origin in ["https://attacker.example", "null", "chrome-extension://a"] {
        let headers = format!("Host: localhost\r\nOrigin: {origin}\r\n");
        for line in ["POST /", "GET /health", "OPTIONS /"] {
            let (status, header, body) = send(address, line, &headers, CALL).await;
            assert_eq!(status, 403, "{line} {origin}");
            assert!(body.contains("`origins`"), "{body}");
            assert!(!header.contains("access-control"), "{header}");
        }
        assert!(open(address, &[("origin", origin)]).await.is_err());
    }

    let page = "https://app.example";
    let server = start(&[], &[page]).await;
    let address = server.address();
    let headers =
        format!("Host: localhost\r\nOrigin: {page}\r\nAccess-Control-Request-Method: POST\r\n");
    let (status, header, _) = send(address, "OPTIONS /", &headers, "").await;
    assert_eq!(status, 204);
    assert!(header.contains("access-control-allow-headers: content-type"));
    let (status, header, body) = send(address, "POST /", &headers, CALL).await;
    assert_eq!((status, body.as_str()), (200, ANSWER));
    assert!(
        header.contains(&format!("access-control-allow-origin: {page}")),
        "{header}"
    );
    assert!(
        open(address, &[("origin", "https://other.example")])
            .await
            .is_err()
    );
    let mut socket = open(address, &[("origin", page)]).await.unwrap();
    socket.send(Message::text(CALL)).await.unwrap();
    assert_eq!(said(&mut socket).await, Some(Message::text(ANSWER)));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_messages_are_bounded_over_http_and_websocket() {
    let server = start(&[], &[]).await;
    let address = server.address();
    let batch = |calls: usize| format!("[{}]", vec![CALL; calls].join(","));
    let (status, _, body) = send(address, "POST /", "Host: localhost\r\n", &batch(100)).await;
    assert_eq!((status, body.matches("null").count()), (200, 100));
    let (_, _, body) = send(address, "POST /", "Host: localhost\r\n", &batch(101)).await;
    assert!(body.contains("-32010"), "{body}");
    let large = " ".repeat(1 << 20);
    let (status, ..) = send(
        address,
        "POST /",
        "Host: localhost\r\n",
        &format!("{large}{CALL}"),
    )
    .await;
    assert_eq!(status, 413);

    let mut socket = open(address, &[]).await.unwrap();
    socket.send(Message::text(batch(101))).await.unwrap();
    let answer = said(&mut socket).await.unwrap();
    assert!(answer.to_text().unwrap().contains("-32010"), "{answer}");
    socket
        .send(Message::text(format!("{large}{CALL}")))
        .await
        .unwrap();
    // Refused, or the connection closed: it is not answered.
    if let Some(Message::Text(answer)) = said(&mut socket).await {
        assert!(answer.contains("error"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_clients() {
    let server = start(&[], &[]).await;
    let address = server.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut socket = open(address, &[]).await.unwrap();
    tokio::time::timeout(PATIENCE, server.stop())
        .await
        .expect("the server did not stop");
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    assert!(!matches!(said(&mut socket).await, Some(Message::Text(_))));
}
