//! The vault's proof, from a real execution client. The other proofs are tested where they are made: deposits in
//! `alys-chain`, histories in [`crate::chain_index`].

use super::*;
use alloy_primitives::{B256, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, Nibbles, TrieAccount, proof::verify_proof};
use alys_execution::genesis::{GenesisAccount, GenesisParameters, execution_genesis};
use alys_execution::{
    EmbeddedClient, EmbeddedConfig, EngineClient, EngineConfig, EthClient, ExecutionClient,
    JwtSecret, PayloadRequest, PayloadStatus,
};
use alys_protocol::body::Body;
use alys_protocol::bytes::{BodyRoot, Digest, EvmAddress, HistoryRoot};
use alys_protocol::execution::{ExecutionPayload, Withdrawal};
use alys_protocol::header::{Header, PowState};
use alys_protocol::peg::Cursor;
use alys_protocol::units::{BtcHeight, BurnSequence, ChainId, Epoch, Gwei, PowCount, Slot, Wei};
use bitcoin::hashes::Hash as _;

const CHAIN: ChainId = ChainId::new(727_272);
const GENESIS_TIME: u64 = 1_700_000_000;
const VAULT: EvmAddress = EvmAddress::new([0xfe; 20]);
const PARENT: BlockId = BlockId::new([3; 32]);

fn block(payload: ExecutionPayload) -> Block {
    Block {
        header: Header {
            version: Header::VERSION,
            chain_id: CHAIN,
            epoch: Epoch::new(0),
            height: payload.block_number,
            slot: Slot::ZERO,
            parent: PARENT,
            history_root: HistoryRoot::ZERO,
            execution_hash: payload.block_hash,
            bitcoin: Cursor {
                height: BtcHeight::new(0),
                hash: bitcoin::BlockHash::all_zeros(),
                next_tx: 0,
            },
            next_burn: BurnSequence::ZERO,
            pow: PowState {
                count: PowCount::ZERO,
                height: SideHeight::ZERO,
                id: BlockId::ZERO,
            },
            fees_distributed: Wei::ZERO,
            body_root: BodyRoot::ZERO,
        },
        body: Body::default(),
        payload,
    }
}

/// A block whose withdrawals give the vault so much, and the vault's account after it.
async fn executed(gwei: Option<u64>) -> (Block, Account) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("jwt.hex");
    JwtSecret::from_file_or_new(&secret).unwrap();
    let rich = GenesisAccount {
        balance: Wei::new(1),
        ..GenesisAccount::default()
    };
    // So many accounts that the proof has several nodes.
    let alloc = (1..=40).map(|number| (EvmAddress::new([number; 20]), rich.clone()));
    let genesis = execution_genesis(&GenesisParameters {
        chain_id: CHAIN,
        timestamp: GENESIS_TIME,
        gas_limit: 30_000_000,
        base_fee: Wei::new(1_000_000_000),
        alloc: alloc.collect(),
    })
    .unwrap();
    let config = EmbeddedConfig::new(folder.path().join("evm"), genesis, secret.clone());
    let client = EmbeddedClient::start(config).await.unwrap();
    let engine = EngineConfig {
        url: client.engine_url(),
        jwt_secret: secret,
    };
    let execution = ExecutionClient::new(EngineClient::new(&engine).unwrap());
    let eth = EthClient::new(&client.http_url()).unwrap();
    let genesis = client.genesis_hash();
    let withdrawals = gwei.map(|gwei| Withdrawal {
        index: 1 << 16,
        validator_index: 0,
        address: VAULT,
        amount: Gwei::new(gwei),
    });
    let request = PayloadRequest {
        parent: genesis,
        height: SideHeight::new(1),
        timestamp: GENESIS_TIME + 2,
        prev_randao: Digest::new([7; 32]),
        fee_recipient: VAULT,
        withdrawals: withdrawals.into_iter().collect(),
        parent_beacon_block_root: PARENT,
    };
    let payload = execution
        .build_payload(&request, genesis, genesis)
        .await
        .unwrap();
    let status = execution.validate(&payload, PARENT).await.unwrap();
    assert_eq!(status, PayloadStatus::Valid);
    let account = eth
        .account(VAULT, payload.block_hash, payload.state_root)
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    (block(payload), account)
}

#[tokio::test]
async fn the_vault_is_proven_under_the_parents_execution_hash() {
    for gwei in [Some(5_000_000_000), None] {
        let (parent, vault) = executed(gwei).await;
        let proof = fees_proof(&parent, vault).unwrap();
        let hash = keccak256(&*proof.execution_header);
        assert_eq!(hash.0, parent.header.execution_hash.to_bytes());
        let state_root = B256::new(parent.payload.state_root.to_bytes());
        let in_header = proof.execution_header.windows(32);
        assert_eq!(in_header.filter(|word| **word == state_root.0).count(), 1);
        let nodes: Vec<alloy_primitives::Bytes> = proof
            .account
            .iter()
            .map(|node| node.to_vec().into())
            .collect();
        assert!(nodes.len() > 1);
        let account = gwei.map(|gwei| {
            let balance = U256::from(gwei) * U256::from(1_000_000_000u64);
            alloy_rlp::encode(TrieAccount::new(0, balance, EMPTY_ROOT_HASH, KECCAK_EMPTY))
        });
        let key = Nibbles::unpack(keccak256(VAULT.as_bytes()));
        verify_proof(state_root, key, account, &nodes).unwrap();
    }
}

/// A Bitcoin block of its coinbase alone, which is so long.
fn bitcoin_block(coinbase: usize) -> bitcoin::Block {
    let coinbase = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn::default()],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::ZERO,
            script_pubkey: bitcoin::ScriptBuf::from_bytes(vec![0x51; coinbase]),
        }],
    };
    let mut block = bitcoin::Block {
        header: bitcoin::block::Header {
            version: bitcoin::block::Version::TWO,
            prev_blockhash: bitcoin::BlockHash::all_zeros(),
            merkle_root: bitcoin::TxMerkleNode::all_zeros(),
            time: 0,
            bits: bitcoin::CompactTarget::from_consensus(0),
            nonce: 0,
        },
        txdata: vec![coinbase],
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    block
}

#[test]
fn proofs_of_long_coinbases_end_where_a_blocks_may() {
    let prover = DepositProver::new(&bitcoin_block(990_000)).unwrap();
    let mut proofs = DepositProofs::default();
    for number in 0..4 {
        proofs.add(&prover, number, 0).unwrap();
    }
    let error = proofs.add(&prover, 4, 0).unwrap_err().to_string();
    assert!(error.contains(&MAX_PROOF_BYTES.to_string()), "{error}");
    assert_eq!(proofs.found.len(), 4);
}
