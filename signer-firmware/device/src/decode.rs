//! Reading messages without another copy of them.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// Compares what is written with what was read.
struct Same<'a>(&'a [u8]);

impl Flavor for Same<'_> {
    type Output = bool;

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        match self.0.split_first() {
            Some((first, rest)) if *first == data => {
                self.0 = rest;
                Ok(())
            }
            Some(_) | None => Err(postcard::Error::SerializeBufferFull),
        }
    }

    fn finalize(self) -> postcard::Result<bool> {
        Ok(self.0.is_empty())
    }
}

/// Decodes a message; every byte must belong to it and be as it would be written, as in
/// [`alys_protocol::signer::decode_frame`], which needs the memory of one more message.
pub(crate) fn exactly<'a, T: Serialize + Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (message, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    let same = postcard::serialize_with_flavor(&message, Same(bytes));
    (rest.is_empty() && same == Ok(true)).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_encoding_and_nothing_after_it() {
        assert_eq!(exactly::<u32>(&[5]), Some(5));
        assert_eq!(exactly::<u32>(&[0x85, 0x00]), None);
        assert_eq!(exactly::<u32>(&[5, 0]), None);
        assert_eq!(exactly::<u32>(&[0x85]), None);
    }
}
