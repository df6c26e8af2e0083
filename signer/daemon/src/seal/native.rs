//! Version 3: the keys are in a PKCS#11 token and sign there. The file names them, and has one secret of the signer's own,
//! under an AES key of the token as in version 2, so that nobody exchanges the public keys unseen.

use super::{FORMAT, SealError, SealedFile, SealedText, read};
use crate::config::TokenConfig;
use crate::keys::{Backend, LOCAL_SECRET_BYTES, MemberCard, NativeKeys};
use alys_protocol::bytes;
use alys_signer_pkcs11::{
    BlsKey, KeyName, NativeConfig, SchnorrKey, Sealed, SealingKey, Token, TokenError,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) const VERSION: u16 = 3;

/// What is in the file beside nonce and ciphertext, which AES-GCM authenticates itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u16,
    mode: Mode,
    /// Label and serial number, to be shown. A copy of the token that holds the same keys is as good.
    token: String,
    /// Name of the AES key, to be shown.
    key: String,
    /// Label of the voting key, to be shown.
    bls: String,
    /// Label of the wallet's key, to be shown.
    schnorr: String,
    card: MemberCard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// The token signs.
    Pkcs11Native,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    header: Header,
    #[serde(with = "bytes")]
    nonce: [u8; 12],
    #[serde(with = "bytes")]
    ciphertext: [u8; LOCAL_SECRET_BYTES + 16],
}

impl File {
    pub(super) fn into_card(self) -> MemberCard {
        self.header.card
    }

    /// As the file has it: nobody vouches for that.
    pub(super) fn held_by(&self) -> String {
        let Header {
            bls,
            schnorr,
            token,
            ..
        } = &self.header;
        format!("keys {bls:?} and {schnorr:?} in PKCS#11 token {token}, which signs itself")
    }

    pub(super) fn not_opened(&self, path: &Path, error: TokenError) -> SealError {
        let Header { key, token, .. } = &self.header;
        SealError::TokenOpen {
            path: path.to_owned(),
            sealed_under: format!("key {key} of PKCS#11 token {token}"),
            error: Box::new(error),
        }
    }
}

/// A token that signs itself, and the AES key in it.
#[derive(Debug)]
pub struct NativeSeal {
    sealing: SealingKey,
    token: Arc<Token>,
    config: NativeConfig,
    module: PathBuf,
    /// Label and serial number.
    token_name: String,
    sealing_name: String,
}

impl NativeSeal {
    /// The AES key that the configuration names, made in the token where it is not there yet. Signing keys are made by
    /// [`NativeSeal::make`].
    ///
    /// # Errors
    /// - [`TokenError`] where there is a key that does not fit, or the token fails.
    pub fn for_new(
        token: Arc<Token>,
        config: &TokenConfig,
        native: &NativeConfig,
    ) -> Result<Self, TokenError> {
        let name = KeyName::of(&config.uri)?;
        match SealingKey::generate(Arc::clone(&token), name) {
            Ok(_) | Err(TokenError::KeyExists { .. }) => Self::existing(token, config, native),
            Err(error) => Err(error),
        }
    }

    /// The AES key that the configuration names.
    ///
    /// # Errors
    /// - [`TokenError`] where it is not there or does not fit, or the token fails.
    pub fn existing(
        token: Arc<Token>,
        config: &TokenConfig,
        native: &NativeConfig,
    ) -> Result<Self, TokenError> {
        let name = KeyName::of(&config.uri)?;
        Ok(Self {
            sealing_name: name.to_string(),
            sealing: SealingKey::open(Arc::clone(&token), name)?,
            token_name: token.health().token,
            token,
            config: native.clone(),
            module: config.module.clone(),
        })
    }

