//! Real nodes on loopback sockets, and waiting for what they report.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses its part of this"
)]

pub mod raw;

use std::time::Duration;

use alys_net::{
    GossipId, Multiaddr, Network, NetworkConfig, NetworkEvent, NetworkHandle, PeerId, Software,
    Topic,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Longer than anything here takes; a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const SPEC: [u8; 32] = [0x11; 32];
pub const GENESIS: [u8; 32] = [0x22; 32];

/// A running node and its folder.
pub struct Node {
    pub handle: NetworkHandle,
    pub events: mpsc::Receiver<NetworkEvent>,
    folder: TempDir,
}

/// A gossip message as a node reported it.
#[derive(Debug)]
pub struct Gossip {
    pub topic: Topic,
    pub source: PeerId,
    pub forwarder: PeerId,
    pub id: GossipId,
    pub bytes: Vec<u8>,
}

pub fn config_in(folder: &TempDir) -> NetworkConfig {
    let software = Software::try_from("alys-net-test").unwrap();
    let mut config = NetworkConfig::new(folder.path().join("identity"), SPEC, GENESIS, software);
    config.limits.redial_min = Duration::from_millis(100);
    config.limits.redial_max = Duration::from_millis(500);
    config
}

impl Node {
    pub async fn start(change: impl FnOnce(&mut NetworkConfig)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    pub async fn start_in(folder: TempDir, change: impl FnOnce(&mut NetworkConfig)) -> Self {
        let mut config = config_in(&folder);
        change(&mut config);
        let (handle, events) = Network::start(config).await.unwrap();
        Self {
            handle,
            events,
            folder,
        }
    }

    /// A node that knows `other`.
    pub async fn start_knowing(other: &Self) -> Self {
        let bootnodes = other.addresses().await;
        Self::start(|config| config.bootnodes = bootnodes).await
    }

    /// Stops the node and keeps its folder, for a restart.
    pub async fn stop(self) -> TempDir {
        self.handle.shutdown().await;
        self.folder
    }

    pub fn id(&self) -> PeerId {
        self.handle.local_peer()
    }

    pub async fn addresses(&self) -> Vec<Multiaddr> {
        let addresses = self.handle.listen_addresses().await.unwrap();
        assert!(!addresses.is_empty());
        addresses
    }

    pub async fn next(&mut self) -> NetworkEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("no event in time")
            .expect("the network ended")
    }

    /// Reads events until one fits; the others are dropped.
    pub async fn until<T>(&mut self, mut fits: impl FnMut(&NetworkEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = fits(&self.next().await) {
                return found;
            }
        }
    }

    pub async fn until_connected(&mut self, wanted: PeerId) {
        self.until(|event| {
            matches!(event, NetworkEvent::PeerConnected { peer, .. } if *peer == wanted)
                .then_some(())
        })
        .await;
    }

    pub async fn until_disconnected(&mut self, wanted: PeerId) {
        self.until(|event| {
            matches!(event, NetworkEvent::PeerDisconnected { peer } if *peer == wanted)
                .then_some(())
        })
        .await;
    }

    pub async fn until_refused(&mut self, wanted: PeerId) -> alys_net::RefusalReason {
        self.until(|event| match event {
            NetworkEvent::PeerRefused { peer, reason } if *peer == wanted => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    /// The next gossip message; events of other kinds are dropped.
    pub async fn next_gossip(&mut self) -> Gossip {
        loop {
            if let NetworkEvent::Gossip {
                topic,
                source,
                forwarder,
                id,
                bytes,
            } = self.next().await
            {
                return Gossip {
                    topic,
                    source,
                    forwarder,
                    id,
                    bytes,
                };
            }
        }
    }

    /// The next request; events of other kinds are dropped.
    pub async fn next_request(&mut self) -> (PeerId, alys_net::RequestId, alys_net::Request) {
        loop {
            if let NetworkEvent::Request { peer, id, request } = self.next().await {
                return (peer, id, request);
            }
        }
    }

    pub async fn score_of(&self, peer: PeerId) -> f64 {
        let peers = self.handle.peers().await.unwrap();
        peers
            .iter()
            .find(|info| info.peer == peer)
            .expect("peer is connected")
            .score
    }
}

/// Two nodes, the second having dialed the first, after both have announced it.
pub async fn pair(
    first: impl FnOnce(&mut NetworkConfig),
    second: impl FnOnce(&mut NetworkConfig),
) -> (Node, Node) {
    let mut one = Node::start(first).await;
    let bootnodes = one.addresses().await;
    let mut two = Node::start(|config| {
        config.bootnodes = bootnodes;
        second(config);
    })
    .await;
    one.until_connected(two.id()).await;
    two.until_connected(one.id()).await;
    (one, two)
}
