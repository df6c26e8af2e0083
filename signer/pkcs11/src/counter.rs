//! The outside counter of rules `fresh` and `counter` in a token: a private data object.
//!
//! PKCS#11 has no compare-and-swap, and a value that is overwritten could be torn. So an advance makes a new object
//! with the next value, looks whether another signer did so at once (then neither counts, and its own is taken back),
//! and only then destroys the older ones. A crash in between leaves two objects with different values, of which the
//! highest counts; two with one value are an error.
//!
//! That rests on a token that shows each process what the others did. SoftHSM does not quite: of two processes that
//! write at once, one may miss the other's object (seen in 2 of 3,000 races). So an advance also excludes other
//! processes of the same host, by a lock on the PIN file. Signers on several hosts with one token rely on the token.
//!
//! What this is worth is up to the token. A data object goes up because this code does; whoever has the user's PIN can
//! make it anything. SoftHSM's objects are files: put back from a copy, they show an old value and nobody can tell. A
//! hardware token's objects cannot be put back without its PIN unless it lets itself be restored from a backup; a
//! monotonic counter (`CKO_HW_FEATURE`, a TPM's NV counter) cannot be put back at all, and is better where there is
//! one.

use crate::error::TokenError;
use crate::token::{Link, Token};
use alys_protocol::bytes::CounterTag;
use alys_protocol::hash::{self, TaggedHasher};
use alys_signer_core::freshness::{CounterMark, CounterValue};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use std::sync::Arc;

/// `CKA_APPLICATION` of the object.
const APPLICATION: &[u8] = b"alys";
const CHECKSUM_BYTES: usize = 8;
/// How often objects are listed before it is given up that they stay.
const LISTS: usize = 16;

/// A counter in a token, by its label.
#[derive(Debug)]
pub struct TokenCounter {
    token: Arc<Token>,
    label: String,
}

impl TokenCounter {
    /// The counter with this label, whether it is there already or not.
    pub fn new(token: Arc<Token>, label: &str) -> Self {
        Self {
            token,
            label: label.to_owned(),
        }
    }

    /// What and where it is, in words.
    pub fn description(&self) -> String {
        format!("data object {:?} in token {}", self.label, self.token.uri())
    }

    /// Where it stands; none where there is no such object.
    ///
    /// # Errors
    /// - [`TokenError::CounterAmbiguous`], [`TokenError::CounterMalformed`] as named;
    /// - [`TokenError`] otherwise where the token fails.
    pub fn read(&self) -> Result<Option<CounterMark>, TokenError> {
        self.token.with(|link| self.newest(&self.objects(link)?))
    }

    /// Makes it, at zero.
    ///
    /// # Errors
    /// - [`TokenError::CounterExists`] where there is one, or another signer made one at once;
    /// - [`TokenError`] otherwise where the token fails.
    pub fn create(&self) -> Result<(), TokenError> {
        let exists = || TokenError::CounterExists {
            counter: self.description(),
        };
        let _lock = self.token.exclude_others()?;
        self.token.with(|link| {
            if !self.objects(link)?.is_empty() {
                return Err(exists());
            }
            let made = self.make(link, CounterMark::ZERO)?;
            if self.objects(link)?.len() != 1 {
                link.check(link.session.destroy_object(made))?;
                return Err(exists());
            }
            Ok(())
        })
    }

    /// Advances it by one from `from` under the caller's tag, and returns where it stands. Of several callers with one
    /// `from`, at most one succeeds (see the module for what that rests on).
    ///
    /// # Errors
    /// - [`TokenError::CounterMoved`] where it does not stand at `from`, or another signer advances it at once;
    /// - [`TokenError::CounterExhausted`] at its end;
    /// - [`TokenError`] otherwise where the token fails; it may or may not have moved then.
    pub fn advance(&self, from: CounterMark, tag: CounterTag) -> Result<CounterMark, TokenError> {
        let value = from
            .value
            .next()
            .ok_or_else(|| TokenError::CounterExhausted {
                counter: self.description(),
            })?;
        let next = CounterMark { value, tag };
        let mut begun = false;
        let _lock = self.token.exclude_others()?;
        self.token.with(|link| {
            let before = self.objects(link)?;
            let found = self.newest(&before)?;
            // The session was lost after the object was made: this is its second attempt.
            if begun && found == Some(next) {
                self.destroy_older(link, &before, next);
                return Ok(next);
            }
            if found != Some(from) {
                return Err(self.moved(from, found));
            }
            begun = true;
            let made = self.make(link, next)?;
            let after = self.objects(link)?;
            if after
                .iter()
                .filter(|object| object.mark.value >= value)
                .count()
                != 1
            {
                link.check(link.session.destroy_object(made))?;
                let other = after
                    .iter()
                    .map(|object| object.mark)
                    .find(|mark| *mark != next);
                return Err(self.moved(from, other));
            }
            self.destroy_older(link, &after, next);
            Ok(next)
        })
    }

