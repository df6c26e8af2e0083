//! The two ports as strangers, wallets and misconfigured nodes meet them.
#![allow(clippy::unwrap_used)]

mod common;

use alys_execution::engine::EngineError;
use alys_execution::rpc::RpcError;
use alys_execution::{EngineClient, EngineConfig, JwtSecret};
use common::*;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_refused_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let wrong = folder.path().join("wrong.hex");
    JwtSecret::from_file_or_new(&wrong).unwrap();
    let engine = EngineClient::new(&EngineConfig {
        url: node.client.engine_url(),
        jwt_secret: wrong,
    })
    .unwrap();
    let error = engine.exchange_capabilities().await.unwrap_err();
    assert!(
        matches!(error, EngineError::Rpc(RpcError::Unauthorized { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("same secret file"), "{error}");

    let http = reqwest::Client::new();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "engine_exchangeCapabilities", "params": [[]] });
    for token in [
        None,
        Some("Basic x"),
        Some("Bearer x"),
        Some("Bearer a.b.c"),
    ] {
        let mut request = http.post(node.client.engine_url()).json(&body);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        assert_eq!(request.send().await.unwrap().status(), 401, "{token:?}");
    }
    // Neither port lets the Engine API through without a token.
    assert_eq!(
        node.rpc("engine_exchangeCapabilities", json!([[]])).await["error"]["code"],
        -32601
    );
    let gone = EngineConfig {
        url: "http://127.0.0.1:1".into(),
        jwt_secret: folder.path().join("jwt.hex"),
    };
    let error = EngineClient::new(&gone)
        .unwrap()
        .exchange_capabilities()
        .await
        .unwrap_err();
    assert!(
        matches!(error, EngineError::Rpc(RpcError::Connect { .. })),
        "{error}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_find_what_they_expect() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    extend(&node, Tip::genesis(&node), vec![]).await;
    let hello = "0x47173285a8d7341e5e972fc677286384f802f8ef42a5ec5f03bbfa254cb01fad";
    let rich = Wallet::new(1).address().to_string();
    for (method, params, expected) in [
        ("eth_chainId", json!([]), json!(format!("{CHAIN_ID:#x}"))),
        ("net_version", json!([]), json!(CHAIN_ID.to_string())),
        ("net_listening", json!([]), json!(true)),
        ("net_peerCount", json!([]), json!("0x0")),
        ("eth_accounts", json!([]), json!([])),
        ("eth_syncing", json!([]), json!(false)),
        ("eth_blockNumber", json!([]), json!("0x1")),
        (
            "web3_sha3",
            json!(["0x68656c6c6f20776f726c64"]),
            json!(hello),
        ),
        (
            "eth_getTransactionCount",
            json!([rich, "pending"]),
            json!("0x0"),
        ),
        (
            "eth_getBalance",
            json!([rich]),
            json!("0x3635c9adc5dea00000"),
        ),
        ("eth_getCode", json!([rich, "latest"]), json!("0x")),
        ("eth_getBlockReceipts", json!(["latest"]), json!([])),
        ("eth_getLogs", json!([{}]), json!([])),
        (
            "eth_getLogs",
            json!([{ "fromBlock": "earliest" }]),
            json!([]),
        ),
        (
            "eth_getBlockReceipts",
            json!([format!("0x{}", "11".repeat(32))]),
            Value::Null,
        ),
        (
            "eth_call",
            json!([{ "to": rich, "data": "0x" }, "latest"]),
            json!("0x"),
        ),
    ] {
        let answer = node.rpc(method, params).await;
        assert_eq!(answer["result"], expected, "{method}: {answer}");
    }
    let fees = node
        .rpc("eth_feeHistory", json!(["0x2", "latest", [50]]))
        .await;
    for ratios in ["gasUsedRatio", "blobGasUsedRatio"] {
        let ratios = fees["result"][ratios].as_array().unwrap();
        assert_eq!(ratios.len(), 2, "{fees}");
        assert!(ratios.iter().all(Value::is_f64), "{fees}");
    }
    let gas = node
        .rpc(
            "eth_estimateGas",
            json!([{ "from": rich, "to": rich, "value": "0x1" }]),
        )
        .await;
    let gas = u64::from_str_radix(&gas["result"].as_str().unwrap()[2..], 16).unwrap();
    assert!((21_000..25_000).contains(&gas), "{gas}");
    let storage = node
        .rpc("eth_getStorageAt", json!([rich, "0x0", "latest"]))
        .await;
    assert_eq!(storage["result"], format!("0x{}", "00".repeat(32)));
    assert!(
        node.rpc("web3_clientVersion", json!([])).await["result"]
            .as_str()
            .unwrap()
            .starts_with("alys-ethrex/")
    );
    for (method, params, code) in [
        (
            "eth_getLogs",
            json!([{ "fromBlock": "0x0", "toBlock": "0x2710" }]),
            -32005,
        ),
        ("debug_setHead", json!(["0x0"]), -32601),
        ("debug_traceTransaction", json!(["0x0"]), -32601),
        ("admin_nodeInfo", json!([]), -32601),
        ("eth_getBalance", json!([rich, "0xffff"]), -39001),
        ("eth_getBalance", json!(["0x12"]), -32602),
        ("eth_sendRawTransaction", json!(["0x03c0"]), -32000),
    ] {
        assert_eq!(
            node.rpc(method, params).await["error"]["code"],
            code,
            "{method}"
        );
    }
    let http = reqwest::Client::new();
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("[]", -32600),
        ("{}", -32600),
        ("7", -32600),
    ] {
        let answer = http
            .post(node.client.http_url())
            .body(body)
            .send()
            .await
            .unwrap()
            .json::<Value>()
            .await
            .unwrap();
        assert_eq!(answer["error"]["code"], code, "{body:?}: {answer}");
    }
    let call = json!({ "jsonrpc": "2.0", "id": "a", "method": "eth_chainId" });
    let batch = http
        .post(node.client.http_url())
        .json(&json!([call, call]))
        .send()
        .await
        .unwrap();
    let batch = batch.json::<Value>().await.unwrap();
    assert_eq!(
        (batch.as_array().unwrap().len(), &batch[1]["id"]),
        (2, &json!("a"))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_hears_of_each_head_once_and_does_not_hold_up_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let url = format!("ws://{}", node.client.http_addr());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let mut ask = async |method: &str, params: Value| {
        let call =
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        socket.send(Message::text(call)).await.unwrap();
    };
    ask("eth_subscribe", json!(["newHeads"])).await;
    ask("net_listening", json!([])).await;
    let mut hear = async || -> Value {
        let message = socket.next().await.unwrap().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    };
    let subscription = hear().await["result"].as_str().unwrap().to_owned();
    assert_eq!(hear().await["result"], true);

    let mut tip = Tip::genesis(&node);
    for height in 1..=3u64 {
        tip = extend(&node, tip, vec![]).await;
        // The same head again, and a build on it: no news.
        follow(&node, tip.hash).await;
        let news = hear().await;
        assert_eq!(news["params"]["subscription"], subscription);
        assert_eq!(
            news["params"]["result"]["number"],
            format!("{height:#x}"),
            "{news}"
        );
    }
    node.stop().await;
    assert!(!matches!(socket.next().await, Some(Ok(Message::Text(_)))));
}

/// Sends one request as it is and reads until the server closes: status, header, body.
async fn send(node: &Node, headers: &str, body: &str) -> (u16, String, String) {
    let mut socket = TcpStream::connect(node.client.http_addr()).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST / HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (header, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = header.split(' ').nth(1).unwrap().parse().unwrap();
    (status, header.to_ascii_lowercase(), body.to_owned())
}

async fn open(node: &Node, headers: &[(&'static str, &str)]) -> Option<Socket> {
    let url = format!("ws://{}", node.client.http_addr());
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let opened = tokio_tungstenite::connect_async(request).await;
    opened.ok().map(|(socket, _)| socket)
}

/// Asks one call, or one batch, and reads one answer.
async fn ask(socket: &mut Socket, call: Value) -> Value {
    socket.send(Message::text(call.to_string())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    serde_json::from_str(answer.to_text().unwrap()).unwrap()
}

fn call(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_rebound_names_and_web_pages_are_refused_and_wallets_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start_with(folder.path(), |config| {
        config.hosts = vec!["rpc.example".parse().unwrap()];
        let page = "https://app.example".parse().unwrap();
        config.origins.push(page);
    })
    .await;
    let body = call("eth_chainId", json!([])).to_string();
    for (headers, name) in [
        ("Host: attacker.example:8545\r\n", "`hosts`"),
        ("", "Host"),
        (
            "Host: localhost\r\nOrigin: https://attacker.example\r\n",
            "`origins`",
        ),
        ("Host: localhost\r\nOrigin: null\r\n", "`origins`"),
    ] {
        let (status, header, answer) = send(&node, headers, &body).await;
        assert_eq!(status, 403, "{headers:?}");
        assert!(answer.contains(name), "{answer}");
        assert!(!header.contains("access-control"), "{header}");
    }
    assert!(open(&node, &[("host", "attacker.example")]).await.is_none());
    let evil = [("origin", "https://attacker.example")];
    assert!(open(&node, &evil).await.is_none());

    let (status, ..) = send(&node, "Host: rpc.example\r\n", &body).await;
    assert_eq!(status, 200);
    for origin in [
        "chrome-extension://abc",
        "moz-extension://abc",
        "https://app.example",
    ] {
        let headers = format!("Host: localhost\r\nOrigin: {origin}\r\n");
        let (status, header, answer) = send(&node, &headers, &body).await;
        assert_eq!(status, 200);
        let shared = format!("access-control-allow-origin: {origin}");
        assert!(header.contains(&shared), "{header}");
        assert!(answer.contains("result"), "{answer}");
        let mut socket = open(&node, &[("origin", origin)]).await.unwrap();
        let answer = ask(&mut socket, call("eth_chainId", json!([]))).await;
        assert_eq!(answer["result"], format!("{CHAIN_ID:#x}"));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_has_the_limits_of_http_and_few_subscriptions() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let mut socket = open(&node, &[]).await.unwrap();
    let batch = |calls: usize| Value::Array(vec![call("net_listening", json!([])); calls]);
    let answer = ask(&mut socket, batch(1_000)).await;
    assert_eq!(answer.as_array().unwrap().len(), 1_000);
    let answer = ask(&mut socket, batch(1_001)).await;
    assert_eq!(answer["error"]["code"], -32600);
    for (message, code) in [(json!([]), -32600), (json!(7), -32600), (json!({}), -32600)] {
        assert_eq!(ask(&mut socket, message).await["error"]["code"], code);
    }
    let subscribe = call("eth_subscribe", json!(["newHeads"]));
    let subscribed = ask(&mut socket, Value::Array(vec![subscribe.clone(); 9])).await;
    let ids: Vec<_> = subscribed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|answer| answer["result"].as_str())
        .collect();
    assert_eq!(ids.len(), 8);
    assert_eq!(subscribed[8]["error"]["code"], -32005);
    let gone = ask(&mut socket, call("eth_unsubscribe", json!([ids[0]]))).await;
    assert_eq!(gone["result"], true);
    assert!(ask(&mut socket, subscribe).await["result"].is_string());

    // 5 MiB at most: the connection ends without an answer.
    let large = " ".repeat((5 << 20) + 1);
    let _ = socket.send(Message::text(large)).await;
    assert!(!matches!(socket.next().await, Some(Ok(Message::Text(_)))));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_websockets_are_closed_and_their_number_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start_with(folder.path(), |config| {
        config.limits.header_timeout = Duration::from_secs(2);
    })
    .await;
    let mut sockets = Vec::new();
    for _ in 0..128 {
        sockets.push(open(&node, &[]).await.unwrap());
    }
    assert!(open(&node, &[]).await.is_none(), "the 129th");
    // None of them answers a ping, since nobody reads; a place comes free without anybody closing one.
    let free = async {
        loop {
            if let Some(socket) = open(&node, &[]).await {
                return socket;
            }
        }
    };
    let mut socket = tokio::time::timeout(Duration::from_secs(60), free)
        .await
        .unwrap();
    // One whose client is there stays, however quiet it is.
    let pinged = socket.next().await.unwrap().unwrap();
    assert!(pinged.is_ping(), "{pinged}");
    let answer = ask(&mut socket, call("net_listening", json!([]))).await;
    assert_eq!(answer["result"], true);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let rich = Wallet::new(1).address().to_string();
    let slots = |count: usize| json!([rich, vec!["0x0"; count], "latest"]);
    let proof = node.rpc("eth_getProof", slots(1_024)).await;
    assert_eq!(
        proof["result"]["storageProof"].as_array().unwrap().len(),
        1_024
    );
    let proof = node.rpc("eth_getProof", slots(1_025)).await;
    assert_eq!(proof["error"]["code"], -32602);
    let many = json!([{ "address": vec![rich; 2_000] }]);
    for method in ["eth_getLogs", "eth_newFilter"] {
        let answer = node.rpc(method, many.clone()).await;
        assert_eq!(answer["error"]["code"], -32602, "{method}");
    }
    for _ in 0..1_000 {
        assert!(node.rpc("eth_newFilter", json!([{}])).await["result"].is_string());
    }
    let answer = node.rpc("eth_newFilter", json!([{}])).await;
    assert_eq!(answer["error"]["code"], -32005, "{answer}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_body_is_not_read_by_the_engine_port() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let mut socket = TcpStream::connect(node.client.engine_addr()).await.unwrap();
    // The body is announced and never comes; the answer does.
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    node.stop().await;
}
