//! Lists of revoked certificates (RFC 5280, section 5), as an end of a link keeps them: one of each authority that it
//! trusts, none past its date, and none older than one that it has seen.

use crate::certificate::common_name;
use crate::der::{content, inside, skip_if, time};
use crate::error::ClientError;
use crate::key_exchange::KeyExchange;
use crate::time::{date, days_left};
use der::asn1::{BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;

/// id-ce-cRLNumber (RFC 5280, 5.2.3).
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
/// Most bytes of a number (RFC 5280, 5.2.3).
const MAX_NUMBER_BYTES: usize = 20;

/// An authority counts its lists by these, upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListNumber([u8; MAX_NUMBER_BYTES]);

impl ListNumber {
    fn of_integer(bytes: &[u8]) -> Option<Self> {
        let mut number = [0; MAX_NUMBER_BYTES];
        let start = MAX_NUMBER_BYTES.checked_sub(bytes.len())?;
        number.get_mut(start..)?.copy_from_slice(bytes);
        Some(Self(number))
    }
}

impl core::fmt::Display for ListNumber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (high, low) = self.0.split_at(MAX_NUMBER_BYTES - size_of::<u64>());
        match low.try_into() {
            Ok(low) if high.iter().all(|byte| *byte == 0) => u64::from_be_bytes(low).fmt(f),
            _ => {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// A list that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RevocationError {
    /// No PEM.
    #[error("expected lists of revoked certificates (PEM, X509 CRL): {0}")]
    Pem(String),
    /// Not a list, or cut short.
    #[error("expected a list of revoked certificates (RFC 5280), found other or cut bytes: {0}")]
    Malformed(String),
    /// It has no number, so an older one could not be told.
    #[error("the list of authority {0:?}: expected a number of at most 20 bytes, found none")]
    Number(String),
    /// Another authority's.
    #[error("expected a list of a trusted authority, found one of {0:?}")]
    Stranger(String),
    /// Somebody else signed it.
    #[error("the list of authority {0:?} is not signed by its key")]
    Signature(String),
    /// Two lists of one authority in one file.
    #[error("expected one list of authority {0:?}, found two")]
    Twice(String),
    /// A trusted authority without a list.
    #[error("expected a list of each trusted authority, found none of {0:?}")]
    Missing(String),
    /// Too old to be relied on.
    #[error(
        "the list of authority {authority:?} was to be followed by {next_update} at the latest: expected a newer one"
    )]
    Expired {
        /// Whose.
        authority: String,
        /// Its `nextUpdate`.
        next_update: String,
    },
    /// An older list would give revoked certificates back.
    #[error("the list of authority {authority:?}: expected number {seen} or higher, found {found}")]
    Older {
        /// Whose.
        authority: String,
        /// The highest number seen.
        seen: ListNumber,
        /// The list's.
        found: ListNumber,
    },
    /// One number, two lists: a copy of the authority's folder is in use somewhere.
    #[error(
        "the list of authority {authority:?}: expected the one list of number {number}, found another of that number"
    )]
    Rival {
        /// Whose.
        authority: String,
        /// The number of both.
        number: ListNumber,
    },
}

/// One authority's list, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    /// Content of the authority's `Name`.
    issuer: Vec<u8>,
    number: ListNumber,
    next_update: UnixTime,
}

struct Parsed<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    number: Option<ListNumber>,
    next_update: UnixTime,
}

impl RevocationList {
    /// Checks that a list is one of `authorities`.
    ///
    /// # Errors
    /// - [`RevocationError::Malformed`] or [`RevocationError::Number`] where it is no list or has no number;
    /// - [`RevocationError::Stranger`] or [`RevocationError::Signature`] where none of them made it.
    pub fn verify(
        der: CertificateRevocationListDer<'static>,
        authorities: &[CertificateDer<'_>],
    ) -> Result<Self, RevocationError> {
        let malformed =
            |error: &dyn core::fmt::Display| RevocationError::Malformed(error.to_string());
        // What webpki will say of it when certificates are verified: unknown versions, critical extensions, delta lists.
        webpki::OwnedCertRevocationList::from_der(&der).map_err(|error| malformed(&error))?;
        let list = parse(&der).map_err(|error| malformed(&error))?;
        let name = common_name(list.issuer);
        let number = list
            .number
            .ok_or_else(|| RevocationError::Number(name.clone()))?;
        let provider = KeyExchange::Hybrid.provider();
        let algorithms = provider.signature_verification_algorithms.all;
        let mut known = false;
        let mut signed = false;
        for authority in authorities {
            let Ok(authority) = webpki::EndEntityCert::try_from(authority) else {
                continue;
            };
            if authority.subject() != list.issuer {
                continue;
            }
            known = true;
            signed |= algorithms
                .iter()
                .filter(|algorithm| *algorithm.signature_alg_id() == *list.algorithm)
                .any(|algorithm| {
                    authority
                        .verify_signature(*algorithm, list.signed, list.signature)
                        .is_ok()
                });
        }
        if !known {
            return Err(RevocationError::Stranger(name));
        }
        if !signed {
            return Err(RevocationError::Signature(name));
        }
        let (issuer, next_update) = (list.issuer.to_vec(), list.next_update);
        Ok(Self {
            der,
            issuer,
            number,
            next_update,
        })
    }

    /// Its number.
    pub const fn number(&self) -> ListNumber {
        self.number
    }

    /// From then on it counts no more.
    pub const fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// What to print of it at `now`.
    pub fn report(&self, now: UnixTime) -> ListReport {
        ListReport {
            authority: common_name(&self.issuer),
            number: self.number.to_string(),
            next_update: date(self.next_update),
            days_left: days_left(self.next_update, now),
        }
    }
}

/// A list, printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListReport {
    /// Name of its authority.
    pub authority: String,
    /// [`RevocationList::number`].
    pub number: String,
    /// [`RevocationList::next_update`], as RFC 3339 writes it.
    pub next_update: String,
    /// Whole days from now until then; negative once it has passed.
    pub days_left: i64,
}

