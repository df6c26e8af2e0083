//! The commands beside `run`.

use crate::config::{NETWORK_KEY, NodeConfig};
use alys_net::Identity;
use alys_protocol::units::SideHeight;
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::NodeStatus;
use alys_store::Store;
use alys_store::schema::{Blocks, FinalChain};
use anyhow::Context as _;
use jsonrpsee::http_client::HttpClientBuilder;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::path::Path;

const TEMPLATE: &str = include_str!("node.template.toml");

/// Writes a configuration to start from.
pub(crate) fn init(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("folder {}", dir.display()))?;
    let path = dir.join("node.toml");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("{}", path.display()))?;
    file.write_all(TEMPLATE.as_bytes())?;
    file.sync_all()?;
    println!(
        "wrote {}: set what it asks for, then `alys-node run --config {0}`",
        path.display()
    );
    Ok(())
}

/// Prints the peer id.
pub(crate) fn identity(data_dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("folder {}", data_dir.display()))?;
    let identity = Identity::load_or_create(&data_dir.join(NETWORK_KEY))?;
    println!("{}", identity.peer_id());
    Ok(())
}

/// Asks a running node where it stands.
pub(crate) async fn status(config: &NodeConfig) -> anyhow::Result<()> {
    let path = config.data_dir.join("endpoints.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: has the node been started?", path.display()))?;
    let endpoints: serde_json::Value = serde_json::from_str(&text)?;
    let url = endpoints
        .get("rpc")
        .and_then(serde_json::Value::as_str)
        .with_context(|| format!("{} names no rpc address", path.display()))?;
    let client = HttpClientBuilder::default().build(url)?;
    let status: NodeStatus = client
        .node_status()
        .await
        // As text: its causes say the same again.
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("no node answers at {url}"))?;
    println!("{}", serde_json::to_string_pretty(&status)?);
    Ok(())
}

/// Writes the final chain as JSON lines.
pub(crate) fn export(config: &NodeConfig, output: &Path, from: u64) -> anyhow::Result<()> {
    let chain = config.chain()?;
    let store = Store::open(&config.data_dir.join("store"), chain.digest())?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(output)
        .with_context(|| format!("{}", output.display()))?;
    let mut writer = BufWriter::new(file);
    let mut written = 0u64;
    for height in from.max(1).. {
        let Some(id) = store.get::<FinalChain>(&SideHeight::new(height))? else {
            break;
        };
        let proposal = store
            .get::<Blocks>(&id)?
            .with_context(|| format!("final block {id} is not stored"))?;
        serde_json::to_writer(&mut writer, &proposal)?;
        writer.write_all(b"\n")?;
        written += 1;
    }
    writer.into_inner()?.sync_all()?;
    println!("wrote {written} blocks to {}", output.display());
    Ok(())
}

/// Counts what the database holds.
pub(crate) fn inspect(config: &NodeConfig) -> anyhow::Result<()> {
    let chain = config.chain()?;
    let store = Store::open(&config.data_dir.join("store"), chain.digest())?;
    println!("{:<16} {:>12} {:>14}", "table", "entries", "bytes");
    for size in store.sizes()? {
        println!("{:<16} {:>12} {:>14}", size.name, size.entries, size.bytes);
    }
    Ok(())
}
