//! What a chain spec means: the figures that members compare before they trust it.

use crate::assemble::{AssembleError, genesis_hash};
use crate::files::{self, FileError};
use alys_protocol::bytes::{BlockId, EvmAddress, ExecutionHash, SpecDigest};
use alys_protocol::federation::WalletError;
use alys_protocol::spec::{Chain, ChainSpec, SpecError};
use alys_protocol::units::ChainId;
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A chain spec that must not be used.
#[derive(Debug, Error)]
pub enum CheckError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key is unknown, missing or of the wrong form.
    #[error("chain spec {path}: {error}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which key, and what is wrong.
        error: Box<toml::de::Error>,
    },
    /// A rule is broken.
    #[error("chain spec {path}: {error}", path = path.display())]
    Rule {
        /// The file.
        path: PathBuf,
        /// Which one.
        error: SpecError,
    },
    /// The genesis cannot be made.
    #[error(transparent)]
    Genesis(#[from] AssembleError),
    /// The hash is of another genesis: no execution client of this chain would start.
    #[error(
        "execution.genesis_hash: expected {expected}, which the other parameters give, found {found}"
    )]
    GenesisHash {
        /// What follows from the spec.
        expected: ExecutionHash,
        /// What the spec says.
        found: ExecutionHash,
    },
    /// No address on that network.
    #[error(transparent)]
    Address(#[from] WalletError),
}

/// Hex with `0x` before it, as people paste it.
fn prefixed<T: core::fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What a checked chain spec means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// EIP-155 chain id.
    pub chain_id: ChainId,
    /// Digest of the spec: the one figure that covers all others.
    #[serde(serialize_with = "prefixed")]
    pub digest: SpecDigest,
    /// Id of the genesis header.
    #[serde(serialize_with = "prefixed")]
    pub genesis_id: BlockId,
    /// Hash of the execution genesis, recomputed.
    #[serde(serialize_with = "prefixed")]
    pub genesis_hash: ExecutionHash,
    /// Members, in order of their ids.
    pub members: Vec<String>,
    /// Approvals that certify a block.
    pub quorum: usize,
    /// Byzantine members that are tolerated.
    pub faults: usize,
    /// Members' signatures that a Bitcoin spend needs.
    pub threshold: u16,
    /// The Bitcoin network.
    pub network: bitcoin::Network,
    /// Where deposits go.
    pub deposit_address: String,
    /// The wallet as an output descriptor with checksum (BIP-380).
    pub descriptor: String,
    /// The fee vault.
    #[serde(serialize_with = "prefixed")]
    pub vault: EvmAddress,
    /// The bridge contract.
    #[serde(serialize_with = "prefixed")]
    pub bridge: EvmAddress,
}

/// Reads and checks a chain spec's file.
///
/// # Errors
/// - [`CheckError`] where it cannot be read, is malformed or breaks a rule.
pub fn read(path: &Path) -> Result<Chain, CheckError> {
    let spec: ChainSpec =
        toml::from_str(&files::read(path)?).map_err(|error| CheckError::Invalid {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
    Chain::new(spec).map_err(|error| CheckError::Rule {
        path: path.to_owned(),
        error,
    })
}

/// Checks what [`Chain::new`] does not, the genesis hash above all, and says what the chain is.
///
/// # Errors
/// - [`CheckError`] for the first figure that does not follow from the others.
pub fn check(chain: &Chain) -> Result<Report, CheckError> {
    let spec = chain.spec();
    let (expected, found) = (genesis_hash(chain)?, spec.execution.genesis_hash);
    if expected != found {
        return Err(CheckError::GenesisHash { expected, found });
    }
    let members = chain.roster().members();
    let network = spec.bitcoin.network;
    Ok(Report {
        name: spec.name.clone(),
        chain_id: spec.chain_id,
        digest: chain.digest(),
        genesis_id: chain.genesis_id(),
        genesis_hash: spec.execution.genesis_hash,
        members: members.iter().map(|member| member.name.clone()).collect(),
        quorum: chain.roster().quorum(),
        faults: chain.roster().faults(),
        threshold: chain.wallet().threshold(),
        network,
        deposit_address: chain.wallet().address(network)?.to_string(),
        descriptor: alys_chain::descriptor(chain),
        vault: spec.execution.vault,
        bridge: spec.execution.bridge,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::assemble;
    use crate::assemble::tests::{cards, options};
    use crate::parameters::Parameters;

    #[test]
    fn a_foreign_genesis_hash_is_found() {
        let spec = assemble(Parameters::regtest(options()), &cards()).unwrap();
        let report = check(&Chain::new(spec.clone()).unwrap()).unwrap();
        assert_eq!((report.quorum, report.faults, report.threshold), (3, 1, 3));
        assert!(report.deposit_address.starts_with("bcrt1p"));
        assert!(report.descriptor.contains("multi_a(3,"));
        let mut foreign = spec;
        foreign.execution.genesis_hash = ExecutionHash::new([1; 32]);
        let error = check(&Chain::new(foreign).unwrap()).unwrap_err();
        assert!(matches!(error, CheckError::GenesisHash { .. }), "{error}");
    }
}
