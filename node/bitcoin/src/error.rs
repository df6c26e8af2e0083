//! What can go wrong between us and the Bitcoin node, told apart by what a caller can do about it.

use crate::auth::CredentialsError;
use crate::identity::NodeMismatch;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// A Bitcoin node's RPC error code.
///
/// Source: Bitcoin Core `src/rpc/protocol.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RpcCode(i32);

impl RpcCode {
    /// `RPC_MISC_ERROR`.
    pub const MISC: Self = Self(-1);
    /// `RPC_WALLET_ERROR`: among others, that a wallet exists already.
    pub const WALLET: Self = Self(-4);
    /// `RPC_INVALID_ADDRESS_OR_KEY`: also a block or transaction that the node does not know.
    pub const NOT_FOUND: Self = Self(-5);
    /// `RPC_INVALID_PARAMETER`: also a height above the tip.
    pub const INVALID_PARAMETER: Self = Self(-8);
    /// `RPC_WALLET_NOT_FOUND`.
    pub const WALLET_NOT_FOUND: Self = Self(-18);
    /// `RPC_VERIFY_ERROR`: missing inputs, or a fee above the node's own limit.
    pub const VERIFY: Self = Self(-25);
    /// `RPC_VERIFY_REJECTED`: consensus or relay rules forbid the transaction.
    pub const VERIFY_REJECTED: Self = Self(-26);
    /// `RPC_VERIFY_ALREADY_IN_UTXO_SET`.
    pub const ALREADY_IN_UTXO_SET: Self = Self(-27);
    /// `RPC_IN_WARMUP`: the node starts up.
    pub const IN_WARMUP: Self = Self(-28);
    /// `RPC_WALLET_ALREADY_LOADED`.
    pub const WALLET_ALREADY_LOADED: Self = Self(-35);

    /// Wraps a code as the node sends it.
    pub const fn new(code: i32) -> Self {
        Self(code)
    }

    /// The number itself.
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for RpcCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A call to the Bitcoin node that gave no result.
#[derive(Debug, Error)]
pub enum RpcError {
    /// The node answered, and the answer is no.
    #[error("the Bitcoin node refuses {method}: {message} (code {code})")]
    Refused {
        /// The RPC method.
        method: &'static str,
        /// Why, for programs.
        code: RpcCode,
        /// Why, for people.
        message: String,
    },
    /// No usable answer arrived: no connection, a connection that broke, a timeout, or a node with too much to do.
    /// Whether the node carried the call out is unknown.
    #[error("cannot reach the Bitcoin node at {url} for {method}: {reason}")]
    Unreachable {
        /// The RPC method.
        method: &'static str,
        /// The node.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The node starts up and does not serve calls yet.
    #[error("the Bitcoin node at {url} starts up: {message}")]
    Starting {
        /// The node.
        url: String,
        /// What it does at present.
        message: String,
    },
    /// Calls failed in a row, so this one was not tried.
    #[error("the Bitcoin node at {url} failed repeatedly; next attempt in {retry_in:?}")]
    CircuitOpen {
        /// The node.
        url: String,
        /// When an attempt is worth it.
        retry_in: Duration,
    },
    /// The node does not take our user and password.
    #[error("the Bitcoin node at {url} refuses the user and password from {path}")]
    Unauthorized {
        /// The node.
        url: String,
        /// The file that they were read from.
        path: std::path::PathBuf,
    },
    /// There is nothing to log in with.
    #[error("no credentials for the Bitcoin node: {0}")]
    Credentials(CredentialsError),
    /// The answer is not what the method promises.
    #[error("the Bitcoin node answers {method} with something unexpected: {reason}")]
    Malformed {
        /// The RPC method.
        method: &'static str,
        /// What was expected and found.
        reason: String,
    },
    /// It is a Bitcoin node, but not one that this federation can use.
    #[error("wrong Bitcoin node at {url}: {mismatch}")]
    WrongNode {
        /// The node.
        url: String,
        /// What is wrong with it.
        mismatch: NodeMismatch,
    },
}

// The text has the cause in it; as a source it would be printed twice.
impl From<CredentialsError> for RpcError {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials(error)
    }
}

impl RpcError {
    /// Whether waiting may help, without anybody changing a setting: the node is down, starts up or is overloaded.
    ///
    /// A refused password and a missing cookie count: both happen for a moment while a node restarts.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Starting { .. }
            | Self::CircuitOpen { .. }
            | Self::Unauthorized { .. }
            | Self::Credentials(_) => true,
            Self::Refused { .. } | Self::Malformed { .. } | Self::WrongNode { .. } => false,
        }
    }

    /// The node's own error code, where the node said no.
    pub fn code(&self) -> Option<RpcCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Unreachable { .. }
            | Self::Starting { .. }
            | Self::CircuitOpen { .. }
            | Self::Unauthorized { .. }
            | Self::Credentials(_)
            | Self::Malformed { .. }
            | Self::WrongNode { .. } => None,
        }
    }

    pub(crate) fn malformed(method: &'static str, reason: impl fmt::Display) -> Self {
        Self::Malformed {
            method,
            reason: reason.to_string(),
        }
    }
}

/// Turns one refusal into "there is no such thing".
pub(crate) fn absent_on<T>(
    code: RpcCode,
    result: Result<T, RpcError>,
) -> Result<Option<T>, RpcError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Some(code) => Ok(None),
        Err(error) => Err(error),
    }
}
