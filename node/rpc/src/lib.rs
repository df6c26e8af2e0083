//! JSON-RPC, health and metrics endpoints of the node
