//! What the tests share: a client in a temporary folder, a chain of payloads, signed transactions.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use alloy_primitives::{Address, Bytes, U256, keccak256};
use alys_execution::genesis::{GenesisAccount, GenesisParameters, execution_genesis};
use alys_execution::{
    EmbeddedClient, EmbeddedConfig, EngineClient, EngineConfig, EthClient, ExecutionClient, Heads,
    JwtSecret, PayloadRequest, PayloadStatus,
};
use alys_protocol::bytes::{BlockId, Digest, EvmAddress, ExecutionHash};
use alys_protocol::execution::{ExecutionPayload, Withdrawal};
use alys_protocol::units::{ChainId, Gwei, SideHeight, Wei};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub const CHAIN_ID: u64 = 727_272;
pub const GENESIS_TIME: u64 = 1_700_000_000;
pub const VAULT: EvmAddress = EvmAddress::new([0xfe; 20]);
pub const ETHER: u128 = 1_000_000_000_000_000_000;

pub fn genesis() -> Value {
    let rich = GenesisAccount {
        balance: Wei::new(1_000 * ETHER),
        ..GenesisAccount::default()
    };
    execution_genesis(&GenesisParameters {
        chain_id: ChainId::new(CHAIN_ID),
        timestamp: GENESIS_TIME,
        gas_limit: 30_000_000,
        base_fee: Wei::new(1_000_000_000),
        alloc: vec![(Wallet::new(1).address(), rich)],
    })
    .unwrap()
}

pub struct Node {
    pub client: EmbeddedClient,
    pub execution: ExecutionClient,
    pub eth: EthClient,
    pub folder: PathBuf,
}

impl Node {
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, |_| {}).await
    }

    pub async fn start_with(folder: &Path, change: impl FnOnce(&mut EmbeddedConfig)) -> Self {
        let secret = folder.join("jwt.hex");
        JwtSecret::from_file_or_new(&secret).unwrap();
        let mut config = EmbeddedConfig::new(folder.join("evm"), genesis(), secret.clone());
        change(&mut config);
        let client = EmbeddedClient::start(config).await.unwrap();
        let engine = EngineConfig {
            url: client.engine_url(),
            jwt_secret: secret,
        };
        Self {
            execution: ExecutionClient::new(EngineClient::new(&engine).unwrap()),
            eth: EthClient::new(&client.http_url()).unwrap(),
            client,
            folder: folder.to_owned(),
        }
    }

    pub async fn stop(self) {
        self.client.shutdown().await.unwrap();
    }

    /// Calls a method as a wallet would.
    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        rpc(&self.client.http_url(), method, params).await
    }
}

pub async fn rpc(url: &str, method: &str, params: Value) -> Value {
    let body = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = reqwest::Client::new()
        .post(url)
        .json(&body)
        .send()
        .await
        .unwrap();
    answer.json::<Value>().await.unwrap()
}

/// The tip of a chain: what the next block is built on.
#[derive(Clone, Copy, Debug)]
pub struct Tip {
    pub hash: ExecutionHash,
    pub height: u64,
    pub timestamp: u64,
}

impl Tip {
    pub fn genesis(node: &Node) -> Self {
        Self {
            hash: node.client.genesis_hash(),
            height: 0,
            timestamp: GENESIS_TIME,
        }
    }

    pub fn of(payload: &ExecutionPayload) -> Self {
        Self {
            hash: payload.block_hash,
            height: payload.block_number.get(),
            timestamp: payload.timestamp,
        }
    }

    /// Stands for the id of the side block at this height.
    pub fn side_id(&self) -> BlockId {
        BlockId::new([u8::try_from(self.height % 251).unwrap(); 32])
    }

    pub fn request(&self, withdrawals: Vec<Withdrawal>) -> PayloadRequest {
        PayloadRequest {
            parent: self.hash,
            height: SideHeight::new(self.height + 1),
            timestamp: self.timestamp + 2,
            prev_randao: Digest::new([7; 32]),
            fee_recipient: VAULT,
            withdrawals,
            parent_beacon_block_root: self.side_id(),
        }
    }

    pub fn withdrawal(&self, place: u64, to: EvmAddress, gwei: u64) -> Withdrawal {
        Withdrawal {
            index: ((self.height + 1) << 16) + place,
            validator_index: 0,
            address: to,
            amount: Gwei::new(gwei),
        }
    }

