//! Private certificate authorities, and what they issue: the certificates by which a signer and its clients know each
//! other (`alys_signer_client::role` says what is in them).
//!
//! A member has two authorities: one for its signer's certificate, which nodes trust, and one for its clients', which
//! the signer trusts. So nobody who can issue one kind can issue the other.
//!
//! The folder of an authority has its certificate and key, the [`register`] of what it did, and the newest list of what
//! it took back ([`revocation`]).

pub mod listing;
pub mod register;
pub mod revocation;

use crate::files::{self, FileError, Readers};
use alys_signer_client::time::days_left;
use alys_signer_client::{Certificate, ClientError, Role, Serial, certificate};
use bitcoin::hashes::{Hash as _, sha256};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use register::{Entry, Issued, OpenRegister, Register};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use zeroize::Zeroizing;

/// Days that an authority lasts unless said otherwise: ten years.
pub const AUTHORITY_DAYS: u32 = 3650;
/// Days that a certificate lasts unless said otherwise.
pub const CERTIFICATE_DAYS: u32 = 397;
/// The longest validity that is not a mistake.
const MAX_DAYS: u32 = 36_500;
/// Certificates count from so long ago, since clocks differ.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Name of an authority's certificate in its folder.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// Name of an authority's key in its folder.
pub const KEY_FILE: &str = "ca.key";

/// An authority or a certificate that cannot be made.
#[derive(Debug, Error)]
pub enum CaError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds something else.
    #[error("{path}: expected {expected}: {reason}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The authority's two files are of different authorities.
    #[error("{path}: expected the key of the certificate beside it, found another", path = path.display())]
    KeyMismatch {
        /// The key's file.
        path: PathBuf,
    },
    /// A name that no certificate can have.
    #[error("name {name:?}: expected {expected}")]
    Name {
        /// The name.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A server without a name.
    #[error(
        "expected at least one DNS name or IP address for the signer's certificate, found none"
    )]
    NoName,
    /// A validity out of range.
    #[error("validity: expected 1 to {MAX_DAYS} days, found {0}")]
    Days(u32),
    /// A certificate would last longer than its authority.
    #[error(
        "validity: expected at most {left} days, until the authority itself ends, found {found}"
    )]
    Outlives {
        /// Whole days that the authority has left.
        left: i64,
        /// What was asked for.
        found: u32,
    },
    /// A file has no certificate.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A certificate of somebody else.
    #[error("{path}: expected a certificate that this authority issued, found another", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Nothing of that number was issued here.
    #[error(
        "certificate {serial}: expected one of this authority's register, found none of that number"
    )]
    Unknown {
        /// The number.
        serial: Serial,
    },
    /// Neither file nor number of a certificate.
    #[error("expected --certificate FILE or --serial HEX, found neither")]
    Unnamed,
    /// It is revoked already.
    #[error("certificate {serial}: expected one that is not revoked")]
    Revoked {
        /// The number.
        serial: Serial,
    },
    /// The clock stands before 1970 or beyond all dates.
    #[error("the system's clock cannot be right")]
    Clock,
    /// The library refuses.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// A certificate and its key, both PEM. The key is wiped when dropped and never printed.
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: Zeroizing<String>,
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Credentials")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Writes `NAME.pem` and `NAME.key` into a folder, the key readable by its owner alone. Replaces neither.
    ///
    /// # Errors
    /// - [`CaError::File`] where one exists or cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), CaError> {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        write_pair(folder, &certificate, &key, self)
    }

    /// Whether [`Credentials::write`] would replace something: to ask before the register has one more.
    ///
    /// # Errors
    /// - [`CaError::File`] where one of the files exists.
    pub fn check_free(folder: &Path, name: &str) -> Result<(), CaError> {
        for path in ["pem", "key"].map(|kind| folder.join(format!("{name}.{kind}"))) {
            if path.exists() {
                let (verb, error) = ("write", std::io::ErrorKind::AlreadyExists.into());
                return Err(FileError { verb, path, error }.into());
            }
        }
        Ok(())
    }
}

/// Key first: a key without certificate is useless, and the certificate would look finished.
fn write_pair(
    folder: &Path,
    certificate: &str,
    key: &str,
    credentials: &Credentials,
) -> Result<(), CaError> {
    files::write_new(
        &folder.join(key),
        credentials.key.as_bytes(),
        Readers::Owner,
    )?;
    let path = folder.join(certificate);
    Ok(files::write_new(
        &path,
        credentials.certificate.as_bytes(),
        Readers::All,
    )?)
}

/// A private certificate authority.
pub struct CertificateAuthority {
    folder: PathBuf,
    certificate: String,
    not_after: UnixTime,
    issuer: Issuer<'static, KeyPair>,
}

