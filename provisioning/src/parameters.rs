//! What members agree on before they know each other's keys: the chain spec without the cards and what follows from
//! them.

use crate::files::{self, FileError};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::execution::VAULT;
use alys_protocol::spec::{
    BitcoinSpec, DepositSpec, MiningSpec, PegOutSpec, SchnorrPublicKeyBytes, SlotSpec, Target,
};
use alys_protocol::units::{BtcHeight, ChainId, Epoch, Sats, SatsPerKvb, Slot, Wei};
use bitcoin::{BlockHash, Network};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The parameters file (TOML). Unknown keys are refused. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The chain's name for people.
    pub name: String,
    /// EIP-155 chain id.
    pub chain_id: ChainId,
    /// The federation's term; 0 for a new chain.
    #[serde(default)]
    pub epoch: Epoch,
    /// Timing.
    pub slots: SlotSpec,
    /// The Bitcoin side. The recovery keys' secrets lie offline; `alys-signer init` can make one: its card's `schnorr`.
    pub bitcoin: BitcoinSpec,
    /// Peg-ins.
    pub deposits: DepositSpec,
    /// Peg-outs.
    pub pegout: PegOutSpec,
    /// Merged mining.
    pub mining: MiningSpec,
    /// The execution layer.
    pub execution: ExecutionParameters,
    /// The members, in the order of their ids. Each has a card of the same name.
    pub members: Vec<MemberParameters>,
}

/// The execution layer. The bridge's address is fixed by the contract, the genesis hash follows from all the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionParameters {
    /// Where priority fees collect; [`VAULT`] unless said otherwise. Nobody may have a key to it.
    #[serde(default = "default_vault")]
    pub vault: EvmAddress,
    /// Gas limit.
    pub gas_limit: u64,
    /// Base fee of genesis in wei. Gas costs BTC, and 1 satoshi is 10^10 wei: with Ethereum's usual 1 gwei a plain
    /// transfer (21,000 gas) would cost 2,100 satoshi, with 1,000,000 wei it costs 2.1.
    pub base_fee_wei: Wei,
}

const fn default_vault() -> EvmAddress {
    VAULT
}

/// A member as far as it is not its signer that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberParameters {
    /// Name for people; the card is found by it.
    pub name: String,
    /// Where the member's share of fees goes. The signer does not know: no key of it is an account's.
    pub fee_recipient: EvmAddress,
}

/// Parameters that cannot be read.
#[derive(Debug, Error)]
pub enum ParametersError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key is unknown, missing or of the wrong form.
    #[error("parameters {path}: {error}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which key, and what is wrong.
        error: Box<toml::de::Error>,
    },
}

/// What differs from one development chain to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regtest {
    /// EIP-155 chain id.
    pub chain_id: ChainId,
    /// Unix time of genesis in milliseconds; its slot is the one that this falls into.
    pub genesis_ms: u64,
    /// Bitcoin block after which deposits count.
    pub start_height: BtcHeight,
    /// Its hash.
    pub start_hash: BlockHash,
    /// Recovery keys; two signatures are needed where there are two or more.
    pub recovery_keys: Vec<SchnorrPublicKeyBytes>,
    /// The members.
    pub members: Vec<MemberParameters>,
    /// Final blocks without proof of work before production halts.
    pub max_blocks_without_pow: u64,
}

/// Chain id of development chains unless said otherwise.
pub const REGTEST_CHAIN_ID: ChainId = ChainId::new(121_212);
/// [`Regtest::max_blocks_without_pow`] unless said otherwise: two minutes of slots.
pub const REGTEST_MAX_BLOCKS_WITHOUT_POW: u64 = 60;

const REGTEST_SLOT_MS: u64 = 2000;

/// What Bitcoin's regtest accepts (compact 0x207fffff): every block of the one is work for the other.
const REGTEST_TARGET: Target = {
    let mut target = [0; 32];
    target[0] = 0x7f;
    target[1] = 0xff;
    target[2] = 0xff;
    Target::new(target)
};

impl Parameters {
    /// The parameters of a development chain on Bitcoin's regtest: fast, and with limits small enough to be reached.
    pub fn regtest(options: Regtest) -> Self {
        // n - f of n: the most that leaves the peg live, and the threshold that consensus has, too.
        let members = options.members.len();
        let threshold = (members * 2 / 3 + 1).min(members);
        let recovery_threshold = options.recovery_keys.len().min(2);
        Self {
            name: "alys-regtest".to_owned(),
            chain_id: options.chain_id,
            epoch: Epoch::ZERO,
            slots: SlotSpec {
                duration_ms: REGTEST_SLOT_MS,
                genesis: Slot::at(options.genesis_ms, REGTEST_SLOT_MS).unwrap_or(Slot::ZERO),
            },
            bitcoin: BitcoinSpec {
                network: Network::Regtest,
                start_height: options.start_height,
                start_hash: options.start_hash,
                // Too many members for 16 bits are refused when the chain is assembled.
                threshold: u16::try_from(threshold).unwrap_or(u16::MAX),
                recovery_threshold: u16::try_from(recovery_threshold).unwrap_or(u16::MAX),
                recovery_keys: options.recovery_keys,
                recovery_timelock_blocks: 12_960,
            },
            deposits: DepositSpec {
                confirmations: 3,
                min_sats: Sats::new(10_000),
                max_withdrawals: 64,
            },
            pegout: PegOutSpec {
                // Pays dust and the highest fee of a batch of `max_inputs` inputs, which the spec demands: enough for
                // up to 7 members; for more, assembling says what it has to be.
                min_sats: Sats::new(500_000),
                max_sats: Sats::new(1_000_000_000),
                max_batch_value_sats: Sats::new(5_000_000_000),
                max_burns: 20,
                max_inputs: 20,
                batch_interval_slots: 5,
                max_fee_rate_sats_per_kvb: SatsPerKvb::new(100_000),
                refresh_margin_blocks: 144,
            },
            mining: MiningSpec {
                aux_chain_id: 0xa175,
                pow_limit: REGTEST_TARGET,
                anchor_target: REGTEST_TARGET,
                slots_per_record: 5,
                half_life_slots: 30,
                max_blocks_without_pow: options.max_blocks_without_pow,
            },
            execution: ExecutionParameters {
                vault: VAULT,
                gas_limit: 30_000_000,
                base_fee_wei: Wei::new(1_000_000),
            },
            members: options.members,
        }
    }

    /// Reads a parameters file. Whether a chain can be made of it, [`crate::assemble()`] says.
    ///
    /// # Errors
    /// - [`ParametersError`] where the file cannot be read, a key is unknown or missing, or a value malformed.
    pub fn read(path: &Path) -> Result<Self, ParametersError> {
        toml::from_str(&files::read(path)?).map_err(|error| ParametersError::Invalid {
            path: path.to_owned(),
            error: Box::new(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_their_file() {
        let parameters = Parameters::regtest(crate::assemble::tests::options());
        let text = toml::to_string_pretty(&parameters).unwrap();
        assert_eq!(toml::from_str::<Parameters>(&text).unwrap(), parameters);
        let unknown = text.replace("gas_limit", "gas_limits");
        let error = toml::from_str::<Parameters>(&unknown).unwrap_err();
        assert!(error.to_string().contains("gas_limits"), "{error}");
    }
}