    /// Builds the next block; it is not validated yet, nor the head.
    pub async fn build(&self, node: &Node, withdrawals: Vec<Withdrawal>) -> ExecutionPayload {
        let genesis = node.client.genesis_hash();
        node.execution
            .build_payload(&self.request(withdrawals), genesis, genesis)
            .await
            .unwrap()
    }
}

pub async fn validate(node: &Node, payload: &ExecutionPayload, parent: &Tip) {
    let status = node
        .execution
        .validate(payload, parent.side_id())
        .await
        .unwrap();
    assert_eq!(
        status,
        PayloadStatus::Valid,
        "block {}",
        payload.block_number
    );
}

pub async fn follow(node: &Node, latest: ExecutionHash) {
    let genesis = node.client.genesis_hash();
    node.execution
        .set_heads(Heads {
            latest,
            safe: genesis,
            finalized: genesis,
        })
        .await
        .unwrap();
}

/// Builds, validates and follows the next block.
pub async fn extend(node: &Node, tip: Tip, withdrawals: Vec<Withdrawal>) -> Tip {
    let payload = tip.build(node, withdrawals).await;
    validate(node, &payload, &tip).await;
    follow(node, payload.block_hash).await;
    Tip::of(&payload)
}

/// A key and its transactions.
pub struct Wallet(SecretKey);

impl Wallet {
    pub fn new(number: u8) -> Self {
        Self(SecretKey::from_byte_array(&[number; 32]).unwrap())
    }

    pub fn address(&self) -> EvmAddress {
        let key = PublicKey::from_secret_key(SECP256K1, &self.0).serialize_uncompressed();
        EvmAddress::new(keccak256(&key[1..])[12..].try_into().unwrap())
    }

    pub fn contract(&self, nonce: u64) -> EvmAddress {
        EvmAddress::new(Address::new(self.address().to_bytes()).create(nonce).into())
    }

    /// A signed EIP-1559 transaction; a deployment where `to` is `None`.
    pub fn transaction(
        &self,
        nonce: u64,
        to: Option<EvmAddress>,
        value: u128,
        data: &[u8],
    ) -> Vec<u8> {
        let to = to.map_or_else(Bytes::new, |to| Bytes::copy_from_slice(to.as_bytes()));
        let fields: Vec<Vec<u8>> = vec![
            alloy_rlp::encode(CHAIN_ID),
            alloy_rlp::encode(nonce),
            alloy_rlp::encode(1_000_000_000u128),
            alloy_rlp::encode(100_000_000_000u128),
            alloy_rlp::encode(300_000u64),
            alloy_rlp::encode(to),
            alloy_rlp::encode(value),
            alloy_rlp::encode(Bytes::copy_from_slice(data)),
            vec![0xc0],
        ];
        let digest = keccak256(typed(&fields));
        let signature = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &self.0);
        let (parity, words) = signature.serialize_compact();
        let mut signed = fields;
        signed.push(alloy_rlp::encode(i32::from(parity) == 1));
        signed.push(alloy_rlp::encode(U256::from_be_slice(&words[..32])));
        signed.push(alloy_rlp::encode(U256::from_be_slice(&words[32..])));
        typed(&signed)
    }
}

fn typed(fields: &[Vec<u8>]) -> Vec<u8> {
    let payload = fields.concat();
    let mut bytes = vec![2];
    alloy_rlp::Header {
        list: true,
        payload_length: payload.len(),
    }
    .encode(&mut bytes);
    bytes.extend(payload);
    bytes
}

pub fn transaction_hash(transaction: &[u8]) -> Digest {
    Digest::new(keccak256(transaction).0)
}

/// Topic of the event that [`emitter`] writes.
pub const EVENT: Digest = Digest::new([0xee; 32]);

/// Code that makes a contract which writes one log, of 42, whenever it is called.
pub fn emitter() -> Vec<u8> {
    let mut runtime = vec![0x60, 0x2a, 0x5f, 0x52, 0x7f];
    runtime.extend(EVENT.as_bytes());
    runtime.extend([0x60, 0x20, 0x5f, 0xa1, 0x00]);
    let mut code = vec![
        0x60,
        u8::try_from(runtime.len()).unwrap(),
        0x80,
        0x60,
        0x09,
        0x5f,
        0x39,
        0x5f,
        0xf3,
    ];
    code.extend(runtime);
    code
}
