//! The EVM JSON-RPC side, the same for every client.
//!
//! Clients prune, and some answer for a block that they no longer hold with the state of another one. So whatever
//! consensus or the peg rests on comes with a proof that is checked here against the block's own header:
//! [`EthClient::account`] and [`EthClient::block_receipts`]. The other calls are for people, tools and logs.

mod wire;

use self::wire::{BlockJson, LogJson, ProofJson, ReceiptJson};
use crate::payload::{address, digest, hash};
use crate::receipt::{Log, Receipt, receipts_root};
use crate::rpc::{Repeat, RpcError, Transport};
use alloy_primitives::{B256, Bytes, U64, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, Nibbles, TrieAccount};
use alys_protocol::bytes::{BlockId, Digest, EvmAddress, ExecutionHash};
use alys_protocol::units::{ChainId, SideHeight, Wei};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use thiserror::Error;

const MAX_RESPONSE_BYTES: usize = 64 << 20;
const LIMIT: Duration = Duration::from_secs(10);

/// A question about the chain that got no trustworthy answer.
#[derive(Debug, Error)]
pub enum EthError {
    /// The call failed, or its answer has another shape.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The client does not have the block.
    #[error("{method}: the execution client does not have block {block}")]
    NoBlock {
        /// The method called.
        method: &'static str,
        /// The block asked for.
        block: String,
    },
    /// The answer is for another block than the one asked for, or it was altered: it does not fit the header.
    #[error("{method} at block {block}: expected {expected}, found {found}")]
    Unproven {
        /// The method called.
        method: &'static str,
        /// The block asked for.
        block: ExecutionHash,
        /// What the header commits to.
        expected: String,
        /// What came.
        found: String,
    },
    /// An amount above 2^128 wei: there is not that much.
    #[error("{method}: expected an amount below 2^128 wei, found {found}")]
    Amount {
        /// The method called.
        method: &'static str,
        /// What came.
        found: U256,
    },
}

/// Which block a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockRef {
    /// That one (EIP-1898), canonical or not.
    Hash(ExecutionHash),
    /// The canonical one at this height.
    Height(SideHeight),
    /// The certified head.
    Latest,
    /// The newest final block.
    Safe,
    /// The newest proof-of-work final block.
    Finalized,
}

impl BlockRef {
    fn to_json(self) -> Value {
        match self {
            Self::Hash(block) => json!({ "blockHash": hash(block) }),
            Self::Height(_) | Self::Latest | Self::Safe | Self::Finalized => {
                Value::from(self.name())
            }
        }
    }

    fn name(self) -> String {
        match self {
            Self::Hash(block) => block.to_string(),
            Self::Height(height) => format!("{:#x}", height.get()),
            Self::Latest => "latest".to_owned(),
            Self::Safe => "safe".to_owned(),
            Self::Finalized => "finalized".to_owned(),
        }
    }
}

/// A block without its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionBlock {
    /// Its hash.
    pub hash: ExecutionHash,
    /// Its parent's.
    pub parent: ExecutionHash,
    /// Its height.
    pub height: SideHeight,
    /// Unix seconds.
    pub timestamp: u64,
    /// State after it.
    pub state_root: Digest,
    /// Root of its receipts.
    pub receipts_root: Digest,
    /// Gas limit.
    pub gas_limit: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Base fee per gas.
    pub base_fee_per_gas: Wei,
    /// Id of the side chain's parent (zero in the genesis).
    pub parent_beacon_block_root: BlockId,
    /// Hashes of its transactions.
    pub transactions: Vec<Digest>,
}

/// An account, proven to be part of a block's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its balance.
    pub balance: Wei,
    /// Transactions sent (or contracts made).
    pub nonce: u64,
    /// Hash of its code.
    pub code_hash: Digest,
    /// Root of its storage.
    pub storage_root: Digest,
    /// Merkle-Patricia nodes from the state root to it, root first.
    pub proof: Vec<Vec<u8>>,
}

/// Which logs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Written by this contract; anyone's where `None`.
    pub address: Option<EvmAddress>,
    /// First topic; any where `None`.
    pub event: Option<Digest>,
    /// From this height.
    pub from: SideHeight,
    /// Up to and with this height.
    pub to: SideHeight,
}

/// One EVM JSON-RPC server.
#[derive(Debug)]
pub struct EthClient {
    transport: Transport,
}

