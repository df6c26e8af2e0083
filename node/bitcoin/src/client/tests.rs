//! The client against a server that answers as scripted: what a real node does too rarely to wait for.

use super::*;
use crate::backoff::Backoff;
use crate::breaker::BreakerConfig;
use alys_protocol::units::BtcHeight;
use std::io::Write as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One answer of the server, in order.
#[derive(Clone, Copy)]
enum Reply {
    /// HTTP status and body.
    Http(u16, &'static str),
    /// The connection breaks without an answer.
    HangUp,
    /// No answer ever.
    Silence,
}

/// Answers the three questions about identity.
const IDENTITY: [Reply; 3] = [
    Reply::Http(
        200,
        r#"{"version": 290400, "subversion": "/Satoshi:29.4.0/"}"#,
    ),
    Reply::Http(200, r#"{"chain": "regtest", "pruned": false}"#),
    Reply::Http(
        200,
        r#""0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206""#,
    ),
];
const DONE: Reply = Reply::Http(200, r#""done""#);
const UNAUTHORIZED: Reply = Reply::Http(401, "");
const BUSY: Reply = Reply::Http(503, "Work queue depth exceeded");
const WARMUP: Reply = Reply::Http(
    500,
    r#"error {"code": -28, "message": "Loading block index…"}"#,
);
const REFUSAL: Reply = Reply::Http(500, r#"error {"code": -5, "message": "Block not found"}"#);

struct Server {
    client: BitcoinClient,
    cookie: tempfile::NamedTempFile,
    /// Methods asked for, with the log-in of each.
    requests: JoinHandle<Vec<(String, String)>>,
}

async fn serve(replies: Vec<Reply>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut cookie = tempfile::NamedTempFile::new().unwrap();
    cookie.write_all(b"user:first").unwrap();
    let mut config = NodeConfig::new(
        format!("http://{}", listener.local_addr().unwrap()),
        Credentials::CookieFile(cookie.path().to_owned()),
        Network::Regtest,
    );
    let short = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
    };
    config.call_timeout = Duration::from_millis(500);
    config.retry = short;
    config.breaker = BreakerConfig {
        failures_to_open: 10,
        pause: short,
    };
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        let mut silent = Vec::new();
        for reply in replies {
            let (mut socket, _) = listener.accept().await.unwrap();
            let request = read_request(&mut socket).await;
            let body: Value =
                serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            let login = request
                .lines()
                .find_map(|line| line.strip_prefix("Authorization: Basic "));
            requests.push((
                body["method"].as_str().unwrap().to_owned(),
                login.unwrap().to_owned(),
            ));
            let (status, text) = match reply {
                Reply::Http(status, text) => (status, text),
                Reply::HangUp => continue,
                Reply::Silence => {
                    silent.push(socket);
                    continue;
                }
            };
            let text = match text.strip_prefix("error ") {
                Some(error) => format!(
                    r#"{{"id": {}, "result": null, "error": {error}}}"#,
                    body["id"]
                ),
                None if status == 200 => format!(r#"{{"id": {}, "result": {text}}}"#, body["id"]),
                None => text.to_owned(),
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            socket.write_all((head + &text).as_bytes()).await.unwrap();
        }
        requests
    });
    Server {
        client: BitcoinClient::new(config).unwrap(),
        cookie,
        requests,
    }
}

async fn read_request(socket: &mut tokio::net::TcpStream) -> String {
    let mut request = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer).await.unwrap();
        request += std::str::from_utf8(&buffer[..read]).unwrap();
        let complete = request.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            body.len() >= length.unwrap().parse().unwrap()
        });
        if complete || read == 0 {
            return request;
        }
    }
}

impl Server {
    async fn call(&self) -> Result<String, RpcError> {
        self.client.call("repeatable", &[]).await
    }

    async fn call_once(&self) -> Result<String, RpcError> {
        let limit = Duration::from_millis(500);
        self.client.call_once("single", &[], limit).await
    }

    /// How often the method under test was asked for. Every reply must have been used.
    async fn count(self, method: &str) -> usize {
        let requests = self.requests.await.unwrap();
        requests.iter().filter(|(asked, _)| asked == method).count()
    }
}

fn script(replies: &[&[Reply]]) -> Vec<Reply> {
    replies.concat()
}

#[tokio::test]
async fn repeatable_calls_are_repeated_while_the_node_is_unreachable() {
    // After each failure to reach it, the node is checked anew.
    let server = serve(script(&[
        &IDENTITY,
        &[Reply::HangUp],
        &IDENTITY,
        &[BUSY],
        &IDENTITY,
        &[WARMUP, DONE],
    ]))
    .await;
    assert_eq!(server.call().await.unwrap(), "done");
    assert_eq!(server.count("repeatable").await, 4);
}

