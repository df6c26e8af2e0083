//! The C interface, function by function; what they do is in [`crate::process`].

mod cipher;

use crate::pointers::{MAX_BYTES, fill, place, slice, template};
use crate::process::{Outcome, process};
use crate::signing::Scheme;
use cryptoki_sys as ck;
use std::ffi::c_void;

const SLOT: u64 = 0;
/// Of the token that only shows itself.
const TWIN: u64 = 1;
const UNAVAILABLE: u64 = ck::CK_UNAVAILABLE_INFORMATION;

fn code(outcome: Outcome<()>) -> ck::CK_RV {
    outcome.err().unwrap_or(ck::CKR_OK)
}

fn slot(slot: u64) -> Outcome<()> {
    if slot == SLOT {
        Ok(())
    } else {
        Err(ck::CKR_SLOT_ID_INVALID)
    }
}

/// A slot that shows its token.
fn shown(id: u64) -> Outcome<()> {
    if id == TWIN && process().has_twin()? {
        return Ok(());
    }
    slot(id)
}

fn padded<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut bytes = [b' '; LENGTH];
    for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    bytes
}

const VERSION: ck::CK_VERSION = ck::CK_VERSION {
    major: 2,
    minor: 40,
};

unsafe extern "C" fn initialize(_arguments: *mut c_void) -> ck::CK_RV {
    code(process().initialize())
}

unsafe extern "C" fn finalize(_reserved: *mut c_void) -> ck::CK_RV {
    code(process().finalize())
}

unsafe extern "C" fn info(info: *mut ck::CK_INFO) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    code(unsafe { place(info) }.map(|info| {
        *info = ck::CK_INFO {
            cryptokiVersion: VERSION,
            manufacturerID: padded("Alys"),
            libraryDescription: padded("test module"),
            ..Default::default()
        };
    }))
}

unsafe extern "C" fn slots(present: u8, list: *mut u64, count: *mut u64) -> ck::CK_RV {
    let find = || {
        let is_present = process().is_present()?;
        let mut slots = Vec::new();
        if is_present || present == 0 {
            slots.push(SLOT);
        }
        if is_present && process().has_twin()? {
            slots.push(TWIN);
        }
        Ok(slots)
    };
    let slots = find();
    // SAFETY: PKCS#11's promise.
    code(slots.and_then(|slots| unsafe { fill(&slots, list, count) }))
}

unsafe extern "C" fn slot_info(id: u64, info: *mut ck::CK_SLOT_INFO) -> ck::CK_RV {
    code(shown(id).and_then(|()| {
        let present = process().is_present()?;
        // SAFETY: PKCS#11's promise.
        let info = unsafe { place(info) }?;
        let present = if present { ck::CKF_TOKEN_PRESENT } else { 0 };
        *info = ck::CK_SLOT_INFO {
            slotDescription: padded("test slot"),
            manufacturerID: padded("Alys"),
            flags: ck::CKF_REMOVABLE_DEVICE | present,
            ..Default::default()
        };
        Ok(())
    }))
}

unsafe extern "C" fn token_info(id: u64, info: *mut ck::CK_TOKEN_INFO) -> ck::CK_RV {
    code(shown(id).and_then(|()| {
        let found = process().info()?;
        // SAFETY: PKCS#11's promise.
        let info = unsafe { place(info) }?;
        *info = ck::CK_TOKEN_INFO {
            label: padded(&found.label),
            manufacturerID: padded("Alys"),
            model: padded("test"),
            serialNumber: padded(if id == TWIN { "2" } else { "1" }),
            flags: found.flags,
            ulMaxPinLen: 255,
            ulMinPinLen: 1,
            ulSessionCount: UNAVAILABLE,
            ulRwSessionCount: UNAVAILABLE,
            ulTotalPublicMemory: UNAVAILABLE,
            ulFreePublicMemory: UNAVAILABLE,
            ulTotalPrivateMemory: UNAVAILABLE,
            ulFreePrivateMemory: UNAVAILABLE,
            utcTime: padded(""),
            ..Default::default()
        };
        Ok(())
    }))
}