/// The lists of all trusted authorities, one of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationLists(Vec<RevocationList>);

impl RevocationLists {
    /// Checks that `lists` are one of each of `authorities` and count at `now`.
    ///
    /// # Errors
    /// - [`RevocationError`] for the list that is not one, is missing, is there twice, or is past its date.
    pub fn verify(
        lists: Vec<CertificateRevocationListDer<'static>>,
        authorities: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Self, RevocationError> {
        let mut verified: Vec<RevocationList> = Vec::new();
        for der in lists {
            let list = RevocationList::verify(der, authorities)?;
            if verified.iter().any(|other| other.issuer == list.issuer) {
                return Err(RevocationError::Twice(common_name(&list.issuer)));
            }
            if list.next_update <= now {
                return Err(RevocationError::Expired {
                    authority: common_name(&list.issuer),
                    next_update: date(list.next_update),
                });
            }
            verified.push(list);
        }
        for authority in authorities {
            let authority = webpki::EndEntityCert::try_from(authority)
                .map_err(|error| RevocationError::Malformed(error.to_string()))?;
            let subject = authority.subject();
            if !verified.iter().any(|list| list.issuer == subject) {
                return Err(RevocationError::Missing(common_name(subject)));
            }
        }
        Ok(Self(verified))
    }

    /// Reads and checks a PEM file of lists.
    ///
    /// # Errors
    /// - [`ClientError::Config`] with the file and a [`RevocationError`].
    pub fn read(
        path: &Path,
        authorities: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Self, ClientError> {
        CertificateRevocationListDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| RevocationError::Pem(error.to_string()))
            .and_then(|lists| Self::verify(lists, authorities, now))
            .map_err(|error| bad(path, &error))
    }

    /// For the verifiers of rustls.
    pub fn ders(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> + '_ {
        self.0.iter().map(|list| list.der.clone())
    }

    /// When the first of them counts no more; the verifiers refuse everybody of its authority from then on.
    pub fn next_update(&self) -> Option<UnixTime> {
        self.0.iter().map(RevocationList::next_update).min()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &RevocationList> {
        self.0.iter()
    }
}

/// The newest list of each authority that this process has taken; an older one is refused for the rest of its life.
#[derive(Debug, Default)]
pub struct SeenLists(BTreeMap<Vec<u8>, RevocationList>);

impl SeenLists {
    /// Takes lists in place of those before, or none of them.
    ///
    /// # Errors
    /// - [`RevocationError::Older`] or [`RevocationError::Rival`] for a list that does not follow the one seen.
    pub fn take(&mut self, lists: &RevocationLists) -> Result<(), RevocationError> {
        for list in lists.iter() {
            let Some(seen) = self.0.get(&list.issuer) else {
                continue;
            };
            let authority = || common_name(&list.issuer);
            if list.number < seen.number {
                return Err(RevocationError::Older {
                    authority: authority(),
                    seen: seen.number,
                    found: list.number,
                });
            }
            if list.number == seen.number && list.der != seen.der {
                return Err(RevocationError::Rival {
                    authority: authority(),
                    number: list.number,
                });
            }
        }
        for list in lists.iter() {
            self.0.insert(list.issuer.clone(), list.clone());
        }
        Ok(())
    }
}

pub(crate) fn bad(path: &Path, error: &RevocationError) -> ClientError {
    ClientError::Config {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// `CertificateList` (RFC 5280, 5.1).
fn parse(list: &[u8]) -> der::Result<Parsed<'_>> {
    const EXTENSIONS: Tag = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber::N0,
    };
    let mut outer = SliceReader::new(list)?;
    let mut parts = inside(&mut outer, Tag::Sequence)?;
    let signed = parts.tlv_bytes()?;
    let algorithm = content(&mut parts, Tag::Sequence)?;
    let signature = BitStringRef::decode(&mut parts)?.raw_bytes();
    let mut fields = inside(&mut SliceReader::new(signed)?, Tag::Sequence)?;
    content(&mut fields, Tag::Integer)?;
    content(&mut fields, Tag::Sequence)?;
    let issuer = content(&mut fields, Tag::Sequence)?;
    let _this_update = time(&mut fields)?;
    let next_update = time(&mut fields)?;
    skip_if(&mut fields, Tag::Sequence)?;
    let mut number = None;
    let mut extensions = inside(&mut inside(&mut fields, EXTENSIONS)?, Tag::Sequence)?;
    while !extensions.is_finished() {
        let mut extension = inside(&mut extensions, Tag::Sequence)?;
        let id = ObjectIdentifier::decode(&mut extension)?;
        skip_if(&mut extension, Tag::Boolean)?;
        let value = content(&mut extension, Tag::OctetString)?;
        if id == CRL_NUMBER {
            number = ListNumber::of_integer(UintRef::from_der(value)?.as_bytes());
        }
    }
    Ok(Parsed {
        signed,
        algorithm,
        signature,
        issuer,
        number,
        next_update,
    })
}

#[cfg(test)]
mod tests;
