//! A chain spec, a toy Bitcoin and a toy side chain for tests. The toys keep only what the rules look at.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of the kit, and tests may unwrap"
)]

pub mod bitcoin_chain;
pub mod side_chain;

use alys_protocol::auxpow::{AuxPow, MerkleBranch, commitment};
use alys_protocol::bls::SecretKey;
use alys_protocol::body::PowRecord;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, EvmAddress, ExecutionHash};
use alys_protocol::header::bundle_hash;
use alys_protocol::spec::{
    BitcoinSpec, Chain, ChainSpec, DepositSpec, ExecutionSpec, MemberSpec, MiningSpec, PegOutSpec,
    SchnorrPublicKeyBytes, SlotSpec, Target,
};
use alys_protocol::units::{BtcHeight, ChainId, Epoch, Sats, SatsPerKvb, Slot, Wei};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{Keypair, Secp256k1, SecretKey as BitcoinKey};
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness, absolute, block, transaction,
};
use std::sync::LazyLock;

pub const MEMBERS: u8 = 4;
pub const VAULT: EvmAddress = EvmAddress::new([0xfe; 20]);
pub const BRIDGE: EvmAddress = EvmAddress::new([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa1, 0x75,
]);
pub const MINER: EvmAddress = EvmAddress::new([0x33; 20]);
pub const GAS_LIMIT: u64 = 30_000_000;
/// Height of the Bitcoin block that genesis counts as consumed.
pub const START: u32 = 100;

pub fn schnorr(seed: u8) -> SchnorrPublicKeyBytes {
    let key = BitcoinKey::from_slice(&[seed; 32]).unwrap();
    let pair = Keypair::from_secret_key(&Secp256k1::new(), &key);
    SchnorrPublicKeyBytes::new(pair.x_only_public_key().0.serialize())
}

fn member(number: u8) -> MemberSpec {
    let bls = SecretKey::from_seed(&[number; 32]).unwrap();
    MemberSpec {
        name: format!("member-{number}"),
        bls: bls.public_key().to_bytes(),
        bls_possession: bls.prove_possession(),
        schnorr: schnorr(number),
        fee_recipient: EvmAddress::new([number; 20]),
    }
}

pub fn spec() -> ChainSpec {
    ChainSpec {
        name: "test".to_owned(),
        chain_id: ChainId::new(212_121),
        epoch: Epoch::new(0),
        slots: SlotSpec {
            duration_ms: 2000,
            genesis: Slot::new(1000),
        },
        bitcoin: BitcoinSpec {
            network: Network::Regtest,
            start_height: BtcHeight::new(START),
            start_hash: bitcoin_chain::start_hash(),
            threshold: 3,
            recovery_threshold: 2,
            recovery_keys: vec![schnorr(101), schnorr(102), schnorr(103)],
            recovery_timelock_blocks: 200,
        },
        deposits: DepositSpec {
            confirmations: 3,
            min_sats: Sats::new(10_000),
            max_withdrawals: 9,
        },
        pegout: PegOutSpec {
            min_sats: Sats::new(20_000),
            max_sats: Sats::new(100_000_000),
            max_batch_value_sats: Sats::new(150_000_000),
            max_burns: 3,
            max_inputs: 4,
            batch_interval_slots: 2,
            max_fee_rate_sats_per_kvb: SatsPerKvb::new(20_000),
            refresh_margin_blocks: 20,
        },
        mining: MiningSpec {
            aux_chain_id: 0xa175,
            pow_limit: Target::new([0xff; 32]),
            anchor_target: Target::new([0xff; 32]),
            slots_per_record: 1,
            half_life_slots: 10_000,
            max_blocks_without_pow: 6,
        },
        execution: ExecutionSpec {
            genesis_hash: ExecutionHash::new([9; 32]),
            vault: VAULT,
            bridge: BRIDGE,
            gas_limit: GAS_LIMIT,
            base_fee_wei: Wei::new(1_000_000_000),
        },
        members: (1..=MEMBERS).map(member).collect(),
    }
}

pub fn chain() -> &'static Chain {
    static CHAIN: LazyLock<Chain> = LazyLock::new(|| Chain::new(spec()).unwrap());
    &CHAIN
}

pub fn federation() -> ScriptBuf {
    chain().wallet().script_pubkey().clone()
}

pub fn transaction(inputs: Vec<OutPoint>, outputs: Vec<(ScriptBuf, u64)>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: inputs
            .into_iter()
            .map(|previous_output| TxIn {
                previous_output,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[1u8; 64]]),
            })
            .collect(),
        output: outputs
            .into_iter()
            .map(|(script_pubkey, value)| TxOut {
                value: Amount::from_sat(value),
                script_pubkey,
            })
            .collect(),
    }
}

/// `6a14` and the address.
pub fn recipient_script(address: EvmAddress) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x6a, 0x14][..], address.as_bytes()].concat())
}

/// An output of somebody else, different for each number.
pub fn foreign(number: u32) -> OutPoint {
    let mut txid = [0xee; 32];
    txid[..4].copy_from_slice(&number.to_le_bytes());
    OutPoint::new(bitcoin::Txid::from_byte_array(txid), 0)
}

/// A deposit for `address`; `number` makes it unique.
pub fn deposit(number: u32, sats: u64, address: EvmAddress) -> Transaction {
    transaction(
        vec![foreign(number)],
        vec![(federation(), sats), (recipient_script(address), 0)],
    )
}

/// A P2WPKH script, different for each number.
pub fn payee(number: u64) -> ScriptBuf {
    let mut script = vec![0, 20];
    script.extend([0x77; 12]);
    script.extend(number.to_be_bytes());
    ScriptBuf::from_bytes(script)
}

/// A share over a range, twice as good as the test spec's targets ask for.
pub fn share(start: BlockId, end: BlockId, fee_recipient: EvmAddress) -> PowRecord {
    let bundle = bundle_hash(chain().id(), start, end, fee_recipient);
    let script = [&[3, 1, 2, 3][..], &commitment(&bundle)].concat();
    let mut coinbase = transaction(vec![OutPoint::null()], vec![(payee(0), 50)]);
    coinbase.input[0].script_sig = ScriptBuf::from_bytes(script);
    coinbase.input[0].witness = Witness::new();
    let merkle_root = TxMerkleNode::from_byte_array(coinbase.compute_txid().to_byte_array());
    let branch = || MerkleBranch {
        hashes: Vec::new(),
        index: 0,
    };
    let mut auxpow = AuxPow {
        coinbase,
        block_hash: BlockHash::all_zeros(),
        coinbase_branch: branch(),
        chain_branch: branch(),
        parent: block::Header {
            version: block::Version::TWO,
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root,
            time: 0,
            bits: CompactTarget::from_consensus(0),
            nonce: 0,
        },
    };
    while auxpow.work_hash() > Target::new([0x7f; 32]) {
        auxpow.parent.nonce += 1;
    }
    PowRecord {
        start,
        fee_recipient,
        auxpow: BoundedVec::new(auxpow.encode()).unwrap(),
    }
}

/// The ABI encoding of `PegOutRequested`'s data.
pub fn event_data(script: &[u8], sats: u64) -> Vec<u8> {
    let word = |number: u64| {
        let mut word = [0u8; 32];
        word[24..].copy_from_slice(&number.to_be_bytes());
        word
    };
    let mut data = [word(64), word(sats), word(script.len() as u64)].concat();
    data.extend_from_slice(script);
    data.resize(data.len().next_multiple_of(32), 0);
    data
}
