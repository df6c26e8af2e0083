//! Loads PKCS#11 modules, each once per process: `C_Initialize` counts per process, not per caller.

use crate::error::TokenError;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The module in `path`, initialised. It stays loaded for the process's life.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, TokenError> {
    let failed = |reason: String| TokenError::Module {
        path: path.to_owned(),
        reason,
    };
    // A bare name would be searched for along the linker's path.
    if !path.is_absolute() {
        return Err(failed("expected an absolute path".to_owned()));
    }
    let canonical = path
        .canonicalize()
        .map_err(|error| failed(error.to_string()))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = loaded.get(&canonical) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(&canonical).map_err(|error| failed(error.to_string()))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(failed(reason(&error))),
    }
    loaded.insert(canonical, module.clone());
    Ok(module)
}

/// Function and return code. The bindings' own text repeats a paragraph of the standard.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("C_{function:?} reports {code:?}"),
        other => other.to_string(),
    }
}
