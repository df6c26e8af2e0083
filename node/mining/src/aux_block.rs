//! The JSON of the merged-mining calls, as pools know it from Namecoin's RPC.

use alys_protocol::bytes::BundleHash;
use alys_protocol::spec::Target;
use serde::{Deserialize, Serialize};

/// Work to do: the answer of `createauxblock` and of `getauxblock` without arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuxBlock {
    /// What to commit to, in display order: the bytes to put after the magic.
    pub hash: String,
    /// Our chain id in the chain Merkle tree.
    pub chainid: u32,
    /// The newest block finalised by proof of work, below the range, in display order.
    pub previousblockhash: String,
    /// What the miner would be paid on the side chain if the next block carried the work, in satoshi, rounded down: 8/10
    /// of the fees that wait in the vault. More may have come in when the work is found; 0 also where it is not known.
    /// Namecoin's counterpart is subsidy and fees of the block; there is no subsidy here.
    pub coinbasevalue: u64,
    /// The target in Bitcoin's compact form, rounded down, so that it never promises too much.
    pub bits: String,
    /// Height of the last block of the range.
    pub height: u64,
    /// The target, little-endian hex, as Namecoin writes it.
    #[serde(rename = "_target")]
    pub target: String,
}

/// Lower-case hex without `0x`.
pub fn hex(bytes: &[u8]) -> String {
    ::hex::DisplayHex::to_lower_hex_string(bytes)
}

/// A bundle hash as pools see it: reversed, lower-case hex, without `0x`.
pub fn display_hash(bytes: &[u8; 32]) -> String {
    let mut reversed = *bytes;
    reversed.reverse();
    hex(&reversed)
}

/// The reverse of [`display_hash`].
///
/// # Errors
/// - where the text is not 64 hex digits.
pub fn parse_display_hash(text: &str) -> Result<BundleHash, alys_protocol::bytes::HexError> {
    let mut bytes: [u8; 32] = alys_protocol::bytes::from_hex(text)?;
    bytes.reverse();
    Ok(BundleHash::new(bytes))
}

/// The target in Bitcoin's compact form; what the mantissa cannot hold is cut off, which makes it harder.
pub fn compact_target(target: &Target) -> String {
    let compact = bitcoin::Target::from_be_bytes(target.to_bytes()).to_compact_lossy();
    format!("{:08x}", compact.to_consensus())
}

/// The target as Namecoin's `_target` has it: little-endian hex.
pub fn little_endian_target(target: &Target) -> String {
    display_hash(target.as_bytes())
}

/// Reads [`little_endian_target`].
///
/// # Errors
/// - where the text is not 64 hex digits.
pub fn parse_little_endian_target(text: &str) -> Result<Target, alys_protocol::bytes::HexError> {
    let mut bytes: [u8; 32] = alys_protocol::bytes::from_hex(text)?;
    bytes.reverse();
    Ok(Target::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a13_hashes_are_shown_in_namecoins_byte_order() {
        let mut bytes = [0u8; 32];
        bytes[0] = 0xab;
        let shown = display_hash(&bytes);
        assert!(shown.starts_with("00") && shown.ends_with("ab"));
        assert_eq!(parse_display_hash(&shown), Ok(BundleHash::new(bytes)));
        // What follows the magic in a coinbase is the shown hash.
        let commitment = alys_protocol::auxpow::commitment(&BundleHash::new(bytes));
        let mut shown_bytes = bytes;
        shown_bytes.reverse();
        assert_eq!(commitment[4..36], shown_bytes);
    }

    #[test]
    fn the_compact_target_is_never_easier() {
        let mut bytes = [0u8; 32];
        bytes[3..10].copy_from_slice(&[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd]);
        assert_eq!(compact_target(&Target::new(bytes)), "1d012345");
    }
}