const MECHANISMS: [(u64, u64); 6] = [
    (crate::GENERATE_SCHNORR as u64, ck::CKF_GENERATE_KEY_PAIR),
    (crate::SIGN_SCHNORR as u64, ck::CKF_SIGN),
    (crate::GENERATE_BLS as u64, ck::CKF_GENERATE_KEY_PAIR),
    (crate::SIGN_BLS as u64, ck::CKF_SIGN),
    (ck::CKM_AES_KEY_GEN, ck::CKF_GENERATE),
    (ck::CKM_AES_GCM, ck::CKF_ENCRYPT | ck::CKF_DECRYPT),
];

unsafe extern "C" fn mechanisms(id: u64, list: *mut u64, count: *mut u64) -> ck::CK_RV {
    let all = MECHANISMS.map(|(mechanism, _)| mechanism);
    // SAFETY: PKCS#11's promise.
    code(slot(id).and_then(|()| unsafe { fill(&all, list, count) }))
}

unsafe extern "C" fn mechanism_info(
    id: u64,
    mechanism: u64,
    info: *mut ck::CK_MECHANISM_INFO,
) -> ck::CK_RV {
    code(slot(id).and_then(|()| {
        let found = MECHANISMS.iter().find(|(number, _)| *number == mechanism);
        let (_, flags) = *found.ok_or(ck::CKR_MECHANISM_INVALID)?;
        // SAFETY: PKCS#11's promise.
        let info = unsafe { place(info) }?;
        *info = ck::CK_MECHANISM_INFO {
            flags,
            ..Default::default()
        };
        Ok(())
    }))
}

unsafe extern "C" fn init_token(id: u64, pin: *mut u8, length: u64, label: *mut u8) -> ck::CK_RV {
    code(slot(id).and_then(|()| {
        // SAFETY: PKCS#11's promise; a label is always 32 bytes.
        let (pin, label) = unsafe { (slice(pin, length)?, slice(label, 32)?) };
        process().init_token(pin, label)
    }))
}

unsafe extern "C" fn init_pin(session: u64, pin: *mut u8, length: u64) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    let pin = unsafe { slice(pin, length) };
    code(pin.and_then(|pin| process().init_pin(session, pin)))
}

unsafe extern "C" fn open_session(
    id: u64,
    flags: u64,
    _application: *mut c_void,
    _notify: ck::CK_NOTIFY,
    session: *mut u64,
) -> ck::CK_RV {
    code(slot(id).and_then(|()| {
        // SAFETY: PKCS#11's promise.
        let session = unsafe { place(session) }?;
        *session = process().open_session(flags & ck::CKF_RW_SESSION != 0)?;
        Ok(())
    }))
}

unsafe extern "C" fn close_session(session: u64) -> ck::CK_RV {
    code(process().close_session(session))
}

unsafe extern "C" fn close_all_sessions(id: u64) -> ck::CK_RV {
    code(slot(id).and_then(|()| process().close_all_sessions()))
}

unsafe extern "C" fn session_info(session: u64, info: *mut ck::CK_SESSION_INFO) -> ck::CK_RV {
    let found = process().session_info(session);
    code(found.and_then(|(state, flags)| {
        // SAFETY: PKCS#11's promise.
        let info = unsafe { place(info) }?;
        *info = ck::CK_SESSION_INFO {
            slotID: SLOT,
            state,
            flags,
            ulDeviceError: 0,
        };
        Ok(())
    }))
}

unsafe extern "C" fn login(session: u64, user: u64, pin: *mut u8, length: u64) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    let pin = unsafe { slice(pin, length) };
    code(pin.and_then(|pin| process().login(session, user, pin)))
}

unsafe extern "C" fn logout(session: u64) -> ck::CK_RV {
    code(process().logout(session))
}

