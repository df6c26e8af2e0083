//! Payloads as the Engine API's JSON writes them: camel case, quantities in hex without leading zeros.

use alloy_primitives::{Address, B256, Bloom, Bytes, U64, U256};
use alys_protocol::bounded::{BoundedVec, TooLong};
use alys_protocol::bytes::{Digest, EvmAddress, ExecutionHash};
pub use alys_protocol::execution::{ExecutionPayload, LogsBloom, Withdrawal};
use alys_protocol::units::{Gwei, SideHeight, Wei};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// JSON that is no payload of ours.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// A field is missing, or is not what the Engine API says.
    #[error("expected an ExecutionPayloadV3: {0}")]
    Json(#[from] serde_json::Error),
    /// A list or a byte string above its limit.
    #[error("{field}: {source}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Limit and length.
        source: TooLong,
    },
    /// A base fee that no 128-bit amount of wei can hold.
    #[error("expected a base fee below 2^128 wei, found {0}")]
    BaseFee(U256),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayloadJson {
    parent_hash: B256,
    fee_recipient: Address,
    state_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    prev_randao: B256,
    block_number: U64,
    gas_limit: U64,
    gas_used: U64,
    timestamp: U64,
    extra_data: Bytes,
    base_fee_per_gas: U256,
    block_hash: B256,
    transactions: Vec<Bytes>,
    withdrawals: Vec<WithdrawalJson>,
    blob_gas_used: U64,
    excess_blob_gas: U64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WithdrawalJson {
    index: U64,
    validator_index: U64,
    address: Address,
    amount: U64,
}

impl From<&Withdrawal> for WithdrawalJson {
    fn from(withdrawal: &Withdrawal) -> Self {
        Self {
            index: U64::from(withdrawal.index),
            validator_index: U64::from(withdrawal.validator_index),
            address: address(withdrawal.address),
            amount: U64::from(withdrawal.amount.get()),
        }
    }
}

impl From<WithdrawalJson> for Withdrawal {
    fn from(json: WithdrawalJson) -> Self {
        Self {
            index: json.index.to(),
            validator_index: json.validator_index.to(),
            address: EvmAddress::new(json.address.into()),
            amount: Gwei::new(json.amount.to()),
        }
    }
}

pub(crate) const fn address(address: EvmAddress) -> Address {
    Address::new(address.to_bytes())
}

pub(crate) const fn hash(hash: ExecutionHash) -> B256 {
    B256::new(hash.to_bytes())
}

pub(crate) const fn digest(digest: Digest) -> B256 {
    B256::new(digest.to_bytes())
}

/// Writes a payload as `ExecutionPayloadV3`.
pub fn to_json(payload: &ExecutionPayload) -> Value {
    let json = PayloadJson {
        parent_hash: hash(payload.parent_hash),
        fee_recipient: address(payload.fee_recipient),
        state_root: digest(payload.state_root),
        receipts_root: digest(payload.receipts_root),
        logs_bloom: Bloom::new(payload.logs_bloom.to_bytes()),
        prev_randao: digest(payload.prev_randao),
        block_number: U64::from(payload.block_number.get()),
        gas_limit: U64::from(payload.gas_limit),
        gas_used: U64::from(payload.gas_used),
        timestamp: U64::from(payload.timestamp),
        extra_data: payload.extra_data.to_vec().into(),
        base_fee_per_gas: U256::from(payload.base_fee_per_gas.get()),
        block_hash: hash(payload.block_hash),
        transactions: payload
            .transactions
            .iter()
            .map(|transaction| transaction.to_vec().into())
            .collect(),
        withdrawals: payload.withdrawals.iter().map(Into::into).collect(),
        blob_gas_used: U64::from(payload.blob_gas_used),
        excess_blob_gas: U64::from(payload.excess_blob_gas),
    };
    // Strings and lists of strings: there is nothing in it that JSON could not hold.
    serde_json::to_value(json).unwrap_or(Value::Null)
}

/// Reads an `ExecutionPayloadV3`.
///
/// # Errors
/// - [`PayloadError::Json`] where a field is missing or malformed;
/// - [`PayloadError::TooLong`] where a list or byte string is above its limit;
/// - [`PayloadError::BaseFee`] where the base fee does not fit 128 bits.
pub fn from_json(json: Value) -> Result<ExecutionPayload, PayloadError> {
    let json: PayloadJson = serde_json::from_value(json)?;
    let long = |field| move |source| PayloadError::TooLong { field, source };
    let transactions = json
        .transactions
        .into_iter()
        .map(|transaction| BoundedVec::new(transaction.into()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(long("transaction"))?;
    let withdrawals = json.withdrawals.into_iter().map(Into::into).collect();
    Ok(ExecutionPayload {
        parent_hash: ExecutionHash::new(json.parent_hash.0),
        fee_recipient: EvmAddress::new(json.fee_recipient.into()),
        state_root: Digest::new(json.state_root.0),
        receipts_root: Digest::new(json.receipts_root.0),
        logs_bloom: LogsBloom::new(json.logs_bloom.into()),
        prev_randao: Digest::new(json.prev_randao.0),
        block_number: SideHeight::new(json.block_number.to()),
        gas_limit: json.gas_limit.to(),
        gas_used: json.gas_used.to(),
        timestamp: json.timestamp.to(),
        extra_data: BoundedVec::new(json.extra_data.into()).map_err(long("extraData"))?,
        base_fee_per_gas: u128::try_from(json.base_fee_per_gas)
            .map(Wei::new)
            .map_err(|_| PayloadError::BaseFee(json.base_fee_per_gas))?,
        block_hash: ExecutionHash::new(json.block_hash.0),
        transactions: BoundedVec::new(transactions).map_err(long("transactions"))?,
        withdrawals: BoundedVec::new(withdrawals).map_err(long("withdrawals"))?,
        blob_gas_used: json.blob_gas_used.to(),
        excess_blob_gas: json.excess_blob_gas.to(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> ExecutionPayload {
        ExecutionPayload {
            parent_hash: ExecutionHash::new([1; 32]),
            fee_recipient: EvmAddress::new([2; 20]),
            state_root: Digest::new([3; 32]),
            receipts_root: Digest::new([4; 32]),
            logs_bloom: LogsBloom::new([5; 256]),
            prev_randao: Digest::new([6; 32]),
            block_number: SideHeight::new(7),
            gas_limit: 30_000_000,
            gas_used: 21_000,
            timestamp: 1_700_000_000,
            extra_data: BoundedVec::new(vec![8, 9]).unwrap(),
            base_fee_per_gas: Wei::new(u128::MAX),
            block_hash: ExecutionHash::new([10; 32]),
            transactions: BoundedVec::new(vec![BoundedVec::new(vec![2, 0xc0]).unwrap()]).unwrap(),
            withdrawals: BoundedVec::new(vec![Withdrawal {
                index: 7 << 16,
                validator_index: 0,
                address: EvmAddress::new([11; 20]),
                amount: Gwei::new(u64::MAX),
            }])
            .unwrap(),
            blob_gas_used: 0,
            excess_blob_gas: 0,
        }
    }

    #[test]
    fn json_is_that_of_the_engine_api() {
        let json = to_json(&sample());
        assert_eq!(json["blockNumber"], "0x7");
        assert_eq!(json["blobGasUsed"], "0x0");
        assert_eq!(json["extraData"], "0x0809");
        assert_eq!(json["transactions"][0], "0x02c0");
        assert_eq!(json["withdrawals"][0]["validatorIndex"], "0x0");
        assert_eq!(json["withdrawals"][0]["amount"], "0xffffffffffffffff");
        assert_eq!(json["baseFeePerGas"], "0xffffffffffffffffffffffffffffffff");
        assert_eq!(json["parentHash"], format!("0x{}", "01".repeat(32)));
        assert_eq!(from_json(json).unwrap(), sample());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let with = |field: &str, value: Value| {
            let mut json = to_json(&sample());
            json[field] = value;
            from_json(json)
        };
        let long = format!("0x{}", "00".repeat(33));
        assert!(matches!(
            with("extraData", long.into()),
            Err(PayloadError::TooLong {
                field: "extraData",
                ..
            })
        ));
        let fee = format!("0x1{}", "0".repeat(32));
        assert!(matches!(
            with("baseFeePerGas", fee.into()),
            Err(PayloadError::BaseFee(_))
        ));
        assert!(matches!(
            with("blockNumber", "seven".into()),
            Err(PayloadError::Json(_))
        ));
        assert!(matches!(
            with("withdrawals", Value::Null),
            Err(PayloadError::Json(_))
        ));
    }
}
