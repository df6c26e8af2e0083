//! Cluster harness and end-to-end suite
