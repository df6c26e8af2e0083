//! The chain spec: every parameter that members agree on before genesis. A file is a [`ChainSpec`]; only a checked
//! one becomes a [`Chain`], which the rest of the code uses.

mod check;
mod error;
mod roster;

pub use error::SpecError;
pub use roster::{Member, Roster};

use crate::bls::{BlsPublicKeyBytes, BlsSignature};
use crate::bytes::{
    BlockId, BodyRoot, EvmAddress, ExecutionHash, HistoryRoot, SpecDigest, byte_string,
};
use crate::federation::{FederationWallet, Recovery};
use crate::hash::{self, TaggedHasher};
use crate::header::{Header, PowState};
use crate::peg::{Cursor, WHOLE_BLOCK, block_hash};
use crate::units::{
    BtcHeight, BurnSequence, ChainId, Epoch, PowCount, Sats, SatsPerKvb, SideHeight, Slot, Wei,
};
use alloc::string::String;
use alloc::vec::Vec;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{BlockHash, Network};
use serde::{Deserialize, Serialize};

byte_string!(
    /// An x-only Schnorr public key (BIP-340) as it is written.
    SchnorrPublicKeyBytes[32]
);
byte_string!(
    /// A proof-of-work target: a 256-bit number, big-endian.
    Target[32]
);

/// A chain spec as it is written. Unknown keys are refused; nothing in it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainSpec {
    /// Name for people.
    pub name: String,
    /// EIP-155 chain id; also the domain of our hashes and our merged-mining chain id's source.
    pub chain_id: ChainId,
    /// The federation's term.
    pub epoch: Epoch,
    /// Slots and genesis.
    pub slots: SlotSpec,
    /// The federation's Bitcoin side.
    pub bitcoin: BitcoinSpec,
    /// Peg-ins.
    pub deposits: DepositSpec,
    /// Peg-outs.
    pub pegout: PegOutSpec,
    /// Merged mining.
    pub mining: MiningSpec,
    /// The execution layer.
    pub execution: ExecutionSpec,
    /// The roster, in the order of member ids and of the wallet's keys.
    pub members: Vec<MemberSpec>,
}

/// Timing of slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotSpec {
    /// Length of a slot in milliseconds; a multiple of 1000.
    pub duration_ms: u64,
    /// Slot of the genesis block.
    pub genesis: Slot,
}

/// The Bitcoin network and the wallet's thresholds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitcoinSpec {
    /// `bitcoin`, `testnet4`, `signet` or `regtest`.
    pub network: Network,
    /// Height of the last Bitcoin block that genesis counts as consumed.
    pub start_height: BtcHeight,
    /// Its hash.
    #[serde(with = "block_hash")]
    pub start_hash: BlockHash,
    /// Members' signatures that a spend needs (m).
    pub threshold: u16,
    /// Recovery signatures that a spend needs after the timelock.
    pub recovery_threshold: u16,
    /// Recovery keys.
    pub recovery_keys: Vec<SchnorrPublicKeyBytes>,
    /// The one constant of the recovery timelock, in Bitcoin blocks (regression N5).
    pub recovery_timelock_blocks: u16,
}

/// Peg-in parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepositSpec {
    /// Blocks on top of and including a deposit's before it is minted.
    pub confirmations: u32,
    /// The smallest output that counts.
    pub min_sats: Sats,
    /// Withdrawals in one block at most, the `members + 1` of fees included.
    pub max_withdrawals: u32,
}

/// Peg-out parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PegOutSpec {
    /// The smallest burn.
    pub min_sats: Sats,
    /// The largest burn.
    pub max_sats: Sats,
    /// The most that the burns of one batch may add up to.
    pub max_batch_value_sats: Sats,
    /// Burns in one batch at most.
    pub max_burns: u32,
    /// Inputs of one batch at most.
    pub max_inputs: u32,
    /// Slots between two batches at least.
    pub batch_interval_slots: u64,
    /// Above this fee rate batches wait.
    pub max_fee_rate_sats_per_kvb: SatsPerKvb,
    /// An unspent output is moved when its recovery timelock is nearer than this many Bitcoin blocks.
    pub refresh_margin_blocks: u16,
}

/// Merged-mining parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MiningSpec {
    /// Our chain id in AuxPoW's chain Merkle tree (Namecoin numbering).
    pub aux_chain_id: u32,
    /// The easiest target there is.
    pub pow_limit: Target,
    /// The target that a record on schedule must meet (ASERT's anchor).
    pub anchor_target: Target,
    /// Slots between two records when work and target are in balance.
    pub slots_per_record: u64,
    /// Slots of delay that double the target.
    pub half_life_slots: u64,
    /// Final blocks beyond the newest PoW-final one after which a block needs a record.
    pub max_blocks_without_pow: u64,
}

