//! Reads of state and receipts that ethrex answers wrongly: for blocks that are not canonical (it takes the canonical
//! one of the same height) and for state that is gone (it takes the state on disk, of another block).

use super::server::fault;
use ethrex_common::types::{Block, BlockHeader};
use ethrex_common::utils::keccak;
use ethrex_common::{Address, BigEndianHash as _, H256, U256};
use ethrex_rpc::types::account_proof::{AccountProof, StorageProof};
use ethrex_rpc::types::block::RpcBlock;
use ethrex_rpc::types::block_identifier::{BlockIdentifier, BlockIdentifierOrHash};
use ethrex_rpc::types::receipt::{RpcReceipt, RpcReceiptBlockInfo, RpcReceiptTxInfo};
use ethrex_rpc::utils::RpcRequest;
use ethrex_rpc::{RpcApiContext, RpcErr, RpcErrorMetadata, map_http_requests};
use ethrex_storage::Store;
use ethrex_storage::error::StoreError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Geth's code for a block that it does not have.
const UNKNOWN_BLOCK: i32 = -39001;
/// The general server error of JSON-RPC.
const SERVER: i32 = -32000;
const PARAMS: i32 = -32602;
/// "Limit exceeded" of EIP-1474.
const TOO_MUCH: i32 = -32005;
/// Blocks in one `eth_getLogs` at most.
const MAX_LOG_BLOCKS: u64 = 10_000;
/// Blocks whose logs are in memory before they are counted.
const LOG_BLOCKS_AT_ONCE: u64 = 8;
/// Logs in one answer at most.
const MAX_LOGS: usize = 20_000;
/// Bytes of a log filter at most: more than a thousand addresses.
const MAX_LOG_FILTER_BYTES: usize = 64 << 10;
/// Slots in one `eth_getProof` at most, as in Geth.
const MAX_PROOF_SLOTS: usize = 1_024;

pub(super) fn store_fault(error: StoreError) -> RpcErrorMetadata {
    RpcErr::from(error).into()
}

/// The header that a block parameter stands for; `latest` where there is none.
pub(super) async fn header(
    store: &Store,
    parameter: Option<&Value>,
) -> Result<BlockHeader, RpcErrorMetadata> {
    let parameter = parameter
        .filter(|value| !value.is_null())
        .cloned()
        .unwrap_or_else(|| json!("latest"));
    let name = parameter.to_string();
    let found = match BlockIdentifierOrHash::parse(parameter, 1)? {
        BlockIdentifierOrHash::Hash(hash) => {
            store.get_block_header_by_hash(hash).map_err(store_fault)?
        }
        identifier @ BlockIdentifierOrHash::Identifier(_) => identifier
            .resolve_block_header(store)
            .await
            .map_err(store_fault)?,
    };
    found.ok_or_else(|| fault(UNKNOWN_BLOCK, format!("Unknown block: {name}")))
}

/// Fails where the state after a block is not there (any more).
pub(super) fn available(store: &Store, header: &BlockHeader) -> Result<(), RpcErrorMetadata> {
    if store
        .has_state_root(header.state_root)
        .map_err(store_fault)?
    {
        return Ok(());
    }
    Err(fault(
        SERVER,
        format!(
            "the state of block {} ({:#x}) is not available: this client keeps that of about the last 128 blocks",
            header.number,
            header.hash()
        ),
    ))
}

/// Fails where ethrex would answer for another block: it runs calls on canonical blocks only.
pub(super) fn canonical(store: &Store, header: &BlockHeader) -> Result<(), RpcErrorMetadata> {
    if store
        .is_canonical_sync(header.hash())
        .map_err(store_fault)?
    {
        return Ok(());
    }
    Err(fault(
        SERVER,
        format!("block {:#x} is not on the canonical chain", header.hash()),
    ))
}

pub(super) fn parameter<T: DeserializeOwned>(
    params: &[Value],
    place: usize,
    expected: &str,
) -> Result<T, RpcErrorMetadata> {
    let value = params.get(place).cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| {
        fault(
            PARAMS,
            format!("parameter {place}: expected {expected}: {error}"),
        )
    })
}

/// A storage slot, in hex or decimal, of any length up to 32 bytes.
fn slot(value: &Value) -> Result<H256, RpcErrorMetadata> {
    let wrong = || {
        fault(
            PARAMS,
            format!("expected a storage slot of up to 32 bytes, found {value}"),
        )
    };
    let text = value.as_str().ok_or_else(wrong)?;
    let number = match text.strip_prefix("0x") {
        Some(digits) => U256::from_str_radix(digits, 16).map_err(|_| wrong())?,
        None => U256::from_dec_str(text).map_err(|_| wrong())?,
    };
    Ok(H256::from_uint(&number))
}

