//! Execution client: Engine API with JWT, and the embedded client
