//! What a certificate says of itself, for logs, status, registers and whoever warns ahead of its end.
//!
//! Whether it is genuine is for TLS to say.

use crate::der::{content, inside, skip_if, time};
use crate::error::ClientError;
use crate::pem;
use crate::role::{Role, RoleError};
use crate::time::{date, days_left};
use bitcoin::hashes::{Hash as _, sha256};
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde::Serialize;
use std::path::Path;
use thiserror::Error;

/// X.520 common name.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// RFC 5280, 4.1.2.2: at most 20 octets. Others are used, too; longer than this is nobody's.
const MAX_SERIAL_BYTES: usize = 40;

/// A certificate's serial number: its bytes as DER has them, without a leading zero. One authority gives each once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// From DER's bytes of the integer.
    fn of_integer(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let zeros = zeros.min(bytes.len().saturating_sub(1));
        Self(bytes.iter().skip(zeros).copied().collect())
    }

    /// Big-endian.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Display for Serial {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no serial number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "serial number: expected hex digits, two for each byte, with or without colons between, found {0:?}"
)]
pub struct SerialError(String);

impl core::str::FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, SerialError> {
        let wrong = || SerialError(text.chars().take(100).collect());
        let digits: String = text.chars().filter(|character| *character != ':').collect();
        if digits.is_empty()
            || !digits.len().is_multiple_of(2)
            || digits.len() > 2 * MAX_SERIAL_BYTES
            || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        {
            return Err(wrong());
        }
        let bytes: Option<Vec<u8>> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                let pair = core::str::from_utf8(pair).ok()?;
                u8::from_str_radix(pair, 16).ok()
            })
            .collect();
        Ok(Self::of_integer(&bytes.ok_or_else(wrong)?))
    }
}

impl Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Serial {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whose certificate it is, by the names in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// An authority's own: issued by itself.
    Authority,
    /// A signer: it names no role.
    Signer,
    /// A signer's client.
    Client(Role),
}

impl Holder {
    /// `authority`, `signer`, `node`, `officer` or `auditor`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Signer => "signer",
            Self::Client(role) => role.name(),
        }
    }
}

impl core::fmt::Display for Holder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// A certificate, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name; empty where it has none. For people.
    pub subject: String,
    /// Whose it is.
    pub holder: Holder,
    /// Its number with its authority.
    pub serial: Serial,
    /// It counts from then.
    pub not_before: UnixTime,
    /// It counts until then.
    pub not_after: UnixTime,
    /// SHA-256 of its DER.
    pub fingerprint: [u8; 32],
}

/// Bytes that are no certificate of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Not X.509.
    #[error("expected an X.509 certificate: {0}")]
    Malformed(String),
    /// It names roles, and not exactly one that there is.
    #[error(transparent)]
    Role(#[from] RoleError),
}

impl Certificate {
    /// Reads one.
    ///
    /// # Errors
    /// - [`CertificateError::Malformed`] where it is no X.509 certificate;
    /// - [`CertificateError::Role`] where it names several roles or an unknown one.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let malformed =
            |error: &dyn core::fmt::Display| CertificateError::Malformed(error.to_string());
        let checked = webpki::EndEntityCert::try_from(der).map_err(|error| malformed(&error))?;
        let holder = match Role::of_certificate(der) {
            Ok(role) => Holder::Client(role),
            Err(RoleError::Count(0)) if checked.issuer() == checked.subject() => Holder::Authority,
            Err(RoleError::Count(0)) => Holder::Signer,
            Err(error) => return Err(error.into()),
        };
        let (not_before, not_after) = validity(der).map_err(|error| malformed(&error))?;
        Ok(Self {
            subject: common_name(checked.subject()),
            holder,
            serial: Serial::of_integer(checked.serial()),
            not_before,
            not_after,
            fingerprint: sha256::Hash::hash(der).to_byte_array(),
        })
    }

    /// What to print of it at `now`.
    pub fn report(&self, now: UnixTime) -> CertificateReport {
        CertificateReport {
            subject: self.subject.clone(),
            role: self.holder.name(),
            serial: self.serial.clone(),
            not_after: date(self.not_after),
            days_left: days_left(self.not_after, now),
        }
    }
}

/// A certificate, printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateReport {
    /// [`Certificate::subject`].
    pub subject: String,
    /// [`Certificate::holder`].
    pub role: &'static str,
    /// [`Certificate::serial`].
    pub serial: Serial,
    /// [`Certificate::not_after`], as RFC 3339 writes it.
    pub not_after: String,
    /// Whole days from now until then; negative once it has passed.
    pub days_left: i64,
}

