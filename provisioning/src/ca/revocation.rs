//! Taking certificates back.

use super::register::{Entry, OpenRegister, Reason, Register, UnixSeconds};
use super::{CERTIFICATE_FILE, CaError, CertificateAuthority, checked_days, epoch};
use crate::files::{self, Readers};
use alys_signer_client::revocation::RevocationList;
use alys_signer_client::{Serial, certificate};
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use std::path::Path;
use std::time::Duration;

/// Name of the newest list of revoked certificates in an authority's folder.
pub const LIST_FILE: &str = "crl.pem";
/// Days that a list lasts unless said otherwise: as long as a certificate. Whoever has it serves nobody of this authority
/// afterwards.
pub const LIST_DAYS: u32 = super::CERTIFICATE_DAYS;

impl CertificateAuthority {
    /// Revokes a certificate and signs the next list ([`LIST_FILE`]), which lasts `days`.
    ///
    /// # Errors
    /// - [`CaError::Unknown`] where the register does not have the number;
    /// - [`CaError::Revoked`] where it is revoked already; its list stays the newest;
    /// - [`CaError::Days`] or [`CaError::File`] as for a list.
    pub fn revoke(
        &self,
        serial: &Serial,
        reason: Reason,
        days: u32,
    ) -> Result<RevocationList, CaError> {
        let register = Register::read(&self.folder)?;
        let known = register.issued().find(|issued| issued.serial == *serial);
        let name = known.map(|issued| issued.name.clone());
        let name = name.ok_or_else(|| CaError::Unknown {
            serial: serial.clone(),
        })?;
        self.revoke_named(serial, reason, name, days)
    }

    /// The same for a certificate's file. It may be one from before there were registers.
    ///
    /// # Errors
    /// - [`CaError::Client`] where the file has no certificate;
    /// - [`CaError::Foreign`] where it is another authority's;
    /// - otherwise as [`CertificateAuthority::revoke`].
    pub fn revoke_file(
        &self,
        path: &Path,
        reason: Reason,
        days: u32,
    ) -> Result<RevocationList, CaError> {
        let (serial, name) = self.own(path)?;
        self.revoke_named(&serial, reason, name, days)
    }

    /// Number and name of a certificate of this authority.
    pub(super) fn own(&self, path: &Path) -> Result<(Serial, String), CaError> {
        let certificate = certificate::inspect(path)?;
        let foreign = || CaError::Foreign {
            path: path.to_owned(),
        };
        let der = CertificateDer::from_pem_file(path).map_err(|_| foreign())?;
        let parsed = webpki::EndEntityCert::try_from(&der).map_err(|_| foreign())?;
        let own = own_der(&self.folder)?;
        let own = webpki::EndEntityCert::try_from(&own).map_err(|_| foreign())?;
        // An authority's own certificate is of that issuer, too.
        if parsed.issuer() != own.subject() || parsed.subject() == own.subject() {
            return Err(foreign());
        }
        Ok((certificate.serial, certificate.subject))
    }

    fn revoke_named(
        &self,
        serial: &Serial,
        reason: Reason,
        name: String,
        days: u32,
    ) -> Result<RevocationList, CaError> {
        let mut open = OpenRegister::open(&self.folder)?;
        if open
            .register
            .revoked()
            .any(|(revoked, ..)| revoked == serial)
        {
            return Err(CaError::Revoked {
                serial: serial.clone(),
            });
        }
        let entry = Entry::Revoked {
            at: UnixTime::now().into(),
            serial: serial.clone(),
            reason,
            name,
        };
        self.publish(&mut open, vec![entry], days)
    }

    /// Signs the next list, of the same certificates: before the last one ends.
    ///
    /// # Errors
    /// - [`CaError::Days`] where `days` are out of range;
    /// - [`CaError::File`] where register or list cannot be written.
    pub fn publish_list(&self, days: u32) -> Result<RevocationList, CaError> {
        self.publish(&mut OpenRegister::open(&self.folder)?, Vec::new(), days)
    }

    /// Writes the register, then the list: where only the first was done, the next list has everything.
    fn publish(
        &self,
        open: &mut OpenRegister,
        mut entries: Vec<Entry>,
        days: u32,
    ) -> Result<RevocationList, CaError> {
        let now = UnixTime::now();
        let validity = checked_days(days)?.as_secs();
        let end = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + validity));
        let number = open.register.last_list().saturating_add(1);
        entries.push(Entry::Listed {
            at: now.into(),
            number,
            next_update: end.into(),
        });
        open.add(entries)?;
        let at = |time: UnixTime| epoch() + Duration::from_secs(time.as_secs());
        let revoked = open.register.revoked();
        let list = CertificateRevocationListParams {
            this_update: at(now),
            next_update: at(end),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .map(|(serial, time, reason, _)| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(serial.as_bytes()),
                    revocation_time: at(UnixSeconds::time(time)),
                    reason_code: Some(reason.code()),
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer)?;
        let path = self.folder.join(LIST_FILE);
        files::write(&path, list.pem()?.as_bytes(), Readers::All)?;
        check_list(&self.folder, list.into())
    }
}

/// The newest list in an authority's folder, as those who are given it will see it, but for its date.
///
/// # Errors
/// - [`CaError::Content`] where the file is missing or no list of this authority.
pub fn newest_list(folder: &Path) -> Result<RevocationList, CaError> {
    let path = folder.join(LIST_FILE);
    let der = CertificateRevocationListDer::from_pem_file(&path);
    let der = der.map_err(|error| CaError::Content {
        path,
        expected: LIST,
        reason: error.to_string(),
    })?;
    check_list(folder, der)
}

const LIST: &str = "this authority's list of revoked certificates";

fn check_list(
    folder: &Path,
    list: CertificateRevocationListDer<'static>,
) -> Result<RevocationList, CaError> {
    RevocationList::verify(list, &[own_der(folder)?]).map_err(|error| CaError::Content {
        path: folder.join(LIST_FILE),
        expected: LIST,
        reason: error.to_string(),
    })
}

fn own_der(folder: &Path) -> Result<CertificateDer<'static>, CaError> {
    let path = folder.join(CERTIFICATE_FILE);
    CertificateDer::from_pem_file(&path).map_err(|error| CaError::Content {
        path,
        expected: "a PEM certificate of an authority",
        reason: error.to_string(),
    })
}

impl Reason {
    const fn code(self) -> RevocationReason {
        match self {
            Self::Unspecified => RevocationReason::Unspecified,
            Self::KeyCompromise => RevocationReason::KeyCompromise,
            Self::AffiliationChanged => RevocationReason::AffiliationChanged,
            Self::Superseded => RevocationReason::Superseded,
            Self::CessationOfOperation => RevocationReason::CessationOfOperation,
        }
    }
}
