//! A checked chain of any size for tests, and headers on it. Keys are real; approvals' signatures only where a test
//! is about them.

// The benchmark uses only a part.
#![allow(dead_code)]

use alys_consensus::{BlockRef, VerifiedApproval, VerifiedCertificate, VerifiedProposal};
use alys_protocol::bls::{BlsSignature, SecretKey};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, BodyRoot, EvmAddress, ExecutionHash};
use alys_protocol::certificate::{Approval, Certificate};
use alys_protocol::header::Header;
use alys_protocol::history::Peaks;
use alys_protocol::spec::{
    BitcoinSpec, Chain, ChainSpec, DepositSpec, ExecutionSpec, MemberSpec, MiningSpec, PegOutSpec,
    SchnorrPublicKeyBytes, SlotSpec, Target,
};
use alys_protocol::units::{
    BtcHeight, ChainId, Epoch, MemberId, Sats, SatsPerKvb, SideHeight, Slot, Wei,
};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{Keypair, Secp256k1};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Length of a slot in milliseconds.
pub(crate) const SLOT_MS: u64 = 2000;
/// Slot of genesis.
pub(crate) const GENESIS_SLOT: u64 = 1000;
/// Final blocks without work before production needs it.
pub(crate) const MAX_WITHOUT_POW: u64 = 12;

/// A member's voting key.
pub(crate) fn voting_key(member: usize) -> SecretKey {
    SecretKey::from_seed(&[u8::try_from(member).unwrap() + 1; 32]).unwrap()
}

fn schnorr(number: usize) -> SchnorrPublicKeyBytes {
    let secp = Secp256k1::new();
    let pair = Keypair::from_seckey_slice(&secp, &[u8::try_from(number).unwrap() + 1; 32]).unwrap();
    SchnorrPublicKeyBytes::new(pair.x_only_public_key().0.serialize())
}

/// A chain with so many members, made once.
pub(crate) fn chain(members: usize) -> Arc<Chain> {
    static MADE: Mutex<BTreeMap<usize, Arc<Chain>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    made.entry(members)
        .or_insert_with(|| new_chain(members))
        .clone()
}

fn new_chain(members: usize) -> Arc<Chain> {
    let quorum = 2 * members / 3 + 1;
    let mut pow_limit = [0xff; 32];
    pow_limit[0] = 0x7f;
    let spec = ChainSpec {
        name: "simulated".into(),
        chain_id: ChainId::new(727_272),
        epoch: Epoch::new(0),
        slots: SlotSpec {
            duration_ms: SLOT_MS,
            genesis: Slot::new(GENESIS_SLOT),
        },
        bitcoin: BitcoinSpec {
            network: bitcoin::Network::Regtest,
            start_height: BtcHeight::new(100),
            start_hash: bitcoin::BlockHash::all_zeros(),
            threshold: u16::try_from(quorum).unwrap(),
            recovery_threshold: 1,
            recovery_keys: vec![schnorr(200)],
            recovery_timelock_blocks: 10_000,
        },
        deposits: DepositSpec {
            confirmations: 6,
            min_sats: Sats::new(10_000),
            max_withdrawals: 256,
        },
        pegout: PegOutSpec {
            min_sats: Sats::new(100_000_000),
            max_sats: Sats::new(1_000_000_000),
            max_batch_value_sats: Sats::new(1_000_000_000),
            max_burns: 10,
            max_inputs: 10,
            batch_interval_slots: 10,
            max_fee_rate_sats_per_kvb: SatsPerKvb::new(100_000),
            refresh_margin_blocks: 1000,
        },
        mining: MiningSpec {
            aux_chain_id: 1,
            pow_limit: Target::new(pow_limit),
            anchor_target: Target::new(pow_limit),
            slots_per_record: 10,
            half_life_slots: 100,
            max_blocks_without_pow: MAX_WITHOUT_POW,
        },
        execution: ExecutionSpec {
            genesis_hash: ExecutionHash::ZERO,
            vault: EvmAddress::new([1; 20]),
            bridge: alys_protocol::execution::BRIDGE,
            gas_limit: 30_000_000,
            base_fee_wei: Wei::new(1_000_000),
        },
        members: (0..members)
            .map(|member| MemberSpec {
                name: format!("member {member}"),
                bls: voting_key(member).public_key().to_bytes(),
                bls_possession: voting_key(member).prove_possession(),
                schnorr: schnorr(member),
                fee_recipient: EvmAddress::new([u8::try_from(member).unwrap() + 10; 20]),
            })
            .collect(),
    };
    Arc::new(Chain::new(spec).unwrap())
}

