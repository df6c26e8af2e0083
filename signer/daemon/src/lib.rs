//! The signer daemon: mutual TLS, durable state, sealed keys
