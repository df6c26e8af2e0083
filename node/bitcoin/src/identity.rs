//! Whether the node that answers is one that this federation can use.

use crate::error::RpcError;
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, Network};
use serde::Deserialize;
use std::fmt;
use thiserror::Error;

/// A Bitcoin Core version as the node numbers it: 280100 is 28.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeVersion(u32);

impl NodeVersion {
    /// The oldest that we use: 28 brought TRUC relay and `testnet4`.
    pub const MINIMUM: Self = Self(280_000);

    /// Wraps the number of `getnetworkinfo`.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for NodeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}",
            self.0 / 10_000,
            self.0 / 100 % 100,
            self.0 % 100
        )
    }
}

/// A node that passed the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its version.
    pub version: NodeVersion,
    /// Its BIP-14 user agent.
    pub subversion: String,
    /// Its network.
    pub network: Network,
    /// Whether it forgets old blocks.
    pub pruned: bool,
}

/// What makes a node unusable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeMismatch {
    /// It follows another network.
    #[error("expected network {expected}, found {found:?}")]
    Network {
        /// The configured one.
        expected: Network,
        /// What the node says, in its own words (`main`, `test`, ...).
        found: String,
    },
    /// It follows a chain of the same name with another beginning.
    #[error("expected genesis block {expected}, found {found}")]
    Genesis {
        /// The network's.
        expected: BlockHash,
        /// The node's.
        found: BlockHash,
    },
    /// It is too old.
    #[error("expected version {} or later, found {found}", NodeVersion::MINIMUM)]
    TooOld {
        /// Its version.
        found: NodeVersion,
    },
    /// Bitcoin Knots leaves Bitcoin by a hard fork of its own (mainnet at 961640, testnet4 at 150308).
    #[error("{subversion} leaves {network} by its own hard fork; use Bitcoin Core")]
    Knots {
        /// Its user agent.
        subversion: String,
        /// The network.
        network: Network,
    },
}

/// `getnetworkinfo`, as far as we need it.
#[derive(Deserialize)]
pub(crate) struct NetworkInfo {
    pub(crate) version: u32,
    pub(crate) subversion: String,
}

/// The part of `getblockchaininfo` that says which chain it is.
#[derive(Deserialize)]
pub(crate) struct ChainName {
    pub(crate) chain: String,
    #[serde(default)]
    pub(crate) pruned: bool,
}

fn genesis_of(network: Network) -> BlockHash {
    BlockHash::from_byte_array(network.chain_hash().to_bytes())
}

/// Judges a node by what it says of itself.
pub(crate) fn judge(
    expected: Network,
    network: NetworkInfo,
    chain: ChainName,
    genesis: BlockHash,
) -> Result<NodeIdentity, NodeMismatch> {
    if Network::from_core_arg(&chain.chain).ok() != Some(expected) {
        return Err(NodeMismatch::Network {
            expected,
            found: chain.chain,
        });
    }
    let expected_genesis = genesis_of(expected);
    if genesis != expected_genesis {
        return Err(NodeMismatch::Genesis {
            expected: expected_genesis,
            found: genesis,
        });
    }
    // Knots may serve test chains on which its fork is not scheduled.
    let knots = network.subversion.to_ascii_lowercase().contains("knots");
    if knots && !matches!(expected, Network::Regtest | Network::Signet) {
        return Err(NodeMismatch::Knots {
            subversion: network.subversion,
            network: expected,
        });
    }
    let version = NodeVersion(network.version);
    if version < NodeVersion::MINIMUM {
        return Err(NodeMismatch::TooOld { found: version });
    }
    Ok(NodeIdentity {
        version,
        subversion: network.subversion,
        network: expected,
        pruned: chain.pruned,
    })
}

impl NodeMismatch {
    pub(crate) fn at(self, url: &str) -> RpcError {
        RpcError::WrongNode {
            url: url.to_owned(),
            mismatch: self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(
        expected: Network,
        chain: &str,
        version: u32,
        subversion: &str,
    ) -> Result<NodeIdentity, NodeMismatch> {
        judge(
            expected,
            NetworkInfo {
                version,
                subversion: subversion.into(),
            },
            ChainName {
                chain: chain.into(),
                pruned: false,
            },
            genesis_of(expected),
        )
    }

    const CORE: &str = "/Satoshi:30.0.0/";
    const KNOTS: &str = "/Satoshi:29.4.0/Knots:20260601/";

    #[test]
    fn every_network_is_known_by_the_nodes_own_name() {
        for (network, name) in [
            (Network::Bitcoin, "main"),
            (Network::Testnet, "test"),
            (Network::Testnet4, "testnet4"),
            (Network::Signet, "signet"),
            (Network::Regtest, "regtest"),
        ] {
            assert_eq!(
                judged(network, name, 300_000, CORE).unwrap().network,
                network
            );
            assert!(matches!(
                judged(network, "other", 300_000, CORE),
                Err(NodeMismatch::Network { .. })
            ));
        }
        assert!(judged(Network::Bitcoin, "regtest", 300_000, CORE).is_err());
    }

    #[test]
    fn knots_serves_regtest_and_signet_only() {
        for (network, name) in [
            (Network::Bitcoin, "main"),
            (Network::Testnet, "test"),
            (Network::Testnet4, "testnet4"),
        ] {
            assert!(matches!(
                judged(network, name, 290_400, KNOTS),
                Err(NodeMismatch::Knots { .. })
            ));
        }
        assert!(judged(Network::Regtest, "regtest", 290_400, KNOTS).is_ok());
        assert!(judged(Network::Signet, "signet", 290_400, KNOTS).is_ok());
    }

    #[test]
    fn old_nodes_are_refused() {
        let error = judged(Network::Regtest, "regtest", 279_999, CORE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected version 28.0.0 or later, found 27.99.99"
        );
        assert!(judged(Network::Regtest, "regtest", 280_000, CORE).is_ok());
    }

    #[test]
    fn a_chain_with_another_beginning_is_refused() {
        let other = genesis_of(Network::Bitcoin);
        let network = NetworkInfo {
            version: 300_000,
            subversion: CORE.into(),
        };
        let chain = ChainName {
            chain: "regtest".into(),
            pruned: false,
        };
        assert!(matches!(
            judge(Network::Regtest, network, chain, other),
            Err(NodeMismatch::Genesis { found, .. }) if found == other
        ));
    }
}
