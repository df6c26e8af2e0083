//! Finds keys by name and looks at their attributes.

use crate::error::TokenError;
use crate::token::Link;
use crate::uri::TokenUri;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A key's label, its `CKA_ID`, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    label: Option<String>,
    id: Option<Vec<u8>>,
}

impl KeyName {
    /// The key with this label.
    pub fn label(label: &str) -> Self {
        Self {
            label: Some(label.to_owned()),
            id: None,
        }
    }

    /// The key that `object` and `id` of the URI name.
    ///
    /// # Errors
    /// - [`TokenError::KeyUnnamed`] where it names none.
    pub fn of(uri: &TokenUri) -> Result<Self, TokenError> {
        if uri.object.is_none() && uri.id.is_none() {
            return Err(TokenError::KeyUnnamed(uri.to_string()));
        }
        Ok(Self {
            label: uri.object.clone(),
            id: uri.id.clone(),
        })
    }

    pub(crate) fn attributes(&self) -> Vec<Attribute> {
        let label = self
            .label
            .as_ref()
            .map(|it| Attribute::Label(it.clone().into_bytes()));
        label
            .into_iter()
            .chain(self.id.clone().map(Attribute::Id))
            .collect()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            write!(f, "{label:?}")?;
        }
        if let Some(id) = &self.id {
            let separator = if self.label.is_some() { " " } else { "" };
            write!(f, "{separator}id ")?;
            id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

/// A key of one class and name, with its handle as long as the session lasts.
#[derive(Debug)]
pub(crate) struct Key {
    class: ObjectClass,
    name: KeyName,
    handle: Mutex<Option<(u64, ObjectHandle)>>,
}

impl Key {
    pub(crate) const fn new(class: ObjectClass, name: KeyName) -> Self {
        Self {
            class,
            name,
            handle: Mutex::new(None),
        }
    }

    /// Class and name, for errors.
    pub(crate) fn describe(&self) -> String {
        let class = match self.class {
            ObjectClass::SECRET_KEY => "secret key",
            ObjectClass::PRIVATE_KEY => "private key",
            ObjectClass::PUBLIC_KEY => "public key",
            _other => "object",
        };
        format!("{class} {}", self.name)
    }

    fn template(&self) -> Vec<Attribute> {
        let mut template = self.name.attributes();
        template.push(Attribute::Class(self.class));
        template.push(Attribute::Token(true));
        template
    }

    /// How many there are.
    pub(crate) fn count(&self, link: &Link) -> Result<usize, TokenError> {
        Ok(link.objects(&self.template())?.len())
    }

    /// Its handle. A key that must not leave the token is looked at each time it is found anew.
    pub(crate) fn find(&self, link: &Link) -> Result<ObjectHandle, TokenError> {
        let mut known = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, handle)) = *known
            && number == link.number
        {
            return Ok(handle);
        }
        let found = link.objects(&self.template())?;
        let (token, key) = (link.token(), self.describe());
        let handle = match found.as_slice() {
            [] => return Err(TokenError::KeyMissing { token, key }),
            [handle] => *handle,
            several => {
                return Err(TokenError::KeyAmbiguous {
                    token,
                    key,
                    count: several.len(),
                });
            }
        };
        if self.class != ObjectClass::PUBLIC_KEY {
            self.check_confined(link, handle)?;
        }
        *known = Some((link.number, handle));
        Ok(handle)
    }

    /// `CKA_SENSITIVE` and not `CKA_EXTRACTABLE`: PKCS#11 2.40, 4.9 and 4.10, under which the value is never shown or
    /// wrapped.
    fn check_confined(&self, link: &Link, handle: ObjectHandle) -> Result<(), TokenError> {
        for (kind, wanted, expected) in [
            (AttributeType::Sensitive, true, "CKA_SENSITIVE true"),
            (AttributeType::Extractable, false, "CKA_EXTRACTABLE false"),
        ] {
            let value = flag(link, handle, kind)?;
            if value != Some(wanted) {
                return Err(TokenError::KeyExtractable {
                    token: link.token(),
                    key: self.describe(),
                    expected,
                    found: value
                        .map_or_else(|| "no such attribute".to_owned(), |it| it.to_string()),
                });
            }
        }
        Ok(())
    }

    /// Whether the token made it and never could give it away: false for a key that was brought from outside.
    pub(crate) fn generated_inside(&self, link: &Link) -> Result<bool, TokenError> {
        let handle = self.find(link)?;
        for kind in [
            AttributeType::Local,
            AttributeType::AlwaysSensitive,
            AttributeType::NeverExtractable,
        ] {
            if flag(link, handle, kind)? != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One attribute; none where the token has it not.
    pub(crate) fn attribute(
        &self,
        link: &Link,
        kind: AttributeType,
    ) -> Result<Option<Attribute>, TokenError> {
        let handle = self.find(link)?;
        Ok(link
            .check(link.session.get_attributes(handle, &[kind]))?
            .pop())
    }
}

fn flag(
    link: &Link,
    handle: ObjectHandle,
    kind: AttributeType,
) -> Result<Option<bool>, TokenError> {
    let found = link.check(link.session.get_attributes(handle, &[kind]))?;
    Ok(match found.first() {
        Some(
            Attribute::Sensitive(value)
            | Attribute::Extractable(value)
            | Attribute::Local(value)
            | Attribute::AlwaysSensitive(value)
            | Attribute::NeverExtractable(value),
        ) => Some(*value),
        Some(_) | None => None,
    })
}
