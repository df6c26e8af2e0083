//! AES-256 keys, and AES-GCM with them.

use super::{Outcome, Process};
use crate::folder::Attributes;
use crate::signing;
use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use cryptoki_sys as ck;

const KEY_BYTES: u64 = 32;
const TAG_BYTES: usize = 16;

/// Parameters of `CKM_AES_GCM`.
pub(crate) struct Gcm {
    pub(crate) nonce: [u8; 12],
    pub(crate) associated: Vec<u8>,
}

/// What a session is about to do.
pub(super) struct Operation {
    encrypt: bool,
    key: [u8; 32],
    gcm: Gcm,
}

impl Process {
    pub(crate) fn generate_key(
        &mut self,
        session: u64,
        mechanism: u64,
        mut attributes: Attributes,
    ) -> Outcome<u64> {
        let (folder, mut token) = self.enter(session)?;
        self.as_user()?;
        if mechanism != ck::CKM_AES_KEY_GEN {
            return Err(ck::CKR_MECHANISM_INVALID);
        }
        if attributes.get(&ck::CKA_VALUE_LEN) != Some(&KEY_BYTES.to_ne_bytes().to_vec()) {
            return Err(ck::CKR_KEY_SIZE_RANGE);
        }
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).map_err(|_| ck::CKR_GENERAL_ERROR)?;
        signing::complete(&mut attributes, ck::CKO_SECRET_KEY, ck::CKK_AES, true);
        let handle = token.add(attributes, Some(key))?;
        folder.write(&token).ok_or(ck::CKR_DEVICE_ERROR)?;
        Ok(handle)
    }

    pub(crate) fn cipher_init(
        &mut self,
        session: u64,
        encrypt: bool,
        gcm: Gcm,
        key: u64,
    ) -> Outcome<()> {
        let (_, mut token) = self.enter(session)?;
        self.as_user()?;
        let key = token
            .objects
            .remove(&key)
            .ok_or(ck::CKR_KEY_HANDLE_INVALID)?;
        if key.attributes.get(&ck::CKA_KEY_TYPE) != Some(&ck::CKK_AES.to_ne_bytes().to_vec()) {
            return Err(ck::CKR_KEY_TYPE_INCONSISTENT);
        }
        let key = key.scalar.ok_or(ck::CKR_KEY_FUNCTION_NOT_PERMITTED)?;
        self.session(session)?.cipher = Some(Operation { encrypt, key, gcm });
        Ok(())
    }

    /// Bytes that come of `input` bytes.
    pub(crate) fn cipher_bytes(
        &mut self,
        session: u64,
        encrypt: bool,
        input: usize,
    ) -> Outcome<usize> {
        self.enter(session)?;
        match &self.session(session)?.cipher {
            Some(operation) if operation.encrypt != encrypt => {
                Err(ck::CKR_OPERATION_NOT_INITIALIZED)
            }
            Some(_) if encrypt => Ok(input.saturating_add(TAG_BYTES)),
            Some(_) => input
                .checked_sub(TAG_BYTES)
                .ok_or(ck::CKR_ENCRYPTED_DATA_LEN_RANGE),
            None => Err(ck::CKR_OPERATION_NOT_INITIALIZED),
        }
    }

    pub(crate) fn cipher(&mut self, session: u64, input: &[u8]) -> Outcome<Vec<u8>> {
        self.enter(session)?;
        let operation = self.session(session)?.cipher.take();
        let Operation { encrypt, key, gcm } = operation.ok_or(ck::CKR_OPERATION_NOT_INITIALIZED)?;
        let cipher = Aes256Gcm::new(&key.into());
        let payload = Payload {
            msg: input,
            aad: &gcm.associated,
        };
        let nonce = &gcm.nonce.into();
        if encrypt {
            cipher
                .encrypt(nonce, payload)
                .map_err(|_| ck::CKR_DATA_LEN_RANGE)
        } else {
            cipher
                .decrypt(nonce, payload)
                .map_err(|_| ck::CKR_ENCRYPTED_DATA_INVALID)
        }
    }
}
