//! Keys and a freshness counter in a PKCS#11 token.
//!
//! Two modes, which differ in where the signing scalars live:
//!
//! - *sealed* ([`SealingKey`]): the token holds an AES-256 key that does not leave it. The signing keys are encrypted
//!   under it, and once opened they live in the signer's locked memory for the life of the process. Whoever reads that
//!   memory has them.
//! - *native* ([`SchnorrKey`], [`BlsKey`]): the token signs by vendor-defined mechanisms; no scalar leaves it. What may be
//!   signed is a type, not bytes:
//!
//! ```compile_fail,E0624
//! fn anything(key: &alys_signer_pkcs11::SchnorrKey, message: &[u8; 32]) {
//!     let _ = key.sign(message);
//! }
//! ```
//!
//! ```compile_fail,E0308
//! # use alys_signer_core::signer::BlsIntent;
//! fn unpersisted(key: &alys_signer_pkcs11::BlsKey, intent: BlsIntent) {
//!     let _ = key.sign_vote(intent);
//! }
//! ```
//!
//! [`TokenCounter`] keeps the outside counter of rules `fresh` and `counter` in a token. [`Token`] finds the token that
//! an RFC 7512 URI ([`TokenUri`]) names, logs in with a PIN from a file, and does both again where the token was away
//! meanwhile.
//!
//! Share one [`Token`] between all that is in one token. Calls wait for each other, and for the module as long as that
//! takes.

mod counter;
mod error;
mod module;
mod native;
mod object;
mod pin;
mod random;
mod sealing;
mod token;
mod uri;

pub use counter::TokenCounter;
pub use error::{Condition, PinState, TokenError};
pub use native::{BlsKey, NativeConfig, NativeKeyConfig, SchnorrKey, VendorMechanism};
pub use object::KeyName;
pub use random::RANDOM_BYTES;
pub use sealing::{Sealed, SealingKey};
pub use token::{Health, Token};
pub use uri::{ObjectKind, TokenUri, UriError};