unsafe extern "C" fn create_object(
    session: u64,
    attributes: *mut ck::CK_ATTRIBUTE,
    count: u64,
    object: *mut u64,
) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    let input = unsafe { template(attributes, count) };
    code(input.and_then(|input| {
        // SAFETY: PKCS#11's promise.
        let object = unsafe { place(object) }?;
        *object = process().create_object(session, input)?;
        Ok(())
    }))
}

unsafe extern "C" fn destroy_object(session: u64, object: u64) -> ck::CK_RV {
    code(process().destroy_object(session, object))
}

unsafe extern "C" fn attribute_values(
    session: u64,
    object: u64,
    list: *mut ck::CK_ATTRIBUTE,
    count: u64,
) -> ck::CK_RV {
    let known = process().attributes(session, object);
    code(known.and_then(|known| {
        // SAFETY: PKCS#11's promise, for the list itself.
        unsafe { slice(list, count) }?;
        let mut outcome = Ok(());
        for place in 0..usize::try_from(count).map_err(|_| ck::CKR_ARGUMENTS_BAD)? {
            // SAFETY: within the list.
            let attribute = unsafe { &mut *list.add(place) };
            let value = known.get(&attribute.type_);
            let filled = match value {
                None => Err(ck::CKR_ATTRIBUTE_TYPE_INVALID),
                // SAFETY: PKCS#11's promise, for the attribute.
                Some(value) => unsafe {
                    fill(
                        value,
                        attribute.pValue.cast::<u8>(),
                        &raw mut attribute.ulValueLen,
                    )
                },
            };
            if let Err(error) = filled {
                attribute.ulValueLen = UNAVAILABLE;
                outcome = Err(error);
            }
        }
        outcome
    }))
}

unsafe extern "C" fn find_init(
    session: u64,
    attributes: *mut ck::CK_ATTRIBUTE,
    count: u64,
) -> ck::CK_RV {
    // SAFETY: PKCS#11's promise.
    let wanted = unsafe { template(attributes, count) };
    code(wanted.and_then(|wanted| process().find(session, &wanted)))
}

unsafe extern "C" fn find(session: u64, list: *mut u64, most: u64, count: *mut u64) -> ck::CK_RV {
    let most_found = usize::try_from(most).unwrap_or(usize::MAX);
    let found = process().found(session, most_found);
    code(found.and_then(|found| {
        if list.is_null() {
            return Err(ck::CKR_ARGUMENTS_BAD);
        }
        let mut room = most;
        // SAFETY: PKCS#11's promise: place for `most`.
        unsafe { fill(&found, list, &raw mut room) }?;
        // SAFETY: PKCS#11's promise.
        *unsafe { place(count) }? = room;
        Ok(())
    }))
}

unsafe extern "C" fn find_final(session: u64) -> ck::CK_RV {
    code(process().find_final(session))
}

unsafe extern "C" fn generate_pair(
    session: u64,
    mechanism: *mut ck::CK_MECHANISM,
    public: *mut ck::CK_ATTRIBUTE,
    public_count: u64,
    private: *mut ck::CK_ATTRIBUTE,
    private_count: u64,
    public_handle: *mut u64,
    private_handle: *mut u64,
) -> ck::CK_RV {
    let made = || {
        // SAFETY: PKCS#11's promise, for each pointer.
        let (mechanism, public, private, public_handle, private_handle) = unsafe {
            (
                place(mechanism)?.mechanism,
                template(public, public_count)?,
                template(private, private_count)?,
                place(public_handle)?,
                place(private_handle)?,
            )
        };
        (*public_handle, *private_handle) =
            process().generate_pair(session, mechanism, public, private)?;
        Ok(())
    };
    code(made())
}

unsafe extern "C" fn sign_init(
    session: u64,
    mechanism: *mut ck::CK_MECHANISM,
    key: u64,
) -> ck::CK_RV {
    let begun = || {
        // SAFETY: PKCS#11's promise, for the mechanism and its parameter.
        let (number, parameter) = unsafe {
            let mechanism = place(mechanism)?;
            let parameter = mechanism.pParameter.cast::<u8>();
            (
                mechanism.mechanism,
                slice(parameter, mechanism.ulParameterLen)?,
            )
        };
        process().sign_init(session, Scheme::parse(number, parameter)?, key)
    };
    code(begun())
}

