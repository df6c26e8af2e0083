//! Private certificate authorities, and what they issue: the certificates by which a signer and its clients know each
//! other (`alys_signer_client::role` says what is in them).
//!
//! A member has two authorities: one for its signer's certificate, which nodes trust, and one for its clients', which
//! the signer trusts. So nobody who can issue one kind can issue the other.

use crate::files::{self, FileError, Readers};
use alys_signer_client::Role;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rustls::pki_types::CertificateDer;
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
    certificate: String,
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
    /// Makes an authority that lasts `days` and writes it into `folder` ([`CERTIFICATE_FILE`], [`KEY_FILE`]). Never
    /// replaces one. It may issue end certificates only (RFC 5280, path length 0).
    ///
    /// # Errors
    /// - [`CaError::Name`] or [`CaError::Days`] where name or validity are out of range;
    /// - [`CaError::File`] where the folder has an authority or cannot be written.
    pub fn create(folder: &Path, name: &str, days: u32) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut parameters = common(name, days)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&key)?.pem();
        let credentials = Credentials {
            certificate,
            key: Zeroizing::new(key.serialize_pem()),
        };
        write_pair(folder, CERTIFICATE_FILE, KEY_FILE, &credentials)?;
        Ok(Self {
            certificate: credentials.certificate,
            issuer: Issuer::new(parameters, key),
        })
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
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// The authority's certificate (PEM), which those who trust it need.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Writes the authority's certificate, and nothing else, to a file.
    ///
    /// # Errors
    /// - [`CaError::File`] where it exists or cannot be written.
    pub fn export(&self, path: &Path) -> Result<(), CaError> {
        Ok(files::write_new(
            path,
            self.certificate.as_bytes(),
            Readers::All,
        )?)
    }

    /// Issues a signer's certificate: server authentication, for DNS names and IP addresses.
    ///
    /// # Errors
    /// - [`CaError::NoName`], [`CaError::Name`] or [`CaError::Days`] where a value is out of range.
    pub fn issue_signer<S: AsRef<str>>(
        &self,
        names: &[S],
        days: u32,
    ) -> Result<Credentials, CaError> {
        let first = names.first().ok_or(CaError::NoName)?;
        let mut parameters = common(first.as_ref(), days)?;
        parameters.subject_alt_names = names
            .iter()
            .map(|name| server_name(name.as_ref()))
            .collect::<Result<_, _>>()?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(parameters)
    }

    /// Issues a client's certificate: client authentication, one role. `name` is for people and logs.
    ///
    /// # Errors
    /// - [`CaError::Name`] or [`CaError::Days`] where a value is out of range.
    pub fn issue_client(&self, role: Role, name: &str, days: u32) -> Result<Credentials, CaError> {
        let mut parameters = common(name, days)?;
        parameters.subject_alt_names = vec![SanType::URI(role.uri().try_into()?)];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(parameters)
    }

    fn issue(&self, mut parameters: CertificateParams) -> Result<Credentials, CaError> {
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Credentials {
            certificate,
            key: Zeroizing::new(key.serialize_pem()),
        })
    }
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
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(CaError::Days(days));
    }
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| CaError::Clock)?;
    let validity = Duration::from_secs(u64::from(days) * 86_400);
    // 9999 is the last year of X.509; so far a clock with a good battery does not get.
    if now.as_secs() > 200_000_000_000 {
        return Err(CaError::Clock);
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + now.saturating_sub(BACKDATED);
    parameters.not_after = epoch + now + validity;
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
mod tests {
    use super::*;

    #[test]
    fn what_is_issued_names_its_role_and_no_key_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        CertificateAuthority::create(folder.path(), "clients", 1).unwrap();
        let authority = CertificateAuthority::load(folder.path()).unwrap();
        for role in Role::ALL {
            let issued = authority.issue_client(role, "somebody", 1).unwrap();
            let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
            assert_eq!(Role::of_certificate(&der), Ok(role));
            assert!(issued.key.contains("PRIVATE KEY"));
            assert!(!format!("{issued:?}").contains("PRIVATE KEY"));
        }
        assert!(!format!("{authority:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::create(folder.path(), "signers", 1).unwrap();
        let refused = |result: Result<Credentials, CaError>| result.unwrap_err().to_string();
        assert!(refused(authority.issue_signer(&["a b"], 1)).contains("DNS name or an IP address"));
        assert!(refused(authority.issue_signer::<&str>(&[], 1)).contains("found none"));
        assert!(refused(authority.issue_signer(&["127.0.0.1"], 0)).contains("found 0"));
        let long = "x".repeat(65);
        assert!(refused(authority.issue_client(Role::Node, &long, 1)).contains("1 to 64"));
        authority
            .issue_signer(&["::1", "signer.example.org"], 1)
            .unwrap();
    }

    #[test]
    fn a_folder_of_something_else_is_no_authority() {
        let folder = tempfile::tempdir().unwrap();
        let missing = CertificateAuthority::load(folder.path()).unwrap_err();
        assert!(missing.to_string().contains(CERTIFICATE_FILE), "{missing}");
        CertificateAuthority::create(folder.path(), "signers", 1).unwrap();
        files::write(&folder.path().join(CERTIFICATE_FILE), b"x", Readers::All).unwrap();
        let other = CertificateAuthority::load(folder.path()).unwrap_err();
        assert!(
            other.to_string().contains("expected a PEM certificate"),
            "{other}"
        );
    }
}
