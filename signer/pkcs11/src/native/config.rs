//! What a native token is configured by: names of keys, and the vendor's mechanisms.

use crate::error::TokenError;
use cryptoki::mechanism::vendor_defined::{CKM_VENDOR_DEFINED, VendorDefinedMechanism};
use cryptoki::mechanism::{Mechanism, MechanismType};
use serde::{Deserialize, Serialize};

/// Longest parameter, in words.
const MAX_PARAMETER_WORDS: usize = 4;

/// The two keys of a member, and how its token signs with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeConfig {
    /// The Bitcoin wallet's key, BIP-340.
    pub schnorr: NativeKeyConfig,
    /// The key that votes, BLS12-381 with minimal public keys.
    pub bls: NativeKeyConfig,
    /// Signs the BLS key itself under the ciphersuite's other domain, to prove its possession; only a ceremony needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bls_possession: Option<VendorMechanism>,
}

/// One key, and how its token signs with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeKeyConfig {
    /// Label of both the private and the public key.
    pub object: String,
    /// Signs 32 bytes.
    pub sign: VendorMechanism,
    /// Makes a key pair, where `init` is to do that; without it, the key has to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<VendorMechanism>,
}

/// A vendor-defined mechanism: a number of the vendor's range, and its parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawMechanism", into = "RawMechanism")]
pub struct VendorMechanism {
    number: MechanismType,
    parameter: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMechanism {
    /// `CKM_VENDOR_DEFINED` (0x80000000) or above.
    mechanism: u32,
    /// The parameter as machine words (`CK_ULONG`), at most four. Pointers cannot be written down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parameter: Vec<u64>,
}

impl TryFrom<RawMechanism> for VendorMechanism {
    type Error = TokenError;

    fn try_from(raw: RawMechanism) -> Result<Self, TokenError> {
        Self::new(raw.mechanism, raw.parameter)
    }
}

impl From<VendorMechanism> for RawMechanism {
    fn from(mechanism: VendorMechanism) -> Self {
        Self {
            // It was one when it was made.
            mechanism: u32::try_from(*mechanism.number).unwrap_or(u32::MAX),
            parameter: mechanism.parameter,
        }
    }
}

impl VendorMechanism {
    /// A mechanism by its number and its parameter's machine words.
    ///
    /// # Errors
    /// - [`TokenError::Mechanism`] where the number is not a vendor's, or the parameter longer than four words.
    pub fn new(mechanism: u32, parameter: Vec<u64>) -> Result<Self, TokenError> {
        let number = MechanismType::new_vendor_defined(mechanism.into()).map_err(|_| {
            TokenError::Mechanism {
                expected: "a number of at least CKM_VENDOR_DEFINED, 0x80000000",
                found: format!("{mechanism:#x}, below {CKM_VENDOR_DEFINED:#x}"),
            }
        })?;
        if parameter.len() > MAX_PARAMETER_WORDS {
            return Err(TokenError::Mechanism {
                expected: "a parameter of at most four words",
                found: parameter.len().to_string(),
            });
        }
        Ok(Self { number, parameter })
    }

    pub(super) fn mechanism(&self) -> Mechanism<'_> {
        // The bindings take a parameter of a fixed size.
        let vendor = match self.parameter.as_slice() {
            [] => None,
            words => sized::<1>(self.number, words)
                .or_else(|| sized::<2>(self.number, words))
                .or_else(|| sized::<3>(self.number, words))
                .or_else(|| sized::<4>(self.number, words)),
        };
        Mechanism::VendorDefined(
            vendor.unwrap_or_else(|| VendorDefinedMechanism::new::<[u64; 0]>(self.number, None)),
        )
    }
}

fn sized<const WORDS: usize>(
    number: MechanismType,
    words: &[u64],
) -> Option<VendorDefinedMechanism<'_>> {
    <&[u64; WORDS]>::try_from(words)
        .ok()
        .map(|words| VendorDefinedMechanism::new(number, Some(words)))
}
