//! The chain spec: every parameter that members agree on before genesis. A file is a [`ChainSpec`]; only a checked
//! one becomes a [`Chain`], which the rest of the code uses.

use crate::bls::{BlsError, BlsPublicKeyBytes, BlsSignature, PublicKey};
use crate::bytes::{
    BlockId, BodyRoot, EvmAddress, ExecutionHash, HistoryRoot, SpecDigest, byte_string,
};
use crate::certificate::MAX_MEMBERS;
use crate::federation::{FederationWallet, Recovery, WalletError};
use crate::hash::{self, TaggedHasher};
use crate::header::{Header, PowState};
use crate::peg::{Cursor, MAX_BATCH_BURNS, MAX_BATCH_INPUTS, WHOLE_BLOCK, block_hash, fee};
use crate::units::{
    BtcHeight, BurnSequence, ChainId, Epoch, MemberId, PowCount, Sats, SatsPerKvb, SideHeight,
    Slot, Wei,
};
use alloc::string::String;
use alloc::vec::Vec;
use bitcoin::secp256k1::{Secp256k1, XOnlyPublicKey};
use bitcoin::{BlockHash, Network};
use serde::{Deserialize, Serialize};
use thiserror::Error;

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
    /// Address of the bridge contract.
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

/// One checked member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its place in the roster.
    pub id: MemberId,
    /// Name for people.
    pub name: String,
    /// BLS key; its possession proof was verified.
    pub bls: PublicKey,
    /// Schnorr key in the Bitcoin wallet.
    pub schnorr: XOnlyPublicKey,
    /// Where the member's share of fees goes.
    pub fee_recipient: EvmAddress,
}

/// The checked members of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    members: Vec<Member>,
}

impl Roster {
    /// Checks members: distinct valid keys, each with its proof of possession.
    ///
    /// # Errors
    /// - [`SpecError`] for the first member that fails.
    pub fn new(members: &[MemberSpec]) -> Result<Self, SpecError> {
        if members.is_empty() || members.len() > MAX_MEMBERS {
            return Err(SpecError::Members {
                found: members.len(),
            });
        }
        let mut checked: Vec<Member> = Vec::with_capacity(members.len());
        for (spec, id) in members.iter().zip(0u16..) {
            let bad = |error| SpecError::MemberBls {
                member: spec.name.clone(),
                error,
            };
            let bls = PublicKey::from_bytes(&spec.bls).map_err(bad)?;
            bls.verify_possession(&spec.bls_possession).map_err(bad)?;
            let schnorr = x_only(&spec.schnorr)?;
            if checked
                .iter()
                .any(|other| other.bls == bls || other.schnorr == schnorr)
            {
                return Err(SpecError::DuplicateMember(spec.name.clone()));
            }
            checked.push(Member {
                id: MemberId::new(id),
                name: spec.name.clone(),
                bls,
                schnorr,
                fee_recipient: spec.fee_recipient,
            });
        }
        Ok(Self { members: checked })
    }

    /// The members, in order of their ids.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One member.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(usize::from(id.get()))
    }

    /// Number of members (n).
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Never true: a roster has at least one member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Approvals that certify a block: `q = floor(2n / 3) + 1`.
    pub fn quorum(&self) -> usize {
        self.len()
            .saturating_mul(2)
            .checked_div(3)
            .unwrap_or_default()
            .saturating_add(1)
    }

    /// Byzantine members that are tolerated: `f = n - q`.
    pub fn faults(&self) -> usize {
        self.len().saturating_sub(self.quorum())
    }

    /// Who proposes in a slot: `roster[slot mod n]`.
    pub fn leader(&self, slot: Slot) -> MemberId {
        let place = slot
            .get()
            .checked_rem(self.len() as u64)
            .unwrap_or_default();
        // Below MAX_MEMBERS.
        MemberId::new(u16::try_from(place).unwrap_or_default())
    }
}