unsafe extern "C" fn sign(
    session: u64,
    data: *mut u8,
    length: u64,
    signature: *mut u8,
    signature_length: *mut u64,
) -> ck::CK_RV {
    let signed = || {
        let bytes = process().signature_bytes(session)?;
        // SAFETY: PKCS#11's promise.
        let room = *unsafe { place(signature_length) }?;
        if signature.is_null() || room < bytes as u64 {
            // The operation goes on: the caller comes again with enough place.
            // SAFETY: PKCS#11's promise.
            return unsafe { fill(&vec![0; bytes], signature, signature_length) };
        }
        // SAFETY: PKCS#11's promise.
        let made = process().sign(session, unsafe { slice(data, length) }?)?;
        // SAFETY: PKCS#11's promise.
        unsafe { fill(&made, signature, signature_length) }
    };
    code(signed())
}

unsafe extern "C" fn random(session: u64, bytes: *mut u8, length: u64) -> ck::CK_RV {
    let filled = || {
        process().session_info(session)?;
        let mut made = vec![0; usize::try_from(length.min(MAX_BYTES)).unwrap_or(0)];
        getrandom::fill(&mut made).map_err(|_| ck::CKR_GENERAL_ERROR)?;
        let mut room = length;
        // SAFETY: PKCS#11's promise.
        unsafe { fill(&made, bytes, &raw mut room) }
    };
    code(filled())
}

/// The list that a caller gets.
struct Functions(ck::CK_FUNCTION_LIST);

// SAFETY: it holds functions and numbers, and is never written to; PKCS#11's type is mutable by tradition.
unsafe impl Sync for Functions {}

static FUNCTIONS: std::sync::LazyLock<Functions> = std::sync::LazyLock::new(|| {
    Functions(ck::CK_FUNCTION_LIST {
        version: VERSION,
        C_Initialize: Some(initialize),
        C_Finalize: Some(finalize),
        C_GetInfo: Some(info),
        C_GetFunctionList: Some(C_GetFunctionList),
        C_GetSlotList: Some(slots),
        C_GetSlotInfo: Some(slot_info),
        C_GetTokenInfo: Some(token_info),
        C_GetMechanismList: Some(mechanisms),
        C_GetMechanismInfo: Some(mechanism_info),
        C_InitToken: Some(init_token),
        C_InitPIN: Some(init_pin),
        C_OpenSession: Some(open_session),
        C_CloseSession: Some(close_session),
        C_CloseAllSessions: Some(close_all_sessions),
        C_GetSessionInfo: Some(session_info),
        C_Login: Some(login),
        C_Logout: Some(logout),
        C_CreateObject: Some(create_object),
        C_DestroyObject: Some(destroy_object),
        C_GetAttributeValue: Some(attribute_values),
        C_FindObjectsInit: Some(find_init),
        C_FindObjects: Some(find),
        C_FindObjectsFinal: Some(find_final),
        C_SignInit: Some(sign_init),
        C_Sign: Some(sign),
        C_GenerateKey: Some(cipher::generate_key),
        C_EncryptInit: Some(cipher::encrypt_init),
        C_Encrypt: Some(cipher::encrypt),
        C_DecryptInit: Some(cipher::decrypt_init),
        C_Decrypt: Some(cipher::decrypt),
        C_GenerateKeyPair: Some(generate_pair),
        C_GenerateRandom: Some(random),
        ..Default::default()
    })
});

/// The module's one entry (PKCS#11 2.40, 5.4).
///
/// # Safety
/// `list` is null or has place for a pointer.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "PKCS#11's name")]
unsafe extern "C" fn C_GetFunctionList(list: *mut *mut ck::CK_FUNCTION_LIST) -> ck::CK_RV {
    // SAFETY: as the caller promises.
    code(unsafe { place(list) }.map(|list| {
        *list = (&raw const FUNCTIONS.0).cast_mut();
    }))
}
