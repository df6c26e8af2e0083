//! Accounts of an execution state, proven under its root.

use super::trie::{TrieError, lookup};
use alloy_primitives::{B256, U256, keccak256};
use alloy_rlp::{Decodable as _, RlpDecodable, RlpEncodable};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::signer::TrieProof;
use thiserror::Error;

/// An account, in the order of its RLP (yellow paper 4.1).
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Account {
    /// Transactions sent, or contracts made.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// Trie root of the storage.
    pub storage_root: B256,
    /// Hash of the code.
    pub code_hash: B256,
}

/// An account that is not proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccountError {
    /// The proof does not hold.
    #[error(transparent)]
    Trie(#[from] TrieError),
    /// The value is no account.
    #[error("expected the RLP of nonce, balance, storage root and code hash: {0}")]
    Rlp(alloy_rlp::Error),
}

/// The account at `address` under `state_root`, or `None` where the proof shows that there is none: an account that was
/// never touched, or is empty (EIP-161).
///
/// # Errors
/// - [`AccountError::Trie`] where the proof does not hold;
/// - [`AccountError::Rlp`] where it holds something else.
pub fn account(
    state_root: B256,
    address: EvmAddress,
    proof: &TrieProof,
) -> Result<Option<Account>, AccountError> {
    let key = keccak256(address.as_bytes());
    let nodes = proof.iter().map(|node| &**node);
    let Some(mut value) = lookup(state_root, key.as_slice(), nodes)? else {
        return Ok(None);
    };
    let account = Account::decode(&mut value).map_err(AccountError::Rlp)?;
    if !value.is_empty() {
        return Err(AccountError::Rlp(alloy_rlp::Error::UnexpectedLength));
    }
    Ok(Some(account))
}
