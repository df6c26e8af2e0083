//! The rehearsal of a ceremony, as members run it: four signers' keys from nothing to a confirmed deposit address.

use alys_bitcoin::Credentials;
use alys_tests::bitcoin_node::{BitcoinNode, NodeOptions};
use alys_tests::process::run;
use serde_json::{Value, json};
use std::fs;
use std::time::Instant;

/// What `bitcoin-cli` would print.
async fn ask(node: &BitcoinNode, wallet: &str, method: &str, params: Value) -> Value {
    let config = node.config();
    let Credentials::CookieFile(cookie) = config.credentials else {
        panic!("bitcoind is expected to use a cookie file");
    };
    let cookie = fs::read_to_string(cookie).unwrap();
    let (user, password) = cookie.split_once(':').unwrap();
    let request = json!({"jsonrpc": "1.0", "id": 1, "method": method, "params": params});
    let reply = reqwest::Client::new()
        .post(format!("{}{wallet}", config.url))
        .basic_auth(user, Some(password))
        .body(request.to_string())
        .send()
        .await
        .unwrap();
    let reply: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
    assert_eq!(reply["error"], Value::Null, "{method}");
    reply["result"].clone()
}

#[tokio::test]
async fn members_rehearse_a_ceremony() {
    let home = tempfile::tempdir().unwrap();
    let hall = home.path().join("hall");
    let started = Instant::now();
    let arguments = ["ceremony", "rehearse", "--output", hall.to_str().unwrap()];
    let printed = run("alys-provision", &arguments, b"").await.unwrap();
    println!("    rehearsed in {} s", started.elapsed().as_secs());
    let status: Value = serde_json::from_slice(&printed).unwrap();
    assert_eq!(status["confirmed"].as_array().unwrap().len(), 4);
    assert_eq!(status["next"], "spend-test");
    let record = fs::read_to_string(hall.join("record.html")).unwrap();
    assert!(record.contains("Signatures to spend"));

    // A Bitcoin node derives the same address from the descriptor, and watches it.
    let transcript = fs::read(hall.join("ceremony").join("transcript.json")).unwrap();
    let transcript: Value = serde_json::from_slice(&transcript).unwrap();
    let (address, descriptor) = (&transcript["deposit_address"], &transcript["descriptor"]);
    let folder = home.path().join("bitcoin");
    let node = BitcoinNode::start(&folder, NodeOptions::default());
    let mut node = node.await.unwrap();
    let derived = ask(&node, "", "deriveaddresses", json!([descriptor])).await;
    assert_eq!(derived, json!([address]));
    // Neither keys nor addresses of its own.
    ask(&node, "", "createwallet", json!(["federation", true, true])).await;
    let wallet = "/wallet/federation";
    let wanted = json!([[{"desc": descriptor, "timestamp": "now"}]]);
    let imported = ask(&node, wallet, "importdescriptors", wanted).await;
    assert_eq!(imported[0]["success"], true, "{imported}");
    ask(&node, "", "generatetoaddress", json!([1, address])).await;
    let balances = ask(&node, wallet, "getbalances", json!([])).await;
    assert_eq!(balances["mine"]["immature"], 50.0, "{balances}");
    node.stop().await.unwrap();
}
