//! The members of an epoch.

use super::check;
use super::{MemberSpec, SchnorrPublicKeyBytes, SpecError};
use crate::bls::PublicKey;
use crate::bytes::EvmAddress;
use crate::certificate::MAX_MEMBERS;
use crate::units::{MemberId, Slot};
use alloc::string::String;
use alloc::vec::Vec;
use bitcoin::secp256k1::XOnlyPublicKey;

/// One checked member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its place in the roster.
    pub id: MemberId,
    /// Name for people.
    pub name: String,
    /// BLS key; its possession proof was verified.
    pub bls: PublicKey,
    /// Schnorr key in the Bitcoin wallet.
    pub schnorr: XOnlyPublicKey,
    /// Where the member's share of fees goes.
    pub fee_recipient: EvmAddress,
}

/// The checked members of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    members: Vec<Member>,
}

impl Roster {
    /// Checks members: distinct names and valid keys, each with its proof of possession.
    ///
    /// # Errors
    /// - [`SpecError`] for the first member that fails.
    pub fn new(members: &[MemberSpec]) -> Result<Self, SpecError> {
        if members.is_empty() || members.len() > MAX_MEMBERS {
            return Err(SpecError::Members {
                found: members.len(),
            });
        }
        let mut checked: Vec<Member> = Vec::with_capacity(members.len());
        for (spec, id) in members.iter().zip(0u16..) {
            check::name(&spec.name)?;
            let bad = |error| SpecError::MemberBls {
                member: spec.name.clone(),
                error,
            };
            let bls = PublicKey::from_bytes(&spec.bls).map_err(bad)?;
            bls.verify_possession(&spec.bls_possession).map_err(bad)?;
            let schnorr = x_only(&spec.schnorr)?;
            for other in &checked {
                let what = if other.name == spec.name {
                    "name"
                } else if other.bls == bls {
                    "BLS key"
                } else if other.schnorr == schnorr {
                    "Schnorr key"
                } else {
                    continue;
                };
                return Err(SpecError::SharedByMembers {
                    what,
                    first: other.id,
                    second: MemberId::new(id),
                });
            }
            checked.push(Member {
                id: MemberId::new(id),
                name: spec.name.clone(),
                bls,
                schnorr,
                fee_recipient: spec.fee_recipient,
            });
        }
        Ok(Self { members: checked })
    }

    /// The members, in order of their ids.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One member.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(usize::from(id.get()))
    }

    /// Number of members (n).
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Never true: a roster has at least one member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Approvals that certify a block: `q = floor(2n / 3) + 1`.
    pub fn quorum(&self) -> usize {
        self.len()
            .saturating_mul(2)
            .checked_div(3)
            .unwrap_or_default()
            .saturating_add(1)
    }

    /// Byzantine members that are tolerated: `f = n - q`.
    pub fn faults(&self) -> usize {
        self.len().saturating_sub(self.quorum())
    }

    /// Who proposes in a slot: `roster[slot mod n]`.
    pub fn leader(&self, slot: Slot) -> MemberId {
        let place = slot
            .get()
            .checked_rem(self.len() as u64)
            .unwrap_or_default();
        // Below MAX_MEMBERS.
        MemberId::new(u16::try_from(place).unwrap_or_default())
    }
}

pub(super) fn x_only(bytes: &SchnorrPublicKeyBytes) -> Result<XOnlyPublicKey, SpecError> {
    XOnlyPublicKey::from_slice(bytes.as_bytes()).map_err(|_| SpecError::SchnorrKey(*bytes))
}