/// Members `0..count` as a set of signers.
pub(crate) fn first(count: usize) -> impl Iterator<Item = MemberId> {
    (0..u16::try_from(count).unwrap()).map(MemberId::new)
}

/// A certificate by these members, with no real signature.
pub(crate) fn certificate(
    chain: &Chain,
    block: BlockId,
    members: impl IntoIterator<Item = MemberId>,
) -> Certificate {
    let mut signers = vec![0u8; chain.roster().len().div_ceil(8)];
    for member in members {
        signers[usize::from(member.get() / 8)] |= 1 << (member.get() % 8);
    }
    Certificate {
        block,
        signers: BoundedVec::new(signers).unwrap(),
        signature: BlsSignature::ZERO,
    }
}

/// A certificate by the smallest quorum.
pub(crate) fn certified(chain: &Chain, block: BlockId) -> VerifiedCertificate {
    let members = first(chain.roster().quorum());
    VerifiedCertificate::assume_verified(certificate(chain, block, members))
}

/// An approval with no real signature.
pub(crate) fn approval(member: usize, block: BlockId) -> VerifiedApproval {
    VerifiedApproval::assume_verified(Approval {
        block,
        member: MemberId::new(u16::try_from(member).unwrap()),
        signature: BlsSignature::ZERO,
    })
}

/// The header of a child; `salt` makes different headers of one place different.
pub(crate) fn child_header(
    chain: &Chain,
    parent: &Header,
    parent_history: &Peaks,
    slot: Slot,
    salt: u64,
) -> Header {
    let id = parent.id();
    let mut body_root = [0; 32];
    body_root[..8].copy_from_slice(&salt.to_le_bytes());
    Header {
        height: parent.height.checked_add(1).unwrap(),
        slot,
        parent: id,
        history_root: parent_history
            .append(chain.id(), id)
            .unwrap()
            .root(chain.id()),
        body_root: BodyRoot::new(body_root),
        ..parent.clone()
    }
}

/// Blocks that a test makes, with the parents' certificates that their bodies would carry.
pub(crate) struct Blocks {
    pub(crate) chain: Arc<Chain>,
    made: BTreeMap<BlockId, (Header, Peaks)>,
}

impl Blocks {
    pub(crate) fn new(chain: &Arc<Chain>) -> Self {
        let genesis = (chain.genesis().clone(), Peaks::empty());
        Self {
            chain: Arc::clone(chain),
            made: BTreeMap::from([(chain.genesis_id(), genesis)]),
        }
    }

    pub(crate) fn header(&self, id: BlockId) -> &Header {
        &self.made[&id].0
    }

    pub(crate) fn block_ref(&self, id: BlockId) -> BlockRef {
        BlockRef {
            height: self.header(id).height,
            id,
        }
    }

    /// A block `slot` slots after genesis.
    pub(crate) fn child(&mut self, parent: BlockId, slot: u64, salt: u64) -> VerifiedProposal {
        self.child_with(parent, slot, salt, |_| {})
    }

    /// The same with a change to the header.
    pub(crate) fn child_with(
        &mut self,
        parent: BlockId,
        slot: u64,
        salt: u64,
        change: impl FnOnce(&mut Header),
    ) -> VerifiedProposal {
        let (parent_header, history) = &self.made[&parent];
        let slot = Slot::new(GENESIS_SLOT + slot);
        let mut header = child_header(&self.chain, parent_header, history, slot, salt);
        change(&mut header);
        let history = history.append(self.chain.id(), parent).unwrap();
        self.made.insert(header.id(), (header.clone(), history));
        let parent_certificate =
            (parent != self.chain.genesis_id()).then(|| certified(&self.chain, parent));
        VerifiedProposal::assume_verified(header, BlsSignature::ZERO, parent_certificate)
    }
}

/// A height.
pub(crate) fn height(height: u64) -> SideHeight {
    SideHeight::new(height)
}
