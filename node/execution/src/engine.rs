//! The Engine API, as far as a Prague chain without blobs and requests needs it.
//!
//! Source: execution-apis `src/engine/{paris,cancun,prague}.md`.

use crate::jwt::{JwtSecret, JwtSecretError};
use crate::payload::{self, WithdrawalJson, address, digest, hash};
use crate::rpc::{Repeat, RpcError, Transport};
use alloy_primitives::{Address, B64, B256, Bytes, U64, U256};
use alys_protocol::bytes::{BlockId, Digest, EvmAddress, ExecutionHash};
use alys_protocol::execution::{ExecutionPayload, Withdrawal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// The methods that a client must offer.
pub const REQUIRED_METHODS: [&str; 3] = [
    "engine_forkchoiceUpdatedV3",
    "engine_getPayloadV4",
    "engine_newPayloadV4",
];

/// Bytes of an answer at most: a full payload in hex stays well below.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// The specification's own limits are 1 s for exchangeCapabilities and getPayload, 8 s for the others.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(8);

/// Where an Engine API is and what opens it.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// `http://host:port` of the authenticated port.
    pub url: String,
    /// File with the shared secret: 64 hex digits.
    pub jwt_secret: PathBuf,
}

/// An Engine API call that failed.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The secret cannot be read.
    #[error(transparent)]
    Secret(#[from] JwtSecretError),
    /// The call brought no usable answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The client cannot run a Prague chain.
    #[error(
        "expected an execution client that offers {missing}, found one that offers {found} engine methods without it"
    )]
    MissingMethod {
        /// The method that is not there.
        missing: &'static str,
        /// How many it has.
        found: usize,
    },
    /// A payload that is none of ours.
    #[error("engine_getPayloadV4: {0}")]
    Payload(#[from] payload::PayloadError),
}

/// The three blocks of a fork choice. Zeros stand for "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkChoice {
    /// `latest`: the certified head.
    pub head: ExecutionHash,
    /// `safe`: the newest final block.
    pub safe: ExecutionHash,
    /// `finalized`: the newest proof-of-work final block.
    pub finalized: ExecutionHash,
}

/// What a new block is to contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadAttributes {
    /// Unix seconds.
    pub timestamp: u64,
    /// Value of `PREVRANDAO`.
    pub prev_randao: Digest,
    /// Who gets the priority fees.
    pub fee_recipient: EvmAddress,
    /// Mints, in order.
    pub withdrawals: Vec<Withdrawal>,
    /// The side chain's parent.
    pub parent_beacon_block_root: BlockId,
}

/// A build in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadId(B64);

/// The client's word on a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Executed; everything in its header is right.
    Valid,
    /// Executed, or its header read: it breaks a rule of Ethereum.
    Invalid {
        /// The client's words.
        reason: String,
        /// Its nearest valid ancestor, where the client says.
        latest_valid: Option<ExecutionHash>,
    },
    /// The client lacks an ancestor; nothing is said about validity.
    Syncing,
    /// Stored, not executed; nothing is said about validity.
    Accepted,
}

/// Answer to a fork choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkChoiceAnswer {
    /// What the client says of the head.
    pub verdict: Verdict,
    /// The build that was begun, where one was asked for.
    pub payload_id: Option<PayloadId>,
}

/// What a client built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltPayload {
    /// The block.
    pub payload: ExecutionPayload,
    /// EIP-7685 requests in it; a chain of ours has none.
    pub requests: usize,
}