/// A chain spec that must not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// No members, or too many.
    #[error("expected 1 to {MAX_MEMBERS} members, found {found}")]
    Members {
        /// Members found.
        found: usize,
    },
    /// A BLS key or possession proof does not hold.
    #[error("member {member}: {error}")]
    MemberBls {
        /// The member's name.
        member: String,
        /// What is wrong.
        error: BlsError,
    },
    /// A Schnorr key is not on the curve.
    #[error("{0} is not an x-only public key (BIP-340)")]
    SchnorrKey(SchnorrPublicKeyBytes),
    /// A key of another member.
    #[error("member {0} repeats another member's key")]
    DuplicateMember(String),
    /// Slots must be whole seconds.
    #[error("slot duration must be a positive multiple of 1000 ms, found {found} ms")]
    SlotDuration {
        /// Duration found.
        found: u64,
    },
    /// A Bitcoin threshold that is unsafe or not live: `max(f, floor(n/2)) < m <= n - f` (design 5).
    #[error(
        "the Bitcoin threshold of {members} members must be above {above} and at most {at_most}, found {found}"
    )]
    Threshold {
        /// Members.
        members: usize,
        /// Exclusive lower bound.
        above: usize,
        /// Inclusive upper bound.
        at_most: usize,
        /// Threshold found.
        found: u16,
    },
    /// The wallet cannot be made.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// A number outside its range.
    #[error("{field}: expected {expected}, found {found}")]
    Range {
        /// The key in the file.
        field: &'static str,
        /// What is allowed.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The smallest burn could not pay its own fee: `min >= dust + max_fee_rate * vsize(max_inputs, 1 burn)` (design 9).
    #[error(
        "pegout.min_sats must be at least {expected} to pay dust and the highest fee, found {found}"
    )]
    MinPegOut {
        /// The smallest that would do.
        expected: Sats,
        /// What was found.
        found: Sats,
    },
    /// Mainnet parameters are not decided yet.
    #[error("bitcoin.network: expected bitcoin, testnet4, signet or regtest, found {0}")]
    Network(Network),
    /// The spec cannot be encoded for its digest.
    #[error("the chain spec cannot be encoded")]
    Encode,
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
        let secp = Secp256k1::verification_only();
        let roster = Roster::new(&spec.members)?;
        check_threshold(&spec, &roster)?;
        let recovery = Recovery {
            threshold: spec.bitcoin.recovery_threshold,
            keys: spec
                .bitcoin
                .recovery_keys
                .iter()
                .map(x_only)
                .collect::<Result<_, _>>()?,
            timelock_blocks: spec.bitcoin.recovery_timelock_blocks,
        };
        let keys = roster
            .members()
            .iter()
            .map(|member| member.schnorr)
            .collect();
        let wallet = FederationWallet::new(
            &secp,
            spec.chain_id,
            keys,
            spec.bitcoin.threshold,
            &recovery,
        )?;
        check_ranges(&spec, &roster)?;
        check_min_pegout(&spec, &wallet)?;
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

fn x_only(bytes: &SchnorrPublicKeyBytes) -> Result<XOnlyPublicKey, SpecError> {
    XOnlyPublicKey::from_slice(bytes.as_bytes()).map_err(|_| SpecError::SchnorrKey(*bytes))
}

fn check_threshold(spec: &ChainSpec, roster: &Roster) -> Result<(), SpecError> {
    let members = roster.len();
    let above = roster.faults().max(members / 2);
    let at_most = members.saturating_sub(roster.faults());
    let threshold = usize::from(spec.bitcoin.threshold);
    if threshold <= above || threshold > at_most {
        return Err(SpecError::Threshold {
            members,
            above,
            at_most,
            found: spec.bitcoin.threshold,
        });
    }
    Ok(())
}

fn in_range(
    field: &'static str,
    found: u64,
    range: core::ops::RangeInclusive<u64>,
) -> Result<(), SpecError> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(SpecError::Range {
        field,
        expected: alloc::format!("{} to {}", range.start(), range.end()),
        found: alloc::format!("{found}"),
    })
}

