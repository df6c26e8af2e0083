//! What the keys are for: chain spec, officers, policy. Read once at the start, and when it changes.

use crate::command::{Failure, MAX_SPEC_BYTES, Provision, SignedPolicy};
use crate::decode::exactly;
use crate::keys::Keys;
use crate::minisign::TrustedOfficers;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::Digest;
use alys_protocol::signer::MAX_OFFICERS;
use alys_protocol::spec::{Chain, ChainSpec};
use alys_signer_core::admin::{self, OfficerKey};
use alys_signer_core::policy::PolicyFile;
use alys_signer_core::state::AdminState;
use alys_signer_core::{Durable, Policy, Signer};
use serde::{Deserialize, Serialize};

/// The record of what never changes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Provisioned {
    pub(crate) spec: BoundedVec<u8, MAX_SPEC_BYTES>,
    threshold: u8,
    officers: BoundedVec<String, MAX_OFFICERS>,
}

impl From<&Provision> for Provisioned {
    fn from(provision: &Provision) -> Self {
        Self {
            spec: provision.spec.clone(),
            threshold: provision.threshold,
            officers: provision.officers.clone(),
        }
    }
}

/// Whatever is said wrong.
pub(crate) fn invalid(error: impl core::fmt::Display) -> Failure {
    Failure::Invalid(error.to_string())
}

impl Provisioned {
    /// Checks chain spec and officers. Verifies each member's proof of possession.
    pub(crate) fn check(&self) -> Result<(Chain, TrustedOfficers), Failure> {
        let spec: ChainSpec =
            exactly(&self.spec).ok_or_else(|| invalid("expected a chain spec in postcard"))?;
        let chain = Chain::new(spec).map_err(invalid)?;
        let officers =
            TrustedOfficers::new(usize::from(self.threshold), &self.officers).map_err(invalid)?;
        Ok((chain, officers))
    }
}

/// A policy file that officers signed.
pub(crate) struct ReadPolicy {
    file: PolicyFile,
    signers: Vec<OfficerKey>,
    pub(crate) digest: Digest,
}

impl ReadPolicy {
    pub(crate) fn read(
        chain: &Chain,
        officers: &TrustedOfficers,
        signed: &SignedPolicy,
    ) -> Result<Self, Failure> {
        let text = core::str::from_utf8(&signed.text).map_err(invalid)?;
        let file: PolicyFile = toml::from_str(text).map_err(invalid)?;
        file.policy.check_alone().map_err(invalid)?;
        let signatures = signed.signatures.iter().map(|signature| &**signature);
        let signers = officers
            .signers(&signed.text, signatures)
            .map_err(|found| {
                invalid(format_args!(
                    "policy: expected signatures of officers, found {found}"
                ))
            })?;
        Ok(Self {
            file,
            signers,
            digest: admin::policy_digest(chain.id(), &signed.text),
        })
    }

    /// Judges it: the state that remembers it and the policy to serve by.
    pub(crate) fn accept(
        &self,
        state: &AdminState,
        chain: &Chain,
        officers: &TrustedOfficers,
        text: &[u8],
    ) -> Result<(Option<AdminState>, Policy), Failure> {
        let decision = admin::accept_policy(
            &Durable::trust_loaded(state.clone()),
            chain.id(),
            officers.officers(),
            &self.file,
            text,
            &self.signers,
        )
        .map_err(|refusal| Failure::Refused(refusal.to_string()))?;
        Ok((decision.next().cloned(), self.file.policy.clone()))
    }
}

/// The signer of these keys.
pub(crate) fn signer(chain: Chain, policy: Policy, keys: &Keys) -> Result<Signer, Failure> {
    Signer::new(chain, policy, &keys.bls_public(), &keys.schnorr_public()).map_err(invalid)
}
