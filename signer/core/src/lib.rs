//! The signer's rules and decisions, sans-IO
