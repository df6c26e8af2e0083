//! libp2p network: gossip, request-response and discovery
