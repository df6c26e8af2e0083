//! A PKCS#11 module for tests: one token that signs by BIP-340 and BLS12-381 through vendor-defined mechanisms, seals by
//! AES-GCM, keeps data objects, locks its PIN after three wrong ones, and can be pulled out.
//!
//! The token is a folder, named by the environment variable [`FOLDER`]; every process that uses the folder sees the
//! same token. Its keys lie there in clear: this is no place for a key that matters. Sizes and layouts are those of
//! 64-bit Linux. Of PKCS#11 2.40 it has what is needed to make a token, its keys and data objects, to find them, to
//! sign and to seal; other functions are null.

mod abi;
mod folder;
mod pointers;
mod process;
mod signing;

use std::io;
use std::path::{Path, PathBuf};

/// Environment variable that names the token's folder.
pub const FOLDER: &str = "ALYS_TEST_PKCS11_FOLDER";
/// While a file of this name is in the folder, the token is not in its slot.
pub const REMOVED: &str = "removed";
/// When the contents of this file change, all sessions are lost, as after a quick removal and return.
pub const EPOCH: &str = "epoch";
/// While a file of this name is in the folder, a second slot has another token of the same label (serial number 2), in
/// which no session can be opened.
pub const TWIN: &str = "twin";

const VENDOR: u32 = 0x8000_0000;

/// Mechanism: makes a BIP-340 key pair. No parameter.
pub const GENERATE_SCHNORR: u32 = VENDOR | 0x416c_0001;
/// Mechanism: signs 32 bytes by BIP-340. No parameter.
pub const SIGN_SCHNORR: u32 = VENDOR | 0x416c_0002;
/// Mechanism: makes a BLS12-381 key pair with a minimal public key. No parameter.
pub const GENERATE_BLS: u32 = VENDOR | 0x416c_0003;
/// Mechanism: signs by BLS. Parameter: one word, [`BLS_SIGNATURE`] or [`BLS_POSSESSION`].
pub const SIGN_BLS: u32 = VENDOR | 0x416c_0004;

/// Signs 32 bytes in the protocol's domain of signatures.
pub const BLS_SIGNATURE: u64 = 0;
/// Signs the key's own public key in the domain of possession proofs.
pub const BLS_POSSESSION: u64 = 1;

/// Key type of BIP-340 keys.
pub const KEY_SCHNORR: u32 = VENDOR | 0x416c_0001;
/// Key type of BLS keys.
pub const KEY_BLS: u32 = VENDOR | 0x416c_0002;

/// Makes a token with a user's PIN in a folder that has none, as `softhsm2-util --init-token` does for SoftHSM. Its keys are
/// made by who uses it.
///
/// # Errors
/// - [`io::ErrorKind::AlreadyExists`] where there is one;
/// - [`io::Error`] otherwise where the folder cannot be written.
pub fn make_token(folder: &Path, label: &str, so_pin: &str, pin: &str) -> io::Result<()> {
    let unusable = || io::Error::other(format!("{} cannot be used", folder.display()));
    let place = folder::Folder::lock_at(folder.to_owned()).ok_or_else(unusable)?;
    if place.read().is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut token = folder::Token::new(label.to_owned(), so_pin.as_bytes().to_vec());
    token.pin = Some(pin.as_bytes().to_vec());
    place.write(&token).ok_or_else(unusable)
}

/// The built module, beside the program that runs or in a folder above it: where cargo puts it.
pub fn library() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let name = "libalys_test_pkcs11_module.so";
    program
        .ancestors()
        .skip(1)
        .take(3)
        .flat_map(|folder: &Path| [folder.join(name), folder.join("deps").join(name)])
        .find(|path| path.is_file())
}
