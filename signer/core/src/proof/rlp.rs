//! Strict reading of RLP (yellow paper, appendix B) without copies: canonical lengths only, and no byte left over.

use alloy_rlp::{Error, Header};

/// The items of a list that are still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Items<'a>(&'a [u8]);

/// One item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// Whether it is a list.
    pub(super) list: bool,
    /// What it holds, without its own header.
    pub(super) payload: &'a [u8],
    /// All of its bytes.
    pub(super) encoded: &'a [u8],
}

impl<'a> Items<'a> {
    /// The items of the one list that `bytes` encode.
    pub(super) fn of_list(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut outer = Self(bytes);
        let list = outer.list()?;
        outer.finish()?;
        Ok(list)
    }

    pub(super) fn next(&mut self) -> Result<Item<'a>, Error> {
        let before = self.0;
        let mut after = before;
        let Header {
            list,
            payload_length,
        } = Header::decode(&mut after)?;
        let (payload, rest) = after
            .split_at_checked(payload_length)
            .ok_or(Error::InputTooShort)?;
        let encoded = before
            .get(..before.len().saturating_sub(rest.len()))
            .ok_or(Error::InputTooShort)?;
        self.0 = rest;
        Ok(Item {
            list,
            payload,
            encoded,
        })
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Error> {
        let item = self.next()?;
        if item.list {
            return Err(Error::UnexpectedList);
        }
        Ok(item.payload)
    }

    pub(super) fn list(&mut self) -> Result<Self, Error> {
        let item = self.next()?;
        if !item.list {
            return Err(Error::UnexpectedString);
        }
        Ok(Self(item.payload))
    }

    /// A string of exactly `N` bytes.
    pub(super) fn fixed<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        self.string()?
            .try_into()
            .map_err(|_| Error::UnexpectedLength)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Error::UnexpectedLength)
        }
    }
}
