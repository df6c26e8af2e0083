use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server that answers each connection with the same bytes and counts them.
async fn server(answer: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    (url, seen)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn call(url: &str, repeat: Repeat) -> Result<u64, RpcError> {
    let transport = Transport::new(url, None, 1_000).unwrap();
    transport
        .call(
            "test_method",
            Value::Null,
            "a number",
            Duration::from_secs(5),
            repeat,
        )
        .await
}

#[tokio::test]
async fn answers_of_another_shape_are_typed_errors() {
    let ok = http("200 OK", r#"{"jsonrpc":"2.0","id":1,"result":7}"#);
    assert_eq!(call(&server(ok).await.0, Repeat::Safe).await.unwrap(), 7);

    let text = http("200 OK", r#"{"jsonrpc":"2.0","id":1,"result":"x"}"#);
    assert!(matches!(
        call(&server(text).await.0, Repeat::Safe).await,
        Err(RpcError::Unexpected { .. })
    ));

    let refusal = http(
        "200 OK",
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-38002,"message":"no","data":"why"}}"#,
    );
    let error = call(&server(refusal).await.0, Repeat::Safe)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RpcError::Client { code: -38002, message, .. } if message == "no (why)"),
        "{error}"
    );

    let denied = http("401 Unauthorized", "stale token");
    let error = call(&server(denied).await.0, Repeat::Safe)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RpcError::Unauthorized { detail, .. } if detail == "stale token"),
        "{error}"
    );

    let large = http("200 OK", &"x".repeat(1_001));
    assert!(matches!(
        call(&server(large).await.0, Repeat::Safe).await,
        Err(RpcError::TooLarge { maximum: 1_000, .. })
    ));
}

#[tokio::test]
async fn only_safe_calls_are_repeated_after_a_broken_connection() {
    let (url, seen) = server(Vec::new()).await;
    assert!(matches!(
        call(&url, Repeat::Safe).await,
        Err(RpcError::Broken { .. })
    ));
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    let (url, seen) = server(Vec::new()).await;
    assert!(matches!(
        call(&url, Repeat::OnlyIfNotSent).await,
        Err(RpcError::Broken { .. })
    ));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_silent_server_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let transport = Transport::new(&url, None, 1_000).unwrap();
    let limit = Duration::from_millis(100);
    let answer: Result<u64, _> = transport
        .call("test_method", Value::Null, "", limit, Repeat::Safe)
        .await;
    assert!(matches!(answer, Err(RpcError::Timeout { .. })));
}

#[test]
fn only_http_urls() {
    for url in ["", "localhost:8551", "https://localhost", "ipc:///x"] {
        assert!(
            matches!(Transport::new(url, None, 1), Err(RpcError::Url { .. })),
            "{url}"
        );
    }
}