impl core::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes an authority that lasts `days` and writes it into `folder` ([`CERTIFICATE_FILE`], [`KEY_FILE`]), with a first
    /// list of revoked certificates, which are none. Never replaces one. It may issue end certificates only (RFC 5280, path
    /// length 0).
    ///
    /// # Errors
    /// - [`CaError::Name`] or [`CaError::Days`] where name or validity are out of range;
    /// - [`CaError::File`] where the folder has an authority or cannot be written.
    pub fn create(folder: &Path, name: &str, days: u32) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut parameters = common(name, days)?;
        // Authorities that follow each other may have one name for people; lists are told apart by the whole name.
        let digest = sha256::Hash::hash(&key.subject_public_key_info()).to_string();
        parameters
            .distinguished_name
            .push(serial_number(), digest.chars().take(16).collect::<String>());
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&key)?.pem();
        let credentials = Credentials {
            certificate,
            key: Zeroizing::new(key.serialize_pem()),
        };
        write_pair(folder, CERTIFICATE_FILE, KEY_FILE, &credentials)?;
        let made = Self::load(folder)?;
        made.publish_list(revocation::LIST_DAYS)?;
        Ok(made)
    }

    /// Reads an authority back.
    ///
    /// # Errors
    /// - [`CaError::File`] where a file is missing;
    /// - [`CaError::Content`] where one holds something else;
    /// - [`CaError::KeyMismatch`] where they do not belong together.
    pub fn load(folder: &Path) -> Result<Self, CaError> {
        let (path, key_path) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        let certificate = files::read(&path)?;
        let pem = Zeroizing::new(files::read(&key_path)?);
        let key = KeyPair::from_pem(&pem).map_err(|error| CaError::Content {
            path: key_path.clone(),
            expected: "a PEM private key",
            reason: error.to_string(),
        })?;
        let no_certificate = |reason: String| CaError::Content {
            path: path.clone(),
            expected: "a PEM certificate of an authority",
            reason,
        };
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| no_certificate(error.to_string()))?;
        let parsed = webpki::EndEntityCert::try_from(&der)
            .map_err(|error| no_certificate(error.to_string()))?;
        if *parsed.subject_public_key_info() != *key.subject_public_key_info() {
            return Err(CaError::KeyMismatch { path: key_path });
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .map_err(|error| no_certificate(error.to_string()))?;
        let not_after = certificate::inspect(&path)?.not_after;
        Ok(Self {
            folder: folder.to_owned(),
            certificate,
            not_after,
            issuer,
        })
    }

    /// The authority's certificate (PEM), which those who trust it need.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Writes what those need who trust the authority: its certificate to `path`, and beside it, as `.crl.pem`, its newest
    /// list of revoked certificates. Replaces neither.
    ///
    /// # Errors
    /// - [`CaError::File`] where one exists or cannot be written.
    pub fn export(&self, path: &Path) -> Result<(), CaError> {
        let list = self.folder.join(revocation::LIST_FILE);
        // An authority from before there were lists.
        if !list.exists() {
            self.publish_list(revocation::LIST_DAYS)?;
        }
        let list = files::read(&list)?;
        let list_path = path.with_extension("crl.pem");
        files::write_new(&list_path, list.as_bytes(), Readers::All)?;
        let certificate = self.certificate.as_bytes();
        Ok(files::write_new(path, certificate, Readers::All)?)
    }

    /// Issues a signer's certificate: server authentication, for DNS names and IP addresses.
    ///
    /// # Errors
    /// - [`CaError::NoName`], [`CaError::Name`], [`CaError::Days`] or [`CaError::Outlives`] where a value is out of range;
    /// - [`CaError::File`] where the register cannot be written.
    pub fn issue_signer<S: AsRef<str>>(
        &self,
        names: &[S],
        days: u32,
    ) -> Result<Credentials, CaError> {
        self.signer(names, days, None)
    }

    /// Issues a client's certificate: client authentication, one role. `name` is for people and logs.
    ///
    /// # Errors
    /// - as [`CertificateAuthority::issue_signer`].
    pub fn issue_client(&self, role: Role, name: &str, days: u32) -> Result<Credentials, CaError> {
        self.client(role, name, days, None)
    }

    /// Issues the successor of a certificate: the same role and names, a new key, a new validity. The old one goes on
    /// counting until it ends or is revoked.
    ///
    /// # Errors
    /// - [`CaError::Unknown`] where the register does not have it, or [`CaError::Revoked`] where it is revoked;
    /// - otherwise as [`CertificateAuthority::issue_signer`].
    pub fn renew(&self, serial: &Serial, days: u32) -> Result<Credentials, CaError> {
        let issued = self.find(serial)?;
        match issued.role.role() {
            Some(role) => self.client(role, &issued.name, days, Some(issued.serial)),
            None => self.signer(&issued.names, days, Some(issued.serial)),
        }
    }

    /// What the register has of a certificate that counts.
    ///
    /// # Errors
    /// - [`CaError::Unknown`] where the register does not have it, or [`CaError::Revoked`] where it is revoked.
    pub fn find(&self, serial: &Serial) -> Result<Issued, CaError> {
        let register = Register::read(&self.folder)?;
        if register.revoked().any(|(revoked, ..)| revoked == serial) {
            return Err(CaError::Revoked {
                serial: serial.clone(),
            });
        }
        let mut issued = register.issued();
        let issued = issued.find(|issued| issued.serial == *serial).cloned();
        issued.ok_or_else(|| CaError::Unknown {
            serial: serial.clone(),
        })
    }

    fn signer<S: AsRef<str>>(
        &self,
        names: &[S],
        days: u32,
        renews: Option<Serial>,
    ) -> Result<Credentials, CaError> {
        let first = names.first().ok_or(CaError::NoName)?;
        let mut parameters = common(first.as_ref(), days)?;
        parameters.subject_alt_names = names
            .iter()
            .map(|name| server_name(name.as_ref()))
            .collect::<Result<_, _>>()?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let names = names.iter().map(|name| name.as_ref().to_owned()).collect();
        self.issue(parameters, days, names, renews)
    }

    fn client(
        &self,
        role: Role,
        name: &str,
        days: u32,
        renews: Option<Serial>,
    ) -> Result<Credentials, CaError> {
        let mut parameters = common(name, days)?;
        parameters.subject_alt_names = vec![SanType::URI(role.uri().try_into()?)];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(parameters, days, Vec::new(), renews)
    }

    /// Signs, and writes the register: nothing leaves this authority that is not in there.
    fn issue(
        &self,
        mut parameters: CertificateParams,
        days: u32,
        names: Vec<String>,
        renews: Option<Serial>,
    ) -> Result<Credentials, CaError> {
        let now = UnixTime::now();
        let end = epoch() + Duration::from_secs(self.not_after.as_secs());
        // rustls takes an authority in its files for good, so what it issued must end with it.
        if parameters.not_after > end {
            return Err(CaError::Outlives {
                left: days_left(self.not_after, now),
                found: days,
            });
        }
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let signed = parameters.signed_by(&key, &self.issuer)?;
        let read = Certificate::read(signed.der()).map_err(|error| CaError::Content {
            path: self.folder.join(KEY_FILE),
            expected: "a key that signs certificates which can be read",
            reason: error.to_string(),
        })?;
        OpenRegister::open(&self.folder)?.add(vec![Entry::Issued {
            at: now.into(),
            certificate: Issued::new(&read, names, renews),
        }])?;
        Ok(Credentials {
            certificate: signed.pem(),
            key: Zeroizing::new(key.serialize_pem()),
        })
    }
}

