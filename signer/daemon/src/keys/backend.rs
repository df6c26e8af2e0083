//! Where keys are when nobody uses them, and where when somebody does.

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
}

impl Backend {
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
                let origin = if *made_inside {
                    ""
                } else {
                    ", brought into it from outside"
                };
                format!(
                    "software keys, sealed under the non-extractable AES key {key} of PKCS#11 token {token} (module {}){origin}, \
                     opened into {memory} memory",
                    module.display()
                )
            }
        }
    }
}