fn check_ranges(spec: &ChainSpec, roster: &Roster) -> Result<(), SpecError> {
    let duration = spec.slots.duration_ms;
    if duration == 0 || !duration.is_multiple_of(1000) {
        return Err(SpecError::SlotDuration { found: duration });
    }
    match spec.bitcoin.network {
        Network::Bitcoin | Network::Testnet4 | Network::Signet | Network::Regtest => {}
        other => return Err(SpecError::Network(other)),
    }
    let pegout = &spec.pegout;
    let mining = &spec.mining;
    in_range("chain_id", spec.chain_id.get(), 1..=u64::MAX / 2 - 36)?;
    in_range(
        "deposits.confirmations",
        u64::from(spec.deposits.confirmations),
        1..=10_000,
    )?;
    in_range(
        "deposits.min_sats",
        spec.deposits.min_sats.get(),
        330..=21_000_000 * 100_000_000,
    )?;
    in_range(
        "deposits.max_withdrawals",
        u64::from(spec.deposits.max_withdrawals),
        (roster.len() as u64).saturating_add(2)..=u64::from(u16::MAX),
    )?;
    in_range(
        "pegout.max_sats",
        pegout.max_sats.get(),
        pegout.min_sats.get()..=21_000_000 * 100_000_000,
    )?;
    in_range(
        "pegout.max_batch_value_sats",
        pegout.max_batch_value_sats.get(),
        pegout.max_sats.get()..=21_000_000 * 100_000_000,
    )?;
    in_range(
        "pegout.max_burns",
        u64::from(pegout.max_burns),
        1..=MAX_BATCH_BURNS as u64,
    )?;
    in_range(
        "pegout.max_inputs",
        u64::from(pegout.max_inputs),
        1..=MAX_BATCH_INPUTS as u64,
    )?;
    in_range(
        "pegout.max_fee_rate_sats_per_kvb",
        pegout.max_fee_rate_sats_per_kvb.get(),
        1000..=100_000_000,
    )?;
    in_range(
        "pegout.refresh_margin_blocks",
        u64::from(pegout.refresh_margin_blocks),
        1..=u64::from(spec.bitcoin.recovery_timelock_blocks).saturating_sub(1),
    )?;
    in_range(
        "mining.slots_per_record",
        mining.slots_per_record,
        1..=1 << 32,
    )?;
    in_range(
        "mining.half_life_slots",
        mining.half_life_slots,
        1..=1 << 32,
    )?;
    in_range(
        "mining.max_blocks_without_pow",
        mining.max_blocks_without_pow,
        1..=1 << 32,
    )?;
    if mining.anchor_target > mining.pow_limit || mining.anchor_target == Target::ZERO {
        return Err(SpecError::Range {
            field: "mining.anchor_target",
            expected: alloc::format!("above zero, at most {}", mining.pow_limit),
            found: alloc::format!("{}", mining.anchor_target),
        });
    }
    in_range(
        "execution.gas_limit",
        spec.execution.gas_limit,
        5_000_000..=1 << 40,
    )?;
    Ok(())
}

/// The largest scriptPubKey that a burn pays: P2WSH and P2TR have 34 bytes.
const LONGEST_TEMPLATE: [u8; 34] = [0; 34];

fn check_min_pegout(spec: &ChainSpec, wallet: &FederationWallet) -> Result<(), SpecError> {
    let inputs = usize::try_from(spec.pegout.max_inputs).unwrap_or(usize::MAX);
    let change = wallet.script_pubkey().as_bytes();
    let vsize = wallet.batch_vsize(inputs, [&LONGEST_TEMPLATE[..], change]);
    let expected = fee(spec.pegout.max_fee_rate_sats_per_kvb, vsize).map_or(Sats::MAX, |fee| {
        fee.saturating_add(wallet.dust().get().max(546))
    });
    if spec.pegout.min_sats < expected {
        return Err(SpecError::MinPegOut {
            expected,
            found: spec.pegout.min_sats,
        });
    }
    Ok(())
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
