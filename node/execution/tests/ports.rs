//! The two ports as strangers, wallets and misconfigured nodes meet them.
#![allow(clippy::unwrap_used)]

mod common;

use alys_execution::engine::EngineError;
use alys_execution::rpc::RpcError;
use alys_execution::{EngineClient, EngineConfig, JwtSecret};
use common::*;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

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