/// The first certificate in a PEM file: the holder's, where its intermediates follow.
///
/// # Errors
/// - [`ClientError::Config`] where the file cannot be read, or its first certificate is none of ours.
pub fn inspect(path: &Path) -> Result<Certificate, ClientError> {
    let wrong = |reason: String| ClientError::Config {
        path: path.to_owned(),
        reason,
    };
    let certificates = pem::certificates(path)?;
    let first = certificates
        .first()
        .ok_or_else(|| wrong("empty".to_owned()))?;
    Certificate::read(first).map_err(|error| wrong(error.to_string()))
}

/// `Validity` (RFC 5280, 4.1).
fn validity(certificate: &[u8]) -> der::Result<(UnixTime, UnixTime)> {
    const VERSION: Tag = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber::N0,
    };
    let mut signed = inside(&mut SliceReader::new(certificate)?, Tag::Sequence)?;
    let mut fields = inside(&mut signed, Tag::Sequence)?;
    skip_if(&mut fields, VERSION)?;
    content(&mut fields, Tag::Integer)?;
    let (_algorithm, _issuer) = (
        content(&mut fields, Tag::Sequence)?,
        content(&mut fields, Tag::Sequence)?,
    );
    let mut validity = inside(&mut fields, Tag::Sequence)?;
    Ok((time(&mut validity)?, time(&mut validity)?))
}

/// The common name in the content of a `Name`, cut short and made printable; empty where there is none.
pub(crate) fn common_name(name: &[u8]) -> String {
    let find = || -> der::Result<String> {
        let mut sets = SliceReader::new(name)?;
        while !sets.is_finished() {
            let mut pairs = inside(&mut sets, Tag::Set)?;
            while !pairs.is_finished() {
                let mut pair = inside(&mut pairs, Tag::Sequence)?;
                if ObjectIdentifier::decode(&mut pair)? == COMMON_NAME {
                    let value = AnyRef::decode(&mut pair)?.value();
                    return Ok(String::from_utf8_lossy(value).into_owned());
                }
            }
        }
        Ok(String::new())
    };
    let printable = |name: String| {
        let characters = name.chars().filter(|character| !character.is_control());
        characters.take(64).collect()
    };
    find().map_or_else(|_| String::new(), printable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, date_time_ymd};

    fn made(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::default();
        parameters.not_before = date_time_ymd(2026, 1, 1);
        parameters.not_after = date_time_ymd(2060, 1, 1);
        parameters.serial_number = Some(vec![0xf3, 0x01].into());
        parameters.distinguished_name = DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::OrganizationName, "Alys");
        parameters
            .distinguished_name
            .push(DnType::CommonName, "node\u{7} of älice");
        change(&mut parameters);
        let made = parameters.self_signed(&KeyPair::generate().unwrap());
        made.unwrap().der().clone()
    }

    fn role(parameters: &mut CertificateParams) {
        let uri = SanType::URI(Role::Node.uri().try_into().unwrap());
        parameters.subject_alt_names.push(uri);
    }

    #[test]
    fn a_certificate_says_whose_it_is_and_until_when() {
        let read = Certificate::read(&made(role)).unwrap();
        assert_eq!(read.holder, Holder::Client(Role::Node));
        assert_eq!(
            read.subject, "node of älice",
            "nothing that a terminal obeys"
        );
        assert_eq!(read.serial, "F3:01".parse().unwrap());
        assert_eq!(read.serial.to_string(), "f301");
        // One date on each side of 2050, where the form changes.
        assert_eq!(date(read.not_before), "2026-01-01T00:00:00Z");
        assert_eq!(date(read.not_after), "2060-01-01T00:00:00Z");
        let report = read.report(UnixTime::since_unix_epoch(core::time::Duration::from_secs(
            read.not_after.as_secs() - 86_400,
        )));
        assert_eq!((report.days_left, report.role), (1, "node"));
        let own = Certificate::read(&made(|_| ())).unwrap();
        assert_eq!(own.holder, Holder::Authority);
    }

    #[test]
    fn what_is_no_certificate_of_ours_is_refused() {
        let two = made(|parameters| {
            role(parameters);
            role(parameters);
        });
        assert_eq!(
            Certificate::read(&two),
            Err(CertificateError::Role(RoleError::Count(2)))
        );
        let whole = made(role);
        for length in 0..whole.len() {
            let cut = CertificateDer::from(whole.get(..length).unwrap());
            let error = Certificate::read(&cut).unwrap_err();
            assert!(matches!(error, CertificateError::Malformed(_)), "{length}");
        }
        for text in ["", "f", "xy", "+1", "aé"] {
            assert!(text.parse::<Serial>().is_err(), "{text:?}");
        }
        assert_eq!("00f3".parse::<Serial>(), "f3".parse::<Serial>());
    }

    #[test]
    fn a_file_is_named_where_it_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.pem");
        let error = inspect(&path).unwrap_err().to_string();
        assert!(error.contains("node.pem"), "{error}");
    }
}