#[tokio::test]
async fn other_calls_are_made_once() {
    for reply in [Reply::HangUp, BUSY, Reply::Silence, WARMUP] {
        let server = serve(script(&[&IDENTITY, &[reply]])).await;
        let error = server.call_once().await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
        assert_eq!(server.count("single").await, 1);
    }
}

#[tokio::test]
async fn refusals_are_not_repeated_and_keep_the_circuit_closed() {
    let server = serve(script(&[&IDENTITY, &[REFUSAL; 12]])).await;
    for _ in 0..12 {
        let error = server.call().await.unwrap_err();
        assert_eq!(error.code(), Some(RpcCode::NOT_FOUND));
        assert!(!error.is_unreachable());
    }
    assert_eq!(server.client.circuit(), BreakerState::Closed);
    assert_eq!(server.count("repeatable").await, 12);
}

#[tokio::test]
async fn a_new_cookie_is_read_and_the_call_made_once() {
    let mut server = serve(script(&[
        &IDENTITY,
        &[DONE, UNAUTHORIZED],
        &IDENTITY,
        &[DONE],
    ]))
    .await;
    server.call_once().await.unwrap();
    // The node restarts.
    server.cookie.as_file().set_len(0).unwrap();
    std::io::Seek::rewind(&mut server.cookie).unwrap();
    server.cookie.write_all(b"user:second").unwrap();
    assert_eq!(server.call_once().await.unwrap(), "done");
    let requests = server.requests.await.unwrap();
    let first = &requests[0].1;
    let logins: Vec<_> = requests.iter().map(|(_, login)| login == first).collect();
    // Identity, the first call, the refused one; identity again, the call with the new cookie.
    assert_eq!(
        logins,
        [true, true, true, true, true, false, false, false, false]
    );
}

#[tokio::test]
async fn nobody_answers_for_a_node_that_is_another_network() {
    let mut other = IDENTITY;
    other[1] = Reply::Http(200, r#"{"chain": "main"}"#);
    let server = serve(script(&[&other, &other])).await;
    for _ in 0..2 {
        let error = server.call().await.unwrap_err();
        assert!(matches!(error, RpcError::WrongNode { .. }), "{error}");
    }
    assert_eq!(server.count("repeatable").await, 0);
}

#[tokio::test]
async fn a_cancelled_call_gives_its_permit_back() {
    let server = serve(script(&[&IDENTITY, &[Reply::Silence], &[DONE]])).await;
    let limit = Duration::from_millis(100);
    let cancelled = tokio::time::timeout(limit, server.call_once()).await;
    assert!(cancelled.is_err());
    assert_eq!(server.call_once().await.unwrap(), "done");
    assert_eq!(server.count("single").await, 2);
}

#[tokio::test]
async fn answers_of_another_shape_are_malformed() {
    let server = serve(script(&[&IDENTITY, &[Reply::Http(200, r#"{"a": 1}"#)]])).await;
    let error = server.call().await.unwrap_err();
    assert!(matches!(error, RpcError::Malformed { .. }), "{error}");
    assert_eq!(server.count("repeatable").await, 1);
}

#[tokio::test]
async fn a_block_above_the_tip_is_waited_for_through_an_interruption() {
    const HASH: &str = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
    let above = Reply::Http(
        500,
        r#"error {"code": -8, "message": "Block height out of range"}"#,
    );
    let info = Reply::Http(
        200,
        r#"{"blocks": 7, "headers": 90, "bestblockhash": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", "mediantime": 1, "initialblockdownload": true, "pruned": false}"#,
    );
    let tip = Reply::Http(
        200,
        r#"{"height": 8, "hash": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"}"#,
    );
    let found = Reply::Http(
        200,
        r#""0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206""#,
    );
    let server = serve(script(&[
        &IDENTITY,
        &[above, info, tip, above, info, Reply::HangUp],
        &IDENTITY,
        &[found],
    ]))
    .await;
    let mut said = Vec::new();
    let hash = server
        .client
        .wait_for_hash(BtcHeight::new(9), Duration::from_millis(50), |info| {
            said.push((info.tip.height.get(), info.headers.get()));
        })
        .await
        .unwrap();
    assert_eq!(hash.to_string(), HASH);
    assert_eq!(said, [(7, 90), (7, 90)]);
    assert_eq!(server.count("waitforblockheight").await, 2);
}

#[test]
fn an_error_with_its_causes_says_everything_once() {
    let error = RpcError::from(
        Credentials::CookieFile("/nowhere/.cookie".into())
            .read()
            .err()
            .unwrap(),
    );
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        text += &format!(": {next}");
        cause = next;
    }
    assert_eq!(text.matches("/nowhere/.cookie").count(), 1, "{text}");
}
