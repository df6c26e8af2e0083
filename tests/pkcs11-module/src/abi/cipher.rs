//! Secret keys and AES-GCM.

use super::code;
use crate::pointers::{fill, place, slice, template};
use crate::process::{Gcm, Outcome, process};
use cryptoki_sys as ck;

pub(super) unsafe extern "C" fn generate_key(
    session: u64,
    mechanism: *mut ck::CK_MECHANISM,
    attributes: *mut ck::CK_ATTRIBUTE,
    count: u64,
    handle: *mut u64,
) -> ck::CK_RV {
    let made = || {
        // SAFETY: PKCS#11's promise, for each pointer.
        let (mechanism, attributes, handle) = unsafe {
            (
                place(mechanism)?.mechanism,
                template(attributes, count)?,
                place(handle)?,
            )
        };
        *handle = process().generate_key(session, mechanism, attributes)?;
        Ok(())
    };
    code(made())
}

pub(super) unsafe extern "C" fn encrypt_init(
    session: u64,
    mechanism: *mut ck::CK_MECHANISM,
    key: u64,
) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    let gcm = unsafe { gcm(mechanism) };
    code(gcm.and_then(|gcm| process().cipher_init(session, true, gcm, key)))
}

pub(super) unsafe extern "C" fn encrypt(
    session: u64,
    data: *mut u8,
    length: u64,
    out: *mut u8,
    out_length: *mut u64,
) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    code(unsafe { cipher(session, true, (data, length), (out, out_length)) })
}

pub(super) unsafe extern "C" fn decrypt_init(
    session: u64,
    mechanism: *mut ck::CK_MECHANISM,
    key: u64,
) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    let gcm = unsafe { gcm(mechanism) };
    code(gcm.and_then(|gcm| process().cipher_init(session, false, gcm, key)))
}

pub(super) unsafe extern "C" fn decrypt(
    session: u64,
    data: *mut u8,
    length: u64,
    out: *mut u8,
    out_length: *mut u64,
) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    code(unsafe { cipher(session, false, (data, length), (out, out_length)) })
}

/// # Safety
/// `mechanism` is null or a mechanism whose parameter holds what its length says.
unsafe fn gcm(mechanism: *mut ck::CK_MECHANISM) -> Outcome<Gcm> {
    // SAFETY: as the caller promises.
    let mechanism = unsafe { place(mechanism) }?;
    if mechanism.mechanism != ck::CKM_AES_GCM {
        return Err(ck::CKR_MECHANISM_INVALID);
    }
    if mechanism.ulParameterLen != size_of::<ck::CK_GCM_PARAMS>() as u64 {
        return Err(ck::CKR_MECHANISM_PARAM_INVALID);
    }
    // SAFETY: of the right size, as the caller promises; its pointers hold what their lengths say.
    let (nonce, associated, tag_bits) = unsafe {
        let gcm = place(mechanism.pParameter.cast::<ck::CK_GCM_PARAMS>())?;
        (
            slice(gcm.pIv, gcm.ulIvLen)?,
            slice(gcm.pAAD, gcm.ulAADLen)?,
            gcm.ulTagBits,
        )
    };
    match <[u8; 12]>::try_from(nonce) {
        Ok(nonce) if tag_bits == 128 => Ok(Gcm {
            nonce,
            associated: associated.to_vec(),
        }),
        Ok(_) | Err(_) => Err(ck::CKR_MECHANISM_PARAM_INVALID),
    }
}

/// # Safety
/// PKCS#11's promise, for all pointers.
unsafe fn cipher(
    session: u64,
    encrypt: bool,
    (data, length): (*const u8, u64),
    (out, out_length): (*mut u8, *mut u64),
) -> Outcome<()> {
    // SAFETY: as the caller promises.
    let input = unsafe { slice(data, length) }?;
    let bytes = process().cipher_bytes(session, encrypt, input.len())?;
    // SAFETY: as the caller promises.
    let room = *unsafe { place(out_length) }?;
    if out.is_null() || room < bytes as u64 {
        // The operation goes on: the caller comes again with enough place.
        // SAFETY: as the caller promises.
        return unsafe { fill(&vec![0; bytes], out, out_length) };
    }
    let made = process().cipher(session, input)?;
    // SAFETY: as the caller promises.
    unsafe { fill(&made, out, out_length) }
}
