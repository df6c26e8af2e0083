//! Fixed-length byte strings: hex for people, bare bytes on the wire.

use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserializer, Serializer};
use thiserror::Error;

/// Text that is not the hex of the expected number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HexError {
    /// The wrong number of digits.
    #[error("expected {expected} bytes of hex, found {found} characters")]
    Length {
        /// Bytes expected.
        expected: usize,
        /// Characters found, without a `0x` before them.
        found: usize,
    },
    /// Something that is no hex digit.
    #[error("expected hex digits, found {0:?}")]
    Digit(String),
}

/// Reads exactly `N` bytes of hex, with or without `0x` before them.
///
/// # Errors
/// - [`HexError::Length`] where the text has another length;
/// - [`HexError::Digit`] where a character is no hex digit.
pub fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() != N.saturating_mul(2) {
        return Err(HexError::Length {
            expected: N,
            found: digits.len(),
        });
    }
    let digit = || HexError::Digit(digits.chars().take(200).collect());
    let mut bytes = [0u8; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        // `from_str_radix` alone would accept a sign.
        if !pair.iter().all(u8::is_ascii_hexdigit) {
            return Err(digit());
        }
        let pair = core::str::from_utf8(pair).map_err(|_| digit())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| digit())?;
    }
    Ok(bytes)
}

/// Writes bytes as lower-case hex.
pub fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Serializes as hex for people and as exactly `N` bytes otherwise.
///
/// # Errors
/// - whatever the serializer reports.
pub fn serialize<S: Serializer, const N: usize>(
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        struct Hex<'a>(&'a [u8]);
        impl fmt::Display for Hex<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, self.0)
            }
        }
        return serializer.collect_str(&Hex(bytes));
    }
    let mut tuple = serializer.serialize_tuple(N)?;
    for byte in bytes {
        tuple.serialize_element(byte)?;
    }
    tuple.end()
}

/// The reverse of [`serialize`].
///
/// # Errors
/// - whatever the deserializer reports, or text that is no hex of `N` bytes.
pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    struct Text<const N: usize>;
    impl<const N: usize> Visitor<'_> for Text<N> {
        type Value = [u8; N];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes of hex")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; N], E> {
            from_hex(text).map_err(E::custom)
        }
    }
    struct Raw<const N: usize>(PhantomData<[u8; N]>);
    impl<'de, const N: usize> Visitor<'de> for Raw<N> {
        type Value = [u8; N];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<[u8; N], A::Error> {
            let mut bytes = [0u8; N];
            for (place, byte) in bytes.iter_mut().enumerate() {
                *byte = items
                    .next_element()?
                    .ok_or_else(|| A::Error::invalid_length(place, &self))?;
            }
            Ok(bytes)
        }
    }
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(Text::<N>)
    } else {
        deserializer.deserialize_tuple(N, Raw::<N>(PhantomData))
    }
}

/// Defines a newtype over `[u8; N]` that prints, parses and serializes as described above.
macro_rules! byte_string {
    ($(#[$doc:meta])* $name:ident[$length:literal]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = $length;
            /// All bytes zero.
            pub const ZERO: Self = Self([0; $length]);

            /// Wraps bytes as they are.
            pub const fn new(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The bytes, by value.
            pub const fn to_bytes(self) -> [u8; $length] {
                self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("0x")?;
                $crate::bytes::write_hex(f, &self.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl core::str::FromStr for $name {
            type Err = $crate::bytes::HexError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::bytes::from_hex(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::bytes::serialize(&self.0, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::bytes::deserialize(deserializer).map(Self)
            }
        }
    };
}
pub(crate) use byte_string;

byte_string!(
    /// Id of a side block: the tagged hash of its header.
    BlockId[32]
);
byte_string!(
    /// Root of the history of all ancestors of a header ([`crate::history`]).
    HistoryRoot[32]
);
byte_string!(
    /// Hash of an execution block (keccak-256 of its RLP header).
    ExecutionHash[32]
);
byte_string!(
    /// Root over the sections of a block's body ([`crate::body`]).
    BodyRoot[32]
);
byte_string!(
    /// Id of a peg-out batch ([`crate::peg::BatchRecord::id`]).
    BatchId[32]
);
byte_string!(
    /// What merged mining commits to: a range of side blocks and the payout (design 6).
    BundleHash[32]
);
byte_string!(
    /// Digest of a chain spec; two nodes talk only if theirs agree.
    SpecDigest[32]
);
byte_string!(
    /// A tagged 32-byte digest with no narrower type.
    Digest[32]
);
byte_string!(
    /// Account address of the execution layer.
    EvmAddress[20]
);
byte_string!(
    /// A random number that tells who advanced a signer's outside counter; zeros before anybody did.
    CounterTag[16]
);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn hex_is_strict() {
        assert_eq!(from_hex::<2>("0x00ff"), Ok([0, 255]));
        assert_eq!(
            from_hex::<2>("00f"),
            Err(HexError::Length {
                expected: 2,
                found: 3
            })
        );
        assert!(matches!(from_hex::<1>("+f"), Err(HexError::Digit(_))));
        assert!(matches!(from_hex::<1>("é"), Err(HexError::Digit(_))));
    }

    #[test]
    fn the_wire_carries_bare_bytes() {
        let id = BlockId::new([7; 32]);
        assert_eq!(postcard::to_allocvec(&id).unwrap(), [7; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