/// X.520 serial number of a name; not a certificate's.
fn serial_number() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 5])
}

fn epoch() -> time::OffsetDateTime {
    time::OffsetDateTime::UNIX_EPOCH
}

/// A validity that is no mistake.
fn checked_days(days: u32) -> Result<Duration, CaError> {
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(CaError::Days(days));
    }
    Ok(Duration::from_secs(u64::from(days) * 86_400))
}

/// What every certificate has: a common name and a validity.
fn common(name: &str, days: u32) -> Result<CertificateParams, CaError> {
    // RFC 5280, appendix A.1: ub-common-name is 64.
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(CaError::Name {
            name: name.chars().take(64).collect(),
            expected: "1 to 64 printable characters",
        });
    }
    let validity = checked_days(days)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| CaError::Clock)?;
    // 9999 is the last year of X.509; so far a clock with a good battery does not get.
    if now.as_secs() > 200_000_000_000 {
        return Err(CaError::Clock);
    }
    // A certificate's date has no fractions.
    let now = Duration::from_secs(now.as_secs());
    parameters.not_before = epoch() + now.saturating_sub(BACKDATED);
    parameters.not_after = epoch() + now + validity;
    Ok(parameters)
}

fn server_name(name: &str) -> Result<SanType, CaError> {
    use rustls::pki_types::ServerName;
    let bad = || CaError::Name {
        name: name.chars().take(64).collect(),
        expected: "a DNS name or an IP address",
    };
    match ServerName::try_from(name).map_err(|_| bad())? {
        ServerName::DnsName(dns) => {
            let dns = dns.as_ref().to_owned();
            Ok(SanType::DnsName(dns.try_into().map_err(|_| bad())?))
        }
        ServerName::IpAddress(_) => Ok(SanType::IpAddress(name.parse().map_err(|_| bad())?)),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests;