    /// Makes the keys inside the token, or takes those that are there where the configuration has no mechanism that makes
    /// keys, and what a key file is to say of them. Nothing is mixed into what the token makes.
    ///
    /// # Errors
    /// - [`SealError::Token`] where there is a key of a name already, or a key that is there does not fit, or does not
    ///   sign by the protocol's rules, or the token fails;
    /// - [`SealError::Entropy`], [`SealError::Encode`] as named.
    pub fn make(&self) -> Result<(NativeKeys, SealedText), SealError> {
        self.config.generate(&self.token)?;
        let (bls, schnorr) = self.probed()?;
        let card = MemberCard {
            bls: bls.public_key(),
            bls_possession: bls.prove_possession()?,
            schnorr: schnorr.public_key(),
        };
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            mode: Mode::Pkcs11Native,
            token: self.token_name.clone(),
            key: self.sealing_name.clone(),
            bls: self.config.bls.object.clone(),
            schnorr: self.config.schnorr.object.clone(),
            card: card.clone(),
        };
        let mut local = Zeroizing::new([0u8; LOCAL_SECRET_BYTES]);
        getrandom::fill(&mut *local)?;
        let sealed = self.sealing.seal(&header.associated_data()?, &*local)?;
        let ciphertext = sealed
            .ciphertext
            .try_into()
            .map_err(|_| SealError::Encode)?;
        let text = SealedText::of(&File {
            header,
            nonce: sealed.nonce,
            ciphertext,
        })?;
        let backend = self.backend(&bls, &schnorr)?;
        Ok((NativeKeys::new(bls, schnorr, card, local, backend), text))
    }

    /// Finds the keys of a key file in the token, and has each sign a test message.
    ///
    /// # Errors
    /// - [`SealError::TokenOpen`] where another AES key sealed the file, or it was changed;
    /// - [`SealError::OtherKey`] where the token's keys are not those of the file;
    /// - [`SealError::Token`] where one is not there or does not sign by the protocol's rules, or the token fails;
    /// - [`SealError::Opener`] where the file is of another kind;
    /// - [`SealError::Io`], [`SealError::Format`], [`SealError::Mismatch`] as named.
    pub fn open(&self, path: &Path) -> Result<NativeKeys, SealError> {
        let file = match read(path)? {
            SealedFile::Native(file) => file,
            other @ (SealedFile::Passphrase(_) | SealedFile::Token(_)) => {
                let expected = "a token that signs itself (mode = \"native\" in [token])";
                return Err(other.opened_otherwise(path, expected));
            }
        };
        let sealed = Sealed {
            nonce: file.nonce,
            ciphertext: file.ciphertext.to_vec(),
        };
        let opened = self
            .sealing
            .open_sealed(&file.header.associated_data()?, &sealed)
            .map_err(|error| file.not_opened(path, error))?;
        let local = <&[u8; LOCAL_SECRET_BYTES]>::try_from(opened.as_slice())
            .map(|secret| Zeroizing::new(*secret))
            .map_err(|_| SealError::Mismatch {
                path: path.to_owned(),
            })?;
        let (bls, schnorr) = self.probed()?;
        let card = file.header.card;
        let other = |kind, expected: &dyn ToString, found: &dyn ToString| SealError::OtherKey {
            path: path.to_owned(),
            kind,
            expected: expected.to_string(),
            found: found.to_string(),
        };
        if card.bls != bls.public_key() {
            return Err(other("voting (BLS)", &card.bls, &bls.public_key()));
        }
        if card.schnorr != schnorr.public_key() {
            return Err(other(
                "wallet (Schnorr)",
                &card.schnorr,
                &schnorr.public_key(),
            ));
        }
        let backend = self.backend(&bls, &schnorr)?;
        Ok(NativeKeys::new(bls, schnorr, card, local, backend))
    }

    /// Both keys, each shown to sign by the protocol's rules.
    fn probed(&self) -> Result<(BlsKey, SchnorrKey), TokenError> {
        let bls = BlsKey::open(Arc::clone(&self.token), &self.config)?;
        let schnorr = SchnorrKey::open(Arc::clone(&self.token), &self.config.schnorr)?;
        bls.probe()?;
        schnorr.probe()?;
        Ok((bls, schnorr))
    }

    fn backend(&self, bls: &BlsKey, schnorr: &SchnorrKey) -> Result<Backend, TokenError> {
        Ok(Backend::TokenNative {
            keys: [
                self.config.bls.object.clone(),
                self.config.schnorr.object.clone(),
                self.sealing_name.clone(),
            ],
            made_inside: bls.generated_inside()? && schnorr.generated_inside()?,
            token: self.token_name.clone(),
            module: self.module.clone(),
        })
    }
}

impl Header {
    /// One encoding, whatever the file's white space.
    fn associated_data(&self) -> Result<Vec<u8>, SealError> {
        postcard::to_allocvec(self).map_err(|_| SealError::Encode)
    }
}
