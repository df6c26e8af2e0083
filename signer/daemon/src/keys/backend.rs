//! Where keys are when nobody uses them, and where when somebody does.

use alys_protocol::ceremony::CardBackend;
use std::path::PathBuf;

/// What keeps the member's keys, as `status` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A file that a passphrase opens.
    Passphrase,
    /// A file that a token's key opens.
    TokenSealed {
        /// Name of the key.
        key: String,
        /// Whether the token made it and never could give it away.
        made_inside: bool,
        /// Label and serial number.
        token: String,
        /// The PKCS#11 library.
        module: PathBuf,
    },
    /// A token that signs itself.
    TokenNative {
        /// Names of the voting key, the wallet's key, and the AES key of what the signer seals for itself.
        keys: [String; 3],
        /// Whether the token made both signing keys and never could give them away.
        made_inside: bool,
        /// Label and serial number.
        token: String,
        /// The PKCS#11 library.
        module: PathBuf,
    },
}

impl Backend {
    /// As a card names it.
    pub const fn kind(&self) -> CardBackend {
        match self {
            Self::Passphrase => CardBackend::Software,
            Self::TokenSealed { .. } => CardBackend::Pkcs11Sealed,
            Self::TokenNative { .. } => CardBackend::Pkcs11Native,
        }
    }

    /// In words, with the kind of memory that the opened keys are in.
    pub fn describe(&self, locked: bool) -> String {
        let memory = if locked { "locked" } else { "unlocked" };
        match self {
            Self::Passphrase => format!(
                "software keys, sealed with argon2id and XChaCha20-Poly1305, in {memory} memory"
            ),
            Self::TokenSealed {
                key,
                made_inside,
                token,
                module,
            } => {
                let origin = origin(*made_inside);
                format!(
                    "software keys, sealed under the non-extractable AES key {key} of PKCS#11 token {token} (module {}){origin}, \
                     opened into {memory} memory",
                    module.display()
                )
            }
            Self::TokenNative {
                keys: [bls, schnorr, sealing],
                made_inside,
                token,
                module,
            } => {
                let origin = origin(*made_inside);
                format!(
                    "native keys {bls:?} and {schnorr:?}, non-extractable, which sign inside PKCS#11 token {token} (module {}){origin}; \
                     only the audit log's key, sealed under its AES key {sealing}, is opened into {memory} memory",
                    module.display()
                )
            }
        }
    }
}

const fn origin(made_inside: bool) -> &'static str {
    if made_inside {
        ""
    } else {
        ", brought into it from outside"
    }
}
