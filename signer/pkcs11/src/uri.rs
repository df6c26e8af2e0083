//! RFC 7512 URIs: which token, which key, and where its PIN is.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// Longest URI in bytes.
const MAX_URI_BYTES: usize = 1024;

/// What a URI names. Every attribute that is set must match; the PIN itself is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenUri {
    /// `token`: the token's label.
    pub token: Option<String>,
    /// `serial`: its serial number.
    pub serial: Option<String>,
    /// `manufacturer`: who made it.
    pub manufacturer: Option<String>,
    /// `model`: its model.
    pub model: Option<String>,
    /// `slot-id`: the slot that it is in. Many modules number slots anew at each start.
    pub slot_id: Option<u64>,
    /// `object`: the key's label.
    pub object: Option<String>,
    /// `id`: the key's `CKA_ID`.
    pub id: Option<Vec<u8>>,
    /// `type`: the key's class.
    pub kind: Option<ObjectKind>,
    /// `pin-source`: the file that holds the PIN.
    pub pin_source: Option<PathBuf>,
}

/// Values of `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// `secret-key`.
    SecretKey,
    /// `private`: a private key.
    Private,
    /// `public`: a public key.
    Public,
    /// `data`.
    Data,
}

/// A URI that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UriError {
    /// Too long.
    #[error("PKCS#11 URI: expected at most {MAX_URI_BYTES} bytes, found {0}")]
    Length(usize),
    /// Another scheme.
    #[error("PKCS#11 URI: expected it to start with \"pkcs11:\"")]
    Scheme,
    /// An attribute without a value. Its text is not repeated: it may be a misplaced secret.
    #[error("PKCS#11 URI: expected name=value everywhere, found an attribute without '='")]
    Form,
    /// An attribute that is not looked at, so that it could not restrict anything.
    #[error(
        "PKCS#11 URI: unknown attribute {0:?}; known are token, serial, manufacturer, model, slot-id, object, id and type, \
         and after a '?' pin-source"
    )]
    Unknown(String),
    /// The secret itself.
    #[error(
        "PKCS#11 URI: pin-value would put the PIN into configurations and logs; put it into a file and name that by pin-source"
    )]
    PinValue,
    /// One attribute twice.
    #[error("PKCS#11 URI: attribute {0} is there twice")]
    Duplicate(&'static str),
    /// A byte that has to be percent-encoded.
    #[error("PKCS#11 URI: attribute {name}: {found:?} has to be percent-encoded")]
    Character {
        /// The attribute.
        name: &'static str,
        /// What is there.
        found: char,
    },
    /// A `%` without two hexadecimal digits.
    #[error("PKCS#11 URI: attribute {0}: expected two hexadecimal digits after '%'")]
    Percent(&'static str),
    /// A value that the attribute cannot have.
    #[error("PKCS#11 URI: attribute {name}: expected {expected}, found {found:?}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What it can be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

impl FromStr for TokenUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_URI_BYTES {
            return Err(UriError::Length(text.len()));
        }
        let rest = text.strip_prefix("pkcs11:").ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for attribute in path.split(';').filter(|_| !path.is_empty()) {
            uri.path_attribute(attribute)?;
        }
        for attribute in query.split('&').filter(|_| !query.is_empty()) {
            uri.query_attribute(attribute)?;
        }
        Ok(uri)
    }
}

impl TokenUri {
    fn path_attribute(&mut self, attribute: &str) -> Result<(), UriError> {
        let (name, value) = named(attribute)?;
        match name {
            "token" => once("token", &mut self.token, text("token", value)?),
            "serial" => once("serial", &mut self.serial, text("serial", value)?),
            "manufacturer" => {
                let text = text("manufacturer", value)?;
                once("manufacturer", &mut self.manufacturer, text)
            }
            "model" => once("model", &mut self.model, text("model", value)?),
            "slot-id" => once("slot-id", &mut self.slot_id, number("slot-id", value)?),
            "object" => once("object", &mut self.object, text("object", value)?),
            "id" => once("id", &mut self.id, decode("id", value, PATH_BYTES)?),
            "type" => once("type", &mut self.kind, kind(value)?),
            "pin-value" => Err(UriError::PinValue),
            other => Err(UriError::Unknown(other.to_owned())),
        }
    }

    fn query_attribute(&mut self, attribute: &str) -> Result<(), UriError> {
        let (name, value) = named(attribute)?;
        match name {
            "pin-source" => once("pin-source", &mut self.pin_source, pin_source(value)?),
            "pin-value" => Err(UriError::PinValue),
            other => Err(UriError::Unknown(other.to_owned())),
        }
    }
}

/// `pk11-pres-avail` and `pk11-qres-avail` of RFC 7512, beside letters, digits and `-._~`.
const PATH_BYTES: &[u8] = b":[]@!$'()*+,=&";
const QUERY_BYTES: &[u8] = b":[]@!$'()*+,=/?|";

