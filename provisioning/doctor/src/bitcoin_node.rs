//! The node's Bitcoin node answers, and has the blocks that are needed.

use crate::finding::Finding;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// Bytes of an answer at most.
const MAX_ANSWER: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// The result of `getblockchaininfo` of the node at `url` (`http://host:port`). `credentials` are `user:password`, as in its
/// cookie file.
///
/// # Errors
/// - why there is none, in words; never the credentials.
pub fn ask(url: &str, credentials: &str) -> Result<Value, String> {
    let address = url
        .strip_prefix("http://")
        .map(|it| it.trim_end_matches('/'));
    let address = address.ok_or_else(|| format!("expected http://host:port, found {url}"))?;
    let resolved = address
        .to_socket_addrs()
        .map_err(|error| format!("{address}: {error}"))?;
    let mut last = format!("{address}: no address");
    let mut stream = None;
    for candidate in resolved {
        match TcpStream::connect_timeout(&candidate, PATIENCE) {
            Ok(connected) => {
                stream = Some(connected);
                break;
            }
            Err(error) => last = format!("{candidate}: {error}"),
        }
    }
    let mut stream = stream.ok_or(last)?;
    let io = |error: std::io::Error| format!("{address}: {error}");
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(io)?;
    let body =
        json!({"jsonrpc": "1.0", "id": 1, "method": "getblockchaininfo", "params": []}).to_string();
    let request = format!(
        "POST / HTTP/1.0\r\nHost: {address}\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        STANDARD.encode(credentials.trim()),
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(io)?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER)
        .read_to_end(&mut answer)
        .map_err(io)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("{address}: no HTTP answer"))?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200") {
        return Err(format!("{address}: {status}"));
    }
    let value: Value =
        serde_json::from_str(body.trim()).map_err(|error| format!("{address}: {error}"))?;
    value
        .get("result")
        .cloned()
        .ok_or_else(|| format!("{address}: an answer without result"))
}

/// That the node has finished its download and all blocks above `start`, and is of `network` (Bitcoin Core's name: `main`,
/// `test`, `testnet4`, `signet`, `regtest`).
pub fn judge(said: &Result<Value, String>, network: &str, start: u64) -> Vec<Finding> {
    const WHY: &str = "deposits, burns' payments and proofs of work are read from its blocks";
    let wrong = |found: String, remedy: &str| Finding::error("bitcoin", found, WHY, remedy);
    let value = match said {
        Ok(value) => value,
        Err(error) => {
            return vec![wrong(
                error.clone(),
                "start it, check [bitcoin] in node.toml and who may read its cookie file",
            )];
        }
    };
    let mut findings = Vec::new();
    let chain = value.get("chain").and_then(Value::as_str).unwrap_or("none");
    if chain != network {
        findings.push(wrong(
            format!("expected a node of {network}, found {chain}"),
            "point [bitcoin] at the chain spec's network",
        ));
    }
    let pruned = value.get("pruneheight").and_then(Value::as_u64);
    if let Some(lowest) = pruned.filter(|lowest| *lowest > start.saturating_add(1)) {
        findings.push(wrong(
            format!("blocks below {lowest} are pruned, expected all above {start}"),
            "prune=0, and let it download again (reindex)",
        ));
    }
    if value.get("initialblockdownload").and_then(Value::as_bool) != Some(false) {
        findings.push(Finding::warning(
            "bitcoin",
            "still downloading blocks",
            WHY,
            "wait; the node waits, too",
        ));
    }
    if findings.is_empty() {
        let height = value.get("blocks").and_then(Value::as_u64).unwrap_or(0);
        findings.push(Finding::fine(
            "bitcoin",
            format!("{chain} at height {height}"),
        ));
    }
    findings
}