/// `eth_getBalance`, `eth_getTransactionCount`, `eth_getCode`, `eth_getStorageAt` and `eth_getProof`.
pub(super) async fn account(
    context: &RpcApiContext,
    method: &str,
    params: &[Value],
) -> Result<Value, RpcErrorMetadata> {
    let store = &context.storage;
    let place = if matches!(method, "eth_getStorageAt" | "eth_getProof") {
        2
    } else {
        1
    };
    let block = params.get(place);
    let header = header(store, block).await?;
    available(store, &header)?;
    let address: Address = parameter(params, 0, "an address")?;
    let root = header.state_root;
    let account = store
        .get_account_state_by_root(root, address)
        .map_err(store_fault)?
        .unwrap_or_default();
    let answer = match method {
        "eth_getBalance" => json!(format!("{:#x}", account.balance)),
        "eth_getTransactionCount" => {
            let pending = block.is_some_and(|block| *block == json!("pending"));
            let waiting = if pending {
                context
                    .blockchain
                    .mempool
                    .get_nonce(&address)
                    .map_err(mempool)?
            } else {
                None
            };
            json!(format!(
                "{:#x}",
                waiting.unwrap_or_default().max(account.nonce)
            ))
        }
        "eth_getCode" => {
            let code = store
                .get_account_code(account.code_hash)
                .map_err(store_fault)?;
            json!(format!(
                "0x{:x}",
                code.map(|code| code.code_bytes()).unwrap_or_default()
            ))
        }
        "eth_getStorageAt" => {
            let slot = slot(params.get(1).unwrap_or(&Value::Null))?;
            let value = store
                .get_storage_at_root(root, address, slot)
                .map_err(store_fault)?
                .unwrap_or_default();
            json!(H256::from_uint(&value))
        }
        _ => {
            let keys: Vec<Value> = parameter(params, 1, "a list of storage slots")?;
            if keys.len() > MAX_PROOF_SLOTS {
                let found = keys.len();
                return Err(fault(
                    PARAMS,
                    format!("expected at most {MAX_PROOF_SLOTS} storage slots, found {found}"),
                ));
            }
            let keys = keys.iter().map(slot).collect::<Result<Vec<_>, _>>()?;
            proof(store, root, address, &keys).await?
        }
    };
    // The state may have gone while it was read; it never comes back, so a look afterwards is enough.
    available(store, &header)?;
    Ok(answer)
}

fn mempool(error: impl std::fmt::Display) -> RpcErrorMetadata {
    fault(-32603, error.to_string())
}

async fn proof(
    store: &Store,
    root: H256,
    address: Address,
    keys: &[H256],
) -> Result<Value, RpcErrorMetadata> {
    let found = store
        .get_account_proof(root, address, keys)
        .await
        .map_err(store_fault)?;
    let found = found.ok_or_else(|| fault(SERVER, "no proof of that account"))?;
    let storage_proof = found
        .storage_proof
        .into_iter()
        .map(|slot| StorageProof {
            key: slot.key.into_uint(),
            proof: slot.proof,
            value: slot.value,
        })
        .collect();
    let proof = AccountProof {
        account_proof: found.proof,
        address,
        balance: found.account.balance,
        code_hash: found.account.code_hash,
        nonce: found.account.nonce,
        storage_hash: found.account.storage_root,
        storage_proof,
    };
    serde_json::to_value(proof).map_err(|error| RpcErr::from(error).into())
}

async fn whole(store: &Store, hash: H256) -> Result<Option<Block>, RpcErrorMetadata> {
    store.get_block_by_hash(hash).await.map_err(store_fault)
}

/// `eth_getBlockByHash`.
pub(super) async fn block_by_hash(
    store: &Store,
    params: &[Value],
) -> Result<Value, RpcErrorMetadata> {
    let hash: H256 = parameter(params, 0, "a block hash")?;
    let full: Option<bool> = parameter(params, 1, "true or false")?;
    let Some(block) = whole(store, hash).await? else {
        return Ok(Value::Null);
    };
    let block = RpcBlock::build(block.header, block.body, hash, full.unwrap_or(false))?;
    serde_json::to_value(block).map_err(|error| RpcErr::from(error).into())
}

