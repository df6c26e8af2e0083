//! The peer-to-peer parts that ethrex's handlers cannot do without, with nothing behind them.
//!
//! No socket is opened, no peer known, and their store is an empty one in memory. The ports never let a request
//! through that would start a sync.

use super::EmbeddedError;
use ethrex_blockchain::Blockchain;
use ethrex_p2p::network::P2PContext;
use ethrex_p2p::peer_handler::PeerHandler;
use ethrex_p2p::peer_table::{PeerTableServer, TARGET_PEERS};
use ethrex_p2p::rlpx::initiator::RLPxInitiator;
use ethrex_p2p::sync::SyncMode;
use ethrex_p2p::sync_manager::SyncManager;
use ethrex_p2p::types::{NetworkConfig, Node, NodeRecord};
use ethrex_p2p::utils::public_key_from_signing_key;
use ethrex_storage::{EngineType, Store};
use secp256k1::SecretKey;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often the parts look for peers that are not there.
const HOUR_MS: u32 = 3_600_000;

pub(super) struct Peerless {
    pub(super) node: Node,
    pub(super) record: NodeRecord,
    pub(super) syncer: SyncManager,
}

pub(super) async fn peerless(stop: CancellationToken) -> Result<Peerless, EmbeddedError> {
    let part = |error: String| EmbeddedError::Part(error);
    // An identity that nobody ever sees: made now, gone with the process.
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| part(error.to_string()))?;
    let key = SecretKey::from_byte_array(&bytes).map_err(|error| part(error.to_string()))?;
    let node = Node::new(
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        0,
        0,
        public_key_from_signing_key(&key),
    );
    let record = NodeRecord::from_node(&node, 1, &key).map_err(|error| part(error.to_string()))?;

    let store = Store::new("", EngineType::InMemory)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|error| part(error.to_string()))?;
    let blockchain = Arc::new(Blockchain::default_with_store_and_pool(
        store.clone(),
        Arc::new(pool),
    ));
    let table = PeerTableServer::spawn(node.node_id(), TARGET_PEERS, store.clone());
    let context = P2PContext::new(
        node.clone(),
        NetworkConfig::from_node(&node),
        TaskTracker::new(),
        key,
        table.clone(),
        store.clone(),
        Arc::clone(&blockchain),
        String::new(),
        None,
        u64::from(HOUR_MS),
        f64::from(HOUR_MS),
    )
    .map_err(|error| part(error.to_string()))?;
    let peers = PeerHandler::new(table, RLPxInitiator::spawn(context));
    let syncer = SyncManager::new(
        peers,
        &SyncMode::Full,
        stop,
        blockchain,
        store,
        PathBuf::new(),
    )
    .await;
    Ok(Peerless {
        node,
        record,
        syncer,
    })
}
