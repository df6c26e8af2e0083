//! Client of the signer, used by the node, provisioning and tests