fn named(attribute: &str) -> Result<(&str, &str), UriError> {
    attribute.split_once('=').ok_or(UriError::Form)
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), UriError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Duplicate(name)),
    }
}

fn decode(name: &'static str, value: &str, allowed: &[u8]) -> Result<Vec<u8>, UriError> {
    let mut bytes = Vec::new();
    let mut rest = value.chars();
    while let Some(character) = rest.next() {
        if character == '%' {
            let digits =
                [rest.next(), rest.next()].map(|digit| digit.and_then(|it| it.to_digit(16)));
            let [Some(high), Some(low)] = digits else {
                return Err(UriError::Percent(name));
            };
            bytes.push(u8::try_from(high * 16 + low).map_err(|_| UriError::Percent(name))?);
        } else {
            match u8::try_from(character) {
                Ok(byte)
                    if byte.is_ascii_alphanumeric()
                        || b"-._~".contains(&byte)
                        || allowed.contains(&byte) =>
                {
                    bytes.push(byte);
                }
                Ok(_) | Err(_) => {
                    return Err(UriError::Character {
                        name,
                        found: character,
                    });
                }
            }
        }
    }
    if bytes.is_empty() {
        return Err(invalid(name, "something", value));
    }
    Ok(bytes)
}

fn invalid(name: &'static str, expected: &'static str, found: &str) -> UriError {
    UriError::Value {
        name,
        expected,
        found: found.to_owned(),
    }
}

fn text(name: &'static str, value: &str) -> Result<String, UriError> {
    String::from_utf8(decode(name, value, PATH_BYTES)?).map_err(|_| invalid(name, "UTF-8", value))
}

fn number(name: &'static str, value: &str) -> Result<u64, UriError> {
    let wrong = || invalid(name, "a decimal number", value);
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    value.parse().map_err(|_| wrong())
}

fn kind(value: &str) -> Result<ObjectKind, UriError> {
    match value {
        "secret-key" => Ok(ObjectKind::SecretKey),
        "private" => Ok(ObjectKind::Private),
        "public" => Ok(ObjectKind::Public),
        "data" => Ok(ObjectKind::Data),
        other => Err(invalid(
            "type",
            "secret-key, private, public or data",
            other,
        )),
    }
}

/// `file:/path`, `file:///path` or `/path`. A program (`|command`) or a relative path is not taken.
fn pin_source(value: &str) -> Result<PathBuf, UriError> {
    let wrong = || invalid("pin-source", "an absolute path, or file: and one", value);
    let path = String::from_utf8(decode("pin-source", value, QUERY_BYTES)?).map_err(|_| wrong())?;
    let path = path.strip_prefix("file:").unwrap_or(&path);
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.contains('\0') {
        return Err(wrong());
    }
    Ok(PathBuf::from(path))
}

impl TryFrom<String> for TokenUri {
    type Error = UriError;

    fn try_from(text: String) -> Result<Self, UriError> {
        text.parse()
    }
}

impl From<TokenUri> for String {
    fn from(uri: TokenUri) -> Self {
        uri.to_string()
    }
}

/// Writes the attributes in one order, with everything encoded that RFC 7512 does not have as it is.
impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |text: &Option<String>| text.as_ref().map(|it| it.as_bytes().to_vec());
        let kind = self.kind.map(|kind| match kind {
            ObjectKind::SecretKey => "secret-key",
            ObjectKind::Private => "private",
            ObjectKind::Public => "public",
            ObjectKind::Data => "data",
        });
        let attributes = [
            ("token", bytes(&self.token)),
            ("serial", bytes(&self.serial)),
            ("manufacturer", bytes(&self.manufacturer)),
            ("model", bytes(&self.model)),
            (
                "slot-id",
                self.slot_id.map(|id| id.to_string().into_bytes()),
            ),
            ("object", bytes(&self.object)),
            ("id", self.id.clone()),
            ("type", kind.map(|it| it.as_bytes().to_vec())),
        ];
        f.write_str("pkcs11:")?;
        let mut separator = "";
        for (name, value) in attributes {
            if let Some(value) = value {
                write!(f, "{separator}{name}=")?;
                encode(f, &value, PATH_BYTES)?;
                separator = ";";
            }
        }
        if let Some(path) = &self.pin_source {
            f.write_str("?pin-source=")?;
            encode(f, path.as_os_str().as_encoded_bytes(), QUERY_BYTES)?;
        }
        Ok(())
    }
}

fn encode(f: &mut fmt::Formatter<'_>, bytes: &[u8], allowed: &[u8]) -> fmt::Result {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || allowed.contains(byte) {
            write!(f, "{}", char::from(*byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