/// The execution layer's genesis and special addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionSpec {
    /// Hash of the execution genesis block.
    pub genesis_hash: ExecutionHash,
    /// Where priority fees go; no code, no known key.
    pub vault: EvmAddress,
    /// Address of the bridge contract: [`BRIDGE`](crate::execution::BRIDGE).
    pub bridge: EvmAddress,
    /// Gas limit of genesis, which builders keep.
    pub gas_limit: u64,
    /// Base fee of genesis in wei.
    pub base_fee_wei: Wei,
}

/// One member as the spec writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSpec {
    /// Name for people.
    pub name: String,
    /// BLS key that votes.
    pub bls: BlsPublicKeyBytes,
    /// Proof of possession of the BLS key.
    pub bls_possession: BlsSignature,
    /// Schnorr key in the Bitcoin wallet.
    pub schnorr: SchnorrPublicKeyBytes,
    /// Where the member's share of fees goes.
    pub fee_recipient: EvmAddress,
}

/// A checked chain: the spec and all that follows from it.
#[derive(Debug, Clone)]
pub struct Chain {
    spec: ChainSpec,
    digest: SpecDigest,
    roster: Roster,
    wallet: FederationWallet,
    genesis: Header,
    genesis_id: BlockId,
}

impl Chain {
    /// Checks a spec.
    ///
    /// # Errors
    /// - [`SpecError`] for the first rule that it breaks.
    pub fn new(spec: ChainSpec) -> Result<Self, SpecError> {
        let roster = Roster::new(&spec.members)?;
        check::ranges(&spec, &roster)?;
        check::addresses(&spec)?;
        let recovery = Recovery {
            threshold: spec.bitcoin.recovery_threshold,
            keys: check::recovery_keys(&spec, &roster)?,
            timelock_blocks: spec.bitcoin.recovery_timelock_blocks,
        };
        let keys = roster
            .members()
            .iter()
            .map(|member| member.schnorr)
            .collect();
        let wallet = FederationWallet::new(
            &Secp256k1::verification_only(),
            spec.chain_id,
            keys,
            spec.bitcoin.threshold,
            &recovery,
        )?;
        check::batches(&spec, &wallet)?;
        let bytes = postcard::to_allocvec(&spec).map_err(|_| SpecError::Encode)?;
        let digest = SpecDigest::new(
            TaggedHasher::without_chain(hash::SPEC)
                .variable(&bytes)
                .finish(),
        );
        let genesis = genesis(&spec, digest);
        Ok(Self {
            genesis_id: genesis.id(),
            spec,
            digest,
            roster,
            wallet,
            genesis,
        })
    }

    /// The spec.
    pub fn spec(&self) -> &ChainSpec {
        &self.spec
    }

    /// The chain id.
    pub fn id(&self) -> ChainId {
        self.spec.chain_id
    }

    /// The spec's digest: nodes and signers with different ones do not work together.
    pub fn digest(&self) -> SpecDigest {
        self.digest
    }

    /// The members.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The Bitcoin wallet.
    pub fn wallet(&self) -> &FederationWallet {
        &self.wallet
    }

    /// The genesis header.
    pub fn genesis(&self) -> &Header {
        &self.genesis
    }

    /// The genesis header's id.
    pub fn genesis_id(&self) -> BlockId {
        self.genesis_id
    }

    /// Unix time in seconds of a slot's execution payload, or `None` where it does not fit.
    pub fn timestamp(&self, slot: Slot) -> Option<u64> {
        slot.start_ms(self.spec.slots.duration_ms)?
            .checked_div(1000)
    }
}

/// Genesis commits to the spec's digest in its body root, so that chains with different parameters never share an id.
fn genesis(spec: &ChainSpec, digest: SpecDigest) -> Header {
    Header {
        version: Header::VERSION,
        chain_id: spec.chain_id,
        epoch: spec.epoch,
        height: SideHeight::ZERO,
        slot: spec.slots.genesis,
        parent: BlockId::ZERO,
        history_root: HistoryRoot::ZERO,
        execution_hash: spec.execution.genesis_hash,
        bitcoin: Cursor {
            height: spec.bitcoin.start_height,
            hash: spec.bitcoin.start_hash,
            next_tx: WHOLE_BLOCK,
        },
        next_burn: BurnSequence::ZERO,
        pow: PowState {
            count: PowCount::ZERO,
            height: SideHeight::ZERO,
            // A header cannot hold its own id; zero stands for genesis here.
            id: BlockId::ZERO,
        },
        fees_distributed: Wei::ZERO,
        body_root: BodyRoot::new(digest.to_bytes()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
