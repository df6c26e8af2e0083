//! The signer's firewall is loaded and lets in the node alone.

use crate::finding::Finding;
use crate::system::output;
use serde_json::Value;

/// The table as the kernel has it, in JSON.
pub fn table() -> Result<String, String> {
    output("nft", &["--json", "list", "table", "inet", "alys_signer"])
}

/// That `said`, which [`table`] gave, closes everything but `port`, and that for named nodes.
pub fn firewall(said: &Result<String, String>, port: u16) -> Vec<Finding> {
    const WHY: &str = "whoever reaches the port can attack the signer's TLS and load it; only the node has business there";
    let remedy = "set the addresses in /etc/alys-signer/firewall.nft, then systemctl reload alys-signer-firewall";
    let wrong = |found: String| Finding::error("firewall", found, WHY, remedy);
    let text = match said {
        Ok(text) => text,
        Err(error) => {
            return vec![wrong(format!(
                "the table inet alys_signer is not loaded: {error}"
            ))];
        }
    };
    let Ok(Value::Object(whole)) = serde_json::from_str(text) else {
        return vec![wrong("nft printed no JSON".to_owned())];
    };
    let entries = whole.get("nftables").and_then(Value::as_array);
    let entries = entries.map(Vec::as_slice).unwrap_or_default();
    let of = |kind: &'static str, name: &'static str| {
        let objects = entries.iter().filter_map(move |entry| entry.get(kind));
        objects
            .into_iter()
            .find(move |it| it.get("name").and_then(Value::as_str) == Some(name))
    };
    let mut findings = Vec::new();
    for hook in ["input", "forward", "output"] {
        let chain = of("chain", hook);
        let is = |key: &str, value: &str| {
            chain.and_then(|it| it.get(key)).and_then(Value::as_str) == Some(value)
        };
        if !(is("hook", hook) && is("policy", "drop")) {
            findings.push(wrong(format!(
                "chain {hook}: expected a base chain with policy drop, found {}",
                chain.map_or("none".to_owned(), Value::to_string)
            )));
        }
    }
    let elements = |name| {
        of("set", name)
            .and_then(|it| it.get("elem"))
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let ports = elements("signer_port");
    if ports != [Value::from(port)] {
        findings.push(wrong(format!(
            "signer_port: expected {port} (listen), found {ports:?}"
        )));
    }
    let nodes: Vec<Value> = ["nodes4", "nodes6"]
        .into_iter()
        .flat_map(elements)
        .collect();
    if nodes.is_empty() {
        findings.push(wrong("no node may reach the signer's port".to_owned()));
    }
    for broad in nodes.iter().filter(|node| !node.is_string()) {
        findings.push(wrong(format!(
            "nodes: expected single addresses, found {broad}"
        )));
    }
    // In the packaged rules the sets are the only ways in; a rule added to the table would be another.
    let accepted = entries
        .iter()
        .filter_map(|entry| entry.get("rule"))
        .filter(|rule| {
            rule.get("chain").and_then(Value::as_str) == Some("input")
                && rule.to_string().contains("\"accept\"")
        });
    let accepted = accepted.count();
    if accepted != INPUT_ACCEPTS {
        findings.push(wrong(format!(
            "input: expected the {INPUT_ACCEPTS} packaged rules that accept, found {accepted}"
        )));
    }
    if findings.is_empty() {
        let nodes: Vec<&str> = nodes.iter().filter_map(Value::as_str).collect();
        findings.push(Finding::fine(
            "firewall",
            format!("port {port} is open to {} only", nodes.join(", ")),
        ));
    }
    findings
}

/// Rules of the packaged chain `input` that accept.
pub const INPUT_ACCEPTS: usize = 7;
