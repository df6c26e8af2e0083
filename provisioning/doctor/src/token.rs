//! The token is there, and its name fits one token only. No PIN is tried.

use crate::files::{self, Secrecy};
use crate::finding::Finding;
use alys_signer_pkcs11::TokenUri;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use std::path::Path;

/// A token in a slot, as far as a URI can name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// `token`.
    pub label: String,
    /// `serial`.
    pub serial: String,
    /// The user's PIN is locked.
    pub locked: bool,
}

const WHY: &str =
    "without its token the signer opens no keys; with two of one name it does not know which";

/// The tokens that a module shows.
///
/// # Errors
/// - what the module reports, in words.
pub fn tokens(module: &Path) -> Result<Vec<Label>, String> {
    let failed = |error: cryptoki::error::Error| error.to_string();
    let library = Pkcs11::new(module).map_err(failed)?;
    library
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(failed)?;
    let mut labels = Vec::new();
    for slot in library.get_slots_with_token().map_err(failed)? {
        let info = library.get_token_info(slot).map_err(failed)?;
        if info.token_initialized() {
            labels.push(Label {
                label: info.label().trim_end().to_owned(),
                serial: info.serial_number().trim_end().to_owned(),
                locked: info.user_pin_locked(),
            });
        }
    }
    Ok(labels)
}

/// That exactly one of `tokens` is what `uri` names.
pub fn unique(uri: &TokenUri, tokens: &Result<Vec<Label>, String>) -> Finding {
    let remedy = "plug it in; name it by serial= in token.uri; pkcs11-tool --list-token-slots shows what is there";
    let tokens = match tokens {
        Ok(tokens) => tokens,
        Err(error) => {
            return Finding::error(
                "token",
                error.clone(),
                WHY,
                "check the module's path, and its service (pcscd)",
            );
        }
    };
    let same = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    let fitting: Vec<&Label> = tokens
        .iter()
        .filter(|it| same(&uri.token, &it.label) && same(&uri.serial, &it.serial))
        .collect();
    match fitting.as_slice() {
        [one] if one.locked => Finding::error(
            "token",
            format!("{:?}: its PIN is locked", one.label),
            WHY,
            "unlock it with the security officer's PIN",
        ),
        [one] => Finding::fine("token", format!("{:?} (serial {})", one.label, one.serial)),
        many => Finding::error(
            "token",
            format!(
                "expected one token that is {uri}, found {} of {}",
                many.len(),
                tokens.len()
            ),
            WHY,
            remedy,
        ),
    }
}

/// The module's file is root's: it runs in the signer.
pub fn module(path: &Path, owners: &[u32]) -> Vec<Finding> {
    let mut findings = files::file(path, Secrecy::Public, owners);
    if path.to_string_lossy().contains("softhsm") {
        findings.push(Finding::warning(
            "token",
            "SoftHSM: its token is a folder of files",
            "whoever copies the files and has the PIN has the keys, and an old counter can be put back",
            "for real money use a hardware token",
        ));
    }
    findings
}