    fn moved(&self, expected: CounterMark, found: Option<CounterMark>) -> TokenError {
        TokenError::CounterMoved {
            counter: self.description(),
            expected,
            found: found.map_or_else(|| "no counter".to_owned(), |mark| mark.to_string()),
        }
    }

    /// It has advanced already: an older object that stays is destroyed by the next advance.
    fn destroy_older(&self, link: &Link, objects: &[Object], newest: CounterMark) {
        for object in objects.iter().filter(|it| it.mark.value < newest.value) {
            let _ = link.session.destroy_object(object.handle);
        }
    }

    fn make(&self, link: &Link, mark: CounterMark) -> Result<ObjectHandle, TokenError> {
        let mut template = self.template();
        template.push(Attribute::Modifiable(false));
        template.push(Attribute::Value(self.encode(mark)));
        link.check(link.session.create_object(&template))
    }

    fn template(&self) -> Vec<Attribute> {
        vec![
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            // Only who has the PIN makes, sees and destroys it.
            Attribute::Private(true),
            Attribute::Application(APPLICATION.to_vec()),
            Attribute::Label(self.label.clone().into_bytes()),
        ]
    }

    fn objects(&self, link: &Link) -> Result<Vec<Object>, TokenError> {
        // Another signer's advance may destroy what was just listed; its new object is in the next list.
        for _ in 0..LISTS {
            if let Some(objects) = self.list(link)? {
                return Ok(objects);
            }
        }
        Err(self.malformed("that it changes all the time".to_owned()))
    }

    /// None where an object went away meanwhile.
    fn list(&self, link: &Link) -> Result<Option<Vec<Object>>, TokenError> {
        let handles = link.objects(&self.template())?;
        let mut objects = Vec::new();
        for handle in handles {
            let attributes = match link.session.get_attributes(handle, &[AttributeType::Value]) {
                Ok(attributes) => attributes,
                Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => return Ok(None),
                Err(error) => return Err(link.failure(&error)),
            };
            let mark = match attributes.as_slice() {
                [Attribute::Value(bytes)] => self.decode(bytes)?,
                _other => return Err(self.malformed("no value".to_owned())),
            };
            objects.push(Object { handle, mark });
        }
        Ok(Some(objects))
    }

    fn newest(&self, objects: &[Object]) -> Result<Option<CounterMark>, TokenError> {
        let Some(newest) = objects
            .iter()
            .map(|it| it.mark)
            .max_by_key(|mark| mark.value)
        else {
            return Ok(None);
        };
        let found = objects
            .iter()
            .filter(|it| it.mark.value == newest.value)
            .count();
        if found != 1 {
            return Err(TokenError::CounterAmbiguous {
                counter: self.description(),
                value: newest.value.get(),
                found,
            });
        }
        Ok(Some(newest))
    }

    /// Value (u64, big-endian), tag, and a checksum against torn writes.
    fn encode(&self, mark: CounterMark) -> Vec<u8> {
        let mut bytes = mark.value.get().to_be_bytes().to_vec();
        bytes.extend_from_slice(mark.tag.as_bytes());
        let checksum = self.checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    fn decode(&self, bytes: &[u8]) -> Result<CounterMark, TokenError> {
        let wrong = || self.malformed(format!("{} bytes", bytes.len()));
        let (value, rest) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
        let (tag, _checksum) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
        let mark = CounterMark {
            value: CounterValue::new(u64::from_be_bytes(*value)),
            tag: CounterTag::new(*tag),
        };
        if self.encode(mark) != bytes {
            return Err(self.malformed(format!("{} bytes with another checksum", bytes.len())));
        }
        Ok(mark)
    }

    fn checksum(&self, bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let digest = TaggedHasher::without_chain(hash::TOKEN_COUNTER)
            .variable(self.label.as_bytes())
            .variable(bytes)
            .finish();
        let mut checksum = [0; CHECKSUM_BYTES];
        for (place, byte) in checksum.iter_mut().zip(digest) {
            *place = byte;
        }
        checksum
    }

    fn malformed(&self, found: String) -> TokenError {
        TokenError::CounterMalformed {
            counter: self.description(),
            found,
        }
    }
}

struct Object {
    handle: ObjectHandle,
    mark: CounterMark,
}
