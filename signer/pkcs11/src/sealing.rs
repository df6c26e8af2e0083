//! Sealed mode: secrets under an AES-256 key that does not leave the token.

use crate::error::TokenError;
use crate::object::{Key, KeyName};
use crate::token::{Link, Token};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::types::Ulong;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of the nonce of AES-GCM (NIST SP 800-38D, 8.2).
const NONCE_BYTES: usize = 12;
/// Bits of its tag.
const TAG_BITS: Ulong = Ulong::new(128);
const TAG_BYTES: usize = 16;
/// Longest secret, and longest associated data.
const MAX_SEALED_BYTES: usize = 64 << 10;

/// What [`SealingKey::seal`] makes. No secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// The ciphertext, then the tag of 16 bytes.
    pub ciphertext: Vec<u8>,
}

/// An AES-256 key in a token. Seals by `CKM_AES_GCM`.
///
/// Nonces are random, so at most 2^32 secrets may be sealed by one key (SP 800-38D, 8.3); a signer seals a handful in
/// its life.
#[derive(Debug)]
pub struct SealingKey {
    token: Arc<Token>,
    key: Key,
}

impl SealingKey {
    /// The key that is there.
    ///
    /// # Errors
    /// - [`TokenError::KeyMissing`], [`TokenError::KeyAmbiguous`] as named;
    /// - [`TokenError::KeyExtractable`] where it could leave the token;
    /// - [`TokenError::KeyUnsuitable`] where it is no AES-256 key.
    pub fn open(token: Arc<Token>, name: KeyName) -> Result<Self, TokenError> {
        let key = Key::new(ObjectClass::SECRET_KEY, name);
        token.with(|link| check_aes_256(link, &key))?;
        Ok(Self { token, key })
    }

    /// Makes a key inside the token.
    ///
    /// # Errors
    /// - [`TokenError::KeyExists`] where there is one of this name;
    /// - those of [`SealingKey::open`].
    pub fn generate(token: Arc<Token>, name: KeyName) -> Result<Self, TokenError> {
        let key = Key::new(ObjectClass::SECRET_KEY, name.clone());
        let mut template = name.attributes();
        template.extend([
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::ValueLen(Ulong::new(32)),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            // A key that also unwraps could be made to bring a known key in; nothing else is asked of this one.
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
            Attribute::Sign(false),
            Attribute::Verify(false),
        ]);
        token.with(|link| {
            if key.count(link)? > 0 {
                return Err(TokenError::KeyExists {
                    token: link.token(),
                    key: key.describe(),
                });
            }
            link.check(link.session.generate_key(&Mechanism::AesKeyGen, &template))
        })?;
        Self::open(token, name)
    }

    /// Whether the token made this key and never could give it away. False for a key that was restored from outside.
    ///
    /// # Errors
    /// - [`TokenError`] where the token cannot be asked.
    pub fn generated_inside(&self) -> Result<bool, TokenError> {
        self.token.with(|link| self.key.generated_inside(link))
    }

    /// Encrypts a secret and binds it to `aad`, the associated data; makes sure that it opens again.
    ///
    /// The nonce is the operating system's entropy. Tokens that choose it themselves (in FIPS mode) write theirs over
    /// it; one that returns it in another way fails here with [`TokenError::SealUnreadable`] and not at the first
    /// restart.
    ///
    /// # Errors
    /// - [`TokenError::Length`] where there is too much of it;
    /// - [`TokenError::SealUnreadable`] where it does not open again;
    /// - [`TokenError`] otherwise where the token fails.
    pub fn seal(&self, aad: &[u8], secret: &[u8]) -> Result<Sealed, TokenError> {
        bound(aad)?;
        bound(secret)?;
        let sealed = self.token.with(|link| {
            let mut nonce = [0u8; NONCE_BYTES];
            getrandom::fill(&mut nonce)?;
            let key = self.key.find(link)?;
            let parameters = link.check(GcmParams::new(&mut nonce, aad, TAG_BITS))?;
            let mechanism = Mechanism::AesGcm(parameters);
            let ciphertext = link.check(link.session.encrypt(&mechanism, key, secret))?;
            drop(mechanism);
            Ok(Sealed { nonce, ciphertext })
        })?;
        match self.open_sealed(aad, &sealed) {
            Ok(opened) if *opened == secret => Ok(sealed),
            Ok(_) | Err(TokenError::NotOpened { .. }) => self.token.with(|link| {
                Err(TokenError::SealUnreadable {
                    token: link.token(),
                    key: self.key.describe(),
                })
            }),
            Err(error) => Err(error),
        }
    }

    /// Decrypts what was sealed with the same associated data.
    ///
    /// # Errors
    /// - [`TokenError::NotOpened`] where it was sealed by another key or with other associated data, or was changed;
    /// - [`TokenError`] otherwise where the token fails.
    pub fn open_sealed(
        &self,
        aad: &[u8],
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        bound(aad)?;
        bound(sealed.ciphertext.get(TAG_BYTES..).unwrap_or_default())?;
        self.token.with(|link| {
            let mut nonce = sealed.nonce;
            let key = self.key.find(link)?;
            let parameters = link.check(GcmParams::new(&mut nonce, aad, TAG_BITS))?;
            let mechanism = Mechanism::AesGcm(parameters);
            match link.session.decrypt(&mechanism, key, &sealed.ciphertext) {
                Ok(secret) => Ok(Zeroizing::new(secret)),
                Err(error) => Err(self.not_opened(link, &error)),
            }
        })
    }

    /// SoftHSM reports `CKR_GENERAL_ERROR` for a wrong tag, others `CKR_ENCRYPTED_DATA_INVALID`: a session that still
    /// answers tells such from a token that failed.
    fn not_opened(&self, link: &Link, error: &Error) -> TokenError {
        let reason = crate::module::reason(error);
        let refused = matches!(
            error,
            Error::Pkcs11(
                RvError::GeneralError
                    | RvError::FunctionFailed
                    | RvError::EncryptedDataInvalid
                    | RvError::EncryptedDataLenRange
                    | RvError::DataInvalid
                    | RvError::DataLenRange
                    | RvError::SignatureInvalid,
                _
            )
        );
        if !refused {
            return link.failure(error);
        }
        match link.alive() {
            Err(lost) => lost,
            Ok(()) => TokenError::NotOpened {
                token: link.token(),
                key: self.key.describe(),
                reason,
            },
        }
    }
}

fn bound(bytes: &[u8]) -> Result<(), TokenError> {
    if bytes.len() > MAX_SEALED_BYTES {
        return Err(TokenError::Length {
            most: MAX_SEALED_BYTES,
            found: bytes.len(),
        });
    }
    Ok(())
}

fn check_aes_256(link: &Link, key: &Key) -> Result<(), TokenError> {
    let unsuitable = |expected, found: Option<Attribute>| TokenError::KeyUnsuitable {
        token: link.token(),
        key: key.describe(),
        expected,
        found: found.map_or_else(|| "no such attribute".to_owned(), |it| format!("{it:?}")),
    };
    match key.attribute(link, AttributeType::KeyType)? {
        Some(Attribute::KeyType(KeyType::AES)) => {}
        other => return Err(unsuitable("CKA_KEY_TYPE AES", other)),
    }
    match key.attribute(link, AttributeType::ValueLen)? {
        Some(Attribute::ValueLen(length)) if length == Ulong::new(32) => Ok(()),
        other => Err(unsuitable("CKA_VALUE_LEN 32", other)),
    }
}