/// One Engine API server.
#[derive(Debug)]
pub struct EngineClient {
    transport: Transport,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttributesJson {
    timestamp: U64,
    prev_randao: B256,
    suggested_fee_recipient: Address,
    withdrawals: Vec<WithdrawalJson>,
    parent_beacon_block_root: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusJson {
    status: StatusName,
    latest_valid_hash: Option<B256>,
    validation_error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum StatusName {
    Valid,
    Invalid,
    InvalidBlockHash,
    Syncing,
    Accepted,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForkChoiceJson {
    payload_status: StatusJson,
    payload_id: Option<B64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuiltJson {
    execution_payload: Value,
    #[serde(rename = "blockValue")]
    _block_value: U256,
    #[serde(default)]
    execution_requests: Vec<Bytes>,
}

impl From<StatusJson> for Verdict {
    fn from(json: StatusJson) -> Self {
        match json.status {
            StatusName::Valid => Self::Valid,
            StatusName::Syncing => Self::Syncing,
            StatusName::Accepted => Self::Accepted,
            StatusName::Invalid | StatusName::InvalidBlockHash => Self::Invalid {
                reason: json.validation_error.map_or_else(
                    || "no reason given".to_owned(),
                    |reason| reason.chars().take(500).collect(),
                ),
                latest_valid: json
                    .latest_valid_hash
                    .map(|hash| ExecutionHash::new(hash.0)),
            },
        }
    }
}

impl EngineClient {
    /// Reads the secret; connects only when something is called.
    ///
    /// # Errors
    /// - [`EngineError::Secret`] where the secret file cannot be used;
    /// - [`EngineError::Rpc`] where the URL is none.
    pub fn new(config: &EngineConfig) -> Result<Self, EngineError> {
        let secret = JwtSecret::from_file(&config.jwt_secret)?;
        Ok(Self {
            transport: Transport::new(&config.url, Some(secret), MAX_RESPONSE_BYTES)?,
        })
    }

    /// Asks what the client offers; fails unless that is enough.
    ///
    /// # Errors
    /// - [`EngineError::Rpc`] where the call fails, among others for a wrong JWT secret;
    /// - [`EngineError::MissingMethod`] where a method that we need is not offered.
    pub async fn exchange_capabilities(&self) -> Result<Vec<String>, EngineError> {
        let found: Vec<String> = self
            .transport
            .call(
                "engine_exchangeCapabilities",
                json!([REQUIRED_METHODS]),
                "a list of methods",
                SHORT,
                Repeat::Safe,
            )
            .await?;
        for missing in REQUIRED_METHODS {
            if !found.iter().any(|method| method == missing) {
                return Err(EngineError::MissingMethod {
                    missing,
                    found: found.len(),
                });
            }
        }
        Ok(found)
    }

    /// Sets the fork choice; with attributes, also starts to build on its head.
    ///
    /// Safe to repeat: the same attributes give the same build.
    ///
    /// # Errors
    /// - [`EngineError::Rpc`] where the call fails.
    pub async fn forkchoice_updated(
        &self,
        choice: ForkChoice,
        attributes: Option<&PayloadAttributes>,
    ) -> Result<ForkChoiceAnswer, EngineError> {
        let attributes = attributes.map(|attributes| AttributesJson {
            timestamp: U64::from(attributes.timestamp),
            prev_randao: digest(attributes.prev_randao),
            suggested_fee_recipient: address(attributes.fee_recipient),
            withdrawals: attributes.withdrawals.iter().map(Into::into).collect(),
            parent_beacon_block_root: B256::new(attributes.parent_beacon_block_root.to_bytes()),
        });
        let state = json!({
            "headBlockHash": hash(choice.head),
            "safeBlockHash": hash(choice.safe),
            "finalizedBlockHash": hash(choice.finalized),
        });
        let answer: ForkChoiceJson = self
            .transport
            .call(
                "engine_forkchoiceUpdatedV3",
                json!([state, attributes]),
                "a fork choice answer",
                LONG,
                Repeat::Safe,
            )
            .await?;
        Ok(ForkChoiceAnswer {
            verdict: answer.payload_status.into(),
            payload_id: answer.payload_id.map(PayloadId),
        })
    }

    /// Ends a build and takes the block.
    ///
    /// # Errors
    /// - [`EngineError::Rpc`] where the call fails, among others for an id that the client has forgotten;
    /// - [`EngineError::Payload`] where the payload is none of ours.
    pub async fn get_payload(&self, id: PayloadId) -> Result<BuiltPayload, EngineError> {
        let built: BuiltJson = self
            .transport
            .call(
                "engine_getPayloadV4",
                json!([id.0]),
                "a built payload",
                LONG,
                Repeat::Safe,
            )
            .await?;
        Ok(BuiltPayload {
            payload: payload::from_json(built.execution_payload)?,
            requests: built.execution_requests.len(),
        })
    }

    /// Has a block executed, without blobs and without requests.
    ///
    /// # Errors
    /// - [`EngineError::Rpc`] where the call fails.
    pub async fn new_payload(
        &self,
        payload: &ExecutionPayload,
        parent_beacon_block_root: BlockId,
    ) -> Result<Verdict, EngineError> {
        let root = B256::new(parent_beacon_block_root.to_bytes());
        let params = json!([payload::to_json(payload), [], root, []]);
        let status: StatusJson = self
            .transport
            .call(
                "engine_newPayloadV4",
                params,
                "a payload status",
                LONG,
                Repeat::Safe,
            )
            .await?;
        Ok(status.into())
    }
}
