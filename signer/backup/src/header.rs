//! What a backup says in clear, and what its keys are bound to.

use crate::error::BackupError;
use crate::officer::{MAX_OFFICERS, MIN_THRESHOLD, Officer, OfficerName, Recipient};
use alys_protocol::bls::BlsPublicKeyBytes;
use alys_protocol::bytes::{Digest, SpecDigest};
use alys_protocol::spec::{Chain, SchnorrPublicKeyBytes};
use alys_protocol::units::{ChainId, MemberId, StatementNumber};
use alys_signer_core::state::AcceptedPolicy;
use alys_signer_core::watermarks::Watermarks;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The file's format and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    #[serde(rename = "alys-backup/1")]
    V1,
}

/// A random number that tells a backup from all others; every share names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackupId(Digest);

impl BackupId {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(Digest::new(bytes))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// Takes milliseconds.
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }
}

/// Whose keys: a member of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The chain.
    pub chain_id: ChainId,
    /// Digest of its spec.
    pub spec: SpecDigest,
    /// The member's place in it.
    pub member: MemberId,
    /// BLS key of the member's card.
    pub bls: BlsPublicKeyBytes,
    /// Schnorr key of the member's card.
    pub schnorr: SchnorrPublicKeyBytes,
}

impl Holder {
    /// The member of a chain with these public keys.
    ///
    /// # Errors
    /// - [`BackupError::NoMember`] where no member has both.
    pub fn of(
        chain: &Chain,
        bls: BlsPublicKeyBytes,
        schnorr: SchnorrPublicKeyBytes,
    ) -> Result<Self, BackupError> {
        let members = &chain.spec().members;
        let place = members
            .iter()
            .position(|member| member.bls == bls && member.schnorr == schnorr)
            .and_then(|place| u16::try_from(place).ok())
            .ok_or_else(|| BackupError::NoMember {
                chain: chain.id().to_string(),
                bls: bls.to_string(),
            })?;
        Ok(Self {
            chain_id: chain.id(),
            spec: chain.digest(),
            member: MemberId::new(place),
            bls,
            schnorr,
        })
    }
}

/// What the signer remembered when the backup was made, as far as it only ever makes a signer sign less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marks {
    /// Slot, lock, burns.
    pub watermarks: Watermarks,
    /// The last officers' statement: a lower number is refused.
    pub statement: StatementNumber,
    /// The newest policy: an older one is refused.
    pub policy: Option<AcceptedPolicy>,
    /// Whether peg-outs were paused.
    pub paused: bool,
}

/// An officer's share, as the backup shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareHeader {
    /// Who has it.
    pub officer: OfficerName,
    /// Whom it is encrypted to.
    pub recipient: Recipient,
    /// Tagged hash of the share. It hides it: a share is 256 random bits.
    pub commitment: Digest,
}

/// What a backup says in clear. Bound to the keys in it as associated data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub(crate) format: Format,
    /// The backup's own number.
    pub id: BackupId,
    /// When it was made, by the signer's clock.
    pub made: UnixMillis,
    /// Whose keys.
    pub holder: Holder,
    /// What the signer remembered.
    pub marks: Marks,
    /// How many officers open it.
    pub threshold: u8,
    /// The officers, in the order of their shares, which count from 1.
    pub shares: Vec<ShareHeader>,
}

impl Header {
    /// Where a share's number belongs.
    pub(crate) fn share(&self, number: u8) -> Option<&ShareHeader> {
        self.shares.get(usize::from(number).checked_sub(1)?)
    }

    /// That the backup is of a member of this chain. Whoever relies on a backup asks a chain spec that it has from
    /// elsewhere: a whole backup can be forged, though not with a member's keys in it.
    ///
    /// # Errors
    /// - [`BackupError::Foreign`], [`BackupError::NoMember`] as named.
    pub fn check_chain(&self, chain: &Chain) -> Result<(), BackupError> {
        let foreign = |what, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
            Err(BackupError::Foreign {
                what,
                expected: expected.to_string(),
                found: found.to_string(),
            })
        };
        let found = &self.holder;
        if found.spec != chain.digest() {
            return foreign("the chain with spec", &chain.digest(), &found.spec);
        }
        let expected = Holder::of(chain, found.bls, found.schnorr)?;
        if *found != expected {
            return foreign("member", &expected.member, &found.member);
        }
        Ok(())
    }

    /// One encoding, whatever the file's white space.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, BackupError> {
        postcard::to_allocvec(self).map_err(|_| BackupError::Encode)
    }

    pub(crate) fn check(&self) -> Result<(), BackupError> {
        let officers = self
            .shares
            .iter()
            .map(|share| (&share.officer, &share.recipient));
        check_officers(self.threshold, &officers.collect::<Vec<_>>())
    }
}

/// A backup that is to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// When.
    pub made: UnixMillis,
    /// Whose keys.
    pub holder: Holder,
    /// What the signer remembers.
    pub marks: Marks,
    /// How many officers are to open it.
    pub threshold: u8,
    /// Who is to have a share.
    pub officers: Vec<Officer>,
}

impl Plan {
    /// That the officers and the threshold can be had; nothing secret is needed for that.
    ///
    /// # Errors
    /// - [`BackupError::Officers`], [`BackupError::Threshold`], [`BackupError::NamedTwice`],
    ///   [`BackupError::SameRecipient`] as named.
    pub fn check(threshold: u8, officers: &[Officer]) -> Result<(), BackupError> {
        let officers = officers
            .iter()
            .map(|officer| (&officer.name, &officer.recipient));
        check_officers(threshold, &officers.collect::<Vec<_>>())
    }
}

fn check_officers(
    threshold: u8,
    officers: &[(&OfficerName, &Recipient)],
) -> Result<(), BackupError> {
    let count = officers.len();
    if !(usize::from(MIN_THRESHOLD)..=usize::from(MAX_OFFICERS)).contains(&count) {
        return Err(BackupError::Officers(count));
    }
    if threshold < MIN_THRESHOLD || usize::from(threshold) > count {
        return Err(BackupError::Threshold {
            officers: count,
            found: threshold,
        });
    }
    for (place, (name, recipient)) in officers.iter().enumerate() {
        for (first, other) in officers.iter().take(place) {
            if first == name {
                return Err(BackupError::NamedTwice((*name).clone()));
            }
            if other == recipient {
                return Err(BackupError::SameRecipient {
                    first: (*first).clone(),
                    second: (*name).clone(),
                });
            }
        }
    }
    Ok(())
}
