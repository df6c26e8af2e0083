//! Rule `execution-header`: the execution block that a header names follows from the header.

use crate::proof::ExecutionHeader;
use crate::refusal::{equal, refusal};
use alloy_primitives::{Address, B64, B256, U256, b256};
use alloy_rlp::RlpEncodable;
use alys_protocol::bytes::{BlockId, Digest};
use alys_protocol::execution::Withdrawal;
use alys_protocol::header::{Header, prev_randao};
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::spec::Chain;

/// Keccak-256 of the RLP of an empty list: no ommers (EIP-3675).
const EMPTY_OMMERS: B256 =
    b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");
/// SHA-256 of nothing: no execution-layer requests (EIP-7685).
const EMPTY_REQUESTS: B256 =
    b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

const RULE: Rule = Rule::ExecutionHeader;

/// The trie root of withdrawals (EIP-4895), which an execution header commits to.
pub fn withdrawals_root(withdrawals: &[Withdrawal]) -> Digest {
    #[derive(RlpEncodable)]
    struct Item {
        index: u64,
        validator_index: u64,
        address: Address,
        amount: u64,
    }
    let items: alloc::vec::Vec<Item> = withdrawals
        .iter()
        .map(|withdrawal| Item {
            index: withdrawal.index,
            validator_index: withdrawal.validator_index,
            address: Address::new(withdrawal.address.to_bytes()),
            amount: withdrawal.amount.get(),
        })
        .collect();
    Digest::new(alloy_trie::root::ordered_trie_root(&items).0)
}

/// The execution header's keccak is `header.execution_hash`, and its fields are those of design 7.
///
/// # Errors
/// - a refusal by rule `execution-header`.
pub fn execution_header(
    chain: &Chain,
    header: &Header,
    parent: &Header,
    parent_id: BlockId,
    rlp: &[u8],
    withdrawals: &[Withdrawal],
) -> Result<ExecutionHeader, Refusal> {
    let hash = |bytes: &[u8; 32]| B256::new(*bytes);
    let execution = ExecutionHeader::with_hash(header.execution_hash, rlp)
        .map_err(|error| refusal(RULE, "the execution header that the block names", error))?;
    equal(
        RULE,
        "parent hash",
        hash(parent.execution_hash.as_bytes()),
        execution.parent_hash,
    )?;
    equal(RULE, "ommers hash", EMPTY_OMMERS, execution.ommers_hash)?;
    equal(
        RULE,
        "the vault as fee recipient,",
        Address::new(chain.spec().execution.vault.to_bytes()),
        execution.beneficiary,
    )?;
    equal(RULE, "difficulty", U256::ZERO, execution.difficulty)?;
    equal(RULE, "nonce", B64::ZERO, execution.nonce)?;
    equal(RULE, "number", header.height.get(), execution.number)?;
    let timestamp = chain
        .timestamp(header.slot)
        .ok_or_else(|| refusal(RULE, "a slot whose time fits 64 bits", header.slot))?;
    equal(RULE, "timestamp", timestamp, execution.timestamp)?;
    equal(
        RULE,
        "prevRandao",
        hash(&prev_randao(chain.id(), parent_id, header.slot)),
        execution.prev_randao,
    )?;
    equal(
        RULE,
        "no blobs, so blob gas used",
        0,
        execution.blob_gas_used,
    )?;
    equal(
        RULE,
        "no blobs, so excess blob gas",
        0,
        execution.excess_blob_gas,
    )?;
    equal(
        RULE,
        "the parent's id as beacon root,",
        hash(parent_id.as_bytes()),
        execution.parent_beacon_block_root,
    )?;
    equal(
        RULE,
        "no requests, so requests hash",
        EMPTY_REQUESTS,
        execution.requests_hash,
    )?;
    equal(
        RULE,
        "the withdrawals of the evidence, with root",
        hash(withdrawals_root(withdrawals).as_bytes()),
        execution.withdrawals_root,
    )?;
    Ok(execution)
}
