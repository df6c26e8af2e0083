//! Cluster harness and end-to-end suite

pub mod bitcoin_node;
