//! `ca`.

use super::{CliError, print};
use crate::ca::listing::{EXPIRING_DAYS, Listing};
use crate::ca::register::Reason;
use crate::ca::revocation::{LIST_DAYS, LIST_FILE};
use crate::ca::{AUTHORITY_DAYS, CERTIFICATE_DAYS, CaError, CertificateAuthority, Credentials};
use crate::config::SIGNER_CREDENTIALS;
use alys_signer_client::revocation::RevocationList;
use alys_signer_client::role::DEFAULT_SERVER_NAME;
use alys_signer_client::{Role, Serial, certificate};
use clap::{Args, Subcommand};
use rustls::pki_types::UnixTime;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// `ca`.
#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Make an authority: ca.pem, crl.pem, and ca.key, which stays where it is.
    Create {
        /// Folder for the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Its name for people.
        #[arg(long)]
        name: String,
        /// Days that it lasts.
        #[arg(long, default_value_t = AUTHORITY_DAYS)]
        days: u32,
    },
    /// Issue a signer's certificate: signer.pem and signer.key.
    IssueSigner {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// DNS names and IP addresses of the signer.
        #[arg(long = "name", value_name = "NAME", default_value = DEFAULT_SERVER_NAME)]
        names: Vec<String>,
        /// Days that it lasts.
        #[arg(long, default_value_t = CERTIFICATE_DAYS)]
        days: u32,
        /// Folder for the certificate and its key.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Issue a certificate to a client of the signer: ROLE.pem and ROLE.key.
    IssueClient {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// What the client may do: node, officer or auditor.
        #[arg(long, value_parser = role)]
        role: Role,
        /// The client's name for people.
        #[arg(long)]
        name: String,
        /// Days that it lasts.
        #[arg(long, default_value_t = CERTIFICATE_DAYS)]
        days: u32,
        /// Folder for the certificate and its key.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Issue the successor of a certificate: same role and names, new key.
    Renew {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Days that it lasts.
        #[arg(long, default_value_t = CERTIFICATE_DAYS)]
        days: u32,
        /// Folder for the certificate and its key.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Revoke a certificate, and sign the next list of revoked ones (crl.pem), which signers and nodes must then be given.
    Revoke {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Why.
        #[arg(long, value_enum, default_value_t = Reason::Unspecified)]
        reason: Reason,
        /// Days that the list lasts.
        #[arg(long, default_value_t = LIST_DAYS)]
        list_days: u32,
    },
    /// Sign the next list of revoked certificates (crl.pem), of the same ones, before the last list ends.
    Crl {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Days that it lasts.
        #[arg(long, default_value_t = LIST_DAYS)]
        days: u32,
    },
    /// List what an authority issued, and what became of it.
    List {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Days before its end from which on a certificate counts as expiring.
        #[arg(long, default_value_t = EXPIRING_DAYS)]
        expiring: u32,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Copy an authority's certificate and its list of revoked ones (beside it, as .crl.pem), and not its key.
    Export {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The certificate's file.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// A certificate that the authority issued.
#[derive(Debug, Args)]
pub struct Which {
    /// Its file.
    #[arg(long, value_name = "FILE", required_unless_present = "serial")]
    certificate: Option<PathBuf>,
    /// Its serial number, as `ca list` shows it.
    #[arg(long, value_name = "HEX", conflicts_with = "certificate")]
    serial: Option<Serial>,
}

/// Runs a command.
pub(super) fn run(command: Ca) -> Result<(), CliError> {
    match command {
        Ca::Create { ca, name, days } => {
            CertificateAuthority::create(&ca, &name, days)?;
        }
        Ca::IssueSigner {
            ca,
            names,
            days,
            output,
        } => write(&output, SIGNER_CREDENTIALS, || {
            Ok(CertificateAuthority::load(&ca)?.issue_signer(&names, days)?)
        })?,
        Ca::IssueClient {
            ca,
            role,
            name,
            days,
            output,
        } => write(&output, role.name(), || {
            Ok(CertificateAuthority::load(&ca)?.issue_client(role, &name, days)?)
        })?,
        Ca::Renew {
            ca,
            which,
            days,
            output,
        } => {
            let authority = CertificateAuthority::load(&ca)?;
            let serial = which.serial()?;
            let issued = authority.find(&serial)?;
            write(&output, issued.role.name(), || {
                Ok(authority.renew(&serial, days)?)
            })?;
        }
        Ca::Revoke {
            ca,
            which,
            reason,
            list_days,
        } => {
            let authority = CertificateAuthority::load(&ca)?;
            let list = match &which.certificate {
                Some(path) => authority.revoke_file(path, reason, list_days)?,
                None => authority.revoke(&which.serial()?, reason, list_days)?,
            };
            published(&ca, &list)?;
        }
        Ca::Crl { ca, days } => {
            let list = CertificateAuthority::load(&ca)?.publish_list(days)?;
            published(&ca, &list)?;
        }
        Ca::List { ca, expiring, json } => {
            let listing = Listing::read(&ca, expiring, UnixTime::now())?;
            if json {
                print(&listing)?;
            } else {
                write!(io::stdout(), "{listing}")?;
            }
        }
        Ca::Export { ca, output } => CertificateAuthority::load(&ca)?.export(&output)?,
    }
    Ok(())
}

impl Which {
    fn serial(&self) -> Result<Serial, CliError> {
        let named = self
            .certificate
            .iter()
            .map(|path| certificate::inspect(path));
        let named = named.map(|read| read.map(|certificate| certificate.serial));
        let serial = self.serial.clone().map(Ok).into_iter().chain(named).next();
        Ok(serial.ok_or(CaError::Unnamed)?.map_err(CaError::from)?)
    }
}

/// Nothing is issued that could not be written.
fn write(
    output: &Path,
    name: &str,
    issue: impl FnOnce() -> Result<Credentials, CliError>,
) -> Result<(), CliError> {
    Credentials::check_free(output, name)?;
    Ok(issue()?.write(output, name)?)
}

/// What is to be done next.
fn published(ca: &Path, list: &RevocationList) -> Result<(), CliError> {
    let report = list.report(UnixTime::now());
    let path = ca.join(LIST_FILE);
    Ok(writeln!(
        io::stdout(),
        "List {} is in {}, and lasts until {} ({} days). It has effect where it is copied to, after SIGHUP.",
        report.number,
        path.display(),
        report.next_update,
        report.days_left
    )?)
}

fn role(text: &str) -> Result<Role, String> {
    Role::ALL
        .into_iter()
        .find(|role| role.name() == text)
        .ok_or_else(|| format!("expected node, officer or auditor, found {text:?}"))
}
