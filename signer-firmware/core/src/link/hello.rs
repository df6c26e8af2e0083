//! Who a device is: the sealed payload with which it answers the opening of a session.

use super::alloc::string::String;
use alys_protocol::bytes::SpecDigest;
use alys_protocol::units::{ChainId, Epoch, MemberId};
use core::fmt;
use thiserror::Error;

/// Bytes of a hello at most.
pub(crate) const MAX_HELLO_BYTES: usize = 2 + 1 + 8 + 4 + 2 + SpecDigest::LENGTH + Words::MAX_BYTES;

/// A few words of printable ASCII: a firmware's name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// Characters at most.
    pub const MAX_BYTES: usize = 64;

    /// Takes the first [`Self::MAX_BYTES`] characters; what is not printable ASCII becomes a question mark.
    pub fn new(text: &str) -> Self {
        Self(
            text.chars()
                .take(Self::MAX_BYTES)
                .map(|character| match character {
                    ' '..='~' => character,
                    _ => '?',
                })
                .collect(),
        )
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Reads what came over the line: it goes to terminals and logs, so nothing but [`Self::new`]'s output is taken.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(bytes).ok()?;
        let words = Self::new(text);
        (words.0 == text).then_some(words)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose signer a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisioned {
    /// The chain.
    pub chain_id: ChainId,
    /// The federation's term.
    pub epoch: Epoch,
    /// The member whose keys it holds.
    pub member: MemberId,
    /// Digest of the chain spec it was provisioned with.
    pub spec: SpecDigest,
}

/// What a device says of itself when a session opens. Authenticated by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// `PROTOCOL_VERSION` of the requests that it understands.
    pub protocol: u16,
    /// Whose signer it is; none before it is provisioned.
    pub provisioned: Option<Provisioned>,
    /// Its firmware: name and version.
    pub firmware: Words,
}

/// Bytes that are no hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected a device's hello, found {0} other bytes")]
pub struct HelloError(pub usize);

impl Hello {
    /// Writes it and gives its length; `None` where it does not fit.
    pub(crate) fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut length = 0usize;
        let mut put = |bytes: &[u8]| {
            let end = length.checked_add(bytes.len())?;
            out.get_mut(length..end)?.copy_from_slice(bytes);
            length = end;
            Some(())
        };
        put(&self.protocol.to_le_bytes())?;
        match &self.provisioned {
            None => put(&[0])?,
            Some(to) => {
                put(&[1])?;
                put(&to.chain_id.get().to_le_bytes())?;
                put(&to.epoch.get().to_le_bytes())?;
                put(&to.member.get().to_le_bytes())?;
                put(to.spec.as_bytes())?;
            }
        }
        put(self.firmware.as_bytes())?;
        Some(length)
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// - [`HelloError`] where it is anything else.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, HelloError> {
        Self::parse(bytes).ok_or(HelloError(bytes.len()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (protocol, rest) = bytes.split_first_chunk()?;
        let (provisioned, rest) = match rest.split_first()? {
            (0, rest) => (None, rest),
            (1, rest) => {
                let (chain_id, rest) = rest.split_first_chunk()?;
                let (epoch, rest) = rest.split_first_chunk()?;
                let (member, rest) = rest.split_first_chunk()?;
                let (spec, rest) = rest.split_first_chunk()?;
                let provisioned = Provisioned {
                    chain_id: ChainId::new(u64::from_le_bytes(*chain_id)),
                    epoch: Epoch::new(u32::from_le_bytes(*epoch)),
                    member: MemberId::new(u16::from_le_bytes(*member)),
                    spec: SpecDigest::new(*spec),
                };
                (Some(provisioned), rest)
            }
            _ => return None,
        };
        Some(Self {
            protocol: u16::from_le_bytes(*protocol),
            provisioned,
            firmware: Words::read(rest)?,
        })
    }
}
