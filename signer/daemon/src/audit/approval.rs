//! The officers' approval of the policy in force, as the log keeps it: whoever has the log sees who signed what.

use crate::policy_file::{OfficersConfig, ReadPolicy, SignedBy, TrustedOfficers};
use alys_protocol::bytes::Digest;
use alys_protocol::signer::Refusal;
use alys_protocol::units::ChainId;
use alys_signer_core::admin::{self, OfficerKey, PolicyIntent};
use alys_signer_core::policy::{Iteration, PolicyFile};
use alys_signer_core::state::AdminState;
use alys_signer_core::{Decision, Durable};
use serde::{Deserialize, Serialize};

/// A policy's file and the signatures beside it, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPolicy {
    /// The file that officers signed (TOML).
    pub file: Vec<u8>,
    /// Minisign signatures of exactly these bytes.
    pub signatures: Vec<String>,
}

/// A policy to start with, and whose word it is.
#[derive(Debug)]
pub struct Approval {
    pub(crate) officers: TrustedOfficers,
    pub(crate) config: OfficersConfig,
    pub(crate) file: PolicyFile,
    pub(crate) signed: SignedPolicy,
    signers: Vec<OfficerKey>,
}

impl Approval {
    /// Puts together what was read and verified.
    pub fn new(
        read: ReadPolicy,
        signed: SignedBy,
        officers: TrustedOfficers,
        config: OfficersConfig,
    ) -> Self {
        Self {
            officers,
            config,
            file: read.file,
            signed: SignedPolicy {
                file: read.bytes,
                signatures: signed.signatures,
            },
            signers: signed.officers,
        }
    }

    /// The digest by which a signer remembers the policy.
    pub fn digest(&self) -> Digest {
        admin::policy_digest(self.file.chain_id, &self.signed.file)
    }

    /// The policy's iteration.
    pub const fn iteration(&self) -> Iteration {
        self.file.iteration
    }

    /// Judges it: see [`admin::accept_policy`].
    ///
    /// # Errors
    /// - the refusal of the first rule.
    pub(crate) fn judge(
        &self,
        chain: ChainId,
        state: &Durable<AdminState>,
    ) -> Result<Decision<AdminState, PolicyIntent>, Refusal> {
        let (officers, signed) = (self.officers.officers(), &self.signed);
        admin::accept_policy(
            state,
            chain,
            officers,
            &self.file,
            &signed.file,
            &self.signers,
        )
    }

    /// The approval that a log has.
    ///
    /// # Errors
    /// - what is wrong with the officers, the file or a signature.
    pub(crate) fn of_log(officers: &[u8], signed: &[u8]) -> Result<Self, String> {
        let config = config_of(officers)?;
        let officers = config.trusted().map_err(|error| error.to_string())?;
        let signed: SignedPolicy =
            postcard::from_bytes(signed).map_err(|error| error.to_string())?;
        let file = toml::from_str(text(&signed.file)?).map_err(|error| error.to_string())?;
        let texts = signed.signatures.iter().map(String::as_str);
        let signers = officers.signers(&signed.file, texts)?;
        Ok(Self {
            officers,
            config,
            file,
            signed,
            signers,
        })
    }

    /// The officers that a log has.
    ///
    /// # Errors
    /// - what is wrong with them.
    pub(crate) fn officers_of(officers: &[u8]) -> Result<TrustedOfficers, String> {
        let config = config_of(officers)?;
        config.trusted().map_err(|error| error.to_string())
    }
}

fn config_of(officers: &[u8]) -> Result<OfficersConfig, String> {
    toml::from_str(text(officers)?).map_err(|error| error.to_string())
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    core::str::from_utf8(bytes).map_err(|error| error.to_string())
}