impl EthClient {
    /// A server at `http://host:port`; connects only when something is asked.
    ///
    /// # Errors
    /// - [`RpcError::Url`] where that is no such address.
    pub fn new(url: &str) -> Result<Self, RpcError> {
        Ok(Self {
            transport: Transport::new(url, None, MAX_RESPONSE_BYTES)?,
        })
    }

    async fn read<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
        expected: &'static str,
    ) -> Result<T, RpcError> {
        self.transport
            .call(method, params, expected, LIMIT, Repeat::Safe)
            .await
    }

    /// The chain's EIP-155 id.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails.
    pub async fn chain_id(&self) -> Result<ChainId, EthError> {
        let id: U64 = self.read("eth_chainId", json!([]), "a chain id").await?;
        Ok(ChainId::new(id.to()))
    }

    /// A block, or `None` where the client does not have it.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails;
    /// - [`EthError::Unproven`] where another block came than the hash asked for.
    pub async fn block(&self, block: BlockRef) -> Result<Option<ExecutionBlock>, EthError> {
        let method = match block {
            BlockRef::Hash(_) => "eth_getBlockByHash",
            BlockRef::Height(_) | BlockRef::Latest | BlockRef::Safe | BlockRef::Finalized => {
                "eth_getBlockByNumber"
            }
        };
        let found: Option<BlockJson> = self
            .read(method, json!([block.name(), false]), "a block")
            .await?;
        let found: Option<ExecutionBlock> = found.map(Into::into);
        match (block, &found) {
            (BlockRef::Hash(hash), Some(found)) if found.hash != hash => Err(EthError::Unproven {
                method,
                block: hash,
                expected: "that block".to_owned(),
                found: found.hash.to_string(),
            }),
            _ => Ok(found),
        }
    }

    /// All receipts of a block, in order, proven against `receipts_root` of its header.
    ///
    /// The block may be one that was validated and is not (yet) canonical.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails;
    /// - [`EthError::NoBlock`] where the client does not have the block;
    /// - [`EthError::Unproven`] where the receipts are not those of that block.
    pub async fn block_receipts(
        &self,
        block: ExecutionHash,
        root: Digest,
    ) -> Result<Vec<Receipt>, EthError> {
        let method = "eth_getBlockReceipts";
        let found: Option<Vec<ReceiptJson>> = self
            .read(method, json!([BlockRef::Hash(block).name()]), "receipts")
            .await?;
        let found = found.ok_or_else(|| EthError::NoBlock {
            method,
            block: block.to_string(),
        })?;
        let receipts: Vec<Receipt> = found.into_iter().map(Into::into).collect();
        let found = receipts_root(&receipts);
        // The root covers what the logs say; where they were found is compared one by one.
        let elsewhere = receipts.iter().enumerate().find(|(place, receipt)| {
            receipt.block_hash != block || u64::try_from(*place) != Ok(receipt.transaction_index)
        });
        if let (true, None) = (found == root, elsewhere) {
            return Ok(receipts);
        }
        Err(EthError::Unproven {
            method,
            block,
            expected: format!("receipts with root {root}"),
            found: found.to_string(),
        })
    }

    /// Logs of canonical blocks.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails.
    pub async fn logs(&self, filter: &LogFilter) -> Result<Vec<Log>, EthError> {
        let mut params = json!({
            "fromBlock": BlockRef::Height(filter.from).name(),
            "toBlock": BlockRef::Height(filter.to).name(),
            "topics": filter.event.iter().map(|event| digest(*event)).collect::<Vec<_>>(),
        });
        if let (Some(contract), Some(params)) = (filter.address, params.as_object_mut()) {
            params.insert("address".to_owned(), json!(address(contract)));
        }
        let logs: Vec<LogJson> = self.read("eth_getLogs", json!([params]), "logs").await?;
        Ok(logs.into_iter().map(Into::into).collect())
    }

    /// An account's balance, as the client says. For anything that consensus rests on, use [`Self::account`].
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails, among others because the client no longer has that state;
    /// - [`EthError::Amount`] where the balance does not fit 128 bits.
    pub async fn balance(&self, account: EvmAddress, block: BlockRef) -> Result<Wei, EthError> {
        let method = "eth_getBalance";
        let balance: U256 = self
            .read(
                method,
                json!([address(account), block.to_json()]),
                "a balance",
            )
            .await?;
        wei(method, balance)
    }

    /// Transactions that an account has sent up to a block.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails.
    pub async fn transaction_count(
        &self,
        account: EvmAddress,
        block: BlockRef,
    ) -> Result<u64, EthError> {
        let params = json!([address(account), block.to_json()]);
        let count: U64 = self
            .read("eth_getTransactionCount", params, "a count")
            .await?;
        Ok(count.to())
    }

    /// An account in the state of one block, proven against `state_root` of that block's header.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails, among others because the client no longer has that state;
    /// - [`EthError::NoBlock`] where the client does not have the block;
    /// - [`EthError::Unproven`] where the proof does not lead from that state root to that account;
    /// - [`EthError::Amount`] where the balance does not fit 128 bits.
    pub async fn account(
        &self,
        account: EvmAddress,
        block: ExecutionHash,
        state_root: Digest,
    ) -> Result<Account, EthError> {
        let method = "eth_getProof";
        let params = json!([address(account), [], BlockRef::Hash(block).to_json()]);
        let found: Option<ProofJson> = self.read(method, params, "an account proof").await?;
        let found = found.ok_or_else(|| EthError::NoBlock {
            method,
            block: block.to_string(),
        })?;
        let claimed = TrieAccount::new(
            found.nonce.to(),
            found.balance,
            found.storage_hash,
            found.code_hash,
        );
        let absent = claimed == TrieAccount::new(0, U256::ZERO, EMPTY_ROOT_HASH, KECCAK_EMPTY)
            // Some clients give zeros for what an absent account does not have.
            || claimed == TrieAccount::new(0, U256::ZERO, B256::ZERO, B256::ZERO);
        let expected = (!absent).then(|| alloy_rlp::encode(claimed));
        let key = Nibbles::unpack(keccak256(account.as_bytes()));
        alloy_trie::proof::verify_proof(
            B256::new(state_root.to_bytes()),
            key,
            expected,
            &found.account_proof,
        )
        .map_err(|error| EthError::Unproven {
            method,
            block,
            expected: format!("a proof of {account} under state root {state_root}"),
            found: error.to_string(),
        })?;
        Ok(Account {
            balance: wei(method, claimed.balance)?,
            nonce: claimed.nonce,
            code_hash: Digest::new(claimed.code_hash.0),
            storage_root: Digest::new(claimed.storage_root.0),
            proof: found.account_proof.into_iter().map(Into::into).collect(),
        })
    }

    /// Runs a call without a transaction, and returns what it returns.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails or reverts.
    pub async fn call(
        &self,
        to: EvmAddress,
        data: &[u8],
        block: BlockRef,
    ) -> Result<Vec<u8>, EthError> {
        let call = json!({ "to": address(to), "data": Bytes::copy_from_slice(data) });
        let answer: Bytes = self
            .read("eth_call", json!([call, block.to_json()]), "bytes")
            .await?;
        Ok(answer.into())
    }

    /// Hands a signed transaction to the client's pool, and returns its hash. Sent once only.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails or the pool refuses it.
    pub async fn send_raw_transaction(&self, transaction: &[u8]) -> Result<Digest, EthError> {
        let params = json!([Bytes::copy_from_slice(transaction)]);
        let hash: B256 = self
            .transport
            .call(
                "eth_sendRawTransaction",
                params,
                "a transaction hash",
                LIMIT,
                Repeat::OnlyIfNotSent,
            )
            .await?;
        Ok(Digest::new(hash.0))
    }

    /// The receipt of a transaction in a canonical block, or `None` before that.
    ///
    /// # Errors
    /// - [`EthError::Rpc`] where the call fails.
    pub async fn transaction_receipt(
        &self,
        transaction: Digest,
    ) -> Result<Option<Receipt>, EthError> {
        let receipt: Option<ReceiptJson> = self
            .read(
                "eth_getTransactionReceipt",
                json!([digest(transaction)]),
                "a receipt",
            )
            .await?;
        Ok(receipt.map(Into::into))
    }
}

fn wei(method: &'static str, amount: U256) -> Result<Wei, EthError> {
    u128::try_from(amount)
        .map(Wei::new)
        .map_err(|_| EthError::Amount {
            method,
            found: amount,
        })
}