/// `eth_getBlockReceipts`.
pub(super) async fn block_receipts(
    store: &Store,
    params: &[Value],
) -> Result<Value, RpcErrorMetadata> {
    let header = match header(store, params.first()).await {
        Ok(header) => header,
        Err(error) if error.code == UNKNOWN_BLOCK => return Ok(Value::Null),
        Err(error) => return Err(error),
    };
    let hash = header.hash();
    let Some(block) = whole(store, hash).await? else {
        return Ok(Value::Null);
    };
    if header.number == 0 {
        return Ok(json!([]));
    }
    let receipts = store
        .get_receipts_for_block(&hash)
        .await
        .map_err(store_fault)?;
    let expected = block.body.transactions.len();
    if receipts.len() != expected {
        return Err(fault(
            -32603,
            format!(
                "block {hash:#x}: expected {expected} receipts, found {}",
                receipts.len()
            ),
        ));
    }
    let base_fee = header.base_fee_per_gas;
    let info = RpcReceiptBlockInfo::from_block_header(header);
    let mut answer = Vec::with_capacity(expected);
    let (mut used_before, mut logs_before) = (0u64, 0u64);
    for (place, (transaction, receipt)) in
        (0u64..).zip(block.body.transactions.into_iter().zip(receipts))
    {
        let used = receipt.cumulative_gas_used.saturating_sub(used_before);
        used_before = receipt.cumulative_gas_used;
        // No blobs here, so the price of blob gas is the least there is.
        let about = RpcReceiptTxInfo::from_transaction(transaction, place, used, 1, base_fee)?;
        let first_log = logs_before;
        logs_before =
            logs_before.saturating_add(u64::try_from(receipt.logs.len()).unwrap_or(u64::MAX));
        answer.push(RpcReceipt::new(receipt, about, info.clone(), first_log));
    }
    serde_json::to_value(answer).map_err(|error| RpcErr::from(error).into())
}

/// `eth_getLogs`, within limits: ethrex collects all logs of a range before it looks at their topics.
pub(super) async fn logs(
    context: &RpcApiContext,
    request: &RpcRequest,
) -> Result<Value, RpcErrorMetadata> {
    let params = request.params.as_deref().unwrap_or_default();
    log_filter_size(params)?;
    let filter = params.first().and_then(Value::as_object);
    let by_range = filter.filter(|filter| !filter.contains_key("blockHash"));
    let Some(filter) = by_range else {
        return ask(context, request.clone()).await;
    };
    let (first, last) = log_range(&context.storage, filter).await?;
    if first > last {
        return ask(context, request.clone()).await;
    }
    let mut found = Vec::new();
    let mut next = first;
    while next <= last {
        let end = last.min(next.saturating_add(LOG_BLOCKS_AT_ONCE - 1));
        let mut part = filter.clone();
        part.insert("fromBlock".to_owned(), json!(format!("{next:#x}")));
        part.insert("toBlock".to_owned(), json!(format!("{end:#x}")));
        let mut request = request.clone();
        request.params = Some(vec![Value::Object(part)]);
        match ask(context, request).await? {
            Value::Array(logs) => found.extend(logs),
            other => return Ok(other),
        }
        if found.len() > MAX_LOGS {
            return Err(fault(
                TOO_MUCH,
                format!("expected a filter that at most {MAX_LOGS} logs pass, found more"),
            ));
        }
        match end.checked_add(1) {
            Some(after) => next = after,
            None => break,
        }
    }
    Ok(Value::Array(found))
}

async fn ask(context: &RpcApiContext, request: RpcRequest) -> Result<Value, RpcErrorMetadata> {
    Box::pin(map_http_requests(&request, context.clone()))
        .await
        .map_err(Into::into)
}

/// Fails for a log filter that no contract needs: it is kept, or compared with every log.
pub(super) fn log_filter_size(params: &[Value]) -> Result<(), RpcErrorMetadata> {
    let found: usize = params.iter().map(|value| value.to_string().len()).sum();
    if found <= MAX_LOG_FILTER_BYTES {
        return Ok(());
    }
    Err(fault(
        PARAMS,
        format!("expected a log filter of at most {MAX_LOG_FILTER_BYTES} bytes, found {found}"),
    ))
}

/// First and last block of a filter. Fails where they are too far apart.
async fn log_range(
    store: &Store,
    filter: &Map<String, Value>,
) -> Result<(u64, u64), RpcErrorMetadata> {
    let end = async |name: &str| -> Result<u64, RpcErrorMetadata> {
        let value = filter
            .get(name)
            .filter(|value| !value.is_null())
            .cloned()
            .unwrap_or_else(|| json!("latest"));
        let number = BlockIdentifier::parse(value, 0)?
            .resolve_block_number(store)
            .await
            .map_err(store_fault)?;
        Ok(number.unwrap_or_default())
    };
    let (first, last) = (end("fromBlock").await?, end("toBlock").await?);
    let blocks = last.saturating_sub(first);
    if blocks < MAX_LOG_BLOCKS {
        return Ok((first, last));
    }
    Err(fault(
        TOO_MUCH,
        format!("expected a range of at most {MAX_LOG_BLOCKS} blocks, found {blocks} and one"),
    ))
}

/// `web3_sha3`.
pub(super) fn sha3(params: &[Value]) -> Result<Value, RpcErrorMetadata> {
    let data: alloy_primitives::Bytes = parameter(params, 0, "bytes in hex")?;
    Ok(json!(keccak(&data)))
}
