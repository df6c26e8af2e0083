//! Provisioning: keys, certificates, chain spec and configuration
