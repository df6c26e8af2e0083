//! Sequences with a stated maximum, so that a message can never make its reader allocate without bound.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// More items than the type allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected at most {maximum} items, found {found}")]
pub struct TooLong {
    /// The type's limit.
    pub maximum: usize,
    /// Items found.
    pub found: usize,
}

/// A vector of at most `MAX` items; the limit is enforced on construction and while decoding.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BoundedVec<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> BoundedVec<T, MAX> {
    /// The type's limit.
    pub const MAX: usize = MAX;

    /// Wraps items.
    ///
    /// # Errors
    /// - [`TooLong`] where there are more than `MAX`.
    pub fn new(items: Vec<T>) -> Result<Self, TooLong> {
        if items.len() > MAX {
            return Err(TooLong {
                maximum: MAX,
                found: items.len(),
            });
        }
        Ok(Self(items))
    }

    /// No items.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// The items.
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for BoundedVec<T, MAX> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T, const MAX: usize> Deref for BoundedVec<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for BoundedVec<T, MAX> {
    type Error = TooLong;
    fn try_from(items: Vec<T>) -> Result<Self, TooLong> {
        Self::new(items)
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a BoundedVec<T, MAX> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: fmt::Debug, const MAX: usize> fmt::Debug for BoundedVec<T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize, const MAX: usize> Serialize for BoundedVec<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for BoundedVec<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = BoundedVec<T, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} items")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                // The announced length is a claim of the sender: it reserves little, items do the rest.
                let mut found = Vec::with_capacity(items.size_hint().unwrap_or(0).min(MAX).min(64));
                while let Some(item) = items.next_element()? {
                    if found.len() >= MAX {
                        return Err(A::Error::invalid_length(
                            found.len().saturating_add(1),
                            &self,
                        ));
                    }
                    found.push(item);
                }
                Ok(BoundedVec(found))
            }
        }
        deserializer.deserialize_seq(Items::<T, MAX>(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_when_decoding() {
        let three = postcard::to_allocvec(&alloc::vec![1u8, 2, 3]).unwrap();
        assert_eq!(
            postcard::from_bytes::<BoundedVec<u8, 3>>(&three)
                .unwrap()
                .len(),
            3
        );
        assert!(postcard::from_bytes::<BoundedVec<u8, 2>>(&three).is_err());
        assert!(BoundedVec::<u8, 2>::new(alloc::vec![0; 3]).is_err());
        // A claimed length of 2^63 with nothing behind it.
        let claim = [255, 255, 255, 255, 255, 255, 255, 255, 127];
        assert!(postcard::from_bytes::<BoundedVec<u8, { usize::MAX }>>(&claim).is_err());
    }
}
