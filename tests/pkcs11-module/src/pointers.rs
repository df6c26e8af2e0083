//! C's pointers. PKCS#11 promises for every call that pointers hold what their lengths say; nothing else is relied
//! upon, and null pointers are refused.

use crate::folder::Attributes;
use crate::process::Outcome;
use cryptoki_sys as ck;

/// Longest input that is read.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// # Safety
/// `pointer` is null or holds `count` values.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, count: u64) -> Outcome<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || count > MAX_BYTES {
        return Err(ck::CKR_ARGUMENTS_BAD);
    }
    let count = usize::try_from(count).map_err(|_| ck::CKR_ARGUMENTS_BAD)?;
    // SAFETY: not null, and the caller promises the values.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// # Safety
/// `pointer` is null or holds a value that nothing else uses.
pub(crate) unsafe fn place<'a, T>(pointer: *mut T) -> Outcome<&'a mut T> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_mut() }.ok_or(ck::CKR_ARGUMENTS_BAD)
}

/// Copies `values` to where the caller has place for `count` of them, or only tells how many there are.
///
/// # Safety
/// `count` holds a number and `pointer` is null or has place for so many.
pub(crate) unsafe fn fill<T: Copy>(values: &[T], pointer: *mut T, count: *mut u64) -> Outcome<()> {
    // SAFETY: as the caller promises.
    let count = unsafe { place(count) }?;
    let room = std::mem::replace(count, values.len() as u64);
    if pointer.is_null() {
        return Ok(());
    }
    if room < values.len() as u64 {
        return Err(ck::CKR_BUFFER_TOO_SMALL);
    }
    // SAFETY: the caller has place for `room` values, which are enough; ours are elsewhere.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), pointer, values.len()) };
    Ok(())
}

/// # Safety
/// `pointer` is null or holds `count` attributes, each of which holds what its length says.
pub(crate) unsafe fn template(pointer: *const ck::CK_ATTRIBUTE, count: u64) -> Outcome<Attributes> {
    // SAFETY: as the caller promises.
    let attributes = unsafe { slice(pointer, count) }?;
    attributes
        .iter()
        .map(|attribute| {
            // SAFETY: as the caller promises.
            let value = unsafe { slice(attribute.pValue.cast::<u8>(), attribute.ulValueLen) }?;
            Ok((attribute.type_, value.to_vec()))
        })
        .collect()
}
